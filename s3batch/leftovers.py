"""Multipart uploads that dead runs left behind: found, and aborted once nobody goes on with them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.journal import Journal
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import Upload

Unclaimed = dict[str, list["Upload"]]
"""Unfinished uploads that a journal does not know, by key."""
_CLOCKS_DIFFER = 300.0
"""Seconds that our clock and the store's may be apart."""


def unclaimed(journal: Journal, bucket: Bucket, prefix: str) -> Unclaimed:
    """What S3 has below ``prefix`` and the journal does not know: others', or begun by a run that died that moment."""
    mine = {left.upload_id for left in journal.uploads_left(of_dead_jobs_only=False)}
    found: Unclaimed = defaultdict(list)
    for upload in bucket.list_uploads(prefix):
        if upload.upload_id not in mine:
            found[upload.key].append(upload)
    return found


def abort(journal: Journal, bucket: Bucket, others: Callable[[], Unclaimed]) -> None:
    """Abort what dead runs of this journal began, heard of or not. ``others`` is asked only if there may be such."""
    for left in journal.uploads_left(of_dead_jobs_only=True):
        bucket.abort_multipart_upload(left.key, left.upload_id)
        journal.forget_upload(left.operation)
    for doubt in journal.uploads_in_doubt():
        for upload in others().pop(doubt.key, []):
            if upload.initiated >= doubt.since - _CLOCKS_DIFFER:
                bucket.abort_multipart_upload(upload.key, upload.upload_id)
        journal.forget_upload(doubt.operation)
