"""The journal's memory of an endpoint's quirks: one job finds them, the next ones use them for a while.

A refusal for want of a permission counts for its own job only: permissions change, and asking again costs a request.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.quirks import OVERRULED, WARNINGS, Quirk, QuirkKind, Quirks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3batch.journal import Journal
    from s3batch.s3.bucket import Bucket

IN_FORCE = 7 * 24 * 3600.0
"""Seconds: a store may be repaired."""


class FoundQuirk(NamedTuple):
    """A quirk as the journal keeps it."""

    quirk: Quirk
    found: float
    """Seconds since the epoch."""
    until: float
    """The time from which it has to be found again."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        found = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.found))
        quirk = self.quirk
        return {
            "quirk": quirk.kind.value,
            "about": quirk.about,
            "detail": quirk.detail,
            "words": quirk.words(),
            "found": found,
        }


def recall_quirks(journal: Journal, endpoint: str) -> list[FoundQuirk]:
    """Return the quirks of ``endpoint`` that are not older than :data:`IN_FORCE`, sorted."""
    now = time.time()
    found = []
    for row in journal.recall(_make_memory_name(endpoint)) or []:
        try:
            quirk = Quirk(QuirkKind(row["kind"]), str(row["about"]), str(row["detail"]))
            each = FoundQuirk(quirk, float(row["found"]), float(row["until"]))
        except (KeyError, TypeError, ValueError):
            continue  # of another version: it is found again
        if 0 <= now - each.found < IN_FORCE:
            found.append(each)
    return sorted(found)


def read_quirks_in_force(journal: Journal) -> Quirks:
    """Return the quirks that a job to the journal's endpoint begins with."""
    return recall_quirks_in_force(journal, journal.jobs.current.endpoint)


def recall_quirks_in_force(journal: Journal, endpoint: str) -> Quirks:
    """Return those quirks of ``endpoint`` that need not be found again."""
    now = time.time()
    return Quirks.of(each.quirk for each in recall_quirks(journal, endpoint) if now < each.until)


def choose_lane(bucket: Bucket, quirks: Quirks, lane: str) -> None:
    """Take the lane that the last job found right, unless the setting ``lane`` names one."""
    if lane == "auto" and quirks.has(QuirkKind.BOTO_ONLY):
        bucket.transport.use(bucket.endpoint.through("reference"))


def are_times_compared(journal: Journal) -> bool:
    """Return whether a job has recently compared the store's LastModified of a write with its Date."""
    found = journal.recall(_TIMES)
    return isinstance(found, int | float) and 0 <= time.time() - found < IN_FORCE


def note_times_compared(journal: Journal) -> None:
    """Record that the job at work has looked."""
    if not are_times_compared(journal):
        journal.remember(_TIMES, time.time())


_TIMES = "times compared"


class QuirkMemory:
    """The quirks of a job's endpoint: begins with those of earlier jobs, keeps and reports new ones."""

    def __init__(self, journal: Journal) -> None:
        self.quirks = read_quirks_in_force(journal)
        self._journal = journal
        self._overruled: Counter[str] = Counter()

    def learn(self, quirks: Iterable[Quirk]) -> bool:
        """Keep those that are new and warn of each once; return whether there were any."""
        fresh = [quirk for quirk in quirks if not self.quirks.has(quirk.kind, quirk.about)]
        if not fresh:
            return False
        self.quirks = self.quirks.plus(fresh)
        for quirk in fresh:
            if quirk.kind in WARNINGS:
                self._journal.jobs.warn(f"{quirk.words()}: {WARNINGS[quirk.kind]}")
        self._remember(fresh)
        return True

    def count_overruled(self, codes: Mapping[str, int]) -> bool:
        """Count refusals that boto3 had overruled, by S3's code; return whether that has become a quirk."""
        self._overruled.update(codes)
        if self.quirks.has(QuirkKind.BOTO_ONLY) or self._overruled.total() < OVERRULED:
            return False
        return self.learn([Quirk(QuirkKind.BOTO_ONLY, detail=", ".join(sorted(self._overruled)))])

    def _remember(self, fresh: list[Quirk]) -> None:
        now, endpoint = time.time(), self._journal.jobs.current.endpoint
        replaced = {quirk[:2] for quirk in fresh}
        kept = [each for each in recall_quirks(self._journal, endpoint) if each.quirk[:2] not in replaced]
        kept += [FoundQuirk(quirk, now, now + IN_FORCE * _is_lasting_quirk(quirk)) for quirk in fresh]
        self._journal.remember(_make_memory_name(endpoint), [_format_quirk_row(each) for each in kept])


def _make_memory_name(endpoint: str) -> str:
    return f"quirks {endpoint}".rstrip()


def _format_quirk_row(found: FoundQuirk) -> dict[str, Any]:
    kind, about, detail = found.quirk
    return {"kind": kind.value, "about": about, "detail": detail, "found": found.found, "until": found.until}


def _is_lasting_quirk(quirk: Quirk) -> bool:
    return quirk.kind is not QuirkKind.REFUSED or not quirk.detail.startswith("HTTP 403")
