"""The report of a run, as a Python program gets it: the document of ``--json`` with typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The outcome of a command. docs/cli.md describes every field of the document."""

    document: Mapping[str, Any] = field(default_factory=dict)
    """The document of ``--json``, whole."""

    @property
    def ok(self) -> bool:
        """True if the exit code is 0."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 0, 1 after failures or differences, 124 out of time, 130 cancelled."""
        return int(self.document["exit_code"])

    @property
    def state(self) -> str:
        """``done``, ``failed``, ``interrupted`` or ``superseded``."""
        return str(self.document.get("state", "done" if self.ok else "failed"))

    @property
    def command(self) -> str:
        """The command: ``sync``, ``verify``, ``cache restore``, ``cache rebuild`` or ``resume``."""
        return str(self.document["command"])

    @property
    def job(self) -> str | None:
        """Id of the job, for :func:`s3batch.resume`; ``None`` where the journal has none."""
        return self.document.get("job")

    @property
    def journal(self) -> str | None:
        """Path of the journal, for :meth:`s3batch.Journal.open`; ``None`` where there is none."""
        return self.document.get("journal") or None

    @property
    def error(self) -> str:
        """The sentence that says what stopped the run; empty if nothing did."""
        return str(self.document.get("error", ""))

    @property
    def seconds(self) -> float:
        """Seconds of this run."""
        return float(self.document.get("seconds", 0.0))

    @property
    def resumed(self) -> bool:
        """True if it continues an earlier job."""
        return bool(self.document.get("resumed", False))

    @property
    def files(self) -> int:
        """Files of the source, or objects of a download."""
        return int(self.document.get("files", 0))

    @property
    def bytes(self) -> int:
        """Bytes of these files."""
        return int(self.document.get("bytes", 0))

    @property
    def unchanged(self) -> int:
        """Files that needed nothing."""
        return int(self.document.get("unchanged", 0))

    @property
    def operations(self) -> Mapping[str, Mapping[str, int]]:
        """By kind (``upload``, ``copy``, ``delete``...): how many are planned, done, failed and skipped, and bytes."""
        found: Mapping[str, Mapping[str, int]] = self.document.get("operations", {})
        return found

    @property
    def requests(self) -> Mapping[str, int]:
        """The number of requests, by S3's name."""
        found: Mapping[str, int] = self.document.get("requests", {})
        return found

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Each failed operation: operation, key, path, error, code, status, request_id and attempts."""
        return list(self.document.get("failures", ()))

    @property
    def warnings(self) -> list[str]:
        """The warnings of the run."""
        return list(self.document.get("warnings", ()))

    @property
    def plan(self) -> list[dict[str, Any]]:
        """The plan of a dry run: operation, key and reason."""
        return list(self.document.get("plan", ()))

    @property
    def differences(self) -> list[dict[str, Any]]:
        """What a verify found: what, key, path and reason."""
        return list(self.document.get("differences", ()))

    @property
    def cache(self) -> Mapping[str, Any]:
        """The facts of a cache command: key, hit, matched key, sizes."""
        found: Mapping[str, Any] = self.document.get("cache", {})
        return found

    @property
    def jobs(self) -> list[Report]:
        """The reports of all jobs that ``resume(all_jobs=True)`` finished."""
        return [Report(document) for document in self.document.get("jobs", ())]

    def __repr__(self) -> str:
        return f"Report(command={self.command!r}, state={self.state!r}, exit_code={self.exit_code}, job={self.job!r})"
