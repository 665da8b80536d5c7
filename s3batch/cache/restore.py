"""``s3batch cache restore``: make the listed paths what the cache says, touching only what is wrong.

    find the manifest ─ walk ─ plan ─ make room ─ chunks (workers: fetch, prove, write) ─ links, times ─ state

Until the last step every change can be undone, and is, when a chunk cannot be had: then it was a miss.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.archive import pack, packplan, remember, unpack, verify
from s3batch.archive.finish import finish, prepare
from s3batch.archive.keys import chunk_key
from s3batch.archive.legacy import extract_legacy
from s3batch.archive.restore import common_roots, plan_restore, write_restore
from s3batch.archive.scan import scan
from s3batch.archive.state import load_state, save_state
from s3batch.archive.tree import files_of
from s3batch.archive.undo import Undo, undo_leftovers
from s3batch.cache.find import Hit, find, touch
from s3batch.cache.work import DAMAGED, fetch_chunk, hash_files
from s3batch.coordinator import InterruptedJobError
from s3batch.crash_points import reach
from s3batch.errors import JobFailedError
from s3batch.model import Kind, Operation, Reason, Stage

if TYPE_CHECKING:
    from s3batch.archive.restore import RestorePlan
    from s3batch.archive.scan import Found
    from s3batch.cache.resolve import Names
    from s3batch.cache.session import Session
    from s3batch.model import Result

_SPARE_INODES = 100
_NOT_AS_NAMED = (DAMAGED, "NoSuchKey")
"""Codes of a chunk that is gone or holds something else: no rebuild would notice, as the manifest names it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to."""

    key: str
    """The key object taken; empty for a miss."""
    files: int = 0
    """Files the cache holds."""
    bytes: int = 0
    made: int = 0
    """Files that were not right and have been made."""
    chunks: int = 0
    fetched: int = 0
    """Bytes of chunks."""


def restore(session: Session, names: Names) -> Restored:
    """Restore, or find that there is nothing to restore from. Raises with everything undone."""
    state = load_state(session.state_path)
    try:
        hit = find(session, names, state)
    except BaseException:
        undo_leftovers(session.undo_path, session.workspace)
        raise
    if hit is None:
        undo_leftovers(session.undo_path, session.workspace)
        return restore_legacy(session, names) or Restored("")
    if session.settings.dry_run:
        return _summary(hit, None, [])
    try:
        restored = _restore(session, hit)
    except InterruptedJobError:
        raise  # the same command goes on from here
    except BaseException:
        undo_leftovers(session.undo_path, session.workspace)
        raise
    if names.own and names.own == hit.key and _aged(session, hit):
        touch(session, hit, session.manifest_headers(hit.key, hit.stored, hit.manifest))
    return restored


def _aged(session: Session, hit: Hit) -> bool:
    ttl = session.settings.ttl
    return bool(ttl) and time.time() - hit.modified > ttl / 4


def _restore(session: Session, hit: Hit) -> Restored:
    manifest, workspace = hit.manifest, session.workspace
    roots = common_roots(manifest.roots, session.roots)
    for missing in sorted(set(session.roots) - set(roots)):
        session.warn(f"the cache {hit.key} does not hold {missing}")
    with closing(Undo(session.undo_path, workspace, roots, f"{manifest.timed_tree_id()} {' '.join(roots)}")) as undo:
        found = scan(workspace, roots)
        wrong = _wrong(session, found, hit, roots)
        plan = plan_restore(manifest, session.roots, found, symlinks=session.settings.cache_symlinks, wrong=wrong)
        results: list[Result] = []
        if not plan.nothing_to_do():
            _check_room(plan, workspace)
            write_restore(session.plan_path, plan, workspace)
            prepare(plan, workspace, undo)
            results = _fetch(session, plan)
            finish(plan, workspace)
        reach("restored")
        undo.commit()
    unpacked = [unpack.Unpacked.from_bytes(result.payload) for result in results]
    save_state(
        session.state_path,
        remember.restored_state(
            hit.stored, plan, found, unpacked, key=hit.key, etag=hit.etag, now_ns=time.time_ns()
        ),
    )  # fmt: skip
    session.remove_plan()
    return _summary(hit, plan, results)


def _wrong(session: Session, found: Found, hit: Hit, roots: tuple[str, ...]) -> frozenset[int]:
    """Rows of files whose content is not the cache's, where ``verify`` asks for it."""
    if not session.settings.verify:
        return frozenset()
    survey = verify.verification(found, hit.manifest)
    items = packplan.hash_plan(survey)
    packplan.write_items(session.plan_path, survey, items, session.workspace, roots)
    results = session.compute(hash_files, [recipe.text() for recipe in items.recipes])
    packplan.learn_hashes(survey, items, [pack.Packed.from_bytes(result.payload) for result in results])
    return verify.wrong_rows(survey, hit.manifest)


def _check_room(plan: RestorePlan, workspace: str) -> None:
    """Refuse what cannot fit, before anything is written."""
    room = os.statvfs(workspace)
    if plan.size() > room.f_bavail * room.f_frsize:
        raise JobFailedError(
            f"the cache needs {plan.size()} bytes, {workspace} has {room.f_bavail * room.f_frsize} free"
        )
    if room.f_files and plan.files() + _SPARE_INODES > room.f_favail:
        raise JobFailedError(f"the cache needs {plan.files()} inodes, {workspace} has {room.f_favail} free")


def _fetch(session: Session, plan: RestorePlan) -> list[Result]:
    chunks = plan.manifest.chunks
    operations = [
        Operation(
            Kind.CHUNK, chunk_key(session.base, chunks.id(recipe.chunk)), Reason.MISSING, session.plan_path,
            chunks.stored[recipe.chunk], detail=recipe.text(),
        )
        for recipe in plan.recipes
    ]  # fmt: skip
    results = session.carry_out(fetch_chunk, operations, "restoring")
    if session.journal.failed_count(Stage.DELETE):
        failure = next(session.journal.failures(1))
        if any(each.code in _NOT_AS_NAMED for each in session.journal.failures()):
            session.distrust()
        raise JobFailedError(f"a chunk cannot be had: {failure.error}; nothing was restored")
    return results


def _summary(hit: Hit, plan: RestorePlan | None, results: list[Result]) -> Restored:
    return Restored(
        hit.key,
        files_of(hit.manifest.tree),
        hit.manifest.raw_size(),
        plan.files() if plan else 0,
        len(results),
        sum(result.sent for result in results),
    )


def restore_legacy(session: Session, names: Names) -> Restored | None:
    """Restore what an older plugin left, all of it or nothing; ``None`` if there is nothing."""
    taken = ""
    files = size = 0
    covered: set[str] = set()
    for old in names.legacy:
        if covered.issuperset(old.roots):
            continue
        answer = session.bucket.get(old.key)
        if answer is None:
            continue
        label = f"legacy {old.key} {answer.headers.get('etag', '')}"
        try:
            with closing(Undo(session.undo_path, session.workspace, old.roots, label)) as undo:
                done = extract_legacy(
                    io.BytesIO(answer.body), session.workspace, old.roots, undo,
                    limits=session.limits(), symlinks=session.settings.cache_symlinks,
                )  # fmt: skip
                undo.commit()
        except BaseException:
            undo_leftovers(session.undo_path, session.workspace)
            raise
        for problem in done.left_out:
            session.warn(f"{problem.path} in {old.key} is not restored: {problem.error}")
        taken, files, size = taken or old.key, files + done.files + done.right, size + done.size
        covered.update(old.roots)
    return Restored(taken, files, size, files) if taken else None
