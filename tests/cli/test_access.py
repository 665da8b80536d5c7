"""Buckets that others own or encrypt: no signature, requester pays, SSE-C with a key that only the client has."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3batch
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen, error

RAW = bytes(range(32))
KEY = b64encode(RAW).decode()
MD5 = b64encode(hashlib.md5(RAW).digest()).decode()
OWN, SOURCE = "x-amz-server-side-encryption-customer-", "x-amz-copy-source-server-side-encryption-customer-"
KEYED = {
    "PutObject", "HeadObject", "GetObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "ListParts",
    "CompleteMultipartUpload", "UploadPartCopy",
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as store:
        yield store


def headers_of_key(prefix: str) -> dict[str, str]:
    return {f"{prefix}algorithm": "AES256", f"{prefix}key": KEY, f"{prefix}key-md5": MD5}


def needs_key(request: Seen) -> Reply | None:
    """What S3 refuses: a request about an encrypted object whose key is missing."""
    wanted = headers_of_key(OWN) if request.name in KEYED else {}
    wanted |= headers_of_key(SOURCE) if request.name in {"CopyObject", "UploadPartCopy"} else {}
    given = {name: value for name, value in request.headers.items() if "-customer-" in name}
    return None if given == wanted else Reply(400, body=error("InvalidRequest"))


@pytest.fixture
def shell(call, fake, workspace):
    """``shell("sync", "site", ..., key=True)`` against the store."""

    def run(*argv: str, **variables: str):
        given = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, **variables}
        return call(*argv, "--endpoint-url", fake.url, "--region", "us-east-1", "--workers", "1", env=given)

    return run


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_every_request_about_an_object_carries_the_key(shell, fake, workspace, lane):
    (workspace / "site").mkdir()
    (workspace / "site" / "small").write_text("small")
    (workspace / "site" / "large").write_bytes(b"l" * (11 << 20))
    fake.meddle = needs_key
    sync = ("sync", "site", "s3://b", "--lane", lane, "--multipart-threshold", "6MiB", "--part-size", "5MiB")

    sent = shell(*sync, S3BATCH_SSE_C_KEY=KEY)
    copied = shell(*sync, "--cache-control", "no-cache", "--no-trust-journal", S3BATCH_SSE_C_KEY=KEY)
    verified = shell("verify", "site", "s3://b", "--cache-control", "no-cache", "--lane", lane, S3BATCH_SSE_C_KEY=KEY)

    assert (sent.code, copied.code, verified.code) == (0, 0, 0), sent.err + copied.err + verified.err
    assert KEYED - {"ListParts", "GetObject", "UploadPartCopy"} <= {each.name for each in fake.requests}
    assert fake.objects["b"]["small"].headers["cache-control"] == "no-cache"
    assert KEY not in sent.out + sent.err


@pytest.mark.parametrize(
    "content", [RAW, KEY.encode(), f"{KEY}\n".encode()], ids=["raw", "base64", "with a line break"]
)
def test_the_flag_names_a_file(shell, fake, workspace, content):
    (workspace / "a").write_text("a")
    (workspace / "key").write_bytes(content)
    fake.meddle = needs_key

    done = shell("sync", "a", "s3://b", "--sse-c-key", "key")

    assert (done.code, set(fake.objects["b"])) == (0, {"a"}), done.err


@pytest.mark.parametrize(
    ("argv", "env", "sentence"),
    [
        (["--sse-c-key", KEY], {}, "sse_c_key (from --sse-c-key): its file cannot be read: No such file or directory"),
        (["--sse-c-key", "."], {}, "sse_c_key (from --sse-c-key): its file cannot be read: it is not a regular file"),
        (["--sse-c-key", "short"], {}, "sse_c_key (from --sse-c-key): its file holds no key of 32 bytes"),
        (
            [],
            {"S3BATCH_SSE_C_KEY": "hunter2"},
            "sse_c_key (from S3BATCH_SSE_C_KEY): it is no key, and as a file it cannot be read",
        ),
    ],
)
def test_a_key_that_is_none_is_refused_and_not_shown(shell, fake, workspace, argv, env, sentence):
    (workspace / "short").write_bytes(b"31 bytes and no more, it is not")

    refused = shell("sync", "short", "s3://b", *argv, **env)

    assert (refused.code, fake.requests) == (2, [])
    assert sentence in refused.err
    assert KEY not in refused.err
    assert "hunter2" not in refused.err


def test_an_object_of_another_key_is_sent_again(shell, fake, workspace):
    (workspace / "a").write_text("a")
    assert shell("sync", "a", "s3://b").code == 0
    fake.requests.clear()
    fake.meddle = lambda request: Reply(400) if request.name == "HeadObject" else needs_key(request)

    done = shell("sync", "a", "s3://b", S3BATCH_SSE_C_KEY=KEY)

    assert done.code == 0, done.err
    assert "PutObject" in [each.name for each in fake.requests]


def test_a_resume_needs_the_same_key(shell, fake, workspace):
    (workspace / "a").write_text("a")
    fake.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.name == "PutObject" else None
    assert shell("sync", "a", "s3://b", S3BATCH_SSE_C_KEY=KEY).code == 1
    fake.meddle = needs_key

    without = shell("resume")
    resumed = shell("resume", S3BATCH_SSE_C_KEY=KEY)

    assert (without.code, resumed.code) == (2, 0), without.err + resumed.err
    assert "another sse_c_key, or without one; give the same key again: it is not in the journal" in without.err


def test_the_key_is_in_no_file(shell, workspace, tmp_path):
    (workspace / "a").write_text("a")
    shell("sync", "a", "s3://b", S3BATCH_SSE_C_KEY=KEY)

    files = [os.path.join(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    assert len(files) > 2
    assert not any(KEY.encode() in content or RAW in content for content in (Path(path).read_bytes() for path in files))


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_a_public_bucket_needs_no_credentials(call, fake, workspace, lane):
    (workspace / "a").write_text("a")
    seen: list[Seen] = []

    def anybody(request: Seen) -> Reply:
        seen.append(request)
        return Reply(200, {"etag": '"0cc175b9c0f1b6a831c399e269772661"'}) if request.name == "PutObject" else Reply(
            200, body=b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated></ListBucketResult>'
        )  # fmt: skip

    fake.meddle = anybody
    done = call(
        "sync", "a", "s3://b", "--no-sign-request", "--lane", lane, "--endpoint-url", fake.url, "--request-payer",
        "--checksum", "md5",
    )  # fmt: skip

    assert done.code == 0, done.err
    assert {each.name for each in seen} >= {"ListObjectsV2", "PutObject"}
    assert not any("authorization" in each.headers for each in seen)
    assert {each.headers["x-amz-request-payer"] for each in seen} == {"requester"}


def test_the_requester_pays_for_every_request(shell, fake, workspace):
    (workspace / "site").mkdir()
    (workspace / "site" / "large").write_bytes(b"l" * (11 << 20))
    fake.objects["b"] = {}

    done = shell("sync", "site", "s3://b", "--request-payer", "--multipart-threshold", "6MiB", "--part-size", "5MiB")

    assert done.code == 0, done.err
    assert {each.headers.get("x-amz-request-payer") for each in fake.requests} == {"requester"}


def test_a_function_takes_a_key_too(fake, workspace, tmp_path, monkeypatch):
    (workspace / "a").write_text("a")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fake.meddle = needs_key

    report = s3batch.sync(
        "a", "s3://b", sse_c_key=KEY, endpoint_url=fake.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY,
        executor="inline",
    )  # fmt: skip

    assert report.ok, report.document
