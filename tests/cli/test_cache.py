"""``s3batch cache`` as a person uses it: list, inspect, clear and prune, in words and as JSON."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from s3batch.reporting import progress
from tests.archive.cycle import OLD, noise
from tests.cli.caches import DRONE, KEYS, bucket, cached, fake, in_days, make_checkout, shell
from tests.rig.fake_s3 import Reply, error

__all__ = ["bucket", "cached", "fake", "in_days", "shell"]


# --- list --------------------------------------------------------------------------------------


def test_a_bucket_without_caches_says_so(shell, bucket):
    plain, document = shell("list"), shell("list", "--json")

    assert (plain.code, plain.out) == (0, "")
    assert "no caches below s3://caches/" in plain.err
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
    done = shell(word, *argv, "--json", "--retries", "1", env={**DRONE, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})

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
    assert "caf\\xe9" in done.out
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
    assert "warning: another cache of that name" in done.err


@pytest.mark.parametrize(
    ("name", "said"),
    [("octo/site/gone", "no cache octo/site/gone; see s3batch cache list"), ("", "no cache of acme/lib")],
    ids=["of that name", "of this repository"],
)
def test_a_cache_that_is_not_there_is_exit_code_1(shell, cached, name, said):
    cached()

    done = shell("inspect", *([name] if name else []), env={"DRONE_REPO": "acme/lib"})

    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_a_damaged_manifest_is_one_sentence(shell, bucket):
    bucket.put("v1/k/octo/site/bad/abc/default", b"rubbish")

    done = shell("inspect", "octo/site/bad", "--json")

    assert done.code == 1
    assert done.json["error"].startswith("v1/k/octo/site/bad/abc/default: not a readable zstd frame")


# --- clear -------------------------------------------------------------------------------------


def test_outside_a_ci_a_directory_named_like_ours_is_nobodys_cache(shell, cached, bucket, workspace):
    make_checkout(workspace)
    cached("main", env={"DRONE_REPO": "", "DRONE_COMMIT_BRANCH": ""})
    bucket.put("web/holiday.jpg", b"dear")

    rehearsed, done = shell("clear", "--dry-run"), shell("clear")

    assert [line.partition("v1/k/")[2][:14] for line in rehearsed.out.splitlines()] == ["acme/web/main/"]
    assert (done.code, bucket.keys("v1/k/")) == (0, set())
    assert bucket.keys("web/") == {"web/holiday.jpg"}


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


# --- what people see meanwhile -------------------------------------------------------------------


def test_progress_counts_files_and_bytes_of_the_cache(shell, workspace, monkeypatch):
    monkeypatch.setattr(progress, "ProgressLines", partial(progress.ProgressLines, line_every=1e-9))
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
