"""The copy of an object by the store, with nothing to check: one CopyObject, whose answer proves the content.

    row ─> s3/plain_request.py ─> Result
     │            └ any answer but the usual one ───────────┐
     └ redirects, tags that copies lose, attributes, ... ───┴─> worker/transfer.py, with what was received

It is the way of :mod:`s3batch.worker.plain_upload`, for objects that no content goes through this worker for.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.model import LATE, TRANSFER, WHOLE, SourceObject, Work, good_result
from s3batch.objects.two_objects import needs_source_head
from s3batch.quirks import TAGS, QuirkKind
from s3batch.s3.clock import seconds_of
from s3batch.s3.plain_copy import PlainCopy
from s3batch.s3.requests import name_copy_source
from s3batch.worker.copy_probe import must_probe_copies
from s3batch.worker.plain_work import PlainWrites
from s3batch.worker.source_object import are_copies_refused, find_pin
from s3batch.worker.versions import with_version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from re import Match

    from s3batch.model import Attributes
    from s3batch.quirks import Quirks
    from s3batch.s3.plain_put import Stored
    from s3batch.s3.requests import Request

_ETAG = re.compile(r"[0-9A-Za-z-]{8,128}\Z")
"""An ETag as stores make them: a digest, perhaps with a number of parts."""


def is_plain_transfer(work: Work) -> bool:
    """Return whether a work may go the short way, as far as its row tells."""
    operation = work.operation
    spec = operation.spec
    return (
        operation.kind is TRANSFER
        and work.step is WHOLE
        and operation.size > 0
        and not (operation.recheck or operation.reason is LATE or operation.upload_id)
        and type(spec) is SourceObject
        and not spec.streamed
        and _ETAG.match(spec.etag) is not None
    )


class PlainTransfer(PlainCopy):
    """The copy of one such object."""

    __slots__ = ("transfers", "work")
    transfers: PlainTransfers
    work: Work

    def read_proof(self, match: Match[str]) -> Stored | None:
        """Return what an answer tells that proves the copy, unless the store was found to lose something meanwhile."""
        return super().read_proof(match) if self.transfers.may_copy() else None

    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        """Give the result of an object that the store has copied."""
        transfers, operation = self.transfers, self.work.operation
        transfers.tools.copies.succeeded = True
        result = good_result(self.row, request_id, seconds, 0, etag, "", seconds_of(date), self.fingerprint)
        transfers.on_stored(result if not version else with_version(result, operation, version))

    def unfold(self, request: Request) -> tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]:
        """Return how the transfer goes on in the general way, after the response to its request."""
        transfers = self.transfers
        return transfers.go_on_generally(self.work, request, self.begun), partial(transfers.on_ended, 0, 0, 0)


class PlainTransfers(PlainWrites):
    """Begins the plain transfers of one worker."""

    _sure: Quirks | None = None
    """Quirks with which copies keep all that belongs to an object."""

    def begin(self, work: Work) -> bool:
        """Begin ``work`` if it is a plain transfer; return whether it is."""
        if not (self.applies and is_plain_transfer(work) and self.may_copy()):
            return False
        operation, tools = work.operation, self.tools
        attributes, fingerprint = tools.brief.rules.describe(operation.path)
        headers, source, etag = self.find_headers(attributes, fingerprint), tools.brief.source, find_pin(operation)
        if headers is None or source is None:
            return False
        name = name_copy_source(source.endpoint.bucket, source.key(operation.path))
        transfer = PlainTransfer(operation.id, operation.key, headers, fingerprint, name, etag)
        transfer.transfers, transfer.work = self, work
        self.plain.send(transfer)
        return True

    def is_plain(self, attributes: Attributes) -> bool:
        """Return whether a copy with these attributes names none that the source object brings along."""
        return not (attributes.preserve or attributes.tags or needs_source_head(attributes, 1))

    def may_copy(self) -> bool:
        """Return whether the store is known to copy an object with all that belongs to it."""
        tools = self.tools
        if self._sure is tools.quirks:
            return True
        source = tools.brief.source
        if source is None or source.endpoint.customer_key or tools.endpoint.customer_key or must_probe_copies(tools):
            return False
        if are_copies_refused(tools) or tools.quirks.has(QuirkKind.COPY_DROPS, TAGS):
            return False
        self._sure = tools.quirks
        return True
