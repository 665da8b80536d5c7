"""``s3batch doctor`` against real buckets: it tells what does not work, touches nothing else, and leaves nothing."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from s3batch.base.errors import EndpointError
from s3batch.commands.doctor.run import run_doctor
from s3batch.reporting.console import Output
from s3batch.settings.table import Settings
from tests.rig import program
from tests.rig.faults import Delay, Refuse, Reset
from tests.rig.servers import Quirk

DENIED = Refuse(403, "AccessDenied")
ALL = {
    "acl": '{"*": "private", "public/*": "public-read"}',
    "cache_control": '{".html": "no-cache"}',
    "metadata": '{"*.png": {"CustomMeta": "abc123"}}',
    "tags": '{"team": "web"}',
    "storage_class": "STANDARD_IA",
    "redirects": '{"site/old": "/new"}',
    "encryption": "AES256",
    "gzip": ".js,.css",
    "delete": True,
}


@pytest.fixture
def examine(server, bucket) -> Callable[..., tuple[int, Any]]:
    """The exit code and the document for these settings."""

    def examine_it(url: str = server.url, **values: Any) -> tuple[int, Any]:
        settings = settings_for(bucket, url, json=True, **values)
        out = io.StringIO()
        code = run_doctor(settings, Output(out, io.StringIO()))
        return code, json.loads(out.getvalue())

    return examine_it


def settings_for(examined, url: str, **values: Any) -> Settings:
    keys = {"access_key": examined.server.access_key, "secret_key": examined.server.secret_key}
    place = {"bucket": examined.name, "target": "site", "endpoint_url": url, "region": "us-east-1", "path_style": True}
    return Settings(**{"command": "doctor", **place, **keys, **values})


def failed(document: Any) -> list[str]:
    """The needed requests that do not work."""
    return [row["call"] for row in document["checks"] if row["needed"] and row["outcome"] != "allowed"]


def row_of(document: Any, call: str) -> Any:
    return next(row for row in document["checks"] if row["call"] == call and row["outcome"] != "allowed")


# --- everything works ---------------------------------------------------------------------------


def test_a_bucket_that_takes_everything_is_healthy(examine, bucket):
    code, document = examine(**ALL)

    assert (code, failed(document), document["state"]) == (0, [], "done")
    assert {row["call"] for row in document["checks"]} >= {
        "ListObjectsV2", "PutObject", "HeadObject", "GetObject", "CopyObject", "GetObjectAcl", "GetObjectTagging", "CreateMultipartUpload",
        "UploadPart", "ListParts", "ListMultipartUploads", "CompleteMultipartUpload", "AbortMultipartUpload",
        "DeleteObject", "DeleteObjects",
    }  # fmt: skip
    assert document["warnings"] == []
    assert document["store"]["clock"] == pytest.approx(0, abs=2)


@pytest.mark.parametrize("values", [{}, ALL], ids=["plain", "everything configured"])
def test_a_visit_leaves_nothing_and_touches_nothing(examine, bucket, values):
    for key in ("site/index.html", "site/.s3batch/manifest", "old"):
        bucket.put(key, b"here before")
    mine = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="site/big")["UploadId"]
    before = {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in bucket.listed()}

    examine(**values)

    assert {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in bucket.listed()} == before
    assert [upload["UploadId"] for upload in bucket.uploads()] == [mine]


def test_nothing_is_written_outside_the_doctors_own_folder(examine, proxy):
    examine(proxy.url, **ALL)

    written = {request.key for request in proxy.requests if request.method in ("PUT", "POST", "DELETE") and request.key}
    assert written
    assert {key.partition("doctor-")[0] for key in written} == {"site/.s3batch/"}


def test_only_what_is_configured_is_asked(examine, proxy):
    _, document = examine(proxy.url)

    assert not {"GetObjectAcl", "PutObjectTagging"} & {request.operation for request in proxy.requests}
    assert not any("x-amz-acl" in request.headers for request in proxy.requests)
    assert "CreateInvalidation" not in {row["call"] for row in document["checks"]}


def test_an_invalidation_is_not_tried_and_said_to_be_so(examine):
    code, document = examine(cloudfront_distribution="E2EXAMPLE", cloudfront_endpoint="http://127.0.0.1:9")

    row = row_of(document, "CreateInvalidation")
    assert (code, row["outcome"], row["needed"]) == (0, "not tried", False)
    assert "http://127.0.0.1:9" in row["error"]


# --- what is refused ----------------------------------------------------------------------------


REFUSALS = [
    pytest.param("ListObjectsV2", {}, ["ListObjectsV2"], ["s3:ListBucket"], id="list"),
    pytest.param("HeadObject", {}, ["HeadObject"], ["s3:GetObject"], id="head"),
    pytest.param("GetObject", {}, ["GetObject"], ["s3:GetObject"], id="get"),
    pytest.param("CopyObject", {}, ["CopyObject"], ["s3:GetObject", "s3:PutObject"], id="copy"),
    pytest.param("CreateMultipartUpload", {}, ["CreateMultipartUpload"], ["s3:PutObject"], id="begin"),
    pytest.param("UploadPart", {}, ["UploadPart"], ["s3:PutObject"], id="part"),
    pytest.param("ListParts", {}, [], ["s3:ListMultipartUploadParts"], id="list parts, optional"),
    pytest.param("CompleteMultipartUpload", {}, ["CompleteMultipartUpload"], ["s3:PutObject"], id="complete"),
    pytest.param("ListMultipartUploads", {}, [], ["s3:ListBucketMultipartUploads"], id="list uploads, optional"),
    pytest.param("DeleteObjects", {"delete": True}, ["DeleteObjects"], ["s3:DeleteObject"], id="delete many"),
    pytest.param("DeleteObjects", {}, [], ["s3:DeleteObject"], id="delete many, not needed"),
    pytest.param("GetObjectAcl", {"acl": "private"}, [], ["s3:GetObjectAcl"], id="read an ACL, optional"),
    pytest.param("GetObjectTagging", {"tags": '{"a": "b"}'}, [], ["s3:GetObjectTagging"], id="read tags, optional"),
]


@pytest.mark.parametrize(("call", "values", "needed", "permissions"), REFUSALS)
def test_a_refused_request_is_named_with_its_permission(examine, bucket, proxy, call, values, needed, permissions):
    proxy.on(call, DENIED)

    code, document = examine(proxy.url, **values)

    row = row_of(document, call)
    assert (row["outcome"], row["code"], row["status"]) == ("refused", "AccessDenied", 403)
    assert row["permissions"] == permissions
    assert (code, failed(document)) == (int(bool(needed)), needed)
    assert bucket.keys() == set()
    assert bucket.uploads() == []


def test_without_the_right_to_write_nothing_else_is_tried(examine, proxy):
    proxy.on("PutObject", DENIED)

    code, document = examine(proxy.url)

    assert (code, failed(document)) == (1, ["PutObject"])
    assert not {"CopyObject", "DeleteObject", "CreateMultipartUpload"} & proxy.counts().keys()
    assert [warning for warning in document["warnings"] if "left behind" in warning] == []


def test_what_cannot_be_removed_is_one_object_and_it_is_named(examine, bucket, proxy):
    proxy.on("DeleteObject", DENIED)
    proxy.on("DeleteObjects", DENIED)

    code, document = examine(proxy.url)

    [left] = bucket.keys()
    assert code == 0
    assert f"left behind: {left} (AccessDenied: " in document["warnings"][-1]
    assert row_of(document, "DeleteObject")["needed"] is False
    assert bucket.uploads() == []


def test_an_upload_that_cannot_be_aborted_is_named(examine, bucket, proxy):
    proxy.on("AbortMultipartUpload", DENIED)

    code, document = examine(proxy.url)

    [left] = bucket.uploads()
    assert (code, failed(document)) == (0, [])
    assert any(f"left behind: the multipart upload {left['UploadId']}" in warning for warning in document["warnings"])


def test_a_store_without_batches_deletes_one_by_one(examine, bucket, proxy):
    proxy.on("DeleteObjects", Refuse(501, "NotImplemented"))

    code, document = examine(proxy.url, delete=True)

    assert (code, row_of(document, "DeleteObjects")["needed"]) == (0, False)
    assert bucket.keys() == set()


def test_a_bucket_without_acls_costs_a_hint_and_no_failure(server, make_bucket):
    if server.name not in ("ministack", "moto"):
        pytest.skip(f"{server.name} has no bucket without ACLs")
    bucket = make_bucket(ownership="BucketOwnerEnforced")
    out = io.StringIO()

    code = run_doctor(settings_for(bucket, server.url, json=True, acl="public-read"), Output(out, io.StringIO()))

    row = row_of(json.loads(out.getvalue()), "PutObject")
    assert (code, row["code"], row["needed"]) == (0, "AccessControlListNotSupported", False)
    assert "remove acl" in row["hint"]


@pytest.mark.parametrize(
    ("values", "skip", "call", "needed_for"),
    [
        # before it: the plain upload, the one without a signed body, the one that is copied
        pytest.param({"acl": "public-read"}, 3, "PutObject", "acl public-read", id="the ACL"),
        pytest.param({"storage_class": "GLACIER"}, 3, "PutObject", "storage class GLACIER", id="a storage class"),
        pytest.param({"tags": '{"a": "b"}'}, 3, "PutObject", "tags a=b", id="tags"),
        pytest.param({}, 1, "PutObject", "upload without signing the content", id="an unsigned body"),
    ],
)
def test_a_value_that_is_refused_is_named(examine, proxy, values, skip, call, needed_for):
    proxy.on(call, DENIED, skip=skip, times=1)

    code, document = examine(proxy.url, **values)

    assert (code, row_of(document, call)["needed_for"]) == (1, needed_for)


@pytest.mark.parametrize(
    ("times", "hint"),
    [
        pytest.param(1, "it works with sign_payload: always", id="signed"),
        pytest.param(2, "it works with checksum: md5", id="another checksum"),
        pytest.param(3, "it works with checksum: none", id="no checksum"),
        pytest.param(4, "it works with sign_payload: always and checksum: none", id="both"),
    ],
)
def test_the_doctor_finds_the_setting_with_which_an_upload_works(examine, bucket, proxy, times, hint):
    proxy.on("PutObject", Refuse(400, "InvalidDigest"), times=times)

    code, document = examine(proxy.url)

    assert code == 1
    assert row_of(document, "PutObject")["hint"] == hint
    assert [row["outcome"] for row in document["checks"] if row["call"] == "CopyObject"] == ["allowed"]
    assert bucket.keys() == set()


def test_a_policy_that_wants_an_acl_on_every_object_is_met(examine, proxy):
    proxy.on("PutObject", DENIED, times=1)

    code, document = examine(proxy.url, acl="bucket-owner-full-control")

    assert code == 0
    assert document["checks"][1]["needed_for"] == "upload (only with the headers that all files get)"


def test_a_copy_without_effect_is_no_copy(examine, bucket, proxy):
    def forget(request) -> None:
        bucket.put(request.key, b"s3batch doctor: remove me if you find me\n", ContentType="text/plain")

    from tests.rig.faults import Call

    proxy.on("CopyObject", Call(forget, after=True))

    code, document = examine(proxy.url)

    row = row_of(document, "CopyObject")
    assert (code, row["outcome"], row["hint"]) == (0, "without effect", "the file is sent again instead")
    assert "content-type is 'text/plain', not 'text/x-probe'" in row["error"]


def test_answers_that_are_lost_leave_nothing_behind(examine, bucket, proxy):
    for operation in ("CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject"):
        proxy.on(operation, Reset(after=True))

    code, _ = examine(proxy.url)

    assert code == 1
    assert bucket.keys() == set()
    assert bucket.uploads() == []


def test_a_passing_fault_is_no_finding(examine, proxy):
    proxy.on("", Refuse(503, "SlowDown"), times=2)

    assert examine(proxy.url)[0] == 0


# --- what the bucket does by itself -------------------------------------------------------------


def test_old_versions_of_the_probe_are_removed_too(examine, bucket):
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})

    _, document = examine(**ALL)

    listed = bucket.client.list_object_versions(Bucket=bucket.name)
    assert (listed.get("Versions", []), listed.get("DeleteMarkers", [])) == ([], [])
    assert document["store"]["versioning"] == "enabled"
    assert ["is versioned" in warning for warning in document["warnings"]] == [True]


def test_lifecycle_rules_below_the_target_are_warned_about(examine, bucket):
    rules = [
        {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": "site/"}, "Expiration": {"Days": 30}},
        {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}},
    ]
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": rules})

    code, document = examine()

    assert code == 0
    assert [rule["name"] for rule in document["store"]["lifecycle"]] == ["tidy"]
    assert ["'tidy' deletes objects below 'site/' after 30 days" in warning for warning in document["warnings"]] == [
        True
    ]


def test_nothing_is_written_where_nothing_could_be_removed(server, make_bucket):
    if server.name != "ministack":
        pytest.skip("one server with object lock is enough")
    from tests.rig import buckets

    name = f"{make_bucket().name}-locked"
    s3 = buckets.client(server)
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(
        Bucket=name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 3}},
        },
    )  # fmt: skip
    out = io.StringIO()

    code = run_doctor(settings_for(buckets.Bucket(name, server, s3), server.url, json=True), Output(out, io.StringIO()))

    document = json.loads(out.getvalue())
    assert (code, row_of(document, "PutObject")["outcome"]) == (1, "not tried")
    assert "3 days (COMPLIANCE)" in row_of(document, "PutObject")["error"]
    assert s3.list_object_versions(Bucket=name).get("Versions", []) == []


@pytest.mark.parametrize(
    ("call", "fact", "permission"),
    [
        ("GetBucketVersioning", "versioning", "s3:GetBucketVersioning"),
        ("GetBucketLifecycleConfiguration", "lifecycle", "s3:GetLifecycleConfiguration"),
    ],
)
def test_a_rule_that_may_not_be_seen_is_unknown(proxy, bucket, call, fact, permission):
    proxy.on(call, DENIED)
    out = io.StringIO()

    code = run_doctor(settings_for(bucket, proxy.url), Output(out, io.StringIO()))

    assert code == 0
    [line] = [line for line in out.getvalue().splitlines() if line.startswith(fact)]
    assert f"unknown, {call} is refused: AccessDenied" in line
    assert line.endswith(f"needs {permission}")


# --- nobody at home -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"endpoint_url": "http://127.0.0.1:9"}, "check endpoint_url", id="no endpoint"),
        pytest.param({"bucket": "no-such-bucket-0"}, "create it", id="no bucket"),
        pytest.param({"access_key": "AKIANOBODY", "secret_key": "x"}, "check access key", id="nobody we know"),
    ],
)
def test_who_cannot_get_in_is_told_before_anything_is_tried(bucket, values, words):
    if "access_key" in values and bucket.server.has(Quirk.SIGNATURE_UNCHECKED) and bucket.server.name != "ministack":
        pytest.skip(f"{bucket.server.name} lets everybody in")
    settings = settings_for(bucket, bucket.server.url, **values)

    with pytest.raises(EndpointError, match=words):
        run_doctor(settings, Output(io.StringIO(), io.StringIO()))


def test_a_site_is_no_store(bucket):
    import http.server
    import threading

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<html>hello</")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{site.server_port}"
        with pytest.raises(EndpointError, match="does not speak S3"):
            run_doctor(settings_for(bucket, url), Output(io.StringIO(), io.StringIO()))
        site.shutdown()


# --- the program --------------------------------------------------------------------------------


def test_people_get_a_table_and_a_verdict(run_cli, bucket, proxy, env):
    proxy.on("CopyObject", DENIED)

    finished = run_cli(["doctor", bucket.url("site")], env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert finished.code == 1
    assert "change metadata in place" in finished.stdout
    assert "needs s3:GetObject and s3:PutObject" in finished.stdout
    assert finished.stderr.endswith("needed requests do not work\n")


def test_both_lanes_come_to_the_same(examine):
    lean, reference = examine(lane="lean", **ALL), examine(lane="reference", **ALL)

    assert [row["outcome"] for row in lean[1]["checks"]] == [row["outcome"] for row in reference[1]["checks"]]
    ours = {name: value for name, value in lean[1]["store"].items() if name not in ("clock", "requests_by")}
    theirs = {name: value for name, value in reference[1]["store"].items() if name not in ("clock", "requests_by")}
    assert ours == theirs


EXPECTED_ELSEWHERE = {
    "moto": {"verifies_checksums": False, "verifies_md5": False, "keeps_any_name": False},
    "rclone": {"verifies_checksums": False, "conditional_writes": False, "keeps_any_name": False},
    "seaweedfs": {"verifies_checksums": True, "conditional_writes": True, "lists_in_byte_order": False},
}


@pytest.mark.parametrize("name", EXPECTED_ELSEWHERE)
def test_what_is_known_of_other_servers_is_found(server_named, name):
    from tests.rig import buckets

    server = server_named(name)
    bucket = buckets.make_bucket(server)
    out = io.StringIO()

    code = run_doctor(settings_for(bucket, server.url, json=True), Output(out, io.StringIO()))

    document = json.loads(out.getvalue())
    assert (code, failed(document)) == (0, [])
    assert {fact: document["store"][fact] for fact in EXPECTED_ELSEWHERE[name]} == EXPECTED_ELSEWHERE[name]
    assert bucket.keys() == set()
    buckets.remove_bucket(bucket)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_an_interrupted_visit_leaves_nothing(start_cli, env, bucket, proxy, number, code):
    proxy.on("UploadPart", Delay(60))
    process = start_cli(["doctor", bucket.url("site"), "--json"], env=env | {"AWS_ENDPOINT_URL": proxy.url})
    assert proxy.wait_for("UploadPart")

    process.send_signal(number)
    finished = program.finish(process, timeout=60)

    assert finished.code == code
    assert finished.json["state"] == "interrupted"
    assert bucket.keys() == set()
    assert bucket.uploads() == []
