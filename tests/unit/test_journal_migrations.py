"""A journal of an older version becomes one of this version, and its facts are looked at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from s3batch.compare import untouched
from s3batch.journal import Journal, migrations
from s3batch.model import FILE, JobState, Kind, LocalFile, Operation, Reason, Stage, Stamp, State
from tests.rig.stamps import stamp


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a journal of version 1: an unfinished job with a pending upload of 5 MiB parts, and a fact."""
    path = str(tmp_path / "journal.db")
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "SUPPORTED", 1)
        Journal.open(path).close()
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


def version(path: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return migrations.version_of(connection)
    finally:
        connection.close()


def test_what_an_old_journal_knows_of_a_file_counts_once_the_file_has_been_read(old: str) -> None:
    with Journal.open(old) as journal:
        journal.look_at("j1")
        known = journal.look_up(["known"])["known"][1]
        (leased,) = journal.lease(9, Stage.MAIN)

    unknown = Stamp(FILE, 10, 5, 0, 0, 6)
    assert (leased.size, leased.stamp, leased.upload_id) == (10, unknown, "u1")
    assert known is not None
    assert (known.local, known.checksum) == (unknown, "c")
    assert not untouched(LocalFile("known", stamp()), known)
    assert version(old) == migrations.SUPPORTED


def test_an_upload_of_an_old_journal_is_adopted_and_its_parts_are_compared(old: str) -> None:
    with Journal.open(old) as journal:
        journal.begin_job("sync", "/src", "b/", "", {}, "2")
        (added,) = journal.add([Operation(Kind.UPLOAD, "big", Reason.MISSING, "big", 10, stamp())])

        assert journal.adoptable("big", 10, "f") is not None
        assert [(part.state, part.etag) for part in journal.adopt(added.id, "big", "u1")] == [(State.PENDING, "e")]


def test_to_look_at_an_old_journal_leaves_it_as_it_is(old: str) -> None:
    with Journal.read_only(old) as journal:
        journal.look_at("j1")
        (entry,) = journal.operations()

        assert (entry.operation.key, entry.state) == ("big", State.PENDING)
        assert [job.state for job in journal.jobs()] == [JobState.RUNNING]
    assert version(old) == 1
