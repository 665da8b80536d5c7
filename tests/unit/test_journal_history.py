"""What a job takes over from those that died before it: operations, facts, uploads, doubts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from s3batch.base.errors import JournalError, SettingsError
from s3batch.journal import Journal
from s3batch.journal.limits import JournalLimits
from s3batch.model import JobState, Kind, Operation, Part, Reason, Result, Stage, State
from tests.rig.old_journals import make_old
from tests.rig.stamps import stamp

MIB = 1 << 20


@pytest.fixture
def journal(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(
    journal: Journal, *, plan: str = "p", target: str = "bucket/site/", source: str = "/src", continues: str = ""
) -> str:
    return journal.jobs.begin(
        "sync", source, target, "http://s3", {"timeout": 30.0}, "1", plan=plan, continues=continues
    )


def upload(key: str, size: int = 10, **more) -> Operation:
    return Operation(Kind.UPLOAD, key, Reason.MISSING, key, size, stamp(size, 1), **more)


def keys(operations) -> list[str]:
    return [operation.key for operation in operations]


def die_with_everything(journal: Journal) -> str:
    """Leave a job with a row in every state; return its id."""
    done, failed, gone, leased, reconciled, *_ = journal.operations.add(
        [
            upload("done"), upload("failed"), upload("gone"), upload("leased"),
            upload("compare")._replace(kind=Kind.RECONCILE), upload("pending"),
            upload("last", stage=Stage.PUBLISH_LAST),
            Operation(Kind.REDIRECT, "go", Reason.REDIRECT, stage=Stage.REDIRECT),
            Operation(Kind.DELETE, "old", Reason.ORPHAN, stage=Stage.DELETE),
        ]
    )  # fmt: skip
    journal.operations.lease(4, Stage.MAIN)
    journal.operations.settle(
        [
            (State.DONE, Result(done.id, etag="e", date=5.0)),
            (State.FAILED, Result(failed.id, error="denied", code="AccessDenied")),
            (State.FAILED, Result(gone.id, error="gone", code="Vanished")),
        ]
    )
    assert (leased.key, reconciled.key) == ("leased", "compare")
    return journal.jobs.current_id


def test_what_a_dead_job_had_planned_is_leased_at_once_before_anything_is_taken_over(journal):
    die_with_everything(journal)

    begin(journal)

    assert keys(journal.operations.lease(9, Stage.MAIN)) == ["compare", "pending"]
    assert keys(journal.operations.lease(9, Stage.PUBLISH_LAST)) == ["last"]


def test_what_was_leased_or_failed_comes_again_to_be_looked_up(journal):
    die_with_everything(journal)
    begin(journal)

    more = list(journal.jobs.take_over())

    leased = {each.key: each.recheck for each in journal.operations.lease(9, Stage.MAIN)}
    assert leased == {"failed": True, "leased": True, "compare": True, "pending": False}
    assert more == [1 - 2]  # one failure is tried again; the redirect and the delete are decided anew
    assert journal.operations.lease(9, Stage.REDIRECT) == journal.operations.lease(9, Stage.DELETE) == []
    assert journal.jobs.current.left_open == journal.outcomes.count_open() == 5


def test_a_resume_counts_what_the_job_before_had_taken_from_an_earlier_one(tmp_path):
    with Journal.open(str(tmp_path / "few.db"), limits=JournalLimits(taken_at_once=2)) as journal:
        begin(journal)
        die_with_everything(journal)
        second = begin(journal)  # not a resume: it takes what is open
        taken = journal.operations.lease(9, Stage.MAIN)
        list(journal.jobs.take_over())
        taken += journal.operations.lease(9, Stage.MAIN) + journal.operations.lease(9, Stage.PUBLISH_LAST)
        fetch = Operation(Kind.DOWNLOAD, "new", Reason.MISSING, "new", 7)
        taken += journal.operations.add([fetch], lease=True)
        journal.operations.settle([(State.DONE, Result(each.id, fingerprint="etag")) for each in taken])
        begin(journal, continues=second)

        assert journal.outcomes.count_done_before()[Kind.UPLOAD]["done"] == len(taken) - 2
        assert journal.outcomes.count_done_before()[Kind.RECONCILE]["done"] == 1
        assert journal.outcomes.count_proofs() == {"etag": 1}
        assert len(list(journal.statistics.read_rows())) == len(taken)


def test_a_report_counts_what_a_job_took_of_one_that_was_forgotten(journal):
    first = journal.jobs.current_id
    journal.operations.add([Operation(Kind.DOWNLOAD, "new", Reason.MISSING, "new", 7)])
    second = begin(journal, continues=first)
    list(journal.jobs.take_over())
    (taken,) = journal.operations.lease(9, Stage.MAIN)
    journal.operations.settle([(State.DONE, Result(taken.id, fingerprint="etag"))])
    journal.jobs.set_state(JobState.DONE, 0)

    assert journal.jobs.prune(keep=1) == 1

    journal.jobs.select(second)
    assert journal.outcomes.count_proofs() == {"etag": 1}
    assert [row.key for row in journal.statistics.read_rows()] == ["new"]


def test_what_is_leased_is_the_jobs_own_from_then_on(journal):
    first = die_with_everything(journal)
    second = begin(journal)
    (compare,) = journal.operations.lease(1, Stage.MAIN)
    list(journal.jobs.take_over())

    journal.operations.settle([(State.DONE, Result(compare.id))])

    assert journal.outcomes.count_by_kind()[Kind.RECONCILE]["done"] == 1
    journal.jobs.select(first)
    assert journal.outcomes.count_by_kind()[Kind.UPLOAD]["done"] == 1
    assert "compare" not in keys(entry.operation for entry in journal.outcomes.read_entries())
    journal.jobs.select(second)
    assert sorted(keys(entry.operation for entry in journal.outcomes.read_entries())) == [
        "compare", "failed", "last", "leased", "pending"
    ]  # fmt: skip


def test_the_walk_is_told_which_keys_have_an_operation_and_which_are_done(journal):
    first = die_with_everything(journal)
    begin(journal, continues=first)
    journal.operations.lease(1, Stage.MAIN)
    list(journal.jobs.take_over())

    asked = ["done", "failed", "gone", "leased", "compare", "pending", "last", "go", "old", "never seen"]
    assert journal.objects.find_planned_before(asked) == {"failed", "leased", "compare", "pending", "last"}
    assert journal.facts.find_done_before(asked) == {"done"}
    assert journal.objects.look_up(["done"])["done"][1].etag == "e"


@pytest.mark.parametrize(("command", "left"), [("sync", []), ("apply", ["a"]), ("undo", ["a"])])
def test_a_failure_of_a_taken_operation_is_tried_again_where_nothing_plans_it_anew(tmp_path, command, left):
    with Journal.open(str(tmp_path / "chain.db")) as journal:
        for again in range(3):
            journal.jobs.begin(command, "/src", "bucket/site/", "http://s3", {"timeout": 30.0}, "1", plan="p")
            if not again:
                journal.operations.add([upload("a")])
            list(journal.jobs.take_over())
            leased = journal.operations.lease(9, Stage.MAIN)
            journal.operations.settle([(State.FAILED, Result(each.id, error="denied", code="x")) for each in leased])
            journal.jobs.learn_facts()

        assert keys(leased) == left


@pytest.mark.parametrize("command", ["apply", "undo"])
def test_operations_that_nothing_plans_anew_are_taken_over_until_all_have_gone_well(tmp_path, command):
    def run() -> list[Operation]:
        journal.jobs.begin(command, "/src", "bucket/site/", "http://s3", {"timeout": 30.0}, "1", plan="p")
        list(journal.jobs.take_over())
        return journal.operations.lease(9, Stage.MAIN)

    with Journal.open(str(tmp_path / "chain.db")) as journal:
        run()
        (first, gone) = journal.operations.add([upload("a"), upload("gone")], lease=True)
        deletes = [Operation(Kind.DELETE, "old", Reason.ORPHAN, stage=Stage.DELETE)]
        journal.operations.add(deletes)
        journal.operations.settle([(State.DONE, Result(first.id, etag="e", date=5.0))])
        journal.operations.settle([(State.FAILED, Result(gone.id, error="gone", code="Vanished"))])
        journal.jobs.learn_facts()
        assert keys(run()) == ["gone"]
        journal.operations.settle([(State.DONE, Result(gone.id, etag="e", date=5.0))])
        journal.jobs.learn_facts()
        assert run() == []
        assert keys(journal.operations.lease(9, Stage.DELETE)) == ["old"]
        assert all(known for _, known in journal.objects.look_up(["a", "gone"]).values())


@pytest.mark.parametrize("other", [{"plan": "q"}, {"source": "/other", "plan": "q"}])
def test_a_job_with_another_plan_takes_facts_and_doubts_but_no_operation(journal, other):
    first = die_with_everything(journal)

    begin(journal, **other)
    list(journal.jobs.take_over())

    assert journal.operations.lease(9, Stage.MAIN) == []
    assert (journal.outcomes.count_open(), journal.objects.find_planned_before(["pending"])) == (0, set())
    assert journal.objects.look_up(["done"])["done"][1].etag == "e"
    assert [doubt.key for doubt in journal.doubts.list_all()] == ["leased"]
    assert {job.id: job.state for job in journal.jobs.list_all()}[first] is JobState.SUPERSEDED
    journal.jobs.select(first)
    assert State.LEASED not in [entry.state for entry in journal.outcomes.read_entries()]


@pytest.mark.parametrize("other", [{"plan": "q"}, {"source": "/other", "plan": "q"}])
def test_a_job_with_another_plan_takes_facts_and_doubts_of_rows_that_a_dead_job_had_taken(journal, other):
    die_with_everything(journal)
    second = begin(journal)
    list(journal.jobs.take_over())
    journal.doubts.mark_checked(["leased"])
    taken = {each.key: each.id for each in journal.operations.lease(9, Stage.MAIN)}
    journal.operations.settle([(State.DONE, Result(taken["pending"], etag="e", date=5.0))])
    journal.operations.settle([(State.FAILED, Result(taken["failed"], error="denied", code="AccessDenied"))])

    begin(journal, **other)
    list(journal.jobs.take_over())

    assert journal.operations.lease(9, Stage.MAIN) == []
    assert (journal.outcomes.count_open(), journal.objects.find_planned_before(list(taken))) == (0, set())
    assert journal.objects.look_up(["pending"])["pending"][1].etag == "e"
    assert [doubt.key for doubt in journal.doubts.list_all()] == ["compare", "leased"]
    journal.jobs.select(second)
    assert State.LEASED not in [entry.state for entry in journal.outcomes.read_entries()]


def test_facts_are_taken_of_rows_that_a_dead_job_had_taken_and_ended(journal):
    die_with_everything(journal)
    begin(journal)
    list(journal.jobs.take_over())
    taken = journal.operations.lease(9, Stage.MAIN) + journal.operations.lease(9, Stage.PUBLISH_LAST)
    failed, *done = sorted(taken, key=lambda each: each.key != "failed")
    journal.operations.settle([(State.FAILED, Result(failed.id, error="denied", code="AccessDenied"))])
    journal.operations.settle([(State.DONE, Result(each.id, etag="e", date=5.0)) for each in done])
    assert journal.jobs.current.left_open == 0

    begin(journal)
    more = list(journal.jobs.take_over())

    found = journal.objects.look_up(keys(taken))
    assert {key for key in found if found[key][1] is None} == {"failed"}
    # the walk plans it again
    assert (sum(more), journal.objects.find_planned_before(["failed"])) == (0, set())
    assert journal.operations.lease(9, Stage.MAIN) == []
    assert journal.outcomes.count_open() == journal.jobs.current.left_open == 0


def test_a_job_takes_what_a_chain_of_dead_ones_left(journal):
    die_with_everything(journal)
    for _ in range(3):
        begin(journal)
        journal.operations.lease(1, Stage.MAIN)
        list(journal.jobs.take_over())

    begin(journal)
    list(journal.jobs.take_over())

    assert sorted(keys(journal.operations.lease(9, Stage.MAIN))) == ["compare", "failed", "leased", "pending"]
    assert journal.outcomes.count_open() == journal.jobs.current.left_open == 5


def test_a_job_that_dies_before_it_has_taken_over_leaves_all_of_it_to_the_next(journal):
    die_with_everything(journal)
    begin(journal)
    begin(journal)
    list(journal.jobs.take_over())

    assert sorted(keys(journal.operations.lease(9, Stage.MAIN))) == ["compare", "failed", "leased", "pending"]
    assert journal.objects.look_up(["done"])["done"][1].etag == "e"


def test_a_job_takes_nothing_from_one_that_is_done(journal):
    journal.operations.add([upload("left")])
    journal.jobs.set_state(JobState.DONE, 0)

    begin(journal)

    assert list(journal.jobs.take_over()) == []
    assert journal.operations.lease(9, Stage.MAIN) == []


def test_deletes_go_on_only_where_the_dead_job_was_at_them(journal):
    deletes = [Operation(Kind.DELETE, key, Reason.ORPHAN, stage=Stage.DELETE) for key in "abc"]
    journal.operations.add(deletes)
    journal.jobs.set_stage(Stage.DELETE)
    (first,) = journal.operations.lease(1, Stage.DELETE)
    begin(journal)

    assert journal.jobs.current.stage == Stage.DELETE
    assert keys(journal.operations.lease(9, Stage.DELETE)) == ["b", "c"]
    list(journal.jobs.take_over())
    assert journal.operations.lease(9, Stage.DELETE) == [first._replace(recheck=True)]
    assert journal.objects.find_planned_before(["a", "b", "c"]) == set()


def test_the_history_of_a_resumed_job_is_the_jobs_it_continues(journal):
    first = die_with_everything(journal)
    second = begin(journal, continues=first)
    begin(journal, continues=second)

    assert [job.id for job in journal.jobs.list_continued()] == [first, second]
    assert (journal.jobs.current.continues, journal.jobs.current.resumed) == (second, 2)
    assert journal.outcomes.count_done_before()[Kind.UPLOAD]["done"] == 1


def test_a_new_sync_takes_the_operations_and_not_the_history(journal):
    die_with_everything(journal)
    begin(journal)
    list(journal.jobs.take_over())

    assert (journal.jobs.list_continued(), journal.facts.find_done_before(["done"])) == ([], set())


def test_a_job_that_was_superseded_is_never_continued(journal):
    first = journal.jobs.current_id
    begin(journal, source="/release/42", plan="q")

    with pytest.raises(SettingsError, match=f"job {first} is superseded"):
        begin(journal, continues=first)

    assert len(journal.jobs.list_all()) == 2


def test_a_key_in_doubt_tells_since_when_and_until_when(journal):
    journal.jobs.note_store_date(1000.0, lambda: 2000.0)
    journal.operations.add([upload("small"), upload("large", 6 * MIB), upload("begun", 6 * MIB)], lease=True)
    journal.uploads.begin(3, "u", [Part(3, 1, 0, 6 * MIB)])
    begin(journal)
    list(journal.jobs.take_over())

    doubts = {doubt.key: doubt for doubt in journal.doubts.list_all()}

    assert {key: doubt.upload for key, doubt in doubts.items()} == {"small": False, "large": True, "begun": False}
    assert doubts["large"][1:3] == ("large", Kind.UPLOAD)
    assert doubts["large"].since == 1000.0
    assert doubts["large"].until == 2000.0 + 30 + 7, "by the store's clock, whatever this machine's shows"


def test_a_store_that_has_not_answered_tells_no_time(journal):
    journal.operations.add([upload("small")], lease=True)
    seen = journal.jobs.current.seen
    begin(journal)
    list(journal.jobs.take_over())

    assert seen + 30 <= journal.doubts.list_all()[0].until <= seen + 40


def test_a_doubt_goes_when_both_of_its_questions_are_answered(journal):
    journal.operations.add([upload("small"), upload("large", 6 * MIB)], lease=True)
    begin(journal)
    list(journal.jobs.take_over())

    journal.doubts.mark_checked(["small", "large"])
    assert [(doubt.key, doubt.until) for doubt in journal.doubts.list_all()] == [("large", 0.0)]
    journal.doubts.mark_aborted(["large"])
    assert journal.doubts.list_all() == []


def doubts_of(journal: Journal) -> dict[str, tuple[float, bool]]:
    """Return for each key in doubt until when it is, and whether it is left to the next job."""
    return {each.key: (each.until, journal.doubts.is_left_to_next(each)) for each in journal.doubts.list_all()}


def test_what_a_dead_worker_was_working_on_is_in_doubt_for_the_next_job(journal):
    journal.jobs.note_store_date(1000.0, lambda: 2000.0)
    rows = journal.operations.add(
        [upload("sent again"), upload("changed"), upload("large", 6 * MIB), upload("other")], lease=True
    )
    journal.doubts.note_lost([(each.id, each.key) for each in rows[:2]])
    journal.doubts.note_upload(rows[2])
    journal.operations.replan(rows[1]._replace(stamp=stamp(7, 2)))

    assert doubts_of(journal) == {"sent again": (2037.0, True), "changed": (2037.0, False), "large": (2037.0, True)}
    begin(journal)
    assert not any(journal.doubts.is_left_to_next(doubt) for doubt in journal.doubts.list_all())


def test_a_write_without_an_answer_is_in_doubt_for_the_next_job(journal):
    journal.jobs.note_store_date(1000.0, lambda: 2000.0)
    journal.operations.add([upload("cut off by a kill")], lease=True)
    journal.operations.release()
    (row,) = journal.operations.add([upload("changed")], lease=True)

    journal.doubts.note_unheard(["sent again", "changed", "cut off by a kill", "sent again"])
    journal.operations.replan(row._replace(stamp=stamp(7, 2)))
    journal.doubts.note_unheard(["changed", "sent again"])

    assert doubts_of(journal) == {
        "sent again": (2030.0, True), "changed": (2030.0, False), "cut off by a kill": (2037.0, False),
    }  # fmt: skip


def test_a_key_that_is_not_below_the_target_is_not_in_doubt(journal):
    journal.doubts.owns = lambda key: key.startswith("t/")

    journal.doubts.note_unheard(["t/a", "elsewhere"])

    assert [doubt.key for doubt in journal.doubts.list_all()] == ["t/a"]


def test_what_was_under_way_when_a_run_ended_is_in_doubt_too(journal):
    journal.operations.add([upload("cut off")], lease=True)

    journal.operations.release()

    assert [doubt.key for doubt in journal.doubts.list_all()] == ["cut off"]
    assert journal.operations.lease(9, Stage.MAIN)[0].recheck


def test_what_a_job_has_left_is_counted_as_it_is(journal):
    rows = journal.operations.add([upload("a"), upload("b"), upload("c"), upload("d")], lease=True)
    journal.operations.settle([(State.DONE, Result(rows[0].id)), (State.FAILED, Result(rows[1].id, error="x"))])
    journal.operations.settle([(State.PENDING, Result(rows[2].id, error="again"))])

    assert journal.jobs.current.left_open == journal.outcomes.count_open() == 2


VERSION_1 = """
INSERT INTO job (number, id, command, source, target, endpoint, state, settings, requests, started) VALUES
    (1, 'superseded-already', 'sync', '/a', 'b/p/', '', 'superseded', '{}', '{}', 1),
    (2, 'older', 'sync', '/a', 'b/p/', '', 'interrupted', '{}', '{}', 2),
    (3, 'newer', 'sync', '/b', 'b/p/', '', 'running', '{}', '{}', 3);
INSERT INTO operation (id, job, kind, key, path, reason, state, etag) VALUES
    (1, 3, 'upload', 'done', 'done', 'missing', 'done', 'e'), (2, 3, 'upload', 'leased', 'leased', 'missing', 'leased', ''),
    (3, 3, 'upload', 'pending', 'pending', 'missing', 'pending', '');
INSERT INTO upload_left (job, key, upload_id) VALUES (3, 'changed', 'u1'), (3, 'unheard', '');
"""


def test_a_journal_of_version_1_is_brought_along(tmp_path):
    path = str(tmp_path / "old.db")
    make_old(path, 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)

    with Journal.read_only(path) as onlooker:
        states = {job.id: job.state for job in onlooker.jobs.list_all()}
    with Journal.open(path) as journal:
        journal.jobs.begin("sync", "/b", "b/p/", "", {}, "2", continues="newer", plan="p")
        list(journal.jobs.take_over())

        assert states["older"] is JobState.SUPERSEDED
        assert states["newer"] is JobState.RUNNING
        assert journal.objects.look_up(["done"])["done"][1].etag == "e"
        assert [doubt.key for doubt in journal.doubts.list_all()] == ["leased", "unheard"]
        assert [left.upload_id for left in journal.uploads.list_left(of_dead_jobs_only=True)] == ["u1"]
        assert journal.operations.lease(9, Stage.MAIN) == []  # by which rules they were planned is not known


def test_rows_far_apart_are_taken_over_and_counted_in_spans_that_hold_some(tmp_path):
    path, far = str(tmp_path / "x.db"), 10**17
    with Journal.open(path) as journal:
        begin(journal)
        journal.operations.add([upload("near"), upload("far")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE operation SET id = ? WHERE key = 'far'", (far,))

    with Journal.open(path) as journal:
        begin(journal)
        steps = list(journal.jobs.take_over())
        leased = journal.operations.lease(10, Stage.MAIN)
        journal.jobs.learn_facts()

        assert (len(steps), keys(leased), leased[-1].id) == (2, ["near", "far"], far)
        assert journal.outcomes.count_by_kind()[Kind.UPLOAD]["planned"] == 2


def test_row_numbers_that_leave_no_room_for_more_are_damage(tmp_path):
    path = str(tmp_path / "x.db")
    with Journal.open(path) as journal:
        begin(journal)
        journal.operations.add([upload("a")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE operation SET id = 9223372036854775807")

    with pytest.raises(JournalError, match="is damaged"):
        Journal.open(path)


def test_the_chain_of_a_job_is_all_of_it_or_refused(tmp_path):
    path = str(tmp_path / "x.db")
    with Journal.open(path) as journal:
        first = begin(journal)
        second = begin(journal, continues=first)
        third = begin(journal, continues=second)

        assert [each.id for each in journal.jobs.list_chain(third)] == [first, second, third]
        journal.jobs.forget(journal.jobs.find(first))
        with pytest.raises(
            SettingsError, match=f"job {third} goes on with job {first}, which this journal does not have"
        ):
            journal.jobs.list_chain(third)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE job SET continues = substr(id, 1, 21) WHERE id = ?", (second,))

    with Journal.open(path) as journal, pytest.raises(SettingsError, match="does not have"):
        journal.jobs.list_chain(second)  # the beginning of an id is no id
