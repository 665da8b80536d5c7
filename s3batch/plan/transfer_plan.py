"""The plan of a transfer: list the source a page at a time, and decide for each object.

listed in the target | known from the journal       | decision
no                   |                              | transfer (missing)
yes                  | source and target as then    | nothing
yes, another size    |                              | transfer (content)
yes, the same ETag   | not, and nothing is set      | nothing
yes                  | not, or not as recorded      | compare: two HEADs in a worker, then transfer or nothing
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Attributes, Kind, Operation, Reason, SourceObject, is_same_file, stamp_of_object
from s3batch.objects import compare
from s3batch.objects.own_keys import is_own_key
from s3batch.objects.unmatched import UnmatchedPatterns
from s3batch.plan.empty_source import LEFT_EMPTY
from s3batch.plan.planner import BATCH, Planner, take_over_rows
from s3batch.plan.row_check import RowCheck
from s3batch.plan.transfer_spec import TransferSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.journal import Facts
    from s3batch.model import KnownObject, ListedObject
    from s3batch.plan.listed_keys import ListedKeys
    from s3batch.plan.planner import Add, Expect
    from s3batch.s3.listing import ListingPage

_NOTHING_SET = Attributes().fingerprint()
"""The fingerprint where no setting names an attribute: what an object has, its copy gets."""


class ListedEntry(NamedTuple):
    """An object of the source's listing."""

    path: str
    """Its key behind the source's prefix."""
    size: int
    etag: str
    modified: float


class WholeListing(NamedTuple):
    """A listing of the source that came to its end. It stands where a walk stands in an upload."""

    troubled: int = 0
    complete: bool = True


class TransferPlanner(Planner):
    """One listing of the source and its decisions."""

    def __init__(
        self, *common: Any, pages: Callable[[], Iterable[ListingPage | None]], streams: bool = False,
        named: ListedKeys | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """Take what any planner takes, and the source."""
        super().__init__(*common, **more)
        self.pages = pages
        """Lists the source; ``None`` stands for a page that is still on its way."""
        self.streams = streams
        """True if the store cannot copy from the source: it is another one."""
        self.named = named
        """The objects of a list, which ``pages`` are made of."""

    def steps(self, add: Add, expect: Expect, listing: Iterator[None]) -> Iterator[None]:
        """Take over, list the target, list the source and decide, a batch at each step."""
        yield from take_over_rows(self.journal, expect)
        yield from listing
        unmatched, found, hidden = UnmatchedPatterns(self.wanted.rules), False, False
        for page in self.pages():
            if page is None:
                yield
                continue
            entries = self._within_limits(list(select_entries(page.objects, transfer_spec(self))))
            found = found or bool(entries)
            hidden = hidden or any(not is_own_key(each.key) and not each.key.endswith("/") for each in page.objects)
            unmatched.see([each.path for each in entries])
            for start in range(0, len(entries), BATCH):
                add(self._decide(entries[start : start + BATCH]))
                yield
        self.walked = WholeListing()
        add(self._redirects())
        unmatched.see([each.key for each in self.wanted.redirects], only="acl")
        self.left_empty = hidden and not found if self.named is None else self.named.is_empty
        lost = LEFT_EMPTY if hidden and not found else unmatched.warning() if found else ""
        for warning in (*(self.named.warnings() if self.named is not None else ()), *filter(None, [lost])):
            self.journal.jobs.warn(warning)

    def _within_limits(self, entries: list[ListedEntry]) -> list[ListedEntry]:
        """Return the objects within the limits of size and age; what they hide is left alone in the target too."""
        limits, now = self.wanted.limits, self.journal.jobs.current.store_date if self.wanted.limits else 0.0
        if not limits:
            return entries
        hidden = [each for each in entries if limits.hides(each.size, each.modified, now)]
        if self.wanted.settings.delete:
            self.journal.orphans.mark_seen([self.wanted.key(each.path) for each in hidden])
        return [each for each in entries if not limits.hides(each.size, each.modified, now)]

    def _decide_one(self, file: Any, key: str, facts: Facts) -> Operation | None:
        listed, known = facts
        wanted = self.wanted
        # of nearly all of a first run no attributes are compared
        fingerprint = "" if listed is None else wanted.rules.fingerprint(file.path)
        return decide_transfer(
            file, key, listed, known if wanted.settings.trust_journal else None, fingerprint,
            stage=wanted.stage(file.path), streamed=self.streams,
        )  # fmt: skip


def transfer_spec(planner: Planner) -> TransferSpec:
    """Return the specification of a transfer's planner. Raises TypeError for another planner."""
    if not isinstance(planner.wanted, TransferSpec):
        raise TypeError("the source of this plan is not in S3")
    return planner.wanted


def select_entries(objects: Iterable[ListedObject], wanted: TransferSpec) -> Iterator[ListedEntry]:
    """Yield the objects that belong to the job: not s3batch's own, nor the marker of the prefix itself."""
    start = len(wanted.place.prefix)
    for key, size, etag, modified in objects:
        path = key[start:]
        if path and not is_own_key(path) and wanted.selection.wants(path):
            yield ListedEntry(path, size, etag, modified)


def decide_transfer(
    source: ListedEntry,
    key: str,
    listed: ListedObject | None,
    known: KnownObject | None,
    fingerprint: str,
    *,
    stage: int,
    streamed: bool,
) -> Operation | None:
    """Return the operation that an object of the source needs, or ``None`` if the object under ``key`` is right.

    ``known`` are the journal's facts of the last own write, or ``None`` if they are not trusted.
    """
    if listed is None:
        return _plan_transfer(source, key, Kind.TRANSFER, Reason.MISSING, "", stage=stage, streamed=streamed)
    _, size, etag, modified = source
    plan = partial(_plan_transfer, source, key, stage=stage, streamed=streamed)
    if known is not None and compare.is_own_object(listed, known):
        if known.fingerprint == fingerprint and is_same_file(stamp_of_object(size, etag, modified), known.local):
            return None
    elif listed.size == size and listed.etag == etag != "" and fingerprint == _NOTHING_SET:
        return None
    if listed.size != size:
        return plan(Kind.TRANSFER, Reason.CONTENT, listed.etag)
    return plan(Kind.RECONCILE, Reason.UNKNOWN, listed.etag)


def _plan_transfer(
    source: ListedEntry, key: str, kind: Kind, reason: Reason, seen: str, *, stage: int, streamed: bool
) -> Operation:
    """Return the operation of an object of the source; ``seen`` is the ETag that is listed under ``key``."""
    path, size, etag, modified = source
    spec = _new(SourceObject, (etag, streamed, "", 0))
    stamp = stamp_of_object(size, etag, modified)
    return _new(Operation, (kind, key, reason, path, size, stamp, stage, seen, spec, 0, 0, False, ""))


_new = tuple.__new__
"""A third of the time of calling a type of named tuples."""


class TransferRowCheck(RowCheck):
    """Tells rows that the plan of a transfer could have made from others."""

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation to carry out for a row of an earlier run. Raises ValueError if there is none."""
        if operation.kind in (Kind.REDIRECT, Kind.DELETE):
            return super().admit(operation)
        wanted = self._wanted
        if operation.kind not in (Kind.TRANSFER, Kind.RECONCILE) or not isinstance(operation.spec, SourceObject):
            raise ValueError(f"a transfer has no operation {operation.kind.value} without a source object")
        path = operation.path
        if not path or is_own_key(path) or operation.key != wanted.key(path):
            raise ValueError(f"the key of {path!r} is not {operation.key!r}")
        if not wanted.selection.wants(path):
            raise ValueError(f"the job does not select {path!r}")
        return operation


class PlannedTransferCheck(TransferRowCheck):
    """The same for the operations of a saved plan, which are carried out as they are."""

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation itself. Raises ValueError for one that this job could not have planned."""
        if operation.kind is Kind.RECONCILE:
            raise ValueError("a plan has no operation reconcile")
        return super().admit(operation)
