"""O4 and decision 15: each permission of the documentation's table, taken away in turn.

The message names the request, the key, S3's code and the missing permission; every key that failed is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from tests.rig.faults import Refuse

TEXT = {"ContentType": "text/plain; charset=utf-8"}


@dataclass(frozen=True)
class Denied:
    """Requests that are refused, what the step wants meanwhile, and what is to be said of it."""

    requests: tuple[str, ...]
    says: tuple[str, ...]
    needs: str
    settings: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)
    """Stored before, by key: their body and attributes."""
    only: str = ""
    """Regular expression of the keys refused."""


SAME = {f"t/{name}.txt": (b"hello", {"ContentType": "x/y"}) for name in "ab"}

TABLE = [
    pytest.param(
        Denied(("PutObject",), ("failed: upload a.txt to t/a.txt: PutObject: AccessDenied",
                                "failed: upload b.txt to t/b.txt: PutObject: AccessDenied"), "s3:PutObject"),
        id="s3:PutObject for a missing file",
    ),
    pytest.param(
        Denied(("CopyObject",), ("t/a.txt: CopyObject: AccessDenied", "t/b.txt: CopyObject: AccessDenied"),
               "s3:GetObject and s3:PutObject", objects=SAME),
        id="s3:PutObject for new metadata",
    ),
    pytest.param(
        Denied(("HeadObject",), ("t/a.txt: HeadObject: AccessDenied", "t/b.txt: HeadObject: AccessDenied"),
               "s3:GetObject", objects=SAME),
        id="s3:GetObject",
    ),
    pytest.param(
        Denied(("ListObjectsV2",), ("ListObjectsV2: AccessDenied", "bucket 'test-"), "s3:ListBucket"),
        id="s3:ListBucket",
    ),
    pytest.param(
        Denied(("DeleteObjects", "DeleteObject"), ("failed: delete t/x: DeleteObjects: AccessDenied",
                                                   "failed: delete t/y: DeleteObjects: AccessDenied"),
               "s3:DeleteObject", {"delete": True}, {"t/x": (b"", {}), "t/y": (b"", {})}),
        id="s3:DeleteObject",
    ),
    pytest.param(
        Denied(("PutObject",), ("t/a.txt: PutObject: AccessDenied",), "s3:PutObject and s3:PutObjectAcl",
               {"acl": "public-read"}),
        id="s3:PutObjectAcl",
    ),
    pytest.param(
        Denied(("PutObject",), ("t/a.txt: PutObject: AccessDenied",), "s3:PutObject and s3:PutObjectTagging",
               {"tags": {"a": "b"}}),
        id="s3:PutObjectTagging",
    ),
    pytest.param(
        Denied(("PutObject",), ("failed: redirect old: PutObject: AccessDenied",), "s3:PutObject",
               {"redirects": {"old": "/new"}}, only="^old"),
        id="s3:PutObject for a redirect",
    ),
    pytest.param(
        Denied(("CreateMultipartUpload",), ("big to t/big: CreateMultipartUpload: AccessDenied",), "s3:PutObject"),
        id="s3:PutObject for a large file",
    ),
    pytest.param(
        Denied(("UploadPart",), ("big to t/big: UploadPart: AccessDenied",), "s3:PutObject"), id="s3:PutObject for a part"
    ),
    pytest.param(
        Denied(("CompleteMultipartUpload",), ("big to t/big: CompleteMultipartUpload: AccessDenied",), "s3:PutObject"),
        id="s3:PutObject at the end of a large file",
    ),
]  # fmt: skip


@pytest.fixture
def step(step):
    step.settings = {"source": "dist", "target": "t", "multipart_threshold": "6MiB", "part_size": "5MiB"}
    step.files({"dist/a.txt": "hello", "dist/b.txt": "hello"})
    return step


@pytest.mark.parametrize("denied", TABLE)
def test_o4_a_missing_permission_is_named(step, proxy, denied) -> None:
    if "big" in denied.says[0]:
        step.files({"dist/big": os.urandom(7 << 20)})
    for key, (body, attributes) in denied.objects.items():
        step.bucket.put(key, body, **attributes)
    for request in denied.requests:
        proxy.on(request, Refuse(403, "AccessDenied"), key=denied.only)

    run = step.run(denied.settings)

    assert run.code == 1, run.err
    for words in denied.says:
        line = next((line for line in run.err.splitlines() if words in line), run.err)
        assert words in line
        assert denied.needs in line
    assert run.out == ""


@pytest.mark.parametrize(
    ("request_", "settings", "permission"),
    [
        pytest.param("GetObjectAcl", {"acl": "private"}, "s3:GetObjectAcl", id="s3:GetObjectAcl"),
        pytest.param("GetObjectTagging", {"tags": {"a": "b"}}, "s3:GetObjectTagging", id="s3:GetObjectTagging"),
    ],
)
def test_what_only_compares_is_a_warning(step, proxy, request_, settings, permission) -> None:
    step.run(settings)
    step.fresh_runner()
    proxy.on(request_, Refuse(403, "AccessDenied"))

    run = step.run(settings)

    assert (run.code, run.changed) == (0, []), run.err
    assert f"{request_}: AccessDenied" in run.err
    assert permission in run.err
    assert run.err.count("warning:") == 1


def test_looking_for_unfinished_uploads_is_only_a_favour(step, proxy) -> None:
    step.files({"dist/big": os.urandom(7 << 20)})
    proxy.on("ListMultipartUploads", Refuse(403, "AccessDenied"))

    run = step.run()

    assert (run.code, "t/big" in set(step.bucket.keys())) == (0, True), run.err


def test_a_kms_key_that_may_not_be_used_is_named(step, proxy, kms_key) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"))

    run = step.run({"kms_key_id": kms_key, "encryption": "aws:kms"})

    assert run.code == 1
    assert "kms:GenerateDataKey" in run.err


def test_credentials_that_are_refused_end_it_with_4(step, proxy) -> None:
    proxy.on("", Refuse(403, "InvalidAccessKeyId"))

    run = step.run()

    assert (run.code, run.counts["PutObject"]) == (4, 0)
    assert "refuses the credentials" in run.err


def test_a_bucket_that_is_not_there_ends_it_with_4(step) -> None:
    run = step.run({"bucket": "no-such-bucket-at-all"})

    assert (run.code, run.changes) == (4, [])
    assert "NoSuchBucket" in run.err
