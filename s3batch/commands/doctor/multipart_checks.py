"""The doctor's checks of large files: a multipart upload of one part that is completed, and another that is aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.commands.doctor.probe import BODY
from s3batch.s3 import requests
from s3batch.s3.checksums import WHOLE_OBJECT
from s3batch.s3.etag import hash_blocks, multipart_etag
from s3batch.s3.faults import refused_for_good

if TYPE_CHECKING:
    from s3batch.commands.doctor.probe import ProbeResponse
    from s3batch.commands.doctor.visit import Visit


def check_multipart(visit: Visit) -> None:
    """Check a multipart upload from beginning to end, and another that is aborted."""
    upload_id = _begin_multipart(visit)
    if not upload_id:
        return
    part = _send_one_part(visit, upload_id)
    if part is not None:
        _parts_listed(visit, upload_id)
        _complete_multipart(visit, upload_id, part)
    _give_up(visit, upload_id if part is None else "")


def _begin_multipart(visit: Visit, *, noted: bool = True) -> str:
    probe, name = visit.probe, visit.probe.bucket.endpoint.checksum
    kind = {"x-amz-checksum-algorithm": name.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
    headers = visit.headers | (kind if name in WHOLE_OBJECT else {})
    reply = probe.ask(requests.create_multipart_upload(probe.key, headers))
    upload_id = reply.answer.document or ""
    if upload_id:
        probe.began(upload_id)
    if noted:
        visit.note("upload large files", reply, effect="" if upload_id else "the answer names no upload id")
    return upload_id


def _send_one_part(visit: Visit, upload_id: str) -> tuple[str, str] | None:
    """Upload the one part; return its ETag and checksum."""
    probe = visit.probe
    checksum = probe.checksum(BODY)
    call = requests.upload_part(probe.key, upload_id, 1, BODY)
    reply = probe.ask(call._replace(headers=checksum))
    if not visit.note("upload a part", reply):
        return None
    name = probe.bucket.endpoint.checksum
    return reply.answer.headers.get("etag", ""), checksum.get(f"x-amz-checksum-{name}", "")


def _parts_listed(visit: Visit, upload_id: str) -> None:
    probe = visit.probe
    reply = probe.ask(requests.list_parts(probe.key, upload_id))
    listed = reply.answer.document.parts if reply.fault is None else []
    shown = [part.number for part in listed] == [1]
    visit.note(
        "resume large files", reply, effect="" if shown else "the part that was sent is not listed",
        needed=not _is_refused_for_good(reply), hint="large files that a dead run had begun are sent from the start",
    )  # fmt: skip
    uploads = probe.ask(requests.list_multipart_uploads(probe.folder))
    visit.note(
        "find uploads that dead runs left", uploads, needed=False,
        hint="a run without the journal sends such a file again",
    )  # fmt: skip


def _complete_multipart(visit: Visit, upload_id: str, part: tuple[str, str]) -> None:
    probe, name = visit.probe, visit.probe.bucket.endpoint.checksum
    etag, checksum = part
    headers = {"x-amz-checksum-type": "FULL_OBJECT"} if name in WHOLE_OBJECT and checksum else {}
    reply = probe.ask(requests.complete_multipart_upload(probe.key, upload_id, [(1, etag, checksum)], name, headers))
    if not visit.note("finish large files", reply):
        return
    probe.ended(upload_id)
    stored = probe.ask(requests.head_object(probe.key)).answer.headers.get("etag", "").strip('"')
    usual = multipart_etag([bytes.fromhex(hash_blocks(iter([BODY])))])
    words = "" if stored == usual else "no: large files that other tools uploaded may have to be read to be compared"
    visit.findings.fact("usual_multipart_etags", stored == usual, words)


def _give_up(visit: Visit, upload_id: str) -> None:
    upload_id = upload_id or _begin_multipart(visit, noted=False)
    if not upload_id:
        return
    reply = visit.probe.ask(requests.abort_multipart_upload(visit.probe.key, upload_id))
    hint = "the parts of aborted uploads stay until a lifecycle rule removes them"
    if visit.note("give up large files", reply, needed=not _is_refused_for_good(reply), hint=hint):
        visit.probe.ended(upload_id)


def _is_refused_for_good(reply: ProbeResponse) -> bool:
    """Return whether an optional request will always be refused: a job goes on without."""
    return reply.fault is not None and refused_for_good(reply.fault)
