"""The journal's jobs and operations: what is added, handed out, recorded and counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import (
    JobState,
    Kind,
    KnownAttributes,
    Operation,
    Reason,
    RedirectSpec,
    Result,
    SourceObject,
    Stage,
    State,
    good_result,
    shorten_result,
)
from tests.rig.stamps import stamp

ODD = os.fsdecode(b"caf\xe9/\xff.txt")


@pytest.fixture
def journal(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(journal: Journal, target: str = "s3://bucket/site/", **settings) -> str:
    return journal.jobs.begin("sync", "/src", target, "http://127.0.0.1", settings, "1.0")


def upload(key: str, size: int = 10, mtime_ns: int = 1, **more) -> Operation:
    return Operation(Kind.UPLOAD, key, Reason.MISSING, key, size, stamp(size, mtime_ns), **more)


def reconcile(key: str, **more) -> Operation:
    return upload(key, **more)._replace(kind=Kind.RECONCILE, reason=Reason.UNKNOWN)


def state_of(journal: Journal, key: str) -> State:
    return next(entry.state for entry in journal.outcomes.read_entries() if entry.operation.key == key)


def keys(operations) -> list[str]:
    return [operation.key for operation in operations]


def test_added_operations_come_back_numbered_and_are_leased_in_their_order(journal):
    added = journal.operations.add([upload("b"), upload("a"), upload("c")])

    assert keys(added) == ["b", "a", "c"]
    assert [operation.id for operation in added] == sorted(operation.id for operation in added)
    assert journal.operations.lease(2, Stage.MAIN) == added[:2]
    assert journal.operations.lease(2, Stage.MAIN) == added[2:]
    assert journal.operations.lease(2, Stage.MAIN) == []


def test_a_plain_copy_is_proved_by_the_etag_that_its_row_names(journal):
    etags = {"plain": "e" * 32, "parts": f"{'e' * 32}-2", "told": "f", "failed": "g", "streamed": "h"}
    added = journal.operations.add(
        [upload(key)._replace(kind=Kind.TRANSFER, spec=SourceObject(etag, streamed=key == "streamed")) for key, etag in etags.items()],
        lease=True,
    )  # fmt: skip
    plain, parts, told, failed, streamed = added

    journal.operations.settle_stored(
        [shorten_result(good_result(each.id, "r", 0.1, 0, each.spec.etag, "", 9.5, "f")) for each in (plain, parts)]
    )
    journal.operations.settle(
        [
            (State.DONE, Result(told.id, etag="other", spec=told.spec._replace(proof="size"))),
            (State.FAILED, Result(failed.id, error="no", etag="g")),
            (State.DONE, Result(streamed.id, etag="h")),
        ]
    )

    assert journal.outcomes.count_proofs() == {"etag": 1, "parts": 1, "size": 1}


def test_every_field_of_an_operation_comes_back_as_it_was_given(journal):
    given = Operation(
        Kind.REDIRECT,
        "k",
        Reason.REDIRECT,
        "p",
        1,
        stamp(1, 2**62, 2**62, 2**62, 2**62),
        Stage.REDIRECT,
        "etag",
        RedirectSpec('{"to": "/x"}'),
    )

    (added,) = journal.operations.add([given])

    assert added == given._replace(id=added.id)
    assert journal.operations.lease(1, Stage.REDIRECT) == [added]


def test_an_operation_added_as_leased_is_not_handed_out_again(journal):
    (added,) = journal.operations.add([upload("a")], lease=True)

    assert journal.operations.lease(9, Stage.MAIN) == []
    assert state_of(journal, "a") is State.LEASED
    assert journal.operations.release() == 1
    assert journal.operations.lease(9, Stage.MAIN) == [added._replace(recheck=True)]


def test_a_stage_hands_out_its_own_operations_only(journal):
    journal.operations.add([upload("late", stage=Stage.PUBLISH_LAST), upload("now")])

    assert keys(journal.operations.lease(9, Stage.MAIN)) == ["now"]
    assert keys(journal.operations.lease(9, Stage.PUBLISH_LAST)) == ["late"]


def test_leasing_goes_on_with_what_was_added_since(journal):
    journal.operations.add([upload("a")])
    journal.operations.lease(9, Stage.MAIN)
    journal.operations.lease(9, Stage.MAIN)
    journal.operations.add([upload("b")])

    assert keys(journal.operations.lease(9, Stage.MAIN)) == ["b"]


def test_settling_records_what_s3_answered(journal):
    (added,) = journal.operations.add([upload("a")], lease=True)

    journal.operations.settle(
        [(State.DONE, Result(added.id, status=200, request_id="R", seconds=0.5, sent=10, etag="e", date=5.0))]
    )

    (entry,) = journal.outcomes.read_entries(State.DONE)
    assert entry.operation == added._replace(attempts=1)
    assert (entry.status, entry.request_id, entry.seconds, entry.sent, entry.etag) == (200, "R", 0.5, 10, "e")


@pytest.mark.parametrize("status", [pytest.param(0, id="nothing to explain"), pytest.param(200, id="with a status")])
def test_an_operation_that_is_done_keeps_nothing_of_its_failed_tries(journal, status):
    first, second = journal.operations.add([upload("a"), upload("b")], lease=True)
    refused = Result(first.id, error="busy", code="SlowDown", status=503, request_id="R1", seconds=1.0, sent=4)
    journal.operations.settle([(State.PENDING, refused)])
    journal.operations.lease_rows([first.id])
    journal.operations.release()
    assert all(each.recheck for each in journal.operations.lease(9, Stage.MAIN))

    answer = Result(first.id, status=status, request_id="R2", seconds=0.5, sent=10, etag="e")
    journal.operations.settle([(State.FAILED, Result(second.id, error="denied")), (State.DONE, answer)])

    done, failed = journal.outcomes.read_entries()
    assert done == (first._replace(attempts=2), State.DONE, "", "", status, "R2", 0.5, 14, "e")
    assert failed.state is State.FAILED


def test_a_fault_worth_retrying_is_handed_out_when_it_is_due_and_not_by_the_cursor(journal):
    (added,) = journal.operations.add([upload("a")])
    journal.operations.lease(1, Stage.MAIN)
    journal.operations.settle([(State.PENDING, Result(added.id, error="reset", retryable=True))])

    assert journal.operations.lease(9, Stage.MAIN) == []
    assert journal.operations.lease_rows([added.id, 999, added.id]) == [added._replace(attempts=1)]
    assert journal.operations.lease_rows([added.id]) == []


def test_what_was_never_begun_is_put_back_as_it_was(journal):
    added = journal.operations.add([upload("a"), upload("b"), upload("c")])
    journal.operations.lease(9, Stage.MAIN)
    journal.operations.settle([(State.DONE, Result(added[0].id))])

    journal.operations.put_back([added[0].id, added[1].id])

    assert journal.operations.lease(9, Stage.MAIN) == [added[1]]
    journal.operations.put_back([])
    assert journal.operations.lease(9, Stage.MAIN) == []


def test_a_failure_is_named_with_everything_the_report_needs(journal):
    (added,) = journal.operations.add([upload("a")], lease=True)
    answer = Result(added.id, error="denied", code="AccessDenied", status=403, request_id="R")
    journal.operations.settle([(State.PENDING, answer)])
    journal.operations.settle([(State.FAILED, answer)])

    assert list(journal.outcomes.read_failures()) == [(Kind.UPLOAD, "a", "a", "denied", "AccessDenied", 403, "R", 2)]
    assert (journal.outcomes.count_failed(Stage.MAIN), journal.outcomes.count_open()) == (1, 0)


def test_failures_can_be_limited_and_are_read_a_page_at_a_time(journal):
    added = journal.operations.add([upload(f"k{number:04d}") for number in range(2500)], lease=True)
    journal.operations.settle([(State.FAILED, Result(operation.id, error="x")) for operation in added])

    assert keys(journal.outcomes.read_failures()) == keys(added)
    assert keys(journal.outcomes.read_failures(1200)) == keys(added)[:1200]
    assert list(journal.outcomes.read_failures(0)) == []


@pytest.mark.parametrize("become", [Kind.UPLOAD, Kind.COPY])
def test_a_reconciled_operation_becomes_what_the_worker_found(journal, become):
    (added,) = journal.operations.add([reconcile("a")], lease=True)

    journal.operations.settle([(State.PENDING, Result(added.id, become=become, reason=Reason.CONTENT))])

    (leased,) = journal.operations.lease_rows([added.id])
    assert leased == added._replace(kind=become, reason=Reason.CONTENT, attempts=0)


def test_what_was_compared_and_then_failed_keeps_its_attempts(journal):
    (added,) = journal.operations.add([reconcile("a")], lease=True)

    journal.operations.settle([(State.FAILED, Result(added.id, become=Kind.UPLOAD, error="denied"))])

    (failure,) = journal.outcomes.read_failures()
    assert (failure.operation, failure.attempts) == (Kind.UPLOAD, 1)


def test_counts_are_per_kind_and_leave_out_what_was_found_unchanged(journal):
    added = journal.operations.add(
        [
            upload("done"),
            upload("failed", size=5),
            upload("open", size=5),
            reconcile("same"),
            reconcile("unsure"),
            Operation(Kind.DELETE, "gone", Reason.ORPHAN, stage=Stage.DELETE),
        ],
        lease=True,
    )
    states = [State.DONE, State.FAILED, State.PENDING, State.SKIPPED, State.FAILED, State.SKIPPED]
    journal.operations.settle(
        (state, Result(operation.id, error="x" if state is State.FAILED else ""))
        for operation, state in zip(added, states, strict=True)
    )

    counts = journal.outcomes.count_by_kind()

    assert counts[Kind.UPLOAD] == {"planned": 3, "done": 1, "failed": 1, "skipped": 0, "bytes": 10}
    assert counts[Kind.RECONCILE] == {"planned": 1, "done": 0, "failed": 1, "skipped": 0, "bytes": 0}
    assert counts[Kind.DELETE] == {"planned": 1, "done": 0, "failed": 0, "skipped": 1, "bytes": 0}
    assert counts[Kind.COPY]["planned"] == 0
    assert journal.jobs.current.unchanged == 1
    assert (
        journal.outcomes.count_open(),
        journal.outcomes.count_open(Stage.MAIN),
        journal.outcomes.count_open(Stage.DELETE),
    ) == (1, 1, 0)


def test_what_is_open_or_failed_is_counted_as_it_is_now(journal):
    (added,) = journal.operations.add([upload("a")], lease=True)
    counted = [(journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN))]

    with pytest.raises(ZeroDivisionError), journal.batch():
        journal.operations.add([upload("undone")])
        counted.append((journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN)))
        raise ZeroDivisionError
    counted.append((journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN)))
    journal.operations.settle([(State.FAILED, Result(added.id, error="x"))])
    counted.append((journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN)))
    begin(journal)
    counted.append((journal.outcomes.count_open(), journal.outcomes.count_failed(Stage.MAIN)))

    assert counted == [(1, 0), (2, 0), (1, 0), (0, 1), (0, 0)]


def test_names_that_are_not_utf8_come_back_as_they_went_in(journal):
    given = upload(ODD, spec=KnownAttributes(ODD))

    added = journal.operations.add([upload("plain"), given])

    assert added[1] == given._replace(id=added[1].id)
    assert journal.operations.lease(9, Stage.MAIN) == added
    journal.operations.settle([(State.FAILED, Result(added[1].id, error=f"no {ODD}"))])
    (failure,) = journal.outcomes.read_failures()
    assert (failure.key, failure.path, failure.error) == (ODD, ODD, f"no {ODD}")


def test_a_job_keeps_what_it_was_begun_with(journal):
    job_id = journal.jobs.begin("sync", f"/src/{ODD}", "s3://bucket/other/", "", {"acl": {"*": ODD}}, "1.0")

    job = journal.jobs.current

    assert (job.id, journal.jobs.current_id) == (job_id, job_id)
    assert (job.command, job.source, job.target) == ("sync", f"/src/{ODD}", "s3://bucket/other/")
    assert (job.settings, job.version, job.state) == ({"acl": {"*": ODD}}, "1.0", JobState.PLANNING)
    assert (job.ended, job.exit_code, job.resumed, job.planned, job.warnings) == (None, None, 0, False, [])


def test_a_job_id_says_when_it_began_and_is_unique(journal):
    first, second = journal.jobs.current_id, begin(journal)

    assert first != second
    assert first[8] == first[15] == "-"
    assert len(first) == len("20261121-211455-3f2a9c")


def test_totals_add_up_over_batches_and_reopening(tmp_path):
    with Journal.open(str(tmp_path / "j")) as journal:
        begin(journal)
        journal.jobs.add_tally(files=2, bytes=20, unchanged=1, requests={"PutObject": 2}, retries=1)
        journal.commit()
        job_id = journal.jobs.current_id
    with Journal.open(str(tmp_path / "j")) as journal:
        journal.jobs.select(job_id)
        journal.jobs.add_tally(files=1, requests={"PutObject": 1, "ListObjectsV2": 1})

        job = journal.jobs.current

    assert (job.files, job.bytes, job.unchanged, job.retries) == (3, 20, 1, 1)
    assert job.requests == {"PutObject": 3, "ListObjectsV2": 1}


def test_the_same_warning_is_kept_once(journal):
    for text in ("odd", ODD, "odd"):
        journal.jobs.warn(text)

    assert journal.jobs.current.warnings == ["odd", ODD]


def test_a_new_job_supersedes_unfinished_ones_of_its_target_only(journal):
    same = journal.jobs.current_id
    other = begin(journal, "s3://bucket/elsewhere/")
    newest = begin(journal)

    assert {job.id: job.state for job in journal.jobs.list_all()} == {
        newest: JobState.PLANNING,
        other: JobState.PLANNING,
        same: JobState.SUPERSEDED,
    }
    assert [job.id for job in journal.jobs.list_all()] == [newest, other, same]


def test_a_new_job_knows_nothing_of_the_operations_of_an_old_one(journal):
    journal.operations.add([upload("a"), upload("b")])

    begin(journal)

    assert journal.operations.lease(9, Stage.MAIN) == []
    assert (journal.outcomes.count_open(), journal.outcomes.count_by_kind()[Kind.UPLOAD]["planned"]) == (0, 0)
    assert keys(journal.operations.add([upload("a")])) == ["a"]


@pytest.mark.parametrize("pruned", [False, True])
def test_row_numbers_stay_above_where_the_job_began_when_reopened(tmp_path, pruned):
    with Journal.open(str(tmp_path / "j")) as journal:
        begin(journal)
        journal.operations.add([upload("a"), upload("a"), upload("a")])
        journal.jobs.set_state(JobState.DONE, 0)
        job_id = begin(journal)
        if pruned:
            journal.jobs.prune()
    with Journal.open(str(tmp_path / "j")) as journal:
        journal.jobs.select(job_id)
        journal.operations.add([upload("b")])

        assert keys(journal.operations.lease(9, Stage.MAIN)) == ["b"]


def test_the_row_numbers_of_pruned_jobs_are_not_given_again(tmp_path):
    with Journal.open(str(tmp_path / "j")) as journal:
        begin(journal)
        before = journal.operations.add([upload("a"), upload("b")])[-1].id
        journal.jobs.set_state(JobState.DONE, 0)
        journal.jobs.prune()
    with Journal.open(str(tmp_path / "j")) as journal:
        begin(journal)

        assert journal.operations.add([upload("a")])[0].id > before


def test_a_finished_job_can_be_looked_at(journal):
    journal.operations.add([upload("a")])
    job_id = journal.jobs.current_id
    journal.jobs.set_state(JobState.DONE, 0)
    begin(journal, "s3://other/")

    job = journal.jobs.select(job_id)

    assert (job.state, job.exit_code, job.ended is not None) == (JobState.DONE, 0, True)
    assert keys(entry.operation for entry in journal.outcomes.read_entries()) == ["a"]


def test_changes_of_the_target_are_told_over_all_its_syncs(journal):
    def change(key: str, state: State, kind: Kind = Kind.UPLOAD) -> int:
        (added,) = journal.operations.add([upload(key)._replace(kind=kind)], lease=True)
        journal.operations.settle([(state, Result(added.id))])
        return added.id

    assert (journal.outcomes.find_last_change(0), list(journal.outcomes.read_changed_keys(0))) == (0, [])
    change("first", State.DONE)
    begin(journal, "s3://another/")
    change("elsewhere", State.DONE)
    begin(journal)
    last = change(ODD, State.DONE, Kind.DELETE)
    change("failed", State.FAILED)
    change("same", State.SKIPPED, Kind.RECONCILE)

    assert (journal.outcomes.find_last_change(0), list(journal.outcomes.read_changed_keys(0))) == (last, ["first", ODD])
    assert (journal.outcomes.find_last_change(last), list(journal.outcomes.read_changed_keys(last))) == (0, [])


def test_without_a_job_there_is_nothing_to_work_on(tmp_path):
    with Journal.open(str(tmp_path / "j")) as journal, pytest.raises(RuntimeError, match="no job"):
        journal.jobs.set_planned()


def test_a_batch_is_one_transaction_and_is_undone_when_it_fails(journal, tmp_path):
    with Journal.read_only(journal.path) as onlooker, pytest.raises(ZeroDivisionError), journal.batch():
        journal.operations.add([upload("a")])
        onlooker.jobs.select(journal.jobs.current_id)
        assert list(onlooker.outcomes.read_entries()) == []
        raise ZeroDivisionError

    assert list(journal.outcomes.read_entries()) == []
    assert keys(journal.operations.add([upload("a")])) == ["a"]


def test_what_is_leased_is_committed_even_inside_a_batch(journal):
    with journal.batch():
        journal.operations.add([upload("a")])
        journal.operations.lease(1, Stage.MAIN)
        with Journal.read_only(journal.path) as onlooker:
            onlooker.jobs.select(journal.jobs.current_id)
            assert [entry.state for entry in onlooker.outcomes.read_entries()] == [State.LEASED]


def test_what_was_found_out_about_the_endpoint_is_remembered(journal):
    journal.remember("trailing checksums", value=False)
    journal.remember("quirks", [ODD, 1])

    with Journal.open(journal.path) as again:
        assert (again.recall("trailing checksums"), again.recall("quirks")) == (False, [ODD, 1])
        assert again.recall("never asked") is None


def test_pruning_forgets_finished_jobs_and_keeps_the_others(journal):
    first = journal.jobs.current_id
    journal.operations.add([upload("a")])
    journal.jobs.warn("odd")
    journal.jobs.set_state(JobState.DONE, 0)
    second = begin(journal)
    journal.jobs.set_state(JobState.DONE, 0)
    unfinished = begin(journal)
    journal.operations.add([upload("b")])

    assert journal.jobs.prune(keep=1) == 1
    assert [job.id for job in journal.jobs.list_all()] == [unfinished, second]
    assert first not in {job.id for job in journal.jobs.list_all()}
    assert keys(entry.operation for entry in journal.outcomes.read_entries()) == ["b"]
    assert keys(journal.operations.lease(9, Stage.MAIN)) == ["b"]


@pytest.mark.parametrize(("state", "recheck"), [(State.PENDING, True), (State.DONE, False)])
def test_what_was_to_be_looked_up_still_is_if_a_try_came_to_nothing(journal, state, recheck):
    (added,) = journal.operations.add([upload("k")], lease=True)
    journal.operations.release()
    journal.operations.lease(1, Stage.MAIN)

    journal.operations.settle([(state, Result(added.id, error="no answer"))])

    assert [entry.operation.recheck for entry in journal.outcomes.read_entries()] == [recheck]


def test_a_file_that_changed_since_a_dead_run_sent_it_is_looked_up_all_the_same(journal):
    """It may have been written anew with the same content, which S3 has."""
    (added,) = journal.operations.add([upload("a")])
    journal.operations.lease(9, Stage.MAIN)
    journal.operations.release()

    journal.operations.replan(added._replace(size=added.size + 1))

    assert [(each.size, each.recheck) for each in journal.operations.lease(9, Stage.MAIN)] == [(added.size + 1, True)]
