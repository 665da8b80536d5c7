"""What goes to boto3 and when: decisions from responses alone."""

from __future__ import annotations

import pytest

from s3batch.quirks import OVERRULED
from s3batch.s3.boto_fallback import BotoFallback
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.requests import Response
from s3batch.s3.sigv4 import Credentials

ENDPOINT = Endpoint(
    bucket="bucket", region="us-east-1", host="s3.example", port=443, tls=True, path_style=True, credentials=None,
)  # fmt: skip
GOOD = Response(200, {}, b"by boto3")


def refusal(code: str, status: int = 400) -> Response:
    return Response(status, {}, f"<Error><Code>{code}</Code></Error>".encode())


@pytest.fixture
def made():
    """The endpoints that a client was made for."""
    return []


@pytest.fixture
def fallback(made):
    return BotoFallback(lambda endpoint: made.append(endpoint) or (lambda _: GOOD), ENDPOINT)


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        pytest.param(refusal("InvalidArgument"), True, id="form of the request"),
        pytest.param(refusal("SignatureDoesNotMatch", 403), True, id="signature read otherwise"),
        pytest.param(refusal("NotImplemented", 501), True, id="not implemented"),
        pytest.param(refusal("AccessDenied", 403), False, id="no permission"),
        pytest.param(refusal("ExpiredToken"), False, id="expired token"),
        pytest.param(refusal("SlowDown", 503), False, id="throttled"),
    ],
)
def test_boto3_is_asked_about_refusals_that_the_native_client_may_have_caused(fallback, answer, asked):
    assert fallback.doubts(answer) is asked


def test_a_success_of_boto3_counts_and_is_remembered(fallback):
    assert fallback.settle(refusal("InvalidArgument"), GOOD) is GOOD

    assert fallback.overruled == {"InvalidArgument": 1}
    assert fallback.doubts(refusal("InvalidArgument"))


def test_after_some_successes_boto3_takes_all_even_if_the_reporter_has_cleared_its_counter(fallback):
    taken = []
    for _ in range(OVERRULED):
        taken.append(fallback.takes_all)
        fallback.settle(refusal("InvalidArgument"), GOOD)
        fallback.overruled.clear()

    assert taken == [False] * OVERRULED
    assert fallback.takes_all


def test_after_some_refusals_that_both_met_boto3_is_not_asked_about_that_code(fallback):
    same, asked = refusal("InvalidArgument"), 0
    while fallback.doubts(same):
        asked += 1
        assert fallback.settle(refusal("InvalidArgument"), same) is same

    assert asked == 3
    assert fallback.doubts(refusal("NotImplemented", 501))
    assert not fallback.overruled


def test_where_boto3_got_no_response_the_refusal_counts_and_teaches_nothing(fallback):
    first = refusal("InvalidArgument")

    assert [fallback.settle(first, None) for _ in range(5)] == [first] * 5
    assert fallback.doubts(first)


@pytest.mark.parametrize(
    ("changes", "clients"),
    [
        pytest.param({}, 1, id="nothing"),
        pytest.param({"lane": "reference"}, 1, id="the lane alone"),
        pytest.param({"region": "eu-west-1"}, 2, id="region"),
        pytest.param({"credentials": Credentials("KEY", "secret")}, 2, id="credentials"),
        pytest.param({"lane": "reference", "region": "eu-west-1"}, 2, id="lane and region"),
    ],
)
def test_a_changed_endpoint_gets_a_new_client_if_boto3_could_tell(fallback, made, changes, clients):
    fallback.use(ENDPOINT._replace(**changes))

    assert len(made) == clients
