"""Hashing of a tree with all processors: this process and forks of it, which cost a hundredth of a worker's start.

    plan file ──recipes n, n + 3, ...──> fork ──pipe──> results

What a fork cannot do is done again in this process, which can report failures.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial

from s3batch.archive.msgpack import Record, decode_message, encode_message
from s3batch.archive.pack_chunk import PackedChunk, close_pack_plans, hash_items
from s3batch.base.errors import ArchiveError
from s3batch.executors import fork
from s3batch.executors.fork import Fork
from s3batch.model import ChunkSpec

_PARTING = 5.0
"""Seconds to wait for a fork that was killed."""


class _Share(Record):
    """The results that a fork sends back."""

    results: list[PackedChunk]


class _Helper:
    """A fork, hashing its recipes."""

    def __init__(self, plan: str, recipes: Sequence[ChunkSpec]) -> None:
        self._plan, self._recipes = plan, recipes
        self._pipe, theirs = os.pipe()
        try:
            self._fork = Fork(partial(_hash_share, plan, recipes, theirs), theirs)
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)

    def results(self) -> list[PackedChunk]:
        """Return all results, computed here if the fork failed."""
        with open(self._pipe, "rb", closefd=False) as pipe:
            said = pipe.read()
        try:
            return decode_message(said, _Share, what="the answer of a fork").results
        except ArchiveError:
            return [hash_items(self._plan, recipe) for recipe in self._recipes]

    def end(self) -> None:
        """Leave nothing of it behind."""
        os.close(self._pipe)
        self._fork.kill()
        self._fork.wait(_PARTING)


def hash_all(plan: str, recipes: Sequence[ChunkSpec], processes: int) -> list[PackedChunk]:
    """Return the hashes of every recipe of the plan file, by up to ``processes`` processes."""
    if not recipes:
        return []
    count = min(processes, len(recipes)) if fork.is_fork_possible() else 1
    close_pack_plans()  # a fork opens its own
    with contextlib.ExitStack() as stack:
        stack.callback(close_pack_plans)
        helpers, own = [], list(recipes[::count])
        for number in range(1, count):
            try:
                helper = _Helper(plan, recipes[number::count])
            except OSError:  # no more processes may be started
                own += recipes[number::count]
                continue
            helpers.append(helper)
            stack.callback(helper.end)
        results = [hash_items(plan, recipe) for recipe in own]
        for helper in helpers:
            results += helper.results()
    return results


def _hash_share(plan: str, recipes: Sequence[ChunkSpec], pipe: int) -> None:
    with open(pipe, "wb") as out:
        out.write(encode_message(_Share([hash_items(plan, recipe) for recipe in recipes])))
