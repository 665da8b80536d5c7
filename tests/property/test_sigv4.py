"""Our signatures are botocore's, whatever is signed; and the paths and queries are encoded as it encodes them."""

from __future__ import annotations

import datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, quote

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from s3batch.s3 import requests
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.requests import percent_encode
from s3batch.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Credentials, Signer

BYTES = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "ignore")),
    st.binary(max_size=40),
    st.text(" %+/~.-_!*'();:@&=$,?#[]\\\"<>äé日🎉\n\t\x01", max_size=40).map(str.encode),
)
KEY = BYTES.map(lambda name: name.decode("utf-8", "surrogateescape")).filter(bool)
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).filter(lambda text: text.isprintable())
SPACED = st.one_of(VALUE, VALUE.map(lambda text: f"  {text} \t x  y "), st.just("tab\tbed"))
HEADERS = st.dictionaries(WORD.map("x-amz-meta-".__add__), SPACED, max_size=4)
QUERY = st.lists(st.tuples(WORD, KEY | st.just("")), max_size=4, unique_by=lambda pair: pair[0])
WHEN = st.integers(0, 4102444800)
TOKEN = st.one_of(st.just(""), st.text("abcXYZ012/+=", min_size=1, max_size=200))

SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
CREDENTIALS = st.builds(Credentials, st.just("AKID"), SECRET, TOKEN)


def signed_by_botocore(url, method, headers, credentials, region, now) -> dict[str, str]:
    signs = BotoCredentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    judge = auth.S3SigV4Auth(signs, "s3", region)
    request = AWSRequest(method, url, headers=headers)
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    payload = headers["X-Amz-Content-SHA256"]
    with (
        patch.object(auth, "get_current_datetime", lambda **_: when, create=True),
        patch.object(judge, "payload", lambda _: payload),
    ):
        judge.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    key=KEY, pairs=QUERY, headers=HEADERS, credentials=CREDENTIALS, scope=st.tuples(WHEN, WORD),
    payload=st.sampled_from([UNSIGNED, EMPTY_SHA256, "ab" * 32]), method=st.sampled_from(["GET", "PUT", "POST", "HEAD"]),
    path_style=st.booleans(),
)  # fmt: skip
def test_a_request_is_signed_as_botocore_signs_it(key, pairs, headers, credentials, scope, payload, method, path_style):
    now, region = scope
    endpoint = Endpoint(
        bucket="bucket-a", region=region, host="s3.example.com", port=443, tls=True, path_style=path_style,
        credentials=credentials,
    )  # fmt: skip
    path, query = endpoint.path(key), requests.canonical_query(pairs)
    url = f"https://{endpoint.host_header}{path}" + (f"?{query}" if query else "")

    ours = Signer(credentials, region).sign(
        method, path, query, {"host": endpoint.host_header, **headers}, payload, now
    )
    theirs = signed_by_botocore(url, method, {**headers, "X-Amz-Content-SHA256": payload}, credentials, region, now)

    assert ours["authorization"] == theirs["authorization"]
    assert ours["x-amz-date"] == theirs["x-amz-date"]
    assert ours.get("x-amz-security-token", "") == credentials.token


@given(first=WHEN, second=WHEN, region=WORD)
def test_what_a_signer_signed_before_does_not_show(first, second, region):
    credentials = Credentials("AKID", "secret")
    used = Signer(credentials, region)
    used.sign("GET", "/", "", {"host": "h"}, UNSIGNED, first)

    again = used.sign("GET", "/", "", {"host": "h"}, UNSIGNED, second)

    assert again == Signer(credentials, region).sign("GET", "/", "", {"host": "h"}, UNSIGNED, second)


@given(key=KEY)
def test_a_key_is_encoded_byte_by_byte(key):
    raw = key.encode("utf-8", "surrogateescape")

    assert percent_encode(key, "/") == quote(raw, safe="/~")
    assert percent_encode(key) == quote(raw, safe="~")


@given(pairs=QUERY)
def test_a_query_says_what_it_was_made_of_in_canonical_order(pairs):
    made = requests.canonical_query(pairs)

    assert parse_qsl(made, keep_blank_values=True, errors="surrogateescape") == sorted(
        pairs, key=lambda pair: (percent_encode(pair[0]), percent_encode(pair[1]))
    )
    assert made.split("&") == sorted(made.split("&"), key=lambda item: item.split("="))


@given(
    keys=st.lists(KEY, min_size=1, max_size=3), credentials=CREDENTIALS, scope=st.tuples(WHEN, WORD),
    method=st.sampled_from(["GET", "HEAD"]), path_style=st.booleans(),
)  # fmt: skip
def test_a_read_signed_by_its_form_is_signed_like_any_other_request(keys, credentials, scope, method, path_style):
    now, region = scope
    endpoint = Endpoint(
        bucket="bucket-a", region=region, host="s3.example.com", port=443, tls=True, path_style=path_style,
        credentials=credentials,
    )  # fmt: skip
    headers = {"host": endpoint.host_header}
    signer = Signer(credentials, region)
    form = signer.make_form(method, headers, EMPTY_SHA256, now)

    for key in keys:
        whole = signer.sign(method, endpoint.path(key), "", headers, EMPTY_SHA256, now)
        assert (
            form.headers | {"authorization": form.authorization + signer.sign_form(form, endpoint.path(key))} == whole
        )
