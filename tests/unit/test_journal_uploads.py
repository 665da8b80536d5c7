"""Multipart uploads in the journal: none is ever lost from sight, and only the right one is continued."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Part, Reason, Result, Stage, State, Step
from tests.rig.stamps import stamp

MIB = 1 << 20
BIG = Operation(Kind.UPLOAD, "big", Reason.MISSING, "big", 40 * MIB, stamp(40 * MIB))


@pytest.fixture
def journal(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(journal: Journal, target: str = "s3://bucket/") -> str:
    return journal.jobs.begin("sync", "/src", target, "http://127.0.0.1", {}, "1.0")


def parts_of(operation: int) -> list[Part]:
    return [Part(operation, number + 1, number * 16 * MIB, (16, 16, 8)[number] * MIB) for number in range(3)]


def begin_upload(journal: Journal, operation: Operation = BIG, upload_id: str = "u1", fingerprint: str = "f") -> int:
    (added,) = journal.operations.add([operation], lease=True)
    journal.uploads.begin(added.id, upload_id, parts_of(added.id), fingerprint)
    return added.id


def send_part(journal: Journal, operation: int, number: int, state: State = State.DONE, **more) -> None:
    result = Result(operation, Step.PART, number, etag=f"e{number}", checksum=f"c{number}", sent=8, **more)
    journal.operations.settle([(state, result)])


def test_an_upload_is_known_by_another_reader_as_soon_as_it_is_begun(journal):
    number = begin_upload(journal)

    with Journal.read_only(journal.path) as onlooker:
        assert onlooker.uploads.find_parts(number) == parts_of(number)
        assert onlooker.uploads.list_left(of_dead_jobs_only=False) == [(journal.jobs.current_id, number, "big", "u1")]


def test_a_part_that_was_sent_is_recorded_and_its_operation_stays_leased(journal):
    number = begin_upload(journal)

    send_part(journal, number, 2)

    first, second, third = parts_of(number)
    sent = second._replace(etag="e2", checksum="c2", state=State.DONE, attempts=1)
    assert journal.uploads.find_parts(number) == [first, sent, third]
    (entry,) = journal.outcomes.read_entries()
    assert (entry.state, entry.sent, entry.operation.attempts) == (State.LEASED, 8, 0)


def test_a_resumed_upload_knows_its_id_and_which_parts_are_done(journal):
    number = begin_upload(journal)
    send_part(journal, number, 1)
    send_part(journal, number, 2, State.LEASED)

    journal.operations.release()

    (leased,) = journal.operations.lease(9, Stage.MAIN)
    assert (leased.upload_id, leased.recheck) == ("u1", True)
    assert [part.state for part in journal.uploads.find_parts(number)] == [State.DONE, State.PENDING, State.PENDING]


def test_what_s3_says_it_holds_is_recorded(journal):
    number = begin_upload(journal)
    held = parts_of(number)[0]._replace(etag="e", checksum="c")

    journal.operations.settle([(State.LEASED, Result(number, Step.SURVEY, parts=(held,)))])

    assert journal.uploads.find_parts(number)[0] == held._replace(state=State.DONE)
    assert journal.outcomes.count_open() == 1


def test_a_part_that_failed_for_good_fails_its_operation(journal):
    number = begin_upload(journal)

    send_part(journal, number, 1, State.FAILED, error="denied", code="AccessDenied")

    (failure,) = journal.outcomes.read_failures()
    assert (failure.error, failure.code, failure.attempts) == ("denied", "AccessDenied", 1)


@pytest.mark.parametrize("step", [Step.BEGIN, Step.SURVEY])
def test_a_step_that_failed_for_good_fails_its_operation(journal, step):
    (added,) = journal.operations.add([BIG], lease=True)

    journal.operations.settle([(State.FAILED, Result(added.id, step, error="denied"))])

    assert journal.outcomes.count_failed(Stage.MAIN) == 1


@pytest.mark.parametrize("step", [Step.BEGIN, Step.SURVEY, Step.ABORT])
def test_a_step_that_worked_leaves_its_operation_leased(journal, step):
    number = begin_upload(journal)

    journal.operations.settle([(State.DONE, Result(number, step))])

    assert (journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN)) == (1, 0)


def test_a_completed_upload_is_no_longer_left(journal):
    number = begin_upload(journal)

    journal.operations.settle([(State.DONE, Result(number, Step.FINISH, etag="x-3", fingerprint="f"))])

    assert (journal.uploads.list_left(of_dead_jobs_only=False), journal.uploads.find_parts(number)) == ([], [])
    assert journal.outcomes.count_by_kind()[Kind.UPLOAD]["bytes"] == 40 * MIB


def test_an_upload_whose_completion_failed_is_kept(journal):
    number = begin_upload(journal)

    journal.operations.settle([(State.FAILED, Result(number, Step.FINISH, error="InternalError"))])

    assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["u1"]
    assert len(journal.uploads.find_parts(number)) == 3


def test_a_forgotten_upload_leaves_no_trace(journal):
    number = begin_upload(journal)

    journal.uploads.forget(number)

    assert (journal.uploads.list_left(of_dead_jobs_only=False), journal.uploads.find_parts(number)) == ([], [])
    journal.operations.release()
    assert journal.operations.lease(9, Stage.MAIN)[0].upload_id == ""


def test_an_upload_begun_again_has_the_new_parts_only(journal):
    number = begin_upload(journal)
    send_part(journal, number, 1)

    again = [Part(number, 1, 0, BIG.size)]

    journal.uploads.begin(number, "u2", again)

    assert journal.uploads.find_parts(number) == again


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param(("big", 40 * MIB, "f"), True, id="the same size"),
        pytest.param(("other", 40 * MIB, "f"), False, id="another key"),
        pytest.param(("big", 41 * MIB, "f"), False, id="another size"),
        pytest.param(("big", 40 * MIB, "g"), False, id="other attributes: those of an upload cannot be changed"),
    ],
)
def test_an_upload_of_a_superseded_job_is_adoptable_for_a_file_of_its_size(journal, asked, found):
    old = begin_upload(journal)
    send_part(journal, old, 1)
    begin(journal)

    adoptable = journal.uploads.find_adoptable(*asked)

    if not found:
        assert adoptable is None
        return
    upload_id, parts = adoptable
    assert (upload_id, [part.state for part in parts]) == ("u1", [State.DONE, State.PENDING, State.PENDING])


def test_an_upload_is_adopted_once_with_its_parts(journal):
    old = begin_upload(journal)
    send_part(journal, old, 1)
    send_part(journal, old, 2, State.LEASED)
    begin(journal)
    (added,) = journal.operations.add([BIG])

    parts = journal.uploads.adopt(added.id, "big", "u1")

    assert [(part.operation, part.state) for part in parts] == [
        (added.id, State.DONE),
        (added.id, State.PENDING),
        (added.id, State.PENDING),
    ]
    assert journal.uploads.find_parts(old) == []
    assert journal.uploads.find_adoptable("big", BIG.size, "f") is None
    assert journal.uploads.list_left(of_dead_jobs_only=True) == []
    assert journal.uploads.list_left(of_dead_jobs_only=False) == [(journal.jobs.current_id, added.id, "big", "u1")]


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(stamp(40 * MIB, mtime_ns=99), id="another mtime"),
        pytest.param(stamp(40 * MIB, ctime_ns=99), id="another ctime, and all else alike"),
        pytest.param(stamp(40 * MIB, inode=99), id="another file in its place"),
    ],
)
def test_no_part_of_another_state_of_the_file_is_done(journal, now):
    send_part(journal, begin_upload(journal), 1)
    begin(journal)
    (added,) = journal.operations.add([BIG._replace(stamp=now)])

    parts = journal.uploads.adopt(added.id, "big", "u1")

    assert [part.state for part in parts] == [State.PENDING] * 3


def test_an_upload_that_failed_on_the_way_keeps_what_it_was_begun_with(journal):
    number = begin_upload(journal)
    send_part(journal, number, 1, State.FAILED, error="x")

    begin(journal)

    assert journal.uploads.find_adoptable("big", BIG.size, "f") is not None


def test_uploads_of_the_job_at_work_and_of_other_targets_are_not_adopted(journal):
    begin_upload(journal)
    assert journal.uploads.find_adoptable("big", BIG.size, "f") is None

    journal.jobs.set_state(JobState.DONE, 0)
    begin(journal, "s3://another/")

    assert journal.uploads.find_adoptable("big", BIG.size, "f") is None
    assert journal.uploads.list_left(of_dead_jobs_only=True) == []


def test_without_a_job_all_uploads_of_dead_jobs_are_told_but_none_that_can_be_resumed(journal):
    begin_upload(journal)
    dead = begin(journal), begin(journal, "s3://another/")
    begin_upload(journal, upload_id="resumable")

    with Journal.open(journal.path) as again:
        assert [left.upload_id for left in again.uploads.list_left(of_dead_jobs_only=True)] == ["u1"]
        assert {left.upload_id for left in again.uploads.list_left(of_dead_jobs_only=False)} == {"u1", "resumable"}
    assert len(dead) == 2


def test_a_dead_job_is_not_forgotten_while_an_upload_of_it_is_left(journal):
    number = begin_upload(journal)
    first = journal.jobs.current_id
    begin(journal)

    assert journal.jobs.prune() == 0
    assert [left.job_id for left in journal.uploads.list_left(of_dead_jobs_only=True)] == [first]
    journal.uploads.forget(number)
    assert journal.jobs.prune() == 1


def test_an_upload_of_a_name_that_is_not_utf8_is_adopted_too(journal):
    odd = BIG._replace(key=os.fsdecode(b"\xff/big"))
    begin_upload(journal, odd)
    begin(journal)
    (added,) = journal.operations.add([odd])

    assert journal.uploads.find_adoptable(odd.key, odd.size, "f") is not None
    assert len(journal.uploads.adopt(added.id, odd.key, "u1")) == 3
    assert journal.uploads.list_left(of_dead_jobs_only=False) == [(journal.jobs.current_id, added.id, odd.key, "u1")]
