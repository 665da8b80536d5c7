"""``s3batch sync s3://BUCKET/PREFIX DIRECTORY`` against a real server: what is in the directory afterwards, and what is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3batch.plan.key_names import LONGEST_NAME
from tests.rig import program
from tests.rig.faults import Hold
from tests.rig.servers import Quirk

pytestmark = pytest.mark.servers

MIB = 1024 * 1024


needs_any_key = pytest.mark.usefixtures("any_key")


@pytest.fixture
def any_key(server) -> None:
    """Skips a test on a server that cannot hold every key that S3 can."""
    if server.has(Quirk.KEYS_REFUSED):
        pytest.skip(Quirk.KEYS_REFUSED)


def put(bucket, objects: dict[str, bytes], **more) -> None:
    for key, body in objects.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body, **more)


def content(root: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def download(run_cli, bucket, tmp_path):
    """``download("p", "--delete")``: the program's run into ``site``, with its document."""

    def run(prefix: str = "p", *flags: str, target: str = "site", code: int = 0):
        ended = run_cli(["sync", bucket.url(prefix), target, "--json", *flags])
        assert ended.code == code, ended.stderr
        return ended.json

    return run


@pytest.fixture
def site(tmp_path) -> Path:
    return tmp_path / "site"


FILES = {"p/a": b"a", "p/empty": b"", "p/dir/sub/b": b"b" * 5000, "p/dir/c ü+%": b"c", "p/z.html": b"<p>"}


def test_a_directory_holds_what_the_prefix_holds_and_nothing_is_fetched_twice(download, bucket, site):
    put(bucket, {**FILES, "q/other": b"not below p/"}, Metadata={"mtime": "1500000000"})

    first = download()
    second = download()

    assert content(site) == {key[2:]: body for key, body in FILES.items()}
    assert first["operations"]["download"] == {"planned": 5, "done": 5, "failed": 0, "skipped": 0, "bytes": 5005}
    assert first["files"] == 5
    assert first["proved"]["checksum"] + first["proved"]["etag"] == 5
    assert second["unchanged"] == 5
    if not bucket.server.has(Quirk.METADATA_RENAMED):  # else the objects are too young for their stamps to count
        assert set(second["requests"]) == {"ListObjectsV2"}, "the journal knows every file"
    assert not (site / ".s3batch").exists()


def test_a_file_has_the_time_of_its_object(download, bucket, site):
    put(bucket, {"p/told": b"1"}, Metadata={"mtime": "1500000000.25"})
    put(bucket, {"p/plain": b"2"})

    download()

    modified = bucket.client.head_object(Bucket=bucket.name, Key="p/plain")["LastModified"].timestamp()
    assert os.stat(site / "told").st_mtime_ns == 1_500_000_000_250_000_000
    assert os.stat(site / "plain").st_mtime == int(modified)


def test_a_changed_object_or_file_is_fetched_again_and_a_touched_one_is_not(download, bucket, site):
    put(bucket, FILES)
    download()
    put(bucket, {"p/a": b"A"})
    (site / "z.html").write_bytes(b"<b>")
    os.utime(site / "dir" / "sub" / "b", (1, 1))

    again = download()

    assert content(site) == {key[2:]: body for key, body in {**FILES, "p/a": b"A"}.items()}
    assert again["operations"]["download"]["done"] == 2
    assert os.stat(site / "dir" / "sub" / "b").st_mtime > 1, "its time is that of the object again"


def test_a_file_of_the_same_size_and_time_with_other_bytes_is_fetched(download, bucket, site):
    put(bucket, {"p/f": b"right"})
    download()
    before = os.stat(site / "f")
    (site / "f").write_bytes(b"wrong")
    os.utime(site / "f", ns=(before.st_mtime_ns, before.st_mtime_ns))

    download()

    assert (site / "f").read_bytes() == b"right"


def test_without_a_journal_equal_files_are_compared_and_not_fetched(download, bucket, site, tmp_path):
    put(bucket, FILES)
    download()

    again = download("p", "--journal", str(tmp_path / "another.db"))

    assert again["operations"]["download"]["planned"] == 0
    assert again["unchanged"] == 5


def test_large_objects_come_in_ranges_and_are_proved(download, bucket, site):
    body = random.Random(7).randbytes(23 * MIB + 11)
    put(bucket, {"p/large": body})

    document = download("p", "--multipart-threshold", "8MiB", "--part-size", "5MiB")

    assert hashlib.sha256((site / "large").read_bytes()).digest() == hashlib.sha256(body).digest()
    assert document["requests"]["GetObject"] == 5
    assert document["operations"]["download"] == {
        "planned": 1,
        "done": 1,
        "failed": 0,
        "skipped": 0,
        "bytes": len(body),
    }
    assert document["proved"]["size"] == 0


def test_an_object_that_was_stored_in_parts_is_proved_by_the_digests_of_its_parts(download, bucket, site):
    body = random.Random(8).randbytes(11 * MIB)
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="p/parts")["UploadId"]
    where = {"Bucket": bucket.name, "Key": "p/parts", "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": bucket.client.upload_part(**where, PartNumber=number, Body=piece)["ETag"]}
        for number, piece in enumerate((body[: 5 * MIB], body[5 * MIB : 10 * MIB], body[10 * MIB :]), start=1)
    ]
    bucket.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})

    document = download()

    assert (site / "parts").read_bytes() == body
    if not bucket.server.has(Quirk.MULTIPART_ETAG):
        assert document["proved"]["parts"] + document["proved"]["checksum"] == 1


@needs_any_key
def test_delete_removes_what_no_object_answers_to_and_never_follows_a_link(download, bucket, site, tmp_path):
    put(bucket, {**FILES, "p/marked/": b""})
    download()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_bytes(b"kept")
    for path in ("old/deep/file", "dir/orphan", "marked/orphan", ".s3batch/kept", "excluded.log"):
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(b"old")
    (site / "link").symlink_to(tmp_path / "outside")

    document = download("p", "--delete", "--exclude", "*.log")

    assert content(site) == {
        **{key[2:]: body for key, body in FILES.items()}, "excluded.log": b"old", ".s3batch/kept": b"old",
    }  # fmt: skip
    assert not (site / "link").is_symlink()
    assert not (site / "old").exists(), "directories that became empty are gone"
    assert (site / "marked").is_dir(), "an object marks it"
    assert content(tmp_path / "outside") == {"kept": b"kept"}
    assert document["operations"]["delete"]["done"] == 4


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param([], "refusing to delete 2 files", id="the listing is empty"),
        pytest.param(["--allow-empty-source", "--max-delete", "50%"], "more than max_delete", id="too many"),
    ],
)
def test_the_guards_of_delete_keep_every_file(download, bucket, site, flags, words):
    site.mkdir()
    for name in "ab":
        (site / name).write_bytes(b"kept")

    document = download("p", "--delete", *flags, code=1)

    assert words in document["error"]
    assert len(content(site)) == 2


@needs_any_key
def test_nothing_is_deleted_while_an_object_fails(download, bucket, site):
    put(bucket, {"p/../escape": b"x", "p/a": b"a"})
    site.mkdir()
    (site / "orphan").write_bytes(b"kept")

    document = download("p", "--delete", code=1)

    assert content(site) == {"a": b"a", "orphan": b"kept"}
    assert "nothing was deleted" in " ".join(document["warnings"])


def test_a_dry_run_plans_and_writes_nothing(download, bucket, site):
    put(bucket, FILES)
    site.mkdir()
    (site / "a").write_bytes(b"b")
    (site / "orphan").write_bytes(b"o")

    document = download("p", "--delete", "--dry-run")

    assert content(site) == {"a": b"b", "orphan": b"o"}
    assert {(row["operation"], row["key"], row["reason"]) for row in document["plan"]} == {
        ("download", "p/a", "content"), ("download", "p/empty", "missing"), ("download", "p/dir/sub/b", "missing"),
        ("download", "p/dir/c ü+%", "missing"), ("download", "p/z.html", "missing"), ("delete", "p/orphan", "orphan"),
    }  # fmt: skip


def test_the_report_file_of_a_dry_run_has_the_plan_without_json_too(run_cli, bucket, tmp_path):
    put(bucket, {"p/a": b"a"})

    ended = run_cli(["sync", bucket.url("p"), "site", "--dry-run", "--report", "plan.json"])

    assert ended.stdout == "download p/a missing\n"
    plan = json.loads((tmp_path / "plan.json").read_text())["plan"]
    assert plan == [{"operation": "download", "key": "p/a", "reason": "missing"}]


BAD = {
    "p/../up": "'..'", "p/d/../../up": "'..'", "p/./dot": "'.'", "p//absolute": "an empty component",
    "p/d//e": "an empty component", f"p/{'n' * (LONGEST_NAME + 1)}": "too long", "p/both": "has to be a directory",
}  # fmt: skip


@needs_any_key
def test_keys_that_cannot_be_paths_fail_alone_and_by_name(download, bucket, site, tmp_path):
    put(bucket, {**dict.fromkeys(BAD, b"bad"), "p/both/child": b"1", "p/both-after": b"2", "p/marker/": b""})

    document = download("p", code=1)

    assert content(site) == {"both/child": b"1", "both-after": b"2"}
    assert (site / "marker").is_dir()
    assert not (tmp_path / "up").exists()
    said = {failure["key"]: failure["error"] for failure in document["failures"]}
    assert said.keys() == BAD.keys()
    assert all(words in said[key] for key, words in BAD.items())


def test_links_inside_the_target_are_not_followed(download, bucket, site, tmp_path):
    put(bucket, {"p/dir/file": b"new", "p/file": b"new"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"kept")
    site.mkdir()
    (site / "dir").symlink_to(outside)
    (site / "file").symlink_to(outside / "file")

    document = download("p", code=1)

    assert content(outside) == {"file": b"kept"}
    assert (site / "file").read_bytes() == b"new"
    assert not (site / "file").is_symlink(), "a link in a file's place is replaced"
    assert [failure["key"] for failure in document["failures"]] == ["p/dir/file"]
    assert "is not followed" in document["failures"][0]["error"]


def test_the_target_may_be_a_link_itself(download, bucket, site, tmp_path):
    put(bucket, {"p/a": b"a"})
    (tmp_path / "real").mkdir()
    site.symlink_to(tmp_path / "real")

    download()

    assert content(tmp_path / "real") == {"a": b"a"}


def test_an_empty_directory_in_a_files_place_is_replaced_and_a_full_one_stays(download, bucket, site):
    put(bucket, {"p/empty": b"1", "p/full": b"2"})
    (site / "empty").mkdir(parents=True)
    (site / "full").mkdir()
    (site / "full" / "kept").write_bytes(b"kept")

    document = download("p", code=1)

    assert content(site) == {"empty": b"1", "full/kept": b"kept"}
    assert "a directory that is not empty is in its place" in document["failures"][0]["error"]


def test_what_is_preserved_may_be_asked_for_later_and_verify_compares_it(download, run_cli, bucket, site):
    put(bucket, {"p/a": b"1"}, Metadata={"mode": "100640", "mtime": "1500000000.5"})
    put(bucket, {"p/plain": b"2"})
    download()

    def verify(names: str):
        return run_cli(["verify", bucket.url("p"), site, "--json", "--preserve", names])

    before, again = verify("mode"), download("p", "--preserve", "mode")

    named = [(each["what"], each["key"], each["reason"]) for each in before.json["differences"]]
    assert (before.code, named) == (1, [("different", "p/a", "metadata")])
    assert again["operations"]["download"]["planned"] == 0
    assert stat.S_IMODE((site / "a").stat().st_mode) == 0o640
    assert verify("mode,mtime").code == 0
    os.utime(site / "a", (7, 7))
    assert (verify("mode").code, verify("mtime").code) == (0, 1)


def test_modes_are_those_of_the_umask_or_of_the_replaced_file(download, bucket, site):
    put(bucket, {"p/new": b"1", "p/old": b"2"}, Metadata={"mode": "104777"})
    site.mkdir()
    (site / "old").write_bytes(b"")
    (site / "old").chmod(0o640)
    mask = os.umask(0)
    os.umask(mask)

    download()

    assert stat.S_IMODE(os.stat(site / "new").st_mode) == 0o666 & ~mask
    assert stat.S_IMODE(os.stat(site / "old").st_mode) == 0o640


def test_an_unchanged_file_gets_the_mode_that_its_object_got_since(download, bucket, site):
    put(bucket, {"p/a": b"secret", "p/b": b"1"}, Metadata={"mode": "100644"})
    download("p", "--preserve", "mode")
    put(bucket, {"p/a": b"secret"}, Metadata={"mode": "104600"})

    document = download("p", "--preserve", "mode", "--no-trust-journal")  # both may be of one second

    assert document["operations"]["download"]["planned"] == 0
    assert stat.S_IMODE(os.stat(site / "a").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(site / "b").st_mode) == 0o644


def test_verify_names_each_difference_and_writes_nothing(run_cli, bucket, site):
    put(bucket, FILES)
    run_cli(["sync", bucket.url("p"), "site"])
    same = run_cli(["verify", bucket.url("p"), "site", "--json"])
    (site / "a").write_bytes(b"b")
    (site / "empty").unlink()
    (site / "extra").write_bytes(b"x")
    before = content(site)

    ended = run_cli(["verify", bucket.url("p"), "site", "--json"])

    assert (same.code, same.json["differences"]) == (0, [])
    assert ended.code == 1
    assert {(row["what"], row["key"]) for row in ended.json["differences"]} == {
        ("different", "p/a"), ("missing", "p/empty"), ("extra", "p/extra"),
    }  # fmt: skip
    assert content(site) == before


def test_the_doctor_tries_what_a_download_needs(run_cli, bucket, site, tmp_path):
    put(bucket, {"p/a": b"a"})
    fine = run_cli(["doctor", bucket.url("p"), "site", "--json"])
    site.mkdir()
    (site / ".s3batch").write_bytes(b"in the way")
    blocked = run_cli(["doctor", bucket.url("p"), "site", "--json"])

    assert fine.code == 0, fine.stderr
    assert [(check["call"], check["outcome"]) for check in fine.json["checks"]] == [
        ("ListObjectsV2", "allowed"), ("HeadObject", "allowed"), ("GetObject", "allowed"), ("(local)", "allowed"),
    ]  # fmt: skip
    assert blocked.code == 1
    assert ".s3batch" in blocked.json["checks"][-1]["error"]
    assert bucket.keys() == {"p/a"}, "nothing is written to the source"
    assert {path.name for path in site.iterdir()} == {".s3batch"}


def test_a_journal_in_the_directory_is_no_orphan(run_cli, bucket, site):
    put(bucket, {"p/a": b"a"})
    site.mkdir()
    done = run_cli(["sync", bucket.url("p"), "site", "--delete", "--journal", "site/j.db"])
    again = run_cli(["sync", bucket.url("p"), "site", "--delete", "--journal", "site/j.db", "--json"])
    compared = run_cli(["verify", bucket.url("p"), "site", "--journal", "site/j.db"])

    assert (done.code, again.code, compared.code) == (0, 0, 0), compared.stdout
    assert again.json["operations"]["delete"]["planned"] == 0
    assert (site / "j.db").exists()


def test_the_directory_of_journals_and_locks_is_no_orphan_in_a_home(run_cli, env, bucket, tmp_path):
    state = tmp_path / "house" / ".local" / "state" / "s3batch"
    at_home = env | {"HOME": str(tmp_path / "house"), "XDG_STATE_HOME": ""}
    (tmp_path / "house").mkdir()
    put(bucket, {"p/a": b"a", "p/.local/state/s3batch/planted.db": b"planted", "q/b": b"b"})
    run_cli(["sync", bucket.url("q"), "elsewhere"], env=at_home)
    before = {path.name for path in state.iterdir()}

    done = run_cli(["sync", bucket.url("p"), "house", "--delete", "--max-delete", "100%"], env=at_home)

    assert done.code == 0, done.stderr
    assert before
    assert before <= {path.name for path in state.iterdir()}
    assert not (state / "planted.db").exists()
    assert list(state.glob("target-*.lock"))[1:], "the lock of the running job was deleted"


def test_ignore_files_are_not_fetched_into_a_new_directory_either(download, bucket, site):
    put(bucket, {"p/a": b"a", "p/.s3batchignore": b"b", "p/dir/.s3batchignore": b"*", "p/b": b"b"})

    assert download()["files"] == 2
    assert content(site) == {"a": b"a", "b": b"b"}


def test_filters_choose_keys_by_their_paths(download, bucket, site):
    put(bucket, FILES)

    download("p", "--include", "dir/**", "--exclude", "*ü*")

    assert content(site) == {"dir/sub/b": b"b" * 5000}


def test_the_history_of_a_directory_names_its_source(run_cli, bucket, site):
    put(bucket, {"p/a": b"a"})
    run_cli(["sync", bucket.url("p"), "site"])
    jobs = json.loads(run_cli(["jobs", "list", "--json"]).stdout)

    assert [(job["source"], job["target"]) for job in jobs["jobs"]] == [(bucket.url("p"), str(site))]


def test_two_downloads_to_one_directory_exclude_each_other(start_cli, run_cli, env, bucket, site, proxy, tmp_path):
    put(bucket, {"p/a": b"a", "q/b": b"b"})
    held = threading.Event()
    proxy.on("GetObject", Hold(held))
    first = start_cli(["sync", bucket.url("p"), "site"], env=env | {"AWS_ENDPOINT_URL": proxy.url})
    assert proxy.wait_for("GetObject")

    second = run_cli(["sync", bucket.url("q"), "site", "--journal", str(tmp_path / "other.db")])
    held.set()

    assert second.code == 3, second.stderr
    assert program.finish(first).code == 0
    assert content(site) == {"a": b"a"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MiB, where this user may mount one."""
    place = tmp_path / "disks" / "small"
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_file_system_that_is_mounted_below_the_target_keeps_its_files(download, bucket, small_disk):
    put(bucket, {"p/a": b"a"})
    (small_disk / "mine").write_bytes(b"mine")
    (small_disk.parent / "orphan").write_bytes(b"orphan")

    done = download("p", "--delete", "--max-delete", "100%", target="disks")

    assert done["operations"]["delete"]["done"] == 1
    assert content(small_disk.parent) == {"a": b"a", "small/mine": b"mine"}


@pytest.mark.parametrize(
    "flags", [[], ["--multipart-threshold", "5MiB", "--part-size", "5MiB"]], ids=["whole", "ranges"]
)
def test_a_full_disk_parks_the_job_and_leaves_no_unfinished_file(run_cli, bucket, small_disk, flags):
    put(bucket, {"p/a": b"a", "p/large": bytes(6 * MIB), "p/z": b"z"})

    full = run_cli(["sync", bucket.url("p"), small_disk, "--json", *flags])
    left = [path for path in small_disk.rglob("*") if path.name.startswith(".s3batch") or path.stat().st_size > MIB]
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    resumed = run_cli(["resume", full.json["job"], "--json", "--journal", full.json["journal"]])

    assert full.code == 1, full.stderr
    assert "the target takes no more" in full.json["error"]
    assert left == []
    assert resumed.code == 0, resumed.stderr
    assert content(small_disk) == {"a": b"a", "large": bytes(6 * MIB), "z": b"z"}
