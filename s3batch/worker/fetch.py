"""Fetches objects into files: a small one with one GET, and compares a file with its object.

    GET, pinned to the listed ETag ─> size ─> proof of the content ─> the file's place (landing.py)

An object that changed is planned again by the coordinator, so a file is never half of one and half of another. Large
objects go in ranges: :mod:`s3batch.worker.fetch_parts`.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from s3batch.failpoints import reach_failpoint
from s3batch.files.tree import write_all
from s3batch.model import WHOLE, Kind, Reason, Result, has_stamp, stamp_of
from s3batch.objects.body_proof import ContentProof, WrongContentError, prove_bytes
from s3batch.objects.content_match import ContentEvidence, is_same_content
from s3batch.s3 import requests
from s3batch.s3.clock import seconds_of
from s3batch.s3.errors import TOO_LARGE, RequestError
from s3batch.s3.event_loop import run_in_thread
from s3batch.s3.responses import etag_of
from s3batch.s3.transport import send_request
from s3batch.source.reader import BLOCK
from s3batch.worker import fetch_parts
from s3batch.worker.landing import failed_write, landing_of, read_blocks, set_time, wanted_time
from s3batch.worker.local_delete import delete_local
from s3batch.worker.object_requests import (
    ObjectChangedError,
    changed_result,
    pin_request,
    refused_object,
    require_same_object,
    wrong_result,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.model import Operation, Work
    from s3batch.s3.requests import Body, Response
    from s3batch.worker.context import Tools
    from s3batch.worker.landing import Landing


async def fetch_object(work: Work, tools: Tools) -> Result:
    """Carry out a download, or a step of one."""
    try:
        if work.step is not WHOLE:
            return await fetch_parts.STEPS[work.step](work, tools)
        return await _fetch_whole(work, tools)
    except OSError as error:
        landing_of(tools).tree.close()
        return failed_write(work, error)
    except WrongContentError as error:
        return wrong_result(work, error)
    except ObjectChangedError:
        return changed_result(work)
    except RequestError as error:
        if error.fault.code == TOO_LARGE:
            return changed_result(work)
        raise


async def _fetch_whole(work: Work, tools: Tools) -> Result:
    operation, landing = work.operation, landing_of(tools)
    call = pin_request(requests.get_object(operation.key, size=operation.size), operation.etag)
    answer = await send_request(call)
    if not answer.ok:
        return refused_object(work, answer, call)
    require_same_object(answer, operation)
    if len(answer.body) != operation.size:
        raise WrongContentError(f"{len(answer.body)} bytes came of {operation.size}")
    name = f"{operation.id}.{os.getpid()}"
    descriptor = _create_anew(landing, name)
    try:
        try:
            proof = await _fill(descriptor, answer, operation, tools)
            landing.finish(descriptor, operation.path, answer.headers)
        finally:
            os.close(descriptor)
        reach_failpoint("fetched")
        await landing.reach_disk()
        stamp = landing.move_in(name, operation.path)
    except BaseException:
        landing.tree.discard(name)
        raise
    reach_failpoint("landed")
    await landing.reach_disk()
    return Result(
        operation.id, sent=operation.size, etag=etag_of(answer), fingerprint=proof, stamp=stamp,
        date=seconds_of(answer.headers.get("last-modified", "")),
        request_id=answer.headers.get("x-amz-request-id", ""),
    )  # fmt: skip


def _create_anew(landing: Landing, name: str) -> int:
    try:
        return landing.tree.create(name)
    except FileExistsError:
        landing.tree.discard(name)
        return landing.tree.create(name)


async def _fill(descriptor: int, answer: Response, operation: Operation, tools: Tools) -> ContentProof:
    """Write the body into the file once its content is proved. A body of more than a block is handled on a thread."""
    fill = partial(_prove_and_write, descriptor, answer.body, answer.headers, tools.brief.part_size)
    if operation.size <= BLOCK:
        return fill()
    proof: ContentProof = await run_in_thread(fill)
    return proof


def _prove_and_write(descriptor: int, body: Body, headers: Mapping[str, str], part_size: int) -> ContentProof:
    proof = prove_bytes(lambda: [body], len(body), headers, part_size)  # type: ignore[list-item]  # a buffer does
    write_all(descriptor, body)
    return proof


# --- comparing -------------------------------------------------------------------------------


async def compare_file(work: Work, tools: Tools) -> Result:
    """Compare a local file with its object by size and digests; it becomes a download if they do not prove it equal."""
    operation, landing = work.operation, landing_of(tools)
    try:
        found = landing.tree.find(operation.path)
        if found is None or found.st_size != operation.size:
            reason = Reason.MISSING if found is None else Reason.CONTENT
            return Result(operation.id, become=Kind.DOWNLOAD, reason=reason)
        call = pin_request(requests.head_object(operation.key), operation.etag)
        answer = await send_request(call)
        if not answer.ok:
            return refused_object(work, answer, call)
        require_same_object(answer, operation)
        descriptor = landing.tree.open_file(operation.path)
        try:
            return await _compare_opened(operation, descriptor, answer, tools)
        finally:
            os.close(descriptor)
    except OSError:  # a link, a directory, a file that may not be read: it is replaced, or the download names it
        return Result(operation.id, become=Kind.DOWNLOAD, reason=Reason.CONTENT)
    except ObjectChangedError:
        return changed_result(work)


async def _compare_opened(operation: Operation, descriptor: int, answer: Response, tools: Tools) -> Result:
    evidence, before = ContentEvidence.from_head(answer.headers), os.fstat(descriptor)
    compare = partial(
        is_same_content, partial(read_blocks, descriptor), operation.size, evidence, tools.brief.part_size
    )
    same = compare() if operation.size <= BLOCK else await run_in_thread(compare)
    if same is None and tools.brief.reads_back:
        same = await fetch_parts.is_same_when_read(operation, descriptor)
    if not same or not has_stamp(os.fstat(descriptor), stamp_of(before)):
        return Result(operation.id, become=Kind.DOWNLOAD, reason=Reason.CONTENT)
    if not tools.brief.dry_run and wanted_time(answer.headers) != before.st_mtime_ns:
        set_time(descriptor, answer.headers)
    return fetch_parts.equal_result(operation, descriptor, answer)


EXTENSIONS = ((Kind.DOWNLOAD, fetch_object), (Kind.RECONCILE, compare_file), (Kind.DELETE, delete_local))
"""For :attr:`s3batch.worker.context.Brief.extensions`."""
