"""The heads of requests that say nothing but method and key are written by a form, and are no others than before."""

from __future__ import annotations

import pytest

from s3batch.s3 import clock, request_heads, requests
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.request_heads import HeadWriter
from s3batch.s3.sigv4 import Credentials, UnsafeTextError

ENDPOINT = Endpoint(
    bucket="b", region="r", host="127.0.0.1", port=1, tls=False, path_style=True,
    credentials=Credentials("key", "secret", "token"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def second(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_700_000_000.9]
    monkeypatch.setattr(request_heads.time, "time", lambda: now[0])
    monkeypatch.setattr(clock, "offsets", {})
    return now


def lines_of(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest)


def general(writer: HeadWriter, call: requests.Request) -> bytes:
    """Return the head as it is written where there is a query."""
    return writer.of(call._replace(query="x=")).replace(b"?x= ", b" ")


@pytest.mark.parametrize("key", ["a", "d\xf6 r/%41+.txt", "line\nbreak"])
def test_a_plain_read_says_what_any_request_says_and_only_its_signature_differs(key: str) -> None:
    writer = HeadWriter(ENDPOINT)
    call = requests.head_equal_object(key)
    (first, short), (other, long) = lines_of(writer.of(call)), lines_of(general(writer, call))

    assert first == other
    assert short.pop("authorization").rpartition("=")[0] == long.pop("authorization").rpartition("=")[0]
    assert short == long


def test_each_second_each_method_and_each_clock_has_a_form_of_its_own(second: list[float]) -> None:
    writer = HeadWriter(ENDPOINT)
    head, get = requests.head_equal_object("a"), requests.get_object("a")
    heads = [writer.of(head), writer.of(get), writer.of(head)]
    second[0] += 1
    heads += [writer.of(head)]
    writer.learn_time(-1.0)
    heads += [writer.of(head)]

    assert heads[0] == heads[2] == heads[4]
    assert len(set(heads)) == 3
    assert b"GET /b/a HTTP/1.1" in heads[1]
    assert lines_of(heads[3])[1]["x-amz-date"] == "20231114T221321Z"


def test_credentials_of_the_writer_sign_its_reads() -> None:
    call = requests.head_equal_object("a")
    others = ENDPOINT._replace(credentials=Credentials("key", "other"))

    assert HeadWriter(ENDPOINT).of(call) != HeadWriter(others).of(call)
    assert b"authorization" not in HeadWriter(ENDPOINT._replace(credentials=None)).of(call)


def test_a_break_in_the_path_of_the_endpoint_is_refused() -> None:
    with pytest.raises(UnsafeTextError):
        HeadWriter(ENDPOINT._replace(base_path="/x\r\nevil: 1")).of(requests.head_equal_object("a"))
