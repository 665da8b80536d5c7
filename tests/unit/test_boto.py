"""The reference lane: what it sends is the call, whatever botocore would have made of it; what it hears is the answer."""

from __future__ import annotations

import socket
import ssl

import pytest
from botocore.exceptions import ParamValidationError

from s3batch.s3 import requests as calls
from s3batch.s3.boto import BotoTransport, fault_without_answer, make_client
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.faults import RequestError
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.requests import Request
from s3batch.s3.sigv4 import Credentials
from s3batch.s3.transport import Transport
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Reply, error

OWN = {"user-agent", "accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "expect"}
"""Headers botocore adds that S3 does not look at."""


def endpoint_of(url: str, **changes) -> Endpoint:
    host, port, tls, _ = split_url(url)
    values = {
        "bucket": "bucket", "region": "us-east-1", "host": host, "port": port, "tls": tls, "path_style": True,
        "url": url, "credentials": Credentials(ACCESS_KEY, SECRET_KEY), "timeout": 2.0,
    }  # fmt: skip
    return Endpoint(**values | changes)


@pytest.fixture(scope="module")
def fake():
    with FakeS3() as running:
        yield running


@pytest.fixture(scope="module")
def carry(fake):
    return BotoTransport(endpoint_of(fake.url))


@pytest.fixture(autouse=True)
def _fresh(fake):
    fake.forget()


PARTS = [(1, '"e"', "")]
CALLS = [
    calls.put_object(
        "key", b"body", {"content-type": "a/b", "x-amz-meta-a": "b c", "content-md5": calls.md5_header(b"body")}
    ),
    calls.put_object("ödd key+%/../\udcff\n", b"", {}),
    calls.head_object("key"),
    calls.get_object("key"),
    calls.get_object("key", 1, 2),
    calls.copy_object("key", "bucket", {"x-amz-metadata-directive": "REPLACE", "content-type": "c/d"}),
    calls.delete_object("key"),
    calls.delete_objects(["a&b", "c"]),
    calls.list_objects("pre fix/", token="t+/="),
    calls.list_objects("pre", start_after="a b"),
    calls.create_multipart_upload("key", {"content-type": "e/f"}),
    calls.upload_part("key", "upload+1/==", 1, b"part"),
    calls.list_parts("key", "upload+1/==", 7),
    calls.complete_multipart_upload("key", "upload+1/==", PARTS, "crc32", {}),
    calls.abort_multipart_upload("key", "upload+1/=="),
    calls.list_multipart_uploads("pre", "k", "u"),
    calls.get_object_acl("key"),
    Request("GetObjectTagging", "GET", "key", "tagging="),
]


@pytest.mark.parametrize("call", CALLS, ids=[f"{number}-{call.name}" for number, call in enumerate(CALLS)])
def test_both_lanes_say_exactly_the_same(fake, carry, call):
    lane = Transport(endpoint_of(fake.url, sign_payload="always"), make_boto_sender)
    by_lean = lane.call(call)
    lean = fake.requests[-1]
    fake.requests.clear()
    lane.close()

    by_boto = carry(call)
    boto = fake.requests[0]

    assert (boto.method, boto.target, boto.body) == (lean.method, lean.target, lean.body)
    assert said(boto) == said(lean)
    assert by_boto.status == by_lean.status or call.name == "AbortMultipartUpload"


def said(request) -> dict[str, str]:
    changing = OWN | {"authorization", "x-amz-date", "content-length", "x-amz-content-sha256"}
    return {name: value for name, value in request.headers.items() if name not in changing}


def test_what_was_fetched_is_the_answers_body(fake, carry):
    body = bytes(range(256)) * 4096
    carry(calls.put_object("key", body, {}))

    answer = carry(calls.get_object("key"))

    assert (answer.status, answer.body) == (200, body)


def test_a_refusal_is_an_answer(fake, carry):
    fake.meddle = lambda _: Reply(403, {"x-amz-request-id": "R"}, error("AccessDenied"))

    answer = carry(calls.get_object("key"))

    assert (answer.status, answer.headers["x-amz-request-id"]) == (403, "R")
    assert b"AccessDenied" in bytes(answer.body)


def test_a_page_that_is_no_xml_is_an_answer(fake, carry):
    fake.meddle = lambda _: Reply(200, {}, b"<html>Welcome to our hotel")

    assert b"hotel" in bytes(carry(calls.create_multipart_upload("key", {})).body)


def test_botocore_parses_only_the_head_of_a_large_body_that_is_no_document(fake):
    body, parsed = b"\x00" * (1 << 20), []
    fake.meddle = lambda _: Reply(200, {}, body)
    carry = BotoTransport(endpoint_of(fake.url))
    carry._client.meta.events.register("before-parse.s3", lambda response_dict, **_: parsed.append(response_dict))

    assert carry(calls.get_object_tagging("key")).body == body
    assert [len(each["body"]) for each in parsed] == [64 * 1024]
    assert make_client(endpoint_of(fake.url)).get_object(Bucket="bucket", Key="key")["Body"].read() == body


def test_a_busy_store_is_not_asked_again_behind_the_back_of_who_counts_the_tries(fake, carry):
    fake.meddle = lambda _: Reply(503, {}, error("SlowDown"))

    assert carry(calls.put_object("key", b"", {})).status == 503
    assert len(fake.requests) == 1


def test_headers_that_are_not_ascii_arrive_as_their_bytes(fake, carry):
    seen = []
    fake.meddle = lambda request: (
        seen.append(request.headers["content-disposition"]) or Reply(200, {"x-back": "bücher"})
    )

    answer = carry(calls.put_object("key", b"", {"content-disposition": "bücher"}))

    assert seen == ["bücher".encode().decode("latin-1")]
    assert answer.headers["x-back"] == b"b\xfccher".decode("utf-8", "surrogateescape")


def test_the_buckets_region_is_found_by_boto3(fake):
    fake.manners = Manners(region="eu-south-9")

    assert BotoTransport(endpoint_of(fake.url))(calls.put_object("key", b"", {})).status == 200


def test_bodies_are_signed_as_the_lean_lane_signs_them(fake):
    for choice, payload in (("always", "signed"), ("never", "UNSIGNED-PAYLOAD"), ("auto", "signed")):
        BotoTransport(endpoint_of(fake.url, sign_payload=choice))(calls.put_object("key", b"body", {}))
        found = fake.requests[-1].headers["x-amz-content-sha256"]
        assert (found == "UNSIGNED-PAYLOAD") is (payload == "UNSIGNED-PAYLOAD"), choice


@pytest.fixture
def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_nobody_there_is_a_fault_worth_a_retry(refused_port):
    with pytest.raises(RequestError) as lost:
        BotoTransport(endpoint_of(f"http://127.0.0.1:{refused_port}"))(calls.head_object("key"))

    assert (lost.value.fault.code, lost.value.fault.retryable) == ("Connection", True)


def test_silence_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = endpoint_of(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        with pytest.raises(RequestError) as lost:
            BotoTransport(endpoint)(calls.head_object("key"))

    assert (lost.value.fault.code, lost.value.fault.retryable) == ("Timeout", True)


def test_a_strange_certificate_is_not_worth_a_retry(tls_authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeS3(tls=context) as secure, pytest.raises(RequestError) as lost:
        BotoTransport(endpoint_of(secure.url))(calls.head_object("key"))

    assert (lost.value.fault.code, lost.value.fault.retryable) == ("Untrusted", False)


def test_what_boto3_will_not_send_is_not_worth_a_retry():
    fault = fault_without_answer(ParamValidationError(report="Invalid bucket name"), endpoint_of("http://h"))

    assert (fault.code, fault.retryable) == ("ParamValidationError", False)
    assert "Invalid bucket name" in fault.message
