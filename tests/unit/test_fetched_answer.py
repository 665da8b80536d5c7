"""The usual answer to a GET is told at one look, and is no other than the one that the whole validation takes."""

from __future__ import annotations

import pytest

from s3batch.s3 import requests
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
        pytest.param(RANGE, 200, HEADERS, b"body", True, id="all in the place of a range, which its caller looks at"),
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
