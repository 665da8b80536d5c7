"""The worker: it carries out an operation with a few S3 calls and returns a :class:`Result`. It knows no plan.

Each kind of work is one coroutine that awaits :func:`s3batch.s3.calls.send_request`; the transport runs many of them at
once. Every failure of one key becomes a ``Result``; only trouble of the whole process passes through.
"""

# ruff: noqa: PLC0415 - a job of one file does not pay for what other jobs do

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from s3batch.model import (
    WHOLE,
    Kind,
    MovedObject,
    Operation,
    Result,
    SourceObject,
    Work,
)
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.faults import Fault, RequestError, fault_of, kms_fault
from s3batch.source.reader import ContentError
from s3batch.worker.results import (
    RefusedChangeError,
    failed_content,
    failed_result,
    part_number,
    refused_result,
    result_for_each,
)
from s3batch.worker.upload import upload_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from s3batch.s3.checked_upload import FirstAttempt
    from s3batch.worker.context import Tools


def begin_work(work: Work, tools: Tools) -> Coroutine[Any, Any, list[Result]]:
    """Return the coroutine that does ``work`` once."""
    if tools.brief.target is not None:
        return _begin_fetch(work, tools)
    return carry_out(work, tools)


def _begin_fetch(work: Work, tools: Tools) -> Coroutine[Any, Any, list[Result]]:
    from s3batch.worker import fetch

    is_plain = fetch.is_plain_fetch(work) and not tools.brief.exact
    return fetch.fetch_plain(work, tools, carry_out) if is_plain else carry_out(work, tools)


async def carry_out(work: Work, tools: Tools, asked: FirstAttempt | None = None) -> list[Result]:
    """Do ``work`` once and return the results; the coordinator decides about retries.

    One result, or one per key of a DeleteObjects batch, also when it fails. ``KeyboardInterrupt`` and
    ``MemoryError`` do pass through: they are about the process, not about this key. ``asked``: what was asked already
    of plain work.
    """
    started = time.monotonic()
    try:
        results = await _carry_out_step(work, tools, asked)
    except (MemoryError, RecursionError):
        raise
    except RequestError as error:
        fault = await _without_doubt(error, tools) if error.fault.signed_out else error.fault
        results = result_for_each(work, failed_result(work, fault, error.name))
    except ContentError as error:
        drifted = tools.brief.exact and error.code != "Busy"
        results = [refused_result(work, f"drifted: {error}") if drifted else failed_content(work, error)]
    except RefusedChangeError as error:
        results = result_for_each(work, refused_result(work, str(error), retryable=error.retryable))
    except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes a Result
        bug = Result(work.operation.id, work.step, error=f"{type(error).__name__}: {error}", code="Bug")
        results = result_for_each(work, bug._replace(part=part_number(work)))
    results[0] = tools.add_news(results[0])
    seconds = time.monotonic() - started
    upload_id = work.operation.upload_id
    return [result._replace(seconds=seconds, upload_id=result.upload_id or upload_id) for result in results]


async def _without_doubt(error: RequestError, tools: Tools) -> Fault:
    """Return the fault of a refused sign-in; a KMS key that the store cannot get may be behind it, which HEAD tells."""
    rules = tools.brief.rules
    if not rules.encryption.startswith("aws:kms") or error.name not in _TAKE_A_KEY:
        return error.fault
    response = await send_request(requests.head_object(error.key))
    return error.fault if not response.ok and fault_of(response).signed_out else kms_fault(error.fault)


_TAKE_A_KEY = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"})


async def _carry_out_step(work: Work, tools: Tools, asked: FirstAttempt | None) -> list[Result]:
    kind = work.operation.kind
    for extended, function in tools.brief.extensions:
        if extended is kind:
            outcome = await (function(work, tools) if asked is None else function(work, tools, asked))
            return outcome if isinstance(outcome, list) else [outcome]
    if type(work.operation.spec) is SourceObject:
        return [await _hand_to_transfer(work, tools, asked)]
    if asked is not None:
        return [await upload_file(work.operation, tools, asked)]
    if work.keys:
        from s3batch.worker.delete import delete_batch

        return await delete_batch(work, tools)
    if work.step is not WHOLE:
        return [await _carry_out_part(work, tools)]
    return [await _KINDS[kind](work.operation, tools)]


async def _carry_out_part(work: Work, tools: Tools) -> Result:
    from s3batch.worker.multipart import STEPS

    return await STEPS[work.step](work, tools)


async def _hand_to_transfer(work: Work, tools: Tools, asked: FirstAttempt | None) -> Result:
    from s3batch.worker.transfer import carry_out_transfer

    return await carry_out_transfer(work, tools, asked)


async def _hand_to_reconcile(operation: Operation, tools: Tools) -> Result:
    if not isinstance(operation.spec, MovedObject):
        from s3batch.worker.reconcile import reconcile_object

        return await reconcile_object(operation, tools)
    from s3batch.worker.rename import copy_or_reconcile

    return await copy_or_reconcile(operation, operation.spec, tools)


async def _hand_to_restore(operation: Operation, tools: Tools) -> Result:
    from s3batch.worker.restore import restore_object

    return await restore_object(operation, tools)


async def _hand_to_copy(operation: Operation, tools: Tools) -> Result:
    from s3batch.worker.reconcile import copy_metadata

    return await copy_metadata(operation, tools)


async def _hand_to_redirect(operation: Operation, tools: Tools) -> Result:
    from s3batch.worker.redirect import put_redirect

    return await put_redirect(operation, tools)


async def _hand_to_delete(operation: Operation, tools: Tools) -> Result:
    from s3batch.worker.delete import delete_one

    return await delete_one(operation, tools)


_KINDS: dict[Kind, Callable[[Operation, Tools], Awaitable[Result]]] = {
    Kind.UPLOAD: upload_file,
    Kind.COPY: _hand_to_copy,
    Kind.REDIRECT: _hand_to_redirect,
    Kind.DELETE: _hand_to_delete,
    Kind.RECONCILE: _hand_to_reconcile,
    Kind.RESTORE: _hand_to_restore,
}
