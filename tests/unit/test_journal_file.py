"""The journal's file: made, opened, locked, damaged, full, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from s3batch.base.errors import EXIT_JOURNAL, JournalError, JournalLockedError, JournalTooNewError
from s3batch.journal import Journal
from s3batch.journal.database import open_database
from s3batch.journal.limits import JournalLimits
from s3batch.journal.migrations import SUPPORTED
from s3batch.model import JobState, Kind, Operation, Reason, Result, Stage, State

ROOT = Path(__file__).parents[2]
LARGE = JournalLimits(checked_always=0)
"""As for a large journal, which is not read whole on opening."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


def begin(journal: Journal) -> str:
    return journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1.0")


def uploads(number: int, prefix: str = "k") -> list[Operation]:
    return [Operation(Kind.UPLOAD, f"{prefix}{each:06d}", Reason.MISSING, "p" * 40, each) for each in range(number)]


def make(path: str, number: int = 100) -> str:
    """Make a journal with an unfinished job of ``number`` operations, and close it."""
    with Journal.open(path) as journal:
        job_id = begin(journal)
        journal.operations.add(uploads(number))
    return job_id


def test_any_text_can_be_written_and_found_again_also_if_it_is_not_utf_8(path):
    with Journal.open(path) as journal:
        begin(journal)
        for text in ("ä", "x\udcff"):
            journal.remember(f"source {text}", text)

    with Journal.open(path) as journal:
        assert [journal.recall(f"source {text}") for text in ("ä", "x\udcff")] == ["ä", "x\udcff"]
        assert not journal.recall("source x\udcfe")


def test_a_statement_is_carried_out_once_for_each_row_wherever_a_text_is_not_utf_8(path):
    database = open_database(path, create=True, refuse_if_held=lambda: None)
    rows = [(1, "a"), (2, "x\udcff"), (3, "c"), (4, "y\udcff"), (5, "e")]
    database.execute("CREATE TEMP TABLE seen (number INTEGER, name TEXT)")
    database.execute_many("INSERT INTO seen VALUES (?, ?)", rows)

    assert database.rows("SELECT number, name FROM seen ORDER BY rowid") == rows
    query = "SELECT number FROM seen WHERE number > ?2 AND name = CAST(?1 AS TEXT) OR name = ?3"
    assert database.rows(query, ("y\udcff", 1, "x\udcff")) == [(2,), (4,)]
    assert database.value("SELECT count(*) FROM seen WHERE typeof(name) = 'text'") == len(rows)
    database.close()


def python(script: str, *arguments: str, **more) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def aside_of(error: JournalError) -> str:
    found = re.search(r"it is now (\S+\.damaged-\d{14}(-\d+)?)", error.message)
    assert found is not None, error.message
    return found[1]


# -- made and opened


def test_a_journal_is_made_with_its_directories_for_its_owner_only(tmp_path):
    path = tmp_path / "state" / "s3batch" / "journal.db"

    Journal.open(str(path)).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["journal.db"]


def test_the_files_beside_an_open_journal_are_for_its_owner_only(path, tmp_path):
    with Journal.open(path) as journal:
        journal.lock()
        begin(journal)

        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}

    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"), 0o600)


def test_a_file_name_may_hold_anything_a_file_system_allows(tmp_path):
    for name in ("a?b#c%20.db", os.fsdecode(b"\xff.db"), "é \n"):
        make(str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 0


def test_an_empty_file_becomes_a_journal(path, tmp_path):
    Path(path).touch()

    make(path)

    assert [each.name for each in tmp_path.iterdir()] == ["journal.db"]


def test_an_empty_file_is_called_empty_where_no_journal_is_to_be_made(path):
    Path(path).touch()

    for opening in (lambda: Journal.open(path, create=False), lambda: Journal.read_only(path)):
        with pytest.raises(JournalError, match=r"is empty: it holds no job.* run the command of the job again"):
            opening()
    assert os.path.getsize(path) == 0


def test_a_journal_that_is_not_there_is_not_made_unless_wanted(path):
    for opening in (lambda: Journal.open(path, create=False), lambda: Journal.read_only(path)):
        with pytest.raises(JournalError, match="there is no journal"):
            opening()
    assert not os.path.exists(path)


def test_a_journal_opened_again_has_what_was_written(path):
    job_id = make(path)

    with Journal.open(path) as journal:
        assert journal.jobs.select(job_id).id == job_id
        assert journal.outcomes.count_open() == 100


@pytest.mark.parametrize("inside", ["/proc/nowhere/journal.db", "/dev/null/journal.db"])
def test_a_place_that_cannot_be_written_is_named(inside):
    with pytest.raises(JournalError, match=f"cannot make the journal {inside}") as caught:
        Journal.open(inside)

    assert caught.value.exit_code == EXIT_JOURNAL


def test_a_directory_is_no_journal(tmp_path):
    with pytest.raises(JournalError, match="is a directory, not a regular file"):
        Journal.open(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_journal_that_may_not_be_written_is_named(path):
    make(path)
    os.chmod(path, 0o400)

    with pytest.raises(JournalError, match="cannot be written"), Journal.open(path) as journal:
        begin(journal)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "there"])
def test_opening_a_journal_loads_neither_sqlite_utils_nor_the_aws_libraries(path, is_there):
    if is_there:
        make(path)
    script = (
        "import sys; from s3batch.journal import Journal\n"
        "with Journal.open(sys.argv[1]) as journal:\n"
        "    journal.jobs.begin('sync', '/src', 's3://bucket/', '', {}, '1'); journal.jobs.prune()\n"
        "with Journal.read_only(sys.argv[1]) as journal: journal.jobs.list_all()\n"
        "print(sorted({'sqlite_utils', 'boto3', 'botocore', 'awscrt'} & set(sys.modules)))"
    )

    output, errors = python(script, path).communicate()

    assert (output, errors) == ("[]\n", "")


# -- looked at while it is at work


def test_an_onlooker_sees_what_is_committed_and_writes_nothing(path):
    with Journal.open(path) as journal:
        journal.lock()
        job_id = begin(journal)
        journal.operations.add(uploads(3), lease=True)
        with Journal.read_only(path) as onlooker:
            job = onlooker.jobs.select(job_id)
            assert (job.state, onlooker.holder()) == (JobState.PLANNING, (os.getpid(), socket.gethostname()))
            assert [entry.state for entry in onlooker.outcomes.read_entries()] == [State.LEASED] * 3
            journal.operations.settle([(State.DONE, Result(1))])
            assert onlooker.outcomes.count_by_kind()[Kind.UPLOAD]["done"] == 1
            with pytest.raises(JournalError, match="cannot be written"):
                onlooker.jobs.set_state(JobState.DONE)


# -- one coordinator


def test_a_second_coordinator_is_told_who_has_the_journal(path):
    with Journal.open(path) as journal, Journal.open(path) as second:
        journal.lock()
        journal.lock()

        with pytest.raises(JournalLockedError, match=f"pid {os.getpid()} on host {socket.gethostname()}") as caught:
            second.lock()

        assert caught.value.exit_code == EXIT_JOURNAL
        assert json.loads(Path(path + ".lock").read_text())["pid"] == os.getpid()


def test_a_closed_journal_is_free_for_the_next(path):
    with Journal.open(path) as journal:
        journal.lock()
    with Journal.open(path) as journal:
        assert journal.holder() is None
        journal.lock()
        assert journal.holder() == (os.getpid(), socket.gethostname())


def test_the_lock_of_a_killed_coordinator_is_taken_over(path):
    make(path)
    script = (
        "import sys, time; from s3batch.journal import Journal\n"
        "journal = Journal.open(sys.argv[1]); journal.lock(); print('locked', flush=True); time.sleep(60)"
    )
    with python(script, path) as holder:
        assert holder.stdout.readline() == "locked\n"
        with Journal.open(path) as journal:
            assert journal.holder() == (holder.pid, socket.gethostname())
            with pytest.raises(JournalLockedError, match=f"pid {holder.pid} "):
                journal.lock()
            holder.kill()
            holder.wait()

            assert journal.holder() is None
            journal.lock()


def test_what_a_dead_holder_wrote_does_not_mix_with_the_next_ones_name(path):
    Path(path + ".lock").write_text(json.dumps({"pid": 1, "host": "h" * 500}))

    with Journal.open(path) as journal:
        journal.lock()
        assert journal.holder() == (os.getpid(), socket.gethostname())


def test_a_lock_file_with_nothing_in_it_is_still_a_lock(path):
    with Journal.open(path) as journal, Journal.open(path) as second:
        journal.lock()
        os.truncate(path + ".lock", 0)

        with pytest.raises(JournalLockedError, match=r"in use by pid 0 on host \?"):
            second.lock()


# -- damaged, foreign, too new


def overwrite(path: str, at: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: Path(path).write_bytes(b"no database at all" * 100), id="not a database"),
        pytest.param(lambda path: os.truncate(path, 5000), id="cut off"),
        pytest.param(lambda path: overwrite(path, 0, b"\0" * 100), id="no header"),
        pytest.param(lambda path: overwrite(path, 8192, b"\xa5" * 8192), id="pages overwritten"),
        pytest.param(lambda path: edit(path, "DROP TABLE part"), id="a table is gone"),
        pytest.param(lambda path: edit(path, "DROP TABLE schema_version"), id="the version is gone"),
        pytest.param(lambda path: edit(path, "DELETE FROM schema_version"), id="the version is unknown"),
    ],
)
def test_a_damaged_journal_is_set_aside_as_it_is_and_a_new_one_can_be_begun(path, damage):
    make(path, 2000)
    damage(path)
    content = Path(path).read_bytes()

    with pytest.raises(JournalError, match=re.escape(path)) as caught:
        Journal.open(path)

    assert caught.value.exit_code == EXIT_JOURNAL
    assert Path(aside_of(caught.value)).read_bytes() == content
    assert not os.path.exists(path)
    make(path)


IMPOSSIBLE = [
    "continues = id",
    "continues = (SELECT max(id) FROM job)",
    "takes = '[' || number || ']'",
    "takes = '[1e999]'",
    "requests = '{\"PutObject\": 1e999}'",
    *(f"{column} = {value}" for column in ("started", "ended", "seen") for value in ("1e300", "9e999", "-1e18")),
    *(
        f"{column} = 9e999"
        for column in ("seen_there", "store_date", "timeout", "files", "after_operation", "left_open")
    ),
    "exit_code = 1e300",
    "after_operation = 9223372036854775807",
    "stage = 77",
]


@pytest.mark.parametrize("look", [Journal.open, Journal.read_only])
@pytest.mark.parametrize("change", IMPOSSIBLE)
def test_a_job_that_no_run_can_have_written_is_damage(path, change, look):
    make(path, 2)
    make(path, 2)
    edit(path, "UPDATE job SET id = number", f"UPDATE job SET {change}")  # ids of one second are in no order

    with pytest.raises(JournalError, match="is damaged") as caught, look(path) as journal:
        journal.jobs.list_all()

    assert caught.value.exit_code == EXIT_JOURNAL


@pytest.mark.parametrize("look", [Journal.open, Journal.read_only])
def test_a_job_may_have_the_dates_and_numbers_that_its_store_its_user_and_its_files_gave(path, look):
    make(path)
    year_9999, year_1 = 253_402_300_799, -62_135_596_800
    sparse = 7 << 60  # of two such files the sum is more than 64 bits
    edit(
        path,
        f"UPDATE job SET seen_there = {year_9999 + 1.5}, store_date = {year_1}, timeout = 1e300, continues = 'gone'",
    )
    edit(path, f"UPDATE job SET bytes = {sparse} + {sparse}, unchanged = -1")
    edit(path, f"UPDATE operation SET size = {sparse}")
    edit(path, "INSERT INTO doubt VALUES ('k', 'k', 'upload', 1, 0, 1e300)")

    with look(path) as journal:
        assert journal.jobs.list_all()[0].timeout == 1e300


def edit(path: str, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_damage_that_shows_while_at_work_sets_the_file_aside_too(path):
    with Journal.open(path) as journal:
        job_id = begin(journal)
        journal.operations.add(uploads(20_000))
    journal = Journal.open(path, limits=LARGE)
    journal.jobs.select(job_id)
    overwrite(path, 65536, b"\xa5" * 65536)

    with journal, pytest.raises(JournalError) as caught:
        list(journal.outcomes.read_entries())
    with pytest.raises(JournalError, match="it is now"):
        journal.outcomes.count_failed(Stage.DELETE)

    assert os.path.exists(aside_of(caught.value))
    assert not os.path.exists(path)


def test_a_damaged_journal_that_is_at_work_is_not_moved(path):
    with Journal.open(path) as journal:
        journal.lock()
        overwrite(path, 0, b"\0" * 100)

        with pytest.raises(JournalLockedError):
            Journal.open(path)

        assert os.path.exists(path)


def test_damage_that_shows_to_one_without_the_lock_does_not_move_the_file_of_its_holder(path):
    job_id = make(path, 20_000)
    with Journal.open(path, limits=LARGE) as journal, Journal.open(path, limits=LARGE) as second:
        journal.lock()
        second.jobs.select(job_id)
        overwrite(path, 65536, b"\xa5" * 65536)

        with pytest.raises(JournalLockedError):
            list(second.outcomes.read_entries())

    assert os.path.exists(path)


def test_an_onlooker_does_not_move_a_damaged_journal(path):
    make(path)
    overwrite(path, 0, b"\0" * 100)

    with pytest.raises(JournalError, match="file is not a database"):
        Journal.read_only(path)

    assert os.path.exists(path)


def test_two_damaged_journals_of_one_second_are_both_kept(path):
    names = set()
    for _ in range(3):
        Path(path).write_bytes(b"x" * 5000)
        with pytest.raises(JournalError) as caught:
            Journal.open(path)
        names.add(aside_of(caught.value))

    assert len(names) == 3
    assert all(os.path.exists(name) for name in names)


def test_the_database_of_another_program_is_left_alone(path):
    edit(path, "CREATE TABLE operation (x)")

    for opening in (Journal.open, Journal.read_only):
        with pytest.raises(JournalError, match="a database of another program"):
            opening(path)

    edit(path, "INSERT INTO operation VALUES (1)")


def test_a_journal_of_a_later_version_is_left_alone(path):
    make(path)
    edit(path, "INSERT INTO schema_version VALUES (99, 0, 's3batch 9')")

    for opening in (Journal.open, Journal.read_only):
        with pytest.raises(JournalTooNewError, match=f"has schema 99, this s3batch reads up to {SUPPORTED}") as caught:
            opening(path)
        assert caught.value.exit_code == EXIT_JOURNAL
    assert os.path.exists(path)


# -- a full disk


def test_a_full_disk_is_said_and_what_was_committed_stays(path):
    with Journal.open(path) as journal:
        job_id = begin(journal)
        kept = journal.operations.add(uploads(100))
        journal._store._connection.execute("PRAGMA max_page_count = 60")

        with pytest.raises(JournalError, match="the journal's disk is full") as caught:
            journal.operations.add(uploads(20_000, "more"))

    assert caught.value.exit_code == EXIT_JOURNAL
    with Journal.open(path) as journal:
        journal.jobs.select(job_id)
        assert journal.operations.lease(30_000, Stage.MAIN) == kept


FILL = """
import resource, signal, sys
from s3batch.base.errors import JournalError
from s3batch.journal import Journal
from s3batch.model import Kind, Operation, Reason
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.open(sys.argv[1])
journal.jobs.select(journal.jobs.list_all()[0].id)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    for number in range(1000):
        journal.operations.add([Operation(Kind.UPLOAD, f"{number}-{each}", Reason.MISSING, "p" * 40) for each in range(100)])
        print(number, flush=True)
except JournalError as error:
    print(error.message)
"""


def test_a_write_that_the_system_refuses_is_said_and_what_was_committed_stays(path):
    make(path, 0)

    output, errors = python(FILL, path).communicate()

    *committed, message = output.splitlines()
    assert re.match("the journal's disk (is full|fails or is full): ", message), errors
    with Journal.open(path) as journal:
        journal.jobs.select(journal.jobs.list_all()[0].id)
        assert journal.outcomes.count_open() == 100 * len(committed) > 0


# -- killed

KILLED = """
import os, signal, sys
from s3batch.journal import Journal
from s3batch.journal.settling import settle_outcomes
from s3batch.model import Kind, ListedObject, Operation, Reason, Result, State
journal = Journal.open(sys.argv[1])
journal.lock()
journal.jobs.select(journal.jobs.list_all()[0].id)
added = journal.operations.add([Operation(Kind.UPLOAD, f"k{each}", Reason.MISSING, size=1) for each in range(3000)])
leased = journal.operations.lease(2000, 0)
journal.operations.settle([(State.DONE, Result(each.id, etag="e")) for each in leased[:1000]])
with journal.batch():
    journal.operations.add([Operation(Kind.UPLOAD, f"lost{each}", Reason.MISSING) for each in range(30_000)])
    if sys.argv[2] == "in a transaction":
        os.kill(os.getpid(), signal.SIGKILL)
    settle_outcomes(journal._store, [(State.DONE, Result(each.id, etag="e")) for each in leased[1000:]])
    if sys.argv[2] == "half settled":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["in a transaction", "half settled"])
def test_a_killed_coordinator_loses_nothing_that_was_committed(path, moment):
    make(path, 0)
    with python(KILLED, path, moment) as killed:
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL

    with Journal.open(path) as journal:
        journal.lock()
        journal.jobs.select(journal.jobs.list_all()[0].id)
        assert journal.outcomes.count_by_kind()[Kind.UPLOAD] == {
            "planned": 3000,
            "done": 1000,
            "failed": 0,
            "skipped": 0,
            "bytes": 1000,
        }
        assert journal.operations.release() == 1000
        left = journal.operations.lease(9999, Stage.MAIN)

    assert [operation.key for operation in left] == [f"k{each}" for each in range(1000, 3000)]
    assert [operation.recheck for operation in left] == [True] * 1000 + [False] * 1000


def test_a_process_killed_while_it_makes_a_journal_leaves_none(path):
    script = (
        "import os, signal, sys; from s3batch.journal import Journal, migrations\n"
        "migrations._record_version = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Journal.open(sys.argv[1])"
    )
    with python(script, path) as killed:
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL

    assert not os.path.exists(path)
    make(path)


def test_two_processes_that_make_the_same_journal_both_get_it(path):
    script = (
        "import sys; from s3batch.journal import Journal\n"
        "with Journal.open(sys.argv[1]) as journal: journal.remember(sys.argv[2], 1)"
    )
    both = [python(script, path, name) for name in ("first", "second")]
    assert [process.communicate() for process in both] == [("", ""), ("", "")]

    with Journal.open(path, create=False) as journal:
        assert (journal.recall("first"), journal.recall("second")) == (1, 1)
