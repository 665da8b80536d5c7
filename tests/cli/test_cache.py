"""``s3batch cache`` as a person uses it: list, inspect, clear and prune, in words and as JSON."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s3batch import progress
from s3batch.cache.catalog import Entry
from s3batch.cache.prune import to_evict
from s3batch.settings import Settings
from tests.archive.cycle import OLD, noise
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Stored, error

DAY = 86400.0
DRONE = {"DRONE_REPO": "octo/site", "DRONE_REPO_BRANCH": "main"}
KEYS = {
    "job", "command", "state", "exit_code", "seconds", "resumed", "journal", "files", "bytes", "unchanged",
    "operations", "requests", "retries", "failures", "warnings", "cache",
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    """A store of this process: when a test moves the clock, it moves here and there."""
    with FakeS3() as running:
        yield running


@dataclass
class Bucket:
    """What is in the one bucket there is."""

    fake: FakeS3

    def keys(self, prefix: str = "") -> set[str]:
        return {key for key in self.fake.objects.get("caches", {}) if key.startswith(prefix)}

    def put(self, key: str, body: bytes) -> None:
        self.fake.objects.setdefault("caches", {})[key] = Stored(body, f'"{hashlib.md5(body).hexdigest()}"')


@pytest.fixture
def bucket(fake) -> Bucket:
    return Bucket(fake)


@pytest.fixture
def shell(call, fake):
    """``shell("list", ...)``: ``s3batch cache list s3://caches ...`` in the working directory, outside any CI."""
    account = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}

    def run(word: str, *argv: str, env: dict[str, str] | None = None, url: str = "s3://caches"):
        environment = {**account, "S3BATCH_EXECUTOR": "inline", "S3BATCH_PROGRESS": "none", **(env or {})}
        return call("cache", word, url, *argv, env=environment)

    return run


@pytest.fixture
def cached(shell, workspace):
    """``cached("main", {...})``: a cache of that branch, with these files below ``v``."""

    def make(branch: str = "main", files: dict[str, bytes] | None = None, *more: str, **how: Any):
        for path, content in (files or {"v/a": b"A"}).items():
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_bytes(content)
            os.utime(workspace / path, ns=(OLD, OLD))
        told = DRONE | {"DRONE_COMMIT_BRANCH": branch} | how.pop("env", {})
        done = shell("rebuild", "--cache", "v", *more, env=told, **how)
        assert done.code == 0, done.err

    return make


@pytest.fixture
def in_days(monkeypatch):
    """``in_days(3)``: from now on it is so much later than when the test began."""
    real = time.time

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + days * DAY)

    return later


# --- list --------------------------------------------------------------------------------------


def test_a_bucket_without_caches_says_so(shell, bucket):
    plain, document = shell("list"), shell("list", "--json")

    assert (plain.code, plain.out) == (0, "")
    assert "no caches below caches/" in plain.err
    assert (document.json["cache"], set(document.json)) == ({"caches": []}, KEYS)


def test_the_list_is_a_table_newest_first_with_what_is_shared(shell, cached, bucket, in_days):
    cached("main", {"v/large": noise(1_000_000)})
    in_days(1)
    cached("feat/x", {"v/small": b"s"})

    lines = shell("list").out.splitlines()

    assert re.split(r"  +", lines[0]) == [
        "cache",
        "age",
        "last use",
        "size",
        "stored",
        "files",
        "chunks",
        "shared",
        "key",
    ]
    rows = [re.split(r"  +", line) for line in lines[1:]]
    assert [(row[0], row[5:8]) for row in rows] == [
        ("octo/site/feat/x", ["2", "2", "1"]),
        ("octo/site/main", ["1", "1", "1"]),
    ]
    assert {f"v1/k/{row[8]}" for row in rows} == bucket.keys("v1/k/")


def test_the_list_as_json_has_numbers(shell, cached):
    cached("main", {"v/a": b"A" * 5000}, "--cache-key", "v1-{{ .Repo.Name }}")

    (row,) = shell("list", "--json").json["cache"]["caches"]

    assert (row["name"], row["size"], row["files"], row["chunks"], row["chunks_shared"]) == (
        "octo/site/main v1-site", 5000, 1, 1, 0,
    )  # fmt: skip
    assert 0 <= row["age"] < 60
    assert 0 < row["stored"] < 5000


def test_the_list_below_a_prefix_knows_only_that(shell, cached, bucket):
    cached("main", url="s3://caches/ci")

    assert "octo/site/main" in shell("list", url="s3://caches/ci").out
    assert shell("list").out == ""


def test_a_manifest_that_cannot_be_read_is_a_warning_in_the_list(shell, cached, bucket):
    cached()
    bucket.put("v1/k/octo/site/bad/abc/default", b"rubbish")

    done = shell("list")

    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "warning: v1/k/octo/site/bad/abc/default: not a readable zstd frame" in done.err


@pytest.mark.parametrize(
    ("word", "argv"), [("list", ()), ("inspect", ()), ("prune", ()), ("clear", ())], ids=lambda value: f"{value}"
)
def test_what_cannot_be_reached_is_exit_code_4_and_one_sentence(shell, word, argv):
    done = shell(word, *argv, "--json", "--retries", "1", env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})

    assert (done.code, done.json["exit_code"], done.json["state"]) == (4, 4, "failed")
    assert done.err.count("error:") == 1
    assert "Traceback" not in done.err
    assert done.json["error"] in done.err


# --- inspect -----------------------------------------------------------------------------------


@pytest.fixture
def many(cached, workspace):
    """A cache of every kind of entry."""
    (workspace / "v").mkdir()
    os.symlink("a", workspace / "v" / "link")
    (workspace / "v" / "a").write_bytes(b"A" * 10)
    os.link(workspace / "v" / "a", workspace / "v" / "hard")
    (Path(os.fsdecode(os.fsencode(workspace / "v") + b"/caf\xe9"))).write_bytes(b"")
    (workspace / "v" / "a").chmod(0o755)
    cached("main", {"v/z": b"Z"})


@pytest.mark.parametrize("name", ["octo/site/main", "KEY", "v1/k/KEY"])
def test_a_cache_is_inspected_by_any_name_the_list_shows(shell, many, bucket, name):
    (key,) = (key.removeprefix("v1/k/") for key in bucket.keys("v1/k/"))

    done = shell("inspect", name.replace("KEY", key))

    assert done.code == 0
    assert "0755           10 v/a\n" in done.out
    assert "0755            0 v/hard = v/a\n" in done.out
    assert " v/link -> a\n" in done.out
    assert "caf\\udce9" in done.out
    assert re.search(
        r"octo/site/main: 6 entries, 11 B in 1 chunk; made .* ago by s3batch .* on linux/\w+; paths: v", done.err
    )


def test_inspect_without_a_name_shows_this_repositorys_newest(shell, many):
    document = shell("inspect", "--json", env=DRONE).json

    entries = {entry["path"]: entry for entry in document["cache"]["entries"]}
    assert set(document) == KEYS
    assert document["cache"]["roots"] == ["v"]
    assert [entries[f"v/{name}"]["kind"] for name in ("a", "hard", "link")] == ["file", "hardlink", "symlink"]
    assert entries["v/z"]["mtime_ns"] == OLD
    assert len(entries["v/z"]["hash"]) == 32


def test_inspect_names_the_others_of_that_name(shell, cached, workspace, in_days):
    cached()
    in_days(1)
    (workspace / "w").mkdir()
    (workspace / "w" / "b").write_bytes(b"B")
    shell("rebuild", "--cache", "w", env=DRONE | {"DRONE_COMMIT_BRANCH": "main"})

    done = shell("inspect", "octo/site/main")

    assert "w/b" in done.out
    assert "v/a" not in done.out
    assert "warning: another one of that name" in done.err


@pytest.mark.parametrize(
    ("name", "said"),
    [("octo/site/gone", "no cache octo/site/gone; see s3batch cache list"), ("", "no cache of local/work")],
    ids=["of that name", "of this repository"],
)
def test_a_cache_that_is_not_there_is_exit_code_1(shell, cached, name, said):
    cached()

    done = shell("inspect", *([name] if name else []))

    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_a_damaged_manifest_is_one_sentence(shell, bucket):
    bucket.put("v1/k/octo/site/bad/abc/default", b"rubbish")

    done = shell("inspect", "octo/site/bad", "--json")

    assert done.code == 1
    assert done.json["error"].startswith("v1/k/octo/site/bad/abc/default: not a readable zstd frame")


# --- clear -------------------------------------------------------------------------------------


def test_outside_a_ci_a_directory_named_like_ours_is_nobodys_cache(shell, cached, bucket, workspace):
    cached("main", env={"DRONE_REPO": "", "DRONE_COMMIT_BRANCH": ""})
    bucket.put(f"{workspace.name}/holiday.jpg", b"dear")

    rehearsed, done = shell("clear", "--dry-run"), shell("clear")

    assert rehearsed.out == f"delete {next(iter({line.split()[1] for line in rehearsed.out.splitlines()}))}\n"
    assert (done.code, bucket.keys("v1/k/")) == (0, set())
    assert bucket.keys(f"{workspace.name}/") == {f"{workspace.name}/holiday.jpg"}


def test_clear_as_json_lists_what_it_removed(shell, cached, bucket):
    cached()
    before = bucket.keys("v1/k/")

    document = shell("clear", "--json", env=DRONE).json

    assert (set(document), set(document["cache"]["removed"])) == (KEYS, before)
    assert document["requests"]["DeleteObjects"] == 1


def test_a_person_who_clears_is_told_of_a_refusal_by_exit_code(shell, cached, bucket, fake):
    cached()
    refusal = Reply(403, body=error("AccessDenied"))
    fake.meddle = lambda request: refusal if request.name == "DeleteObjects" else None

    done = shell("clear", env=DRONE)

    assert done.code == 1
    assert "error: the cache was not cleared: DeleteObjects" in done.err
    assert bucket.keys("v1/k/")


# --- prune -------------------------------------------------------------------------------------


def entry(name: str, age: float, **facts: object) -> Entry:
    return Entry(key=f"v1/k/{name}", name=name, modified=1000 * DAY - age * DAY, **facts)


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
    pytest.param({"max_size": 120}, [], id="max_size with room, shared chunks counted once"),
    pytest.param({"max_size": 119}, ["bad", "old"], id="max_size, the least recently used"),
    pytest.param({"max_size": 71}, ["bad", "mid", "old"], id="max_size, still less"),
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
    assert "2 unnamed chunks noted for a later run" in noted.err
    assert "0 chunks (0 B) deleted" in early.err
    assert "2 chunks (49 KiB) would be deleted" in promised.err
    assert (swept.json["cache"]["deleted_chunks"], swept.json["cache"]["noted"]) == (2, 0)
    assert (set(swept.json), bucket.keys("v1/c/"), bucket.keys("v1/x/"), bucket.keys("v1/k/")) == (
        KEYS, set(), set(), set(),
    )  # fmt: skip


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
    assert "another prune is at work (v1/gc/lock is there); wait for it, or lower lock_timeout" in busy.err
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


# --- what people see meanwhile -------------------------------------------------------------------


def test_progress_counts_files_and_bytes_of_the_cache(shell, workspace, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 1e-9)
    for number in range(30):
        (workspace / "v").mkdir(exist_ok=True)
        (workspace / "v" / f"{number}").write_bytes(noise(1000, seed=number))
    plain = DRONE | {"S3BATCH_PROGRESS": "plain"}

    stored = shell("rebuild", "--cache", "v", env=plain).err.splitlines()
    (workspace / "v" / "7").unlink()
    restored = shell("restore", "--cache", "v", env=plain).err.splitlines()

    assert any(re.match(r"storing: \d+ of 30 files, .* of 29 KiB", line) for line in stored), stored
    assert any(re.match(r"restoring: \d of 1 files, .* of 29 KiB", line) for line in restored), restored


def test_quiet_says_only_what_is_wrong(shell, cached):
    cached()

    assert shell("restore", "--cache", "v", "--quiet", env=DRONE).err == ""
    assert "warning" in shell("rebuild", "--cache", "gone", "--cache", "v", "--quiet", env=DRONE).err


@pytest.mark.parametrize("word", ["restore", "rebuild", "list", "inspect", "clear", "prune"])
def test_every_command_has_one_document_of_the_same_shape(shell, cached, word):
    cached()
    paths = ["--cache", "v"] if word in {"restore", "rebuild"} else []

    document = shell(word, *paths, "--json", env=DRONE | {"DRONE_COMMIT_BRANCH": "main"}).json

    assert set(document) == KEYS
    assert (document["command"], document["state"], document["exit_code"]) == (f"cache {word}", "done", 0)
    assert sum(document["requests"].values()) > 0
