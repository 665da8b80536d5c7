"""The steps of a large download: its ranges are parts in the journal, as those of a multipart upload are.

BEGIN    make the unfinished file, whose name is the upload id
SURVEY   look what a dead run left: the parts that the journal has are believed while the file is there
PART     GET of a range, pinned to the listed ETag; it counts once its bytes are on disk
FINISH   prove the content by the checksums of its ranges, or read it back; then give the file its place
ABORT    remove the unfinished file
"""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import TYPE_CHECKING

from s3batch.files.beneath import write_all
from s3batch.model import Result, State, Step, stamp_of
from s3batch.objects.content_match import ContentEvidence, is_same_content
from s3batch.objects.fetched_proof import ContentProof, WrongContentError, prove_parts
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checksums import RunningChecksum
from s3batch.s3.clock import seconds_of
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.responses import etag_of, send_expecting_ok
from s3batch.worker.landing import landing_of, read_blocks, set_time
from s3batch.worker.object_requests import pin_request, refused_object, require_same_object
from s3batch.worker.results import UNSURVEYED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3batch.model import Operation, Work
    from s3batch.s3.requests import Body, Response
    from s3batch.worker.context import Tools
    from s3batch.worker.landing import Landing

_PIECE = 4 * 1024 * 1024
"""Bytes of an object that are read back at once."""
_IN_CACHE = 512 * 1024
"""Bytes that stay in the processor's cache from their checksum to their write: both together cost a tenth less CPU."""


async def create_unfinished(work: Work, tools: Tools) -> Result:
    """Make the unfinished file in its full size."""
    operation, landing = work.operation, landing_of(tools)
    name = f"{operation.id}-{secrets.token_hex(8)}"
    descriptor = landing.tree.create(name)
    try:
        os.ftruncate(descriptor, operation.size)
    finally:
        os.close(descriptor)
    await landing.reach_disk()
    return Result(operation.id, work.step, upload_id=name)


async def survey_fetch(work: Work, tools: Tools) -> Result:
    """Return the parts that are believed: those the journal has as done, in an unfinished file of the right size."""
    operation, landing = work.operation, landing_of(tools)
    if _has_unfinished(landing, operation):
        held = tuple(part for part in work.parts if part.state is State.DONE)
        return Result(operation.id, work.step, parts=held, upload_id=operation.upload_id)
    if (finished := await _find_finished(work, landing, tools)) is not None:
        return finished
    said = "the unfinished file of the run before is gone"
    return Result(operation.id, work.step, error=said, code=UNSURVEYED)


def _has_unfinished(landing: Landing, operation: Operation) -> bool:
    try:
        descriptor = landing.tree.open_unfinished(operation.upload_id)
    except OSError:
        return False
    try:
        return os.fstat(descriptor).st_size == operation.size
    finally:
        os.close(descriptor)


async def _find_finished(work: Work, landing: Landing, tools: Tools) -> Result | None:
    """Return the result for a file that a dead run gave its place, and could not say so."""
    operation = work.operation
    try:
        found = landing.tree.find(operation.path)
        if found is None or found.st_size != operation.size:
            return None
        descriptor = landing.tree.open_file(operation.path)
    except OSError:
        return None
    try:
        response = await send_request(pin_request(requests.head_object(operation.key), operation.etag))
        if not response.ok:
            return None
        evidence, blocks = ContentEvidence.from_head(response.headers), partial(read_blocks, descriptor)
        compare = partial(is_same_content, blocks, operation.size, evidence, tools.brief.part_size)
        if not await run_in_thread(compare):
            return None
        set_time(descriptor, response.headers)
        return equal_result(operation, descriptor, response)._replace(step=work.step, fingerprint=ContentProof.CHECKSUM)
    finally:
        os.close(descriptor)


def equal_result(operation: Operation, descriptor: int, response: Response) -> Result:
    """Return the result for an open file that was found equal to its object."""
    return Result(
        operation.id, etag=etag_of(response), already=True, stamp=stamp_of(os.fstat(descriptor)),
        date=seconds_of(response.headers.get("last-modified", "")),
    )  # fmt: skip


async def fetch_part(work: Work, tools: Tools) -> Result:
    """Fetch one range and write it into the unfinished file."""
    operation, part = work.operation, work.parts[0]
    last = part.offset + part.size - 1
    request = pin_request(requests.get_object(operation.key, part.offset, last), operation.etag)
    with tools.buffers.lend(part.size) as memory:
        response = await send_request(request._replace(into=memory))
        if not response.ok:
            return refused_object(work, response, request)
        require_same_object(response, operation)
        _require_range(response, operation, part.offset, part.size)
        try:
            descriptor = landing_of(tools).tree.open_unfinished(operation.upload_id)
        except FileNotFoundError:
            said = "the unfinished file is gone"
            return Result(operation.id, work.step, part.number, error=said, code="NoSuchUpload")
        checksum = await run_in_thread(partial(_write_durably, descriptor, response.body, part.offset))
    return Result(operation.id, work.step, part.number, sent=part.size, etag=operation.etag, checksum=checksum)


def _require_range(response: Response, operation: Operation, offset: int, size: int) -> None:
    """Raise WrongContentError unless the answer is the range that was asked for."""
    said = response.headers.get("content-range", "")  # rclone sends it with a 200
    if said and said != f"bytes {offset}-{offset + size - 1}/{operation.size}":
        raise WrongContentError(f"the range that came is {said[:80]!r}")
    if response.status == 200 and not said and size != operation.size:
        raise WrongContentError("the whole object came in the place of a range")
    if len(response.body) != size:
        raise WrongContentError(f"{len(response.body)} bytes came of {size}")


def _write_durably(descriptor: int, body: Body, offset: int) -> str:
    """Write a part, wait until it is on disk, and close the file. Return the CRC64NVME of what came."""
    view, checksum = memoryview(body), RunningChecksum("crc64nvme")
    try:
        for start in range(0, len(view), _IN_CACHE):
            piece = view[start : start + _IN_CACHE]
            checksum.update(piece)
            write_all(descriptor, piece, offset + start)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return checksum.base64()


async def finish_fetch(work: Work, tools: Tools) -> Result:
    """Prove the content of the unfinished file, and give it its place."""
    operation, landing = work.operation, landing_of(tools)
    request = pin_request(requests.head_object(operation.key), operation.etag)
    response = await send_request(request)
    if not response.ok:
        return refused_object(work, response, request)
    require_same_object(response, operation)
    try:
        descriptor = landing.tree.open_unfinished(operation.upload_id)
    except FileNotFoundError:
        return Result(operation.id, work.step, error="the unfinished file is gone", code="NoSuchUpload")
    try:
        blocks = partial(read_blocks, descriptor)
        prove = partial(prove_parts, work.parts, blocks, operation.size, response.headers, tools.brief.part_size)
        try:
            proof = await run_in_thread(prove)
        except WrongContentError as error:  # which part is wrong is not known: all come again
            return Result(operation.id, work.step, error=f"GetObject: {error}", code="InvalidPart")
        landing.finish(descriptor, operation, response.headers)
    finally:
        os.close(descriptor)
    stamp = await landing.move_in(operation.upload_id, operation.path)
    return Result(
        operation.id, work.step, etag=etag_of(response), fingerprint=proof, stamp=stamp,
        date=seconds_of(response.headers.get("last-modified", "")),
    )  # fmt: skip


async def abort_fetch(work: Work, tools: Tools) -> Result:
    """Remove the unfinished file."""
    landing_of(tools).tree.discard(work.operation.upload_id)
    return Result(work.operation.id, work.step)


async def is_same_when_read(operation: Operation, descriptor: int) -> bool:
    """Return whether an open file holds the bytes of its object, which is read for that."""
    for offset in range(0, operation.size, _PIECE):
        length = min(_PIECE, operation.size - offset)
        response = await send_expecting_ok(requests.get_object(operation.key, offset, offset + length - 1))
        if response.body != os.pread(descriptor, length, offset):
            return False
    return True


STEPS: dict[Step, Callable[[Work, Tools], Awaitable[Result]]] = {
    Step.BEGIN: create_unfinished,
    Step.SURVEY: survey_fetch,
    Step.PART: fetch_part,
    Step.FINISH: finish_fetch,
    Step.ABORT: abort_fetch,
}
