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
from s3batch.s3.checked_upload import FirstAttempt
from s3batch.s3.clock import seconds_of
from s3batch.s3.plain_copy import PlainCopy
from s3batch.s3.requests import Response, name_copy_source
from s3batch.worker.copy_probe import must_probe_copies
from s3batch.worker.plain_work import PlainWrites
from s3batch.worker.source_object import are_copies_refused, find_pin
from s3batch.worker.versions import VERSION_ID, with_version

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
        transfers = self.transfers
        may_count = transfers.may_copy() or transfers.tools.copies.is_looking
        return super().read_proof(match) if may_count else None

    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        """Give the result of an object that the store has copied; while the store is probed, it waits for that."""
        transfers, told = self.transfers, (etag, date, request_id, version)
        transfers.tools.copies.succeeded, transfers.served_within = True, seconds
        if transfers.may_copy():
            self._end(told, seconds)
        else:
            transfers.plain.loop.park(transfers.tools.copies.begin_wait, partial(self._on_probed, told, seconds))

    def _on_probed(self, told: Stored, seconds: float, _: None, __: None) -> None:
        transfers = self.transfers
        if transfers.may_copy():
            self._end(told, seconds)
        else:
            transfers.restore_lost(self.work, self.make_request(), told)

    def _end(self, told: Stored, seconds: float) -> None:
        etag, date, request_id, version = told
        result = good_result(self.row, request_id, seconds, 0, etag, "", seconds_of(date), self.fingerprint)
        self.transfers.on_stored(result if not version else with_version(result, self.work.operation, version))

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
        if not (self.applies and is_plain_transfer(work) and (self.may_copy() or self._may_try())):
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
        if self._sure is self.tools.quirks:
            return True
        if must_probe_copies(self.tools) or not self._seems_to_copy():
            return False
        self._sure = self.tools.quirks
        return True

    def _seems_to_copy(self) -> bool:
        """Return whether nothing that is known of the store speaks against a plain copy."""
        tools, source = self.tools, self.tools.brief.source
        if source is None or source.endpoint.customer_key or tools.endpoint.customer_key:
            return False
        return not (are_copies_refused(tools) or tools.quirks.has(QuirkKind.COPY_DROPS, TAGS))

    def _may_try(self) -> bool:
        """Return whether a copy may be sent beside the probe, whose end its result waits for.

        The first copy goes the general way, which probes and removes the probe before it has a result.
        """
        return self.tools.copies.is_looking and self._seems_to_copy()

    def restore_lost(self, work: Work, request: Request, told: Stored) -> None:
        """Go on in the general way from a copy that was made before the store was found to lose something."""
        from s3batch.worker.dispatch import carry_out  # noqa: PLC0415 - most stores lose nothing

        etag, date, request_id, version = told
        headers = {"date": date, "x-amz-request-id": request_id, VERSION_ID: version}
        named = {name: value for name, value in headers.items() if value}
        asked = FirstAttempt(request, Response(200, named, document={"ETag": etag}))
        self.plain.loop.start(carry_out(work, self.tools, asked), partial(self.on_ended, 0, 0, 0), work.operation.id)
