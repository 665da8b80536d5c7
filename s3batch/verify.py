"""``s3batch verify``: does the target hold exactly what the source holds? Reads everything, believes nothing, writes nothing.

It is a rehearsal of a sync with delete, in a journal of its own: whatever that would do is a difference.

    upload of a key that is not there    missing
    upload, copy or redirect otherwise   different
    delete                               extra
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from s3batch import __version__, report
from s3batch.coordinator import Signals
from s3batch.errors import EXIT_DONE, EXIT_FAILED
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Reason
from s3batch.sync import Sync
from s3batch.wanted import Wanted

if TYPE_CHECKING:
    from s3batch.output import Output
    from s3batch.settings import Settings


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that is not as it should be."""

    what: str
    """``missing``, ``different`` or ``extra``."""
    key: str
    path: str
    reason: str
    """What differs: ``content``, ``metadata``, ``acl``..."""


def run(settings: Settings, output: Output) -> int:
    """Compare, name each difference, and say whether there was any."""
    looking = replace(
        settings, dry_run=True, trust_journal=False, delete=True, allow_empty_source=True, max_delete="",
    )  # fmt: skip
    wanted = Wanted.from_settings(looking)
    differences: list[Difference] = []

    def tell(operation: Operation) -> None:
        difference = _difference(operation)
        differences.append(difference)
        if not settings.json:
            output.data(f"{difference.what} {difference.key} {difference.reason}".rstrip())

    with (
        tempfile.TemporaryDirectory(prefix="s3batch-") as folder,
        Journal.open(os.path.join(folder, "verify.db")) as journal,
        Signals() as signals,
    ):
        journal.begin_job(
            "verify", wanted.source.root, f"{wanted.target.bucket}/{wanted.target.prefix}", "", {}, __version__
        )
        Sync(wanted, journal, signals, output, tell=tell).carry_out()
        return _report(journal, differences, settings, output)


def _difference(operation: Operation) -> Difference:
    if operation.kind is Kind.DELETE:
        return Difference("extra", operation.key, "", "")
    if operation.reason is Reason.MISSING:
        return Difference("missing", operation.key, operation.path, "")
    return Difference("different", operation.key, operation.path, operation.reason.value)


def _report(journal: Journal, differences: list[Difference], settings: Settings, output: Output) -> int:
    failures = list(journal.failures())
    code = EXIT_FAILED if differences or failures else EXIT_DONE
    journal.set_state(JobState.FAILED if code else JobState.DONE, code)
    job = journal.job
    if settings.json:
        document = report.document(job, {}, failures, journal="", now=time.time())
        output.document(_compared(document, differences))
        return code
    for failure in failures:
        output.error(report.failure_line(failure._asdict()))
    words = f"{len(differences)} differences" if differences else "no difference"
    output.info(
        f"{job.files} files compared: {words}" + (f", {len(failures)} could not be compared" if failures else "")
    )
    return code


def _compared(document: dict[str, Any], differences: list[Difference]) -> dict[str, Any]:
    """The job's document with the differences in the place of its operations."""
    kept = {name: value for name, value in document.items() if name not in ("job", "journal", "operations", "resumed")}
    return {**kept, "differences": [asdict(difference) for difference in differences]}
