"""What workers do with objects of another bucket: copied by one store, and streamed between two."""

from __future__ import annotations

import math
import os

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Part, Reason, Result, SourceObject, Step, Work, stamp_of_object
from s3batch.objects.attributes import AttributeRules
from s3batch.s3.credentials import connect_to_bucket
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief, SourceBucket
from tests.rig import buckets

MIB = 1 << 20
SAME = ["ministack", "moto", "seaweedfs", "rclone"]
PAIRS = [(name, name, False) for name in SAME] + [("ministack", "moto", True), ("seaweedfs", "ministack", True)]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def scene(request, server_named, tmp_path):
    """Two buckets, and workers that transfer from the first to the second."""
    source, target, streamed = request.param
    one, other = (buckets.make_bucket(server_named(name)) for name in (source, target))
    made = TransferScene(one, other, streamed=streamed)
    yield made
    made.close()
    for bucket in (one, other):
        buckets.remove_bucket(bucket)


class TransferScene:
    """Objects of a source, and the work of transferring them."""

    def __init__(self, source: buckets.Bucket, target: buckets.Bucket, *, streamed: bool) -> None:
        self.source, self.target, self.streamed = source, target, streamed
        self.loops: list[WorkerLoop] = []

    def do(self, *works: Work, exact: bool = False, **values) -> list[Result]:
        settings = Settings(bucket=self.target.name, **values)
        rules = AttributeRules.from_settings(settings, "/", guesses_types=False)
        source = SourceBucket(endpoint_of(self.source), "from/", copies=not self.streamed)
        loop = WorkerLoop(
            Brief(endpoint=endpoint_of(self.target), source=source, root="s3:", rules=rules, limit=8, exact=exact)
        )
        self.loops.append(loop)
        loop.transport.writes.open(math.inf)
        loop.take(list(works))
        while loop.busy:
            loop.turn(1.0)
        return sorted(loop.results, key=lambda result: (result.id, result.part))

    def put(self, path: str, body: bytes, **more) -> Operation:
        """Store an object of the source; return the operation that transfers it."""
        etag = self.source.put(f"from/{path}", body, **more)["ETag"].strip('"')
        return self.operation(path, len(body), etag)

    def operation(self, path: str, size: int, etag: str, kind: Kind = Kind.TRANSFER) -> Operation:
        stamp = stamp_of_object(size, etag, 1_700_000_000)
        spec = SourceObject(etag, self.streamed)
        return Operation(kind, f"to/{path}", Reason.MISSING, path, size, stamp, spec=spec, id=1)

    def close(self) -> None:
        for loop in self.loops:
            loop.transport.close()


def endpoint_of(bucket: buckets.Bucket):
    server = bucket.server
    settings = Settings(
        endpoint_url=server.url, access_key=server.access_key, secret_key=server.secret_key, region=server.region,
        path_style=True,
    )  # fmt: skip
    return connect_to_bucket(settings, bucket.name)[0]


def test_an_object_comes_with_its_attributes(scene):
    body = os.urandom(100_000)
    operation = scene.put(
        "a b/ü&.bin", body, ContentType="text/x-odd", CacheControl="max-age=7", Metadata={"colour": "blue"}
    )

    (result,) = scene.do(Work(operation))

    head = scene.target.head("to/a b/ü&.bin")
    assert (result.error, result.become) == ("", None)
    assert scene.target.get("to/a b/ü&.bin") == body
    assert (head["ContentType"], head["Metadata"].get("colour", head["Metadata"].get("Colour"))) == (
        "text/x-odd",
        "blue",
    )
    assert result.etag == head["ETag"].strip('"')


@pytest.mark.parametrize("content", [b"new", b"another length"])
def test_one_that_changed_since_it_was_listed_is_begun_anew(scene, content):
    """A store that ignores the condition of a copy has made it."""
    operation = scene.put("a.txt", b"old")
    scene.source.put("from/a.txt", content)

    (result,) = scene.do(Work(operation))

    assert (result.code, result.retryable) == ("Changed", True)
    assert not scene.target.keys() or scene.target.get("to/a.txt") == content


def test_one_that_changed_since_it_was_planned_is_not_copied(scene):
    operation = scene.put("a.txt", b"old")
    scene.source.put("from/a.txt", b"new")

    (result,) = scene.do(Work(operation), exact=True)

    assert (result.code, scene.target.keys()) == ("Drifted", set())


def test_one_that_is_gone_is_named(scene):
    operation = scene.put("a.txt", b"old")
    scene.source.client.delete_object(Bucket=scene.source.name, Key="from/a.txt")

    (result,) = scene.do(Work(operation))

    assert (result.code, result.retryable) == ("Vanished", False)


def test_a_comparison_finds_the_difference(scene):
    operation = scene.put("a.txt", b"text", ContentType="text/plain")._replace(kind=Kind.RECONCILE)

    (missing,) = scene.do(Work(operation))
    scene.target.put("to/a.txt", b"txet", ContentType="text/plain")
    (other,) = scene.do(Work(operation))
    scene.target.put("to/a.txt", b"text", ContentType="text/html")
    (attributes,) = scene.do(Work(operation))
    scene.target.put("to/a.txt", b"text", ContentType="text/plain")
    (equal,) = scene.do(Work(operation))

    assert (missing.become, missing.reason) == (Kind.TRANSFER, Reason.MISSING)
    assert (other.become, other.reason) == (Kind.TRANSFER, Reason.CONTENT)
    assert (attributes.become, attributes.reason) == (Kind.TRANSFER, Reason.METADATA)
    assert (equal.become, equal.already, equal.error) == (None, True, "")


def test_parts_make_the_whole_object(scene):
    body = os.urandom(11 * MIB)
    operation = scene.put("big.bin", body, ContentType="text/x-odd")
    (begun,) = scene.do(Work(operation, Step.BEGIN))
    operation = operation._replace(upload_id=begun.upload_id)
    parts = [Part(1, 1, 0, 6 * MIB), Part(1, 2, 6 * MIB, 5 * MIB)]

    sent = scene.do(*(Work(operation, Step.PART, (part,)) for part in parts))
    if sent[0].code == "CopyRefused":
        assert scene.source.server.name == "rclone"
        return
    parts = [
        part._replace(etag=result.etag, checksum=result.checksum) for part, result in zip(parts, sent, strict=True)
    ]
    (held,) = scene.do(Work(operation, Step.SURVEY, tuple(parts)))
    (finished,) = scene.do(Work(operation, Step.FINISH, tuple(parts)))

    assert [each.error for each in (begun, *sent, held, finished)] == [""] * 5
    assert [part.size for part in held.parts] == [6 * MIB, 5 * MIB]
    assert scene.target.get("to/big.bin") == body
    assert scene.target.head("to/big.bin")["ContentType"] == "text/x-odd"


def test_configured_attributes_go_in_the_place_of_the_source_s(scene):
    operation = scene.put("a.txt", b"text", ContentType="text/plain", Metadata={"colour": "blue"})

    (result,) = scene.do(Work(operation), cache_control="no-store", metadata='{"shape": "round"}')

    head = scene.target.head("to/a.txt")
    assert result.error == ""
    assert (head["ContentType"], head["CacheControl"]) == ("text/plain", "no-store")
    assert {name.lower(): value for name, value in head["Metadata"].items()}.items() >= {
        "colour": "blue", "shape": "round",
    }.items()  # fmt: skip
