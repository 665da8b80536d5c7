"""A transfer between two stores, whose source sends other bytes than its object's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored

MIB = 1 << 20


@pytest.fixture
def stores() -> Iterator[tuple[FakeS3, FakeS3]]:
    with FakeS3() as source, FakeS3() as target:
        yield source, target


@pytest.mark.parametrize("lies", [1, 1000], ids=["once", "always"])
@pytest.mark.parametrize("size", [3000, 6 * MIB], ids=["whole", "in parts"])
def test_other_bytes_than_the_sources_are_never_said_to_be_done(stores, clean_env, tmp_path, size, lies):
    source, target = stores
    body, left = os.urandom(size), [lies]
    source.objects["b"] = {"p/f": Stored(body, f'"{hashlib.md5(body).hexdigest()}"', modified=1_500_000_000.0)}
    target.objects["t"] = {}

    def meddle(request):
        if request.name != "GetObject" or not left[0]:
            return None
        left[0] -= 1
        reply = source._answer(request)
        return replace(reply, body=bytes(len(reply.body)))

    source.meddle = meddle
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": target.url}
    keys |= {"S3BATCH_SOURCE_ACCESS_KEY": ACCESS_KEY, "S3BATCH_SOURCE_SECRET_KEY": SECRET_KEY}
    words = [
        "sync",
        "s3://b/p",
        "s3://t/q",
        "--source-endpoint-url",
        source.url,
        "--json",
        "--retries",
        "3",
        "--workers",
        "1",
    ]

    ended = program.run([*words, "--multipart-threshold", "5MiB", "--part-size", "5MiB"], clean_env | keys, tmp_path)

    assert ended.code == (0 if lies == 1 else 1), ended.stderr
    if lies == 1:
        assert target.objects["t"]["q/f"].body == body
        assert ended.json["proved"]["size"] == 0
