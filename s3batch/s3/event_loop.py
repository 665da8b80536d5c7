"""One thread that runs many coroutines: sockets, timers, and threads for functions that block.

    start(coroutine) ──> runs until it awaits
                           ├─ a Request        ──> on_call: the transport sends it, and resumes the task with the response
                           ├─ an ExpectedHead ──> the same, in the short way
                           ├─ a SourceCall  ──> the same, by the source's transport
                           ├─ a ThreadCall  ──> a thread ──wakes the loop──> goes on with the result
                           ├─ a Gather      ──> further coroutines side by side ──> goes on with their results
                           ├─ a Wait        ──> something that many wait for ──> goes on when that has happened
                           └─ a Sleep       ──> a timer ──> goes on

It knows nothing of S3, HTTP or connections: a socket has a handler, and the loop calls it.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import types
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.gather import Gather, Gathering
from s3batch.s3.head_forms import ExpectedHead
from s3batch.s3.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, MutableSequence
    from concurrent.futures import ThreadPoolExecutor

    Handler = Callable[[int], None]
    Done = Callable[[Any, BaseException | None], None]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class ThreadCall(NamedTuple):
    """A blocking function to run on a thread."""

    function: Callable[[], Any]


class SourceCall(NamedTuple):
    """A request to the source's bucket, where that is not the target's."""

    call: Request


class Sleep(NamedTuple):
    """Seconds to wait."""

    seconds: float


class Wait(NamedTuple):
    """The wish to go on when something has happened that several coroutines wait for."""

    begin: Callable[[EventLoop, Done], None]
    """Takes the loop, and the function to call with a result or an exception."""


@types.coroutine
def wait_for(begin: Callable[[EventLoop, Done], None]) -> Generator[Wait, Any, Any]:
    """Wait until ``begin`` calls its second argument. The coroutine counts as parked meanwhile."""
    return (yield Wait(begin))


@types.coroutine
def run_in_thread(function: Callable[[], Any]) -> Generator[ThreadCall, Any, Any]:
    """Run ``function`` on a thread and return its result; its exceptions are raised here."""
    return (yield ThreadCall(function))


@types.coroutine
def sleep(seconds: float) -> Generator[Sleep, None, None]:
    """Wait."""
    yield Sleep(seconds)


@types.coroutine
def run_at_source(coroutine: Any) -> Generator[Any, Any, Any]:
    """Return the result of a coroutine whose requests all go to the source's bucket."""
    value, error = None, None
    while True:
        try:
            wish = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            return stop.value
        try:
            value, error = (yield SourceCall(wish) if type(wish) is Request else wish), None
        except Exception as raised:  # noqa: BLE001 - raised in the coroutine, whose boundary it is
            value, error = None, raised


class Task:
    """A running coroutine and the call it waits for."""

    __slots__ = ("call", "coroutine", "done", "lessons", "row", "tries")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None], row: int) -> None:
        self.coroutine = coroutine
        self.done = done
        self.row = row
        self.call: Request | None = None
        self.tries = 0
        """Connections on which the call got no response."""
        self.lessons = 0
        """Corrections that the transport has learned from responses to the call."""


class EventLoop:
    """Runs coroutines, timers and socket events on the thread that calls :meth:`turn`. Not thread-safe.

    An exception that a coroutine does not catch is a bug and comes out of :meth:`turn`.
    """

    def __init__(self, on_call: Callable[[Task, Request], None], clock: Callable[[], float], threads: int) -> None:
        """``on_call`` sends a call and resumes its task later; ``threads`` is their maximum number."""
        self.clock = clock
        self.active = 0
        """Coroutines running."""
        self.parked = 0
        """Those of them that need no connection before something has happened that many wait for."""
        self.page: MutableSequence[int] = [0, 0]
        """Its second place says which row the loop is busy with, for who looks on from outside; 0 for none."""
        self.on_source_call = on_call
        """Sends the requests to the source, as ``on_call`` those to the target."""
        self.on_expected_head: Callable[[Task, ExpectedHead], None] = lambda task, wish: on_call(task, wish.request)
        """Sends HEADs in the short way where that is possible."""
        self._on_call = on_call
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._most_threads = threads
        self._threads: ThreadPoolExecutor | None = None
        self._threadless = False
        self._finished: deque[tuple[Done, Any, BaseException | None]] = deque()
        """Results from threads."""
        self._waker: tuple[socket.socket, socket.socket] | None = None

    # --- coroutines -------------------------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None], row: int = 0) -> None:
        """Run ``coroutine``; ``done`` gets its result. ``row`` is the row of its operation."""
        self.active += 1
        self.resume(Task(coroutine, done, row))

    def resume(self, task: Task, value: object = None, error: BaseException | None = None) -> None:
        """Let the task go on with ``value``, or raise ``error`` in it."""
        self.page[1] = task.row
        try:
            wish = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            self.active -= 1
            task.done(stop.value)
            return
        if type(wish) is Request:
            task.call, task.tries, task.lessons = wish, 0, 0
            self._on_call(task, wish)
        elif type(wish) is ExpectedHead:
            task.call, task.tries, task.lessons = wish.request, 0, 0
            self.on_expected_head(task, wish)
        elif type(wish) is ThreadCall:
            self.submit(wish.function, partial(self.resume, task))
        elif type(wish) is SourceCall:
            task.call, task.tries, task.lessons = wish.call, 0, 0
            self.on_source_call(task, wish.call)
        elif type(wish) is Gather:
            Gathering(self, wish, partial(self.resume, task)).go_on()
        elif type(wish) is Wait:
            self.parked += 1
            wish.begin(self, partial(self._unpark, task))
        else:
            self.call_later(wish.seconds, partial(self.resume, task))

    def _unpark(self, task: Task, value: object = None, error: BaseException | None = None) -> None:
        self.parked -= 1
        self.resume(task, value, error)

    def park(self, begin: Callable[[EventLoop, Done], None], done: Done) -> None:
        """Have ``begin`` call ``done`` when something has happened; until then it counts as a parked coroutine."""
        self.active += 1
        self.parked += 1
        begin(self, partial(self._leave, done))

    def _leave(self, done: Done, value: object = None, error: BaseException | None = None) -> None:
        self.active -= 1
        self.parked -= 1
        done(value, error)

    def fail(self, task: Task, error: Exception) -> None:
        """Raise ``error`` in the task in the next turn, so that a row of failures is no deep recursion."""
        self.call_later(0.0, lambda: self.resume(task, error=error))

    # --- sockets and timers -----------------------------------------------------------------

    def watch(self, sock: socket.socket, handler: Handler, events: int = READ) -> None:
        """Request ``handler`` with what has happened whenever ``sock`` has some of ``events``."""
        self._selector.register(sock, events, handler)

    def change_watch(self, sock: socket.socket, handler: Handler, events: int) -> None:
        """Watch a watched socket for other events."""
        self._selector.modify(sock, events, handler)

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching ``sock``."""
        with contextlib.suppress(KeyError):  # a signal that raises within modify() has the selector forget the socket
            self._selector.unregister(sock)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Request ``function`` in ``seconds``."""
        self._timer_number += 1
        heapq.heappush(self._timers, (self.clock() + seconds, self._timer_number, function))

    def turn(self, timeout: float) -> float:
        """Wait up to ``timeout`` seconds for something to happen, and deal with all that has; return the time."""
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - self.clock()))
        for key, events in self._selector.select(timeout):
            key.data(events)
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self.page[1] = 0
        return now

    # --- threads ----------------------------------------------------------------------------

    def submit(self, function: Callable[[], Any], done: Done) -> None:
        """Request ``function`` on a thread, then ``done`` on the loop with its result or its exception."""
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - small files need no thread

            self._threads = ThreadPoolExecutor(self._most_threads, "s3batch")
            receiver, waker = self._waker = socket.socketpair()
            receiver.setblocking(False)
            waker.setblocking(False)
            self.watch(receiver, self._collect)
        if not self._is_taken(self._threads, function, done):
            self._work(function, done)

    def _is_taken(self, threads: ThreadPoolExecutor, function: Callable[[], Any], done: Done) -> bool:
        """Return whether a thread takes it. Where no thread can be started, the loop's own has to, and blocks."""
        if self._threadless:
            return False
        try:
            threads.submit(self._work, function, done)
        except RuntimeError:  # no thread could be started; one that is there has it in its queue
            self._threadless = not threads._threads  # noqa: SLF001 - there is no other way to know
            return not self._threadless
        return True

    def _work(self, function: Callable[[], Any], done: Done) -> None:
        """Run ``function`` on a thread and pass its result or exception to the loop."""
        try:
            self._finished.append((done, function(), None))
        except Exception as error:  # noqa: BLE001 - handed to the coroutine, whose boundary it is
            self._finished.append((done, None, error))
        if self._waker is not None:
            with contextlib.suppress(OSError):  # full: the loop will wake anyway; closed: no task waits
                self._waker[1].send(b".")

    def _collect(self, _events: int) -> None:
        if self._waker is not None:
            self._waker[0].recv(4096)
        while self._finished:
            done, value, error = self._finished.popleft()
            done(value, error)

    def close(self) -> None:
        """End the threads that are idle, and watch nothing any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for end in self._waker or ():
            end.close()
        self._selector.close()
