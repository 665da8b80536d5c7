"""Copies by the store that are confirmed with another ETag than the source's: they count once they were seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen, Stored

OTHER = hashlib.md5(b"other").hexdigest()
OBJECTS = 20
COPIED = '<CopyObjectResult><ETag>"{}"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></CopyObjectResult>'


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture
def run(fake, clean_env, tmp_path) -> Callable[..., program.Finished]:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
    few = ("--retries", "2", "--workers", "1", "--json")
    return lambda *words: program.run([*words, *few], clean_env | keys, tmp_path)


def stored(body: bytes, **more) -> Stored:
    return Stored(body, f'"{hashlib.md5(body).hexdigest()}"', **{"modified": 1_500_000_000.0, **more})


def is_copy_to(request: Seen, *keys: str) -> bool:
    return request.name == "CopyObject" and request.key in keys


def confirm(etag: str = OTHER, headers: dict[str, str] | None = None) -> Reply:
    return Reply(200, {"content-type": "application/xml", **(headers or {})}, COPIED.format(etag).encode())


def content_below(fake: FakeS3, prefix: str) -> dict[str, bytes]:
    return {key: each.body for key, each in fake.objects["b"].items() if key.startswith(prefix)}


def test_a_copy_that_was_not_made_fails(fake, run):
    fake.objects["b"] = {f"s/f{number}": stored(b"body") for number in range(3)} | {"p/old": stored(b"kept")}
    fake.meddle = lambda request: confirm() if is_copy_to(request, "p/f1") else None

    ended = run("sync", "s3://b/s", "s3://b/p", "--delete")

    assert ended.code == 1, ended.stderr
    assert [failure["key"] for failure in ended.json["failures"]] == ["p/f1"]
    assert "the object does not exist" in ended.json["failures"][0]["error"]
    assert content_below(fake, "p/") == {"p/f0": b"body", "p/f2": b"body", "p/old": b"kept"}


def test_a_copy_of_another_size_stops_the_job(fake, run):
    fake.objects["b"] = {"s/f": stored(b"body")}

    def meddle(request: Seen) -> Reply | None:
        if not is_copy_to(request, "p/f"):
            return None
        fake.objects["b"]["p/f"] = Stored(b"bo", f'"{OTHER}"')
        return confirm()

    fake.meddle = meddle

    ended = run("sync", "s3://b/s", "s3://b/p")

    assert ended.code == 4, ended.stderr
    assert "the store holds 2 bytes of an object that was sent with 4" in ended.stderr
    assert ended.json["failures"] == []
    assert " transferred" not in ended.stderr


def test_a_copy_that_was_not_made_once_is_made_again(fake, run):
    fake.objects["b"] = {"s/f": stored(b"body")}
    lies = [confirm()]
    fake.meddle = lambda request: lies.pop() if is_copy_to(request, "p/f") and lies else None

    ended = run("sync", "s3://b/s", "s3://b/p")

    assert ended.code == 0, ended.stderr
    assert content_below(fake, "p/") == {"p/f": b"body"}


@pytest.mark.parametrize("shown", ["answered", "source"])
def test_a_store_whose_copies_have_etags_of_their_own_is_trusted_after_a_few_looks(fake, run, shown):
    """So it is under KMS, and of objects in parts. A store may also answer with another ETag than it shows."""
    parts = "-2" if shown == "answered" else ""
    etag = f"{hashlib.md5(b'body').hexdigest()}{parts}"
    fake.objects["b"] = {f"s/f{number}": Stored(b"body", f'"{etag}"') for number in range(OBJECTS)}
    looks = []

    def meddle(request: Seen) -> Reply | None:
        if request.name == "HeadObject" and request.key.startswith("p/f"):
            looks.append(request.key)
        if not is_copy_to(request, *(f"p/f{number}" for number in range(OBJECTS))):
            return None
        own = f"{request.key.encode().hex():0>32}"
        fake.objects["b"][request.key] = Stored(b"body", f'"{own if shown == "answered" else etag}"')
        return confirm(own, {"x-amz-server-side-encryption": "aws:kms"})

    fake.meddle = meddle

    ended = run("sync", "s3://b/s", "s3://b/p", "--max-concurrency", "1")

    assert ended.code == 0, ended.stderr
    assert len(content_below(fake, "p/f")) == OBJECTS
    assert 1 <= len(looks) < OBJECTS


def test_a_weak_etag_that_only_a_head_tells_is_that_of_the_copy(fake, run):
    fake.objects["b"] = {"s/f": stored(b"body")}

    def meddle(request: Seen) -> Reply | None:
        if not is_copy_to(request, "p/f"):
            return None
        fake.objects["b"]["p/f"] = Stored(b"body", f'W/"{OTHER}"')
        return Reply(200, {"content-type": "application/xml"}, b"<CopyObjectResult></CopyObjectResult>")

    fake.meddle = meddle

    assert run("sync", "s3://b/s", "s3://b/p").code == 0


@pytest.mark.parametrize("etag", [OTHER, hashlib.md5(b"old").hexdigest()], ids=["another ETag", "the old ETag"])
def test_an_undo_whose_copy_was_not_made_restores_nothing(fake, run, tmp_path: Path, etag):
    fake.objects["b"] = {"p/f": stored(b"old"), "p/g": stored(b"old")}
    (tmp_path / "src").mkdir()
    for name in ("f", "g"):
        (tmp_path / "src" / name).write_bytes(b"new")
        os.utime(tmp_path / "src" / name, (1_600_000_000, 1_600_000_000))
    job = run("sync", "src", "s3://b/p", "--backup", "s3://b/bak", "--journal", "j.db").json["job"]
    fake.meddle = lambda request: confirm(etag) if is_copy_to(request, "p/f") else None

    ended = run("undo", job, "--journal", "j.db")

    assert ended.code == 1, ended.stderr
    assert [failure["key"] for failure in ended.json["failures"]] == ["p/f"]
    assert content_below(fake, "p/") == {"p/f": b"new", "p/g": b"old"}
