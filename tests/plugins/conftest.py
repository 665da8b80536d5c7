"""A plugin step as a CI runs it: the real entry point, a workspace, a recorded server, a bucket to look into."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s3batch.cli import main
from tests.conftest import DEFAULT_SERVER
from tests.plugins import ci
from tests.rig import buckets, program
from tests.rig.faults import Request
from tests.rig.proxy import FaultProxy

LOOKING = {
    "ListObjectsV2",
    "HeadObject",
    "GetObject",
    "GetObjectAcl",
    "GetObjectTagging",
    "ListMultipartUploads",
    "ListParts",
}
"""Requests that change nothing."""


@dataclass(frozen=True)
class Run:
    """What one run of a step came to."""

    code: int
    out: str
    err: str
    requests: list[Request]

    @property
    def counts(self) -> Counter[str]:
        return Counter(request.operation for request in self.requests)

    @property
    def changes(self) -> list[Request]:
        """The requests that change something, in the order they were made."""
        return [request for request in self.requests if request.operation not in LOOKING]

    @property
    def changed(self) -> list[tuple[str, str]]:
        """The same as sorted pairs of operation and key."""
        return sorted((request.operation, request.key) for request in self.changes)

    def of(self, operation: str, key: str | None = None) -> list[Request]:
        return [each for each in self.requests if each.operation == operation and key in (None, each.key)]

    def headers(self, key: str, operation: str = "PutObject") -> dict[str, str]:
        """The headers of the one request that wrote ``key``."""
        (request,) = self.of(operation, key)
        return request.headers

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Step:
    """One step of a pipeline: its workspace, its settings, the bucket it works on."""

    workspace: Path
    bucket: buckets.Bucket
    proxy: FaultProxy
    home: Path
    system: Callable[[Mapping[str, Any]], ci.Environment] = ci.drone
    settings: dict[str, Any] = field(default_factory=dict)
    """Of every run."""

    def files(self, files: Mapping[str, bytes | str]) -> None:
        """Write these files into the workspace."""
        for path, content in files.items():
            place = self.workspace / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)

    def remove(self, path: str) -> None:
        (self.workspace / path).unlink()

    def environment(self, settings: Mapping[str, Any], **variables: str) -> ci.Environment:
        """What the CI would give the step."""
        server = self.bucket.server
        given = {
            "endpoint": self.proxy.url, "access_key": server.access_key, "secret_key": server.secret_key,
            "bucket": self.bucket.name,
        }  # fmt: skip
        homes = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")}
        return {**homes, **self.system({**given, **self.settings, **settings}), **variables}

    def run(self, settings: Mapping[str, Any] | None = None, /, **variables: str) -> Run:
        """Run the step in this process, its worker in it too."""
        environment = {"S3BATCH_EXECUTOR": "inline", "S3BATCH_PROGRESS": "none"}
        environment |= self.environment(settings or {}, **variables)
        out, err = io.StringIO(), io.StringIO()
        self.proxy.requests.clear()
        code = main(["plugin"], environment, out, err)
        return Run(code, out.getvalue(), err.getvalue(), list(self.proxy.requests))

    def process(self, settings: Mapping[str, Any] | None = None, /, **variables: str) -> Run:
        """Run the step as the image does: a process of its own, with workers of its own."""
        environment = program.clean_environment(self.home) | self.environment(settings or {}, **variables)
        self.proxy.requests.clear()
        finished = program.run(["plugin"], environment, self.workspace)
        return Run(finished.code, finished.stdout, finished.stderr, list(self.proxy.requests))

    def is_settled(self, settings: Mapping[str, Any] | None = None, /, **variables: str) -> None:
        """A run now has nothing to do: with the journal of the last one, and on a fresh runner without it."""
        kept = self.run(settings, **variables)
        assert (kept.code, kept.changed) == (0, []), kept.err
        self.fresh_runner()
        fresh = self.run(settings, **variables)
        assert (fresh.code, fresh.changed) == (0, []), fresh.err

    def fresh_runner(self) -> None:
        """The next run knows nothing of the ones before."""
        shutil.rmtree(self.workspace / ".s3batch", ignore_errors=True)


@pytest.fixture
def step(make_step) -> Step:
    """A step in an empty workspace, on an empty bucket that takes ACLs, behind a recording proxy."""
    return make_step(DEFAULT_SERVER)


@pytest.fixture
def make_step(tmp_path: Path, server_named, monkeypatch) -> Iterator[Callable[[str], Step]]:
    """Such a step on the server of this name."""
    workspace, home = tmp_path / "drone" / "src", tmp_path / "home"
    with ExitStack() as stack:

        def make(server: str) -> Step:
            workspace.mkdir(parents=True)
            home.mkdir()
            monkeypatch.chdir(workspace)
            bucket = buckets.make_bucket(server_named(server))
            stack.callback(buckets.remove_bucket, bucket)
            proxy = stack.enter_context(FaultProxy(bucket.server.url))
            return Step(workspace, bucket, proxy, home)

        yield make


@pytest.fixture
def proxy(step) -> FaultProxy:
    """The step's own."""
    return step.proxy


@pytest.fixture(scope="session")
def kms_key(server_named) -> str:
    """The ARN of a key for encryption."""
    return buckets.client(server_named(DEFAULT_SERVER), "kms").create_key()["KeyMetadata"]["Arn"]
