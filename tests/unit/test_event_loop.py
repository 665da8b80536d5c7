"""Coroutines, timers and threads of the loop, without a store."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from s3batch.s3.calls import send_request
from s3batch.s3.event_loop import EventLoop, run_in_thread, sleep
from s3batch.s3.gather import gather_results
from s3batch.s3.requests import Response, head_object


@pytest.fixture
def sent():
    return []


@pytest.fixture
def loop(sent):
    made = EventLoop(lambda task, call: sent.append((task, call)), time.monotonic, threads=2)
    yield made
    made.close()


def result_of(loop: EventLoop, coroutine) -> object:
    box = []
    loop.start(coroutine, box.append)
    while not box:
        loop.turn(1.0)
    return box[0]


def test_a_call_goes_to_the_transport_which_resumes_the_task(loop, sent):
    ended = []

    async def look() -> int:
        return (await send_request(head_object("k"))).status

    loop.start(look(), ended.append, 7)
    ((task, call),) = sent
    assert (task.row, task.call, loop.page[1], loop.active) == (7, call, 7, 1)

    loop.resume(task, Response(204, {}))

    assert ended == [204]
    assert loop.active == 0


def test_an_error_reaches_the_coroutine_in_the_next_turn(loop, sent):
    ended = []

    async def look() -> str:
        try:
            await send_request(head_object("k"))
        except LookupError as error:
            return str(error)
        return ""

    loop.start(look(), ended.append)
    loop.fail(sent[0][0], LookupError("gone"))
    assert ended == []

    loop.turn(1.0)

    assert ended == ["gone"]


def test_timers_run_in_the_order_of_their_times_and_equal_ones_in_that_of_their_making(loop):
    ran = []
    for name, seconds in (("late", 0.02), ("first", 0.0), ("second", 0.0)):
        loop.call_later(seconds, lambda name=name: ran.append(name))

    while len(ran) < 3:
        loop.turn(1.0)

    assert ran == ["first", "second", "late"]


def test_coroutines_that_sleep_do_not_wait_for_each_other(loop):
    async def nap(seconds: float) -> float:
        await sleep(seconds)
        return seconds

    async def several() -> list[float]:
        return await gather_results(nap(0.1) for _ in range(20))

    started = time.monotonic()

    assert result_of(loop, several()) == [0.1] * 20
    assert 0.1 <= time.monotonic() - started < 1.5


def test_a_blocking_function_runs_on_a_thread_and_its_error_comes_back(loop):
    async def both() -> tuple[bool, str]:
        other = await run_in_thread(threading.get_ident) != threading.get_ident()
        try:
            await run_in_thread(lambda: 1 // 0)
        except ZeroDivisionError as error:
            return other, str(error)
        return other, ""

    assert result_of(loop, both()) == (True, "integer division or modulo by zero")


def test_where_no_thread_can_be_started_the_loop_does_the_work(loop, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def work() -> list[int]:
        return [await run_in_thread(threading.get_ident) for _ in range(3)]

    assert result_of(loop, work()) == [threading.get_ident()] * 3


def test_a_watched_socket_calls_its_handler_until_it_is_let_go(loop):
    ours, theirs = socket.socketpair()
    seen = []
    loop.watch(ours, seen.append)
    theirs.send(b"x")
    loop.turn(1.0)
    assert len(seen) == 1

    loop.unwatch(ours)
    loop.unwatch(ours)
    loop.turn(0.0)

    assert len(seen) == 1
    ours.close()
    theirs.close()


def test_an_exception_that_nobody_catches_comes_out_of_the_turn(loop):
    async def broken() -> None:
        await sleep(0.0)
        raise KeyError("a bug")

    loop.start(broken(), lambda _: None)

    with pytest.raises(KeyError, match="a bug"):
        loop.turn(1.0)
