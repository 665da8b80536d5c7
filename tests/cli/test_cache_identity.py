"""Whose cache it is: each CI's builds, git's checkout, and neither; what each may write and restore."""

from __future__ import annotations

import os

import pytest

from tests.archive.cycle import OLD
from tests.cli.caches import bucket, fake, make_checkout, shell
from tests.rig import builds
from tests.rig.builds import CIS, FORK, PULL, PUSH
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY

__all__ = ["bucket", "fake", "shell"]
MAIN = {
    "DRONE_BRANCH", "DRONE_COMMIT_BRANCH", "DRONE_SOURCE_BRANCH", "CI_COMMIT_BRANCH", "CI_COMMIT_REF_NAME",
    "BUILDKITE_BRANCH", "BRANCH_NAME", "CIRCLE_BRANCH",
}  # fmt: skip
"""Variables of the branch."""


@pytest.fixture
def build(shell, workspace, tmp_path):
    """``build("rebuild", environ, b"bytes")``: a step of a build, in a workspace that holds v/a or nothing."""

    def run(word: str, environ: dict[str, str], content: bytes = b"", *more: str):
        for path in (workspace / "v").glob("*"):
            path.unlink()
        if content:
            (workspace / "v").mkdir(exist_ok=True)
            (workspace / "v/a").write_bytes(content)
            os.utime(workspace / "v/a", ns=(OLD, OLD))
        return shell(word, "--cache", "v", *more, env=environ)

    return run


def of(name: str, kind: str, tmp_path) -> dict[str, str]:
    return CIS[name](kind, tmp_path / "event.json")


def on_main(name: str, tmp_path) -> dict[str, str]:
    """A push to main."""
    environ = of(name, PUSH, tmp_path)
    renamed = {variable: "main" for variable in environ if variable in MAIN}
    return environ | renamed | {"GITHUB_REF": "refs/heads/main", "BRANCH_IS_PRIMARY": "true"}


@pytest.mark.parametrize("name", CIS)
def test_main_restores_nothing_that_a_pull_request_stored(build, bucket, workspace, tmp_path, name):
    stored = build("rebuild", of(name, PULL, tmp_path), b"from a pull request")
    scopes = {"/".join(key.split("/")[2:5]) for key in bucket.keys("v1/k/")}
    main = build("restore", on_main(name, tmp_path))
    nothing = not (workspace / "v/a").exists()
    again = build("restore", of(name, PULL, tmp_path))

    assert (stored.code, scopes) == (0, {"acme/web/~pr-12"}), stored.err
    assert (main.code, nothing) == (0, True)
    assert (again.code, (workspace / "v/a").read_bytes()) == (0, b"from a pull request")


@pytest.mark.parametrize("name", sorted(CIS.keys() - builds.TELLS_NO_FORKS))
@pytest.mark.parametrize("key", [(), ("--cache-key", "k")], ids=["by its branch", "with cache_key"])
def test_a_fork_writes_and_clears_nothing(build, shell, bucket, tmp_path, name, key):
    build("rebuild", on_main(name, tmp_path), b"main")
    before = bucket.keys()

    stored = build("rebuild", of(name, FORK, tmp_path), b"evil", *key)
    cleared = shell("clear", env=of(name, FORK, tmp_path))

    assert (stored.code, cleared.code, bucket.keys()) == (0, 0, before)
    assert "a pull request from another repository writes nothing" in stored.err


@pytest.mark.parametrize("name", ["github", "gitlab", "buildkite", "jenkins"])
def test_repositories_of_one_name_share_nothing(build, bucket, workspace, tmp_path, name):
    other = {variable: text.replace("acme/web", "mallory/web") for variable, text in on_main(name, tmp_path).items()}
    build("rebuild", other, b"evil")

    done = build("restore", on_main(name, tmp_path))

    assert (done.code, (workspace / "v/a").exists()) == (0, False)
    assert "no cache for acme/web/main" in done.err


@pytest.mark.parametrize("name", ["github", "gitlab", "buildkite", "jenkins", "circleci"])
def test_an_archive_of_an_old_plugin_is_nobodys_where_no_such_plugin_runs(build, bucket, tmp_path, name):
    bucket.put("web/web.tar.gz", b"whose?")

    done = build("restore", on_main(name, tmp_path))

    assert (done.code, "warning" in done.err) == (0, False)


def test_outside_a_ci_git_says_whose_it_is(build, bucket, workspace):
    make_checkout(workspace, head="feat/x")

    done = build("rebuild", {}, b"A")

    assert done.code == 0, done.err
    assert all(key.startswith("v1/k/acme/web/feat%2Fx/") for key in bucket.keys("v1/k/"))
    assert "t0ken" not in done.out + done.err


@pytest.mark.parametrize(
    ("head", "url", "sentence"),
    [
        pytest.param(
            None, "", "neither a CI nor a git remote (origin, or the only one) names the repository; run it in "
            "a CI or in a clone, or give cache_key", id="no checkout",
        ),
        pytest.param("8e5f3a1", None, "git's HEAD is detached; give cache_key, or check out a branch", id="detached"),
        pytest.param("main", "/srv/acme/web.git", "neither a CI nor a git remote", id="a directory for a remote"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("word", ["restore", "rebuild"])
def test_an_identity_is_never_invented(build, bucket, fake, workspace, word, head, url, sentence):
    if head:
        make_checkout(workspace, head=head, **({"url": url} if url else {}))

    done = build(word, {"CI": "true"}, b"A")

    assert (done.code, bucket.keys(), fake.requests) == (2, set(), [])
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not (workspace / ".s3batch").exists()


def test_with_a_cache_key_no_identity_is_needed(build, bucket, workspace):
    stored = build("rebuild", {}, b"A", "--cache-key", "tools")
    restored = build("restore", {}, b"", "--cache-key", "tools")

    assert (stored.code, restored.code, (workspace / "v/a").read_bytes()) == (0, 0, b"A"), stored.err
    assert all(key.startswith("v1/k/~/~/~/") for key in bucket.keys("v1/k/"))
    assert "tools" in restored.err


def test_a_clear_without_a_repository_is_refused(shell, bucket):
    bucket.put("work/holiday.jpg", b"dear")

    done = shell("clear")

    assert (done.code, bucket.keys()) == (2, {"work/holiday.jpg"})
    assert "neither a CI nor a git remote" in done.err


def test_a_plugin_step_outside_a_ci_reads_git_too(call, fake, bucket, workspace):
    make_checkout(workspace)
    (workspace / "v").mkdir()
    (workspace / "v/a").write_bytes(b"A")
    settings = {
        "PLUGIN_REBUILD": "true", "PLUGIN_CACHE": "v", "PLUGIN_BUCKET": "caches", "PLUGIN_ENDPOINT": fake.url,
        "PLUGIN_ACCESS_KEY": ACCESS_KEY, "PLUGIN_SECRET_KEY": SECRET_KEY, "S3BATCH_EXECUTOR": "inline",
    }  # fmt: skip

    done = call("plugin", env=settings)

    assert done.code == 0, done.err
    assert all(key.startswith("v1/k/acme/web/main/") for key in bucket.keys("v1/k/"))
