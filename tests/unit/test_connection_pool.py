"""Which connections are kept, which are dropped and which take too long, under a clock of the test's own."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from s3batch.s3.bounds import RESPONSE_BOUNDS
from s3batch.s3.connection_pool import KEPT_FOR, ConnectionPool
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.event_loop import READ, WRITE
from s3batch.s3.requests import complete_multipart_upload, get_object

COMPLETE = complete_multipart_upload("k", "id", [], "", {})


class FakeLoop:
    """Notes what is watched, and has a clock that the test moves."""

    def __init__(self) -> None:
        self.now, self.watched = 100.0, {}

    def clock(self) -> float:
        return self.now

    def watch(self, sock, handler, events) -> None:
        self.watched[sock] = (handler, events)

    change_watch = watch

    def unwatch(self, sock) -> None:
        del self.watched[sock]


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def endpoint():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield Endpoint(
            bucket="bucket", region="us-east-1", host="127.0.0.1", port=port, tls=False, path_style=True,
            url=f"http://127.0.0.1:{port}", credentials=None, timeout=20.0,
        )  # fmt: skip


@pytest.fixture
def pool(endpoint, loop):
    made = ConnectionPool(endpoint, loop, lambda connection, events: None)
    yield made
    made.close()


def used_at(loop: FakeLoop, pool: ConnectionPool):
    """Return a connection that served a request just now and is kept."""
    connection = pool.take(loop.now)
    connection.progress = loop.now
    pool.put_back(connection)
    return connection


@pytest.mark.parametrize(("idle", "kept"), [(0.0, True), (KEPT_FOR - 1, True), (KEPT_FOR + 1, False)])
def test_an_idle_connection_is_taken_again_unless_it_is_old(loop, pool, idle, kept):
    first = used_at(loop, pool)
    loop.now += idle

    assert (pool.take(loop.now) is first) is kept
    assert (first.sock.fileno() == -1) is not kept


def test_the_connection_that_was_used_last_is_taken_first(loop, pool):
    both = [pool.take(loop.now), pool.take(loop.now)]
    for connection in both:
        connection.progress = loop.now
        pool.put_back(connection)

    assert pool.take(loop.now) is both[1]


def test_a_connection_that_still_sends_is_not_kept(loop, pool):
    connection = pool.take(loop.now)
    connection.begin(b"GET / HTTP/1.1\r\n\r\n", b"", request=get_object("k"))

    pool.put_back(connection)

    assert pool.connections == set()


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        pytest.param({"region": "eu-west-1"}, True, id="another region of one server"),
        pytest.param({"host": "localhost"}, False, id="another server"),
    ],
)
def test_connections_to_another_server_are_dropped_when_idle_and_not_kept_when_in_use(
    loop, pool, endpoint, changes, kept
):
    in_use, idle = pool.take(loop.now), used_at(loop, pool)
    assert in_use is not idle

    pool.use(endpoint._replace(**changes))
    pool.put_back(in_use)

    assert (pool.connections == {in_use, idle}) is kept
    assert bool(pool.connections) is kept


def test_the_loop_watches_a_connection_for_what_it_waits_for_and_not_after_its_end(loop, pool):
    connection = pool.take(loop.now)
    events = [loop.watched[connection.sock][1]]
    pool.watch(connection, READ)
    events.append(loop.watched[connection.sock][1])

    pool.drop(connection)
    pool.drop(connection)
    pool.watch(connection, WRITE)

    assert events == [READ | WRITE, READ]
    assert loop.watched == {}


NO_DATA, NOT_COMPLETE = "no data for 20 s", f"the answer is not complete after {20 + RESPONSE_BOUNDS.grace:g} s"


@pytest.mark.parametrize(
    ("call", "opening", "silent", "late", "spaces", "words"),
    [
        pytest.param(get_object("k"), False, 19.0, -1.0, False, "", id="in time"),
        pytest.param(get_object("k"), False, 21.0, -1.0, False, NO_DATA, id="silence"),
        pytest.param(get_object("k"), True, 16.0, -1.0, False, "no connection for 15 s", id="no connection"),
        pytest.param(get_object("k"), False, 0.0, 1.0, False, NOT_COMPLETE, id="bytes come, but too slowly"),
        pytest.param(get_object("k"), False, 0.0, 1.0, True, NOT_COMPLETE, id="spaces that no GET may have"),
        pytest.param(COMPLETE, False, 0.0, 1.0, True, "", id="S3 keeps a long call alive"),
        pytest.param(
            COMPLETE,
            False,
            0.0,
            RESPONSE_BOUNDS.kept_alive,
            True,
            NOT_COMPLETE,
            id="but not for longer than it may take",
        ),
    ],
)
def test_an_exchange_that_takes_too_long_is_found(loop, pool, call, opening, silent, late, spaces, words):
    connection = pool.take(loop.now)
    connection.begin(b"", b"", request=call)
    connection.task = SimpleNamespace(call=call)
    connection.opening = opening
    connection.begun, connection.deadline = loop.now, loop.now + pool.patience
    if spaces:
        connection._reply.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n")
    now = connection.deadline + connection.received / 1024 + late
    connection.progress = now - silent

    assert [str(error) for _, error in pool.find_overdue(now)] == ([words] if words else [])


def test_an_idle_connection_is_never_overdue(loop, pool):
    used_at(loop, pool)

    assert pool.find_overdue(loop.now + 10_000) == []
