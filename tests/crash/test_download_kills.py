"""Kill a download at each point, resume it, and look at every byte: in the directory, and beside it."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.test_points import DOWNLOAD
from tests.rig import program
from tests.rig.buckets import Bucket
from tests.rig.faults import Hold
from tests.rig.proxy import FaultProxy
from tests.rig.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.crash]

MIB = 1024 * 1024
SPEED = ("--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB")
COORDINATOR = (
    "begun", "listed-page", "listed", "added", "leased", "settled:1", "settled:2", "upload-journalled", "part-settled:2",
    "finishing", "finished:1", "deleting", "deleted", "learned",
)  # fmt: skip
WORKER = ("sending:3", "fetched:1", "fetched:4", "landed:1", "landed:5", "part-stored:2", "upload-begun", "completed")


_PARTS_DONE = """
SELECT count(*) FROM part JOIN operation ON operation.id = part.operation WHERE part.state = 'done' AND key = 'p/large'
"""


@dataclass(slots=True)
class Download:
    """A prefix of a bucket, and a directory that holds other things."""

    bucket: Bucket
    proxy: FaultProxy
    environment: dict[str, str]
    site: Path
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return self.site.parent / "journal.db"

    def start(self, crash_at: str = "") -> subprocess.Popen[str]:
        environment = self.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        arguments = ["sync", self.bucket.url("p"), self.site, "--delete", "--journal", self.journal, *SPEED]
        return program.start(arguments, environment, self.site.parent)

    def sync(self, crash_at: str = "") -> program.Finished:
        return program.finish(self.start(crash_at))

    def parts_done(self) -> int:
        if not self.journal.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as connection:
            try:
                return connection.execute(_PARTS_DONE).fetchone()[0]
            except sqlite3.OperationalError:
                return 0

    def resume(self) -> program.Finished:
        return self.run(["resume", *SPEED[:2]])

    def run(self, arguments: list[str]) -> program.Finished:
        return program.run([*arguments, "--journal", self.journal], self.environment, self.site.parent)

    def assert_no_torn_file(self) -> None:
        """Each file outside ``.s3batch`` is an object, or what was there before."""
        before = {"wrong": b"old", "orphan": b"old", "old/orphan": b"old"}
        for path in self.site.rglob("*"):
            name = str(path.relative_to(self.site))
            if path.is_file() and not name.startswith(".s3batch/"):
                assert path.read_bytes() in (self.objects.get(name), before.get(name)), name

    def assert_all_well(self) -> None:
        found = {str(path.relative_to(self.site)): path for path in self.site.rglob("*")}
        assert {name: path.read_bytes() for name, path in found.items() if path.is_file()} == self.objects
        assert {name for name, path in found.items() if path.is_dir()} == {"dir"}
        with closing(sqlite3.connect(self.journal)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert connection.execute("SELECT count(*) FROM operation WHERE upload_id <> ''").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM part").fetchone()[0] == 0


@pytest.fixture
def download(bucket, proxy, clean_env, server, tmp_path) -> Download:
    chance = random.Random(3)
    objects = {f"dir/f{number}": chance.randbytes(2000) for number in range(8)}
    objects |= {"wrong": b"new", "large": chance.randbytes(12 * MIB), "other": chance.randbytes(6 * MIB)}
    for key, body in objects.items():
        bucket.client.put_object(Bucket=bucket.name, Key=f"p/{key}", Body=body)
    site = tmp_path / "site"
    for name in ("wrong", "orphan", "old/orphan"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(b"old")
    environment = clean_env | server.environment() | {"AWS_ENDPOINT_URL": proxy.url}
    return Download(bucket, proxy, environment, site, objects)


def test_every_point_of_a_download_is_in_these_tables():
    assert {point.partition(":")[0] for point in WORKER} >= DOWNLOAD


@pytest.mark.parametrize("point", COORDINATOR)
def test_resume_finishes_a_killed_download(download: Download, point: str):
    killed = download.sync(crash_at=point)
    download.assert_no_torn_file()

    resumed = download.resume()

    assert killed.code == -signal.SIGKILL, killed.stderr
    assert resumed.code == 0, resumed.stderr
    download.assert_all_well()


@pytest.mark.parametrize("point", WORKER)
def test_a_download_outlives_a_worker_that_dies(download: Download, tmp_path, point: str):
    name, _, count = point.partition(":")

    done = download.sync(crash_at=f"{name}:{count}:{tmp_path / 'died'}")

    assert (tmp_path / "died").exists()
    assert done.code == 0, done.stderr
    download.assert_all_well()


def test_ranges_that_are_on_disk_do_not_come_again(download: Download):
    held = threading.Event()
    download.proxy.on("GetObject", Hold(held), key="large$", skip=2)
    process = download.start()
    assert wait_until(lambda: download.parts_done() >= 2)
    program.kill(process)
    held.set()
    download.proxy.forget()

    resumed = download.resume()

    ranges = [each for each in download.proxy.requests if each.operation == "GetObject" and "range" in each.headers]
    assert resumed.code == 0, resumed.stderr
    assert len([each for each in ranges if each.key == "p/large"]) == 1
    download.assert_all_well()


def test_the_unfinished_files_of_a_dead_run_are_removed_by_another_sync(download: Download):
    download.sync(crash_at="part-settled:1")
    left = set((download.site / ".s3batch" / "tmp").iterdir())
    for key in download.objects:
        download.bucket.client.delete_object(Bucket=download.bucket.name, Key=f"p/{key}")
    download.objects.clear()
    download.objects["kept"] = b"kept"
    download.bucket.client.put_object(Bucket=download.bucket.name, Key="p/kept", Body=b"kept")

    done = download.sync()

    assert left
    assert done.code == 0, done.stderr
    assert {path.name for path in download.site.iterdir()} == {"kept"}


@pytest.mark.parametrize("command", ["prune", "forget"])
def test_a_forgotten_download_leaves_no_unfinished_file(download: Download, command: str):
    download.sync(crash_at="part-settled:1")
    job = json.loads(download.run(["jobs", "list", "--json"]).stdout)["jobs"][0]["job"]

    ended = download.run(["jobs", command, *([job] if command == "forget" else [])])

    assert ended.code == 0, ended.stderr
    assert [path.name for path in (download.site / ".s3batch" / "tmp").iterdir() if "-" in path.name] == []
    assert "AbortMultipartUpload" not in download.proxy.counts(), "there is no upload in the bucket"


def test_another_source_for_the_same_directory_follows_a_killed_download(download: Download):
    download.bucket.client.put_object(Bucket=download.bucket.name, Key="q/kept", Body=b"kept")
    killed = download.sync(crash_at="part-settled:1")

    done = download.run(["sync", download.bucket.url("q"), str(download.site), "--delete"])

    assert killed.code == -signal.SIGKILL
    assert done.code == 0, done.stderr
    assert {path.name: path.read_bytes() for path in download.site.iterdir()} == {"kept": b"kept"}


def test_what_an_ignore_file_hides_since_a_kill_is_left_out_by_the_resume(download: Download):
    killed = download.sync(crash_at="leased")
    (download.site / ".s3batchignore").write_text("dir/\n")

    resumed = download.resume()

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.stderr
    found = {path.name for path in download.site.iterdir()}
    assert found - {"dir"} == {".s3batchignore", "wrong", "large", "other"}
