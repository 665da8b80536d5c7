"""``s3batch cache rebuild``: store the listed paths for the next builds; what the store has is not sent again.

    walk ─ what changed since the base ─ chunks (workers: read, hash, compress, store) ─ publish the manifest ─ state

The manifest is published last and at one go: a build that dies leaves chunks nobody names, and nothing else.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from s3batch import __version__
from s3batch.archive import pack, packplan, remember, undo
from s3batch.archive.assemble import assemble
from s3batch.archive.compat import write_s3cache
from s3batch.archive.scan import scan
from s3batch.archive.state import load_state, save_state
from s3batch.archive.stored import encode_manifest
from s3batch.archive.survey import nothing_changed, survey
from s3batch.archive.tree import files_of
from s3batch.cache.cleanups import verify_after_publishing
from s3batch.cache.find import Hit, look
from s3batch.cache.work import hash_files, store_chunk
from s3batch.crash_points import reach
from s3batch.errors import JobFailedError
from s3batch.model import Kind, Operation, Reason, Stage
from s3batch.s3 import calls
from s3batch.s3.faults import CallError, fault_of
from s3batch.worker import etag_of

if TYPE_CHECKING:
    from s3batch.archive.assemble import Assembled
    from s3batch.archive.manifest import Manifest
    from s3batch.archive.scan import Found
    from s3batch.archive.state import State
    from s3batch.archive.survey import Survey
    from s3batch.cache.resolve import Names
    from s3batch.cache.session import Session
    from s3batch.model import Result

KEEP_UNTOUCHED = 12 * 3600.0
"""Seconds; a chunk that is there and older is stored again: half the time a clean-up leaves young ones alone."""
_STORE_ALL = float("-inf")
"""No chunk is younger than this."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to."""

    key: str
    files: int
    bytes: int
    chunks: int = 0
    """Chunks sent."""
    sent: int = 0
    """Bytes of them."""
    published: bool = False
    """Whether there is a new manifest."""


def rebuild(session: Session, names: Names) -> Rebuilt:
    """Store what is new, publish, remember. Raises with the old cache as it was."""
    found = scan(session.workspace, session.roots)
    _tell_problems(session, found)
    if session.settings.compat:
        return _rebuild_old(session, names, found)
    state = load_state(session.state_path)
    if session.distrusted:
        return _rebuild(session, names, found, state, None)
    base = _base(session, names, state)
    own = base is not None and base.key == names.own
    if own and not session.settings.override:
        return Rebuilt(names.own, files_of(found.tree), sum(found.tree.sizes))
    if own and state is not None and base is not None and base.etag == state.etag and nothing_changed(found, state):
        return Rebuilt(names.own, files_of(found.tree), sum(found.tree.sizes))
    return _rebuild(session, names, found, state, base)


def _base(session: Session, names: Names, state: State | None) -> Hit | None:
    """The archive whose chunks may be used again: the key's own, else the one that was restored, else a fallback."""
    if hit := look(session, names.own, state):
        return hit
    for key in dict.fromkeys([*([state.key] if state is not None else []), *names.exact]):
        if key != names.own and (hit := look(session, key, state)):
            return hit
    return None


def _tell_problems(session: Session, found: Found) -> None:
    for root in found.missing:
        session.warn(f"{root} is not there: it is not cached")
    for problem in found.problems:
        session.warn(f"{problem.path} is not cached: {problem.error}")
    if found.special:
        session.warn(f"{len(found.special)} sockets, pipes or devices are not cached, such as {found.special[0]}")
    if not len(found.tree):
        raise JobFailedError("none of the paths to cache is there; the cache stays as it was")


def _rebuild(session: Session, names: Names, found: Found, state: State | None, base: Hit | None) -> Rebuilt:
    looked = survey(found, state=state, base=base.manifest if base else None, trust_mtime=session.settings.trust_mtime)
    _hash(session, looked)
    results, done = _pack(session, looked)
    manifest = done.manifest
    for problem in done.problems:
        session.warn(f"{problem.path} is not cached: {problem.error}")
    sent = [result for result in results if result.sent]
    session.tally(manifest)
    same = base is not None and base.key == names.own and base.manifest.timed_tree_id() == manifest.timed_tree_id()
    if same and base is not None:
        stored, etag, manifest = base.stored, base.etag, base.manifest
    else:
        stored, etag = _publish(session, names, manifest)
    if not session.settings.dry_run:
        save_state(
            session.state_path, remember.rebuilt_state(stored, manifest, done.found, key=names.own, etag=etag)
        )  # fmt: skip
        session.remove_plan()
    if not same and not verify_after_publishing(session, manifest):
        session.distrust()
        return _rebuild(session, names, scan(session.workspace, session.roots), state, None)
    if not session.settings.dry_run:
        session.trust_again()
        undo.forget(session.undo_path)
    return Rebuilt(
        names.own,
        files_of(manifest.tree),
        manifest.raw_size(),
        len(sent),
        sum(result.sent for result in sent),
        not same,
    )


def _hash(session: Session, looked: Survey) -> None:
    """Hash the files that may turn out to be known, in the workers."""
    items = packplan.hash_plan(looked)
    if not items.recipes:
        return
    packplan.write_items(session.plan_path, looked, items, session.workspace, session.roots)
    if len(items.recipes) == 1:  # not worth a process
        results = [pack.hash_items(session.plan_path, items.recipes[0])]
        pack.close_plans()
    else:
        answers = session.compute(hash_files, [recipe.text() for recipe in items.recipes])
        results = [pack.Packed.from_bytes(answer.payload) for answer in answers]
    packplan.learn_hashes(looked, items, results)


def _pack(session: Session, looked: Survey) -> tuple[list[Result], Assembled]:
    """Make and store the new chunks; the manifest that names them and those of the base."""
    plan = packplan.plan_packing(looked)
    packplan.write_items(session.plan_path, looked, plan.items, session.workspace, session.roots)
    operations = [
        Operation(
            Kind.CHUNK, f"chunk {recipe.chunk}", Reason.MISSING, session.plan_path,
            sum(plan.items.lengths[recipe.first : recipe.last]), detail=recipe.text(),
        )
        for recipe in plan.recipes
    ]  # fmt: skip
    function = partial(
        store_chunk, prefix=session.base, level=session.settings.compression_level,
        keep=_STORE_ALL if session.distrusted else KEEP_UNTOUCHED, headers=session.encryption_headers(),
    )  # fmt: skip
    results = session.carry_out(function, operations, "storing") if operations else []
    if session.journal.failed_count(Stage.DELETE):
        failure = next(session.journal.failures(1))
        raise JobFailedError(f"a chunk cannot be stored: {failure.error}; the cache stays as it was")
    packed = [pack.Packed.from_bytes(result.payload) for result in results]
    return results, assemble(plan, packed, session.roots)


def _publish(session: Session, names: Names, manifest: Manifest) -> tuple[bytes, str]:
    """Put the manifest under the key; what was there is replaced at one go, or kept if ``override`` is false."""
    manifest.created, manifest.tool = time.time(), f"s3batch {__version__}"
    manifest.system = f"{os.uname().sysname}-{os.uname().machine}"
    stored = encode_manifest(manifest, level=session.settings.compression_level)
    headers = session.manifest_headers(names.own, stored, manifest)
    if session.settings.dry_run:
        return stored, ""
    if not session.settings.override and not session.distrusted:
        headers["if-none-match"] = "*"
    reach("manifest-publishing")
    call = calls.put_object(names.own, stored, {"content-md5": calls.md5_header(stored), **headers})
    answer = session.bucket.ask(call)
    if answer.status == 412:
        session.output.info(f"the cache {names.own} is there already, and override is false")
    elif not answer.ok:
        raise CallError(call.name, names.own, fault_of(answer))
    reach("manifest-published")
    return stored, etag_of(answer)


def _rebuild_old(session: Session, names: Names, found: Found) -> Rebuilt:
    """``compat: s3cache``: one tar.gz of all paths where drone-s3cache looks for it."""
    key = names.legacy[0].key
    with tempfile.TemporaryFile(dir=session.own) as file:
        problems = write_s3cache(file, found, session.workspace, session.roots)
        file.seek(0)
        body = file.read()
    for problem in problems:
        session.warn(f"{problem.path} is not cached: {problem.error}")
    if not session.settings.dry_run:
        session.bucket.put(key, body, {"content-type": "application/gzip", **session.encryption_headers()})
    return Rebuilt(key, files_of(found.tree), sum(found.tree.sizes), 1, len(body), published=True)
