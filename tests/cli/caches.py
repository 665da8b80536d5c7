"""Fixtures for the cache's commands: a store in this process, and a shell to call them from."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3batch.archive.manifest_codec import make_segments
from s3batch.archive.segments import SegmentSizes
from tests.archive.cycle import OLD
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored

DAY = 86400.0
DRONE = {"DRONE_REPO": "octo/site", "DRONE_REPO_BRANCH": "main"}
KEYS = {
    "job", "command", "state", "exit_code", "seconds", "seconds_total", "sent_now", "sent_before", "resumed", "journal", "files", "bytes", "unchanged",
    "operations", "requests", "retries", "failures", "warnings", "cache",
    "schema", "version", "source", "target", "endpoint", "started", "ended", "dry_run",
}  # fmt: skip


def make_checkout(folder: Path, url: str = "https://ci:t0ken@github.com/acme/web.git", head: str = "main") -> None:
    """Make a git checkout of acme/web, as far as its remote and HEAD go."""
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text(f'[remote "origin"]\n\turl = {url}\n')
    (folder / ".git/HEAD").write_text(f"ref: refs/heads/{head}\n" if "/" in head or head.isalpha() else head)


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
def small_segments(monkeypatch):
    """Segments of about eight rows, and of any tree."""
    small = SegmentSizes(fewest=4, most=16, mean=6, long=4)
    monkeypatch.setattr("s3batch.cache.segments.make_segments", partial(make_segments, segmented_from=0, sizes=small))


@pytest.fixture
def in_days(monkeypatch):
    """``in_days(3)``: from now on it is so much later than when the test began."""
    real = time.time

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + days * DAY)

    return later
