"""The local state after a restore or a rebuild: what the next rebuild may take for unchanged. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from s3batch.archive.manifest import Manifest
from s3batch.archive.restore import RestorePlan
from s3batch.archive.scan import Found
from s3batch.archive.state import RACY_NS, State
from s3batch.archive.tree import FILE
from s3batch.archive.unpack import Unpacked


def rebuilt_state(stored: bytes, manifest: Manifest, found: Found, *, key: str, etag: str) -> State:
    """``found`` is the walk of the assembled manifest, row by row the same."""
    facts = (found.ctimes, found.inodes, found.devices)
    return State(stored, manifest, key, etag, found.started_ns, *facts, found.fingerprint())


def restored_state(
    stored: bytes, plan: RestorePlan, found: Found, results: Iterable[Unpacked], *, key: str, etag: str, now_ns: int
) -> State:
    """``found`` is the walk the plan was made from, ``now_ns`` the time when the last file had been written."""
    state = State(stored, plan.manifest, key, etag, now_ns)
    believed = found.started_ns - RACY_NS
    made = set(plan.made_rows())
    for row, other in enumerate(plan.matched):
        if other >= 0 and row not in made and plan.manifest.tree.kinds[row] == FILE and found.ctimes[other] < believed:
            _set(state, row, found.ctimes[other], found.inodes[other], found.devices[other])
    for result in results:
        columns = (
            array("I", result.rows),
            array("q", result.ctimes),
            array("Q", result.inodes),
            array("Q", result.devices),
        )
        for row, ctime_ns, inode, device in zip(*columns, strict=True):
            _set(state, row, ctime_ns, inode, device)
    return state


def _set(state: State, row: int, ctime_ns: int, inode: int, device: int) -> None:
    state.ctimes[row], state.inodes[row], state.devices[row] = ctime_ns, inode, device
