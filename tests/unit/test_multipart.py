"""The way of a large file through begin, parts and finish, and back when something goes wrong: values in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from s3batch.coordinator.multipart import OPEN_AT_ONCE, MultipartUploads
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Part, Reason, Result, State, Step, Work
from tests.rig.stamps import stamp

MIB = 1024 * 1024


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin_job(journal)
        yield journal


def begin_job(journal: Journal) -> None:
    journal.jobs.begin("sync", "/src", "bucket/", "http://127.0.0.1", {}, "1")


def make(journal: Journal, found: dict[str, str] | None = None, part_size: int = 5 * MIB) -> MultipartUploads:
    return MultipartUploads(journal, part_size, lambda path: f"print of {path}", lambda key: (found or {}).get(key, ""))


def leased(journal: Journal, size: int = 12 * MIB, key: str = "big") -> Operation:
    (operation,) = journal.operations.add(
        [Operation(Kind.UPLOAD, key, Reason.MISSING, key, size, stamp(size))], lease=True
    )
    return operation


def result(work: Work, **more: Any) -> Result:
    part = work.parts[0].number if work.step is Step.PART else 0
    etag = f"etag{part}" if part else ""
    return Result(work.operation.id, work.step, part, **{"etag": etag, "upload_id": work.operation.upload_id} | more)


def failure(work: Work, code: str, **more: Any) -> Result:
    return result(work, error=code, code=code, etag="", **more)


def begun(uploads: MultipartUploads, operation: Operation, upload_id: str = "u1") -> list[Work]:
    """The parts of an upload that has been begun."""
    uploads.add(operation)
    (begin,) = uploads.work(9)
    assert begin.step is Step.BEGIN
    uploads.take(result(begin, upload_id=upload_id))
    return uploads.work(99)


def test_what_a_dead_run_fetched_is_read_back_before_its_file_is_finished(journal):
    """Its file was out of sight, so the checksums of what came do not count any more."""
    size = 6 * MIB
    (operation,) = journal.operations.add(
        [Operation(Kind.DOWNLOAD, "big", Reason.MISSING, "big", size, stamp(size), etag="e")], lease=True
    )
    uploads = make(journal)
    first, second = begun(uploads, operation)
    uploads.take(result(first, etag="e", checksum="AAAAAAAAAAA="))
    journal.operations.settle([(State.DONE, result(first, etag="e", checksum="AAAAAAAAAAA="))])

    resumed = make(journal)
    resumed.add(operation._replace(upload_id="u1"))
    (survey,) = resumed.work(9)

    assert [(part.state, part.checksum) for part in survey.parts] == [(State.DONE, ""), (State.PENDING, "")]
    assert second.parts[0].number == 2


def steps(works: list[Work]) -> list[Step]:
    return [work.step for work in works]


def test_an_upload_id_is_in_the_journal_before_the_first_part_is_handed_out(journal):
    uploads = make(journal)
    operation = leased(journal)

    parts = begun(uploads, operation)

    assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=False)] == ["u1"]
    assert journal.uploads.find_parts(operation.id) == [work.parts[0] for work in parts]
    assert [(work.parts[0].number, work.parts[0].offset, work.parts[0].size) for work in parts] == [
        (1, 0, 5 * MIB), (2, 5 * MIB, 5 * MIB), (3, 10 * MIB, 2 * MIB),
    ]  # fmt: skip


def test_finish_waits_for_the_last_part_and_names_all(journal):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))

    uploads.take(result(third))
    uploads.take(result(first))
    before = uploads.work(9)
    uploads.take(result(second))
    (finish,) = uploads.work(9)
    verdict = uploads.take(result(finish, etag="whole"))

    assert before == []
    assert [(part.number, part.etag) for part in finish.parts] == [(1, "etag1"), (2, "etag2"), (3, "etag3")]
    assert verdict is not None
    assert verdict.result.etag == "whole"
    assert uploads.count == 0


def test_so_many_files_are_open_at_once_and_no_more(journal):
    uploads = make(journal)
    for number in range(OPEN_AT_ONCE + 5):
        uploads.add(leased(journal, key=str(number)))

    assert len(uploads.work(1000)) == OPEN_AT_ONCE
    assert uploads.count == OPEN_AT_ONCE + 5


def test_parts_of_a_dead_worker_are_asked_about_once_and_then_compared_or_sent(journal):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))
    uploads.take(result(first))
    uploads.lost(second)
    uploads.lost(third)

    (survey,) = uploads.work(9)
    again = uploads.work(9)
    uploads.take(result(survey, parts=(Part(0, 2, -1, 5 * MIB, "there"), Part(0, 3, -1, 1, "half"))))

    works = uploads.work(9)
    assert (survey.step, again) == (Step.SURVEY, [])
    assert [(work.parts[0].number, work.parts[0].etag) for work in works] == [(2, "there"), (3, "")]
    for work in works:
        uploads.take(result(work))
    assert steps(uploads.work(9)) == [Step.FINISH]


def test_a_survey_that_is_lost_too_is_made_again(journal):
    uploads = make(journal)
    first, *_ = begun(uploads, leased(journal))
    uploads.lost(first)
    (survey,) = uploads.work(9)

    uploads.lost(survey)

    assert steps(uploads.work(9)) == [Step.SURVEY]


def test_a_begin_whose_answer_may_be_lost_looks_first(journal):
    uploads = make(journal)
    uploads.add(leased(journal))
    (begin,) = uploads.work(9)

    uploads.requeue(uploads.again(failure(begin, "Connection", retryable=True)))
    (second,) = uploads.work(9)
    uploads.lost(second)
    (third,) = uploads.work(9)

    assert [work.operation.recheck for work in (begin, second, third)] == [False, True, True]


@pytest.mark.parametrize("code", ["InvalidPart", "EntityTooSmall", "InvalidPartOrder"])
def test_an_upload_that_cannot_be_finished_is_aborted_and_begun_again_once(journal, code):
    uploads = make(journal)
    for work in begun(uploads, leased(journal)):
        uploads.take(result(work))
    (finish,) = uploads.work(9)

    assert uploads.mends(failure(finish, code))
    (abort,) = uploads.work(9)
    assert uploads.take(result(abort)) is None
    (begin,) = uploads.work(9)
    uploads.take(result(begin, upload_id="u2"))
    for work in uploads.work(9):
        uploads.take(result(work))
    (second,) = uploads.work(9)

    assert (abort.step, begin.step, second.step) == (Step.ABORT, Step.BEGIN, Step.FINISH)
    assert second.operation.upload_id == "u2"
    assert not uploads.mends(failure(second, code))


def test_an_upload_that_s3_does_not_know_is_begun_again_and_late_answers_are_stale(journal):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))

    assert uploads.mends(failure(first, "NoSuchUpload"))
    assert uploads.stale(result(second))
    uploads.requeue(third)
    uploads.lost(second)
    (begin,) = uploads.work(9)
    uploads.take(result(begin, upload_id="u2"))
    parts = uploads.work(9)

    assert [work.parts[0].number for work in parts] == [1, 2, 3]
    assert {work.operation.upload_id for work in parts} == {"u2"}


def finishing(uploads: MultipartUploads, journal: Journal) -> Work:
    """The last step of an upload whose parts are all sent."""
    for part in begun(uploads, leased(journal)):
        uploads.take(result(part))
    (finish,) = uploads.work(9)
    return finish


@pytest.mark.parametrize("unheard", ["its worker died", "its answer was lost"])
def test_a_complete_that_went_unanswered_is_waited_for_before_all_is_sent_again(journal, unheard):
    uploads = make(journal)
    finish = finishing(uploads, journal)
    if unheard == "its worker died":
        uploads.lost(finish)
    else:
        uploads.requeue(uploads.again(failure(finish, "Timeout")))
    uploads.work(9)
    gone = failure(finish, "NoSuchUpload", status=404)

    pauses = [uploads.pause_to_look_again(gone) for _ in range(5)]

    assert pauses == [0.5, 1.0, 2.0, 4.0, 0]
    assert uploads.mends(gone)
    assert steps(uploads.work(9)) == [Step.BEGIN]


@pytest.mark.parametrize("status", [429, 503])
def test_a_complete_that_the_store_did_not_begin_is_not_waited_for(journal, status):
    uploads = make(journal)
    finish = finishing(uploads, journal)

    uploads.again(failure(finish, "SlowDown", status=status))

    assert uploads.pause_to_look_again(failure(finish, "NoSuchUpload", status=404)) == 0


@pytest.mark.parametrize(("parts_sent", "pause"), [(2, 0), (3, 0.5)])
def test_a_dead_run_may_have_completed_only_what_it_had_sent_as_a_whole(journal, parts_sent, pause):
    uploads = make(journal)
    operation = leased(journal)
    sent = [result(work) for work in begun(uploads, operation)[:parts_sent]]
    journal.operations.settle([(State.DONE, each) for each in sent])
    uploads = make(journal)
    uploads.add(operation._replace(upload_id="u1"))
    (survey,) = uploads.work(9)

    assert uploads.pause_to_look_again(failure(survey, "NoSuchUpload", status=404)) == pause


def test_a_failure_that_stays_waits_for_the_parts_under_way_and_aborts_once(journal):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))

    uploads.give_up(failure(first, "AccessDenied", status=403))
    before = uploads.work(9)
    uploads.give_up(failure(second, "AccessDenied", status=403))
    uploads.take(result(third))
    (abort,) = uploads.work(9)
    verdict = uploads.take(result(abort))

    assert before == []
    assert abort.step is Step.ABORT
    assert verdict is not None
    assert verdict.result.code == "AccessDenied"
    assert journal.uploads.list_left(of_dead_jobs_only=False) == []


@pytest.mark.parametrize(("code", "retryable"), [("Timeout", True), ("WorkerLost", False)])
def test_what_may_work_another_day_is_kept_for_a_resume(journal, code, retryable):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))

    assert uploads.give_up(failure(first, code, retryable=retryable)) is None
    uploads.take(result(second))
    early = uploads.take_ended()
    uploads.give_up(failure(third, "AccessDenied", status=403))
    (verdict,) = uploads.take_ended()

    assert early == []
    assert verdict.result.code == code
    assert (uploads.work(9), uploads.count) == ([], 0)
    assert uploads.stale(result(second))
    assert len(journal.uploads.list_left(of_dead_jobs_only=False)) == 1


@pytest.mark.parametrize("end", ["requeue", "lost"])
def test_a_part_that_waits_to_be_tried_again_or_is_lost_ends_a_parked_upload(journal, end):
    uploads = make(journal)
    first, second, third = begun(uploads, leased(journal))
    uploads.take(result(second))
    uploads.give_up(failure(first, "Timeout", retryable=True))

    getattr(uploads, end)(third)

    assert [verdict.result.code for verdict in uploads.take_ended()] == ["Timeout"]
    assert uploads.work(9) == []


def test_an_upload_that_cannot_be_begun_has_nothing_to_abort(journal):
    uploads = make(journal)
    uploads.add(leased(journal))
    (begin,) = uploads.work(9)

    verdict = uploads.give_up(failure(begin, "AccessDenied", status=403))

    assert verdict is not None
    assert uploads.work(9) == []


# --- going on with what was begun before -----------------------------------------------------


def resumed(journal: Journal) -> tuple[MultipartUploads, Work]:
    """An upload whose first two parts were settled by a run that was killed."""
    uploads = make(journal)
    operation = leased(journal)
    first, second, _ = begun(uploads, operation)
    outcomes = [(State.DONE, result(work)) for work in (first, second)]
    journal.operations.settle(outcomes)
    journal.operations.release()
    uploads = make(journal)
    (again,) = journal.operations.lease(9, 0)
    uploads.add(again)
    (survey,) = uploads.work(9)
    return uploads, survey


def test_a_resume_sends_only_what_is_missing(journal):
    uploads, survey = resumed(journal)

    uploads.take(result(survey, parts=(Part(0, 1, -1, 5 * MIB, "etag1"), Part(0, 2, -1, 5 * MIB, "etag2"))))

    assert [work.parts[0].number for work in uploads.work(9)] == [3]


def test_a_part_that_s3_holds_otherwise_is_compared(journal):
    uploads, survey = resumed(journal)

    uploads.take(result(survey, parts=(Part(0, 1, -1, 5 * MIB, "other"), Part(0, 3, -1, 2 * MIB, "late"))))

    works = uploads.work(9)
    assert [(work.parts[0].number, work.parts[0].etag) for work in works] == [(1, "other"), (2, ""), (3, "late")]


def test_an_upload_that_turns_out_to_be_complete_is_over(journal):
    uploads, survey = resumed(journal)

    verdict = uploads.take(result(survey, already=True, etag="whole"))

    assert [part.etag for part in survey.parts] == ["etag1", "etag2", ""]
    assert verdict is not None
    assert (verdict.result.step, verdict.result.etag) == (Step.FINISH, "whole")


def test_a_later_job_adopts_the_upload_of_the_same_file(journal):
    begun(make(journal), leased(journal))
    journal.jobs.set_state(JobState.INTERRUPTED)
    begin_job(journal)
    uploads = make(journal)

    uploads.add(leased(journal))

    (survey,) = uploads.work(9)
    assert (survey.step, survey.operation.upload_id) == (Step.SURVEY, "u1")
    assert len(survey.parts) == 3


def test_a_later_job_does_not_adopt_the_upload_of_another_file(journal):
    begun(make(journal), leased(journal))
    journal.jobs.set_state(JobState.INTERRUPTED)
    begin_job(journal)
    uploads = make(journal)

    uploads.add(leased(journal, size=13 * MIB))

    assert steps(uploads.work(9)) == [Step.BEGIN]
    assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=True)] == ["u1"]


@pytest.mark.parametrize(
    ("size", "first", "expected"),
    [
        pytest.param(30 * MIB, 8 * MIB, [8, 8, 8, 6], id="their part size"),
        pytest.param(30 * MIB, 30 * MIB, [30], id="one part"),
        pytest.param(12 * MIB, 1000, [5, 5, 2], id="a part too small for S3: ours"),
        pytest.param(12 * MIB, 0, [5, 5, 2], id="an empty part: ours"),
        pytest.param(12 * MIB, None, [5, 5, 2], id="no part yet: ours"),
    ],
)
def test_an_upload_that_only_s3_knows_of_goes_on_with_its_part_size(journal, size, first, expected):
    uploads = make(journal, {"big": "theirs"})
    uploads.add(leased(journal, size))
    (survey,) = uploads.work(9)
    held = () if first is None else (Part(0, 1, -1, first, "x"),)

    uploads.take(result(survey, parts=held))

    assert survey.operation.recheck
    assert [work.parts[0].size // MIB for work in uploads.work(99)] == expected


def test_a_huge_file_keeps_to_ten_thousand_parts_whatever_was_begun(journal):
    uploads = make(journal, {"big": "theirs"})
    uploads.add(leased(journal, 100_000 * MIB))
    (survey,) = uploads.work(9)

    uploads.take(result(survey, parts=(Part(0, 1, -1, 5 * MIB, "x"),)))

    assert len(journal.uploads.find_parts(survey.operation.id)) == 10_000


def test_an_upload_of_somebody_else_that_refuses_our_parts_is_given_up_for_our_own(journal):
    uploads = make(journal, {"big": "theirs"})
    uploads.add(leased(journal))
    (survey,) = uploads.work(9)
    uploads.take(result(survey))
    first, second, third = uploads.work(9)

    assert uploads.mends(failure(first, "InvalidRequest", status=400))
    for late in (second, third):
        uploads.take(result(late))
    (abort,) = uploads.work(9)
    uploads.take(result(abort))

    assert abort.step is Step.ABORT
    assert steps(uploads.work(9)) == [Step.BEGIN]
