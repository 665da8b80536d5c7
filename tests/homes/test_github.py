"""The two actions, as a runner of GitHub runs them: inputs, outputs, state between main and post, the summary's file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY
from tests.rig.program import ROOT, Finished

yaml = pytest.importorskip("yaml")
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE, reason="there is no node here")
CACHE, SYNC = (yaml.safe_load((ROOT / name).read_text()) for name in ("action.yml", "sync/action.yml"))
GITHUB = {
    "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_REPOSITORY": "octo/site", "GITHUB_REPOSITORY_OWNER": "octo",
    "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main", "GITHUB_EVENT_NAME": "push", "GITHUB_RUN_NUMBER": "7",
}  # fmt: skip


class Action:
    """One use of an action in a job."""

    def __init__(self, folder: Path, runner: dict[str, str], place: str, inputs: dict[str, str]) -> None:
        self.action = yaml.safe_load((ROOT / place).read_text())
        assert set(inputs) <= set(self.action["inputs"]), "an input that the action does not have"
        self.place = (ROOT / place).parent
        self.folder, self.workspace = folder, folder / "work"
        self.workspace.mkdir(exist_ok=True)
        given = {name: row.get("default", "") for name, row in self.action["inputs"].items()} | inputs
        self.event: dict[str, object] = {"repository": {"default_branch": "main"}}
        self.environ = runner | GITHUB | {f"INPUT_{name.upper()}": value for name, value in given.items()}

    def run(self, step: str) -> Finished:
        """Run ``main`` or ``post``, with files for outputs, state and summary as the runner makes them."""
        files = {name: self.folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")}
        state = self.read("github_state")
        for path in files.values():
            path.write_text("")
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.event))
        environ = self.environ | {name: str(path) for name, path in files.items()}
        environ |= {"GITHUB_EVENT_PATH": str(event), "GITHUB_WORKSPACE": str(self.workspace)}
        environ |= {f"STATE_{name}": value for name, value in state.items()} if step == "post" else {}
        script = self.place / self.action["runs"][step]
        ran = subprocess.run(
            [NODE, script], cwd=self.workspace, env=environ, text=True, capture_output=True, check=False, timeout=120
        )
        return Finished(ran.returncode, ran.stdout, ran.stderr)

    def read(self, name: str) -> dict[str, str]:
        path = self.folder / name
        return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}


@pytest.fixture
def cache(tmp_path, runner, store):
    """``cache(key=..., path=...)``: a use of the cache action."""

    def use(**inputs: str) -> Action:
        given = {"bucket": "caches", "endpoint-url": store.url, "region": "us-east-1", "access-key": ACCESS_KEY}
        given |= {"secret-key": SECRET_KEY} | {name.replace("_", "-"): value for name, value in inputs.items()}
        return Action(tmp_path, runner, "action.yml", given)

    return use


def test_a_miss_is_saved_after_the_job_and_restored_by_the_next(cache, store):
    first = cache(path="node modules\nvendor, too", key="deps,1", restore_keys="deps,\nother")
    for name in ("node modules", "vendor, too"):
        (first.workspace / name).mkdir()

    missed = first.run("main")
    outputs = first.read("github_output")
    (first.workspace / "node modules" / "a.js").write_text("js")
    (first.workspace / "vendor, too" / "b").write_text("b")
    saved = first.run("post")

    assert (missed.code, saved.code) == (0, 0), missed.stderr + saved.stderr
    assert outputs["cache-hit"] == "false"
    assert any("octo/site/" in key for key in store.objects["caches"])
    for name in ("node modules", "vendor, too"):
        shutil.rmtree(first.workspace / name)

    again = cache(path="node modules\nvendor, too", key="deps,1")
    hit = again.run("main")
    assert hit.code == 0, hit.stderr
    assert again.read("github_output")["cache-hit"] == "true"
    assert (again.workspace / "node modules" / "a.js").read_text() == "js"
    store.requests.clear()
    kept = again.run("post")
    assert (kept.code, store.requests) == (0, [])
    assert "not saved again" in kept.stdout
    assert SECRET_KEY not in missed.stdout + missed.stderr + saved.stdout + saved.stderr + hit.stderr


def test_a_fallback_is_named_and_the_key_saved(cache, store):
    first = cache(path="v", key="deps-1")
    (first.workspace / "v").mkdir()
    (first.workspace / "v" / "a").write_text("a")
    first.run("main")
    first.run("post")

    second = cache(path="v", key="deps-2", restore_keys="deps-")
    assert second.run("main").code == 0
    outputs = second.read("github_output")
    store.requests.clear()

    assert second.run("post").code == 0
    assert (outputs["cache-hit"], outputs["cache-matched-key"]) == ("false", "deps-1")
    assert "PutObject" in [request.name for request in store.requests]


@pytest.mark.parametrize(("source", "saves"), [("octo/site", True), ("mallory/site", False)], ids=["own", "fork"])
def test_a_pull_request_restores_from_its_target_and_one_of_a_fork_saves_nothing(cache, store, source, saves):
    base = cache(path="v", key="k")
    (base.workspace / "v").mkdir()
    (base.workspace / "v" / "a").write_text("a")
    base.run("main")
    base.run("post")
    shutil.rmtree(base.workspace / "v")
    pull = cache(path="v", key="k2", restore_keys="k")
    pull.environ |= {
        "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/12/merge", "GITHUB_HEAD_REF": "feat",
        "GITHUB_BASE_REF": "main",
    }  # fmt: skip
    sides = {
        "head": {"ref": "feat", "repo": {"full_name": source}},
        "base": {"ref": "main", "repo": {"full_name": "octo/site"}},
    }
    pull.event |= {"number": 12, "pull_request": {"number": 12, **sides}}
    before = set(store.objects["caches"])

    restored = pull.run("main")
    outputs = pull.read("github_output")
    saved = pull.run("post")

    assert (restored.code, saved.code) == (0, 0), restored.stderr + saved.stderr
    assert (outputs["cache-hit"], outputs["cache-matched-key"]) == ("false", "k")
    assert (pull.workspace / "v" / "a").read_text() == "a"
    made = set(store.objects["caches"]) - before
    assert bool(made) is saves
    assert all("octo/site/~pr-12" in key or key.startswith("v1/c/") for key in made)


def test_read_only_saves_nothing(cache, store):
    action = cache(path="v", key="k", read_only="true")
    (action.workspace / "v").mkdir()
    (action.workspace / "v" / "a").write_text("a")

    assert [action.run("main").code, action.run("post").code] == [0, 0]
    assert store.objects.get("caches", {}) == {}


def test_a_wrong_setting_fails_the_step_and_the_post_step_does_nothing(cache, store):
    action = cache(path="v", key="k", endpoint_url="ftp://x")

    failed, post = action.run("main"), action.run("post")

    assert (failed.code, post.code) == (2, 0)
    assert "endpoint_url cannot be 'ftp://x'" in failed.stderr
    assert store.requests == []


def test_the_outputs_and_inputs_are_those_of_the_documented_names():
    assert set(CACHE["inputs"]) == {
        "bucket", "path", "key", "restore-keys", "prefix", "endpoint-url", "region", "access-key", "secret-key",
        "read-only",
    }  # fmt: skip
    assert set(CACHE["outputs"]) == {"cache-hit", "cache-matched-key", "cache-state"}
    assert set(SYNC["outputs"]) == {"uploaded", "copied", "deleted", "unchanged", "failed", "bytes"}
    for action in (CACHE, SYNC):
        assert action["runs"]["using"] == "node20"
        assert all(row["description"] for row in [*action["inputs"].values(), *action["outputs"].values()])


def test_the_sync_action_gives_its_outputs(tmp_path, runner, store):
    inputs = {
        "source": "public", "target": "s3://site/www", "exclude": "*.map\n.git/", "delete": "true",
        "settings": "cache-control=no-cache\n\nworkers = 1", "endpoint-url": store.url, "region": "us-east-1",
        "access-key": ACCESS_KEY, "secret-key": SECRET_KEY,
    }  # fmt: skip
    action = Action(tmp_path, runner, "sync/action.yml", inputs)
    (action.workspace / "public").mkdir()
    (action.workspace / "public" / "index.html").write_text("<p>")
    (action.workspace / "public" / "a.map").write_text("map")

    done = action.run("main")

    assert done.code == 0, done.stderr
    outputs = action.read("github_output")
    assert {name: outputs[name] for name in SYNC["outputs"]} == {
        "uploaded": "1", "copied": "0", "deleted": "0", "unchanged": "0", "failed": "0", "bytes": "3",
    }  # fmt: skip
    assert "s3batch sync" in (tmp_path / "github_step_summary").read_text()
    [(key, stored)] = store.objects["site"].items()
    assert (key, stored.headers["cache-control"]) == ("www/index.html", "no-cache")


@pytest.mark.parametrize(
    ("inputs", "code", "sentence"),
    [
        ({"settings": "nonsense"}, 2, "::error::settings: nonsense is no line NAME=VALUE"),
        ({"settings": "colour=red"}, 2, "there is no variable S3BATCH_COLOUR"),
        ({"source": "nowhere"}, 2, "nowhere"),
    ],
)
def test_a_wrong_input_of_the_sync_action_fails_the_step(tmp_path, runner, store, inputs, code, sentence):
    given = {"source": ".", "target": "s3://site", "endpoint-url": store.url, "access-key": ACCESS_KEY}
    action = Action(tmp_path, runner, "sync/action.yml", given | {"secret-key": SECRET_KEY} | inputs)

    failed = action.run("main")

    assert failed.code == code, failed.stderr
    assert sentence in failed.stdout + failed.stderr


def test_without_s3batch_pipx_runs_the_release(tmp_path, runner, store):
    """pipx is a stand-in that writes down how it was called."""
    (tmp_path / "bin" / "s3batch").unlink()
    (tmp_path / "bin" / "pipx").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    (tmp_path / "bin" / "pipx").chmod(0o755)
    runner["PATH"] = f"{tmp_path / 'bin'}:/bin:/usr/bin"
    action = Action(tmp_path, runner, "sync/action.yml", {"source": ".", "target": "s3://site"})

    assert action.run("main").code == 0

    release = (ROOT / "CHANGELOG.md").read_text().split("\n## ", 2)[1].split()[0]
    assert (tmp_path / "called").read_text() == f"run --spec s3batch=={release} s3batch sync -- . s3://site\n"
    (tmp_path / "bin" / "pipx").unlink()
    runner["PATH"] = str(tmp_path / "bin")
    nothing = Action(tmp_path, runner, "sync/action.yml", {"source": ".", "target": "s3://site"}).run("main")
    assert (nothing.code, "install s3batch or pipx on this runner" in nothing.stdout) == (1, True)
