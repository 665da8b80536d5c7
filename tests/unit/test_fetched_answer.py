"""The usual answer to a GET is told at one look, and is no other than the one that the whole validation takes."""

from __future__ import annotations

import pytest

from s3batch.s3 import requests
from s3batch.s3.faults import RequestError
from s3batch.s3.requests import Response
from s3batch.s3.validation import is_fetched, validate_response

GET, RANGE = requests.get_object("k"), requests.get_object("k", 0, 3)
HEADERS = {"etag": '"e1f2"', "content-length": "4"}
PAGE = b"<html>"


@pytest.mark.parametrize(
    ("request_", "status", "headers", "body", "usual"),
    [
        pytest.param(GET, 200, HEADERS, b"body", True, id="content"),
        pytest.param(GET, 200, HEADERS, PAGE, True, id="content that is a page"),
        pytest.param(RANGE, 200, HEADERS, b"body", False, id="all in the place of a range"),
        pytest.param(GET, 200, {"content-length": "4"}, b"body", False, id="no ETag"),
        pytest.param(GET, 200, {**HEADERS, "etag": '""'}, b"body", False, id="an empty ETag"),
        pytest.param(GET, 200, {**HEADERS, "content-length": "4,4"}, b"body", False, id="an odd length"),
        pytest.param(RANGE, 206, HEADERS | {"content-range": "bytes 0-3/9"}, b"body", False, id="a range"),
        pytest.param(GET, 206, HEADERS | {"content-range": "bytes 0-3/9"}, b"body", False, id="a range nobody wants"),
        pytest.param(GET, 404, HEADERS, PAGE, False, id="a page that says it is missing"),
        pytest.param(requests.list_parts("k", "u"), 200, HEADERS, b"body", False, id="another call"),
    ],
)
def test_the_usual_answer_is_one_that_validation_takes(request_, status, headers, body, usual) -> None:
    response = Response(status, headers, body)

    assert is_fetched(request_, response) is usual
    if usual:
        assert validate_response(request_, response) == response


LATER = requests.get_object("k", 4, 7)


@pytest.mark.parametrize(
    ("request_", "status", "said", "body", "right"),
    [
        pytest.param(LATER, 206, "bytes 4-7/9", b"body", True, id="the range"),
        pytest.param(LATER, 206, "bytes 4-7/*", b"body", True, id="the range of an object of unknown size"),
        pytest.param(LATER, 206, "bytes 4-5/6", b"bo", True, id="the range up to the end of the object"),
        pytest.param(LATER, 200, "bytes 4-7/9", b"body", True, id="the range with a 200, as of rclone"),
        pytest.param(RANGE, 200, "", b"body", True, id="the whole object, which begins as the range does"),
        pytest.param(RANGE, 206, "", b"body", False, id="a range that does not say which"),
        pytest.param(LATER, 206, "", b"body", False, id="a later range that does not say which"),
        pytest.param(LATER, 200, "", b"body", False, id="the whole object in the place of a later range"),
        pytest.param(LATER, 206, "bytes 0-3/9", b"body", False, id="another range"),
        pytest.param(LATER, 206, "bytes 4-8/9", b"bodyx", False, id="a longer range"),
        pytest.param(LATER, 206, "bytes 4-5/9", b"bo", False, id="a shorter range"),
        pytest.param(LATER, 206, "bytes 4-7/9", b"bo", False, id="fewer bytes than the range has"),
        pytest.param(LATER, 206, "bytes 4-7", b"body", False, id="a range of no form"),
        pytest.param(LATER, 206, f"bytes 4-7/{'9' * 5000}", b"body", False, id="a number of 5,000 digits"),
        pytest.param(GET, 206, "bytes 0-3/9", b"body", False, id="a range that nobody asked for"),
        pytest.param(GET, 206, "", b"body", False, id="a part that nobody asked for"),
    ],
)
def test_content_counts_only_as_the_range_that_was_asked_for(request_, status, said, body, right) -> None:
    headers = {"etag": '"e1f2"', "content-length": str(len(body))} | ({"content-range": said} if said else {})

    response = Response(status, headers, body)

    if right:
        assert validate_response(request_, response) == response
        return
    with pytest.raises(RequestError) as raised:
        validate_response(request_, response)
    assert raised.value.fault.code == "MalformedAnswer"


def test_a_part_of_a_multipart_object_has_the_range_that_the_store_says() -> None:
    part = requests.head_object("k")._replace(query="partNumber=1")

    assert validate_response(part, Response(206, HEADERS | {"content-range": "bytes 0-3/9"})).ok
    assert validate_response(part, Response(206, HEADERS)).ok
