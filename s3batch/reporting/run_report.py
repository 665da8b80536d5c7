"""All that a report shows of one run: its document, its operations in the journal, its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from s3batch.journal import Journal, OperationRow, Sample
    from s3batch.journal.statistics import Statistics
    from s3batch.reporting.problems import Problem


class RunReport(NamedTuple):
    """One run, for the forms in :mod:`s3batch.reporting.forms`."""

    document: Mapping[str, Any]
    """The document of ``--json``."""
    verdict: str = ""
    """The end line for people."""
    resume: str = ""
    """The command that finishes the job; empty if it leaves nothing to finish."""
    headers: Mapping[str, str] = MappingProxyType({})
    """See :func:`s3batch.s3.permissions.headers_of`."""
    statistics: Statistics | None = None
    """Reads the operations; ``None`` for a run without a job in a journal."""
    read_samples: Callable[[], Sequence[Sample]] = tuple
    """Returns the course of the run, the oldest first."""

    @property
    def title(self) -> str:
        """The command and its target in one line."""
        return " ".join(filter(None, ["s3batch", self.document.get("command"), self.target]))

    @property
    def target(self) -> str:
        """The target as text, empty if the run has none."""
        return self.document.get("target") or ""

    @property
    def started(self) -> float:
        """When the run began, in seconds since the epoch; 0 if that is not known."""
        from datetime import datetime  # noqa: PLC0415 - few runs have a page

        text = self.document.get("started")
        return datetime.fromisoformat(text).timestamp() if text else 0.0

    @property
    def problem_count(self) -> int:
        """The number of :meth:`problems`."""
        from s3batch.reporting.problems import count_problems  # noqa: PLC0415 - few runs write reports

        return count_problems(self.document)

    def problems(self) -> Iterator[Problem]:
        """Yield what went wrong, each with its cause and the next step."""
        from s3batch.reporting.problems import list_problems  # noqa: PLC0415 - as above

        return list_problems(self.document, self.headers, self.resume)

    def rows(self) -> Iterator[OperationRow]:
        """Yield the operations of the job and of those it continues."""
        return self.statistics.read_rows() if self.statistics else iter(())


def report_of_journal(
    journal: Journal, document: Mapping[str, Any], headers: Mapping[str, str], **more: str
) -> RunReport:
    """Return the report of the job at work in a journal; ``more`` are ``verdict`` and ``resume``."""
    return RunReport(
        document=document, headers=headers, statistics=journal.statistics, read_samples=journal.samples.read, **more
    )
