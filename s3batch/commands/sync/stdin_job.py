"""``s3batch sync - s3://BUCKET/KEY``: store what stdin gives as one object.

The journal has the job, and its one operation once the object is there. Before that it only knows that an upload may have
been begun: the next stream to the key aborts what a killed one has left. A stream cannot be resumed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3batch.base.errors import JobFailedError, SettingsError
from s3batch.base.failpoints import reach_failpoint
from s3batch.coordinator import history, stale_uploads
from s3batch.coordinator.job_description import JobDescription
from s3batch.coordinator.job_runner import JobRunner
from s3batch.coordinator.job_setup import choose_bandwidth
from s3batch.coordinator.signals import watch_for_stop
from s3batch.model import JobState, Kind, Operation, Reason, Result, State
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.headers import make_put_headers
from s3batch.objects.target import Target
from s3batch.plan.file_list import check_sign_in
from s3batch.reporting.report import format_headline
from s3batch.s3.permissions import refusal_words
from s3batch.s3.stream_blocks import BlockReader
from s3batch.s3.stream_upload import StreamUpload
from s3batch.settings.direction import STREAM

if TYPE_CHECKING:
    from s3batch.coordinator.job_description import Document
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.settings.table import Settings

STDIN = 0
_NOT_RESUMABLE = "a stream cannot be resumed: run it again, with its beginning"


def store_stdin(settings: Settings, output: Output) -> int:
    """Store stdin under the key that is the target; return the exit code."""
    if sys.stdin is None:  # descriptor 0 was closed, and may be a file of ours by now
        raise SettingsError(
            "source - is stdin, and stdin is closed", hint="give the content: s3batch sync - ... < FILE"
        )
    refuse_settings_of_trees(settings)
    target = Target.from_settings(settings)
    rules = AttributeRules.from_settings(settings, "/")
    place = f"{target.bucket}/{target.whole}"
    with (
        history.open_history(settings, place) as (journal, lock),
        watch_for_stop(max_duration=settings.max_duration) as signals,
    ):
        runner = JobRunner(settings, output, journal, signals)
        runner.begin(STREAM, place)
        if not settings.dry_run:
            lock.note(journal.jobs.current_id, journal.path, journal.jobs.current.started)
        return runner.run(StdinJob(target.bucket, target.whole, rules, runner))


def refuse_settings_of_trees(settings: Settings) -> None:
    """Raise SettingsError for settings that make no sense for one stream, and for a stream that is to be resumed."""
    if settings.job:
        raise SettingsError(_NOT_RESUMABLE, hint=f"s3batch jobs forget {settings.job} forgets the job")
    for name in (
        "delete", "gzip", "include", "exclude", "strip_prefix", "publish_last", "redirects", "min_size", "max_size",
        "min_age", "max_age",
    ):  # fmt: skip
        if getattr(settings, name):
            raise settings.bad(name, "leave it out: a stream is one object")


@dataclass
class StdinJob(JobDescription):
    """One stream on its way into a bucket."""

    bucket_name: str
    key: str
    rules: AttributeRules
    runner: JobRunner

    def carry_out(self) -> None:
        """Run the job; the error that stops it is raised."""
        runner, settings = self.runner, self.runner.settings
        if settings.dry_run:
            runner.output.data(f"{Kind.UPLOAD} {self.key} {Reason.UNKNOWN}")
            return
        bucket = runner.open_bucket(self.bucket_name, runner.journal.jobs.warn, bandwidth=choose_bandwidth(settings))
        try:
            check_sign_in(bucket, self.key)  # it tells the store's time too
            runner.journal.jobs.note_store_date(bucket.store_date, lambda: bucket.clock.now().high)
            runner.journal.jobs.set_state(JobState.RUNNING)
            self._abort_leftovers(bucket)
            self._store(bucket)
        finally:
            runner.close_bucket(bucket)

    def _abort_leftovers(self, bucket: Bucket) -> None:
        """Abort the uploads that killed streams to this key have left."""
        journal = self.runner.journal
        stale_uploads.abort_stale_uploads(
            journal, bucket, lambda: stale_uploads.find_unclaimed_uploads(journal, bucket, self.key)
        )

    def _store(self, bucket: Bucket) -> None:
        journal, name = self.runner.journal, self.key.rpartition("/")[2]
        attributes, fingerprint = self.rules.describe(name)
        operation = Operation(Kind.UPLOAD, self.key, Reason.CONTENT, STREAM)
        journal.doubts.note_upload(operation)
        upload = StreamUpload(bucket, self.key, make_put_headers(attributes))
        reader = BlockReader(STDIN, self.runner.settings.part_size, upload.checksum)
        try:
            stored = bucket.run(upload.store(reader))
        except OSError as error:
            self._abort(upload, reader, bucket)
            raise JobFailedError(f"stdin cannot be read: {error.strerror or error}") from error
        except BaseException:
            self._abort(upload, reader, bucket)
            raise
        for warning in dict.fromkeys(upload.warnings):
            journal.jobs.warn(warning)
        with journal.batch():
            (row,) = journal.operations.add([operation._replace(size=reader.size)], lease=True)
            result = Result(
                row.id, sent=reader.size, etag=stored.etag, checksum=stored.checksum, date=stored.date,
                fingerprint=fingerprint, request_id=stored.request_id,
            )  # fmt: skip
            journal.operations.settle([(State.DONE, result)])
            journal.jobs.add_tally(files=1, bytes=reader.size)
            self._forget_doubt()
        reach_failpoint("stored")

    def _abort(self, upload: StreamUpload, reader: BlockReader, bucket: Bucket) -> None:
        """Abort the upload of a stream that broke. A second signal ends that too."""
        reader.stop()
        bucket.transport.check = lambda: None
        if (fault := upload.abort()) is not None:
            words = refusal_words("AbortMultipartUpload", fault.code, fault.message, stale_uploads.PARTS_STAY)
            self.runner.journal.jobs.warn(words)
            return
        self._forget_doubt()

    def _forget_doubt(self) -> None:
        self.runner.journal.doubts.mark_aborted([self.key])
        self.runner.journal.doubts.mark_checked([self.key])

    # --- how it ended -------------------------------------------------------------------------

    def format_resume(self, document: Document) -> str:
        """Return nothing: a stream cannot be resumed."""
        return ""

    def print_end(self, document: Document) -> None:
        """Print the end line for people."""
        output, code = self.runner.output, document["exit_code"]
        for warning in document["warnings"]:
            output.warn(warning)
        lines = [format_headline(document, dry_run=self.runner.settings.dry_run)]
        (output.error if code else output.info)(*lines, *([_NOT_RESUMABLE] if code else []))
