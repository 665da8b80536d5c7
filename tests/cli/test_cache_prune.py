"""``s3batch cache prune``: policies, the two runs it takes, and what it spares."""

from __future__ import annotations

import pytest

from s3batch.cache.catalog_index import ChunkList
from s3batch.cache.list import CatalogEntry
from s3batch.cache.prune import to_evict
from s3batch.settings.table import Settings
from tests.archive.cycle import noise
from tests.cli.caches import DAY, KEYS, bucket, cached, fake, in_days, shell
from tests.rig.fake_s3 import Reply, error

__all__ = ["bucket", "cached", "fake", "in_days", "shell"]

# --- prune -------------------------------------------------------------------------------------


def entry(name: str, age: float, chunks: dict[str, int] | None = None, **facts: object) -> CatalogEntry:
    """``chunks``: stored bytes by a letter that stands for an id."""
    listed = ChunkList.of([letter.encode() * 32 for letter in chunks or ()], (chunks or {}).values())
    return CatalogEntry(key=f"v1/k/{name}", name=name, modified=1000 * DAY - age * DAY, chunks=listed, **facts)


ENTRIES = [
    entry("o/r/main/p/new", 0, chunks={"a": 60, "b": 10}),
    entry("o/r/main/p/old", 10, chunks={"a": 60, "c": 20}),
    entry("o/r/feat/p/mid", 5, chunks={"d": 30}),
    entry("o/r/feat/p/bad", 20, error="unreadable"),
]
POLICIES = [
    pytest.param({}, [], id="none: nothing goes"),
    pytest.param({"ttl": 7 * DAY}, ["bad", "old"], id="ttl"),
    pytest.param({"ttl": 0.0}, [], id="ttl 0 is never"),
    pytest.param({"keep_last": 1}, ["bad", "old"], id="keep_last of each branch"),
    pytest.param({"max_total": 120}, [], id="max_total with room, shared chunks counted once"),
    pytest.param({"max_total": 119}, ["bad", "old"], id="max_total, the least recently used"),
    pytest.param({"max_total": 71}, ["bad", "mid", "old"], id="max_total, still less"),
    pytest.param({"ttl": 15 * DAY, "keep_last": 5}, ["bad"], id="an unreadable one by age"),
]


@pytest.mark.parametrize(("policy", "gone"), POLICIES)
def test_what_a_policy_gives_up(policy, gone):
    found = to_evict(ENTRIES, Settings(**policy), 1000 * DAY)

    assert sorted(each.name.rpartition("/")[2] for each in found) == gone


def test_prune_takes_two_runs_and_the_grace_to_delete_a_chunk(shell, cached, bucket, in_days):
    cached("main", {"v/a": b"A"})
    cached("old", {"v/b": noise(50_000)})

    in_days(40)
    spared = shell("prune", "--keep-last", "9", "--ttl", "50d")
    rehearsed = shell("prune", "--ttl", "30d", "--dry-run")
    evicted = shell("prune", "--ttl", "30d", "--json")
    moved, chunks = bucket.keys("v1/x/"), bucket.keys("v1/c/")
    in_days(42)
    noted = shell("prune")
    in_days(42.2)
    early = shell("prune")
    in_days(43)
    promised = shell("prune", "--dry-run")
    swept = shell("prune", "--json")

    assert "0 caches evicted" in spared.err
    names = evicted.json["cache"]["evicted"]
    assert rehearsed.out.splitlines() == [f"evict {name}" for name in names]
    assert (len(names), moved, len(chunks)) == (2, {f"v1/x/{name}" for name in names}, 2)
    assert "2 unused chunks noted for a later run" in noted.err
    assert "0 chunks (0 B) deleted" in early.err
    assert "2 chunks (49 KiB) would be deleted" in promised.err
    assert (swept.json["cache"]["deleted_chunks"], swept.json["cache"]["noted"]) == (2, 0)
    assert (set(swept.json), bucket.keys("v1/c/"), bucket.keys("v1/x/"), bucket.keys("v1/k/")) == (
        KEYS, set(), set(), set(),
    )  # fmt: skip


def test_prune_that_runs_more_often_than_half_the_grace_deletes_chunks_all_the_same(shell, cached, bucket, in_days):
    cached("main", {"v/a": noise(50_000)})
    in_days(1.5)
    cached("main", {"v/a": noise(60_000)})

    left = []
    for hours in range(0, 16, 4):
        in_days(1.6 + hours / 23.9)
        assert shell("prune").code == 0
        left.append(len(bucket.keys("v1/c/")))

    assert left == [2, 2, 2, 1]


def test_a_chunk_that_was_used_and_dropped_again_waits_anew(shell, cached, bucket, in_days):
    cached("main", {"v/a": noise(50_000)})
    cached("main", {"v/a": b"other"})
    in_days(2)
    noted = shell("prune", "--json")
    cached("main", {"v/a": noise(50_000)})
    assert shell("prune").code == 0
    cached("main", {"v/a": b"other"})
    in_days(3.1)
    again = shell("prune", "--json")

    assert [done.json["cache"]["deleted_chunks"] for done in (noted, again)] == [0, 0]
    assert (noted.json["cache"]["noted"], again.json["cache"]["noted"]) == (1, 1)


def test_prune_spares_what_another_cache_still_names(shell, cached, bucket, in_days, workspace):
    cached("old", {"v/shared": noise(50_000), "v/only": b"o"})
    (chunk,) = bucket.keys("v1/c/")
    (workspace / "v" / "only").unlink()
    in_days(3)
    cached("main", {"v/shared": noise(50_000)})

    for day in (4, 6, 7, 8):
        in_days(day)
        assert shell("prune", *(["--ttl", "2d"] if day == 4 else [])).code == 0

    assert [key.split("/")[4] for key in bucket.keys("v1/k/")] == ["main"]
    assert (bucket.keys("v1/c/"), bucket.keys("v1/x/")) == ({chunk}, set())


def test_prune_deletes_no_chunk_while_a_cache_cannot_be_read(shell, cached, bucket, in_days):
    cached("old", {"v/b": noise(50_000)})
    in_days(40)
    assert shell("prune", "--ttl", "30d").code == 0
    bucket.put("v1/k/octo/site/bad/abc/default", b"rubbish")

    for day in (42, 44, 46):
        in_days(day)
        done = shell("prune", "--json")

    assert (done.code, done.json["exit_code"], len(bucket.keys("v1/c/"))) == (1, 1, 1)
    assert "no chunk was removed, because 1 cache cannot be read: v1/k/octo/site/bad/abc/default" in done.err


def test_an_unreadable_cache_goes_by_age_and_the_sweep_goes_on(shell, cached, bucket, in_days):
    cached("old", {"v/b": noise(50_000)})
    bucket.put("v1/k/octo/site/bad/abc/default", b"rubbish")

    codes = []
    for day in (40, 42, 43, 44):
        in_days(day)
        codes.append(shell("prune", "--ttl", "30d").code)

    assert codes == [1, 0, 0, 0]
    assert bucket.keys("v1/c/") == bucket.keys("v1/x/") == set()


def test_prune_leaves_what_is_no_chunk_alone(shell, bucket, in_days):
    bucket.put("v1/c/00/notes.txt", b"mine")
    bucket.put("v1/c/README", b"mine")

    for day in (2, 4, 6):
        in_days(day)
        assert shell("prune", "--ttl", "1d").code == 0

    assert bucket.keys("v1/c/") == {"v1/c/00/notes.txt", "v1/c/README"}


def test_one_prune_at_a_time_and_a_dead_ones_lock_is_taken_over(shell, bucket, in_days):
    bucket.put("v1/gc/lock", b"{}")

    busy = shell("prune", "--json")
    in_days(0.1)
    later = shell("prune")

    assert (busy.code, later.code) == (1, 0)
    assert "another prune is running (v1/gc/lock exists); wait for it to end, or lower lock_timeout" in busy.err
    assert busy.json["state"] == "failed"
    assert bucket.keys("v1/gc/lock") == set()


def test_a_note_of_an_earlier_run_that_cannot_be_read_is_none(shell, cached, bucket, in_days):
    cached()
    bucket.put("v1/gc/noted", b"rubbish")
    in_days(2)

    assert shell("prune").code == 0


def test_prune_that_is_read_only_does_nothing(shell, cached, bucket):
    cached()

    done = shell("prune", "--read-only", "--ttl", "1s", "--json")

    assert (done.code, done.json["cache"]["evicted"], len(bucket.keys("v1/k/"))) == (0, [], 1)


def test_a_rebuild_beside_a_clean_up_whose_record_is_rubbish_looks_its_chunks_up(shell, cached, bucket):
    bucket.put("v1/gc/d-1", b"rubbish")

    cached()

    assert len(bucket.keys("v1/k/")) == 1


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_a_lock_that_cannot_be_removed_is_a_warning(shell, cached, fake, method):
    cached("main", {"v/a": b"A"})
    asked = []

    def refuse(request):
        if request.key.endswith("gc/lock") and request.method == method:
            asked.append(request)
            if method == "DELETE" or len(asked) > 1:
                return Reply(403, {}, error("AccessDenied") if method == "DELETE" else b"")
        return None

    fake.meddle = refuse
    pruned = shell("prune", "--json")

    assert (pruned.code, pruned.json["exit_code"]) == (0, 0)
    assert "v1/gc/lock cannot be removed: " in pruned.err
    assert len(pruned.json["warnings"]) == 1
