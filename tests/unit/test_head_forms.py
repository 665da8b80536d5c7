"""Answers to HEAD that are equal but for what differs with each object are known by their bytes."""

from __future__ import annotations

import pytest

from s3batch.s3.clock import seconds_of
from s3batch.s3.head_forms import HeadForms, make_head_form
from s3batch.s3.requests import Response

DATE = "Sun, 29 Nov 2026 13:00:00 GMT"
HEAD = (
    "HTTP/1.1 200 OK\r\nx-amz-id-2: abc=\r\nx-amz-request-id: 17\r\nDate: Mon, 30 Nov 2026 00:00:00 GMT\r\n"
    f'Last-Modified: {DATE}\r\nETag: "0f"\r\nContent-Type: text/plain\r\nServer: AmazonS3\r\nContent-Length: 5\r\n\r\n'
)


def forms_of(*heads: str) -> HeadForms:
    forms = HeadForms()
    for head in heads:
        response = Response(200, {})
        forms.came = (response, head.encode())
        forms.learn(response, "0f", 5)
    return forms


def test_another_object_with_equal_attributes_has_the_form() -> None:
    other = (
        HEAD.replace("abc=", "xyz").replace(": 17", ": 18").replace('"0f"', '"ff"').replace("Length: 5", "Length: 77")
    )

    assert forms_of(HEAD).read_date(other.encode(), "ff", 77) == seconds_of(DATE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("200 OK", "206 Partial Content"),
        ("200 OK", "404 Not Found"),
        ('"0f"', '"0e"'),
        ('"0f"', 'W/"0f"'),
        ("Length: 5", "Length: 55"),
        ("text/plain", "text/html"),
        ("Content-Type", "content-type"),
        ("Server: AmazonS3", "Server: AmazonS3\r\nCache-Control: no-cache"),
        ("Server: AmazonS3", "Cache-Control: no"),
        ("Date: Mon", "Cache-Control: Mon"),
        ("x-amz-request-id", "x-amz-meta-id"),
        (DATE, "some day"),
        ("Last-Modified", "Expires"),
        ("\r\n\r\n", "\r\n"),
        ("\r\n\r\n", "\r\n\r\nbody"),
        (DATE, "Sun, 29 Nov 2226 13:00:00 GMT"),
    ],
)
def test_any_other_difference_is_left_to_the_general_way(old: str, new: str) -> None:
    assert old in HEAD
    assert forms_of(HEAD).read_date(HEAD.replace(old, new, 1).encode(), "0f", 5) == 0.0


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace('"0f"', "0f"),
        HEAD.replace('"0f"', '"0e"'),
        HEAD.replace("Length: 5", "Length: 15"),
        HEAD.replace("Length: 5", "Length: 05"),
        HEAD.replace("Content-Length: 5\r\n", ""),
        HEAD.replace("Last-Modified", "Date"),
        HEAD.replace("Server: AmazonS3", 'ETag: "0e"'),
        HEAD + "x",
        HEAD[:-2],
        "",
    ],
)
def test_an_unusual_answer_has_no_form(head: str) -> None:
    assert make_head_form(head.encode(), "0f", 5) is None


def test_only_the_answer_that_was_judged_is_learned() -> None:
    forms = HeadForms()
    forms.came = (Response(200, {}), HEAD.encode())
    forms.learn(Response(200, {}), "0f", 5)

    assert forms.forms == []


def test_objects_of_many_forms_are_given_up() -> None:
    heads = [HEAD.replace("AmazonS3", f"node-{number}") for number in range(40)]
    few, many = forms_of(*heads[:6]), forms_of(*heads)

    assert [bool(few.read_date(head.encode(), "0f", 5)) for head in heads[:6]] == [False, False, True, True, True, True]
    assert many.forms == []
