"""What went wrong is read from an answer, and what that means is decided by tables."""

from __future__ import annotations

import pytest

from s3batch.s3.faults import Fault, RequestError, fault_of, hides_error, needs_fallback
from s3batch.s3.requests import Response


def refusal(code: str, message: str = "", more: str = "") -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'.encode()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        pytest.param(
            Response(403, {}, refusal("AccessDenied", "No &lt;way&gt;", "<RequestId>R1</RequestId>")),
            Fault("AccessDenied", "No <way>", 403, "R1"),
            id="an error document",
        ),
        pytest.param(
            Response(503, {"x-amz-request-id": "R2"}, refusal("SlowDown")),
            Fault("SlowDown", "", 503, "R2"),
            id="id in a header",
        ),
        pytest.param(Response(404, {}), Fault("NotFound", "", 404), id="no body, as after HEAD"),
        pytest.param(Response(403, {}), Fault("AccessDenied", "", 403), id="no body, 403"),
        pytest.param(Response(400, {}), Fault("BadRequest", "", 400), id="no body, 400"),
        pytest.param(Response(418, {}), Fault("HTTP418", "", 418), id="a status nobody knows"),
        pytest.param(Response(502, {}, b"<html>Bad Gateway</html>"), Fault("BadGateway", "", 502), id="a proxy's page"),
        pytest.param(Response(500, {}, refusal("500")), Fault("InternalError", "", 500), id="the status for a code"),
        pytest.param(
            Response(400, {}, refusal("AuthorizationHeaderMalformed", "", "<Region>eu-west-1</Region>")),
            Fault("AuthorizationHeaderMalformed", "", 400, region="eu-west-1"),
            id="the region in the body",
        ),
        pytest.param(
            Response(301, {"x-amz-bucket-region": "eu-west-1"}),
            Fault("PermanentRedirect", "", 301, region="eu-west-1"),
            id="the region in a header",
        ),
        pytest.param(Response(400, {}, b"\xff\xfe<Code>Odd\xff</Code>"), Fault("Odd\ufffd", "", 400), id="no UTF-8"),
    ],
)
def test_an_answer_tells_what_went_wrong(answer, fault):
    assert fault_of(answer) == fault


@pytest.mark.parametrize(
    ("fault", "retryable", "throttled", "signed_out", "fatal"),
    [
        pytest.param(Fault("SlowDown", "", 503), True, True, False, False, id="throttled"),
        pytest.param(Fault("TooManyRequests", "", 429), True, True, False, False, id="throttled by status"),
        pytest.param(Fault("InternalError", "", 500), True, False, False, False, id="their fault"),
        pytest.param(Fault("BadGateway", "", 502), True, False, False, False, id="a proxy's"),
        pytest.param(Fault("RequestTimeout", "", 400), True, False, False, False, id="too slow for them"),
        pytest.param(Fault("BadDigest", "", 400), True, False, False, False, id="spoilt on the way"),
        pytest.param(Fault("Connection", ""), True, False, False, False, id="no answer"),
        pytest.param(Fault("ChecksumMismatch", ""), True, False, False, False, id="stored something else"),
        pytest.param(Fault("Untrusted", ""), False, False, False, False, id="a strange certificate"),
        pytest.param(Fault("AccessDenied", "", 403), False, False, False, False, id="no permission"),
        pytest.param(Fault("NoSuchKey", "", 404), False, False, False, False, id="not there"),
        pytest.param(Fault("NotImplemented", "", 501), False, False, False, False, id="unknown to them"),
        pytest.param(Fault("SignatureDoesNotMatch", "", 403), False, False, False, False, id="of one key, perhaps"),
        pytest.param(Fault("ExpiredToken", "", 400), False, False, True, True, id="expired"),
        pytest.param(Fault("InvalidAccessKeyId", "", 403), False, False, True, True, id="nobody"),
        pytest.param(Fault("NoSuchBucket", "", 404), False, False, False, True, id="no bucket"),
        pytest.param(Fault("Corrupted", ""), False, False, False, True, id="a store that spoils everything"),
    ],
)
def test_a_fault_means_something_for_the_job(fault, retryable, throttled, signed_out, fatal):
    assert (fault.retryable, fault.throttled, fault.signed_out, fault.fatal) == (
        retryable,
        throttled,
        signed_out,
        fatal,
    )


@pytest.mark.parametrize(
    ("body", "hides"),
    [
        pytest.param(refusal("InternalError"), True, id="an error document"),
        pytest.param(b" \n" * 999 + refusal("SlowDown"), True, id="after the spaces that keep a connection alive"),
        pytest.param(b'<?xml version="1.0"?>' + b" " * 999 + b"<Error>", True, id="spaces after the declaration"),
        pytest.param(b"<Error><Code>X</Code></Error>", True, id="without a declaration"),
        pytest.param(b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", False, id="a result"),
        pytest.param(
            b'<?xml version="1.0"?><DeleteResult><Error><Key>k</Key></Error></DeleteResult>',
            False,
            id="errors of some keys",
        ),
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"<Errors are content too", False, id="content"),
    ],
)
def test_a_200_may_hide_an_error(body, hides):
    assert hides_error(Response(200, {}, body)) is hides
    assert not hides_error(Response(500, {}, body))
    assert not hides_error(Response(200, {"last-modified": "Sat, 21 Nov 2026 22:31:03 GMT"}, body))


@pytest.mark.parametrize(
    ("answer", "asked_again"),
    [
        pytest.param(Response(301, {}), True, id="redirect"),
        pytest.param(Response(307, {}), True, id="redirect for now"),
        pytest.param(Response(411, {}), True, id="length required"),
        pytest.param(Response(501, {}), True, id="not implemented"),
        pytest.param(Response(400, {}, refusal("InvalidArgument")), True, id="something is wrong with it"),
        pytest.param(Response(400, {}), True, id="bad request"),
        pytest.param(Response(403, {}, refusal("SignatureDoesNotMatch")), True, id="signature"),
        pytest.param(Response(403, {}, refusal("AccessDenied")), False, id="no permission"),
        pytest.param(Response(404, {}), False, id="not there"),
        pytest.param(Response(400, {}, refusal("EntityTooLarge")), False, id="too large for anybody"),
        pytest.param(Response(400, {}, refusal("BadDigest")), False, id="spoilt on the way"),
        pytest.param(Response(412, {}), False, id="condition"),
        pytest.param(Response(503, {}), False, id="busy"),
        pytest.param(Response(200, {}), False, id="fine"),
    ],
)
def test_boto3_is_asked_where_the_lean_lane_may_be_at_fault(answer, asked_again):
    assert needs_fallback(answer) is asked_again


def test_a_failed_call_names_the_call_its_key_and_what_was_said():
    error = RequestError("PutObject", "a b", Fault("AccessDenied", "No way", 403))

    assert str(error) == "PutObject 'a b': AccessDenied: No way"
    assert str(RequestError("ListObjectsV2", "", Fault("", "", 500))) == "ListObjectsV2: HTTP 500"
