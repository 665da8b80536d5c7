"""A journal of an older version becomes one of this version, and its facts are looked at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from s3batch.journal import Journal, migrations
from s3batch.model import FILE, JobState, Kind, LocalFile, Operation, Reason, Stage, Stamp, State
from s3batch.objects.compare import is_file_untouched
from tests.rig.old_journals import make_old
from tests.rig.stamps import stamp


@pytest.fixture
def old(tmp_path: Path) -> str:
    """Return a journal of version 1: an unfinished job with a pending upload of 5 MiB parts, and a fact."""
    path = str(tmp_path / "journal.db")
    make_old(path, 1)
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        INSERT INTO job (number, id, command, source, target, endpoint, state, started, settings, requests)
            VALUES (1, 'j1', 'sync', '/src', 'b/', '', 'running', 1000.0, '{}', '{}');
        INSERT INTO operation (id, job, kind, key, reason, path, size, mtime_ns, inode, state, upload_id, fingerprint)
            VALUES (1, 1, 'upload', 'big', 'missing', 'big', 10, 5, 6, 'pending', 'u1', 'f');
        INSERT INTO part (operation, number, offset, size, etag, state) VALUES (1, 1, 0, 10, 'e', 'done');
        INSERT INTO object (key, known_etag, known_size, local_size, local_mtime_ns, local_inode, written, fingerprint,
            checksum) VALUES ('known', 'e', 10, 10, 5, 6, 900.0, 'f', 'c');
        """
    )
    connection.close()
    return path


def test_a_new_journal_has_what_the_steps_make_of_an_old_one(tmp_path: Path) -> None:
    make_old(str(tmp_path / "stepped.db"), migrations.SUPPORTED)
    Journal.open(str(tmp_path / "new.db")).close()

    assert layout(tmp_path / "new.db") == layout(tmp_path / "stepped.db")


def layout(path: Path) -> dict[str, list[object]]:
    """Return the columns, references and indexes of each table, and the words of each view."""
    with closing(sqlite3.connect(path)) as connection:
        entries = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        found: dict[str, list[object]] = {"application_id": connection.execute("PRAGMA application_id").fetchall()}
        for kind, name, sql in entries:
            found[f"{kind} {name}"] = ["WITHOUT ROWID" in (sql or "")]
            for pragma in ("table_info", "index_list", "foreign_key_list", "index_info"):
                rows = connection.execute(f"PRAGMA {pragma}({name})").fetchall()
                found[f"{kind} {name}"] += sorted(row[1:] if pragma == "index_list" else row for row in rows)
        found |= {f"view {name}": [sql] for kind, name, sql in entries if kind == "view"}
        partial = [(name, sql) for kind, name, sql in entries if sql and kind == "index" and "WHERE" in sql]
        return found | {"partial indexes": [*partial]}


def version(path: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return migrations.read_schema_version(connection)
    finally:
        connection.close()


def test_what_an_old_journal_knows_of_a_file_counts_once_the_file_has_been_read(old: str) -> None:
    with Journal.open(old) as journal:
        journal.jobs.select("j1")
        known = journal.objects.look_up(["known"])["known"][1]
        (leased,) = journal.operations.lease(9, Stage.MAIN)

    unknown = Stamp(FILE, 10, 5, 0, 0, 6)
    assert (leased.size, leased.stamp, leased.upload_id) == (10, unknown, "u1")
    assert known is not None
    assert (known.local, known.checksum) == (unknown, "c")
    assert not is_file_untouched(LocalFile("known", stamp()), known)
    assert version(old) == migrations.SUPPORTED


def test_an_upload_of_an_old_journal_is_adopted_and_its_parts_are_compared(old: str) -> None:
    with Journal.open(old) as journal:
        journal.jobs.begin("sync", "/src", "b/", "", {}, "2")
        (added,) = journal.operations.add([Operation(Kind.UPLOAD, "big", Reason.MISSING, "big", 10, stamp())])

        assert journal.uploads.find_adoptable("big", 10, "f") is not None
        assert [(part.state, part.etag) for part in journal.uploads.adopt(added.id, "big", "u1")] == [
            (State.PENDING, "e")
        ]


def test_to_look_at_an_old_journal_leaves_it_as_it_is(old: str) -> None:
    with Journal.read_only(old) as journal:
        journal.jobs.select("j1")
        (entry,) = journal.outcomes.read_entries()

        assert (entry.operation.key, entry.state) == ("big", State.PENDING)
        assert [job.state for job in journal.jobs.list_all()] == [JobState.RUNNING]
    assert version(old) == 1
