"""``s3batch verify``: compare the target with the source. It believes no journal and writes nothing.

It is a rehearsal of a sync with delete, in a journal of its own: each operation in its plan is a difference.

    upload of a key that is not there    missing
    upload, copy or redirect otherwise   different
    delete                               extra

Where a sync would send a file again because nothing proves that the object holds it, the object is read. What a sync
leaves alone (excluded files, ``.s3batch/``, keys of files that could not be read) is not extra. Every difference is
named, also after a file that could not be compared; that one is a failure, and either makes the exit code 1.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from s3batch import __version__
from s3batch.commands.sync.job import SyncJob
from s3batch.coordinator.signals import InterruptedJobError, StoppedError, watch_for_stop
from s3batch.errors import EXIT_DONE, EXIT_FAILED, JournalError
from s3batch.files import private
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Reason
from s3batch.plan import quirk_memory
from s3batch.plan.spec import SyncSpec
from s3batch.quirks import NO_QUIRKS, Quirks
from s3batch.reporting import report
from s3batch.reporting.json_stream import Rows, Spool
from s3batch.s3 import permissions
from s3batch.units import format_count, format_plural
from s3batch.worker.verify import EXTENSIONS

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """One key that is not as it should be."""

    what: str
    """``missing``, ``different`` or ``extra``."""
    key: str
    path: str
    """Empty if there is no file: for extra objects and redirects."""
    reason: str
    """The difference: ``content``, ``metadata``, ``acl`` or ``redirect``."""


def run_verify(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    wanted = SyncSpec.from_settings(_dry_run_settings(settings))
    differences = Spool()

    def tell(operation: Operation) -> None:
        difference = _describe_difference(operation)
        differences.add(asdict(difference))
        if not settings.json:
            output.data(f"{difference.what} {difference.key} {difference.reason}".rstrip())

    with (
        private.make_scratch_directory() as folder,
        Journal.open(os.path.join(folder, "verify.db")) as journal,
        watch_for_stop() as signals,
    ):
        place = f"{wanted.target.bucket}/{wanted.prefix}"
        journal.jobs.begin("verify", wanted.source.root, place, "", {}, __version__)
        for warning in wanted.target.warnings:
            journal.jobs.warn(warning)
        stopped = None
        try:
            SyncJob(
                wanted, journal, signals, output, tell=tell, thorough=True, extensions=EXTENSIONS,
                quirks=_known_quirks(settings, place),
            ).carry_out()  # fmt: skip
        except StoppedError as error:
            stopped = error
        signals.work_is_over()
        return _report_differences(journal, differences, stopped, settings, output)


def _known_quirks(settings: Settings, target: str) -> Quirks:
    """Return the quirks found by syncs to this target: an attribute that a store does not return is no difference.

    Nothing else is believed, and no journal that a checkout may have brought.
    """
    if settings.journal or settings.plugin:
        return NO_QUIRKS
    try:
        with Journal.read_only(settings.journal_path(target)) as journal:
            return quirk_memory.recall_quirks_in_force(journal, settings.endpoint_url)
    except JournalError:
        return NO_QUIRKS


def _dry_run_settings(settings: Settings) -> Settings:
    """Return the settings of a dry run that deletes all orphans and believes no journal."""
    return replace(
        settings, dry_run=True, trust_journal=False, delete=True, allow_empty_source=True, max_delete="",
        object_manifest=False, cloudfront_distribution="",
    )  # fmt: skip


def _describe_difference(operation: Operation) -> KeyDifference:
    if operation.kind is Kind.DELETE:
        return KeyDifference("extra", operation.key, "", "")
    if operation.reason is Reason.MISSING:
        return KeyDifference("missing", operation.key, operation.path, "")
    return KeyDifference("different", operation.key, operation.path, operation.reason.value)


def _report_differences(
    journal: Journal, differences: Spool, stopped: StoppedError | None, settings: Settings, output: Output
) -> int:
    code = (
        stopped.exit_code
        if stopped
        else EXIT_FAILED
        if differences or journal.outcomes.count_failed(_ALL)
        else EXIT_DONE
    )
    interrupted = isinstance(stopped, InterruptedJobError)
    journal.jobs.set_state(JobState.INTERRUPTED if interrupted else JobState.FAILED if code else JobState.DONE, code)
    document = _with_differences(
        report.make_report_document(
            journal.jobs.current,
            journal.outcomes.count_by_kind(),
            journal.outcomes.read_failures,
            journal="",
            now=time.time(),
        ),
        differences,
    )
    if stopped is not None:
        output.error(str(stopped))
        document["error"] = str(stopped)
    if settings.json:
        output.document(document)
    else:
        _print_end(document, settings, output)
    return code


_OF_A_SYNC = frozenset({"job", "journal", "operations", "resumed", "seconds_total", "sent_now", "sent_before"})
_ALL = 1 << 30
"""A stage after every stage."""


def _with_differences(document: dict[str, Any], differences: Spool) -> dict[str, Any]:
    """Return the job's document with the differences in the place of its operations."""
    kept = {name: value for name, value in document.items() if name not in _OF_A_SYNC}
    found = document["failures"]
    failures = Rows(lambda: ({**failure, "operation": "compare"} for failure in found), len(found))
    return {**kept, "failures": failures, "differences": differences}


def _print_end(document: dict[str, Any], settings: Settings, output: Output) -> None:
    """Print the end line on stderr; the differences are on stdout already."""
    for warning in document["warnings"]:
        output.warn(warning)
    for failure in document["failures"]:
        output.error(report.format_failure_line(failure, permissions.headers_of(settings)))
    found, failed = len(document["differences"]), len(document["failures"])
    words = format_plural(found, "difference") if found else "no difference"
    more = f", {format_count(failed)} could not be compared" if failed else ""
    unfinished = ", not everything was compared" if document["state"] == JobState.INTERRUPTED else ""
    files = document["files"]
    if not files + found + failed and not unfinished:
        output.info("nothing to compare: the source has no file and the target no object")
        return
    output.info(f"{format_plural(files, 'file')} compared: {words}{more}{unfinished}")
