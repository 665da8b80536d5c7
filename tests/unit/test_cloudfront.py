"""Which paths are invalidated, under which reference, and what a refusal says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from s3batch.base.errors import JobFailedError
from s3batch.commands.sync.cloudfront import (
    BATCHES,
    PATHS_A_REQUEST,
    invalidate_paths,
    path_of,
    plan_invalidations,
    wildcard_path,
)


class CloudFront:
    """Stands for boto3's client: records requests, and refuses those it is told to."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.asked: list[dict[str, Any]] = []

    def create_invalidation(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        return {"Invalidation": {"Id": f"I{len(self.asked)}"}}

    def paths(self) -> list[list[str]]:
        return [request["InvalidationBatch"]["Paths"]["Items"] for request in self.asked]


def refusal(code: str, message: str = "No") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"RequestId": "R-1"}}
    return ClientError(response, "CreateInvalidation")


def keys(number: int) -> Iterable[str]:
    return (f"k{n}" for n in range(number))


@pytest.mark.parametrize(("prefix", "path"), [("", "/*"), ("site/", "/site/*"), ("a b/é/", "/a%20b/%C3%A9/*")])
def test_the_wildcard_stands_for_everything_below_the_target(prefix: str, path: str) -> None:
    assert wildcard_path(prefix) == path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        pytest.param("a/b.txt", "/a/b.txt", id="plain"),
        pytest.param("a b", "/a%20b", id="space"),
        pytest.param("é", "/%C3%A9", id="not ASCII"),
        pytest.param("caf\udce9", "/caf%E9", id="not UTF-8"),
        pytest.param("50%#?", "/50%25%23%3F", id="would mean something else"),
        pytest.param(
            "(a)+b=c&d,e;f:g@h!i$j'k*l", "/(a)+b=c&d,e;f:g@h!i$j'k*l", id="CloudFront wants these as they are"
        ),
        pytest.param("a_b-c~", "/a_b-c%7E", id="the tilde is unsafe in RFC 1738"),
        pytest.param("a\nb", "/a%0Ab", id="control character"),
    ],
)
def test_a_key_becomes_a_path(key: str, path: str) -> None:
    assert path_of(key) == path


def test_all_is_one_request_whatever_changed() -> None:
    (batch,) = plan_invalidations("site/", "J", None)

    assert batch.paths == ("/site/*",)


def test_nothing_changed_asks_for_nothing() -> None:
    assert plan_invalidations("site/", "J", []) == []


def test_changed_keys_are_asked_for_once_each() -> None:
    (batch,) = plan_invalidations("site/", "J", ["site/b", "site/a", "site/b"])

    assert batch.paths == ("/site/a", "/site/b")


@pytest.mark.parametrize(
    ("number", "sizes"),
    [(1, [1]), (PATHS_A_REQUEST, [3000]), (PATHS_A_REQUEST + 1, [3000, 1]), (PATHS_A_REQUEST * BATCHES, [3000] * 5)],
)
def test_no_request_holds_more_paths_than_cloudfront_takes(number: int, sizes: list[int]) -> None:
    batches = plan_invalidations("", "J", keys(number))

    assert [len(batch.paths) for batch in batches] == sizes
    assert len({path for batch in batches for path in batch.paths}) == number


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(keys(PATHS_A_REQUEST * BATCHES + 1), id="too many"),
        pytest.param(["x" * 4001], id="too long"),
        pytest.param([f"{n}*" for n in range(16)], id="too many that end like a wildcard"),
    ],
)
def test_over_a_limit_the_wildcard_is_asked_for(changed: Iterable[str]) -> None:
    assert [batch.paths for batch in plan_invalidations("site/", "J", changed)] == [("/site/*",)]


def test_a_reference_is_the_same_for_the_same_job_and_paths_only() -> None:
    (first,), (again,) = plan_invalidations("", "J", ["a", "b"]), plan_invalidations("", "J", ["b", "a"])
    (other_job,), (other_paths,) = plan_invalidations("", "K", ["a", "b"]), plan_invalidations("", "J", ["a", "c"])

    assert first == again
    assert len({first.reference, other_job.reference, other_paths.reference}) == 3


def test_ids_come_back_in_order() -> None:
    client = CloudFront()

    assert invalidate_paths(client, "D", prefix="", job="J", changed=keys(PATHS_A_REQUEST + 1)) == ["I1", "I2"]
    assert client.asked[1]["InvalidationBatch"]["Paths"]["Quantity"] == 1
    assert {request["DistributionId"] for request in client.asked} == {"D"}


def test_when_cloudfront_is_busy_with_paths_the_wildcard_goes_instead() -> None:
    client = CloudFront(None, refusal("TooManyInvalidationsInProgress"))

    ids = invalidate_paths(client, "D", prefix="site/", job="J", changed=keys(PATHS_A_REQUEST + 1))

    assert ids == ["I3"]
    assert client.paths()[-1] == ["/site/*"]


def test_a_wildcard_that_is_one_too_many_fails() -> None:
    client = CloudFront(refusal("TooManyInvalidationsInProgress"))

    with pytest.raises(JobFailedError, match="resume the job, or sync again with cloudfront_always"):
        invalidate_paths(client, "D", prefix="", job="J", changed=None)
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        pytest.param(
            refusal("AccessDenied"),
            "cannot invalidate /site/* of CloudFront distribution D: AccessDenied: No (request R-1); "
            "the credentials lack a permission: it needs cloudfront:CreateInvalidation",
            id="no permission",
        ),
        pytest.param(
            refusal("NoSuchDistribution"),
            "cannot invalidate /site/* of CloudFront distribution D: NoSuchDistribution: No (request R-1); "
            "the objects are in place; resume the job, or sync again with cloudfront_always",
            id="no such distribution",
        ),
        pytest.param(
            EndpointConnectionError(endpoint_url="http://cf"),
            'cannot invalidate /site/* of CloudFront distribution D: Could not connect to the endpoint URL: "http://cf"; '
            "the objects are in place; resume the job, or sync again with cloudfront_always",
            id="no answer",
        ),
    ],
)
def test_a_refusal_is_one_sentence_that_says_what_to_do(fault: Exception, text: str) -> None:
    with pytest.raises(JobFailedError) as caught:
        invalidate_paths(CloudFront(fault), "D", prefix="site/", job="J", changed=None)

    assert str(caught.value) == text
    assert caught.value.exit_code == 1
