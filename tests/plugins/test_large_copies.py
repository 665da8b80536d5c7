"""Decision 6: an object too large for CopyObject is copied onto itself in parts. The limit is lowered to reach it."""

from __future__ import annotations

import os
from functools import partial

import pytest

from s3batch.worker.context import Brief
from tests.rig.faults import Refuse

MIB = 1 << 20


@pytest.fixture
def step(make_step, monkeypatch):
    step = make_step("moto")  # ministack forgets the ACL of an object that was made of parts
    monkeypatch.setattr("s3batch.commands.sync.job.Brief", partial(Brief, copy_limit=5 * MIB))
    step.settings = {"source": "dist", "multipart_threshold": "1GiB"}
    step.files({"dist/big.bin": os.urandom(13 * MIB), "dist/small.bin": "x"})
    return step


def test_only_the_large_one_goes_in_parts_and_keeps_what_is_not_ours(step) -> None:
    body = (step.workspace / "dist" / "big.bin").read_bytes()
    step.bucket.put(
        "big.bin", body, Metadata={"foreign": "1"}, ContentDisposition="inline", StorageClass="STANDARD_IA",
        Tagging="a=b&c=d", CacheControl="no-store", ContentType="application/octet-stream",
    )  # fmt: skip
    step.bucket.put("small.bin", b"x", CacheControl="no-store")

    run = step.run({"cache_control": "public", "acl": "public-read"})

    assert run.code == 0, run.err
    assert (run.counts["CopyObject"], run.counts["UploadPartCopy"], run.counts["UploadPart"]) == (1, 3, 0)
    head = step.bucket.head("big.bin")
    assert (head["CacheControl"], head["Metadata"], head["ContentDisposition"], head["StorageClass"]) == (
        "public", {"foreign": "1"}, "inline", "STANDARD_IA",
    )  # fmt: skip
    tags = step.bucket.client.get_object_tagging(Bucket=step.bucket.name, Key="big.bin")["TagSet"]
    assert sorted(tag["Key"] for tag in tags) == ["a", "c"]
    assert any("AllUsers" in grantee for grantee, _ in step.bucket.grants("big.bin"))
    assert step.bucket.get("big.bin") == body
    step.is_settled({"cache_control": "public", "acl": "public-read"})


def test_one_that_is_refused_is_named_and_leaves_no_upload_behind(step, proxy) -> None:
    step.run()
    proxy.on("UploadPartCopy", Refuse(403, "AccessDenied"))

    run = step.run({"cache_control": "public"})

    assert run.code == 1
    assert "big.bin: UploadPartCopy: AccessDenied" in run.err
    assert step.bucket.uploads() == []
