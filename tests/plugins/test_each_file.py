"""1.6 and D1-D6, decisions 2 and 4 to 7: what is done for one file that has an object."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from tests.rig.faults import Refuse

TEXT = "text/plain; charset=utf-8"
EXPIRES = "Wed, 21 Oct 2099 07:28:00 GMT"


@pytest.fixture
def step(step):
    step.settings = {"source": "dist"}
    step.files({"dist/a.txt": "hello"})
    return step


def put(step, **attributes) -> None:
    """Somebody else's object with the file's content."""
    step.bucket.put("a.txt", b"hello", **{"ContentType": TEXT, **attributes})


# --- the six rules -----------------------------------------------------------------------------------


def test_rule_1_a_file_that_cannot_be_opened_fails_alone(step) -> None:
    step.files({"dist/b.txt": "x"})
    (step.workspace / "dist" / "c.txt").symlink_to("c.txt")

    run = step.run()

    assert (run.code, step.bucket.keys()) == (1, {"a.txt", "b.txt"})
    assert "failed: upload c.txt" in run.err


def test_rule_2_only_404_means_absent(step, proxy) -> None:
    put(step)
    proxy.on("HeadObject", Refuse(403, "AccessDenied"))

    run = step.run()

    assert (run.code, run.changed) == (1, [])
    assert "HeadObject: AccessDenied" in run.err
    assert "needs s3:GetObject" in run.err


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown")])
def test_rule_2_a_passing_fault_is_tried_again_and_never_becomes_a_put(step, proxy, status, code) -> None:
    put(step)
    proxy.on("HeadObject", Refuse(status, code), times=2)

    run = step.run()

    assert (run.code, run.changed) == (0, []), run.err


def test_rule_2_one_that_stays_fails(step, proxy) -> None:
    put(step)
    proxy.on("HeadObject", Refuse(500, "InternalError"))

    run = step.run({"retries": 2})

    assert (run.code, run.changed) == (1, [])
    assert "tried 2 times" in run.err


def test_rule_2_an_object_that_vanishes_after_the_listing_is_sent(step, proxy) -> None:
    put(step)
    proxy.on("HeadObject", Refuse(404, "NoSuchKey"))

    run = step.run()

    assert (run.code, run.changed) == (0, [("PutObject", "a.txt")]), run.err


def test_rule_3_other_content_of_the_same_size_is_sent(step) -> None:
    step.bucket.put("a.txt", b"HELLO", ContentType=TEXT)

    run = step.run()

    assert (run.code, step.bucket.get("a.txt")) == (0, b"hello")
    step.is_settled()


def test_rule_3_an_object_sent_in_parts_by_another_tool_is_recognised(step) -> None:
    body = os.urandom(11 << 20)
    step.files({"dist/big": body})
    s3, name = step.bucket.client, step.bucket.name
    upload = s3.create_multipart_upload(Bucket=name, Key="big", ContentType="application/octet-stream")["UploadId"]
    size, parts = 8 << 20, []
    for number, at in enumerate(range(0, len(body), size), 1):
        answer = s3.upload_part(Bucket=name, Key="big", UploadId=upload, PartNumber=number, Body=body[at : at + size])
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket=name, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})

    run = step.run()

    assert run.changed == [("PutObject", "a.txt")]
    step.is_settled()


def test_rule_3_a_large_file_goes_in_parts_and_is_settled(step) -> None:
    step.files({"dist/big": os.urandom(11 << 20)})
    settings = {"multipart_threshold": "6MiB", "part_size": "5MiB"}

    run = step.run(settings)

    assert (run.code, run.counts["UploadPart"], run.counts["CompleteMultipartUpload"]) == (0, 3, 1), run.err
    assert step.bucket.get("big") == (step.workspace / "dist" / "big").read_bytes()
    step.is_settled(settings)


DIFFERENCES = [
    pytest.param({"ContentType": "text/html"}, {}, {"content-type": TEXT}, id="D1 another Content-Type"),
    pytest.param({}, {"content_encoding": "br"}, {"content-encoding": "br"}, id="D2 one that is wanted"),
    pytest.param({"CacheControl": "no-store"}, {}, {"cache-control": None}, id="D3 one that is to go"),
    pytest.param({}, {"cache_control": "no-cache"}, {"cache-control": "no-cache"}, id="D3 one that is wanted"),
    pytest.param(
        {"Metadata": {"other": "1"}}, {"metadata": {"k": "v"}}, {"x-amz-meta-k": "v", "x-amz-meta-other": None},
        id="D4 foreign metadata where some is configured",
    ),
    pytest.param({"Metadata": {"k": "w"}}, {"metadata": {"K": "v"}}, {"x-amz-meta-k": "v"}, id="D5 another value"),
    pytest.param({"Metadata": {"l": "v"}}, {"metadata": {"k": "v"}}, {"x-amz-meta-k": "v"}, id="D5 another key"),
    pytest.param({}, {"metadata": {"k": "v"}}, {"x-amz-meta-k": "v"}, id="D5 a missing key"),
    pytest.param({}, {"acl": "public-read"}, {"x-amz-acl": "public-read"}, id="D6 another ACL"),
    pytest.param({"ACL": "public-read"}, {"acl": "private"}, {"x-amz-acl": "private"}, id="D6 less than there is"),
    pytest.param({}, {"content_disposition": "inline"}, {"content-disposition": "inline"}, id="17 content_disposition"),
    pytest.param({}, {"content_language": "de"}, {"content-language": "de"}, id="17 content_language"),
    pytest.param({}, {"expires": EXPIRES}, {"expires": EXPIRES}, id="17 expires"),
    pytest.param({}, {"storage_class": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD_IA"}, id="17 storage_class"),
    pytest.param({}, {"tags": {"a": "b"}}, {"x-amz-tagging": "a=b", "x-amz-tagging-directive": "REPLACE"}, id="17 tags"),
    pytest.param({}, {"encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}, id="17 encryption"),
]  # fmt: skip


def test_d2_a_content_encoding_that_is_to_go_goes(make_step) -> None:
    step = make_step("moto")  # ministack keeps it
    step.settings = {"source": "dist"}
    step.files({"dist/a.txt": "hello"})
    put(step, ContentEncoding="gzip")

    run = step.run()

    assert run.changed == [("CopyObject", "a.txt")]
    assert "ContentEncoding" not in step.bucket.head("a.txt")
    step.is_settled()


@pytest.mark.parametrize(("stored", "settings", "wanted"), DIFFERENCES)
def test_rule_4_a_difference_is_mended_by_one_copy(step, stored, settings, wanted) -> None:
    put(step, **stored)

    run = step.run(settings)

    assert (run.code, run.changed) == (0, [("CopyObject", "a.txt")]), run.err
    headers = run.headers("a.txt", "CopyObject")
    assert {name: headers.get(name) for name in wanted} == wanted
    assert headers["x-amz-metadata-directive"] == "REPLACE"
    step.is_settled(settings)


SAME = [
    pytest.param({}, {}, id="D1 the type of the table"),
    pytest.param({"ContentType": "TEXT/plain;charset=UTF-8"}, {}, id="D1 written otherwise"),
    pytest.param({"Metadata": {"mtime": "1", "s3cmd-attrs": "uid:0"}}, {}, id="D4 other tools' bookkeeping"),
    pytest.param({"Metadata": {"foreign": "x"}}, {}, id="D4 metadata is not ours where none is configured"),
    pytest.param({"Metadata": {"mtime": "1", "k": "v"}}, {"metadata": {"k": "v"}}, id="D4 bookkeeping beside ours"),
    pytest.param({"Metadata": {"custommeta": "abc"}}, {"metadata": {"CustomMeta": "abc"}}, id="D5 keys in any case"),
    pytest.param({"ACL": "public-read"}, {}, id="D6 ACLs are not ours where none is configured"),
    pytest.param({"StorageClass": "STANDARD_IA", "ContentDisposition": "inline"}, {}, id="6 what is not configured"),
]


@pytest.mark.parametrize(("stored", "settings"), SAME)
def test_rule_5_no_difference_no_request_that_changes_something(step, stored, settings) -> None:
    put(step, **stored)

    run = step.run(settings)

    assert (run.code, run.changed, run.of("GetObjectAcl")) == (0, [], []), run.err
    step.is_settled(settings)


@pytest.mark.parametrize(
    "acl",
    [
        "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read",
        "bucket-owner-full-control",
    ],
)  # fmt: skip
def test_rule_5_no_canned_acl_is_copied_on_every_run(step, acl) -> None:
    first = step.run({"acl": acl})

    assert (first.code, first.headers("a.txt")["x-amz-acl"]) == (0, acl), first.err
    step.is_settled({"acl": acl})


@pytest.mark.parametrize("name", ["a%b?c#d.txt", "ü é.txt", "a b+c.txt", "100%.txt"])
def test_rule_5_any_key_can_be_copied(step, name) -> None:
    step.files({f"dist/{name}": "x"})
    step.run()

    run = step.run({"cache_control": "no-store"})

    assert (run.code, ("CopyObject", name) in run.changed) == (0, True), run.err
    assert step.bucket.head(name)["CacheControl"] == "no-store"


def test_rule_6_a_put_carries_what_is_configured_and_no_more(step) -> None:
    run = step.run({"metadata": {"CustomMeta": "abc"}})

    headers = run.headers("a.txt")
    assert headers["content-type"] == TEXT
    assert headers["x-amz-meta-custommeta"] == "abc"
    assert not {"x-amz-acl", "cache-control", "content-encoding", "x-amz-storage-class"} & headers.keys()


# --- the decisions -----------------------------------------------------------------------------------------


def test_decision_2_without_acl_none_is_sent_and_none_is_read(step) -> None:
    put(step)
    step.files({"dist/b.txt": "new"})

    run = step.run()

    assert run.of("GetObjectAcl") == []
    assert "x-amz-acl" not in run.headers("b.txt")


def test_decision_2_a_configured_acl_that_matches_nothing_is_private(step) -> None:
    assert step.run({"acl": {"*.html": "public-read"}}).headers("a.txt")["x-amz-acl"] == "private"


def test_decision_2_o5_a_bucket_without_acls_is_one_warning(step, make_bucket) -> None:
    step.bucket = make_bucket(ownership="BucketOwnerEnforced")
    step.files({f"dist/{n}.html": "x" for n in range(20)})

    run = step.run({"acl": "public-read", "redirects": {"old": "/new"}})

    assert (run.code, len(step.bucket.keys())) == (0, 22), run.err
    assert run.err.count("ACLs disabled") == run.err.count("that the acl setting or a redirect asks for") == 1
    assert step.run({"acl": "public-read"}).requests[1:] == []
    before = {each["Key"]: each["LastModified"] for each in step.bucket.listed()}
    step.fresh_runner()
    fresh = step.run({"acl": "public-read"})
    assert (fresh.code, {request.status for request in fresh.changes} <= {400}) == (0, True), fresh.err
    assert {each["Key"]: each["LastModified"] for each in step.bucket.listed()} == before


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_decision_2_acls_that_cannot_be_read_are_one_warning(step, proxy, status, code) -> None:
    step.files({f"dist/{n}.txt": "x" for n in range(5)})
    step.run({"acl": "public-read"})
    step.fresh_runner()
    proxy.on("GetObjectAcl", Refuse(status, code))

    run = step.run({"acl": "public-read"})

    assert (run.code, run.changed) == (0, []), run.err
    assert run.err.count("warning:") == 1
    assert "s3:GetObjectAcl" in run.err


def test_decision_6_a_copy_keeps_what_it_does_not_own(step) -> None:
    put(
        step, StorageClass="STANDARD_IA", ContentDisposition="inline", ContentLanguage="de",
        Expires=datetime(2099, 10, 21, 7, 28, tzinfo=UTC), Tagging="a=b", ServerSideEncryption="AES256",
        WebsiteRedirectLocation="/x", Metadata={"foreign": "1"}, CacheControl="no-store",
    )  # fmt: skip

    run = step.run({"cache_control": "no-cache"})

    assert run.changed == [("CopyObject", "a.txt")]
    head = step.bucket.head("a.txt")
    tags = step.bucket.client.get_object_tagging(Bucket=step.bucket.name, Key="a.txt")["TagSet"]
    assert (head["StorageClass"], head["ContentDisposition"], head["ContentLanguage"]) == (
        "STANDARD_IA",
        "inline",
        "de",
    )
    assert head["ResponseMetadata"]["HTTPHeaders"]["expires"] == EXPIRES
    assert (head["ServerSideEncryption"], head["WebsiteRedirectLocation"]) == ("AES256", "/x")
    assert (head["Metadata"], head["CacheControl"], tags) == (
        {"foreign": "1"}, "no-cache", [{"Key": "a", "Value": "b"}]
    )  # fmt: skip


def test_decision_7_an_encrypted_object_is_not_sent_again_and_again(step, kms_key) -> None:
    settings = {"encryption": "aws:kms", "kms_key_id": kms_key}
    first = step.run(settings)

    assert first.code == 0, first.err
    assert step.bucket.head("a.txt")["ServerSideEncryption"] == "aws:kms"
    step.is_settled(settings)


def test_decision_7_what_the_journal_knows_needs_no_reading(step) -> None:
    step.run()
    (step.workspace / "dist" / "a.txt").chmod(0o644)

    assert dict(step.run().counts) == {"ListObjectsV2": 1}


def test_decision_7_a_touched_file_is_read_and_nothing_is_asked(step) -> None:
    step.run()
    os.utime(step.workspace / "dist" / "a.txt", (1, 1))

    assert dict(step.run().counts) == {"ListObjectsV2": 1}
