"""Fetches objects into files: a small one with one GET, and compares a file with its object.

    GET, pinned to the listed ETag ─> size ─> proof of the content ─> the file's place (landing.py)

An object that changed is planned again by the coordinator, so a file is never half of one and half of another. Large
objects go in ranges: :mod:`s3batch.worker.fetch_parts`.
"""

from __future__ import annotations

import os
import time
import types
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.failpoints import reach_failpoint
from s3batch.files.beneath import write_all
from s3batch.model import DOWNLOAD, WHOLE, Kind, Reason, Result, add_stamp, good_result, has_stamp, stamp_of
from s3batch.objects.content_match import ContentEvidence, is_same_content
from s3batch.objects.fetched_proof import ContentProof, WrongContentError, prove_body
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.checked_upload import FirstAttempt
from s3batch.s3.clock import seconds_of
from s3batch.s3.event_loop import Wait, run_in_thread
from s3batch.s3.faults import TOO_LARGE, RequestError
from s3batch.s3.responses import etag_of
from s3batch.source.reader import BLOCK
from s3batch.worker import fetch_parts
from s3batch.worker.landing import failed_write, landing_of, read_blocks
from s3batch.worker.local_delete import delete_local
from s3batch.worker.object_requests import (
    ObjectChangedError,
    changed_result,
    make_get_request,
    pin_request,
    refused_object,
    require_same_object,
    wrong_result,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping

    from s3batch.model import Operation, Stamp, Work
    from s3batch.s3.requests import Request, Response
    from s3batch.worker.context import Tools

    General = Callable[[Work, Tools, "FirstAttempt | None"], Coroutine[Any, Any, list[Result]]]


def is_plain_fetch(work: Work) -> bool:
    """Return whether a work may go the short way: a whole object that is handled on the loop."""
    return work.operation.kind is DOWNLOAD and work.step is WHOLE and work.operation.size <= BLOCK


@types.coroutine
def fetch_plain(
    work: Work, tools: Tools, general: General, sent: tuple[Request, float] | None = None
) -> Generator[Any, Any, list[Result]]:
    """Fetch a small object and return its result; have ``general`` go on where there is more to it than that.

    ``sent``: its request, which is yielded although it was sent already, and when that was.
    """
    request, began = sent if sent is not None else (make_get_request(work.operation), time.monotonic())
    operation, landing = work.operation, landing_of(tools)
    etag = operation.etag
    outcome: Response | RequestError
    try:
        outcome = response = yield request
        if response.status == 200 and etag and response.headers.get("etag") == f'"{etag}"' and not tools.news:
            name, proof = store_body(response, operation, tools)
            stamp: Stamp = yield Wait(partial(landing.begin_move, name, operation.path))
            return [make_fetched_result(operation, response.headers, proof, stamp, time.monotonic() - began)]
    except RequestError as error:
        outcome = error
    except OSError as error:
        landing.tree.close()
        return [failed_write(work, error)]
    except WrongContentError as error:
        return [wrong_result(work, error)]
    results: list[Result] = yield from general(work, tools, FirstAttempt(request, outcome))
    return [each._replace(seconds=time.monotonic() - began) for each in results]


def make_fetched_result(
    operation: Operation, headers: Mapping[str, str], proof: str, stamp: Stamp, seconds: float
) -> Result:
    """Return the result of an object whose file has its place."""
    date, request_id = seconds_of(headers.get("last-modified", "")), headers.get("x-amz-request-id", "")
    result = good_result(operation.id, request_id, seconds, operation.size, operation.etag, "", date, proof)
    return add_stamp(result, stamp)


async def fetch_object(work: Work, tools: Tools, asked: FirstAttempt | None = None) -> Result:
    """Carry out a download, or a step of one. ``asked`` is the request that was already sent, and its answer."""
    try:
        if work.step is not WHOLE:
            return await fetch_parts.STEPS[work.step](work, tools)
        return await _fetch_whole(work, tools, asked)
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


async def _fetch_whole(work: Work, tools: Tools, asked: FirstAttempt | None) -> Result:
    operation, request = work.operation, make_get_request(work.operation)
    outcome = asked.outcome if asked is not None else await send_request(request)
    if isinstance(outcome, RequestError):
        raise outcome
    if not outcome.ok:
        return refused_object(work, outcome, request)
    require_same_object(outcome, operation)
    store = partial(store_body, outcome, operation, tools)
    name, proof = store() if operation.size <= BLOCK else await run_in_thread(store)
    stamp = await landing_of(tools).move_in(name, operation.path)
    return Result(
        operation.id, sent=operation.size, etag=etag_of(outcome), fingerprint=proof, stamp=stamp,
        date=seconds_of(outcome.headers.get("last-modified", "")),
        request_id=outcome.headers.get("x-amz-request-id", ""),
    )  # fmt: skip


def store_body(response: Response, operation: Operation, tools: Tools) -> tuple[str, ContentProof]:
    """Write the body into an unfinished file once its content is proved; return that file's name, and the proof.

    Raises OSError, or WrongContentError for other bytes than the object's. A large body is handled on a thread.
    """
    body, landing = response.body, landing_of(tools)
    if len(body) != operation.size:
        raise WrongContentError(f"{len(body)} bytes came of {operation.size}")
    proof = prove_body(body, response.headers, tools.brief.part_size)
    name = f"{operation.id}.{landing.token}"
    descriptor = landing.tree.create_anew(name)
    try:
        write_all(descriptor, body)
        landing.finish(descriptor, operation, response.headers)
    except BaseException:
        landing.tree.discard(name)
        raise
    finally:
        os.close(descriptor)
    reach_failpoint("fetched")
    return name, proof


# --- comparing -------------------------------------------------------------------------------


async def compare_file(work: Work, tools: Tools) -> Result:
    """Compare a local file with its object by size and digests; it becomes a download if they do not prove it equal."""
    operation, landing = work.operation, landing_of(tools)
    try:
        found = landing.tree.find(operation.path)
        if found is None or found.st_size != operation.size:
            reason = Reason.MISSING if found is None else Reason.CONTENT
            return Result(operation.id, become=Kind.DOWNLOAD, reason=reason)
        request = pin_request(requests.head_object(operation.key), operation.etag)
        response = await send_request(request)
        if not response.ok:
            return refused_object(work, response, request)
        require_same_object(response, operation)
        descriptor = landing.tree.open_file(operation.path)
        try:
            return await compare_opened_file(operation, descriptor, response, tools)
        finally:
            os.close(descriptor)
    except OSError:  # a link, a directory, a file that may not be read: it is replaced, or the download names it
        return Result(operation.id, become=Kind.DOWNLOAD, reason=Reason.CONTENT)
    except ObjectChangedError:
        return changed_result(work)


async def compare_opened_file(operation: Operation, descriptor: int, response: Response, tools: Tools) -> Result:
    """Compare an open file with the object that a HEAD shows; it becomes a download if they are not proved equal."""
    evidence, before = ContentEvidence.from_head(response.headers), os.fstat(descriptor)
    compare = partial(
        is_same_content, partial(read_blocks, descriptor), operation.size, evidence, tools.brief.part_size
    )
    same = compare() if operation.size <= BLOCK else await run_in_thread(compare)
    if same is None and tools.brief.reads_back:
        same = await fetch_parts.is_same_when_read(operation, descriptor)
    if not same or not has_stamp(os.fstat(descriptor), stamp_of(before)):
        return Result(operation.id, become=Kind.DOWNLOAD, reason=Reason.CONTENT)
    if not tools.brief.dry_run:
        landing_of(tools).renew(descriptor, response.headers)
    elif tools.brief.reads_back and not landing_of(tools).has_preserved(before, response.headers):
        return Result(operation.id, become=Kind.DOWNLOAD, reason=Reason.METADATA)
    return fetch_parts.equal_result(operation, descriptor, response)


EXTENSIONS = ((Kind.DOWNLOAD, fetch_object), (Kind.RECONCILE, compare_file), (Kind.DELETE, delete_local))
"""For :attr:`s3batch.worker.context.Brief.extensions`."""
