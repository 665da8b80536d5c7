"""A sync over a bad network, before a busy store, and with credentials that do not work: by the fault proxy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.crash.scene import sent_twice, workers_of
from tests.rig import program
from tests.rig.faults import Call, Delay, DuringReply, DuringRequest, Fault, Hold, Refuse, Reset, Stall

MIB = 1024 * 1024
LANES = ("lean", "reference")
ARGUMENTS = ("--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB", "--checksum", "crc32")


class Job:
    """A tree, its target behind the proxy, and the commands that bring the one to the other."""

    def __init__(self, tree: Path, bucket, proxy, env: dict[str, str]) -> None:
        self.tree, self.bucket, self.proxy = tree, bucket, proxy
        self.journal = tree.parent / "journal.db"
        self.env = env | {"AWS_ENDPOINT_URL": proxy.url}
        tree.mkdir()

    def write(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.tree / name).write_bytes(content)

    def arguments(self, *more: str) -> list[Any]:
        return ["sync", self.tree, self.bucket.url("p"), "--journal", self.journal, *ARGUMENTS, "--json", *more]

    def sync(self, *more: str, timeout: float = 120, env: dict[str, str] | None = None) -> program.Finished:
        return program.run(self.arguments(*more), self.env | (env or {}), self.tree.parent, timeout=timeout)

    def start(self, *more: str):
        return program.start(self.arguments(*more), self.env, self.tree.parent)

    def resume(self, *more: str) -> program.Finished:
        return program.run(["resume", "--journal", self.journal, "--json", *more], self.env, self.tree.parent)

    def mirrored(self) -> bool:
        expected = {f"p/{path.name}": path.read_bytes() for path in self.tree.iterdir()}
        return self.bucket.contents() == expected and self.bucket.uploads() == []


@pytest.fixture
def job(tmp_path, bucket, proxy, env) -> Job:
    """Thirty small files and one that goes in three parts, none of them in the bucket; two objects too many there."""
    job = Job(tmp_path / "tree", bucket, proxy, env)
    job.write(big=os.urandom(11 * MIB), **{f"f{number:02}": os.urandom(2000 + number) for number in range(30)})
    for key in ("p/old1", "p/old2"):
        bucket.put(key, b"orphan")
    return job


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    ("operation", "fault", "times"),
    [
        pytest.param("PutObject", Reset(), 3, id="connections break"),
        pytest.param("PutObject", Reset(after=True), 3, id="answers to PutObject are lost"),
        pytest.param("PutObject", DuringRequest(cut=500), 3, id="connections break inside a body"),
        pytest.param("PutObject", Refuse(500, "InternalError"), 3, id="500"),
        pytest.param("PutObject", Refuse(500, "InternalError", after=True), 3, id="500 though it was stored"),
        pytest.param("PutObject", Refuse(503, "SlowDown"), 8, id="SlowDown"),
        pytest.param("PutObject", Refuse(503, "SlowDown", read_body=False), 3, id="SlowDown before the body is read"),
        pytest.param("PutObject", Refuse(400, "RequestTimeout"), 3, id="RequestTimeout"),
        pytest.param("CompleteMultipartUpload", DuringReply(cut=20), 1, id="the answer ends early"),
        pytest.param("UploadPart", Reset(after=True), 2, id="answers to UploadPart are lost"),
        pytest.param("UploadPart", Reset(), 2, id="connections break before a part"),
        pytest.param("UploadPart", DuringRequest(cut=2 * MIB), 2, id="connections break inside a part"),
        pytest.param("UploadPart", Refuse(503, "SlowDown"), 3, id="SlowDown for parts"),
        pytest.param("CreateMultipartUpload", Reset(after=True), 1, id="the answer to CreateMultipartUpload is lost"),
        pytest.param("CreateMultipartUpload", Refuse(500, "InternalError", after=True), 1, id="500 though it is begun"),
        pytest.param("CompleteMultipartUpload", Reset(after=True), 2, id="answers to CompleteMultipartUpload are lost"),
        pytest.param("CompleteMultipartUpload", Refuse(200, "InternalError"), 2, id="200 with an error inside"),
        pytest.param("CompleteMultipartUpload", Refuse(200, "InternalError", after=True), 1, id="the same, completed"),
        pytest.param("DeleteObjects", Reset(after=True), 2, id="answers to DeleteObjects are lost"),
        pytest.param("DeleteObjects", Refuse(503, "SlowDown"), 2, id="SlowDown for deletes"),
        pytest.param("ListObjectsV2", Reset(after=True), 2, id="answers to ListObjectsV2 are lost"),
        pytest.param("ListObjectsV2", DuringReply(cut=300), 2, id="the listing ends early"),
        pytest.param("ListObjectsV2", Refuse(500, "InternalError"), 2, id="500 for the listing"),
    ],
)
def test_a_passing_fault_is_overcome_and_counted(job: Job, lane: str, operation: str, fault: Fault, times: int):
    rule = job.proxy.on(operation, fault, times=times)

    done = job.sync("--delete", "--lane", lane)

    assert rule.applied == times
    assert done.code == 0, done.stderr
    assert job.mirrored()
    report = done.json
    assert report["failures"] == []
    assert report["operations"]["upload"]["done"] == 31
    assert report["operations"]["delete"]["done"] == 2
    assert report["retries"] <= 2 * times
    if isinstance(fault, Refuse) and fault.status != 200:
        assert report["retries"] >= 1
    assert report["requests"].get(operation, 0) >= sum(each.operation == operation for each in job.proxy.requests)


@pytest.mark.parametrize("lane", LANES)
def test_a_busy_store_gets_everything_in_the_end(job: Job, lane: str):
    job.proxy.on("", Refuse(503, "SlowDown"), probability=0.3, seed=7)

    done = job.sync("--delete", "--lane", lane)

    assert done.code == 0, done.stderr
    assert job.mirrored()
    assert done.json["retries"] >= 5


def test_a_store_that_fails_in_every_way_gets_everything_in_the_end(job: Job):
    job.proxy.latency = 0.01
    for number, fault in enumerate(
        [
            Reset(),
            Reset(after=True),
            Refuse(500, "InternalError"),
            Refuse(503, "SlowDown"),
            DuringReply(cut=0),
            Delay(0.3),
        ]
    ):
        for operation in (
            "PutObject",
            "UploadPart",
            "CreateMultipartUpload",
            "CompleteMultipartUpload",
            "DeleteObjects",
        ):
            job.proxy.on(operation, fault, probability=0.08, seed=number)

    done = job.sync("--delete", "--retries", "20")

    assert done.code == 0, done.stderr
    assert job.mirrored()


@pytest.mark.parametrize("lane", LANES)
def test_a_store_that_says_nothing_is_asked_again_after_the_timeout(job: Job, lane: str):
    job.proxy.on("PutObject", Stall(60), times=2)
    job.proxy.on("UploadPart", Stall(60), times=1)

    begun = time.monotonic()
    done = job.sync("--timeout", "2", "--lane", lane)

    assert done.code == 0, done.stderr
    assert time.monotonic() - begun < 55  # one silence lasts 60
    assert done.json["retries"] >= 3
    assert set(job.bucket.keys()) >= {f"p/{path.name}" for path in job.tree.iterdir()}


@pytest.mark.parametrize("lane", LANES)
def test_an_expired_token_stops_the_job_after_a_handful_of_requests(job: Job, lane: str):
    rule = job.proxy.on("PutObject", Refuse(400, "ExpiredToken"))

    stopped = job.sync("--lane", lane, "--multipart-threshold", "1GiB")

    assert stopped.code == 4  # nothing was sent
    assert "ExpiredToken" in stopped.stderr
    assert "s3batch resume" in stopped.stderr
    assert rule.applied <= 20
    assert stopped.json["state"] == "failed"
    job.proxy.forget()
    assert job.resume().code == 0
    assert set(job.bucket.keys()) >= {f"p/{path.name}" for path in job.tree.iterdir()}


def test_a_token_that_expires_in_the_middle_stops_the_job_and_a_resume_goes_on(job: Job):
    job.proxy.on("PutObject", Refuse(400, "ExpiredToken"), skip=10)
    job.proxy.on("UploadPart", Refuse(400, "ExpiredToken"), skip=1)

    stopped = job.sync("--delete")

    assert stopped.code == 1
    assert "s3batch resume" in stopped.stderr
    assert set(job.bucket.keys()) >= {"p/old1", "p/old2"}
    sent = Counter(each.key for each in job.proxy.requests if each.operation == "PutObject" and each.status == 200)
    job.proxy.forget()
    assert job.resume().code == 0
    assert job.mirrored()
    sent += Counter(each.key for each in job.proxy.requests if each.operation == "PutObject" and each.status == 200)
    assert set(sent.values()) == {1}


@pytest.mark.parametrize("lane", LANES)
def test_a_refusal_of_everything_stops_the_job_at_about_fifty(job: Job, lane: str):
    job.write(**{f"more{number}": b"x" for number in range(200)})
    rule = job.proxy.on("PutObject", Refuse(403, "AccessDenied"))

    stopped = job.sync("--delete", "--multipart-threshold", "1GiB", "--lane", lane)

    assert stopped.code == 4
    assert 50 <= rule.applied <= 110
    assert "AccessDenied" in stopped.stderr
    assert "s3batch resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert set(job.bucket.keys()) == {"p/old1", "p/old2"}
    job.proxy.forget()
    assert job.resume().code == 0
    assert job.mirrored()


def test_a_refusal_of_some_fails_those_and_withholds_the_deletes(job: Job):
    job.proxy.on("PutObject", Refuse(403, "AccessDenied"), key="p/f0[0-4]")

    failed = job.sync("--delete")

    assert failed.code == 1
    assert sorted(each["key"] for each in failed.json["failures"]) == [f"p/f0{number}" for number in range(5)]
    assert set(failed.json["failures"][0]) == {
        "operation", "key", "path", "error", "code", "status", "request_id", "attempts",
    }  # fmt: skip
    assert failed.json["operations"]["delete"]["done"] == 0
    assert {"p/old1", "p/old2"} <= job.bucket.keys()
    assert any("nothing was deleted" in warning for warning in failed.json["warnings"])
    job.proxy.forget()
    assert job.resume().code == 0
    assert job.mirrored()


def test_a_delete_that_is_refused_is_named(job: Job):
    job.proxy.on("DeleteObjects", Refuse(403, "AccessDenied"))

    failed = job.sync("--delete")

    assert failed.code == 1
    assert sorted(each["key"] for each in failed.json["failures"]) == ["p/old1", "p/old2"]
    assert failed.json["operations"]["upload"]["done"] == 31
    job.proxy.forget()
    assert job.resume().code == 0
    assert job.mirrored()


def test_thousands_of_deletes_over_a_bad_network_stay_few_requests(job: Job):
    for number in range(2500):
        job.bucket.put(f"p/gone/{number:04}", b"")
    job.proxy.on("DeleteObjects", Refuse(503, "SlowDown"), times=2)
    job.proxy.on("DeleteObjects", Reset(after=True), skip=1, times=1)

    done = job.sync("--delete")

    assert done.code == 0, done.stderr
    assert job.mirrored()
    assert job.proxy.counts()["DeleteObjects"] <= 20  # those refused go again in pieces, while the window grows


@pytest.mark.parametrize("lane", LANES)
def test_an_endpoint_that_goes_away_for_a_moment_is_waited_for(job: Job, lane: str):
    gone = threading.Event()
    job.proxy.on("PutObject", Hold(gone), skip=3)
    process = job.start("--delete", "--lane", lane)
    assert job.proxy.wait_for("PutObject", 5)

    job.proxy.down()
    gone.set()
    threading.Timer(2.0, job.proxy.up).start()
    done = program.finish(process)

    assert done.code == 0, done.stderr
    assert job.mirrored()
    assert done.json["retries"] > 0


def test_an_endpoint_that_stays_away_stops_the_job_and_a_resume_finishes_it(job: Job):
    gone = threading.Event()
    job.proxy.on("PutObject", Hold(gone), skip=3)
    process = job.start("--delete", "--retries", "3")
    assert job.proxy.wait_for("PutObject", 5)

    job.proxy.down()
    gone.set()
    stopped = program.finish(process)
    job.proxy.up()
    resumed = job.resume()

    assert stopped.code == 1 or (stopped.code, stopped.json["operations"]["upload"]["done"]) == (4, 0)
    assert "s3batch resume" in stopped.stderr
    assert resumed.code == 0, resumed.stderr
    assert job.mirrored()


def test_the_same_without_giving_up_before_the_grace_period(job: Job):
    job.write(**{f"more{number}": b"x" for number in range(300)})
    job.proxy.on("PutObject", Refuse(500, "InternalError"), skip=20)

    begun = time.monotonic()
    stopped = job.sync("--retries", "7", "--multipart-threshold", "1GiB")

    assert time.monotonic() - begun < 100
    assert stopped.code == 1
    assert "InternalError" in stopped.stderr
    assert job.proxy.counts()["PutObject"] < 331 * 7


def test_a_bucket_that_vanishes_stops_the_job(job: Job):
    rule = job.proxy.on("PutObject", Refuse(404, "NoSuchBucket"), skip=3)

    stopped = job.sync()

    assert stopped.code == 1
    assert "NoSuchBucket" in stopped.stderr
    assert rule.applied <= 25


def test_a_body_spoilt_on_the_way_is_sent_again(job: Job):
    rule = job.proxy.on("PutObject", Refuse(400, "BadDigest"), times=3)

    done = job.sync()

    assert rule.applied == 3
    assert done.code == 0, done.stderr


def test_an_upload_somebody_else_began_with_other_attributes_is_completed_with_ours(job: Job):
    begun = job.bucket.client.create_multipart_upload(
        Bucket=job.bucket.name, Key="p/big", ContentType="text/wrong", CacheControl="no-store"
    )
    job.bucket.client.upload_part(
        Bucket=job.bucket.name, Key="p/big", UploadId=begun["UploadId"], PartNumber=1,
        Body=(job.tree / "big").read_bytes()[: 5 * MIB],
    )  # fmt: skip

    done = job.sync("--cache-control", "max-age=5", "--delete")

    assert done.code == 0, done.stderr
    assert job.mirrored()
    head = job.bucket.head("p/big")
    assert head["CacheControl"] == "max-age=5"
    assert head["ContentType"] != "text/wrong"
    parts = [each.query["partNumber"] for each in job.proxy.requests if each.operation == "UploadPart"]
    assert sorted(parts) == ["2", "3"]


@pytest.mark.parametrize("first", [b"", b"tiny", b"x" * 7 * MIB], ids=["empty", "tiny", "other content"])
def test_an_upload_somebody_else_began_with_other_content_harms_nothing(job: Job, first: bytes):
    begun = job.bucket.client.create_multipart_upload(Bucket=job.bucket.name, Key="p/big")
    job.bucket.client.upload_part(
        Bucket=job.bucket.name, Key="p/big", UploadId=begun["UploadId"], PartNumber=1, Body=first
    )

    done = job.sync("--delete")

    assert done.code == 0, done.stderr
    assert job.mirrored()


def test_an_upload_that_is_aborted_by_somebody_else_is_begun_again_once(job: Job):
    def abort(_: object) -> None:
        for upload in job.bucket.uploads():
            job.bucket.client.abort_multipart_upload(
                Bucket=job.bucket.name, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    job.proxy.on("UploadPart", Call(abort), skip=1, times=1)

    done = job.sync("--delete")

    assert done.code == 0, done.stderr
    assert job.mirrored()


def test_a_lost_worker_in_a_large_file_costs_no_part_twice(job: Job):
    job.write(big=os.urandom(151 * MIB))
    killed = threading.Event()
    job.proxy.on("UploadPart", Hold(killed), skip=10)
    process = job.start("--delete")
    assert job.proxy.wait_for("UploadPart", 12)

    os.kill(workers_of(process)[0], signal.SIGKILL)
    killed.set()
    done = program.finish(process)

    assert done.code == 0, done.stderr
    assert job.mirrored()
    assert sent_twice(job.proxy.requests) == []
