"""The table ``job``: one row each, with the settings it ran with (never a secret) and its running totals."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s3batch.base.errors import JournalError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.journal.database import Database, make_bindable
from s3batch.model import KIN_OF_SYNC, JobState

UNFINISHED = "('planning', 'running', 'interrupted', 'failed')"

_COLUMNS = """id, command, source, target, endpoint, state, settings, version, started, ended, exit_code, resumed,
    planned, unchanged + found_unchanged, files, bytes, requests, retries, number, after_operation, continues, takes,
    plan, stage, seen, timeout, store_date, left_open"""
_PLANNED_ONCE = ("apply", "undo")
"""Commands whose operations no later job plans again: one of the same command carries them out, or nothing does."""


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
    """The version of the s3batch that began it."""
    started: float
    ended: float | None
    exit_code: int | None
    resumed: int
    """The number of jobs it continues, one after the other."""
    planned: bool
    """True if the plan is complete."""
    unchanged: int
    """Files that needed nothing: seen so by planning, or by a worker that compared them."""
    files: int
    bytes: int
    requests: dict[str, int]
    """The number of requests, by S3 operation."""
    retries: int
    warnings: list[str]
    number: int
    """The number of its row; the public tables refer to it."""
    after_operation: int
    """All operations that it planned have higher row numbers."""
    continues: str = ""
    """Id of the job that ``resume`` goes on with."""
    takes: tuple[int, ...] = ()
    """Numbers of the dead jobs whose open operations are this job's."""
    plan: str = ""
    """Digest of source and settings that decide the plan. Only equal plans share operations; empty: never."""
    stage: int = 0
    """The stage at work."""
    seen: float = 0.0
    """The last sign of life, by this machine's clock."""
    timeout: float = 60.0
    """Seconds after which no request of a dead run is under way any more."""
    store_date: float = 0.0
    """The Date of the store's first answer; 0 before."""
    left_open: int = 0
    """Operations that are neither done nor failed, as of the last commit."""

    @property
    def is_unfinished(self) -> bool:
        """True if it may leave something to resume."""
        return self.state not in {JobState.DONE, JobState.SUPERSEDED}

    @property
    def is_planned_once(self) -> bool:
        """True if no later job plans its operations again."""
        return self.command in _PLANNED_ONCE


class JobTable:
    """The rows of the table. Nothing here commits."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._latest: tuple[Any, Job | None] = (None, None)
        """The last row that was read, and its job: a job is asked for far more often than it changes."""

    def insert(self, job: Mapping[str, Any], after: int, dead: Sequence[Job]) -> Job:
        """Insert a job that is being planned; ``job`` holds its columns, ``dead`` are those whose operations it takes."""
        now = time.time()
        job_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{os.urandom(3).hex()}"
        columns = {
            **job,
            "id": job_id,
            "settings": json.dumps(job["settings"]),
            "requests": "{}",
            "state": JobState.PLANNING.value,
            "started": now,
            "seen": now,
            "after_operation": after,
            "takes": json.dumps(_collect_job_numbers(dead)),
            "left_open": sum(each.left_open for each in dead),
            "store_date": min((each.store_date for each in dead if each.store_date), default=0.0),
        }
        places = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in columns.values())
        values = [make_bindable(value) if isinstance(value, str) else value for value in columns.values()]
        self._store.execute(f"INSERT INTO job ({', '.join(columns)}) VALUES ({places})", values)  # noqa: S608
        return self.find(job_id)

    def find(self, job_id: str) -> Job:
        """Return the job with this id, or whose id alone begins so."""
        found = self._select_jobs("WHERE id = ? OR substr(id, 1, ?) = ?", (job_id, len(job_id), job_id))
        if len(found) != 1 or not job_id:
            exact = [job for job in found if job.id == job_id]
            if not exact:
                raise SettingsError(f"this journal has no job {job_id}", hint="`s3batch jobs list` shows what it has")
            return exact[0]
        return found[0]

    def find_unfinished(self, command: str, target: str, endpoint: str, source: str | None = None) -> list[Job]:
        """Return the jobs that a new one to this target finds unfinished, the oldest first."""
        found = self._select_jobs(
            f"""WHERE state IN {UNFINISHED} AND command IN ({list_kin(command)}) AND target = CAST(? AS TEXT) AND endpoint = ?
            ORDER BY number""",
            (make_bindable(target), endpoint),
        )
        return [each for each in found if source in {None, each.source}]

    def find_exact(self, job_id: str) -> Job | None:
        """Return the job with this very id, unless it was forgotten."""
        found = self._select_jobs("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def list_continued(self, job: Job) -> list[Job]:
        """Return the jobs that ``job`` continues, the oldest first; none that began before a forgotten one."""
        found: list[Job] = []
        at: Job | None = job
        while at is not None and at.continues:
            if (
                at := self.find_exact(at.continues)
            ) is not None:  # with a lower number: the journal was checked for that
                found.insert(0, at)
        return found

    def came_to_nothing(self, job: Job) -> bool:
        """Return true for a job that failed before anything was planned: it leaves nothing to resume."""
        if job.state is not JobState.FAILED or job.takes or job.files:
            return False
        planned = """SELECT EXISTS (SELECT 1 FROM operation WHERE id > ? AND +job = ? AND id <= coalesce(
            (SELECT min(after_operation) FROM job WHERE number > ?), 9223372036854775807))"""
        return not self._store.value(planned, (job.after_operation, job.number, job.number))

    def find_needed(self) -> set[int]:
        """Return the numbers of the jobs that an unfinished one goes on with."""
        ids = {job.id: job for job in self.list_all()}
        found: set[int] = set()
        for job in ids.values():
            if not job.is_unfinished:
                continue
            found.update(job.takes)
            at: Job | None = job
            while at is not None and (at := ids.get(at.continues)) is not None:
                found.add(at.number)
        return found

    def find_unlearned(self, by: Job) -> list[Job]:
        """Return the superseded jobs to a job's target of which none has learned yet, the oldest first."""
        return self._select_jobs(
            f"""WHERE NOT learned AND state = 'superseded' AND number < ? AND command IN ({list_kin(by.command)})
            AND target = CAST(? AS TEXT) AND endpoint = ? ORDER BY number""",
            (by.number, make_bindable(by.target), by.endpoint),
        )

    def list_all(self) -> list[Job]:
        """Return every job, the newest first."""
        return self._select_jobs("ORDER BY number DESC")

    def find_start(self, jobs: Iterable[int]) -> int:
        """Return the number that all operations of these jobs are above; 0 where one of them was forgotten."""
        numbers = set(jobs)
        marks = ", ".join(map(str, numbers))
        query = f"SELECT count(*), min(after_operation) FROM job WHERE number IN ({marks})"  # noqa: S608 - numbers
        ((count, start),) = self._store.rows(query)
        return int(start) if count and count == len(numbers) else 0

    def _select_jobs(self, where: str, values: tuple[Any, ...] = ()) -> list[Job]:
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM job {where}", values)  # noqa: S608 - constants
        try:
            return [self._read_job(row) for row in rows]
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise JournalError(
                f"journal {self._store.path} is damaged: a job of it cannot be read ({error})",
                hint="move it away, or name another --journal",
            ) from error

    def _read_job(self, row: tuple[Any, ...]) -> Job:
        texts = self._store.rows("SELECT text FROM warning WHERE job = ? ORDER BY id", (row[18],))
        read, job = self._latest
        if job is None or read != (row, texts):
            job = _decode_job(row, [text[0] for text in texts])
            self._latest = (row, texts), job
        return job


def list_kin(command: str) -> str:
    """Return the commands whose jobs are of one history with those of ``command``, as SQL."""
    kin = KIN_OF_SYNC if command in KIN_OF_SYNC else (command,)
    return ", ".join(f"'{each}'" for each in kin if each.replace(" ", "").isalpha())


def _decode_job(row: tuple[Any, ...], warnings: list[str]) -> Job:
    """Return the job of a row of ``_COLUMNS``. Raises ValueError, TypeError and their like for a damaged one."""
    _refuse_wrong_types(row)
    id_, command, source, target, endpoint, state, settings, *numbers = row[:18]
    version, started, ended, exit_code, resumed, planned, unchanged, files, size, requests, retries = numbers
    continues, takes, *more = row[20:]
    taken, counts = tuple(map(int, json.loads(takes))), _parse_json_map(requests)
    if not all(0 < each < row[18] for each in taken) or not all(isinstance(each, int) for each in counts.values()):
        raise ValueError("it takes a later job, or its requests are not counts")
    return Job(
        id_, command, source, target, endpoint, JobState(state), _parse_json_map(settings), version, started, ended,
        exit_code, resumed, bool(planned), unchanged, files, size, counts, retries,
        warnings, row[18], row[19], continues, taken, *more,
    )  # fmt: skip


def _collect_job_numbers(dead: Sequence[Job]) -> list[int]:
    """Return the numbers of jobs, and of those that they had taken operations of and not come to, or failed.

    A sync whose operations have all ended leaves its failures to the next walk. Else one file that fails each night
    would have each job look at the rows of all nights.
    """
    keeps = {job.number: job.left_open > 0 or job.is_planned_once for job in dead}
    return sorted({number for job in dead for number in (job.number, *(job.takes if keeps[job.number] else ()))})


def _parse_json_map(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("its settings are no map")
    return found


def _refuse_wrong_types(row: tuple[Any, ...]) -> None:
    """Raise TypeError for a row that another program wrote: SQLite keeps any type in any column."""
    texts, numbers = (*row[:7], row[16], *row[20:23]), (row[8], *row[11:16], *row[17:20], *row[23:])
    given = [value for value in (row[9], row[10]) if value is not None]
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(number, int | float) for number in (*numbers, *given)
    ):
        raise TypeError("a column holds a value of another type")
