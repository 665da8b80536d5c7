"""``s3batch cache restore``: make the listed paths match the cache, changing only entries that differ.

    find the manifest ─ walk ─ plan ─ make room ─ chunks (workers: fetch, prove, write) ─ links, times ─ state

Until the last step every change can be undone, and is, when a chunk cannot be had: then it was a miss.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.archive import pack_plan, remember, unpack_chunk, verify
from s3batch.archive.paths import points_inside, split_path
from s3batch.archive.plan_file import count_files
from s3batch.archive.portability import find_unmakeable
from s3batch.archive.restore_apply import check_room, finish_restore, finished_stamps, prepare_restore
from s3batch.archive.restore_plan import plan_restore, write_restore
from s3batch.archive.tree import DIR, SYMLINK, files_of, rows_at, tree_has_path
from s3batch.archive.undo_log import UndoLog, undo_leftovers
from s3batch.archive.validate import selected_rows
from s3batch.base.errors import ArchiveError, JobFailedError
from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_duration, format_plural, format_size
from s3batch.cache.chunk_worker import fetch_chunk
from s3batch.cache.hash_pool import hash_all
from s3batch.cache.legacy import restore_old
from s3batch.cache.lookup import explain_denied, find_manifest, is_too_old, published_at, still_there, touch_manifest
from s3batch.cache.lookup_only import look_up
from s3batch.cache.object_keys import chunk_key, parse_manifest_key
from s3batch.cache.run import CacheOutcome
from s3batch.coordinator.signals import InterruptedJobError
from s3batch.files import private
from s3batch.model import Kind, Operation, Reason, Stage
from s3batch.reporting.ci_outputs import write_outputs
from s3batch.reporting.text import format_amount
from s3batch.s3.store_clock import elapsed_seconds
from s3batch.worker.results import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from s3batch.archive.local_state import EncodedState, LocalState
    from s3batch.archive.places import Places
    from s3batch.archive.restore_plan import RestorePlan
    from s3batch.archive.scan import ScannedTree
    from s3batch.archive.tree import Tree
    from s3batch.cache.lookup import ManifestHit, SeenObject
    from s3batch.cache.session import CacheSession
    from s3batch.model import Result
    from s3batch.reporting.console import Output
    from s3batch.s3.faults import RequestError
    from s3batch.settings.table import Settings

_NOT_AS_NAMED = (DAMAGED, "NoSuchKey")
"""Codes of a chunk that is gone or holds something else: no rebuild would notice, as the manifest names it."""
_MISS: Mapping[str, str | int | bool] = {
    "cache_hit": False, "cache_matched_key": "", "cache_state": "none", "cache_files": 0, "cache_bytes": 0,
    "cache_seconds": 0,
}  # fmt: skip
"""The outputs where nothing was restored: as many as of a hit, so that a later step finds each name."""


@dataclass(slots=True)
class _RestoreRun:
    """A restore being planned and carried out."""

    hit: ManifestHit
    roots: tuple[str, ...]
    """Where it may write."""
    found: ScannedTree
    plan: RestorePlan


def restore_cache(session: CacheSession) -> CacheOutcome:
    """Restore, or find that there is nothing to restore from. Raises with everything undone.

    Raises JournalLockedError if another restore writes to one of the paths.
    """
    try:
        if session.settings.lookup_only:
            outcome = look_up(session)
        elif session.settings.dry_run:
            outcome = _restore_newest(session)
        else:
            with session.files.path_lock.held():
                outcome = _restored_or_undone(session)
    except BaseException:
        write_miss(session.settings, session.output)
        raise
    return replace(outcome, outputs=_MISS if outcome.missed else _collect_hit_outputs(session, outcome.cache))


def _restored_or_undone(session: CacheSession) -> CacheOutcome:
    try:
        return _restore_newest(session)
    except InterruptedJobError:  # the same command goes on from here
        raise
    except BaseException:
        undo_leftovers(session.files.undo_path, session.workspace, within=session.paths.within())
        raise


def write_miss(settings: Settings, output: Output) -> None:
    """Tell later steps of the build that nothing was restored."""
    write_outputs(settings, output, _MISS)


def _collect_hit_outputs(session: CacheSession, cache: Mapping[str, Any]) -> dict[str, str | int | bool]:
    """Return the outputs for later steps. Only the exact key is a hit, as in actions/cache."""
    parts = parse_manifest_key(session.base, cache.get("key", ""))
    return {
        "cache_hit": bool(cache.get("exact")),
        "cache_matched_key": parts.key if parts else cache.get("key", ""),
        "cache_state": "partial" if cache.get("missing") else "complete",
        "cache_files": cache.get("files", 0),
        "cache_bytes": cache.get("bytes", 0),
        "cache_seconds": round(elapsed_seconds() - session.began, 3),
    }


def _undo_earlier_restore(session: CacheSession) -> None:
    if not session.settings.dry_run:
        undo_leftovers(session.files.undo_path, session.workspace, within=session.paths.within())


def _restore_newest(session: CacheSession) -> CacheOutcome:
    if session.settings.compat and (outcome := _restored_old(session)):  # what its rebuilds write
        return outcome
    remembered = session.files.remembered()
    if remembered is not None and (outcome := _matches_last_rebuild(session, remembered)):
        return outcome
    state = remembered.state() if remembered is not None else None
    hit, trouble = find_manifest(session, state)
    if hit is None:
        outcome = _restored_old(session) or _missed_outcome(session, trouble)
        if isinstance(trouble, ArchiveError):
            session.warn(str(trouble))
        return outcome
    if state is None:  # likely everything is to be fetched
        session.workers.start_early(_chunk_fetcher(session))
    roots = session.listed.common(hit.manifest.roots)
    if not roots:
        return _without_paths(session, hit)
    tree = hit.manifest.tree
    age = format_duration(max(0.0, session.bucket.clock.now().low - published_at(hit)))
    held = format_amount(files_of(tree), hit.manifest.raw_size())
    session.output.info(f"found {session.title(hit.key)}{_fallback_words(session, hit)}: {held}, made {age} ago")
    roots, places = _restore_targets(session, hit, roots)
    if not roots:
        return _left_alone(session, hit)
    outcome = (_rehearse_restore if session.settings.dry_run else _restore_manifest)(session, hit, roots, places, state)
    if not session.settings.dry_run and _is_to_be_touched(session, hit):
        touch_manifest(session, hit)
    return outcome


def _matches_last_rebuild(session: CacheSession, remembered: EncodedState) -> CacheOutcome | None:
    """Return the outcome if the tree still matches the last rebuild, without decoding the manifest."""
    doubtful = session.settings.verify or private.is_directory(session.files.undo_path)
    if doubtful or remembered.key not in session.names.exact[:1] or not remembered.walk:
        return None
    roots, unmatched, _ = session.listed.expand(session.names.exclude)
    places, stuck = session.paths.look_at_links(roots, restoring=True)
    if stuck:
        return None
    found = session.paths.scan(roots, places, symlinks=session.settings.cache_symlinks)
    if (session.settings.exact and found.special) or sum(found.tree.sizes) > session.limits().total:
        return None  # the manifest tells the rest
    seen = still_there(session, remembered) if remembered.is_of(found) else None
    if seen is None or is_too_old(session, seen):
        return None
    if not session.settings.dry_run and _is_to_be_touched(session, seen):
        touch_manifest(session, seen)
    return _restore_outcome(session, seen, found.tree, missing=[*found.missing, *unmatched])


def _restored_old(session: CacheSession) -> CacheOutcome | None:
    _undo_earlier_restore(session)
    return restore_old(session)


def _missed_outcome(session: CacheSession, trouble: RequestError | ArchiveError | None) -> CacheOutcome:
    """Return a plain miss, unless a request was refused or a cache was damaged: then raise."""
    if isinstance(trouble, ArchiveError):
        raise trouble
    if trouble is not None:
        raise explain_denied(trouble)
    names = session.names
    words = f"no cache for {names.title}"
    return CacheOutcome(words=words, cache={"hit": False, "key": names.own, "name": names.title}, missed=True)


def _without_paths(session: CacheSession, hit: ManifestHit) -> CacheOutcome:
    """Return a miss: the cache exists and holds none of the listed paths."""
    words = f"{session.title(hit.key)} holds none of the listed paths"
    session.warn(f"{words}: it holds {', '.join(hit.manifest.roots) or 'nothing'}")
    return CacheOutcome(words=words, cache={"hit": False, "key": hit.key, "name": session.title(hit.key)}, missed=True)


def _left_alone(session: CacheSession, hit: ManifestHit) -> CacheOutcome:
    """Return a miss: every listed path of the cache is a link that is not followed."""
    title = session.title(hit.key)
    words = f"nothing of {title} is restored: all listed paths are links that are not followed"
    return CacheOutcome(words=words, cache={"hit": False, "key": hit.key, "name": title}, missed=True)


def _fallback_words(session: CacheSession, hit: SeenObject) -> str:
    return "" if hit.key in session.names.owns else " (a fallback)"


def _is_to_be_touched(session: CacheSession, hit: SeenObject) -> bool:
    """Return whether a clean-up by age may soon remove the cache, and this build may write there."""
    names, ttl = session.names, session.settings.ttl
    may = not names.refusal and (hit.key in names.owns or not names.untrusted)
    return may and bool(ttl) and session.bucket.clock.now().low - hit.modified > ttl / 4


def _plan_repairs(
    session: CacheSession, hit: ManifestHit, roots: tuple[str, ...], places: Places, state: LocalState | None
) -> _RestoreRun:  # fmt: skip
    own = [
        name for path in session.paths.own_directories() for name in (path, *places.known_as(os.path.realpath(path)))
    ]
    if any(tree_has_path(hit.manifest.tree, path) for path in own):
        raise ArchiveError(f"{session.title(hit.key)} holds files of s3batch itself")
    if session.settings.cross_os:
        _require_makeable(session, hit.manifest.tree, roots)
    for missing in session.listed.lacking(session.listed.common(hit.manifest.roots)):
        session.warn(f"{session.title(hit.key)} does not hold {missing}")
    found = session.paths.scan(roots, places)
    wrong = _find_wrong_rows(session, found, hit, roots, state)
    policy = session.settings.cache_symlinks
    plan = plan_restore(
        hit.manifest, roots, found, symlinks=policy, wrong=wrong, owners=session.paths.owners,
        exclude=session.names.exclude, exact=session.settings.exact,
    )  # fmt: skip
    for path in plan.left_alone:
        session.warn(f"{path} is not restored: exclude matches what is there")
    return _RestoreRun(hit, roots, found, plan)


def _require_makeable(session: CacheSession, tree: Tree, roots: tuple[str, ...]) -> None:
    """Raise where the names or links of another system's cache cannot be made here."""
    path = os.path.join(session.own, "probe")
    private.remove_tree(path)
    probe = private.open_directory(path, make=True)
    try:
        chosen = selected_rows(tree, roots)
        why = find_unmakeable(tree, (row for row, is_chosen in enumerate(chosen) if is_chosen), probe)
    finally:
        os.close(probe)
        private.remove_tree(path)
    if why:
        raise JobFailedError(
            f"{why}; nothing is restored", hint="remove cross_os, so that each system has its own caches"
        )


def _restore_targets(session: CacheSession, hit: ManifestHit, roots: tuple[str, ...]) -> tuple[tuple[str, ...], Places]:
    """Return where the restore may write, and where the followed links among it lead.

    A listed link that exists is never replaced by the cached entry.
    """
    places, stuck = session.paths.look_at_links(roots, restoring=True)
    tree = hit.manifest.tree
    rows = rows_at(tree, roots)
    linked = {root for root, row in rows.items() if tree.kinds[row] == SYMLINK}
    stuck = {root: why for root, why in stuck.items() if root in rows and root not in linked}
    for root, place in places.without(linked).moves.items():
        if root in rows and (tree.kinds[rows[root]] == DIR) != os.path.isdir(place):
            stuck[root] = f"{place} is of another type than the entry in the cache"
    for root, why in stuck.items():
        said = f"{root} is a symbolic link that is not followed, and is left alone"
        session.warn(f"{said}: {why}; {session.paths.link_hint}")
    for root in sorted(linked) if session.paths.follows_all else ():  # no cache decides where the next step writes
        target, place = tree.targets[rows[root]], os.path.join(session.workspace, root)
        is_there = os.path.islink(place) and os.readlink(place) == target
        if not is_there and not points_inside(split_path(root)[0], target, (".",)):
            stuck[root] = "it leads out"
            session.warn(f"{root} is not restored: in the cache it is a link that leads out of the workspace")
    places = places.without([*linked, *stuck])
    for root, place in places.moves.items():
        session.output.info(f"{root} is a symbolic link to {place}, which is restored")
    return tuple(root for root in roots if root not in stuck), places


def _rehearse_restore(
    session: CacheSession, hit: ManifestHit, roots: tuple[str, ...], places: Places, state: LocalState | None
) -> CacheOutcome:  # fmt: skip
    work = _plan_repairs(session, hit, roots, places, state)
    for path in work.plan.extra:
        session.tell(Operation(Kind.DELETE, path, Reason.ORPHAN))
    for operation in _fetch_operations(session, work.plan):
        session.tell(operation)
    return _restored_outcome(session, work, [])


def _restore_manifest(
    session: CacheSession, hit: ManifestHit, roots: tuple[str, ...], places: Places, state: LocalState | None
) -> CacheOutcome:  # fmt: skip
    manifest, workspace = hit.manifest, session.workspace
    # a restore takes over the entries that a killed one moved aside only if it has the same label
    label = f"{manifest.timed_tree_id()} {'exact ' if session.settings.exact else ''}{' '.join(roots)}"
    anchored, within = places.anchored(roots), session.paths.within()
    with closing(UndoLog(session.files.undo_path, workspace, anchored, label, within=within)) as undo:
        work = _plan_repairs(session, hit, roots, places, state)
        results: list[Result] = []
        if not work.plan.nothing_to_do():
            check_room(work.plan, workspace)
            write_restore(session.files.plan_path, work.plan, workspace)
            _warn_of_staying(session, work.plan, prepare_restore(work.plan, workspace, undo))
            results = _fetch_chunks(session, work.plan)
            session.warn_of_foreign(finish_restore(work.plan, workspace))
            _warn_of_unowned(session, work.plan, results)
        reach_failpoint("restored")
        undo.commit()
    _remember_restored(session, work, results)
    return _restored_outcome(session, work, results)


def _warn_of_staying(session: CacheSession, plan: RestorePlan, paths: list[str]) -> None:
    if paths:
        plan.extra = sorted(set(plan.extra) - set(paths))
        entries = format_plural(len(paths), "entry", "entries")
        session.warn(f"{entries} not in the cache cannot be removed, such as {paths[0]}")


def _remember_restored(session: CacheSession, work: _RestoreRun, results: list[Result]) -> None:
    unpacked = [unpack_chunk.UnpackedChunk.from_bytes(result.payload) for result in results]
    state = remember.restored_state(
        work.hit.stored, work.plan, work.found, unpacked, finished_stamps(work.plan, session.workspace),
        key=work.hit.key, etag=work.hit.etag, now_ns=time.time_ns(),
    )  # fmt: skip
    state.segments = work.hit.segments
    session.files.remember(state)


def _warn_of_unowned(session: CacheSession, plan: RestorePlan, results: list[Result]) -> None:
    count = plan.unowned + sum(unpack_chunk.UnpackedChunk.from_bytes(result.payload).unowned for result in results)
    if count:
        session.warn(
            f"cannot set the owner of {format_plural(count, 'restored entry', 'restored entries')}, so they belong to root"
        )


def _find_wrong_rows(
    session: CacheSession, found: ScannedTree, hit: ManifestHit, roots: tuple[str, ...], state: LocalState | None
) -> frozenset[int]:
    """Return rows of files that look right and whose content is not the cache's.

    A file is read unless the state remembers its stamp; with ``verify`` every file is.
    """
    check_all = session.settings.verify
    survey = verify.plan_verification(found, hit.manifest, None if check_all else state, all_sizes=check_all)
    items = pack_plan.hash_plan(survey)
    if items.recipes:
        pack_plan.write_items(session.files.plan_path, survey, items, session.workspace, roots)
        pack_plan.learn_hashes(
            survey, items, hash_all(session.files.plan_path, items.recipes, session.workers.processes)
        )
    return verify.wrong_rows(survey, hit.manifest)


def _fetch_operations(session: CacheSession, plan: RestorePlan) -> dict[Operation, int]:
    """Return the chunks to fetch, each with the number of files that begin with it."""
    chunks = plan.manifest.chunks
    return {
        Operation(
            Kind.CHUNK, chunk_key(session.base, chunks.id(recipe.chunk)), Reason.MISSING, session.files.plan_path,
            chunks.stored[recipe.chunk], spec=recipe,
        ): files
        for recipe, files in zip(plan.recipes, count_files(plan.items.rows, plan.recipes), strict=True)
    }  # fmt: skip


def _chunk_fetcher(session: CacheSession) -> partial[Coroutine[None, None, Result]]:
    """Return the function with which workers fetch a chunk."""
    return partial(fetch_chunk, local=session.local)


def _fetch_chunks(session: CacheSession, plan: RestorePlan) -> list[Result]:
    results = session.workers.carry_out(_chunk_fetcher(session), _fetch_operations(session, plan), "restoring")
    if session.journal.outcomes.count_failed(Stage.DELETE):
        if any(failure.code in _NOT_AS_NAMED for failure in session.journal.outcomes.read_failures()):
            session.files.distrust()
        raise session.workers.failure("a chunk cannot be fetched")
    return results


def _restored_outcome(session: CacheSession, work: _RestoreRun, results: list[Result]) -> CacheOutcome:
    missing = session.listed.lacking(work.roots)
    return _restore_outcome(session, work.hit, work.hit.manifest.tree, missing=missing, plan=work.plan, results=results)


def _restore_outcome(
    session: CacheSession, hit: SeenObject, tree: Tree, *, missing: list[str], plan: RestorePlan | None = None,
    results: Sequence[Result] = (),
) -> CacheOutcome:  # fmt: skip
    """Return the outcome of a restore of ``tree``; without a plan nothing had to be done."""
    names = session.names
    files, size = plan.held() if plan is not None else (files_of(tree), sum(tree.sizes))
    made = plan.files() + len(plan.links) if plan is not None else 0
    changed, removed = plan is not None and not plan.nothing_to_do(), len(plan.extra) if plan is not None else 0
    sent = sum(result.sent for result in results)
    session.journal.jobs.add_tally(files=files, bytes=size, unchanged=max(0, files - made))
    if plan is not None and session.settings.dry_run:
        how = f"would fetch {format_plural(len(plan.recipes), 'chunk')} for {format_plural(made, 'file')}"
    elif not changed:
        how = "all files were up to date"
    else:
        local = sum(result.already for result in results)
        fetched = f"{format_plural(len(results) - local, 'chunk')} ({format_size(sent)}) fetched"
        how = f"{fetched}{f', {local:,} taken from local_dir' if local else ''} for {format_plural(made, 'file')}"
    if removed:
        entries = format_plural(removed, "entry", "entries")
        how += f", {'would remove ' if session.settings.dry_run else ''}{entries} not in the cache"
        how += "" if session.settings.dry_run else " removed"
    verb = "dry run for" if session.settings.dry_run else "restored"
    return CacheOutcome(
        words=f"{verb} {session.title(hit.key)}{_fallback_words(session, hit)}: {format_amount(files, size)}: {how}",
        cache={
            "hit": True, "key": hit.key, "name": session.title(hit.key), "exact": hit.key in names.owns,
            "files": files, "bytes": size, "made": made, "chunks": len(results), "fetched": sent, "missing": missing,
            "removed": removed,
        },
        changed=changed,
    )  # fmt: skip
