"""The new chunks of a rebuild: workers make and store them. Files that changed meanwhile are read again here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3batch.archive.pack_again import read_changed_again
from s3batch.archive.pack_chunk import PackedChunk
from s3batch.archive.plan_file import count_files
from s3batch.cache.chunk_worker import store_chunk
from s3batch.cache.object_keys import chunk_key
from s3batch.cache.segments import put_unless_held
from s3batch.model import Kind, Operation, Reason, Result, Stage

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from s3batch.archive.pack_chunk import BuiltChunk
    from s3batch.archive.pack_plan import PackPlan
    from s3batch.cache.session import CacheSession

KEEP_UNTOUCHED = 12 * 3600.0
"""Seconds; a chunk that is there and older is stored again: half the time a clean-up leaves young ones alone."""
_STORE_ALL = float("-inf")
"""No chunk is younger than this."""


def pack_operations(session: CacheSession, plan: PackPlan) -> dict[Operation, int]:
    """Return the chunks to make, each with its number of files. A chunk that is not made is named after its first file."""
    items, tree = plan.items, plan.survey.found.tree
    operations = {}
    for recipe, files in zip(plan.recipes, count_files(items.rows, plan.recipes), strict=True):
        path, start = tree.path(items.rows[recipe.first]), items.starts[recipe.first]
        operation = Operation(
            Kind.CHUNK, f"{path}@{start}" if start else path, Reason.MISSING, session.files.plan_path,
            sum(items.lengths[recipe.first : recipe.last]), spec=recipe,
        )  # fmt: skip
        operations[operation] = files
    return operations


def chunk_keep_age(session: CacheSession) -> float:
    """Return the age in seconds up to which a stored chunk is not stored again."""
    return _STORE_ALL if session.files.distrusted else KEEP_UNTOUCHED


def chunk_storer(session: CacheSession) -> partial[Coroutine[None, None, Result]]:
    """Return the function with which workers store a chunk."""
    return partial(
        store_chunk, prefix=session.base, level=session.settings.compression_level,
        keep=chunk_keep_age(session), headers=session.encryption_headers(),
        local=session.local,
    )  # fmt: skip


def store_chunks(session: CacheSession, operations: dict[Operation, int]) -> list[Result]:
    """Have the new chunks made and stored; return their results."""
    results = session.workers.carry_out(chunk_storer(session), operations, "storing") if operations else []
    if session.journal.outcomes.count_failed(Stage.DELETE):
        raise session.workers.failure("a chunk cannot be stored", "; the cache stays as it was")
    return results


def store_changed_again(session: CacheSession, plan: PackPlan, results: list[Result]) -> list[Result]:
    """Read files that changed while they were packed until they hold still; return the results of their chunks."""
    packed = [PackedChunk.from_bytes(result.payload) for result in results]
    sent: dict[bytes, int] = {}
    headers = {"content-type": "application/zstd", **session.encryption_headers()}

    def store(built: BuiltChunk) -> None:
        identity = built.packed.id
        put = put_unless_held(
            session.bucket, chunk_key(session.base, identity), built.body, headers, chunk_keep_age(session)
        )
        sent[identity] = len(built.body) if session.bucket.run(put) else 0
        if session.local is not None:
            session.local.put(identity.hex(), built.body)

    made = read_changed_again(
        plan, packed, session.files.plan_path, session.workspace, store, level=session.settings.compression_level
    )
    return [
        Result(0, payload=each.to_bytes(), sent=sent.get(each.id, 0), already=not sent.get(each.id)) for each in made
    ]
