"""A dry run's journal: it knows what the job's own one knows, and leaves it as it is."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from s3batch.base.errors import JournalError, JournalLockedError, SettingsError
from s3batch.journal import Journal, migrations
from s3batch.model import JobState, Kind, ListedObject, Operation, Reason, Result, Stage, State
from tests.rig.stamps import stamp


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "state").mkdir(mode=0o700)
    return str(tmp_path / "state" / "journal.db")


def begin(journal: Journal, target: str = "bucket/site/") -> str:
    return journal.jobs.begin("sync", "/src", target, "http://s3", {"timeout": 30.0}, "1", plan="p")


def upload(key: str) -> Operation:
    return Operation(Kind.UPLOAD, key, Reason.MISSING, key, 10, stamp(10, 1))


def send(journal: Journal, *keys: str) -> None:
    rows = journal.operations.add([upload(key) for key in keys], lease=True)
    journal.operations.settle([(State.DONE, Result(row.id, etag=f"e-{row.key}", date=5.0)) for row in rows])


def seen(path: str) -> dict[str, str]:
    """Return each file of the journal's directory, with a digest of what it holds."""
    folder = Path(path).parent
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


def listed(*keys: str) -> list[ListedObject]:
    return [ListedObject(key, 10, f"e-{key}", 5.0) for key in keys]


def leave_killed_run(path: str) -> None:
    """Leave a journal with a finished job, and a killed one that had sent a file and not yet learned from it."""
    with Journal.open(path) as journal:
        begin(journal)
        send(journal, "old")
        journal.jobs.learn_facts()
        journal.jobs.set_state(JobState.DONE, 0)
        begin(journal)
        send(journal, "sent")
        journal.operations.add([upload("pending")])


def test_it_knows_the_facts_of_what_is_listed_and_what_a_killed_run_has_sent(path):
    leave_killed_run(path)

    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal)
        list(rehearsal.jobs.take_over())
        rehearsal.objects.begin_listing()
        rehearsal.objects.record_listing(listed("old", "sent", "others"))
        found = rehearsal.objects.look_up(["old", "sent", "others", "pending"])

    assert {key: known and known.etag for key, (_, known) in found.items()} == {
        "old": "e-old", "sent": "e-sent", "others": None, "pending": None,
    }  # fmt: skip


def test_it_holds_only_what_the_dry_run_plans(path):
    leave_killed_run(path)

    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal)
        list(rehearsal.jobs.take_over())
        rehearsal.operations.add([upload("pending")])

        assert rehearsal.path == path
        assert [each.operation.key for each in rehearsal.outcomes.read_entries()] == ["pending"]
        assert rehearsal.operations.lease(9, Stage.MAIN)[0].id == 4, "numbered as the real run would"
        assert (rehearsal.uploads.list_left(of_dead_jobs_only=True), rehearsal.doubts.list_all()) == ([], [])
        folder = os.path.dirname(rehearsal._store.path)
        with closing(sqlite3.connect(rehearsal._store.path)) as beside:
            assert beside.execute("SELECT count(*) FROM operation").fetchone()[0] == 1
    assert not os.path.exists(folder)


def test_nothing_is_changed_and_no_file_is_left_beside_the_journal(path):
    leave_killed_run(path)
    before = seen(path)

    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal)
        list(rehearsal.jobs.take_over())
        rehearsal.objects.record_listing(listed("old"))
        rehearsal.jobs.learn_facts()

    assert seen(path) == before


def test_what_a_killed_run_has_left_in_the_wal_is_seen_and_stays(path):
    leave_killed_run(path)
    with Journal.open(path) as journal:
        begin(journal)
        list(journal.jobs.take_over())
        copies = {name: Path(path + name).read_bytes() for name in ("", "-wal")}
    for name, content in copies.items():
        Path(path + name).write_bytes(content)
        os.chmod(path + name, 0o600)

    with Journal.rehearse(path) as rehearsal:
        assert len(rehearsal.jobs.list_all()) == 3

    assert {name: Path(path + name).read_bytes() for name in copies} == copies


def test_no_journal_is_made_where_there_is_none(path):
    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal)
        rehearsal.objects.record_listing(listed("a"))

        assert rehearsal.objects.look_up(["a"])["a"][1] is None

    assert os.listdir(os.path.dirname(path)) == []


def test_a_damaged_journal_stays_where_it_is(path):
    leave_killed_run(path)
    with open(path, "r+b") as file:
        file.truncate(8192)
    before = Path(path).read_bytes()

    with pytest.raises(JournalError, match=f"journal {path} is damaged"):
        Journal.rehearse(path)

    assert Path(path).read_bytes() == before


def test_damage_that_shows_late_names_the_journal_and_moves_nothing(path):
    leave_killed_run(path)
    with closing(sqlite3.connect(path)) as beside:
        page = beside.execute("SELECT rootpage FROM sqlite_master WHERE name = 'object'").fetchone()[0]
        size = beside.execute("PRAGMA page_size").fetchone()[0]
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    before = seen(path)

    with Journal.rehearse(path) as rehearsal, pytest.raises(JournalError, match=f"journal {path} is damaged"):
        begin(rehearsal)
        rehearsal.objects.record_listing(listed("old"))

    assert seen(path) == before


def test_facts_of_another_target_do_not_count(path):
    leave_killed_run(path)

    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal, "bucket/other/")
        rehearsal.objects.record_listing(listed("old"))

        assert rehearsal.objects.look_up(["old"])["old"][1] is None


def test_a_journal_with_a_job_at_work_is_refused(path):
    with Journal.open(path) as journal:
        journal.lock()

        with pytest.raises(JournalLockedError):
            Journal.rehearse(path)


def test_what_earlier_jobs_owe_to_cloudfront_is_seen(path):
    leave_killed_run(path)

    with Journal.rehearse(path) as rehearsal:
        begin(rehearsal)

        assert (rehearsal.outcomes.find_last_change(0), rehearsal.outcomes.find_last_change(2)) == (2, 0)


def test_it_is_no_job_to_be_resumed(path):
    leave_killed_run(path)
    with Journal.rehearse(path) as rehearsal:
        job = begin(rehearsal)

    with Journal.open(path) as journal, pytest.raises(SettingsError):
        journal.jobs.find(job)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_journal_of_an_older_version_stays_one(path, version):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate_journal(connection, 0, version)
        connection.execute(
            "INSERT INTO object (key, size, etag, known_etag, known_size, written, fingerprint, checksum)"
            " VALUES ('old', 10, 'e-old', 'e-old', 10, 5.0, '', '')"
        )
        connection.execute("INSERT INTO remembered VALUES ('target', 'http://s3 bucket/site/')")
    os.chmod(path, 0o600)
    before = seen(path)

    with Journal.rehearse(path, foreign=True) as rehearsal:
        begin(rehearsal)
        rehearsal.objects.record_listing(listed("old"))

        assert rehearsal.objects.look_up(["old"])["old"][1].etag == "e-old"

    assert {name: digest for name, digest in seen(path).items() if name == "journal.db"} == before
