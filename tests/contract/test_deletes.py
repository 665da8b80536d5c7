"""Deletes look once more: what has a file by now stays, and what somebody has written since they were planned."""

from __future__ import annotations

import shutil

import pytest

from tests.contract.scene import FOR_GOOD, Scene
from tests.rig.fake_s3 import Reply, Stored, error

SKIPPED = "skipped: changed meanwhile"


def stored(scene: Scene, *names: str) -> set[str]:
    """Which of these keys the bucket holds."""
    return {name for name in names if f"site/{name}" in scene.objects}


@pytest.fixture
def orphans(scene):
    """``orphans(*names)``: a target with these keys, whose files are gone."""

    def make(*names: str) -> None:
        scene.write({"stays": b"stays"} | dict.fromkeys(names, b"orphan"))
        assert scene.sync().code == 0
        for name in names:
            (scene.source / name).unlink()

    return make


def before_the_first(scene: Scene, request: str, act) -> None:
    """Call ``act`` once, when the first such request comes."""
    done = []

    def meddle(seen):
        if seen.name == request and not done:
            done.append(1)
            act()

    scene.fake.meddle = meddle


WORKERS = pytest.mark.parametrize("workers", [["--executor", "inline"], ["--executor", "local", "--workers", "1"]])


def test_files_that_were_away_for_the_moment_of_the_walk_keep_their_objects(scene, orphans):
    orphans("a", "b", "bad\x01key", "c/d")
    scene.write({"new": b"new"})
    before_the_first(scene, "PutObject", lambda: scene.write({"a": b"b", "bad\x01key": b"b", "c/d": b"b"}))

    run = scene.sync("--delete", "--json")

    assert (run.code, run.json["operations"]["delete"]["skipped"]) == (0, 3), run.err
    assert stored(scene, "a", "b", "bad\x01key", "c/d") == {"a", "bad\x01key", "c/d"}
    assert [each for each in run.json["warnings"] if each.startswith(SKIPPED)]
    assert run.json["failures"] == []


@WORKERS
@pytest.mark.parametrize("what", ["content", "time"])
def test_an_object_that_another_has_written_since_stays(scene, orphans, workers, what):
    orphans("a", "b", "bad\x01key", "bad\x01key2")

    def write() -> None:
        for name in ("site/a", "site/bad\x01key"):
            old = scene.objects[name]
            body = b"of another" if what == "content" else old.body
            etag = '"of-another"' if what == "content" else old.etag
            scene.objects[name] = Stored(body, etag, old.headers, old.checksum, old.modified + 60)

    scene.write({"new": b"new"})
    before_the_first(scene, "PutObject", write)
    run = scene.sync("--delete", *workers)

    assert run.code == 0, run.err
    assert stored(scene, "a", "b", "bad\x01key", "bad\x01key2") == {"a", "bad\x01key"}
    assert run.err.count(SKIPPED) == 1


def test_one_listing_shows_a_thousand_orphans_in_a_row(scene):
    names = {f"d/{n:04d}": b"x" for n in range(1000)}
    scene.objects.update({f"site/{name}": Stored(b"x", '"x"') for name in names})
    scene.write({"stays": b"stays"})

    run = scene.sync("--delete")

    assert (run.code, set(scene.objects)) == (0, {"site/stays"})
    assert run.requests["DeleteObjects"] == 1
    assert run.requests["ListObjectsV2"] <= 3


def test_orphans_far_apart_are_all_looked_at(scene):
    scene.write({"stays": b"stays"})
    live = {f"site/d/{n:05d}/live": Stored(b"x", '"x"') for n in range(2500)}
    orphans = [name.replace("live", "orphan") for name in list(live)[::800]]
    scene.objects.update(live | {name: Stored(b"x", '"x"') for name in orphans})
    before_the_first(scene, "PutObject", lambda: setattr(scene.objects[orphans[2]], "etag", '"another"'))

    run = scene.sync("--delete", "--exclude", "*live")

    assert run.code == 0, run.err
    assert [name for name in scene.objects if name.endswith("orphan")] == [orphans[2]]
    assert run.requests["ListObjectsV2"] <= 3 + len(orphans)


@FOR_GOOD
def test_a_listing_that_is_refused_by_then_does_not_keep_deletes_back(scene, orphans, refusal):
    orphans("a", "b")
    scene.fake.meddle = lambda seen: Reply(refusal[0], body=error(refusal[1])) if "start-after" in seen.query else None

    run = scene.sync("--delete")

    assert (run.code, stored(scene, "a", "b")) == (0, set()), run.err
    assert run.err.count("(ListObjectsV2: ") == 1


def test_a_listing_that_fails_for_now_is_tried_again(scene, orphans):
    orphans("a", "b")
    failed = []

    def meddle(seen):
        if "start-after" in seen.query and not failed:
            failed.append(1)
            return Reply(503, body=error("SlowDown"))
        return None

    scene.fake.meddle = meddle
    run = scene.sync("--delete")

    assert (run.code, stored(scene, "a", "b"), failed) == (0, set(), [1])


def test_a_store_that_begins_its_listings_where_it_likes_is_asked_for_each_key(scene, orphans):
    orphans("x", "y")
    scene.write({f"before/{n:04d}": b"x" for n in range(1200)})
    assert scene.sync("--executor", "local").code == 0
    real = scene.fake._list_objects_v2

    def list_objects(request, objects):
        request.query.pop("start-after", None)
        return real(request, objects)

    scene.fake._list_objects_v2 = list_objects
    before_the_first(scene, "HeadObject", lambda: setattr(scene.objects["site/y"], "etag", '"another"'))

    run = scene.sync("--delete")

    assert (run.code, stored(scene, "x", "y")) == (0, {"y"}), run.err


def test_other_spellings_of_a_files_path_are_no_file(scene):
    scene.write({"a/b": b"x"})
    odd = ["site/a//b", "site/a/./b", "site/a/b/"]
    scene.objects.update({name: Stored(b"x", '"x"') for name in odd})

    run = scene.sync("--delete")

    assert (run.code, set(scene.objects)) == (0, {"site/a/b"}), run.err


# --- what stays by rule ----------------------------------------------------------------------


def test_a_folder_of_a_console_stays_while_its_directory_exists(scene):
    scene.write({"a/b": b"x"})
    scene.objects.update({f"site/{name}": Stored(b"", '"0"') for name in ("a/", "gone/", "a/b/")})
    scene.objects["site/a/c/"] = Stored(b"", '"0"')
    (scene.source / "a/c").mkdir()
    (scene.source / "full").mkdir()
    scene.objects["site/full/"] = Stored(b"with content", '"1"')

    run = scene.sync("--delete")

    assert (run.code, set(scene.objects)) == (0, {"site/a/b", "site/a/", "site/a/c/"}), run.err


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([".s3batch/cache", "v1/k/o/r/main/p/key", "v1/c/00/aa", "v1/gc/noted"], id="a marked cache"),
        pytest.param(["ci/.s3batch/cache", "ci/v1/c/00/aa", "ci/v1/x/evicted"], id="a marked cache below a prefix"),
        pytest.param(["v1/k/o/r/main/p/key", "v1/c/00/aa", "v1/gc/noted"], id="an older cache"),
        pytest.param(["ci/deep/v1/k/key", "ci/deep/v1/c/00/aa"], id="an older cache below a prefix"),
        pytest.param(["backups/job1/.s3batch-backup", "backups/job1/site/a", "backups/job1/z"], id="a backup"),
        pytest.param(["other/.s3batch/manifest", ".s3batch/fence"], id="manifest and fence"),
    ],
)
def test_what_carries_our_own_marks_is_never_deleted(scene, keys):
    scene.write({"stays": b"stays"})
    foreign = ["orphan", "ci/other", "v2/k/a", "v2/c/b", "zz.s3batch/x", "x/.s3batch-backups", "backups/job2/a"]
    scene.objects.update({name: Stored(b"x", '"x"') for name in keys + foreign})

    planned = scene.sync("--delete", "--dry-run", "--max-delete", "7", target="s3://bucket")
    run = scene.sync("--delete", "--max-delete", "7", target="s3://bucket")
    verified = scene.run("verify", str(scene.source), "s3://bucket")

    assert (planned.code, run.code, verified.code) == (0, 0, 0), run.err + verified.out
    assert set(scene.objects) == {"stays", *keys}
    assert not any(key in planned.out for key in keys)
    assert run.err.count("of s3batch") <= 1


# --- a source that was a directory ------------------------------------------------------------


def test_delete_refuses_where_the_source_was_a_directory_and_is_a_file_now(scene):
    scene.write({f"f{n}": b"x" for n in range(6)})
    scene.sync("--delete")
    for path in scene.source.iterdir():
        path.unlink()
    scene.source.rmdir()
    scene.source.write_bytes(b"one file")

    refused = scene.sync("--delete", target="s3://bucket/site/")
    planned = scene.sync("--delete", "--dry-run", target="s3://bucket/site/")
    kept = len(scene.objects)
    plain = scene.sync(target="s3://bucket/site/")
    still = scene.sync("--delete", target="s3://bucket/site/")
    allowed = scene.sync("--delete", "--allow-file-source", target="s3://bucket/site/")
    again = scene.sync("--delete", target="s3://bucket/site/")

    assert [run.code for run in (refused, planned, plain, still, allowed, again)] == [1, 1, 0, 1, 0, 0], refused.err
    assert "--allow-file-source" in refused.err
    assert kept == 6
    assert set(scene.objects) == {"site/source"}


def test_it_refuses_also_where_the_one_file_would_delete_nothing(scene):
    scene.write({"source": b"x"})
    scene.sync("--delete")
    (scene.source / "source").unlink()
    scene.source.rmdir()
    scene.source.write_bytes(b"x")

    run = scene.sync("--delete", target="s3://bucket/site/")

    assert run.code == 1
    assert "--allow-file-source" in run.err


# --- files and directories on stores that are file systems -----------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"docs": b"1"}, {"docs/a": b"2", "docs/b/c": b"3"}, id="a file becomes a directory"),
        pytest.param({"docs/a": b"1", "docs/b/c": b"2"}, {"docs": b"3"}, id="a directory becomes a file"),
    ],
)
def test_a_file_and_a_directory_of_one_name_converge(scene, before, after):
    scene.manners(is_file_system=True)
    scene.write({**before, "stays": b"stays"})
    scene.sync("--delete")
    shutil.rmtree(scene.source)
    scene.source.mkdir()
    scene.write({**after, "stays": b"stays"})

    limited = scene.sync("--delete", "--max-delete", "0")
    held = {key.removeprefix("site/") for key in scene.objects}
    run = scene.sync("--delete")
    (journal,) = (scene.root / "state").rglob("*.db")
    shown = scene.run("jobs", "show", "--journal", str(journal))
    again = scene.sync("--delete")

    assert (limited.code, held) == (1, {*before, "stays"})
    assert run.code == 0, run.err
    assert {key.removeprefix("site/") for key in scene.objects} == {*after, "stays"}
    assert "quirk of the store: an object cannot have others below it" in shown.out
    assert (again.code, again.requests["PutObject"], again.requests["DeleteObjects"]) == (0, 0, 0)


def test_nothing_goes_first_where_something_else_failed(scene):
    scene.manners(is_file_system=True)
    scene.write({"docs": b"1"})
    scene.sync("--delete")
    (scene.source / "docs").unlink()
    scene.write({"docs/a": b"2", "bad": b"3"})
    scene.fake.meddle = lambda seen: Reply(403, body=error("AccessDenied")) if seen.key == "site/bad" else None

    run = scene.sync("--delete")

    assert (run.code, set(scene.objects)) == (1, {"site/docs"})


def test_a_store_where_both_may_exist_deletes_last(scene):
    scene.write({"docs": b"1"})
    scene.sync("--delete")
    (scene.source / "docs").unlink()
    scene.write({"docs/a": b"2"})

    run = scene.sync("--delete")

    names = [seen.name for seen in scene.fake.requests if seen.key == "site/docs/a" or seen.name == "DeleteObjects"]
    assert (run.code, set(scene.objects)) == (0, {"site/docs/a"}), run.err
    assert names == ["PutObject", "DeleteObjects"]
