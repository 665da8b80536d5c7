"""Signatures of Amazon's own documentation; that others are right too is a law in tests/property."""

from __future__ import annotations

import pytest

from s3batch.s3.sigv4 import EMPTY_SHA256, Credentials, Signer, UnsafeTextError

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
PUBLISHED = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
WHEN = 1369353600
"""20130524T000000Z"""


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        pytest.param(
            "GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", id="get object",
        ),
        pytest.param(
            "PUT", "/test%24file.text", "",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", id="put object",
        ),
        pytest.param(
            "GET", "/", "lifecycle=", {}, EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", id="get lifecycle",
        ),
        pytest.param(
            "GET", "/", "max-keys=2&prefix=J", {}, EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", id="list objects",
        ),
    ],
)  # fmt: skip
def test_a_published_request_has_its_published_signature(method, path, query, headers, payload, signature):
    signed = Signer(PUBLISHED, "us-east-1").sign(method, path, query, {"host": HOST, **headers}, payload, WHEN)

    assert signed["authorization"].endswith(f"Signature={signature}")
    assert signed["x-amz-date"] == "20130524T000000Z"


def test_the_day_changes_the_scope():
    signer = Signer(PUBLISHED, "us-east-1")

    before = signer.sign("GET", "/", "", {"host": HOST}, EMPTY_SHA256, WHEN - 1)
    after = signer.sign("GET", "/", "", {"host": HOST}, EMPTY_SHA256, WHEN)

    assert "/20130523/us-east-1/s3/aws4_request" in before["authorization"]
    assert "/20130524/us-east-1/s3/aws4_request" in after["authorization"]


def test_what_was_given_to_be_signed_stays_as_it_was():
    headers = {"host": HOST}

    Signer(PUBLISHED, "us-east-1").sign("GET", "/", "", headers, EMPTY_SHA256, WHEN)

    assert headers == {"host": HOST}


def test_credentials_show_in_no_repr():
    assert "AKIA" not in repr(PUBLISHED)
    assert "wJalr" not in repr(PUBLISHED)


@pytest.mark.parametrize("letter", ["\n", "\r", "\0"])
@pytest.mark.parametrize("where", ["path", "query", "name", "value", "method"])
def test_nothing_is_signed_that_would_break_a_request_apart(letter, where):
    odd = f"a{letter}  b"
    parts = {"method": "GET", "path": "/", "query": ""} | ({where: odd} if where in {"method", "path", "query"} else {})
    headers = {"host": HOST, "x-amz-meta-a": odd if where == "value" else "b"} | ({odd: "c"} if where == "name" else {})

    with pytest.raises(UnsafeTextError, match="the request holds a line break or NUL"):
        Signer(PUBLISHED, "us-east-1").sign(*parts.values(), headers, EMPTY_SHA256, WHEN)


@pytest.mark.parametrize(
    ("credentials", "region"),
    [
        (PUBLISHED, "us-east-1\r\nX-Evil: 1"),
        (Credentials("AKIA\n", "s"), "us-east-1"),
        (Credentials("AKIA", "s", "token\nwrapped"), "us-east-1"),
    ],
)
def test_no_signer_is_made_of_what_would_break_a_header(credentials, region):
    with pytest.raises(UnsafeTextError):
        Signer(credentials, region)


def test_a_percent_sign_in_a_name_is_a_letter_like_others():
    def signature(name):
        headers = Signer(PUBLISHED, "us-east-1").sign("PUT", "/k", "", {"host": HOST, name: "v"}, EMPTY_SHA256, WHEN)
        return headers["authorization"]

    assert ";x-amz-meta-100%s, " in signature("x-amz-meta-100%s")
    assert len({signature(f"x-amz-meta-{odd}") for odd in ("100%s", "100%", "100%%s", "100")}) == 4


def test_the_order_in_which_headers_come_changes_no_signature():
    signer = Signer(PUBLISHED, "us-east-1")
    names = ["host", "x-amz-acl", "content-type"]
    values = dict(zip(names, [HOST, "private", "text/plain"], strict=True))

    signed = {
        signer.sign("PUT", "/k", "", {name: values[name] for name in order}, EMPTY_SHA256, WHEN)["authorization"]
        for order in (names, names[::-1], names)
    }

    assert len(signed) == 1
