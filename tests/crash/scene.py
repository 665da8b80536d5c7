"""A tree, a bucket that does not hold it yet, and what must be true once s3batch has been killed and resumed.

The tree has every kind of work in it: files new, changed, and right already; one whose metadata differ; two that
go in parts; one to be published last; objects that no file answers to; a redirect.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rig import program
from tests.rig.buckets import Bucket
from tests.rig.faults import Request
from tests.rig.proxy import FaultProxy
from tests.rig.servers import Quirk

PREFIX = "site/"
MIB = 1024 * 1024
CSS = "text/css; charset=utf-8"
SPEED = ("--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB", "--checksum", "crc32")
WANTED = (
    "--delete", "--publish-last", "index.html", "--redirects", '{"go": "/site/index.html"}',
    "--cache-control", '{"style.css": "max-age=60"}',
)  # fmt: skip
LOOK_UPS = ("HeadObject", "ListParts", "ListObjectsV2")
CONTENT_SENT = ("PutObject", "UploadPart")
WRITES = ("PutObject", "CompleteMultipartUpload", "CopyObject", "DeleteObject", "DeleteObjects")


@dataclass(slots=True)
class Scene:
    """Where a crash test plays; see the module."""

    tree: Path
    bucket: Bucket
    proxy: FaultProxy
    environment: dict[str, str]
    journal: Path
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def cwd(self) -> Path:
        return self.tree.parent

    def start(self, *more: str, crash_at: str = "", **popen: Any) -> subprocess.Popen[str]:
        """Begin the sync; with ``crash_at`` it, or a worker of it, dies there."""
        environment = self.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        arguments = ["sync", self.tree, self.bucket.url(PREFIX), "--journal", self.journal, *SPEED, *WANTED, *more]
        return program.start(arguments, environment, self.cwd, **popen)

    def sync(self, *more: str, crash_at: str = "") -> program.Finished:
        """Sync to the end, be it good or bad."""
        return program.finish(self.start(*more, crash_at=crash_at))

    def resume(self, *more: str) -> program.Finished:
        """``s3batch resume``."""
        return program.run(["resume", "--journal", self.journal, *SPEED[:2], *more], self.environment, self.cwd)

    def state(self) -> str:
        """The newest job's state, as ``jobs list`` tells it."""
        listed = program.run(["jobs", "list", "--json", "--journal", self.journal], self.environment, self.cwd)
        assert listed.code == 0, listed.stderr
        return listed.json["jobs"][0]["state"] if listed.json["jobs"] else "none"

    def expected(self) -> dict[str, bytes]:
        return {PREFIX + path: content for path, content in self.files.items()} | {"go": b""}

    def assert_mirrored(self) -> None:
        """The bucket holds what the tree holds, byte for byte, with its attributes, and nothing is left over."""
        found = self.bucket.contents()
        assert set(found) ^ set(self.expected()) == set()
        assert [key for key, content in self.expected().items() if found[key] != content] == []
        assert self.bucket.head(f"{PREFIX}style.css")["CacheControl"] == "max-age=60"
        assert self.bucket.head("go")["WebsiteRedirectLocation"] == "/site/index.html"
        assert [each["Key"] for each in self.bucket.uploads() if each["Key"] not in self._begun_unseen()] == []

    def _begun_unseen(self) -> set[str]:
        """Return the keys of uploads that a late request began and whose time the server does not tell.

        Only the time tells such an upload from one of somebody else: s3batch lets it be.
        """
        begun = (each for each in list(self.proxy.requests) if each.operation == "CreateMultipartUpload")
        untrue = self.bucket.server.has(Quirk.UPLOAD_TIMES_UNTRUE)
        return {each.key for each in begun if untrue and each.action == "Delay"}

    def assert_nothing_sent_twice(self) -> None:
        """What S3 has acknowledged once never travels again."""
        twice = sent_twice(self.proxy.requests)
        assert twice == [], twice

    def assert_journal_healthy(self) -> None:
        with closing(sqlite3.connect(self.journal)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert connection.execute("SELECT count(*) FROM operation WHERE state = 'leased'").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM operation WHERE upload_id <> ''").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM doubt WHERE upload AND until = 0").fetchone()[0] == 0

    def assert_all_well(self) -> None:
        """Everything above."""
        self.assert_mirrored()
        self.assert_nothing_sent_twice()
        self.assert_journal_healthy()
        assert self.state() == "done"


Piece = tuple[str, str, str, bytes]
"""Operation, key, part number, and the beginning of the content: a changed file is another piece."""


def acknowledged(requests: list[Request]) -> Counter[Piece]:
    """How often each piece of content was sent and accepted."""
    return Counter(_piece(each) for each in list(requests) if each.operation in CONTENT_SENT and each.status == 200)


def _piece(request: Request) -> Piece:
    return request.operation, request.key, request.query.get("partNumber", ""), request.body[:100]


def sent_twice(requests: list[Request]) -> list[Piece]:
    """Content that was sent again although S3 had said that it has it.

    What was still under way when its sender died may go twice: whoever asked S3 meanwhile was told that it is not
    there. So a second time counts unless S3 was asked about that key, or part, before it gave its first answer. It is
    asked more often than that: the listing runs beside. Nor does it count where a request that was held up undid the
    first meanwhile.
    """
    late = [each for each in list(requests) if each.action == "Delay" and each.operation in WRITES and each.answered]
    sent: dict[Piece, Request] = {}
    asked: defaultdict[str, list[float]] = defaultdict(list)
    twice = []
    for each in list(requests):
        if each.operation in LOOK_UPS:
            asked[each.key].append(each.started)
        if each.operation in CONTENT_SENT and each.status == 200:
            first = sent.get(_piece(each))
            looks = (*asked[each.key], *asked[""])
            undone = first is not None and any(
                it is not first and it.key == each.key and first.answered <= it.answered <= each.answered for it in late
            )
            if first and not undone and not any(first.started < look < first.answered for look in looks):
                twice.append(_piece(each))
            sent[_piece(each)] = each
    return twice


def make_scene(
    directory: Path,
    bucket: Bucket,
    proxy: FaultProxy,
    environment: Mapping[str, str],
    *,
    pages: int = 24,
    big: int = 41 * MIB,
) -> Scene:
    """The tree on disk, and in the bucket what an earlier deploy left there."""
    scene = Scene(
        directory / "tree", bucket, proxy, {**environment, "AWS_ENDPOINT_URL": proxy.url}, directory / "journal.db"
    )
    chance = random.Random(20261121)
    scene.files = {f"page/{number:02}.html": chance.randbytes(1500 + number) for number in range(pages)}
    scene.files |= {
        "big.bin": chance.randbytes(big), "second.bin": chance.randbytes(11 * MIB), "empty": b"",
        "ünï cödé+%20.txt": b"name", "index.html": b"<html>published last</html>", "style.css": b"body {}",
        "same.txt": b"it was here before", "changed.txt": b"new content, as long",
    }  # fmt: skip
    for path, content in scene.files.items():
        (scene.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (scene.tree / path).write_bytes(content)
    for path, content, kind in (
        ("style.css", b"body {}", CSS), ("same.txt", b"it was here before", "text/plain"),
        ("changed.txt", b"old content, as long", "text/plain"),
        ("old/1", b"1", "text/plain"), ("old/2", b"2", "text/plain"), ("old/ü 3", b"3", "text/plain"),
    ):  # fmt: skip
        bucket.put(PREFIX + path, content, ContentType=kind)
    return scene


# --- killing -------------------------------------------------------------------------------


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Pids of the worker processes that ``process`` has started."""
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:
        return []


def await_workers(process: subprocess.Popen[str], count: int = 1, timeout: float = 20) -> list[int]:
    """Its workers once it has so many; fewer if it ended before."""
    until = time.monotonic() + timeout
    while len(pids := workers_of(process)) < count and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    return pids


def kill_one(process: subprocess.Popen[str]) -> None:
    """One worker."""
    for pid in workers_of(process)[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_workers(process: subprocess.Popen[str]) -> None:
    """All workers."""
    for pid in workers_of(process):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_coordinator(process: subprocess.Popen[str]) -> None:
    """The coordinator alone; its workers find out by themselves."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def kill_both(process: subprocess.Popen[str]) -> None:
    """A worker, and then the coordinator."""
    kill_one(process)
    kill_coordinator(process)


def kill_sender(process: subprocess.Popen[str], request: Request) -> None:
    """The worker that sent ``request``, for a proxy's ``Call``; the server never sees that."""
    for pid in workers_of(process):
        if request.port in _ports_of(pid):
            os.kill(pid, signal.SIGKILL)
    raise ConnectionAbortedError


def _ports_of(pid: int) -> set[int]:
    """Local ports of a process's TCP connections."""
    links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
    sockets = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in sockets}


KILLS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "coordinator": kill_coordinator,
    "one worker": kill_one,
    "all workers": kill_workers,
    "a worker and the coordinator": kill_both,
    "the process group": program.kill,
}


def document(finished: program.Finished) -> dict[str, Any]:
    """The one JSON document on stdout; anything else there is an error."""
    found: dict[str, Any] = json.loads(finished.stdout)
    return found
