"""The local state after a restore or a rebuild: the stamps of files that were written or hashed, and no others. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from s3batch.archive.local_state import LocalState, is_settled
from s3batch.archive.manifest import Manifest
from s3batch.archive.restore_plan import RestorePlan
from s3batch.archive.scan import ScannedTree, fingerprint_tree
from s3batch.archive.tree import FILE
from s3batch.archive.unpack_chunk import UnpackedChunk
from s3batch.model import Stamp

_UNSIGNED = 1 << 64


def rebuilt_state(stored: bytes, manifest: Manifest, found: ScannedTree, *, key: str, etag: str) -> LocalState:
    """Return the state after a rebuild. ``found`` is the walk of the assembled manifest, row by row the same."""
    facts = (found.ctimes, found.inodes, found.devices)
    return LocalState(stored, manifest, key, etag, found.started_ns, *facts, found.fingerprint())


def restored_state(
    stored: bytes,
    plan: RestorePlan,
    found: ScannedTree,
    results: Iterable[UnpackedChunk],
    finished: Iterable[tuple[int, Stamp]],
    *,
    key: str,
    etag: str,
    now_ns: int,
) -> LocalState:
    """Return the state after a restore whose last file was written at ``now_ns``.

    It holds the walk at the end of the restore, if there are no other entries. A step that finds the same walk need not
    decode the state. ``found`` is the walk the plan was made from: what it leaves alone was hashed, or remembered
    before. ``finished`` are rows whose stamps are later than those in ``results``.
    """
    state = LocalState(stored, plan.manifest, key, etag, now_ns)
    made = set(plan.made_rows())
    for row, other in enumerate(plan.matched):
        if other < 0 or row in made or plan.manifest.tree.kinds[row] != FILE:
            continue
        if is_settled(found.ctimes[other], found.started_ns):
            _set_stamp(state, row, found.ctimes[other], found.inodes[other], found.devices[other])
    for result in results:
        columns = (
            array("I", result.rows),
            array("q", result.ctimes),
            array("Q", result.inodes),
            array("Q", result.devices),
        )
        ctimes, inodes, devices = state.ctimes, state.inodes, state.devices
        for row, ctime_ns, inode, device in zip(*columns, strict=True):
            ctimes[row], inodes[row], devices[row] = ctime_ns, inode, device
    for row, stamp in finished:
        inode = stamp.inode % _UNSIGNED  # as a column has it
        if row in made or (state.ctimes[row] and state.inodes[row] == inode):
            _set_stamp(state, row, stamp.ctime_ns, inode, stamp.device)
    state.walk = fingerprint_tree(plan.manifest.tree, state.ctimes, state.inodes, state.devices)
    return state


def _set_stamp(state: LocalState, row: int, ctime_ns: int, inode: int, device: int) -> None:
    state.ctimes[row], state.inodes[row], state.devices[row] = ctime_ns, inode, device
