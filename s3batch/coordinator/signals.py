"""Reasons to stop a job before its end: signals, and errors that concern more than one operation.

    importing ─> Interrupter: a signal raises at once ─> Signals: noted, the coordinator stops ─> over: ignored once

A Python program has Cancellation in the place of Signals: a job takes no signals there, and looks at an event.
SIGHUP is SIGTERM by another name, unless it was ignored at the start (``nohup``).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from s3batch.base.errors import EXIT_FAILED, EXIT_TIME_IS_UP, S3BatchError
from s3batch.base.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

GRACE = 10.0
"""Seconds for running operations after the first signal: CI systems kill after about as long."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask s3batch to stop."""


class StoppedError(S3BatchError):
    """The job ends here with work left in the journal, for a reason that is not one operation's."""

    def __init__(self, message: str, *, exit_code: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = exit_code


class DiskFullError(StoppedError):
    """The target of a download takes nothing more."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=EXIT_FAILED, remedy="make room")


class InterruptedJobError(StoppedError):
    """SIGINT, SIGTERM or SIGHUP, while a job runs."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}", exit_code=signal_exit_code(signum))


class CancelledJobError(InterruptedJobError):
    """The event that a Python program gave as ``cancel`` was set."""

    def __init__(self) -> None:
        super().__init__(signal.SIGINT)
        self.message = "cancelled"


class TimeIsUpError(InterruptedJobError):
    """The job has run for as long as ``max_duration`` allows."""

    def __init__(self, seconds: float) -> None:
        StoppedError.__init__(
            self, f"stopped after {format_duration(seconds)}, as max_duration says", exit_code=EXIT_TIME_IS_UP
        )


class DeadlineError(StoppedError):
    """The time that a run may take is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the deadline of {format_duration(seconds)} is over", exit_code=EXIT_FAILED)


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP, before or after a job runs."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = signal_exit_code(signum)


def signal_exit_code(signum: int) -> int:
    """Return the exit code of a death by ``signum``."""
    return 128 + signum  # as shells report a death by signal


def list_handled_signals() -> list[signal.Signals]:
    """Return the signals to handle: not SIGHUP where ``nohup`` has it ignored."""
    return [each for each in STOPPING if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]


class Interrupter:
    """The process's handler while no job runs: it raises, until the work is over."""

    def __init__(self, noted: list[int] | None = None, *, gentle: bool = False) -> None:
        """Take the list of a handler before this one; ``gentle`` notes the first signal until :meth:`raise_noted`."""
        self.over = False
        """All work is done and only the end of the process is left."""
        self.late = False
        """A signal has come since all work is done."""
        self.before_exit: Callable[[], object] | None = None
        """Is called before a second signal ends the process at once."""
        self._noted = [] if noted is None else noted
        self._gentle = gentle

    def install(self) -> None:
        """Handle the signals that ask s3batch to stop."""
        for signum in list_handled_signals():
            signal.signal(signum, self)

    def __call__(self, signum: int, _: FrameType | None) -> None:
        """Raise, unless all work is done; then only a second signal counts."""
        if not self.over and self._gentle and not self._noted:
            self._noted.append(signum)
            return
        if not self.over:
            raise KeyboardInterrupt if signum == signal.SIGINT else TerminatedError(signum)
        if self.late:  # the rest may not end: a reader of the output may have stopped reading
            if self.before_exit is not None:
                self.before_exit()
            os._exit(signal_exit_code(signum))
        self.late = True

    def raise_noted(self) -> None:
        """Raise for a signal that was only noted; let those that follow raise at once."""
        self._gentle = False
        if self._noted:
            self(self._noted[0], None)


class Signals:
    """While entered, signals are noted; where nothing is under way they raise at once. So is a time limit, by SIGALRM."""

    def __init__(self, deadline: float = 0.0, max_duration: float = 0.0) -> None:
        """Take ``deadline`` as the seconds that the run may take, its end included; 0 for no limit.

        After ``max_duration`` seconds the run ends as after a signal; 0 for no limit.
        """
        self.seen = 0
        """The first signal's number; 0 for none."""
        self.grace = GRACE
        """Seconds for running operations after the first signal."""
        self._deadline = deadline
        self._max_duration = max_duration
        self.again = False
        self.gentle = False
        """If true, signals only set ``seen``; if false, they raise."""
        self._over = self._late = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for signum in list_handled_signals():
            self._before[signum] = signal.signal(signum, self._note)
        if self._time_limit:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._note)
            signal.setitimer(signal.ITIMER_REAL, self._time_limit)
        return self

    @property
    def _time_limit(self) -> float:
        """Return the seconds until the run begins to end; 0 for no limit."""
        if self._deadline:
            return self._deadline - min(GRACE, self._deadline / 4)
        return self._max_duration

    def __exit__(self, *_: object) -> None:
        if self._time_limit:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Have a signal raise within the block, where something may take long: a walk, a request."""
        before, self.gentle = self.gentle, False
        try:
            if self.seen:  # it came after the last look at it
                raise self.error()
            yield
        finally:
            self.gentle = before

    def raise_noted(self) -> None:
        """Raise for a signal that was only noted; let those that follow raise at once."""
        self.gentle = False
        if self.seen:
            raise self.error()

    def check(self) -> None:
        """Do nothing: the system runs the handler of a signal by itself."""

    def sleep(self, seconds: float) -> None:
        """Wait; what stops the run ends it."""
        time.sleep(seconds)

    def work_is_over(self) -> None:
        """Ignore the first signal from now on: only the report is left."""
        self._over = True
        for handler in self._before.values():
            if isinstance(handler, Interrupter):
                handler.over = True

    def error(self) -> StoppedError:
        """Return the error that stopped the run."""
        return self._time_error() if self.seen == signal.SIGALRM else InterruptedJobError(self.seen)

    def _time_error(self) -> StoppedError:
        return DeadlineError(self._deadline) if self._deadline else TimeIsUpError(self._max_duration)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if signum == signal.SIGALRM and (self._over or self.seen):
            return  # it is ending already
        if self._over and not self._late:
            self._late = True
            return
        if signum == signal.SIGALRM:
            self.grace = min(GRACE, self._deadline / 4) if self._deadline else GRACE
        elif self.seen == signal.SIGALRM:
            self.seen = signum
        self.again = bool(self.seen)
        self.seen = self.seen or signum
        if not self.gentle or self.again or self._late:
            raise self.error()


class Cancellation(Signals):
    """The same for a job that a Python program runs: it takes no signal. An event and a clock are looked at instead.

    A job may run on any thread, and the signals of a process belong to its program.
    """

    def __init__(self, cancel: threading.Event, deadline: float = 0.0, max_duration: float = 0.0) -> None:
        """Take the event that asks the run to stop, and the time limits as :class:`Signals` does."""
        super().__init__(deadline, max_duration)
        self._cancel = cancel
        self._until = float("inf")

    def __enter__(self) -> Self:
        if self._time_limit:
            self._until = time.monotonic() + self._time_limit
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no handler was set."""

    def check(self) -> None:
        """Note that the run is asked to stop; raise where nothing is under way."""
        if self._over or self.seen:
            return
        if self._cancel.is_set():
            self._note(signal.SIGINT, None)
        elif time.monotonic() >= self._until:
            self._note(signal.SIGALRM, None)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the event is set or the deadline is over."""
        self._cancel.wait(max(0.0, min(seconds, self._until - time.monotonic())))
        self.check()

    def error(self) -> StoppedError:
        """Return the error that stopped the run."""
        return self._time_error() if self.seen == signal.SIGALRM else CancelledJobError()


_cancel: ContextVar[threading.Event | None] = ContextVar("cancel", default=None)


@contextmanager
def stop_by_event(cancel: threading.Event | None) -> Iterator[None]:
    """Have the jobs of this block stop when ``cancel`` is set, and take no signals."""
    token = _cancel.set(cancel or threading.Event())
    try:
        yield
    finally:
        _cancel.reset(token)


def watch_for_stop(deadline: float = 0.0, max_duration: float = 0.0) -> Signals:
    """Return what tells a job to stop: the signals of this process, or the event of the program that calls it."""
    cancel = _cancel.get()
    if cancel is None:
        return Signals(deadline, max_duration)
    return Cancellation(cancel, deadline, max_duration)
