"""What a git checkout tells: made by the real git where there is one, and by hand where it is to be odd."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from s3batch.cli.identity.checkout import read_checkout
from s3batch.cli.identity.find import find_build
from tests.rig import builds

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="there is no git program to make a checkout with")
URL = "https://github.com/acme/web.git"


def git(folder: Path, *arguments: str) -> None:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **identity}
    subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        check=True,
        env=environment,
        capture_output=True,
    )


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone with a commit, on feat/x, whose origin has main as its default branch."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    git(origin, "commit", "-q", "--allow-empty", "-m", "one")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    found = tmp_path / "clone"
    git(found, "remote", "set-url", "origin", URL)
    git(found, "checkout", "-q", "-b", "feat/x")
    return found


def named(folder: Path) -> tuple[str, str, str]:
    """Slug, branch, default branch."""
    build = find_build({}, str(folder))
    return build.slug, build.branch, build.default_branch


@needs_git
def test_a_clone_tells_its_repository_and_branches(clone):
    (clone / "sub/deep").mkdir(parents=True)

    assert named(clone) == named(clone / "sub/deep") == ("acme/web", "feat/x", "main")


@needs_git
def test_packed_refs_tell_the_same(clone):
    git(clone, "pack-refs", "--all")

    assert named(clone) == ("acme/web", "feat/x", "main")


@needs_git
def test_a_worktree_has_its_own_branch_and_the_clones_remote(clone, tmp_path):
    git(clone, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))

    assert named(tmp_path / "tree") == ("acme/web", "other", "main")


@needs_git
def test_a_submodule_is_a_repository_of_its_own(clone, tmp_path):
    git(clone, "submodule", "add", "-q", str(tmp_path / "origin"), "lib")
    git(clone / "lib", "remote", "set-url", "origin", "git@github.com:acme/lib.git")

    assert named(clone / "lib") == ("acme/lib", "main", "main")


@needs_git
def test_a_detached_head_is_on_no_branch(clone):
    git(clone, "checkout", "-q", "--detach")

    assert named(clone) == ("acme/web", "", "main")


@needs_git
def test_includes_of_a_config_are_not_followed(clone, tmp_path):
    (tmp_path / "more").write_text('[remote "origin"]\n\turl = https://evil.com/mallory/web.git\n')
    config = clone / ".git/config"
    config.write_text(f"[include]\n\tpath = {tmp_path}/more\n" + config.read_text())

    assert named(clone)[0] == "acme/web"


@needs_git
def test_of_several_remotes_origin_counts_else_the_only_one(clone):
    git(clone, "remote", "add", "fork", "https://github.com/mallory/web.git")
    assert named(clone)[0] == "acme/web"

    git(clone, "remote", "remove", "origin")
    assert named(clone)[0] == "mallory/web"

    git(clone, "remote", "add", "other", "https://github.com/third/web.git")
    assert named(clone)[0] == ""


@needs_git
def test_a_token_in_the_url_goes_nowhere(clone):
    git(clone, "remote", "set-url", "origin", "https://ci:t0ken@github.com/acme/web.git")

    build = find_build({}, str(clone))

    assert (build.slug, build.remote) == ("acme/web", URL)
    assert "t0ken" not in repr(build)


@needs_git
def test_git_completes_what_a_ci_leaves_open(clone):
    build = find_build(builds.circleci(builds.PUSH), str(clone))

    assert (build.system, build.branch, build.default_branch) == ("circleci", "feat/x", "main")
    jenkins = {name: text for name, text in builds.jenkins(builds.PUSH).items() if name != "GIT_URL"}
    assert find_build(jenkins, str(clone)).slug == "acme/web"


@needs_git
@pytest.mark.parametrize("name", builds.CIS)
def test_git_changes_nothing_that_a_ci_says(clone, name):
    git(clone, "remote", "set-url", "origin", "https://evil.com/mallory/other.git")

    build = find_build(builds.CIS[name](builds.PUSH), str(clone))

    assert (build.slug, build.branch) == ("acme/web", "feat/x")


# --- by hand ------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    """``made(config, head)``: a checkout of these two files."""

    def make(config: str = f'[remote "origin"]\n\turl = {URL}\n', head: str = "ref: refs/heads/main\n") -> Path:
        (tmp_path / "tree/.git").mkdir(parents=True)
        (tmp_path / "tree/.git/config").write_text(config)
        (tmp_path / "tree/.git/HEAD").write_text(head)
        return tmp_path / "tree"

    return make


@pytest.mark.parametrize(
    "config",
    [
        pytest.param('[remote "origin"]\r\n  url = https://github.com/acme/web.git\r\n', id="CRLF"),
        pytest.param('[REMOTE "origin"]\nURL=https://github.com/acme/web.git', id="case"),
        pytest.param('[remote "origin"] url = https://github.com/acme/web.git', id="on the header's line"),
        pytest.param('[remote "origin"]\nurl = "https://github.com/acme/web.git" ; a comment', id="quotes and comment"),
        pytest.param('[remote "origin"]\nurl = https://github.com/\\\nacme/web.git # more', id="a continued line"),
        pytest.param("[remote.origin]\nurl = https://github.com/acme/web.git", id="the old header"),
        pytest.param('# [remote "origin"]\n[remote "origin"]\n;url = x\nurl = https://github.com/acme/web.git', id="comments"),
        pytest.param(
            '[remote "origin"]\nurl = https://github.com/acme/web.git\nurl = https://other/x/y', id="the first of two"
        ),
        pytest.param('[remote "origin"]\nurl = https://github.com/acme/web.git\n[url "x"]\nurl = no', id="another section"),
    ],
)  # fmt: skip
def test_a_config_is_read_as_git_reads_it(made, config):
    assert named(made(config))[0] == "acme/web"


@pytest.mark.parametrize(
    "head",
    [
        "8e5f3a1b0c9d4e7f8a6b5c4d3e2f1a0b9c8d7e6f",
        "",
        "ref: refs/tags/v1",
        "ref: refs/heads/.invalid",
        "ref: refs/heads/",
        "ref: refs/heads/../x",
        "ref: refs/heads/a\nb",
        "ref: refs/heads/a b",
        "refs/heads/main",
        "\0" * 10,
    ],
)
def test_a_head_that_is_on_no_branch_names_none(made, head):
    assert named(made(head=head))[1] == ""


@pytest.mark.parametrize(
    "config", ["", "rubbish", "[remote", '[remote "origin"]\nurl =', "\0", '[remote "origin"]\nurl = /srv/acme/web']
)
def test_a_config_without_a_remote_tells_no_repository(made, config):
    assert named(made(config))[0] == ""


@pytest.mark.parametrize("name", ["config", "HEAD"])
def test_a_fifo_among_gits_files_holds_nobody_up(made, name):
    tree = made()
    (tree / ".git" / name).unlink()
    os.mkfifo(tree / ".git" / name)

    assert "" in named(tree)


@pytest.mark.parametrize("text", ["", "gitdir:", "gitdir: /nonexistent", "gitdir: .git", "x"])
def test_a_git_file_that_leads_nowhere_is_no_checkout(tmp_path, text):
    (tmp_path / ".git").write_text(text)

    assert read_checkout(str(tmp_path)) is None


def test_a_git_file_is_followed(made, tmp_path):
    made()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.git").write_text("gitdir: ../tree/.git\n")

    assert named(tmp_path / "other") == ("acme/web", "main", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_checkout_above_is_not_believed(made):
    tree = made()
    (tree / "mine").mkdir()
    os.chown(tree / ".git", 12345, 12345)

    assert read_checkout(str(tree / "mine")) is None
    os.chown(tree, 12345, 12345)  # the owner of the workspace is as good as we are
    assert read_checkout(str(tree)) is not None


def test_where_neither_ci_nor_git_speaks_there_is_no_build(tmp_path):
    assert find_build({"PATH": "/bin"}, str(tmp_path)) is None
