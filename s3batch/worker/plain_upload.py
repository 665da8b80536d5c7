"""The upload of a small file with nothing to check: one PUT, whose answer proves the body.

    read ─> s3/plain_request.py ─> Result
     │            └ any answer but the usual one ─┐
     └ gzip, a file that changed, ... ────────────┴─> worker/upload.py, with what was read and received

Most files are plain. This way is there because of what it costs: half the CPU of the general way. It decides only that
nothing has to be decided.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.model import LATE, MISSING, UPLOAD, WHOLE, Result, Work, good_result
from s3batch.s3.checked_upload import checksum_line
from s3batch.s3.clock import seconds_of
from s3batch.s3.plain_body import PlainBody
from s3batch.s3.responses import date_of, etag_of
from s3batch.s3.stored_proof import confirmed_checksum
from s3batch.source.reader import BLOCK
from s3batch.worker.plain_work import PlainWrites
from s3batch.worker.versions import VERSION_ID, with_version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from s3batch.model import Attributes
    from s3batch.s3.requests import Body, Request, Response

_OWN_MEMORY = 128 * 1024
"""Bytes: a larger body is lent memory, which malloc would get from the system for each, and give back."""


def is_plain_upload(work: Work) -> bool:
    """Return whether a work may go the short way, as far as its row tells."""
    operation = work.operation
    return (
        operation.kind is UPLOAD
        and work.step is WHOLE
        and operation.size <= BLOCK
        and not (operation.recheck or operation.reason is LATE or operation.spec is not None or operation.upload_id)
    )


class PlainUpload(PlainBody):
    """The upload of one such file."""

    __slots__ = ("memory", "uploads", "work")
    uploads: PlainUploads
    work: Work
    memory: memoryview | None
    """What is lent for the body."""

    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        """Give the result of a file that the store has."""
        self.uploads.on_stored(self._make_result(etag, seconds_of(date), request_id, version, seconds))
        if self.memory is not None:
            self.uploads.tools.buffers.give_back(self.memory)

    def _make_result(self, etag: str, date: float, request_id: str, version: str, seconds: float) -> Result:
        name, value = self.checksum
        kept = value if name.startswith("x-amz-") else ""  # the store keeps no Content-MD5
        result = good_result(self.row, request_id, seconds, len(self.body), etag, kept, date, self.fingerprint)
        return result if not version else with_version(result, self.work.operation, version)

    def unfold(self, request: Request) -> tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]:
        """Return how the upload goes on in the general way, after the response to its request."""
        going_on = self.uploads.go_on_generally(self.work, request, self.begun, partial(self._judge, request))
        return going_on, self._end

    def _end(self, results: list[Result]) -> None:
        if self.memory is not None:
            self.uploads.tools.buffers.give_back(self.memory)
        size = self.work.operation.size
        self.uploads.on_ended(size, size, 0, results)

    def _judge(self, request: Request, response: Response) -> list[Result] | None:
        """Return the result of an upload whose response proves the body: its checksum is not computed again."""
        tools = self.uploads.tools
        proof = confirmed_checksum(response, request, dict([self.checksum])) if response.ok else None
        if proof is None or tools.news:
            return None
        told = (response.headers.get("x-amz-request-id", ""), response.headers.get(VERSION_ID, ""))
        return [self._make_result(etag_of(response), date_of(response), *told, self.uploads.clock() - self.begun)]


class PlainUploads(PlainWrites):
    """Begins the plain uploads of one worker."""

    def begin(self, work: Work) -> bool:
        """Begin ``work`` if it is a plain upload; return whether it is."""
        if not (self.applies and is_plain_upload(work)):
            return False
        operation, tools = work.operation, self.tools
        attributes, fingerprint = tools.brief.rules.describe(operation.path)
        headers, name = self.find_headers(attributes, fingerprint), tools.checks.ladder[0]
        if headers is None or not name or (tools.compares_times and operation.reason is MISSING):
            return False
        memory = tools.buffers.take(operation.size) if operation.size > _OWN_MEMORY else None
        body: Body | None
        if memory is None:
            body = tools.source.read_plainly(operation.path, operation.stamp)
        else:
            body = tools.source.read_plainly_into(memory, operation.path, operation.stamp)
        if body is None:
            if memory is not None:
                tools.buffers.give_back(memory)
            return False
        upload = PlainUpload(operation.id, operation.key, body, headers, fingerprint, checksum_line(name, body))
        upload.uploads, upload.work, upload.memory = self, work, memory
        self.plain.send(upload)
        return True

    def is_plain(self, attributes: Attributes) -> bool:
        """Return whether files with these attributes are sent as they are."""
        return not (attributes.gzip or attributes.preserve)
