"""Jobs: one row each, with the settings it ran with (never a secret) and its running totals.

    planning --> running --> done
                    |------> failed, interrupted --resume--> planning or running
    a later job for the same source and target: superseded

Totals are counted in memory and written with the next commit.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from s3batch.errors import JournalError, SettingsError
from s3batch.journal import uploads
from s3batch.journal.store import Store, bindable
from s3batch.model import JobState

UNFINISHED = "('planning', 'running', 'interrupted', 'failed')"

_COLUMNS = """id, command, source, target, endpoint, state, settings, version, started, ended, exit_code, resumed,
    planned, unchanged + found_unchanged, files, bytes, requests, retries, number, after_operation"""


class Job(NamedTuple):
    """A job as the journal has it. Times are seconds since the epoch."""

    id: str
    command: str
    source: str
    target: str
    endpoint: str
    state: JobState
    settings: dict[str, Any]
    version: str
    """Of the s3batch that began it."""
    started: float
    ended: float | None
    exit_code: int | None
    resumed: int
    """How often."""
    planned: bool
    """Whether the plan is complete."""
    unchanged: int
    """Files that needed nothing: seen so by planning, or by a worker that compared them."""
    files: int
    bytes: int
    requests: dict[str, int]
    """How many of each S3 operation."""
    retries: int
    warnings: list[str]
    number: int
    """Of its row; the public tables refer to it."""
    after_operation: int
    """All its operations have higher row numbers."""


class Jobs:
    """The table ``job``, and the totals of the job at work. Nothing here commits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._totals: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()

    def begin(self, job: Mapping[str, Any], after: int) -> Job:
        """Insert a job that is being planned; ``job`` holds its columns."""
        now = time.time()
        job_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
        columns = {
            **job,
            "id": job_id,
            "settings": json.dumps(job["settings"]),
            "requests": "{}",
            "state": JobState.PLANNING.value,
            "started": now,
            "after_operation": after,
        }
        places = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in columns.values())
        values = [bindable(value) if isinstance(value, str) else value for value in columns.values()]
        self._store.execute(f"INSERT INTO job ({', '.join(columns)}) VALUES ({places})", values)  # noqa: S608
        return self.find(job_id)

    def find(self, job_id: str) -> Job:
        """Return the job with this id, or whose id alone begins so."""
        found = self._select("WHERE id = ? OR substr(id, 1, ?) = ?", (job_id, len(job_id), job_id))
        if len(found) != 1 or not job_id:
            exact = [job for job in found if job.id == job_id]
            if not exact:
                raise SettingsError(f"this journal has no job {job_id}", hint="`s3batch jobs list` shows what it has")
            return exact[0]
        return found[0]

    def newest_unfinished(self) -> Job | None:
        """Return the newest job that leaves something to resume."""
        found = self._select(f"WHERE state IN {UNFINISHED} ORDER BY number DESC LIMIT 1")
        return found[0] if found else None

    def same_and_unfinished(self, command: str, source: str, target: str, endpoint: str) -> list[Job]:
        """Return the unfinished jobs that a new one of this kind takes over."""
        return self._select(
            f"""WHERE state IN {UNFINISHED} AND command = ? AND source = CAST(? AS TEXT)
            AND target = CAST(? AS TEXT) AND endpoint = ?""",
            (command, bindable(source), bindable(target), endpoint),
        )

    def all(self) -> list[Job]:
        """Return every job, the newest first."""
        return self._select("ORDER BY number DESC")

    def set_state(self, number: int, state: JobState, exit_code: int | None) -> None:
        """Record a state, and the time where it is one that ends a run."""
        ended = None if state in {JobState.PLANNING, JobState.RUNNING} else time.time()
        self._store.execute(
            "UPDATE job SET state = ?, ended = ?, exit_code = ? WHERE number = ?",
            (state.value, ended, exit_code, number),
        )

    def supersede(self, job: Job) -> None:
        """Mark a dead job as taken over, its leases void; when and how it ended stays as it was."""
        self._store.execute("UPDATE job SET state = 'superseded' WHERE number = ?", (job.number,))
        uploads.doubt(self._store, job.number, job.after_operation)
        self._store.execute(
            "UPDATE operation SET state = 'pending', recheck = 1 WHERE id > ? AND +job = ? AND state = 'leased'",
            (job.after_operation, job.number),
        )

    def resume(self, number: int) -> None:
        """Count one more run of a job."""
        self._store.execute(
            "UPDATE job SET resumed = resumed + 1, ended = NULL, exit_code = NULL WHERE number = ?", (number,)
        )

    def set_planned(self, number: int) -> None:
        """Record that the plan is complete."""
        self._store.execute("UPDATE job SET planned = 1 WHERE number = ?", (number,))

    def restart_plan(self, number: int) -> None:
        """Planning begins again: what it counts begins at zero."""
        for name in ("files", "bytes", "unchanged"):
            del self._totals[name]
        self._store.execute(
            "UPDATE job SET planned = 0, files = 0, bytes = 0, unchanged = 0 WHERE number = ?", (number,)
        )

    def warn(self, number: int, text: str) -> None:
        """Keep a warning for the report, once."""
        self._store.execute(
            "INSERT OR IGNORE INTO warning (job, text) VALUES (?, CAST(? AS TEXT))", (number, bindable(text))
        )

    def count(self, requests: Mapping[str, int], totals: Mapping[str, int]) -> None:
        """Add to the totals; :meth:`flush` writes them."""
        self._totals.update(totals)
        if requests:
            self._requests.update(requests)

    def flush(self, number: int) -> None:
        """Write the totals counted since the last time."""
        if self._requests:
            known = json.loads(self._store.value("SELECT requests FROM job WHERE number = ?", (number,)))
            requests = json.dumps(dict(Counter(known) + self._requests))
            self._store.execute("UPDATE job SET requests = ? WHERE number = ?", (requests, number))
            self._requests.clear()
        if any(self._totals.values()):
            self._store.execute(
                """UPDATE job SET files = files + ?, bytes = bytes + ?, unchanged = unchanged + ?,
                    retries = retries + ?, found_unchanged = found_unchanged + ? WHERE number = ?""",
                [
                    *(self._totals[name] for name in ("files", "bytes", "unchanged", "retries", "found_unchanged")),
                    number,
                ],
            )
            self._totals.clear()

    def forget(self, job: Job) -> None:
        """Forget a job with its operations, parts and warnings."""
        rows = (job.after_operation, job.number)
        self._store.execute(
            "DELETE FROM part WHERE operation IN (SELECT id FROM operation WHERE id > ? AND +job = ?)", rows
        )
        self._store.execute("DELETE FROM operation WHERE id > ? AND +job = ?", rows)
        self._store.execute("DELETE FROM warning WHERE job = ?", (job.number,))
        self._store.execute("DELETE FROM job WHERE number = ?", (job.number,))

    def _select(self, where: str, values: tuple[Any, ...] = ()) -> list[Job]:
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM job {where}", values)  # noqa: S608 - constants
        try:
            return [self._job(row) for row in rows]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise JournalError(
                f"journal {self._store.path} is damaged: a job of it cannot be read ({error})",
                hint="move it away, or name another --journal",
            ) from error

    def _job(self, row: tuple[Any, ...]) -> Job:
        number = row[18]
        texts = self._store.rows("SELECT text FROM warning WHERE job = ? ORDER BY id", (number,))
        id_, command, source, target, endpoint, state, settings, *numbers = row[:-2]
        _refuse_wrong_types(row)
        version, started, ended, exit_code, resumed, planned, unchanged, files, size, requests, retries = numbers
        return Job(
            id=id_,
            command=command,
            source=source,
            target=target,
            endpoint=endpoint,
            state=JobState(state),
            settings=_map(settings),
            version=version,
            started=started,
            ended=ended,
            exit_code=exit_code,
            resumed=resumed,
            planned=bool(planned),
            unchanged=unchanged,
            files=files,
            bytes=size,
            requests=_map(requests),
            retries=retries,
            warnings=[text[0] for text in texts],
            number=number,
            after_operation=row[19],
        )


def _map(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("its settings are no map")
    return found


def _refuse_wrong_types(row: tuple[Any, ...]) -> None:
    """Raise TypeError for a row that another program wrote: SQLite keeps any type in any column."""
    texts, numbers = (*row[:7], row[16]), (row[8], *row[11:16], *row[17:20])
    given = [value for value in (row[9], row[10]) if value is not None]
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(number, int | float) for number in (*numbers, *given)
    ):
        raise TypeError("a column holds a value of another type")
