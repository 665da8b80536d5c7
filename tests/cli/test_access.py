"""Buckets that others own or encrypt: no signature, requester pays, SSE-C with a key that only the client has."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3batch
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen, Stored, error

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


OTHER = b64encode(bytes(range(100, 132))).decode()


def key_headers(prefix: str, key: str) -> dict[str, str]:
    digest = b64encode(hashlib.md5(b64decode(key)).digest()).decode()
    return {f"{prefix}algorithm": "AES256", f"{prefix}key": key, f"{prefix}key-md5": digest} if key else {}


def each_bucket_needs(**keys: str):
    """Refuse what S3 refuses: a request about an object, or a copy of one, with another key than its bucket's."""

    def meddle(request: Seen) -> Reply | None:
        wanted = key_headers(OWN, keys[request.bucket]) if request.name in KEYED else {}
        if request.name in {"CopyObject", "UploadPartCopy"}:
            wanted |= key_headers(SOURCE, keys[request.headers["x-amz-copy-source"].lstrip("/").partition("/")[0]])
        given = {name: value for name, value in request.headers.items() if "-customer-" in name or "own-key" in name}
        return None if given == wanted else Reply(400, body=error("InvalidRequest"))

    return meddle


@pytest.fixture
def sides(shell, fake, workspace):
    """A bucket ``old`` with a small and a large object, whose key is ``OTHER``."""
    (workspace / "site").mkdir()
    (workspace / "site" / "small").write_text("small")
    (workspace / "site" / "large").write_bytes(b"l" * (11 << 20))
    (workspace / "other.key").write_text(OTHER)
    fake.meddle = each_bucket_needs(old=OTHER, new=KEY, plain="")
    assert shell("sync", "site", "s3://old", S3BATCH_SSE_C_KEY=OTHER).code == 0


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize("streamed", [False, True], ids=["copied", "streamed"])
def test_each_side_has_a_key_of_its_own(shell, fake, sides, lane, streamed):
    fake.requests.clear()
    inner = fake.meddle
    refuses = {"CopyObject", "UploadPartCopy"} if streamed else set()
    fake.meddle = lambda request: Reply(501) if request.name in refuses else inner(request)
    parts = ("--multipart-threshold", "6MiB", "--part-size", "5MiB", "--copy-part-size", "5MiB", "--lane", lane)

    copied = shell("sync", "s3://old", "s3://new", *parts, "--source-sse-c-key", "other.key", S3BATCH_SSE_C_KEY=KEY)
    opened = shell("sync", "s3://new", "s3://plain", *parts, S3BATCH_SOURCE_SSE_C_KEY=KEY)
    closed = shell(
        "sync", "s3://plain", "s3://old/again", *parts, "--source-sse-c-key", "none", S3BATCH_SSE_C_KEY=OTHER
    )

    assert (copied.code, opened.code, closed.code) == (0, 0, 0), copied.err + opened.err + closed.err
    for bucket, prefix in (("new", ""), ("plain", ""), ("old", "again/")):
        stored = {key: stored.body for key, stored in fake.objects[bucket].items() if key.startswith(prefix)}
        assert (stored[f"{prefix}small"], len(stored[f"{prefix}large"])) == (b"small", 11 << 20)
    assert not any(key in each.out + each.err for key in (KEY, OTHER) for each in (copied, opened, closed))


def test_a_resume_takes_the_key_of_the_source_again(shell, fake, sides):
    inner = fake.meddle
    fake.meddle = lambda request: (
        Reply(403, body=error("AccessDenied"))
        if request.name in {"CopyObject", "PutObject"} and request.key == "large"
        else inner(request)
    )
    words = ("sync", "s3://old", "s3://new", "--multipart-threshold", "64MiB")
    assert shell(*words, S3BATCH_SOURCE_SSE_C_KEY=OTHER, S3BATCH_SSE_C_KEY=KEY).code == 1
    fake.meddle = inner

    without = shell("resume", S3BATCH_SSE_C_KEY=KEY)
    resumed = shell("resume", S3BATCH_SSE_C_KEY=KEY, S3BATCH_SOURCE_SSE_C_KEY=OTHER)

    assert (without.code, resumed.code) == (2, 0), without.err + resumed.err
    assert "begun with another source_sse_c_key, or without one" in without.err


def test_a_source_at_another_endpoint_does_not_get_the_key_of_the_target(shell, workspace):
    with FakeS3() as elsewhere:
        elsewhere.objects["old"] = {"a": Stored(b"a", f'"{hashlib.md5(b"a").hexdigest()}"')}
        access = {"S3BATCH_SOURCE_ACCESS_KEY": ACCESS_KEY, "S3BATCH_SOURCE_SECRET_KEY": SECRET_KEY}

        done = shell(
            "sync", "s3://old", "s3://new", "--source-endpoint-url", elsewhere.url, S3BATCH_SSE_C_KEY=KEY, **access
        )

        assert done.code == 0, done.err
        assert [each for each in elsewhere.requests if any("-customer-" in name for name in each.headers)] == []


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
