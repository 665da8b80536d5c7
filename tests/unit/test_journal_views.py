"""The views of a journal for people, and the page of Datasette that describes them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Reason, Result, State

DATASETTE = json.loads((Path(__file__).parents[2] / "docs" / "datasette.json").read_text(encoding="utf-8"))


@pytest.fixture
def connection(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src", "bucket/site", "", {}, "1")
        added = journal.operations.add(
            [Operation(Kind.UPLOAD, key, Reason.MISSING, path=key, size=1 << 20) for key in "abc"], lease=True
        )
        journal.operations.settle(
            [
                (State.FAILED, Result(added[0].id, error="denied", code="AccessDenied", status=403)),
                (State.DONE, Result(added[1].id, seconds=0.5, sent=1 << 20)),
                (State.DONE, Result(added[2].id, seconds=2.0, sent=1 << 20)),
            ]
        )
        journal.jobs.set_state(JobState.FAILED, 1)
        journal.lock()
        journal._store.execute("UPDATE job SET started = 1796025600.0, ended = 1796025602.5")
        journal.commit()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def test_runs_are_told_in_words_and_utc(connection):
    (run,) = map(dict, connection.execute("SELECT * FROM runs"))

    assert run.pop("id")
    assert run == {
        "command": "sync", "state": "failed", "source": "/src", "target": "s3://bucket/site",
        "began": "2026-11-30 08:00:00", "ended": "2026-11-30 08:00:02", "seconds": 2.5, "sent": 2, "failed": 1,
    }  # fmt: skip


def test_failures_name_their_cause(connection):
    (failure,) = map(dict, connection.execute("SELECT * FROM failures"))

    assert failure.pop("job")
    assert failure == {
        "operation": "upload", "key": "a", "path": "a", "code": "AccessDenied", "error": "denied", "attempts": 1,
        "at": "2026-11-30 08:00:02",
    }  # fmt: skip


def test_the_slowest_come_first(connection):
    found = connection.execute("SELECT key, size, seconds, mib_per_second FROM slowest").fetchall()

    assert [tuple(row) for row in found] == [("c", 1 << 20, 2.0, 0.5), ("b", 1 << 20, 0.5, 2.0)]


def test_datasettes_page_names_every_column_of_the_views(connection):
    tables = DATASETTE["databases"]["journal"]["tables"]

    actual = {view: {row[1] for row in connection.execute(f"PRAGMA table_info({view})")} for view in tables}

    assert {view: set(table["columns"]) for view, table in tables.items()} == actual


@pytest.mark.parametrize("name", DATASETTE["databases"]["journal"]["queries"])
def test_datasettes_queries_run(connection, name):
    assert connection.execute(DATASETTE["databases"]["journal"]["queries"][name]["sql"]).fetchall()
