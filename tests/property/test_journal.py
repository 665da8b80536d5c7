"""Drive a real journal beside a model: a dict from row to how far its operation has come."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from s3batch.journal import Journal
from s3batch.model import JobState, Kind, ListedObject, Operation, Reason, Result, Stage, State
from tests.rig.stamps import stamp

keys = st.one_of(
    st.sampled_from("abcdef"),
    st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name).map(os.fsdecode),
)

stages = st.sampled_from([Stage.MAIN, Stage.PUBLISH_LAST, Stage.DELETE])
stamps = st.integers(min_value=0, max_value=3)
OUTCOMES = [State.DONE, State.FAILED, State.PENDING, State.SKIPPED]


@dataclass(frozen=True)
class Row:
    id: int
    operation: Operation
    state: State
    attempts: int = 0
    recheck: bool = False


class JournalMachine(RuleBasedStateMachine):
    """Every rule is done to both; the invariants say that they tell the same."""

    leased = Bundle("leased")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="s3batch-test-")
        self.journal = Journal.open(os.path.join(self.folder, "journal.db"))
        self.begin(plan="p")

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)

    def begin(self, plan: str = "") -> None:
        self.journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1", plan=plan)
        self.rows: dict[int, Row] = {}
        self.highest = 0
        self.taken_to = self.journal.jobs.current.after_operation

    @rule(
        target=leased,
        planned=st.lists(st.tuples(keys, stages, stamps), max_size=8),
        lease=st.booleans(),
    )
    def add(self, planned, lease):
        operations = [
            Operation(Kind.UPLOAD, key, Reason.MISSING, key, 1, stamp(1, time), stage=stage)
            for key, stage, time in planned
        ]
        added = self.journal.operations.add(operations, lease=lease)

        assert [each._replace(id=0) for each in added] == operations
        assert [each.id for each in added] == sorted(each.id for each in added)
        assert all(each.id > self.highest for each in added)
        state = State.LEASED if lease else State.PENDING
        self.rows |= {new.id: Row(new.id, operation, state) for new, operation in zip(added, operations, strict=True)}
        self.highest = max([self.highest, *(each.id for each in added)])
        return multiple(*(each.id for each in added if lease))

    @rule(target=leased, limit=st.integers(1, 5), stage=stages)
    def lease(self, limit, stage):
        self.journal.operations.rewind()
        got = self.journal.operations.lease(limit, stage)

        pending = [row for row in self.rows.values() if row.state is State.PENDING and row.operation.stage == stage]
        expected = sorted(pending, key=lambda row: row.id)[:limit]
        assert [(each.id, each.key, each.attempts, each.recheck) for each in got] == [
            (row.id, row.operation.key, row.attempts, row.recheck) for row in expected
        ]
        for each in got:
            self.set(each.id, state=State.LEASED)
        return multiple(*(each.id for each in got))

    @rule(outcomes=st.lists(st.tuples(consumes(leased), st.sampled_from(OUTCOMES)), max_size=4))
    def settle(self, outcomes):
        known = {row: state for row, state in outcomes if row in self.rows and self.rows[row].state is State.LEASED}
        self.journal.operations.settle(
            (state, Result(row, error="x" if state is State.FAILED else "")) for row, state in known.items()
        )
        for row, state in known.items():
            # what was found right may be what an unheard request has done
            recheck = self.rows[row].recheck and state in (State.PENDING, State.SKIPPED)
            self.set(row, state=state, attempts=self.rows[row].attempts + 1, recheck=recheck)

    @rule(number=consumes(leased))
    def settle_and_retry_when_due(self, number):
        if number in self.rows and self.rows[number].state is State.LEASED:
            row = self.rows[number]
            self.journal.operations.settle([(State.PENDING, Result(number, error="reset"))])
            self.set(number, attempts=row.attempts + 1)
            (again,) = self.journal.operations.lease_rows([number])
            assert (again.key, again.attempts) == (row.operation.key, row.attempts + 1)

    @rule(in_the_middle=st.booleans(), at_once=st.integers(1, 3))
    def die_and_begin_again(self, in_the_middle, at_once):
        """The next job has what was open, and what failed, and looks at all of it that may have been sent."""
        if in_the_middle:
            never_ended = self.journal.batch()  # its name keeps it open
            never_ended.__enter__()
            self.journal.operations.add([Operation(Kind.UPLOAD, "lost", Reason.MISSING)], lease=True)
        self.journal.close()
        self.journal = Journal.open(os.path.join(self.folder, "journal.db"))
        before, again = self.rows, (State.LEASED, State.FAILED)
        if not any(row.state in (State.PENDING, State.LEASED) for row in before.values()):
            # the next walk plans again what an earlier job had planned and this one failed
            before = {row.id: row for row in before.values() if row.id > self.taken_to}
        self.begin(plan="p")
        got = self.journal.operations.lease(at_once, Stage.MAIN)
        list(self.journal.jobs.take_over())
        for row in before.values():
            late = row.operation.stage == Stage.DELETE  # decided anew
            if row.state is State.PENDING and not late:
                leased = row.id in {each.id for each in got}
                self.rows[row.id] = replace(row, state=State.LEASED if leased else State.PENDING)
            elif row.state in again and not late:
                self.rows[row.id] = replace(row, state=State.PENDING, recheck=True, attempts=self.attempts_of(row))
        self.highest = self.taken_to
        self.journal.operations.put_back([each.id for each in got])
        for each in got:
            self.set(each.id, state=State.PENDING)

    @staticmethod
    def attempts_of(row: Row) -> int:
        return 0 if row.state is State.FAILED else row.attempts

    @rule()
    def end_gracefully(self):
        leased = [number for number, row in self.rows.items() if row.state is State.LEASED]
        assert self.journal.operations.release() == len(leased)
        for number in leased:
            self.set(number, state=State.PENDING, recheck=True)

    @rule()
    def finish_and_prune(self):
        self.journal.jobs.set_state(JobState.DONE, 0)
        self.begin(plan="p")
        self.journal.jobs.prune()
        assert len(self.journal.jobs.list_all()) == 1

    def set(self, number: int, **changes) -> None:
        self.rows[number] = replace(self.rows[number], **changes)

    @invariant()
    def every_row_is_as_in_the_model(self):
        rows = sorted(self.rows.values(), key=lambda row: row.id)
        assert [(entry.operation, entry.state) for entry in self.journal.outcomes.read_entries()] == [
            (row.operation._replace(id=row.id, attempts=row.attempts, recheck=row.recheck), row.state) for row in rows
        ]

    @invariant()
    def the_counts_agree(self):
        states = [row.state for row in self.rows.values()]
        count = self.journal.outcomes.count_by_kind()[Kind.UPLOAD]
        assert count == {
            "planned": len(states),
            **{str(state): states.count(state) for state in (State.DONE, State.FAILED, State.SKIPPED)},
            "bytes": states.count(State.DONE),
        }
        assert self.journal.outcomes.count_open() == states.count(State.PENDING) + states.count(State.LEASED)
        assert self.journal.outcomes.count_failed(Stage.DELETE) == states.count(State.FAILED)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournal = pytest.mark.slow(TestJournal)


@settings(max_examples=100, deadline=None)
@given(
    listed=st.dictionaries(keys, st.integers(0, 9), max_size=20),
    seen=st.sets(keys, max_size=10),
    earlier=st.sets(keys, max_size=10),
    prefix=st.one_of(st.just(""), keys),
)
def test_orphans_are_the_set_difference_below_the_prefix(listed, seen, earlier, prefix):
    with tempfile.TemporaryDirectory() as folder, Journal.open(os.path.join(folder, "j")) as journal:
        journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
        for objects in (dict.fromkeys(earlier, 1), listed):
            journal.objects.begin_listing()
            journal.objects.record_listing([ListedObject(key, size, "e", 1.0) for key, size in objects.items()])
            journal.objects.complete_listing()
        journal.orphans.mark_seen(sorted(seen))

        orphans = [each for page in journal.orphans.read_orphans(prefix) for each in page]

        assert {each.key: each.size for each in orphans} == {
            key: size
            for key, size in listed.items()
            if key not in seen and os.fsencode(key).startswith(os.fsencode(prefix))
        }
        assert [os.fsencode(each.key) for each in orphans] == sorted(os.fsencode(each.key) for each in orphans)
        assert journal.objects.count_listed() == len(listed)
        found = journal.objects.look_up(sorted({*listed, *seen, *earlier}))
        assert {key: facts[0].size for key, facts in found.items() if facts[0]} == listed
