r"""Files too large for one request: each upload's way through begin, parts and finish, as values in and out.

    begin ──> parts … ──> finish ──> settled
      ^         |  \\
      |         |   └ the file changed, a part is refused: abort ──> settled
      +─────────┴── S3 does not know the upload (any more): once, from the start
    survey (an upload that a dead run began: what does S3 hold?) ──> parts

The coordinator asks :class:`Uploads` for work and tells it results; it keeps the journal's ``part`` rows and
never talks to S3. Parts of one file go to all workers; so many files are under way at once that their parts
keep everybody busy, and no more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from s3batch.crash_points import reach
from s3batch.model import Operation, Part, Result, State, Step, Work
from s3batch.planner import layout, part_size_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.journal import Journal

OPEN_AT_ONCE = 32
"""Files being sent in parts at the same time."""


@dataclass(slots=True)
class _Upload:
    operation: Operation
    parts: dict[int, Part] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    """Numbers of parts to send."""
    under_way: int = 0
    restarted: bool = False
    failure: Result | None = None
    """Why it is being aborted."""


class Verdict(NamedTuple):
    """What became of an operation whose upload is over."""

    operation: Operation
    result: Result


class Uploads:
    """The multipart uploads of a job. Belongs to the coordinator's thread, as the journal does."""

    def __init__(
        self, journal: Journal, part_size: int, fingerprint: Callable[[str], str], found: Callable[[str], str]
    ) -> None:
        """Tell what the job decides: ``fingerprint`` of the attributes a path wants, and which upload was ``found``.

        The latter gives the id of an own unfinished upload of a key that only S3 knows of, or ``""``.
        """
        self._journal = journal
        self._part_size = part_size
        self._fingerprint = fingerprint
        self._found = found
        self._open: dict[int, _Upload] = {}
        self._next: deque[Operation] = deque()
        self._ready: deque[Work] = deque()

    def add(self, operation: Operation) -> None:
        """Take an operation that has been leased."""
        self._next.append(operation)

    @property
    def count(self) -> int:
        """Operations begun or waiting here."""
        return len(self._open) + len(self._next)

    def work(self, limit: int) -> list[Work]:
        """Up to ``limit`` pieces of work to hand out now."""
        while self._next and len(self._open) < OPEN_AT_ONCE:
            self._start(self._next.popleft())
        works: list[Work] = []
        while self._ready and len(works) < limit:
            works.append(self._ready.popleft())
        for upload in self._open.values():
            while upload.waiting and len(works) < limit and upload.failure is None:
                part = upload.parts[upload.waiting.popleft()]
                upload.under_way += 1
                works.append(Work(upload.operation, Step.PART, (part,)))
        return works

    def _start(self, operation: Operation) -> None:
        fingerprint = self._fingerprint(operation.path)
        adoptable = None
        if not operation.upload_id:
            adoptable = self._journal.adoptable(operation.key, operation.size, operation.mtime_ns, fingerprint)
        if adoptable is not None:
            self._journal.adopt(operation.id, operation.key, adoptable[0])
            operation = operation._replace(upload_id=adoptable[0])
        elif not operation.upload_id and (upload_id := self._found(operation.key)):
            operation = operation._replace(upload_id=upload_id)
        self._open[operation.id] = _Upload(operation)
        self._ready.append(Work(operation, Step.SURVEY if operation.upload_id else Step.BEGIN))

    def requeue(self, work: Work) -> None:
        """Take back a piece of work: to be tried again, or lost with its worker."""
        upload = self._open.get(work.operation.id)
        if upload is None:
            return
        if work.step is not Step.PART:
            self._ready.append(work)
            return
        upload.under_way -= 1
        upload.waiting.append(work.parts[0].number)
        self._close_failed(upload)

    def take(self, result: Result) -> Verdict | None:
        """Go on with an upload after a good result, or one it can mend; the verdict once it is over."""
        upload = self._open[result.id]
        match result.step:
            case Step.BEGIN:
                self._begun(upload, result.upload_id)
            case Step.SURVEY:
                self._surveyed(upload, result)
            case Step.PART:
                self._part_done(upload, result)
            case Step.FINISH:
                return self._over(upload, result)
            case Step.ABORT:
                self._journal.forget_upload(upload.operation.id)
                return self._over(upload, upload.failure or result)
        return None

    def mends(self, result: Result) -> bool:
        """Whether a failed result only means to begin this upload again, which is done once."""
        upload = self._open[result.id]
        gone = result.code in ("NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall")
        if not gone or upload.restarted:
            return False
        upload.restarted = True
        upload.under_way = 0
        self._journal.forget_upload(upload.operation.id)
        upload.operation = upload.operation._replace(upload_id="")
        upload.waiting.clear()
        upload.parts.clear()
        self._ready.append(Work(upload.operation, Step.BEGIN))
        return True

    def again(self, result: Result) -> Work:
        """The piece of work that gave ``result``, to be put back by :meth:`requeue`."""
        upload = self._open[result.id]
        if result.step is Step.PART:
            return Work(upload.operation, Step.PART, (upload.parts[result.part],))
        parts = tuple(part for _, part in sorted(upload.parts.items())) if result.step is Step.FINISH else ()
        return Work(upload.operation, result.step, parts)

    def stale(self, result: Result) -> bool:
        """Whether a result is of an upload that has been begun again since, or is over."""
        upload = self._open.get(result.id)
        if upload is None:
            return True
        return result.step in (Step.PART, Step.FINISH) and result.upload_id != upload.operation.upload_id

    def give_up(self, result: Result) -> Verdict | None:
        """A failure that stays: abort the upload, then settle with ``result``. Parts under way end first."""
        upload = self._open[result.id]
        upload.under_way -= result.step is Step.PART
        if upload.failure is None:
            upload.failure = result
        if result.step is Step.ABORT or (result.step is Step.BEGIN and not upload.operation.upload_id):
            return self._over(upload, upload.failure)
        self._close_failed(upload)
        return None

    def _close_failed(self, upload: _Upload) -> None:
        if upload.failure is not None and not upload.under_way:
            self._ready.append(Work(upload.operation, Step.ABORT))

    def _begun(self, upload: _Upload, upload_id: str) -> None:
        operation = upload.operation = upload.operation._replace(upload_id=upload_id)
        size = part_size_for(operation.size, self._part_size)
        parts = [Part(operation.id, *place) for place in layout(operation.size, size)]
        self._journal.begin_upload(operation.id, upload_id, parts, self._fingerprint(operation.path))
        reach("upload-journalled")
        self._queue(upload, parts)

    def _queue(self, upload: _Upload, parts: list[Part]) -> None:
        upload.parts = {part.number: part for part in parts}
        upload.waiting = deque(part.number for part in parts if part.state is not State.DONE)
        self._finish_if_whole(upload)

    def _surveyed(self, upload: _Upload, result: Result) -> None:
        """Trust what journal and S3 agree on; have compared what only S3 has; send the rest."""
        operation, held = upload.operation, {part.number: part for part in result.parts}
        planned = self._journal.parts(operation.id)
        if not planned:
            size = held[1].size if 1 in held else self._part_size
            planned = [Part(operation.id, *place) for place in layout(operation.size, size)]
            fingerprint = self._fingerprint(operation.path)
            self._journal.begin_upload(operation.id, operation.upload_id, planned, fingerprint)
        self._queue(upload, [_agreed(part, held.get(part.number)) for part in planned])

    def _part_done(self, upload: _Upload, result: Result) -> None:
        upload.under_way -= 1
        part = upload.parts[result.part]
        upload.parts[result.part] = part._replace(etag=result.etag, checksum=result.checksum, state=State.DONE)
        if upload.failure is not None:
            self._close_failed(upload)
            return
        self._finish_if_whole(upload)

    def _finish_if_whole(self, upload: _Upload) -> None:
        if not upload.waiting and not upload.under_way and all(p.state is State.DONE for p in upload.parts.values()):
            parts = tuple(part for _, part in sorted(upload.parts.items()))
            self._ready.append(Work(upload.operation, Step.FINISH, parts))

    def _over(self, upload: _Upload, result: Result) -> Verdict:
        del self._open[upload.operation.id]
        return Verdict(upload.operation, result)


def _agreed(part: Part, held: Part | None) -> Part:
    if held is None or held.size != part.size:
        return part._replace(state=State.PENDING, etag="", checksum="")
    if part.state is State.DONE and part.etag == held.etag:
        return part
    return part._replace(state=State.PENDING, etag=held.etag, checksum=held.checksum)
