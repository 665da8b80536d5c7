r"""Multipart uploads: the state of each one from begin to finish, as values in and out.

    begin ──> parts … ──> finish ──> settled
      ^         |  \\
      |         |   ├ the file changed, and has its size still: survey, and each part is compared
      |         |   ├ it has another size, a part is refused: abort ──> settled
      |         |   └ it cannot be sent today: settled as failed once its parts under way have ended, kept for a resume
      +─────────┴── S3 does not know the upload (any more), or will not have its parts: once, from the start
    survey (begun by a dead run, or a worker died with parts: ask S3 for its parts) ──> parts
    a Complete went unanswered, and S3 has neither upload nor object: look again, for a while, before the start

The coordinator asks :class:`MultipartUploads` for work and gives it results; it keeps the journal's ``part`` rows and
never talks to S3. Parts of one file go to all workers. Only as many files are under way at once as
keep all workers busy.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.base.named_tuple import NamedTuple
from s3batch.coordinator.multipart_upload import MultipartUpload, PartSizes, TransferSizes
from s3batch.model import (
    DOWNLOAD,
    TRANSFER,
    Operation,
    Part,
    Result,
    State,
    Step,
    Work,
    is_streamed,
)
from s3batch.plan.decide import split_into_parts
from s3batch.s3.faults import THROTTLED_STATUSES
from s3batch.worker.results import COPY_REFUSED, UNSURVEYED

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.journal import Journal

OPEN_AT_ONCE = 32
"""Files being sent in parts at the same time."""
CHANGED = "Changed"
"""The code of s3batch for a file that is not the planned one: none of its parts goes with those sent before."""
LOST = "WorkerLost"
"""The code of s3batch for a worker process that died."""
_REFUSED = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
"""S3 will never complete this upload; another one it will."""
COPIES_STAY = (
    "objects that are copied in parts have unfinished multipart uploads that this journal does not know; they stay, because "
    "nothing proves a copied part"
)
_LOOK_AGAIN = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further look for the object of a Complete. Meanwhile some stores show neither upload nor object:
moto removes the upload before it stores the object."""


class UploadVerdict(NamedTuple):
    """The outcome of an operation whose upload is over."""

    operation: Operation
    result: Result


class MultipartUploads:
    """The multipart uploads of a job. Belongs to the coordinator's thread, as the journal does."""

    def __init__(
        self, journal: Journal, part_size: int, fingerprint: Callable[[str], str], found: Callable[[str], str],
        transfers: TransferSizes | None = None,
    ) -> None:  # fmt: skip
        """Take the job's functions: ``fingerprint`` of a path's attributes, and ``found``, an upload of a key in S3.

        The latter gives the id of an own unfinished upload of a key that only S3 knows of, or ``""``.
        """
        self.sizes = PartSizes(part_size, fingerprint, transfers or TransferSizes())
        self._journal = journal
        self._found = found
        self._open: dict[int, MultipartUpload] = {}
        self._next: deque[Operation] = deque()
        self._ready: deque[Work] = deque()
        self._ended: list[UploadVerdict] = []

    def add(self, operation: Operation) -> None:
        """Take an operation that has been leased."""
        self._next.append(operation)

    @property
    def count(self) -> int:
        """Operations begun or waiting here."""
        return len(self._open) + len(self._next)

    def work(self, limit: int) -> list[Work]:
        """Return up to ``limit`` pieces of work to hand out now."""
        while self._next and len(self._open) < OPEN_AT_ONCE:
            self._start(self._next.popleft())
        works: list[Work] = []
        while self._ready and len(works) < limit:
            works.append(self._ready.popleft())
        for upload in self._open.values():
            if upload.failure is not None:
                continue
            if upload.doubtful and not upload.asked and len(works) < limit:
                upload.asked = frozenset(upload.doubtful)
                works.append(upload.make_survey())
            while upload.waiting and len(works) < limit:
                part = upload.parts[upload.waiting.popleft()]
                upload.under_way += 1
                works.append(Work(upload.operation, Step.PART, (part,)))
        return works

    def _start(self, operation: Operation) -> None:
        found = False
        if not operation.upload_id:
            fingerprint = self.sizes.make_fingerprint(operation)
            adoptable = self._journal.uploads.find_adoptable(operation.key, operation.size, fingerprint)
            if adoptable is not None:
                self._journal.uploads.adopt(operation.id, operation.key, adoptable[0])
                operation = operation._replace(upload_id=adoptable[0])
            elif upload_id := self._found(operation.key):
                found = operation.kind is not TRANSFER or is_streamed(operation)
                if found:
                    operation = operation._replace(upload_id=upload_id, recheck=True)
                else:
                    self._journal.jobs.warn(COPIES_STAY)
        upload = self._open[operation.id] = MultipartUpload(operation, found=found)
        if operation.upload_id:
            parts = self._journal.uploads.find_parts(operation.id)
            if operation.kind is DOWNLOAD:  # what a dead run wrote is read back before the file gets its place
                parts = [part._replace(checksum="") for part in parts]
            upload.parts = {part.number: part for part in parts}
            upload.completing = upload.has_all_parts
            self._ready.append(upload.make_survey())
        else:
            self._ready.append(Work(operation, Step.BEGIN))

    def find_completing(self) -> set[int]:
        """Return the rows of uploads that S3 may still complete: it has not said that it did."""
        return {row for row, upload in self._open.items() if upload.completing}

    def requeue(self, work: Work) -> None:
        """Take back a piece of work that is to be tried again."""
        upload = self._current(work)
        if upload is None:
            return
        if upload.changed is not None and work.step is Step.SURVEY:
            upload.rested = True
            self._close_failed(upload)
            return
        if work.step is not Step.PART:
            self._ready.append(work)
            return
        upload.under_way -= 1
        upload.waiting.append(work.parts[0].number)
        self._close_failed(upload)

    def lost(self, work: Work) -> None:
        """Take back a piece of work whose worker died: S3 may have done it, and is asked first."""
        upload = self._current(work)
        if upload is None:
            return
        match work.step:
            case Step.PART:
                upload.under_way -= 1
                upload.doubtful.add(work.parts[0].number)
                self._close_failed(upload)
            case Step.SURVEY if upload.asked:
                upload.asked = frozenset()
            case Step.BEGIN:
                self._ask_before_retry(upload)
                self._ready.append(work._replace(operation=upload.operation))
            case _:
                upload.completing = upload.completing or work.step is Step.FINISH
                self._ready.append(work)

    def _ask_before_retry(self, upload: MultipartUpload) -> None:
        """Have S3 asked before the upload is begun again; a request that lands later is cleaned up at the job's end."""
        upload.operation = upload.operation._replace(recheck=True)
        self._journal.doubts.note_upload(upload.operation)

    def _current(self, work: Work) -> MultipartUpload | None:
        """Return the upload of ``work``, unless that is over or has been begun again since."""
        upload = self._open.get(work.operation.id)
        return upload if upload is not None and upload.operation.upload_id == work.operation.upload_id else None

    def take(self, result: Result) -> UploadVerdict | None:
        """Continue an upload after a good result; return the verdict once it is over."""
        upload = self._open[result.id]
        match result.step:
            case Step.BEGIN:
                self._begun(upload, result)
            case Step.SURVEY if result.already:
                return self._over(upload, result._replace(step=Step.FINISH))
            case Step.SURVEY if upload.failure is None:
                self._on_surveyed(upload, result)
            case Step.PART:
                self._part_done(upload, result)
            case Step.FINISH:
                return self._over(upload, result)
            case Step.ABORT:
                return self._on_aborted(upload, result)
        return None

    def _on_aborted(self, upload: MultipartUpload, result: Result) -> UploadVerdict | None:
        self._journal.uploads.forget(upload.operation.id)
        if not upload.again:
            return self._over(upload, upload.failure or result)
        upload.again, upload.failure = False, None
        self._begin_again(upload)
        return None

    def mends(self, result: Result) -> bool:
        """Return whether a failed result only means to begin this upload again, which is done once."""
        upload = self._open[result.id]
        if upload.failure is None and result.code == COPY_REFUSED:
            self._stream_instead(upload, result)
            return True
        if upload.failure is not None or result.step in (Step.BEGIN, Step.ABORT):
            return False
        if result.code == UNSURVEYED and upload.asked:
            upload.send_anew(upload.asked)
            return True
        if upload.restarted:
            return False
        if result.code == "NoSuchUpload":
            upload.restarted = True
            self._journal.uploads.forget(upload.operation.id)
            self._begin_again(upload)
            return True
        strange = upload.found and result.status == 400 and not result.retryable
        if result.code in _REFUSED or result.code == UNSURVEYED or strange:
            upload.restarted = upload.again = True
            self.give_up(result)
            return True
        return False

    def _stream_instead(self, upload: MultipartUpload, result: Result) -> None:
        """Begin a transfer again whose parts the store does not copy: they are streamed."""
        upload.stream_source()
        self._journal.operations.note_source(upload.operation)
        if result.step is Step.BEGIN:
            self._ready.append(Work(upload.operation, Step.BEGIN))
            return
        upload.again = True
        self.give_up(result)

    def pause_to_look_again(self, result: Result) -> float:
        """Return the seconds before a retry if a Complete may still be at work; 0 if none is."""
        upload = self._open[result.id]
        may_come = upload.completing and upload.failure is None and upload.looks < len(_LOOK_AGAIN)
        if result.code != "NoSuchUpload" or result.step not in (Step.SURVEY, Step.FINISH) or not may_come:
            return 0.0
        upload.looks += 1
        return _LOOK_AGAIN[upload.looks - 1]

    def _begin_again(self, upload: MultipartUpload) -> None:
        upload.forget_parts()
        self._ready.append(Work(upload.operation, Step.BEGIN))

    def again(self, result: Result) -> Work:
        """Return the piece of work that gave ``result``, for :meth:`requeue`."""
        upload = self._open[result.id]
        match result.step:
            case Step.PART:
                return Work(upload.operation, Step.PART, (upload.parts[result.part],))
            case Step.SURVEY | Step.FINISH:
                unheard = result.step is Step.FINISH and result.status not in THROTTLED_STATUSES
                upload.completing = upload.completing or unheard
                return upload.make_survey()._replace(step=result.step)
            case Step.BEGIN if result.status not in THROTTLED_STATUSES:
                self._ask_before_retry(upload)
        return Work(upload.operation, result.step)

    def stale(self, result: Result) -> bool:
        """Return whether a result is of an upload that has been begun again since, or is over."""
        upload = self._open.get(result.id)
        if upload is None:
            return True
        return result.step is not Step.BEGIN and result.upload_id != upload.operation.upload_id

    def give_up(self, result: Result) -> UploadVerdict | None:
        """Record a permanent failure: abort the upload once its current parts have ended, then settle with ``result``.

        An upload that may succeed later is not aborted but kept for a resume: see :meth:`take_ended`.
        """
        upload = self._open[result.id]
        upload.under_way -= result.step is Step.PART
        if result.step is Step.ABORT and upload.again:  # it stays where it is, and a new one is begun all the same
            return self._on_aborted(upload, result)
        if upload.failure is None:
            upload.failure = result
            upload.parked = result.code != CHANGED and (result.retryable or result.code == LOST)
        if result.step in (Step.BEGIN, Step.ABORT):
            return self._over(upload, upload.failure)
        self._close_failed(upload)
        return None

    def is_parked(self, row: int) -> bool:
        """Return whether the upload of an operation is kept for a resume, so that nothing of it is tried again."""
        upload = self._open.get(row)
        return upload is not None and upload.parked

    def take_ended(self) -> list[UploadVerdict]:
        """Return the verdicts of parked uploads whose last part under way has ended, once."""
        ended, self._ended = self._ended, []
        return ended

    def has_changed(self, result: Result) -> bool:
        """Return true for the first word that the file of an upload with parts has changed."""
        upload = self._open[result.id]
        return result.code == CHANGED and result.step is not Step.BEGIN and upload.failure is None

    def is_believed(self, result: Result) -> bool:
        """Return whether a part that was stored is one of the file as it is now, as far as that is known."""
        return self._open[result.id].changed is None

    def count_held(self, row: int) -> int:
        """Return the bytes of an upload that S3 holds already and that need not be sent again."""
        upload = self._open.get(row)
        return sum(part.size for part in upload.parts.values() if part.state is State.DONE) if upload else 0

    def compare(self, result: Result, changed: Operation) -> Work:
        """Have every part compared with the current file; return the work to :meth:`requeue` after a pause."""
        upload = self._open[result.id]
        upload.changed, upload.rested = changed._replace(upload_id=upload.operation.upload_id), False
        self.give_up(result)
        return Work(upload.operation, Step.SURVEY)

    def _close_failed(self, upload: MultipartUpload) -> None:
        if upload.failure is None or upload.under_way:
            return
        if upload.parked:
            self._ended.append(self._over(upload, upload.failure))
        elif upload.changed is None:
            self._ready.append(Work(upload.operation, Step.ABORT))
        elif upload.rested:
            self._compare_all(upload, upload.changed)

    def _compare_all(self, upload: MultipartUpload, changed: Operation) -> None:
        """Trust no part any more: S3 is asked for its parts, and each is compared before it is sent again."""
        upload.doubt_all_parts(changed)
        self._journal.uploads.restamp(changed)
        self._ready.append(upload.make_survey())

    def _begun(self, upload: MultipartUpload, result: Result) -> None:
        operation = upload.operation = upload.operation._replace(upload_id=result.upload_id)
        size = result.parts[0].size if result.parts else self.sizes.choose(operation)
        parts = [Part(operation.id, *place) for place in split_into_parts(operation.size, size)]
        self._journal.uploads.begin(operation.id, result.upload_id, parts, self.sizes.make_fingerprint(operation))
        reach_failpoint("upload-journalled")
        self._queue_parts(upload, parts)

    def _queue_parts(self, upload: MultipartUpload, parts: list[Part]) -> None:
        upload.queue(parts)
        self._finish_if_whole(upload)

    def _on_surveyed(self, upload: MultipartUpload, result: Result) -> None:
        """Trust parts on which journal and S3 agree; have those compared that only S3 has; send the rest."""
        operation, held = upload.operation, {part.number: part for part in result.parts}
        if upload.asked:
            upload.merge(upload.asked, held)
            upload.send_anew(upload.asked)
            return
        if not upload.parts:
            size = self.sizes.size_of_found(operation, held.get(1))
            planned = [Part(operation.id, *place) for place in split_into_parts(operation.size, size)]
            fingerprint = self.sizes.make_fingerprint(operation)
            self._journal.uploads.begin(operation.id, operation.upload_id, planned, fingerprint)
            upload.parts = {part.number: part for part in planned}
        upload.merge(upload.parts, held)
        self._queue_parts(upload, upload.sorted_parts())

    def _part_done(self, upload: MultipartUpload, result: Result) -> None:
        upload.under_way -= 1
        part = upload.parts[result.part]
        upload.parts[result.part] = part._replace(etag=result.etag, checksum=result.checksum, state=State.DONE)
        if upload.failure is not None:
            self._close_failed(upload)
            return
        self._finish_if_whole(upload)

    def _finish_if_whole(self, upload: MultipartUpload) -> None:
        if not (upload.waiting or upload.under_way or upload.doubtful) and upload.has_all_parts:
            self._ready.append(Work(upload.operation, Step.FINISH, tuple(upload.sorted_parts())))
            reach_failpoint("finishing")

    def _over(self, upload: MultipartUpload, result: Result) -> UploadVerdict:
        del self._open[upload.operation.id]
        return UploadVerdict(upload.operation, result)
