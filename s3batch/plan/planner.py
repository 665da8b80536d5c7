"""The plan of a sync: walk the source, decide for each file, and at the end plan the deletes.

    what dead jobs left ─> facts, keys that have an operation already      a batch at each step, sending goes on meanwhile
    listing
    walk ─> files ─ with listing and facts ─> operations ─> journal
    troubled paths, redirects                                              when the walk is over
    orphans                                                                when all of that is done and nothing failed

It can be cut anywhere: the next job to the target begins with the operations in the journal, and plans the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from s3batch.base.errors import JobFailedError
from s3batch.base.failpoints import reach_failpoint
from s3batch.base.units import format_plural
from s3batch.model import FILE, Comparison, Kind, Operation, PlannedDeletes, Reason, RedirectSpec, Result, Stage, State
from s3batch.objects.redirects import refuse_uploaded
from s3batch.objects.unmatched import UnmatchedPatterns
from s3batch.plan import decide as planner
from s3batch.plan import deletes, quirk_memory
from s3batch.plan.beside_listing import BesideListing
from s3batch.plan.bulk_decision import BulkDecision
from s3batch.plan.empty_source import LEFT_EMPTY, NONE_LISTED, has_hidden_files
from s3batch.plan.spec import KEPT, SyncSpec
from s3batch.reporting.events import EventStream
from s3batch.settings.s3_limits import OBJECT_LIMIT
from s3batch.source.walk_ahead import WalkAhead
from s3batch.source.walk_record import WalkProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3batch.journal import Facts, Journal
    from s3batch.plan.blocked_uploads import BlockedUploads
    from s3batch.plan.renames import RenameFinder
    from s3batch.reporting.progress import Totals
    from s3batch.source.file_batch import FileBatch
    from s3batch.source.walk import Walk
    from s3batch.source.walk_ahead import StartFork

BATCH = 500
"""Files decided in one go: enough to share a journal transaction, few enough to keep uploads flowing."""

_PATIENCE = 0.01
"""Seconds to wait for the walk in one step."""

Add = Callable[[list[Operation]], None]
AddDeletes = Callable[[PlannedDeletes], None]
Expect = Callable[[int], None]
"""Takes by how many operations there are more to do of those that dead jobs left."""


class SourceEntry(Protocol):
    """A file of the source, or an object."""

    @property
    def path(self) -> str:
        """Relative to the source."""

    @property
    def size(self) -> int:
        """Bytes."""


class SourceEnd(Protocol):
    """The state of a walk, or of a listing of the source."""

    @property
    def troubled(self) -> int:
        """The number of paths that could not be read."""

    @property
    def complete(self) -> bool:
        """True once it has come to its end."""


class Planner:
    """One walk and its decisions."""

    def __init__(
        self, wanted: SyncSpec, journal: Journal, totals: Totals, *, blocked: BlockedUploads | None = None,
        renames: RenameFinder | None = None, events: EventStream | None = None,
    ) -> None:  # fmt: skip
        self.wanted = wanted
        self.journal = journal
        self.totals = totals
        self.walked: SourceEnd | None = None
        """How far the walk, or the listing of the source, has come."""
        self.blocked = blocked
        """Has uploads wait that another object keeps out."""
        self.renames = renames
        """Finds objects that new files may have been renamed from."""
        self.left_empty = False
        """True if the filters have left no file of the source."""
        self.compare: Callable[[list[Comparison]], None] | None = None
        """Takes files that are probably equal to their objects; ``None``: they become operations like any others."""
        self.knows_listed: Callable[[], bool] = lambda: True
        """Returns whether all that will be known of the objects listed so far is known: then files may be compared."""
        self.events = events or EventStream()
        """Hears of failures."""
        self._oversized: list[WalkProblem] = []
        """Files since the last batch that no object can hold."""
        self.start_fork: StartFork | None = None
        """Starts a process in which a long walk goes on; ``None``: it stays in this one."""

    def steps(self, add: Add, expect: Expect, listing: Iterator[None]) -> Iterator[None]:
        """Take over, list, walk and decide, a batch at each step; ``add`` takes the operations."""
        yield from take_over_rows(self.journal, expect)
        self.walked = walked = self._walk()
        describe = self.wanted.rules.fingerprint
        ahead = WalkAhead(walked, BATCH, describe, self.start_fork)
        seen = SeenFiles(UnmatchedPatterns(self.wanted.rules))
        with closing(ahead):
            yield from self._decide_all(
                add, ahead, seen, BesideListing(self.wanted, self.journal, walked, ahead), listing
            )
        self._note_problems(walked, add)
        add(self._redirects())
        seen.unmatched.see([each.key for each in self.wanted.redirects], only="acl")
        if not seen.any and walked.complete and not walked.troubled:
            self.left_empty = has_hidden_files(self.wanted, self.journal.path)
        empty = NONE_LISTED if self.wanted.settings.list_digest else LEFT_EMPTY
        lost = empty if self.left_empty else seen.unmatched.warning() if seen.any else ""
        for warning in (*walked.warnings(), *filter(None, [lost])):
            self.journal.jobs.warn(warning)

    def _decide_all(
        self, add: Add, ahead: WalkAhead, seen: SeenFiles, beside: BesideListing, listing: Iterator[None]
    ) -> Iterator[None]:
        bulk, walked = BulkDecision(self.wanted, self.journal, self.compare), beside.walked

        def take(batch: FileBatch, keys: Sequence[str]) -> FileBatch:
            seen.see(batch.paths)
            return self._take_unchanged(batch, keys, bulk)

        def take_beside(batch: FileBatch, keys: Sequence[str]) -> FileBatch:
            left = take(batch, keys)
            return self._take_alike(left, bulk)[0] if self.knows_listed() else left

        yield from beside.steps(listing, take_beside)
        for batch in beside.put_off:
            add(self._decide_batch(batch, bulk))
            yield
        while not ahead.is_over:
            found = ahead.next_batch(_PATIENCE)
            if found is not None:
                add(self._decide_batch(take(found, self.wanted.keys(found.paths)), bulk))
                beside.let_walk_ahead()
            self._note_problems(walked, add)
            yield

    def _walk(self) -> Walk:
        if not self.wanted.settings.list_digest:
            return self.wanted.walk(self.journal.path)
        from s3batch.plan.file_list import walk_file_list  # noqa: PLC0415 - few jobs have a list

        return walk_file_list(self.wanted, self.journal)

    def require_complete_walk(self) -> None:
        """Raise JobFailedError if a path could not be read: an object without a file may be of such a path."""
        walked = self.walked
        if walked is None or walked.troubled or not walked.complete:
            # readable by now, or its operation would have failed
            count = walked.troubled if walked else 0
            raise JobFailedError(
                f"{format_plural(count, 'path')} could not be read while the source was walked",
                remedy="make them readable",
            )

    def plan_deletes(self, add: AddDeletes) -> Iterator[None] | None:
        """Return the steps of planning the deletes, after everything else is done; ``None`` if nothing is deleted.

        Each adds those of one request, which may be sent before the next. Raises :class:`JobFailedError` if a guard
        refuses.
        """
        if not self.wanted.settings.delete:
            self._end_plan()
            return None
        return self._add_deletes(deletes.plan_deletes(self.wanted, self.journal), add)

    def _add_deletes(self, planned: Iterator[PlannedDeletes], add: AddDeletes) -> Iterator[None]:
        for batch in planned:
            add(batch)
            yield
        reach_failpoint("deleting")
        self._end_plan()

    def _end_plan(self) -> None:
        self.journal.jobs.set_planned()
        reach_failpoint("planned")

    def _take_unchanged(self, batch: FileBatch, keys: Sequence[str], bulk: BulkDecision) -> FileBatch:
        """Decide the files of a batch with these keys that need nothing, and return the others."""
        refuse_uploaded(self.wanted.settings, self.wanted.redirects, keys)
        if self.journal.objects.find_planned_before(keys):
            return batch
        quiet, left = bulk.take_unchanged(batch, keys)
        if len(quiet):
            quiet_keys = self.wanted.keys(quiet.paths) if len(left) else keys
            if self.wanted.settings.delete:
                self.journal.orphans.mark_seen(quiet_keys)
            count_decided(self.journal, self.totals, quiet.sizes, quiet_keys)
        return left

    def _decide_batch(self, batch: FileBatch, bulk: BulkDecision) -> list[Operation]:
        """Return the operations of files; ``bulk`` has files compared."""
        left, planned = self._take_alike(batch, bulk)
        return self._decide_left(left.make_files(), planned, left.sizes)

    def _take_alike(self, batch: FileBatch, bulk: BulkDecision) -> tuple[FileBatch, set[str]]:
        """Have files compared that are probably equal to their objects.

        Return the other files, and the keys that a dead job has planned an operation for.
        """
        keys = self.wanted.keys(batch.paths)
        planned = self._claim(keys)
        left = batch if planned else bulk.have_compared(batch, keys)
        if count := len(batch) - len(left):
            self.journal.jobs.add_tally(files=count, bytes=sum(batch.sizes) - sum(left.sizes))
        return left, planned

    def _decide(self, files: Sequence[SourceEntry]) -> list[Operation]:
        """Return the operations of some :class:`SourceEntry`."""
        keys = self.wanted.keys([file.path for file in files])
        refuse_uploaded(self.wanted.settings, self.wanted.redirects, keys)
        return self._decide_left(files, self._claim(keys), [file.size for file in files])

    def _claim(self, keys: Sequence[str]) -> set[str]:
        """Note that these keys are no orphans; return those that a dead job has planned an operation for."""
        if self.wanted.settings.delete:
            self.journal.orphans.mark_seen(keys)
        return self.journal.objects.find_planned_before(keys)

    def _decide_left(self, left: Sequence[Any], planned: set[str], sizes: Sequence[int]) -> list[Operation]:
        """Return the operations of files that need a decision of their own; count those of ``sizes``."""
        quiet: list[str] = []
        operations = self._decide_each(left, planned, quiet) if left else []
        if self._oversized:
            sizes = [size for size in sizes if size <= OBJECT_LIMIT]
        count_decided(self.journal, self.totals, sizes, quiet)
        if self.blocked is not None:
            operations = self.blocked.place(operations)
        return operations if self.renames is None else self.renames.place(operations)

    def _decide_each(self, files: Sequence[Any], planned: set[str], quiet: list[str]) -> list[Operation]:
        """Return the operations of files; add the keys of those that need none to ``quiet``."""
        keys = self.wanted.keys([file.path for file in files])
        facts, operations = self.journal.objects.look_up(keys), []
        for file, key in zip(files, keys, strict=True):
            if file.size > OBJECT_LIMIT:
                self._oversized.append(WalkProblem(file.path, describe_oversize(file.size), OVERSIZED, directory=False))
                continue
            if key in planned:
                self._note_planned(key, facts[key])
                continue
            operation = self._decide_one(file, key, facts[key])
            if operation is None:
                quiet.append(key)
            else:
                operations.append(operation)
        return operations

    def _note_planned(self, key: str, facts: Facts) -> None:
        """Note a file that a dead job has planned: its key may have to be cleared too."""
        if self.blocked is not None and facts[0] is None:
            self.blocked.note(key)

    def _decide_one(self, file: Any, key: str, facts: Facts) -> Operation | None:
        listed, known = facts
        known = known if self.wanted.settings.trust_journal else None
        attributes, fingerprint = self.wanted.rules.describe(file.path)
        stage, gzip = self.wanted.stage(file.path), attributes.gzip
        if self.wanted.settings.list_digest and not self.wanted.settings.plan:
            return planner.decide_unlisted(file, key, known, fingerprint, stage=stage, gzip=gzip)
        return planner.decide_operation(
            file, key, listed, known, fingerprint, stage=stage, gzip=gzip, preserves=bool(attributes.preserve)
        )

    def _redirects(self) -> list[Operation]:
        return [
            Operation(Kind.REDIRECT, each.key, Reason.REDIRECT, stage=Stage.REDIRECT, spec=RedirectSpec(each.location))
            for each in self.wanted.redirects
        ]

    def _note_problems(self, walked: Walk, add: Add) -> None:
        """Give the problems since the last batch to the journal, so that memory does not grow with them."""
        kept = walked.take_kept()
        if kept and self.wanted.settings.delete:
            self.journal.orphans.keep_keys(chain.from_iterable(map(self._keys_kept, kept)))
        problems, self._oversized = [*walked.take_problems(), *self._oversized], []
        if not problems:
            return
        planned = self._plan_problems(problems)
        if self.wanted.settings.dry_run or self.wanted.settings.list_digest:
            # a dry run carries nothing out that could fail, and a list is looked at once
            record_failures(self, planned, [(each.error, each.code) for each in problems])
        else:
            add(planned)

    def _keys_kept(self, path: str) -> set[str]:
        """Return the keys at or below which nothing is an orphan: of a file at ``path``, and of a directory."""
        key, wanted = f"{self.wanted.prefix}{path}".rstrip("/"), self.wanted
        return {key, wanted.key(path), wanted.key(path + "/").rstrip("/")} if wanted.target.stripped else {key}

    def _plan_problems(self, problems: list[WalkProblem]) -> list[Operation]:
        """Return operations that will fail: paths that cannot be sent must be named, and tried again."""
        return [
            Operation(Kind.UPLOAD, self.wanted.key(path or KEPT), Reason.MISSING, path or "./")
            for path in (each.path + "/" * (each.directory and bool(each.path)) for each in problems)
        ]


OVERSIZED = "FileTooLarge"
"""The code of s3batch for a file that is larger than any object can be."""


def describe_oversize(size: int) -> str:
    """Return why a file of ``size`` bytes is not sent."""
    return f"it has {size:,} bytes, and S3 takes objects of up to 5 TiB"


class SeenFiles:
    """What the files of a walk have shown so far."""

    def __init__(self, unmatched: UnmatchedPatterns) -> None:
        self.unmatched = unmatched
        self.any = False
        """True if there is a file."""

    def see(self, paths: Sequence[str]) -> None:
        """Take note of some files."""
        self.any = self.any or bool(paths)
        if self.unmatched:
            self.unmatched.see(paths)


class AnyPlanner(Protocol):
    """What the planners of files and of objects have in common."""

    journal: Journal
    totals: Totals
    events: EventStream


def record_failures(planner: AnyPlanner, operations: list[Operation], causes: Sequence[tuple[str, str]]) -> None:
    """Record operations that are not carried out as failures, each with its error and code, and tell of them."""
    rows = planner.journal.operations.add(operations)
    failed = [Result(row.id, error=error, code=code) for row, (error, code) in zip(rows, causes, strict=True)]
    planner.journal.operations.settle([(State.FAILED, result) for result in failed])
    planner.totals.failed += len(rows)
    for row, result in zip(rows, failed, strict=True):
        planner.events.failure(row, result)


def count_decided(journal: Journal, totals: Totals, sizes: Sequence[int], quiet: Sequence[str]) -> None:
    """Count files or objects that are decided, by their sizes; ``quiet`` are the keys that need nothing."""
    unchanged = len(quiet) - len(journal.facts.find_done_before(quiet))
    totals.unchanged += unchanged
    journal.jobs.add_tally(files=len(sizes), bytes=sum(sizes), unchanged=unchanged)


def take_over_rows(journal: Journal, expect: Expect) -> Iterator[None]:
    """Take over the rows of dead jobs, some at a step."""
    for more in journal.jobs.take_over(quirk_memory.read_quirks_in_force(journal).late):
        expect(more)
        yield


class Replanner:
    """Plans a file again that is not the one that was planned, as the walk would: with its links, and its words."""

    def __init__(self, wanted: SyncSpec, journal: str) -> None:
        self._wanted = wanted
        self._journal = journal
        self._walk: Walk | None = None

    def replan(self, operation: Operation) -> Operation | Result | None:
        """Return the operation for the file as it is now, or its result where there is nothing to send any more.

        ``None``: a directory could not be read by the walk, and can be now.
        """
        path, directory = operation.path.rstrip("/"), operation.path.endswith("/")
        if directory and os.path.isdir(os.path.join(self._wanted.source.base, path)):
            return None
        if self._walk is None:
            self._walk = self._wanted.walk(self._journal)
        found = self._walk.look(path)
        self._walk.take_kept()
        if found is not None and found.size > OBJECT_LIMIT:
            return Result(operation.id, error=f"{path!r}: {describe_oversize(found.size)}", code=OVERSIZED)
        if found is not None and found.stamp.kind == FILE:
            return operation._replace(size=found.size, stamp=found.stamp, upload_id="")
        if found is not None:
            return Result(operation.id, error=f"{path!r} became a directory after it was planned", code="Changed")
        if self._walk.problems:
            problem = self._walk.problems.pop()
            return Result(operation.id, error=f"{problem.path!r}: {problem.error}", code=problem.code)
        return Result(operation.id)

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each kind of thing that files have become, and that is skipped."""
        if self._walk is not None:
            yield from self._walk.warnings()
