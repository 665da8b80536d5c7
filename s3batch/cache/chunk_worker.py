"""The workers' part of the cache: hash files, store chunks, fetch chunks. Three coroutines, one recipe each.

The recipe is the operation's ``spec``. It names rows of a plan file, whose path is the operation's ``path``;
the outcome goes back in ``Result.payload``. Making a chunk keeps the CPU busy for about 50 ms, while this worker's
other requests wait. Handing it to a thread would cost more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from s3batch.archive.pack_chunk import build_chunk
from s3batch.archive.unpack_chunk import unpack_chunk
from s3batch.base.errors import ArchiveError
from s3batch.base.failpoints import reach_failpoint
from s3batch.cache.fetching import is_as_stored
from s3batch.cache.object_keys import chunk_key
from s3batch.model import ChunkSpec, Result, require_spec
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import send_checked
from s3batch.s3.faults import TOO_LARGE, RequestError, fault_of
from s3batch.s3.responses import date_of, etag_of, seconds_of, send_expecting_ok
from s3batch.worker.results import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.cache.local_chunks import LocalChunks
    from s3batch.model import Work
    from s3batch.s3.requests import Response
    from s3batch.worker.context import Tools


async def store_chunk(
    work: Work, tools: Tools, *, prefix: str, level: int, keep: float, headers: Mapping[str, str],
    local: LocalChunks | None = None,
) -> Result:  # fmt: skip
    """Make a chunk and store it, unless the store has it and it is younger than ``keep`` seconds.

    An older one is stored again, so that no clean-up takes it for forgotten.
    """
    operation = work.operation
    packed, body = build_chunk(operation.path, require_spec(operation, ChunkSpec), level=level)
    payload = packed.to_bytes()
    if not body:
        return Result(operation.id, payload=payload, already=True)
    if local is not None:
        local.put(packed.id.hex(), body)
    key = chunk_key(prefix, packed.id)
    held = await send_request(requests.head_object(key))
    if held.ok and age_of(held) < keep:
        return Result(operation.id, payload=payload, etag=etag_of(held), already=True)
    call = requests.put_object(key, body, {"content-type": "application/zstd", **headers})
    sent = await send_checked(call, tools.checks)
    answer = sent.answer
    if not answer.ok:
        raise RequestError(call.name, key, fault_of(answer))
    reach_failpoint("chunk-stored")
    return Result(
        operation.id, sent=len(body), payload=payload, etag=etag_of(answer), checksum=sent.checksum,
        date=date_of(answer), warning=sent.warning,
    )  # fmt: skip


def age_of(held: Response) -> float:
    """Return the seconds since an object was written, by the store's clock; infinity where it tells no time."""
    return (date_of(held) or math.inf) - seconds_of(held.headers.get("last-modified", ""))


async def fetch_chunk(work: Work, _: Tools, *, local: LocalChunks | None = None) -> Result:
    """Fetch a chunk, verify it, and write its files. A chunk kept in ``local`` is verified too, and not fetched."""
    operation = work.operation
    name = operation.key.rpartition("/")[2]
    if local is not None and (kept := local.get(name)) is not None:
        result = _unpack_body(work, kept)
        if result.code != DAMAGED:
            return result._replace(already=True)
        local.forget(name)
    try:
        answer = await send_expecting_ok(requests.get_object(operation.key, size=operation.size))
    except RequestError as error:
        if error.fault.code != TOO_LARGE:
            raise
        return Result(operation.id, error=str(error), code=DAMAGED, retryable=True)
    body = bytes(answer.body)
    result = _unpack_body(work, body)
    if result.code == DAMAGED:
        return result._replace(retryable=not is_as_stored(answer))
    if result.error:
        return result
    if local is not None:
        local.put(name, body)
    return result._replace(sent=len(body), etag=etag_of(answer))


def _unpack_body(work: Work, body: bytes) -> Result:
    """Prove a chunk and write its files."""
    operation = work.operation
    try:
        made = unpack_chunk(operation.path, require_spec(operation, ChunkSpec), body)
    except ArchiveError as error:
        return Result(operation.id, error=str(error), code=DAMAGED)
    except OSError as error:
        return Result(
            operation.id, error=f"cannot write {error.filename or 'a file'}: {error.strerror}", code="Unwritable"
        )
    reach_failpoint("unpacked")
    return Result(operation.id, payload=made.to_bytes())
