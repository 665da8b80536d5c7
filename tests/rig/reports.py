"""Runs to report: documents with failures, and journals with a course, made without a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Reason, Result, State
from s3batch.reporting.report import format_headline, make_report_document
from s3batch.reporting.run_report import RunReport

STARTED = 1796025600.0
"""2026-11-30T08:00:00Z."""

HOSTILE = [
    "plain.txt",
    "a|b",
    "`tick``two```three",
    "```",
    " blanks ",
    "<script>alert(1)</script>",
    "\"quotes\" & 'more'",
    "</bdi></code></script>]]>",
    "line\nbreak\r\ttab",
    "\x01\x1b[31mred\x7f",
    "evil\u202egpj.exe",
    "\u2066isolate\u2069",
    "{{ 7 * 7 }}{% raw %}",
    "[link](javascript:x) **bold** ![i](x)",
    "\ufffe\uffff\udcff",
    "=cmd|' /C calc'!A0",
    'comma,and "quote"',
    "ünï/日本/🎉",
    "--> <!-- comment",
]
"""Keys that mean something in one form or another."""


def failed(key: str, **more: Any) -> dict[str, Any]:
    """Return a row of ``failures``."""
    row = {
        "operation": "upload", "key": key, "path": key, "error": "PutObject: AccessDenied: no", "code": "AccessDenied",
        "status": 403, "request_id": "R-1", "attempts": 3,
    }  # fmt: skip
    return row | more


def document_of(failures: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    """Return the document of a sync."""
    nothing = {"planned": 0, "done": 0, "failed": 0, "skipped": 0, "bytes": 0}
    count = len(failures)
    return {
        "schema": 1, "version": "0.1.0", "job": "20261130-080000-abcdef", "command": "sync",
        "state": "failed" if failures else "done", "exit_code": 1 if failures else 0, "seconds": 61.5,
        "seconds_total": 61.5, "resumed": False, "source": "/src", "target": "s3://bucket/site", "endpoint": None,
        "started": "2026-11-30T08:00:00.000Z", "ended": "2026-11-30T08:01:01.500Z", "dry_run": False,
        "journal": "/j.db", "files": 12, "bytes": 3400, "unchanged": 4,
        "operations": {
            "upload": {"planned": 8 + count, "done": 8, "failed": count, "skipped": 0, "bytes": 3000},
            "copy": nothing, "delete": nothing,
        },
        "sent_now": 8, "sent_before": 0, "requests": {"PutObject": 9}, "retries": 2, "failures": list(failures),
        "warnings": [],
    } | more  # fmt: skip


_MANY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO operation (job, kind, key, reason, path, size, state, attempts, seconds, bytes, error, code, status)
SELECT 1, 'upload', 'site/' || i, 'missing', i || '', i % 9000000, CASE WHEN i % 100 THEN 'done' ELSE 'failed' END, 1,
    (i % 7919) / 7919.0, i % 9000000, iif(i % 100, '', 'PutObject: AccessDenied: no'), iif(i % 100, '', 'AccessDenied'),
    iif(i % 100, 0, 403)
FROM n
"""


@contextlib.contextmanager
def crowded(path: Path, operations: int = 1_000_000) -> Iterator[RunReport]:
    """Yield the report of a job of very many operations, of which one in a hundred has failed."""
    with Journal.open(str(path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src/site", "bucket/site", "", {}, "0.1.0")
        with journal.batch():
            journal._store.execute(_MANY, (operations,))
        journal.jobs.set_state(JobState.FAILED, 1)
        document = make_report_document(
            journal.jobs.current, journal.outcomes.count_by_kind(), journal.outcomes.read_failures,
            journal=journal.path, now=STARTED,
        )  # fmt: skip
        yield RunReport(
            document={**document_of(), **document},
            verdict=format_headline(document),
            statistics=journal.statistics,
            read_samples=journal.samples.read,
        )


@contextlib.contextmanager
def journalled(path: Path, operations: int = 2000, failures: Sequence[str] = ()) -> Iterator[RunReport]:
    """Yield the report of a job in a journal, with a course of some minutes."""
    with Journal.open(str(path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src/site", "bucket/site", "", {}, "0.1.0")
        added = journal.operations.add(
            [
                Operation(Kind.UPLOAD, f"site/assets/file-{number:06}.bin", Reason.MISSING, f"assets/file-{number:06}.bin", number * number % 9_000_000)
                for number in range(operations)
            ] + [Operation(Kind.UPLOAD, key, Reason.CONTENT, key, 10) for key in failures],
            lease=True,
        )  # fmt: skip
        journal.operations.settle(
            (
                State.DONE,
                Result(each.id, seconds=0.004 + (each.size % 7919) / 7919 + each.size / 9_000_000 * 4, sent=each.size),
            )
            for each in added[:operations]
        )
        journal.operations.settle(
            (
                State.FAILED,
                Result(each.id, error="PutObject: AccessDenied: no", code="AccessDenied", status=403, request_id="R1"),
            )
            for each in added[operations:]
        )
        for second in range(180):
            journal.jobs.add_tally(requests={"PutObject": 20 + second % 17})
            journal.samples.take(STARTED + second, second * 10, int(second * 9e6 + 4e7 * (second % 23) / 23), 0)
        journal.jobs.add_tally(files=operations + len(failures), bytes=5_000_000_000)
        journal.jobs.set_state(JobState.FAILED if failures else JobState.DONE, 1 if failures else 0)
        journal._store.execute("UPDATE job SET started = ?, ended = ?", (STARTED, STARTED + 180))
        document = make_report_document(
            journal.jobs.current, journal.outcomes.count_by_kind(), journal.outcomes.read_failures,
            journal=journal.path, now=STARTED,
        )  # fmt: skip
        yield RunReport(
            document={**document_of(), **document},
            verdict="failed in 3m 00s: 2,000 uploaded (4.6 GiB), 19 failed" if failures else "done in 3m 00s",
            resume="s3batch resume 20261130-080000-abcdef" if failures else "",
            statistics=journal.statistics,
            read_samples=journal.samples.read,
        )
