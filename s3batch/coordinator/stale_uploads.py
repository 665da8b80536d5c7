"""Abandoned multipart uploads of dead runs: found, and aborted once no job goes on with them.

Both requests are optional. If one is permanently refused, the upload is left, with one warning.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from s3batch.s3.faults import RequestError, refused_for_good
from s3batch.s3.permissions import refusal_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.coordinator.signals import Signals
    from s3batch.journal import Journal
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.document_values import IncompleteUpload
    from s3batch.s3.faults import Fault

Unclaimed = dict[str, list["IncompleteUpload"]]
"""Unfinished uploads that a journal does not know, by key."""
_WHOLE_SECONDS = 1.0
"""Seconds: the store's Date has no parts of them, and when an upload was begun may have."""
PARTS_STAY = (
    "the parts of multipart uploads that dead runs began stay in the bucket, until a lifecycle rule removes them"
)


def find_unclaimed_uploads(journal: Journal, bucket: Bucket, prefix: str) -> Unclaimed:
    """Return the uploads below ``prefix`` that the journal does not know: of others, or of a run killed just then."""
    mine = {left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)}
    found: Unclaimed = defaultdict(list)
    for upload in bucket.list_uploads(prefix):
        if upload.upload_id not in mine:
            found[upload.key].append(upload)
    return found


class UnclaimedUploads:
    """The unfinished uploads of a target that the journal does not know, for a fresh runner to go on with.

    They are looked up once, and only if there is a large file to send.
    """

    def __init__(self, find: Callable[[], Unclaimed], signals: Signals) -> None:
        self._find = find
        self._signals = signals
        self._found: Unclaimed | None = None

    def take(self, key: str) -> str:
        """Return the id of an own unfinished upload of ``key``, each id once; empty if there is none."""
        if self._found is None:
            with self._signals.raising():
                self._found = self._find()
        uploads = self._found.get(key)
        return uploads.pop().upload_id if uploads else ""


def abort_stale_uploads(journal: Journal, bucket: Bucket, others: Callable[[], Unclaimed]) -> None:
    """Abort the uploads of this journal's dead runs, recorded or not. ``others`` is called only if there may be such.

    A key to which a dead run's request may still be under way keeps its mark, and the next job checks it again.
    """
    refusals: list[Fault] = []
    for left in journal.uploads.list_left(of_dead_jobs_only=True):
        refusals += abort_stale_upload(bucket, left.key, left.upload_id)
        journal.uploads.forget(left.operation)
    doubts = [doubt for doubt in journal.doubts.list_all() if doubt.upload]
    now = bucket.clock.now().low
    found = others() if doubts else {}
    for doubt in doubts:
        for upload in found.pop(doubt.key, []):
            if doubt.since and upload.initiated >= doubt.since - _WHOLE_SECONDS:
                refusals += abort_stale_upload(bucket, upload.key, upload.upload_id)
    if doubts:
        journal.doubts.mark_aborted([doubt.key for doubt in doubts if doubt.until <= now])
    if refusals:
        journal.jobs.warn(refusal_words("AbortMultipartUpload", refusals[0].code, refusals[0].message, PARTS_STAY))
    if doubts and (fault := bucket.uploads_refused) is not None:
        journal.jobs.warn(refusal_words("ListMultipartUploads", fault.code, fault.message, PARTS_STAY))


def abort_stale_upload(bucket: Bucket, key: str, upload_id: str) -> list[Fault]:
    """Abort one upload, a vanished one included; return the faults of a permanent refusal. Raises :class:`RequestError`."""
    try:
        bucket.abort_multipart_upload(key, upload_id)
    except RequestError as error:
        if not refused_for_good(error.fault):
            raise
        return [error.fault]
    return []
