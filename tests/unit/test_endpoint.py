"""Where a bucket is, as one value."""

from __future__ import annotations

import pickle

import pytest

from s3batch.s3.endpoint import SIGN_UP_TO, Endpoint, split_url
from s3batch.s3.sigv4 import Credentials


def endpoint(**changes) -> Endpoint:
    values = {
        "bucket": "bucket", "region": "eu-west-1", "host": "s3.eu-west-1.amazonaws.com", "port": 443, "tls": True,
        "path_style": False, "credentials": Credentials("AKIDAKID", "hush!", "hush2"),
    }  # fmt: skip
    return Endpoint(**values | changes)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("https://s3.example.com", ("s3.example.com", 443, True, ""), id="https"),
        pytest.param("http://s3.example.com/", ("s3.example.com", 80, False, ""), id="http"),
        pytest.param("s3.example.com:9000", ("s3.example.com", 9000, True, ""), id="no scheme"),
        pytest.param("https://S3.Example.COM", ("s3.example.com", 443, True, ""), id="capitals"),
        pytest.param("http://[::1]:9000/a/b/", ("[::1]", 9000, False, "/a/b"), id="IPv6 and a path"),
        pytest.param("https://bücher.example", ("xn--bcher-kva.example", 443, True, ""), id="not ASCII"),
        pytest.param("http://host:80", ("host", 80, False, ""), id="the usual port"),
    ],
)
def test_a_url_is_taken_apart(url, expected):
    assert split_url(url) == expected


@pytest.mark.parametrize(
    ("changes", "server_name", "host_header", "path"),
    [
        pytest.param(
            {},
            "bucket.s3.eu-west-1.amazonaws.com",
            "bucket.s3.eu-west-1.amazonaws.com",
            "/a%20b",
            id="bucket in the host",
        ),
        pytest.param(
            {"path_style": True},
            "s3.eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "/bucket/a%20b",
            id="in the path",
        ),
        pytest.param(
            {"host": "h", "port": 9000, "path_style": True}, "h", "h:9000", "/bucket/a%20b", id="another port"
        ),
        pytest.param(
            {"host": "h", "port": 80, "tls": False, "path_style": True}, "h", "h", "/bucket/a%20b", id="the usual port"
        ),
        pytest.param(
            {"host": "[::1]", "port": 9000, "path_style": True}, "::1", "[::1]:9000", "/bucket/a%20b", id="IPv6"
        ),
        pytest.param(
            {"host": "h", "base_path": "/base", "path_style": True}, "h", "h", "/base/bucket/a%20b", id="a base path"
        ),
    ],
)
def test_names_and_paths(changes, server_name, host_header, path):
    found = endpoint(**changes)

    assert (found.server_name, found.host_header, found.path("a b")) == (server_name, host_header, path)


def test_the_path_of_the_bucket_itself():
    assert endpoint().path("") == "/"
    assert endpoint(path_style=True).path("") == "/bucket"


@pytest.mark.parametrize(
    ("sign_payload", "tls", "size", "signs"),
    [
        ("auto", True, 1, False),
        ("auto", False, SIGN_UP_TO, True),
        ("auto", False, SIGN_UP_TO + 1, False),
        ("always", True, 1 << 30, True),
        ("never", False, 1, False),
    ],
)
def test_small_bodies_are_signed_where_nothing_else_protects_them(sign_payload, tls, size, signs):
    assert endpoint(sign_payload=sign_payload, tls=tls).signs_body(size) is signs


def test_it_crosses_a_process_boundary_with_its_secrets_and_shows_none():
    found = endpoint()

    assert pickle.loads(pickle.dumps(found)) == found
    assert not any(secret in repr(found) for secret in ("AKIDAKID", "hush!", "hush2"))


def test_messages_name_the_url_that_people_know():
    assert endpoint().name() == "https://s3.eu-west-1.amazonaws.com"
    assert endpoint(url="http://h:1/b").name() == "http://h:1/b"


def test_a_changed_lane_changes_nothing_else():
    assert endpoint().through("reference") == endpoint(lane="reference")
