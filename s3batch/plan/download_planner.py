"""The plan of a download: decide for each listed object, a page at a time, and at the end plan the deletes.

    what dead jobs left ─> facts, keys that have an operation already
    listing ─ a page ─> names ─ with facts and what is at each path ─> operations ─> journal; fetching goes on meanwhile
    orphans                                                              when all of that is done and nothing failed

Keys whose names cannot be paths here fail alone, named.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Kind, Operation, Reason, Result
from s3batch.plan.blocked_downloads import BlockedObject
from s3batch.plan.bulk_fetch import BulkFetchDecision
from s3batch.plan.decide_download import decide_download, name_blocked
from s3batch.plan.key_names import DirectoryKeys, find_name_problem
from s3batch.plan.planner import count_decided, record_failures, take_over_rows
from s3batch.reporting.events import EventStream
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    from s3batch.files.tree import TargetTree
    from s3batch.journal import Journal
    from s3batch.model import KnownObject, ListedObject
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.key_names import FoldedNames
    from s3batch.plan.planner import Add, Expect
    from s3batch.reporting.progress import Totals
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage

BAD_NAME = "BadName"
"""The code of a key that can be no path here."""
_BLOCKED = frozenset({errno.ENOTDIR, errno.ELOOP})


class RefusedKey(NamedTuple):
    """An object that cannot be a file here."""

    listed: ListedObject
    path: str
    error: str
    code: str


@dataclass(slots=True)
class DownloadPlanner:
    """One listing and its decisions."""

    wanted: DownloadSpec
    journal: Journal
    totals: Totals
    tree: TargetTree
    folded: FoldedNames | None = None
    """The names so far, on a file system that sees no difference of case."""
    hidden: int = 0
    """Objects that the filters have left out so far."""
    events: EventStream = field(default_factory=EventStream)
    """Hears of failures."""
    makes_way: bool = False
    """True if objects wait whose way a delete of orphans may clear."""
    blocked: list[BlockedObject] = field(default_factory=list)
    """The objects that wait."""
    _refused: list[RefusedKey] = field(default_factory=list)
    _named: list[Operation] = field(default_factory=list)
    """Operations of blocked objects, for a saved plan."""

    def steps(self, add: Add, expect: Expect, pages: Iterable[ListingPage]) -> Iterator[None]:
        """Take over, list and decide, a page at each step; ``add`` takes the operations."""
        yield from take_over_rows(self.journal, expect)
        names, bulk = DirectoryKeys(), BulkFetchDecision(self.wanted, self.journal, self.tree)
        self.journal.objects.begin_listing()
        for page in pages:
            self.journal.objects.record_listing(page.objects)
            unrelated = names.take_unrelated(page.objects) if self.folded is None else None
            if unrelated is None:
                add(self._decide(list(names.feed(page.objects))))
            else:
                add(self._decide_together(unrelated, bulk))
            reach_failpoint("listed-page")
            yield
        self.journal.objects.complete_listing()
        add(self._decide(list(names.end())))
        self.journal.jobs.set_planned()
        reach_failpoint("listed")

    def _decide_together(self, objects: list[ListedObject], bulk: BulkFetchDecision) -> list[Operation]:
        """Decide for objects none of whose keys begins another: ``bulk`` decides what it can."""
        files = bulk.select_files(objects)
        if files is None:
            return self._decide([(each, False) for each in objects])
        planned = self.journal.objects.find_planned_before([each.key for each in objects])
        unchanged, left = ([], files) if planned else bulk.find_unchanged(files)
        if unchanged:
            sizes = [listed.size for listed, _ in unchanged]
            count_decided(self.journal, self.totals, sizes, [listed.key for listed, _ in unchanged])
        return self._decide_each(left, planned) if left else []

    def _decide(self, objects: list[tuple[ListedObject, bool]]) -> list[Operation]:
        files = self._select_files(objects)
        return self._decide_each(files, self.journal.objects.find_planned_before([listed.key for listed, _ in files]))

    def _decide_each(self, files: list[tuple[ListedObject, str]], planned: set[str]) -> list[Operation]:
        """Return the operations of objects one by one, without those of ``planned``, which have theirs."""
        found = self._look_at_files([each for each in files if each[0].key not in planned])
        known = self._look_up_known([listed.key for listed, _, info in found if info is not None])
        operations, quiet = [], []
        for listed, path, info in found:
            operation = decide_download(listed, known.get(listed.key), path, info)
            if operation is None:
                quiet.append(listed.key)
            else:
                operations.append(operation)
        count_decided(self.journal, self.totals, [listed.size for listed, _ in files], quiet)
        self._fail_refused()
        named, self._named = self._named, []
        return operations + named

    def _look_at_files(
        self, files: list[tuple[ListedObject, str]]
    ) -> list[tuple[ListedObject, str, os.stat_result | None]]:
        """Return the objects with what is at their paths. An object whose path cannot be looked at is refused."""
        found = []
        for listed, path in files:
            try:
                found.append((listed, path, self.tree.find(path)))
            except OSError as error:
                self._block(listed, path, error)
        return found

    def _look_up_known(self, keys: list[str]) -> dict[str, KnownObject | None]:
        """Return the journal's facts of the last fetch of these keys, where they are trusted."""
        if not (keys and self.wanted.settings.trust_journal):
            return {}
        return {key: known for key, (_, known) in self.journal.objects.look_up(keys).items()}

    def _select_files(self, objects: list[tuple[ListedObject, bool]]) -> list[tuple[ListedObject, str]]:
        """Return the objects that are to be files, with their paths; make the directories of markers."""
        files = []
        limits, now = self.wanted.limits, self.journal.jobs.current.store_date if self.wanted.limits else 0.0
        for listed, is_directory in objects:
            path = self.wanted.path(listed.key)
            if not path or self.wanted.keeps_out(path):
                continue
            is_beyond = bool(limits) and limits.hides(listed.size, listed.modified, now)
            if is_beyond or not self.wanted.selection.wants(path.removesuffix("/")):
                self.hidden += not path.endswith("/")
                continue
            if problem := find_name_problem(path.removesuffix("/")):
                self._refuse(listed, path, problem)
            elif path.endswith("/"):
                self._make_directory(listed, path.removesuffix("/"))
            elif is_directory:
                self._refuse(listed, path, f"other keys begin with {path + '/'!r}, so it has to be a directory")
            elif self.folded is not None and not self.folded.take(path):
                self._refuse(listed, path, "another key differs only in case, and the target sees no difference")
            else:
                files.append((listed, path))
        return files

    def _make_directory(self, listed: ListedObject, path: str) -> None:
        if listed.size:
            self._refuse(listed, path, "its name ends in '/', so it has to be a directory, but it has content")
        elif not self.wanted.settings.dry_run:
            try:
                self.tree.make_directory(path)
            except OSError as error:
                self._block(listed, f"{path}/", error)

    def _block(self, listed: ListedObject, path: str, error: OSError) -> None:
        """Have an object wait whose path cannot be made while a file is in its way; refuse any other.

        A saved plan names it and goes on: what carries the plan out finds the file, or does not find it any more.
        """
        if self.wanted.settings.plan and error.errno in _BLOCKED:
            self._named.append(name_blocked(listed, path))
        elif self.makes_way and error.errno == errno.ENOTDIR and isinstance(error.filename, str):
            self.blocked.append(BlockedObject(listed, path, error.filename))
        else:
            code = "Blocked" if error.errno in _BLOCKED else "Unwritable"
            path = path.removesuffix("/")
            self._refuse(listed, path, _describe_path_error(path, error), code)

    def decide_blocked(self, cleared: Collection[str]) -> list[Operation]:
        """Return the operations of the objects that have waited. ``cleared``: what is, or would be, out of their way."""
        blocked, self.blocked, self.makes_way = self.blocked, [], False
        files: list[tuple[ListedObject, str]] = []
        operations = []
        for listed, path, blocking in blocked:
            if self.wanted.settings.dry_run and blocking in cleared:  # nothing was deleted
                operations += [] if path.endswith("/") else [decide_download(listed, None, path, None)]
            elif path.endswith("/"):
                self._make_directory(listed, path[:-1])
            else:
                files.append((listed, path))
        operations += [decide_download(listed, None, path, info) for listed, path, info in self._look_at_files(files)]
        self._fail_refused()
        return [each for each in operations if each is not None]

    def _refuse(self, listed: ListedObject, path: str, error: str, code: str = BAD_NAME) -> None:
        self._refused.append(RefusedKey(listed, path, error, code))

    def _fail_refused(self) -> None:
        """Record the refused keys as failures, each by its name."""
        if not self._refused:
            return
        refused, self._refused = self._refused, []
        planned = [Operation(Kind.DOWNLOAD, each.listed.key, Reason.MISSING, each.path) for each in refused]
        record_failures(self, planned, [(each.error, each.code) for each in refused])


def _describe_path_error(path: str, error: OSError) -> str:
    if error.errno in _BLOCKED:
        return f"{error.filename or path!r}: a link or a file is in the place of a directory, and is not followed"
    return f"{path!r} cannot be looked at: {error.strerror}"


class ObjectReplanner:
    """Plans an object again that is not the one that was listed."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def replan(self, operation: Operation) -> Operation | Result:
        """Return the operation for the object as it is now, or its result where there is none any more."""
        try:
            head = self._bucket.head(operation.key)
        except RequestError as error:
            fault = error.fault
            return Result(operation.id, error=str(error), code=fault.code, status=fault.status)
        if head is None:
            return Result(
                operation.id, error="the object was deleted after it was listed", code="NoSuchKey", status=404
            )
        size = int(head.headers.get("content-length", 0))
        return operation._replace(size=size, etag=head.headers.get("etag", "").strip('"'), upload_id="")
