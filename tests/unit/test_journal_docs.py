"""docs/journal.md tells the truth about the schema, and its questions have answers."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import Kind, Operation, Reason, Result, State

PAGE = (Path(__file__).parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def connection(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
        added = journal.operations.add(
            [Operation(Kind.UPLOAD, key, Reason.MISSING, size=1 << 20) for key in "abc"], lease=True
        )
        journal.operations.settle(
            [
                (State.FAILED, Result(added[0].id, error="denied", code="AccessDenied", status=403)),
                (State.DONE, Result(added[1].id, seconds=0.5, sent=1 << 20)),
            ]
        )
    connection = sqlite3.connect(tmp_path / "journal.db")
    yield connection
    connection.close()


def documented(table: str) -> list[str]:
    """The columns the page names for a table, in its own section or in that of the small ones."""
    if row := re.search(rf"^\| {table} \| ([^|]+) \|", PAGE, re.MULTILINE):
        return row[1].strip().split(", ")
    section = re.split(r"^##", PAGE.split(f"### {table}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| ([a-z_, ]+) \|", section, re.MULTILINE)
    return [column for row in rows[1:] for column in row.split(", ")]


def test_every_table_and_column_is_documented(connection):
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    actual = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}

    assert {table: set(documented(table)) for table in tables} == actual


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What failed", [("upload", "a", "AccessDenied", 403, "denied", 1)]),
        ("How far", [("done", 1, 1.0), ("failed", 1, 1.0), ("leased", 1, 1.0)]),
        ("the slowest", [("b", 2.0, 0.5, 1)]),
    ],
)
def test_each_question_has_its_answer(connection, question, answer):
    position = next(at for at, text in enumerate(PAGE.split("```sql")[:-1]) if question in text.split("```")[-1])

    rows = connection.execute(QUESTIONS[position]).fetchall()

    assert [row[1:] if len(row) > len(answer[0]) else row for row in rows] == answer
