"""Answers as single servers write them; that slices do not matter is a law in tests/property."""

from __future__ import annotations

import socket

import pytest

from s3batch.s3 import requests
from s3batch.s3.connection import Connection
from s3batch.s3.response_parser import MalformedHTTPError, ResponseParser


def reply_to(data: bytes, *, no_body: bool = False):
    reply = ResponseParser(no_body=no_body)
    return reply, reply.feed(data)


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0", True, id="HTTP/1.1"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive", True, id="said so"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close", False, id="close"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCONNECTION: Close", False, id="CLOSE"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close, TE", False, id="close and more"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0", False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204 No Content", True, id="nothing by nature"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99", True, id="nothing in spite of a length"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 0", True, id="no words"),
    ],
)
def test_whether_a_connection_is_kept(head, keep):
    reply, answer = reply_to(head + b"\r\n\r\n")

    assert answer is not None
    assert reply.keep is keep


def test_names_are_lower_case_and_values_bare():
    _, answer = reply_to(b'HTTP/1.1 200 OK\r\nETag:  "x" \r\nX-AMZ-Meta-A:b:c\r\nContent-Length:0\r\n\r\n')

    assert answer.headers == {"etag": '"x"', "x-amz-meta-a": "b:c", "content-length": "0"}


def test_values_keep_their_bytes():
    _, answer = reply_to(b"HTTP/1.1 200 OK\r\nX-A: \xc3\xbc\xff\r\nContent-Length: 0\r\n\r\n")

    assert answer.headers["x-a"].encode("utf-8", "surrogateescape") == b"\xc3\xbc\xff"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", id="more than announced"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nbody", id="a body where none may be"),
    ],
)
def test_what_comes_too_much_is_not_content_and_ends_the_connection(data):
    reply, answer = reply_to(data)

    assert bytes(answer.body) in (b"ok", b"")
    assert not reply.keep


def test_how_much_to_read_follows_the_announced_length():
    reply = ResponseParser(no_body=False)
    before = reply.appetite
    reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nabc")

    assert before == 16 * 1024
    assert reply.appetite == 499_997


def test_a_huge_body_is_read_in_pieces_of_a_mebibyte():
    reply = ResponseParser(no_body=False, request=requests.get_object("k", size=1 << 40))
    reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")

    assert reply.appetite == 1024 * 1024


@pytest.mark.parametrize(
    ("status", "length", "is_used"),
    [
        pytest.param(206, 50_000, True, id="the expected bytes"),
        pytest.param(206, 49_999, False, id="fewer bytes"),
        pytest.param(403, 50_000, False, id="a refusal"),
    ],
)
def test_memory_for_a_body_is_used_for_just_that_body(status, length, is_used):
    memory = bytearray(50_000)
    request = requests.get_object("k", 0, 49_999)._replace(into=memoryview(memory))
    reply = ResponseParser(no_body=False, request=request)

    assert reply.feed(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\nabc" % (status, length)) is None
    answer = reply.feed(b"d" * (length - 3))

    assert bytes(answer.body) == b"abc" + b"d" * (length - 3)
    assert memory == (answer.body if is_used else bytes(50_000))
    assert reply.vacant is None


def test_a_body_of_the_expected_length_is_read_into_its_own_memory():
    reply = ResponseParser(no_body=False, request=requests.get_object("k", size=20_000))
    reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\nabc")
    vacant = reply.vacant
    vacant[:] = b"d" * 19_997

    assert reply.fill(10_000) is None
    assert len(reply.vacant) == 9_997
    assert reply.fill(9_997).body == b"abc" + b"d" * 19_997
    assert reply.keep


@pytest.mark.parametrize(("more", "is_kept"), [(b"", True), (b"X", False)])
def test_a_connection_with_more_than_the_expected_body_is_not_used_again(more, is_kept):
    ours, theirs = socket.socketpair()
    memory = memoryview(bytearray(20_000))
    with ours, theirs:
        ours.setblocking(False)
        connection = Connection(ours)
        connection.await_answer(requests.get_object("k", 0, 19_999)._replace(into=memory))
        theirs.sendall(b"HTTP/1.1 206 X\r\nContent-Length: 20000\r\n\r\n" + b"a" * 20_000 + more)

        answer = connection.receive()

    assert answer.body is memory
    assert memory == b"a" * 20_000
    assert connection.reusable is is_kept


def test_a_flood_of_tiny_chunks_is_no_response():
    """A byte a chunk would hold a connection for minutes within every limit of bytes and seconds."""
    reply = ResponseParser(no_body=False)
    reply.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    with pytest.raises(MalformedHTTPError, match="flood of tiny chunks"):
        for _ in range(5000):
            reply.feed(b"1\r\n \r\n")


def test_spaces_that_keep_a_connection_alive_for_half_an_hour_are_no_flood():
    reply = ResponseParser(no_body=False)
    reply.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    for _ in range(1800):
        reply.feed(b"1\r\n \r\n")

    assert reply.feed(b"4\r\n<a/>\r\n0\r\n\r\n").body.strip() == b"<a/>"


def test_content_is_read_as_far_as_bandwidth_is_granted():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    grants = [100, 0, 4, 0, 1000]
    connection = Connection(ours, lambda wanted: min(wanted, grants.pop(0)))
    connection.opening = False
    connection.await_answer(requests.get_object("key"))
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200)

    seen = []
    for _ in range(3):
        response = connection.receive()
        seen.append((connection.choked, connection.starved, connection.received, response and len(response.body)))

    assert seen == [(True, True, 100, None), (True, True, 104, None), (False, False, 240, 200)]
    ours.close()
    theirs.close()


def test_a_read_that_empties_the_socket_uses_up_what_was_granted():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    head = b"HTTP/1.1 206 X\r\nContent-Length: 20000\r\n\r\n"
    grants = [len(head), 100, 0]
    connection = Connection(ours, lambda wanted: min(wanted, grants.pop(0)))
    connection.opening = False
    memory = memoryview(bytearray(20_000))
    connection.await_answer(requests.get_object("key", 0, 19_999)._replace(into=memory))

    seen = []
    for data in (head, b"x" * 60, b"x" * 60):
        theirs.sendall(data)
        assert connection.receive() is None
        seen.append((connection.choked, connection.received - len(head)))

    assert seen == [(False, 0), (False, 60), (True, 100)]
    assert bytes(memory[:101]) == b"x" * 100 + b"\0"
    ours.close()
    theirs.close()


def test_an_answer_that_is_no_content_waits_for_no_bandwidth():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = Connection(ours, lambda _: 0)
    connection.opening = False
    connection.await_answer(requests.list_objects("p/"))
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    assert connection.receive().body == b"ok"
    ours.close()
    theirs.close()
