"""``--delete`` of a download where a local file is in the place of a directory, or a directory in that of a file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers

FILE_IN_THE_WAY = {"h/a": b"old", "z": b"z"}
DIRECTORY_IN_THE_WAY = {"h/a/x/old": b"old", "h/a/older": b"older"}


@pytest.fixture
def site(tmp_path: Path, bucket, run_cli, env):
    """A way to fill the target, a way to sync a prefix with it, and what it holds."""

    def fill(files: dict[str, bytes]) -> None:
        for path, body in files.items():
            (tmp_path / "site" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "site" / path).write_bytes(body)

    def sync(prefix: str, *flags: str, crash: str = ""):
        words = ["sync", bucket.url(prefix), "site", "--json", *flags]
        return run_cli(words, env={**env, "S3BATCH_TEST_CRASH_AT": crash})

    def held() -> dict[str, bytes]:
        root = tmp_path / "site"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    bucket.put("p/h/a/b", b"b")
    bucket.put("p/h/a/c/d", b"d")
    bucket.put("p/z", b"z")
    bucket.put("q/h/a", b"a")
    return fill, sync, held


def done(ended, kind: str) -> int:
    assert ended.code == 0, ended.stderr
    return ended.json["operations"][kind]["done"]


NEW = {"h/a/b": b"b", "h/a/c/d": b"d", "z": b"z"}


def test_a_file_in_the_place_of_a_directory_goes_first(site):
    fill, sync, held = site
    fill(FILE_IN_THE_WAY)

    planned = sync("p", "--delete", "--dry-run")
    without = sync("p")
    first = sync("p", "--delete")
    again = sync("p", "--delete")

    assert [(each["operation"], each["key"]) for each in planned.json["plan"] if each["key"] != "p/z"] == [
        ("download", "p/h/a/b"), ("download", "p/h/a/c/d"), ("delete", "p/h/a"),
    ]  # fmt: skip
    assert (without.code, {each["code"] for each in without.json["failures"]}) == (1, {"Blocked"})
    assert (done(first, "download"), done(first, "delete"), held()) == (2, 1, NEW)
    assert done(again, "download") == done(again, "delete") == 0


def test_a_marker_is_made_where_a_file_was(site, bucket):
    fill, sync, held = site
    bucket.put("p/h/a/", b"")
    fill(FILE_IN_THE_WAY)

    first = sync("p", "--delete")

    assert (done(first, "delete"), held()) == (1, NEW)


def test_a_full_directory_in_the_place_of_a_file_stays_and_is_named(site):
    fill, sync, held = site
    fill(DIRECTORY_IN_THE_WAY)

    ended = sync("q", "--delete")

    assert (ended.code, [each["key"] for each in ended.json["failures"]]) == (1, ["q/h/a"])
    assert held() == DIRECTORY_IN_THE_WAY


@pytest.mark.parametrize("crash", ["added:1", "added:2", "added:3", "settled:2"])
@pytest.mark.parametrize("again", ["sync", "resume"])
def test_a_job_that_is_killed_there_is_finished(site, run_cli, tmp_path, crash, again):
    fill, sync, held = site
    fill(FILE_IN_THE_WAY)

    killed = sync("p", "--delete", crash=crash)
    ended = sync("p", "--delete") if again == "sync" else run_cli(["resume", "--json"], cwd=tmp_path / "site")

    assert killed.code < 0
    assert (ended.code, held()) == (0, NEW), ended.stderr


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        pytest.param(["--max-delete", "0"], "more than max_delete 0 allows", id="a limit"),
        pytest.param(["--max-size", "2"], "in the place of a directory", id="a file beyond a limit"),
    ],
)
def test_what_a_guard_keeps_stays_and_so_does_all_else(site, flags, error):
    fill, sync, held = site
    fill(FILE_IN_THE_WAY)

    ended = sync("p", "--delete", *flags)

    assert ended.code == 1
    assert error in ended.stderr
    assert held() == {"z": b"z", **FILE_IN_THE_WAY}


def test_a_link_in_the_place_of_a_directory_stays(site, tmp_path):
    fill, sync, held = site
    fill({"elsewhere/kept": b"kept", "h/other": b"o"})
    (tmp_path / "site/h/a").symlink_to("../elsewhere")

    ended = sync("p", "--delete")

    assert ended.code == 1
    assert (tmp_path / "site/h/a").is_symlink()
    assert {"elsewhere/kept", "h/other"} <= held().keys()


@pytest.mark.parametrize("flags", [[], ["--delete"]], ids=["", "with deletes"])
def test_a_plan_names_what_is_blocked_and_is_carried_out_but_for_that(site, run_cli, env, tmp_path, flags):
    """A file is in the way of two objects. It goes before one plan is carried out, and stays for the other."""
    fill, sync, held = site
    fill(FILE_IN_THE_WAY)
    (tmp_path / "site" / "z").unlink()
    (tmp_path / "site" / "orphan").write_bytes(b"orphan")
    for name in ("one.plan", "two.plan"):
        made = sync("p", "--plan", name, *flags)
        assert made.code == 0, made.stderr
        time.sleep(1 - time.time() % 1)  # two equal plans of one second are one plan

    shown = run_cli(["plan", "one.plan"], env=env)
    blocked = run_cli(["apply", "one.plan", "--json"], env=env)
    kept = held()
    (tmp_path / "site" / "h" / "a").unlink()
    (tmp_path / "site" / "z").unlink()
    free = run_cli(["apply", "two.plan", "--json"], env=env)

    lines = shown.stdout.splitlines()
    assert [each for each in lines if "delete" not in each] == [
        "download p/h/a/b blocked", "download p/h/a/c/d blocked", "download p/z missing",
    ]  # fmt: skip
    assert (blocked.code, {each["key"]: each["code"] for each in blocked.json["failures"]}) == (
        1, {"p/h/a/b": "Blocked", "p/h/a/c/d": "Blocked"},
    )  # fmt: skip
    assert kept == {"h/a": b"old", "z": b"z", "orphan": b"orphan"}
    assert {path: body for path, body in held().items() if path != "orphan"} == NEW
    assert free.code == bool(flags)  # a delete has drifted: its file is gone


@pytest.mark.parametrize("flags", [[], ["--delete"]], ids=["", "with deletes"])
def test_a_plan_leaves_out_what_can_be_no_path_and_names_it(site, bucket, run_cli, env, flags):
    """As the download itself: the rest is fetched, the exit code is 1, and nothing is deleted."""
    fill, sync, held = site
    bucket.put("p/z/below", b"a key is no file and directory at once")
    fill({"orphan": b"orphan"})

    made = sync("p", "--plan", "one.plan", *flags)
    shown = run_cli(["plan", "one.plan"], env=env)
    applied = run_cli(["apply", "one.plan", "--json"], env=env)

    assert (made.code, [each["key"] for each in made.json["failures"]]) == (1, ["p/z"])
    assert "the plan is in" in made.stderr
    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["p/h/a/b", "p/h/a/c/d", "p/z/below"]
    assert (applied.code, done(applied, "download")) == (0, 3)
    assert held().keys() == {"h/a/b", "h/a/c/d", "z/below", "orphan"}
