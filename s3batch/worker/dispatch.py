"""The worker: it carries out an operation with a few S3 calls and returns a :class:`Result`. It knows no plan.

Each kind of work is one coroutine that awaits :func:`s3batch.s3.transport.ask`; the lane runs many of them at
once. Every failure of one key becomes a ``Result``; only trouble of the whole process passes through.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.model import (
    ATTRIBUTES_KNOWN,
    CONTENT_KNOWN,
    Attributes,
    Kind,
    Operation,
    Part,
    Reason,
    Result,
    State,
    Step,
    Work,
)
from s3batch.objects.content_match import Evidence, same
from s3batch.objects.headers import put_headers
from s3batch.objects.kept_tags import KeptTags
from s3batch.objects.redirects import Redirect
from s3batch.quirks import NO_QUIRKS, Quirk, QuirkKind, Quirks
from s3batch.s3 import checksums, requests
from s3batch.s3.checksums import WHOLE_OBJECT
from s3batch.s3.errors import CallError, Fault, fault_of, kms_fault, refusal_for_good
from s3batch.s3.etag import md5, md5_of, multipart_etag
from s3batch.s3.integrity import Asked, Checks, begin_upload, checksum_header, send
from s3batch.s3.permissions import refusal_words
from s3batch.s3.proof import bare
from s3batch.s3.responses import checked, date_of, etag_of, must, seconds_of, settled
from s3batch.s3.transport import aside, ask
from s3batch.s3.validation import etag_in
from s3batch.source.reader import BLOCK, ContentError, Source
from s3batch.worker.delete_check import DeleteCheck, PlannedDelete
from s3batch.worker.metadata_copy import (
    ACL_WARNING,
    Kept,
    copy_onto_itself,
    find_difference,
    has_changed,
    look_after_sending,
    put_tags_back,
    wants_unseen,
)
from s3batch.worker.results import failed, failed_content, part_number
from s3batch.worker.upload import (
    OVERTAKEN,
    compare_times,
    is_plain,
    misjudges,
    read_body,
    read_packed,
    unchanged_since,
    upload,
    upload_plain,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    from s3batch.objects.attributes import Rules
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Answer, Body

COPY_LIMIT = 5 * 1024**3
"""Bytes: the largest object CopyObject takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything a worker has to know of its job; it crosses the process boundary once."""

    endpoint: Endpoint
    root: str
    """The source: a directory, or one file."""
    symlinks: str = "follow"
    """The link policy of the walk; a file is opened under it too."""
    rules: Rules
    limit: int = 64
    """Requests in flight in this worker."""
    bandwidth: float = 0.0
    """Bytes per second for this worker; 0 for no limit."""
    part_size: int = 16 * 1024 * 1024
    copy_limit: int = COPY_LIMIT
    forsaken_after: float = 5.0
    """Seconds without a word from the coordinator after which nothing more is begun, and nothing changed."""
    stuck_after: float = 15.0
    """Seconds without a block of a file after which the worker says that it hangs."""
    dry_run: bool = False
    """Look and compare, change nothing."""
    sends: bool = True
    """True if there may be bodies to send."""
    extensions: tuple[tuple[Kind, Callable[..., Any]], ...] = ()
    """The functions for kinds that other modules define (chunks): importable, taking work and tools."""
    delete_check: DeleteCheck = field(default_factory=lambda: DeleteCheck(listed=""))
    """The check before deletes."""
    quirks: Quirks = NO_QUIRKS
    """The quirks that earlier jobs found out about the store."""
    compares_times: bool = False
    """True if the first new object is checked: its LastModified may be later than the Date of its write's response."""


@dataclass(slots=True)
class Tools:
    """The values that the coroutines of one worker share."""

    brief: Brief
    source: Source
    checks: Checks
    quirks: Quirks
    """The known quirks of the store, found by any worker."""
    found: list[Quirk] = field(default_factory=list)
    """The quirks found by this worker and not yet reported."""
    warnings: list[str] = field(default_factory=list)
    """The same: a line each."""
    acl_refused: bool = False
    """The bucket has ACLs disabled: stop sending them."""
    copy_keeps: frozenset[str] = frozenset()
    """The aspects that a copy of this worker was seen to keep: headers, tags, the ACL."""
    counts_tags: bool = False
    """A HEAD has said how many tags there are."""
    compares_times: bool = False
    """Nothing has been written yet; see :class:`Brief`."""
    is_looking: bool = False
    """True while a copy is checked: others wait for the result."""
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Of plain uploads, by fingerprint."""
    memory: dict[str, Any] = field(default_factory=dict)
    """Values that extensions keep between operations."""

    @property
    def endpoint(self) -> Endpoint:
        """The address of the bucket."""
        return self.brief.endpoint

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these want as well."""
        self.quirks = self.quirks.with_all(quirks)

    def note(self, quirk: Quirk) -> bool:
        """Keep a quirk for the next result; return whether it is new."""
        if self.quirks.has(quirk.kind, quirk.about):
            return False
        self.quirks = self.quirks.plus([quirk])
        self.found.append(quirk)
        return True

    def warn(self, words: str) -> None:
        """Have the job warn of this, with the next result."""
        self.warnings.append(" ".join(words.splitlines()))

    def note_refusal(self, call: str, fault: Fault, consequence: str) -> None:
        """Note that the store permanently refuses an optional request, and warn of it the first time."""
        if self.note(Quirk(QuirkKind.REFUSED, call, f"HTTP {fault.status} {fault.code}")):
            self.warn(refusal_words(call, fault.code, fault.message, consequence))

    def attributes(self, operation: Operation) -> Attributes:
        """Return the attributes of the object of this operation's file."""
        wanted = self.brief.rules.attributes(operation.path)
        return replace(wanted, acl="") if self.acl_refused and wanted.acl else wanted


def tools_for(brief: Brief) -> Tools:
    """Return fresh tools; nothing is opened yet."""
    checks, source = Checks.from_endpoint(brief.endpoint), Source(brief.root, brief.symlinks)
    return Tools(brief, source, checks, brief.quirks, compares_times=brief.compares_times)


def prepare(brief: Brief, content: int) -> None:
    """Load modules that each worker needs, before they are forked; ``content`` is the bytes of waiting work."""
    if brief.sends and content > checksums.FEW:
        checksums.load(Checks.from_endpoint(brief.endpoint).name)


def begin(work: Work, tools: Tools) -> Coroutine[Any, Any, list[Result]]:
    """Return the coroutine that does ``work`` once."""
    if is_plain(work) and not tools.brief.extensions:
        return upload_plain(work, tools, carry_out)
    return carry_out(work, tools)


async def carry_out(work: Work, tools: Tools, asked: Asked | None = None) -> list[Result]:
    """Do ``work`` once and return the results; the coordinator decides about retries.

    One result, or one per key of a DeleteObjects batch, also when it fails. ``KeyboardInterrupt`` and
    ``MemoryError`` do pass through: they are about the process, not about this key. ``asked``: what was asked already
    of a plain upload.
    """
    started = time.monotonic()
    try:
        results = await _way(work, tools, asked)
    except (MemoryError, RecursionError):
        raise
    except CallError as error:
        fault = await _without_doubt(error, tools) if error.fault.signed_out else error.fault
        results = _each(work, failed(work, fault, error.name))
    except ContentError as error:
        results = [failed_content(work, error)]
    except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes a Result
        bug = Result(work.operation.id, work.step, error=f"{type(error).__name__}: {error}", code="Bug")
        results = _each(work, bug._replace(part=part_number(work)))
    if tools.found or tools.warnings:
        results[0] = _with_news(results[0], tools)
    seconds = time.monotonic() - started
    upload_id = work.operation.upload_id
    return [result._replace(seconds=seconds, upload_id=result.upload_id or upload_id) for result in results]


async def _without_doubt(error: CallError, tools: Tools) -> Fault:
    """Return the fault of a refused sign-in; a KMS key that the store cannot get may be behind it, which HEAD tells."""
    rules = tools.brief.rules
    if not rules.encryption.startswith("aws:kms") or error.name not in _TAKE_A_KEY:
        return error.fault
    answer = await ask(requests.head_object(error.key))
    return error.fault if not answer.ok and fault_of(answer).signed_out else kms_fault(error.fault)


_TAKE_A_KEY = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"})


def _with_news(result: Result, tools: Tools) -> Result:
    """Return ``result`` with the quirks that were found out about the store."""
    warning = "\n".join(filter(None, (result.warning, *tools.warnings)))
    quirks = tuple(tools.found)
    tools.warnings.clear()
    tools.found.clear()
    return result._replace(warning=warning, quirks=quirks)


def _each(work: Work, result: Result) -> list[Result]:
    """Return one result per key. A missing result would leave the coordinator waiting indefinitely."""
    return [result._replace(id=row) for row, _ in work.keys] or [result]


async def _way(work: Work, tools: Tools, asked: Asked | None) -> list[Result]:
    if asked is not None:
        return [await upload(work.operation, tools, asked)]
    if work.keys:
        return await _delete_batch(work, tools)
    step = _STEPS.get(work.step)
    if step is not None:
        return [await step(work, tools)]
    kind = work.operation.kind
    for extended, function in tools.brief.extensions:
        if extended is kind:
            return [await function(work, tools)]
    return [await _KINDS[kind](work.operation, tools)]


UNSURVEYED = "Unsurveyed"
"""The code of s3batch for a multipart upload whose parts may not be listed."""
PARTS_STAY = "the parts of aborted multipart uploads stay in the bucket until a lifecycle rule removes them"


# --- multipart uploads ---------------------------------------------------------------------


async def _begin(work: Work, tools: Tools) -> Result:
    operation = work.operation
    tools.source.check(operation.path, operation.stamp)
    if operation.recheck and (begun := await _begun_already(operation.key)):
        return Result(operation.id, work.step, upload_id=begun)
    attributes, warning = tools.attributes(operation), ""
    kept = Kept.from_text(operation.detail)
    headers = put_headers(attributes) if kept is None else kept.put_headers(attributes)
    call = requests.create_multipart_upload(operation.key, headers)
    answer = await begin_upload(call, tools.checks)
    if answer.status == 400 and attributes.acl and fault_of(answer).code == "AccessControlListNotSupported":
        tools.acl_refused, warning = True, ACL_WARNING
        call = call._replace(headers={name: value for name, value in headers.items() if name != "x-amz-acl"})
        answer = await begin_upload(call, tools.checks)
    upload_id = checked(answer, call).document
    return Result(operation.id, work.step, upload_id=upload_id, warning=warning)


async def _begun_already(key: str) -> str:
    """Return the id of the newest upload of ``key``, which an earlier try may have begun without an answer."""
    answer = await settled(requests.list_multipart_uploads(key))
    uploads = [each for each in answer.document.uploads if each.key == key] if answer.ok else []
    return max(uploads, key=lambda each: each.initiated).upload_id if uploads else ""


async def _survey(work: Work, tools: Tools) -> Result:
    """Return the parts that S3 holds of an upload; the file must be unchanged."""
    operation = work.operation
    tools.source.check(operation.path, operation.stamp)
    held: list[Part] = []
    marker = 0
    while True:
        call = requests.list_parts(operation.key, operation.upload_id, marker)
        answer = await ask(call)
        if answer.status == 404:
            return await _perhaps_finished(work, answer, tools)
        if (fault := refusal_for_good(answer)) is not None:
            tools.note_refusal(call.name, fault, "large files that a dead run had begun are sent from the start")
            return failed(work, fault, call.name)._replace(code=UNSURVEYED, retryable=False)
        page, marker = checked(answer, call).document
        held += [part._replace(operation=operation.id) for part in page]
        if not marker:
            return Result(operation.id, work.step, parts=tuple(held), upload_id=operation.upload_id)


async def _part(work: Work, tools: Tools) -> Result:
    operation, part = work.operation, work.parts[0]
    body = await read_body(operation, tools, part.offset, part.size)
    if part.etag and md5_of(part.etag) == await _md5_of(body):
        value = next(iter(checksum_header(tools.checks.name, body).values()), "") if part.checksum else ""
        return Result(operation.id, work.step, part.number, etag=part.etag, checksum=value, already=True)
    call = requests.upload_part(operation.key, operation.upload_id, part.number, body)
    sent = await send(call, tools.checks)
    if sent.answer.status == 404:
        return failed(work, Fault("NoSuchUpload", "the upload is gone", 404), "UploadPart")
    answer = checked(sent.answer, call)
    return Result(
        operation.id, work.step, part.number, sent=len(body), etag=etag_of(answer), checksum=sent.checksum,
        request_id=answer.headers.get("x-amz-request-id", ""), warning=sent.warning,
    )  # fmt: skip


async def _md5_of(body: Body) -> str:
    reckon = partial(md5, iter([bytes(body)]))
    digest: str = reckon() if len(body) <= BLOCK else await aside(reckon)
    return digest


async def _finish(work: Work, tools: Tools) -> Result:
    operation, parts = work.operation, work.parts
    tools.source.check(operation.path, operation.stamp)
    name = tools.checks.name
    headers = {"x-amz-checksum-type": "FULL_OBJECT"} if name in WHOLE_OBJECT and all(p.checksum for p in parts) else {}
    rows = [(part.number, f'"{part.etag}"', part.checksum) for part in parts]
    call = requests.complete_multipart_upload(operation.key, operation.upload_id, rows, name, headers)
    answer, condition = await _ask_unless_overtaken(call, operation)
    if condition and answer.status in OVERTAKEN:
        return failed(work, fault_of(answer), call.name)._replace(retryable=True)
    if answer.status == 404 or answer.status >= 500:
        return await _perhaps_finished(work, answer, tools)
    completed = checked(answer, call).document
    if operation.recheck:  # another program may have begun it, with other attributes
        head = await ask(requests.head_object(operation.key))
        if (fault := refusal_for_good(head)) is None:
            return await _made_right(work, checked(head, requests.head_object(operation.key)), tools)
        tools.note_refusal(
            "HeadObject", fault, "an upload that another run began is finished without a check of its parts"
        )
    if (kept := Kept.from_text(operation.detail)) is not None:
        await look_after_sending(operation, tools.attributes(operation), kept, tools)
    etag, warning = etag_in(answer), ""
    if tools.compares_times and operation.reason is Reason.MISSING:
        await compare_times(operation.key, bare(etag), date_of(answer), tools)
    if not _proves_parts(etag, parts):
        warning = await tools.checks.proofs.look(operation.key, operation.size, bare(etag))
    return Result(
        operation.id, work.step, etag=etag, warning=warning,
        checksum=completed.get(f"Checksum{name.upper()}", ""), date=date_of(answer),
        fingerprint=tools.brief.rules.fingerprint(operation.path), request_id=answer.headers.get("x-amz-request-id", ""),
    )  # fmt: skip


async def _ask_unless_overtaken(call: requests.Call, operation: Operation) -> tuple[Answer, dict[str, str]]:
    """Ask ``call``, for a key in doubt on the condition that the object is as it is now; return that condition too."""
    condition = unchanged_since(await settled(requests.head_object(call.key))) if operation.is_in_doubt else {}
    answer = await ask(call._replace(headers={**call.headers, **condition}) if condition else call)
    if condition and not answer.ok and await misjudges(answer, call, condition):
        return await ask(call), {}
    return answer, condition


def _proves_parts(etag: str, parts: Sequence[Part]) -> bool:
    """Return whether each part's body was confirmed, by its checksum or by the MD5 that the object's ETag is made of."""
    if all(part.checksum for part in parts):
        return True
    digests = [md5_of(part.etag) for part in parts]
    return all(digests) and etag == multipart_etag([bytes.fromhex(digest or "") for digest in digests])


async def _perhaps_finished(work: Work, refusal: Answer, tools: Tools) -> Result:
    """Handle an upload that S3 does not know: an earlier Complete may have worked although its answer was lost."""
    head = await settled(requests.head_object(work.operation.key))
    if head.ok and await _is_ours(work, head, tools):
        return await _made_right(work, head, tools)
    fault = fault_of(refusal)
    code = "NoSuchUpload" if refusal.status == 404 else fault.code
    return failed(work, fault._replace(code=code), "CompleteMultipartUpload")


async def _is_ours(work: Work, head: Answer, tools: Tools) -> bool:
    """Return whether an object is made of these parts, all of the current file, or holds the file's content."""
    operation, etags = work.operation, [part.etag for part in work.parts]
    if not all(etags) or int(head.headers.get("content-length", -1)) != operation.size:
        return False
    current = all(part.state is State.DONE for part in work.parts)  # else they were sent of another state of the file
    if current and all(map(md5_of, etags)) and etag_of(head) == multipart_etag(list(map(bytes.fromhex, etags))):
        return True
    evidence = Evidence.from_head(head.headers)
    return bool(await _equal(operation, tools.attributes(operation), evidence, operation.size, tools))


async def _made_right(work: Work, head: Answer, tools: Tools) -> Result:
    """Return the result for an object with the right content; another program may have set its attributes."""
    operation = work.operation
    reason = await find_difference(operation, tools.attributes(operation), head, tools)
    if reason is not None:
        copied = await copy_onto_itself(operation, head, tools, upload, tools.quirks)
        if copied.become is None:
            return copied._replace(step=work.step, already=True)
        words = "its attributes cannot be set: it is sent again"
        return failed(work, Fault("NoSuchUpload", words), "CopyObject")._replace(retryable=False)
    return Result(
        operation.id, work.step, etag=etag_of(head), date=seconds_of(head.headers.get("last-modified", "")),
        fingerprint=tools.brief.rules.fingerprint(operation.path), already=True,
    )  # fmt: skip


async def _abort(work: Work, tools: Tools) -> Result:
    call = requests.abort_multipart_upload(work.operation.key, work.operation.upload_id)
    answer = await ask(call)
    if (fault := refusal_for_good(answer)) is not None:
        tools.note_refusal(call.name, fault, PARTS_STAY)
        return Result(work.operation.id, work.step)
    if answer.status != 404:
        checked(answer, call)
    return Result(work.operation.id, work.step)


# --- comparing and copying -----------------------------------------------------------------


async def _reconcile(operation: Operation, tools: Tools) -> Result:
    """Find out whether content or attributes differ. A copy is done at once; an upload goes back to be leased."""
    attributes = tools.attributes(operation)
    if (on_record := KeptTags.from_text(operation.detail)) is not None:
        operation = operation._replace(detail=on_record.detail)
    elif known := await _by_record(operation, attributes, tools):
        return known
    head = await ask(requests.head_object(operation.key))
    late = operation.reason is Reason.LATE  # what it becomes stays so
    if head.status == 404:  # a refusal is no proof that nothing is there
        return Result(operation.id, become=Kind.UPLOAD, reason=None if late else Reason.MISSING)
    checked(head, requests.head_object(operation.key))
    size = int(head.headers.get("content-length", -2))
    by_journal = operation.detail == CONTENT_KNOWN and etag_of(head) == operation.etag
    if by_journal and operation.recheck:  # planned by a run that is dead: the file may have changed since
        tools.source.check(operation.path, operation.stamp)
    if not (by_journal or await _equal(operation, attributes, Evidence.from_head(head.headers), size, tools)):
        return Result(operation.id, become=Kind.UPLOAD, reason=None if late else Reason.CONTENT)
    quirks = tools.quirks
    reason = await find_difference(operation, attributes, head, tools)
    if reason is None and has_changed(operation) and wants_unseen(attributes, tools):
        reason = Reason.METADATA  # another one than at the last write, and no look would show it
    if reason is None:
        mended = on_record and not tools.brief.dry_run and await put_tags_back(operation, head, on_record, tools)
        return mended or Result(
            operation.id, etag=etag_of(head), date=seconds_of(head.headers.get("last-modified", "")),
            fingerprint=tools.brief.rules.fingerprint(operation.path), already=True,
        )  # fmt: skip
    if tools.brief.dry_run:
        return Result(operation.id, become=Kind.COPY, reason=reason)
    copied = await copy_onto_itself(operation._replace(reason=reason), head, tools, upload, quirks, on_record)
    return copied if copied.already or copied.become else copied._replace(become=Kind.COPY, reason=reason)


async def _by_record(operation: Operation, attributes: Attributes, tools: Tools) -> Result | None:
    """Compare by reading the file alone, if the object is known to be unchanged. ``None``: S3 must be asked."""
    known, _, checksum = operation.detail.partition(" ")
    if known != ATTRIBUTES_KNOWN or operation.recheck:
        return None
    equal = await _equal(operation, attributes, Evidence.from_record(operation.etag, checksum), -1, tools)
    if equal is None:
        return None
    if not equal:
        return Result(operation.id, become=Kind.UPLOAD, reason=Reason.CONTENT)
    fingerprint = tools.brief.rules.fingerprint(operation.path)
    return Result(operation.id, etag=operation.etag, fingerprint=fingerprint, already=True)


async def _equal(
    operation: Operation, attributes: Attributes, evidence: Evidence, size: int, tools: Tools
) -> bool | None:
    """Return whether the object holds the file's content; ``None`` if unknown. ``size`` is the object's, -1 if unknown."""

    def blocks() -> Iterable[bytes]:
        return tools.source.blocks(operation.path, operation.stamp)

    length, part_size = operation.size, tools.brief.part_size
    if attributes.gzip:
        packed = bytes(await read_packed(operation, tools))
        length, blocks = len(packed), lambda: [packed]
    if size not in (-1, length):
        return False
    if length > BLOCK:
        verdict: bool | None = await aside(lambda: same(blocks, length, evidence, part_size))
        return verdict
    return same(blocks, length, evidence, part_size)


async def _copy(operation: Operation, tools: Tools) -> Result:
    head = await must(requests.head_object(operation.key))
    return await copy_onto_itself(operation, head, tools, upload, tools.quirks)


# --- redirects and deletes -----------------------------------------------------------------


async def _redirect(operation: Operation, tools: Tools) -> Result:
    """Write an empty object that redirects browsers, unless the same redirect exists."""
    head = await ask(requests.head_object(operation.key))
    location = operation.detail
    if head.status not in (403, 404):  # who may not look may write all the same, and writing it twice does no harm
        checked(head, requests.head_object(operation.key))
    if head.ok and head.headers.get("x-amz-website-redirect-location", "") == location:
        return Result(operation.id, etag=etag_of(head), already=True)
    if tools.brief.dry_run:
        return Result(operation.id, become=Kind.REDIRECT, reason=Reason.REDIRECT)
    rules, wanted, warning = tools.brief.rules, Redirect(operation.key, location), ""
    encrypted = put_headers(Attributes(encryption=rules.encryption, kms_key_id=rules.kms_key_id))
    acl = rules.redirect_acl(operation.key)
    if acl and not tools.acl_refused:
        call = requests.put_object(operation.key, b"", {**encrypted, **wanted.headers(acl)})
        answer = await ask(call)
        if answer.status != 400 or fault_of(answer).code != "AccessControlListNotSupported":
            proof = await tools.checks.proofs.prove(call, checked(answer, call), {})
            return Result(operation.id, etag=etag_of(answer), date=date_of(answer), warning=proof.warning)
        tools.acl_refused, warning = True, ACL_WARNING
    call = requests.put_object(operation.key, b"", {**encrypted, **wanted.headers("")})
    answer = await must(call)
    proof = await tools.checks.proofs.prove(call, answer, {})
    return Result(operation.id, etag=etag_of(answer), date=date_of(answer), warning=warning or proof.warning)


async def _delete_alone(operation: Operation, tools: Tools) -> Result:
    """Delete a key that DeleteObjects cannot name."""
    planned = PlannedDelete(operation.key, operation.etag, operation.stamp.mtime_ns)
    if await tools.brief.delete_check.find_changed([planned], tools):
        return Result(operation.id, already=True)
    return await _delete(operation)


async def _delete(operation: Operation) -> Result:
    call = requests.delete_object(operation.key)
    condition = {"if-match": f'"{operation.etag}"'} if operation.is_in_doubt and operation.etag else {}
    answer = await ask(call._replace(headers={**call.headers, **condition}))
    if condition and not answer.ok and answer.status != 404:
        if await misjudges(answer, call, condition):
            answer = await ask(call)
        elif answer.status in OVERTAKEN:
            return Result(operation.id, already=True)
    if answer.status != 404 or fault_of(answer).code == "NoSuchBucket":
        checked(answer, call)
    return Result(operation.id)


async def _delete_batch(work: Work, tools: Tools) -> list[Result]:
    """Delete up to 1,000 keys in one request, but those that changed since they were planned."""
    listed = work.listed or (("", 0),) * len(work.keys)
    planned = [PlannedDelete(key, *each) for (_, key), each in zip(work.keys, listed, strict=True)]
    kept = await tools.brief.delete_check.find_changed(planned, tools)
    results = [Result(row, already=True) for row, key in work.keys if key in kept]
    going = tuple((row, key) for row, key in work.keys if key not in kept)
    return results + (await _delete_together(work._replace(keys=going), tools) if going else [])


async def _delete_together(work: Work, tools: Tools) -> list[Result]:
    """Delete in one request. Errors come inside the answer, and each is named."""
    call = requests.delete_objects(key for _, key in work.keys)
    answer = await ask(call)
    if answer.status in (400, 405, 501):  # a store without DeleteObjects, or one that cannot read this key
        return [await _delete_row(row, key, tools) for row, key in work.keys]
    if not answer.ok:
        return _each(work, failed(work, fault_of(answer), call.name))
    errors = {error.get("Key", ""): error for error in answer.document}
    if not errors.keys() <= {key for _, key in work.keys}:  # some key stays, and who knows which
        return [await _delete_row(row, key, tools) for row, key in work.keys]
    return [_delete_result(row, errors.get(key), answer) for row, key in work.keys]


async def _delete_row(row: int, key: str, tools: Tools) -> Result:
    operation = Operation(Kind.DELETE, key, Reason.ORPHAN, id=row)
    if tools.brief.delete_check.has_file(key):  # those before it took their time
        return Result(row, already=True)
    try:
        return await _delete(operation)
    except CallError as error:
        return failed(Work(operation), error.fault, error.name)


def _delete_result(row: int, error: dict[str, str] | None, answer: Answer) -> Result:
    if error is None or error.get("Code") == "NoSuchKey":
        return Result(row)
    request_id = answer.headers.get("x-amz-request-id", "")
    fault = Fault(error.get("Code", ""), error.get("Message", ""), answer.status, request_id)
    return Result(
        row, error=f"DeleteObjects: {fault}", code=fault.code, status=fault.status, request_id=request_id,
        retryable=fault.retryable, throttled=fault.throttled,
    )  # fmt: skip


_STEPS: dict[Step, Callable[[Work, Tools], Awaitable[Result]]] = {
    Step.BEGIN: _begin,
    Step.SURVEY: _survey,
    Step.PART: _part,
    Step.FINISH: _finish,
    Step.ABORT: _abort,
}
_KINDS: dict[Kind, Callable[[Operation, Tools], Awaitable[Result]]] = {
    Kind.UPLOAD: upload,
    Kind.COPY: _copy,
    Kind.REDIRECT: _redirect,
    Kind.DELETE: _delete_alone,
    Kind.RECONCILE: _reconcile,
}
