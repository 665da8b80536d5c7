"""``s3batch cache rebuild``: store the listed paths for later builds. Chunks that the store has are not sent again.

    walk ─ what changed since the base ─ chunks (workers: read, hash, compress, store) ─ publish the manifest ─ state

The manifest is published last, as one object: a build that dies leaves only unused chunks.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3batch.archive import pack_chunk, pack_plan, remember, undo_log
from s3batch.archive.build_manifest import assemble_manifest
from s3batch.archive.change_detection import nothing_changed, survey_changes
from s3batch.archive.tree import files_of, rows_at
from s3batch.base.errors import ArchiveError, JobFailedError
from s3batch.base.units import format_count, format_plural, format_size
from s3batch.cache.completeness import keep_unread, require_all_mounted, warn_of_unread
from s3batch.cache.gc_build import protect_chunks
from s3batch.cache.hash_pool import hash_all
from s3batch.cache.lookup import (
    ManifestHit,
    SeenObject,
    head_of,
    is_denied,
    keys_lacking,
    look_up_key,
    seen_at,
    still_there,
    touch_manifest,
)
from s3batch.cache.lost_chunks import look_for_lost
from s3batch.cache.object_keys import parse_manifest_key
from s3batch.cache.publish import evict_older, mark_root, publish_manifest, put_under
from s3batch.cache.run import CacheOutcome
from s3batch.cache.s3cache_compat import rebuild_old
from s3batch.cache.segments import StoredSegments, store_segments
from s3batch.cache.storing import chunk_keep_age, chunk_storer, pack_operations, store_changed_again, store_chunks
from s3batch.model import Operation
from s3batch.reporting.text import format_amount
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from s3batch.archive.build_manifest import Assembled
    from s3batch.archive.change_detection import Survey
    from s3batch.archive.local_state import EncodedState, LocalState
    from s3batch.archive.manifest import Manifest
    from s3batch.archive.pack_plan import PackPlan
    from s3batch.archive.scan import ScannedTree
    from s3batch.cache.session import CacheSession
    from s3batch.model import Result

_TRIES = 3
"""Times a cache is published again after a clean-up has removed chunks of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheFacts:
    """The facts of the new cache for the end line."""

    files: int
    bytes: int
    chunks: int = 0
    """Chunks sent."""
    sent: int = 0
    """Bytes of them."""
    kept: int = 0
    """Chunks that the store had."""
    published: bool = False
    """True if a new manifest was published."""


def rebuild_cache(session: CacheSession) -> CacheOutcome:
    """Store new chunks, publish the manifest, save the state. After an exception the old cache is unchanged.

    Raises JournalLockedError while a restore writes to one of the paths.
    """
    session.files.path_lock.refuse_if_held()
    if not session.settings.override and not session.settings.compat and _all_keys_stay(session):
        return _kept_outcome(session)
    _require_whole_paths(session)
    if session.settings.compat:
        return rebuild_old(session, _scan_paths(session))
    remembered = session.files.remembered()
    if remembered is None:  # likely everything is new
        session.workers.start_early(chunk_storer(session))
    found = _scan_paths(session)
    if remembered is not None and (seen := _as_it_was(session, remembered, found)):
        return _keep_unchanged(session, found, seen)
    state = remembered.state() if remembered is not None else None
    if session.files.distrusted:
        return _rebuild_from(session, found, state, None)
    base = _find_base(session, state)
    if base is not None:
        look_for_lost(session, [*base.manifest.chunks.all_ids(), *base.segments])
    if base is None or base.key != session.names.own:
        return _rebuild_from(session, found, state, base)
    same = state is not None and base.etag == state.etag and nothing_changed(found, state)
    if same and not session.lost and not keys_lacking(session, base, base.stored):
        return _keep_unchanged(session, found, base)
    return _rebuild_from(session, found, state, base)


def _require_whole_paths(session: CacheSession) -> None:
    """Raise if a killed restore left the paths half written: part of them is in its undo log, or has no content yet."""
    if undo_log.has_unfinished_changes(session.files.undo_path, session.paths.within()):
        raise JobFailedError(
            "a restore of these paths was cut off, and they hold part of what they should; the cache stays as it was",
            hint="restore once more before the rebuild: that finishes it, or takes it back",
        )


def _as_it_was(session: CacheSession, remembered: EncodedState, found: ScannedTree) -> SeenObject | None:
    """Return the archive under the first key if nothing changed since this machine made it and it lies under all keys."""
    own = session.names.own
    untouched = not session.files.distrusted and not session.files.is_rejected(own) and remembered.key == own
    if not untouched or not remembered.is_of(found):
        return None
    seen = still_there(session, remembered)
    if seen is None or keys_lacking(session, seen, remembered.stored) or look_for_lost(session, remembered.ids()):
        return None
    return seen


def _keep_unchanged(session: CacheSession, found: ScannedTree, base: SeenObject) -> CacheOutcome:
    _keep_alive(session, base)
    return _rebuild_outcome(session, _CacheFacts(files=files_of(found.tree), bytes=sum(found.tree.sizes)))


def _all_keys_stay(session: CacheSession) -> bool:
    """Return whether each key has a cache that ``override: false`` keeps; a broken one is not kept.

    Usually it is enough that the object exists. It is read where a signature is verified, or where the last restore
    could not use it.
    """
    if session.files.distrusted:
        return False
    owns, doubtful = (
        session.names.owns,
        session.settings.cache_secret or any(map(session.files.is_rejected, session.names.owns)),
    )
    if not doubtful:
        return all(head_of(session.bucket, key) is not None for key in owns) and _is_ours_whole(session)
    try:
        stays = all(look_up_key(session, key, session.files.state()) is not None for key in owns)
    except RequestError as error:
        if not is_denied(error):
            raise
        return False
    except ArchiveError as error:
        session.warn(str(error))
        return False
    if stays:
        session.files.trust_again()
    return stays


def _is_ours_whole(session: CacheSession) -> bool:
    """Return False if the cache that this machine knows lies under a key, and the store lost a chunk of it."""
    remembered = session.files.remembered()
    if remembered is None or remembered.key not in session.names.owns or still_there(session, remembered) is None:
        return True
    if not look_for_lost(session, remembered.ids()):
        return True
    session.files.reject(remembered.key)
    return False


def _find_base(session: CacheSession, state: LocalState | None) -> ManifestHit | None:
    """Return the archive whose chunks may be used again: the key's own, else the restored one, else a fallback."""
    own = session.names.own
    # chunks are shared below one prefix only: a cache restored from another one has none here
    restored = [state.key] if state is not None and parse_manifest_key(session.base, state.key) else []
    for key in dict.fromkeys([own, *restored, *session.names.exact]):
        try:
            if not session.files.is_rejected(key) and (hit := look_up_key(session, key, state)):
                return hit
        except RequestError as error:
            if not is_denied(error):
                raise
            session.output.detail(f"cannot read the previous cache: {error}")
        except ArchiveError as error:
            session.warn(str(error))
    return None


def _scan_paths(session: CacheSession) -> ScannedTree:
    """Walk the paths to cache, with a warning for entries that are not cached."""
    roots, unmatched, problems = session.listed.expand(session.names.exclude)
    places, stuck = session.paths.look_at_links(roots, restoring=False)
    for root, why in stuck.items():
        raise JobFailedError(
            f"{root} is a symbolic link that is not followed: {why}; the cache stays as it was",
            hint=session.paths.link_hint,
        )
    for root, place in places.moves.items():
        session.output.info(f"{root} is a symbolic link to {place}, whose content is cached")
    found = session.paths.scan(roots, places, symlinks=session.settings.cache_symlinks)
    for pattern in unmatched:
        session.warn(f"{pattern} matches nothing: it is not cached")
    for root in sorted(set(found.excluded) & set(roots)):
        session.warn(f"{root} is not cached: exclude matches it")
    for root in found.missing:
        session.warn(f"{root} does not exist: it is not cached")
    found.problems[:0] = problems
    warn_of_unread(session, found.problems)
    require_all_mounted(session, found)
    if found.special:
        special = format_plural(len(found.special), "special file")
        session.warn(f"not cached: {special}, such as {found.special[0]}")
    if why := _why_nothing(found, roots):
        raise JobFailedError(f"{why}; the cache stays as it was")
    size, limit = sum(found.tree.sizes), session.limits().total
    if size > limit:
        raise JobFailedError(
            f"the paths to cache have {format_size(size)}, and a restore takes up to {format_size(limit)}",
            hint="raise max_size, in restore too, or cache less",
        )
    return found


def _why_nothing(found: ScannedTree, roots: tuple[str, ...]) -> str:
    """Return why there is nothing to cache; empty if there is something, or an empty workspace."""
    count = len(found.tree) - len(rows_at(found.tree, [problem.path for problem in found.problems]))
    if count or (roots == (".",) and not found.problems):
        return ""
    if found.problems:
        return "none of the paths to cache can be read"
    return (
        "none of the paths to cache exists"
        if found.missing or not found.excluded
        else "exclude matches all paths to cache"
    )


def _rebuild_from(
    session: CacheSession,
    found: ScannedTree,
    state: LocalState | None,
    base: ManifestHit | None,
    *,
    tries: int = _TRIES,
) -> CacheOutcome:
    settings, own = session.settings, session.names.own
    keep_unread(found.problems, base.manifest if base else None)
    looked = survey_changes(found, state=state, base=base.manifest if base else None, trust_mtime=settings.trust_mtime)
    looked.lost = session.lost or frozenset()
    _hash_files(session, looked)
    plan = pack_plan.plan_packing(looked)
    pack_plan.write_items(session.files.plan_path, looked, plan.items, session.workspace, found.roots)
    operations = pack_operations(session, plan)
    if settings.dry_run:
        return _rehearse_rebuild(session, found, operations)
    if operations:
        mark_root(session)
    results = store_chunks(session, operations)
    results += store_changed_again(session, plan, results)
    done = _assemble(session, found, base, plan, results)
    same = base is not None and base.key == own and base.manifest.timed_tree_id() == done.manifest.timed_tree_id()
    kept = base if same and not session.lost else None
    missing = keys_lacking(session, kept, kept.stored) if kept is not None else list(session.names.owns)
    named, segments = (
        (kept.manifest, StoredSegments((), kept.segments))
        if kept is not None
        else _store_new_segments(session, done, base)
    )
    with protect_chunks(session, named, segments) if missing else nullcontext(enter_result=True) as whole:
        published = whole and _publish_keys(session, done, segments, kept, missing)
    if not whole:
        return _stored_again(session, state, tries)
    if kept is not None:
        _keep_alive(session, kept)
    elif not published:
        return _kept_outcome(session)
    if published:
        evict_older(session)
    session.files.trust_again()
    undo_log.forget_record(session.files.undo_path)
    return _rebuild_outcome(session, _count_facts(done, results, published=published))


def _assemble(
    session: CacheSession, found: ScannedTree, base: ManifestHit | None, plan: PackPlan, results: list[Result]
) -> Assembled:  # fmt: skip
    """Return the new manifest. Raises JobFailedError if it would lack what the older cache holds."""
    for row in plan.survey.assumed:
        found.ctimes[row] = 0  # the state remembers no file that was not read
    packed = [pack_chunk.PackedChunk.from_bytes(result.payload) for result in results]
    done = assemble_manifest(plan, packed, found.roots)
    warn_of_unread(session, done.problems)
    keep_unread([each for each in done.problems if each.path not in done.gone], base.manifest if base else None)
    require_all_mounted(session, found)
    session.warn_of_lost(
        found.odd_times,
        setuid_bits=found.setuid, capabilities=done.capabilities, extended_attributes=done.attributes,
    )  # fmt: skip
    return done


def _stored_again(session: CacheSession, state: LocalState | None, tries: int) -> CacheOutcome:
    """Store every chunk again: a clean-up took some of them before the manifest could name them."""
    session.files.distrust()
    if tries == 1:
        raise JobFailedError(
            f"chunks of {session.names.title} were stored {_TRIES} times and deleted again each time",
            hint="find what deletes them: a lifecycle rule of the bucket, or a prune with a short grace",
        )
    return _rebuild_from(session, _scan_paths(session), state, None, tries=tries - 1)


def _store_new_segments(
    session: CacheSession, done: Assembled, base: ManifestHit | None
) -> tuple[Manifest, StoredSegments]:
    """Store the segments that the new manifest does not share with the base."""
    lost = session.lost or ()
    known = {each: body for each, body in base.segments.items() if each not in lost} if base is not None else {}
    return done.manifest, store_segments(session, done.manifest, known, chunk_keep_age(session))


def _publish_keys(
    session: CacheSession, done: Assembled, segments: StoredSegments, kept: ManifestHit | None, keys: list[str]
) -> bool:
    """Put the manifest under ``keys``; return True if it lies under one of them now.

    ``kept``: the first key has the same manifest already, and the others get a copy of it.
    """
    if kept is not None:
        etags = put_under(session, keys, kept.stored, kept.manifest)
        _save_rebuilt_state(session, done, kept.manifest, kept.stored, segments, key=kept.key, etag=kept.etag)
        return bool(etags)
    mark_root(session)
    stored, etags = publish_manifest(session, done.manifest, segments)
    if etags:
        key, etag = next(iter(etags.items()))
        _save_rebuilt_state(session, done, done.manifest, stored, segments, key=key, etag=etag)
    session.files.remove_plan()
    return bool(etags)


def _save_rebuilt_state(
    session: CacheSession,
    done: Assembled,
    manifest: Manifest,
    stored: bytes,
    segments: StoredSegments,
    *,
    key: str,
    etag: str,
) -> None:
    state = remember.rebuilt_state(stored, manifest, done.found, key=key, etag=etag)
    state.segments = dict(segments.bodies)
    session.files.remember(state)


def _keep_alive(session: CacheSession, base: SeenObject) -> None:
    """Record the use of a cache that needs no change, under each of its keys."""
    ttl = session.settings.ttl
    if ttl and session.bucket.clock.now().low - base.modified > ttl / 4 and not session.settings.dry_run:
        others = (seen_at(session.bucket, key) for key in session.names.owns if key != base.key)
        for seen in (base, *filter(None, others)):
            touch_manifest(session, seen)


def _hash_files(session: CacheSession, looked: Survey) -> None:
    """Hash the files that may turn out to be known."""
    items = pack_plan.hash_plan(looked)
    if not items.recipes:
        return
    pack_plan.write_items(session.files.plan_path, looked, items, session.workspace, looked.found.roots)
    results = hash_all(session.files.plan_path, items.recipes, session.workers.processes)
    pack_plan.learn_hashes(looked, items, results)


# --- the end line ---------------------------------------------------------------------------


def _count_facts(done: Assembled, results: list[Result], *, published: bool) -> _CacheFacts:
    sent = [result.sent for result in results if result.sent]
    manifest = done.manifest
    return _CacheFacts(
        files=files_of(manifest.tree), bytes=manifest.raw_size(), chunks=len(sent), sent=sum(sent),
        kept=len(manifest.chunks) - len(sent), published=published,
    )  # fmt: skip


def _rebuild_outcome(session: CacheSession, cached: _CacheFacts) -> CacheOutcome:
    if cached.chunks:
        rest = f", {format_count(cached.kept)} stored before" if cached.kept else ""
        how = f"{format_plural(cached.chunks, 'chunk')} ({format_size(cached.sent)}) sent{rest}"
    else:
        how = "only the list of files sent" if cached.published else "nothing changed, nothing sent"
    session.journal.jobs.add_tally(files=cached.files, bytes=cached.bytes)
    return CacheOutcome(
        words=f"cached {session.names.title}: {format_amount(cached.files, cached.bytes)}: {how}",
        cache={
            **_named_keys(session), "files": cached.files, "bytes": cached.bytes, "chunks": cached.chunks,
            "sent": cached.sent, "published": cached.published,
        },
        changed=cached.published,
    )  # fmt: skip


def _rehearse_rebuild(session: CacheSession, found: ScannedTree, operations: dict[Operation, int]) -> CacheOutcome:
    for operation in operations:
        session.tell(operation)
    files, size = files_of(found.tree), sum(found.tree.sizes)
    session.journal.jobs.add_tally(files=files, bytes=size)
    new = sum(operation.size for operation in operations)
    how = f"would send {format_plural(len(operations), 'chunk')} (of {format_size(new)}, before compression)"
    cache = {**_named_keys(session), "files": files, "bytes": size, "chunks": 0, "sent": 0, "published": False}
    return CacheOutcome(
        words=f"dry run for {session.names.title}: {format_amount(files, size)}: {how}", cache=cache, changed=bool(operations)
    )  # fmt: skip


def _kept_outcome(session: CacheSession) -> CacheOutcome:
    return CacheOutcome(
        words=f"the cache {session.names.title} is there already, and override is false: it stays",
        cache={**_named_keys(session), "files": 0, "bytes": 0, "chunks": 0, "sent": 0, "published": False},
    )


def _named_keys(session: CacheSession) -> dict[str, Any]:
    return {"key": session.names.own, "name": session.names.title, "keys": list(session.names.owns)}
