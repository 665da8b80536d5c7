"""``s3batch doctor``: try every request that a job with these settings needs, and report which are allowed.

    listing ─> the bucket's own rules ─> one probe object: write, look, read, copy, parts, delete ─> clean up ─> table

Everything happens below ``PREFIX/.s3batch/doctor-<random>/``, which no sync sends, deletes or calls extra. All of it
is removed at every end; an object that cannot be removed is named. Nothing is kept for later runs.

A refusal of something the settings need makes the exit code 1. An endpoint that cannot be reached, or refuses
the credentials, ends with 4 before anything is tried, as it does everywhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch.base.errors import JournalError
from s3batch.commands.doctor.checks import run_checks
from s3batch.commands.doctor.visit import Visit, publish_findings
from s3batch.journal import Journal
from s3batch.plan import quirk_memory
from s3batch.s3.bucket import Bucket
from s3batch.settings.direction import Direction, find_direction

if TYPE_CHECKING:
    from s3batch.quirks import Quirk
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_TRIES = 3
"""Tries of a request. A passing fault is no finding, but a row of the table must not take minutes."""


def run_doctor(settings: Settings, output: Output) -> int:
    """Examine the endpoint and print the findings; return the exit code."""
    if find_direction(settings) is Direction.DOWNLOAD:
        from s3batch.commands.doctor.download import run_download_doctor  # noqa: PLC0415 - another direction

        return run_download_doctor(settings, output, _TRIES)
    started = time.monotonic()
    patient = settings._replace(retries=min(settings.retries, _TRIES))
    visit = Visit.from_settings(patient)
    visit.admit(Bucket.from_settings(patient, visit.target.bucket))
    try:
        run_checks(visit)
    finally:
        visit.discharge()
    for quirk in _remembered_quirks(settings, f"{visit.target.bucket}/{visit.target.prefix}"):
        visit.found(quirk)
    return publish_findings(visit, output, time.monotonic() - started)


def _remembered_quirks(settings: Settings, target: str) -> list[Quirk]:
    """Return the quirks that jobs to this target have found, if there is a journal that can be read."""
    try:
        with Journal.read_only(settings.journal_path(target)) as journal:
            return [each.quirk for each in quirk_memory.recall_quirks(journal, settings.endpoint_url)]
    except JournalError:
        return []
