"""The segments of manifests in the store: sent before the manifest that names them, fetched after it. Both in parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.archive import zstd
from s3batch.archive.manifest_codec import longest_body, make_segments, prove_segment
from s3batch.archive.segments import Segment
from s3batch.base.errors import ArchiveError, EndpointError
from s3batch.base.named_tuple import NamedTuple
from s3batch.cache.chunk_worker import age_of
from s3batch.cache.fetching import fetch_readable
from s3batch.cache.object_keys import chunk_key
from s3batch.s3 import requests
from s3batch.s3.faults import TOO_LARGE
from s3batch.s3.gather import gather_results
from s3batch.s3.responses import raise_for_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3batch.archive.manifest import Manifest
    from s3batch.cache.local_chunks import LocalChunks
    from s3batch.cache.session import CacheSession
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Response

Bodies = dict[bytes, bytes]
"""Segments as stored, by id."""


class StoredSegments(NamedTuple):
    """The segments of one manifest; none where it is stored in one piece."""

    segments: tuple[Segment, ...]
    bodies: Bodies


def store_segments(
    session: CacheSession, manifest: Manifest, known: Mapping[bytes, bytes], keep: float
) -> StoredSegments:
    """Store what ``known``, the segments of the base, lacks, unless the store has it and it is younger than ``keep`` seconds.

    Returns all of them.
    """
    bodies: Bodies = {}
    segments, new = [], []
    for identity, raw in make_segments(manifest):
        if identity not in known and identity not in bodies:
            new.append(identity)
        if identity not in bodies:
            bodies[identity] = known.get(identity) or zstd.compress_frame(raw, level=session.settings.compression_level)
        segments.append(Segment(identity, len(raw), len(bodies[identity])))
    headers = {"content-type": "application/zstd", **session.encryption_headers()}
    session.bucket.run(
        gather_results(
            put_unless_held(session.bucket, chunk_key(session.base, each), bodies[each], headers, keep) for each in new
        )
    )
    if session.local is not None:
        for identity in new:
            session.local.put(identity.hex(), bodies[identity])
    return StoredSegments(tuple(segments), bodies)


def fetch_segments(bucket: Bucket, base: str, segments: Sequence[Segment], local: LocalChunks | None = None) -> Bodies:
    """Return the bodies of ``segments``. Raises ArchiveError if one is gone or too large."""
    wanted = {segment.id: segment for segment in segments}
    kept = {} if local is None else {each.id: _kept_segment(local, each) for each in wanted.values()}
    lacking = [each for each in wanted.values() if kept.get(each.id) is None]
    fetched = bucket.run(gather_results(_get_segment(bucket, chunk_key(base, each.id), each) for each in lacking))
    found = dict(zip((each.id for each in lacking), fetched, strict=True))
    if local is not None:
        for identity, body in found.items():
            local.put(identity.hex(), body)
    return {identity: found.get(identity) or kept[identity] or b"" for identity in wanted}


def _kept_segment(local: LocalChunks, segment: Segment) -> bytes | None:
    """Return a segment that the local directory keeps and that is the right one."""
    body = local.get(segment.id.hex())
    if body is None:
        return None
    try:
        prove_segment(segment, body)
    except ArchiveError:
        local.forget(segment.id.hex())
        return None
    return body


async def put_unless_held(bucket: Bucket, key: str, body: bytes, headers: Mapping[str, str], keep: float) -> bool:
    """Store a segment or a chunk, unless the store has it and it is younger than ``keep`` seconds; return True if sent."""
    held = await bucket.send(requests.head_object(key))
    if held.ok and age_of(held) < keep:
        return False
    call = requests.put_object(key, body, {"content-md5": requests.md5_header(body), **headers})
    raise_for_status(await bucket.send(call), call)
    return True


async def _get_segment(bucket: Bucket, key: str, segment: Segment) -> bytes:
    call = requests.get_object(key, size=longest_body(segment))

    def read(answer: Response) -> bytes:
        if answer.status == 404:
            raise ArchiveError(f"the segment {key} of its file list is missing")
        body = bytes(raise_for_status(answer, call).body)
        prove_segment(segment, body)
        return body

    try:
        return await fetch_readable(bucket, lambda: bucket.send(call), read)
    except EndpointError as error:
        if error.code != TOO_LARGE:
            raise
        raise ArchiveError(f"the segment {key} of its file list is over the size limit") from error
