"""How a build that publishes and a clean-up that deletes stay out of each other's way.

Before it deletes chunks, a clean-up writes down which (a record below ``v1/gc/``), then looks for manifests again, then
deletes what still nobody names, then marks the record as done. A build that has published looks at the records
since it began:

    its manifest came first    the clean-up saw it, and spares its chunks
    the record came first      the build sees the record, waits until it is done, and looks its chunks up

A build that misses a chunk then begins again without a base.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from s3batch.archive.keys import chunk_key
from s3batch.cache.layout import CLEANUPS
from s3batch.errors import EndpointError
from s3batch.s3.faults import CallError

if TYPE_CHECKING:
    from s3batch.archive.manifest import Manifest
    from s3batch.cache.session import Session
    from s3batch.s3.bucket import Bucket

DELETION = "d-"
"""What the names of records begin with."""
_CLOCKS_DIFFER = 300.0
"""Seconds that our clock and the store's may be apart."""
_WAIT = 120.0
"""Seconds to wait for a clean-up that is deleting; a dead one has deleted all it ever will."""
_LOOK_AGAIN = 0.25


class Record(msgspec.Struct, kw_only=True):
    """A clean-up's deletions: ids of chunks in hex."""

    done: bool
    ids: list[str]


def read_record(bucket: Bucket, key: str) -> Record | None:
    """The record, or ``None`` if it is gone or cannot be read: then anything may have been deleted."""
    answer = bucket.get(key)
    try:
        return None if answer is None else msgspec.json.decode(bytes(answer.body), type=Record)
    except msgspec.MsgspecError:
        return None


def write_record(bucket: Bucket, key: str, record: Record) -> None:
    """Store a record, replacing what it said before."""
    bucket.put(key, msgspec.json.encode(record), {"content-type": "application/json"})


def verify_after_publishing(session: Session, manifest: Manifest) -> bool:
    """Whether no clean-up since this run began took a chunk of ``manifest``. One request where there was none."""
    since = session.started - _CLOCKS_DIFFER
    try:
        records = [
            listed.key
            for page in session.bucket.list_objects(session.base + CLEANUPS + DELETION)
            for listed in page.objects
            if listed.modified >= since
        ]
        mine = {identity.hex() for identity in manifest.chunks.all_ids()} if records else set()
        return all(_unharmed(session, key, mine) for key in records)
    except (CallError, EndpointError) as error:
        session.output.detail(f"clean-ups cannot be looked at: {error}")
        return True


def _unharmed(session: Session, key: str, mine: set[str]) -> bool:
    until = time.monotonic() + _WAIT
    record = read_record(session.bucket, key)
    while record is not None and not record.done and mine & set(record.ids) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
        record = read_record(session.bucket, key)
    endangered = mine & set(record.ids) if record else mine
    return all(session.bucket.head(chunk_key(session.base, bytes.fromhex(each))) for each in sorted(endangered))
