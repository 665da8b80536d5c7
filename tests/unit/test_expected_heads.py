"""The short way of a HEAD, against servers that say exactly what the test tells them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3batch.s3.calls import catch_request_error
from s3batch.s3.clock import seconds_of
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.faults import RequestError
from s3batch.s3.head_forms import ExpectedHead, HeadForms
from s3batch.s3.requests import Response, head_equal_object
from s3batch.s3.sigv4 import Credentials
from s3batch.s3.transport import Transport
from tests.rig.scripted import CLOSE, RESET, Scripted, Step, wait

DATE = "Sun, 29 Nov 2026 13:00:00 GMT"
ANSWER = (
    f'HTTP/1.1 200 OK\r\nETag: "0f0f"\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nLast-Modified: {DATE}\r\n\r\n'
).encode()


@contextmanager
def transport_to(server: Scripted, bandwidth: float = 0.0) -> Iterator[Transport]:
    host, port, tls, base_path = split_url(server.url)
    endpoint = Endpoint(
        bucket="bucket", region="us-east-1", host=host, port=port, tls=tls, path_style=True, url=server.url,
        base_path=base_path, credentials=Credentials("access", "secret"), timeout=1.0,
    )  # fmt: skip

    def no_boto(_: Endpoint):
        def send(request) -> Response:
            raise RequestError(request.name, request.key, None)

        return send

    transport = Transport(endpoint, no_boto, bandwidth=bandwidth)
    try:
        yield transport
    finally:
        transport.close()


def ask(transport: Transport, forms: HeadForms, key: str = "key") -> float | Response | RequestError:
    """Return the answer; a response is learned from, as one that was found equal."""

    async def look() -> float | Response:
        answer = await _expect(ExpectedHead(head_equal_object(key), "0f0f", 5, forms))
        if isinstance(answer, Response):
            forms.learn(answer, "0f0f", 5)
        return answer

    box: list[float | Response | RequestError] = []
    transport.loop.start(catch_request_error(look()), box.append)
    begun = time.monotonic()
    while not box and time.monotonic() < begun + 20:
        transport.turn(1.0)
    return box[0]


class _expect:  # noqa: N801 - reads as a function
    def __init__(self, wish: ExpectedHead) -> None:
        self._wish = wish

    def __await__(self):
        return (yield self._wish)


def answers(*scripts: list[Step], count: int, bandwidth: float = 0.0) -> tuple[list[float | int], Scripted, Transport]:
    """Return for each answer its date, or its status if it went the general way."""
    with Scripted(scripts, of_heads=True) as server, transport_to(server, bandwidth) as transport:
        forms = HeadForms()
        found = [ask(transport, forms) for _ in range(count)]
        return [each.status if isinstance(each, Response) else each for each in found], server, transport


def test_the_first_answers_are_read_in_full_and_those_like_them_at_a_glance() -> None:
    found, server, transport = answers([ANSWER] * 4, count=4)

    assert found == [200, 200, seconds_of(DATE), seconds_of(DATE)]
    assert {connection for connection, _ in server.heads} == {0}
    assert len({head.partition(b"\r\n")[0] for _, head in server.heads}) == 1
    assert transport.requests["HeadObject"] == 4


@pytest.mark.parametrize(
    ("odd", "wanted"),
    [
        (ANSWER.replace(b"text/plain", b"text/html"), 200),
        (ANSWER.replace(b"0f0f", b"0e"), 200),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
        (b"HTTP/1.1 200 OK\r\n" + ANSWER.replace(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), 200),
    ],
)
def test_another_answer_is_read_in_full_and_the_next_at_a_glance_again(odd: bytes, wanted: int) -> None:
    found, server, _ = answers([ANSWER, ANSWER, odd, ANSWER], count=4)

    assert found == [200, 200, wanted, seconds_of(DATE)]
    assert {connection for connection, _ in server.heads} == {0}


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_request_on_a_connection_that_the_store_has_closed_is_sent_again(end: Step) -> None:
    found, _, _ = answers([ANSWER, ANSWER, end], [ANSWER] * 2, count=4)

    assert found == [200, 200, 200, seconds_of(DATE)]


def test_an_answer_that_is_cut_is_an_error_of_this_request() -> None:
    with (
        Scripted([[ANSWER, ANSWER, ANSWER[:40], CLOSE], [ANSWER[:40], CLOSE]], of_heads=True) as server,
        transport_to(server) as transport,
    ):
        forms = HeadForms()
        found = [ask(transport, forms) for _ in range(3)]

    assert isinstance(found[1], Response)
    assert isinstance(found[2], RequestError)
    assert found[2].fault.code == "Connection"


def test_a_store_that_says_nothing_is_a_time_out() -> None:
    with Scripted([[ANSWER, ANSWER, wait(3.0), ANSWER]], of_heads=True) as server, transport_to(server) as transport:
        forms = HeadForms()
        ask(transport, forms), ask(transport, forms)
        found = ask(transport, forms)

    assert isinstance(found, RequestError)
    assert found.fault.code == "Timeout"


def test_an_answer_in_pieces_is_read_in_full() -> None:
    found, _, _ = answers([ANSWER, ANSWER[:60], wait(0.1), ANSWER[60:], ANSWER, ANSWER], count=4)

    assert found == [200, 200, 200, seconds_of(DATE)]


def test_with_a_bandwidth_limit_every_request_goes_the_general_way() -> None:
    found, _, _ = answers([ANSWER] * 3, count=3, bandwidth=1e9)

    assert found == [200, 200, 200]
