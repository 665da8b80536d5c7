"""Hashing a tree with all processors: this process and forks of it, which cost a hundredth of a worker's start.

    plan file ──recipes n, n + 3, ...──> fork ──pipe──> results

A fork reads files and nothing else: it closes every descriptor it did not open, our sockets and locks among them, and
what it cannot do is done again here, where failures can be told. With threads about nothing is forked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence

from s3batch.archive.pack import Packed, close_plans, hash_items
from s3batch.archive.packed import Record, decode, encode
from s3batch.archive.table import Recipe
from s3batch.errors import ArchiveError

_DESCRIPTORS = 1 << 20
"""Above every descriptor we may have open."""


class _Share(Record):
    """What a fork sends back."""

    results: list[Packed]


class _Fork:
    """One fork, hashing its recipes."""

    def __init__(self, plan: str, recipes: Sequence[Recipe]) -> None:
        self._plan, self._recipes = plan, recipes
        self._pipe, theirs = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            _work(plan, recipes, theirs)
        os.close(theirs)

    def results(self) -> list[Packed]:
        """All of them, made here if the fork came to nothing."""
        with open(self._pipe, "rb", closefd=False) as pipe:
            said = pipe.read()
        try:
            return decode(said, _Share, what="what a fork said").results
        except ArchiveError:
            return [hash_items(self._plan, recipe) for recipe in self._recipes]

    def end(self) -> None:
        """Leave nothing of it behind."""
        os.close(self._pipe)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def hash_all(plan: str, recipes: Sequence[Recipe], processes: int) -> list[Packed]:
    """The hashes of every recipe of the plan file, by up to so many processes."""
    count = min(processes, len(recipes)) if _may_fork() else 1
    close_plans()  # a fork opens its own
    with contextlib.ExitStack() as stack:
        stack.callback(close_plans)
        forks = []
        for number in range(1, count):
            forks.append(fork := _Fork(plan, recipes[number::count]))
            stack.callback(fork.end)
        results = [hash_items(plan, recipe) for recipe in recipes[::count]]
        for fork in forks:
            results += fork.results()
    return results


def _may_fork() -> bool:
    return hasattr(os, "fork") and threading.active_count() == 1


def _work(plan: str, recipes: Sequence[Recipe], pipe: int) -> None:
    """The fork's life; it never returns."""
    code = 1
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        os.closerange(3, pipe)
        os.closerange(pipe + 1, _DESCRIPTORS)
        with open(pipe, "wb") as out:
            out.write(encode(_Share([hash_items(plan, recipe) for recipe in recipes])))
        code = 0
    finally:
        os._exit(code)
