"""Forks of this process that do one thing and share no descriptor with it.

A fork starts in 5 ms, a fresh Python with these imports in 170 ms. Forking is safe only on Linux, and only while this
process has one thread and has not loaded botocore: a lock that another thread holds at that moment would stay locked in
the fork. Where :func:`is_fork_possible` is false, start a fresh Python.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import NoReturn

_LOOK_AGAIN = (0.001, 0.002, 0.004, 0.01)
"""Seconds to wait before each further look at a fork that ends; then always the last."""


def is_fork_possible() -> bool:
    """Return whether a fork made now has everything it needs."""
    if sys.platform != "linux" or "botocore" in sys.modules:
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


class Fork:
    """A copy of this process that carries out ``work`` and ends. Of all descriptors it has only ``keep`` and stderr."""

    def __init__(self, work: Callable[[], None], keep: int, *, keeps_directories: bool = False) -> None:
        """``keeps_directories``: it has those of open directories too."""
        with contextlib.suppress(OSError, ValueError):  # buffered text would be written twice
            sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _run_forked_child(work, keep, keeps_directories=keeps_directories)
        self._ended = False

    def kill(self) -> None:
        """End it at once."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Return whether it ended within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        waits = chain(_LOOK_AGAIN, repeat(_LOOK_AGAIN[-1]))
        while not self._ended:
            try:
                self._ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:  # SIGCHLD is ignored since before the start: it ended, and its status is lost
                self._ended = True
            if not self._ended:
                if time.monotonic() >= until:
                    break
                time.sleep(next(waits))
        return self._ended


def _run_forked_child(work: Callable[[], None], keep: int, *, keeps_directories: bool) -> NoReturn:
    code = 1
    try:
        gc.freeze()  # the collector leaves these objects alone, so their memory stays shared
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        if keeps_directories:
            _close_all_but_directories(keep)
        else:
            os.closerange(3, keep)
            os.closerange(max(keep, 2) + 1, os.sysconf("SC_OPEN_MAX"))
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the fork must not go on with the parent's work
        import traceback  # noqa: PLC0415 - a run without a bug does not pay for it

        traceback.print_exc()
    finally:
        os._exit(code)


def _close_all_but_directories(keep: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        with contextlib.suppress(OSError):  # the descriptor that this list was read from
            if number > 2 and number != keep and not stat.S_ISDIR(os.fstat(number).st_mode):
                os.close(number)
