"""A signal acts while one long call into C is under way: a statement over many rows, a directory that is slow."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3batch.coordinator.signals import (
    Cancellation,
    DeadlineError,
    InterruptedJobError,
    Signals,
    stop_by_event,
    watch_for_stop,
)
from s3batch.journal import Journal
from s3batch.journal.limits import JournalLimits
from s3batch.model import Kind, Operation, Reason, Result, State
from s3batch.source import walk as walk_module
from s3batch.source.walk import walk_source

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000000) SELECT count(*) FROM n"
"""A minute and more."""


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    with Journal.open(str(tmp_path / "journal.db"), limits=JournalLimits(taken_at_once=10)) as journal:
        journal.jobs.begin("sync", "/src", "bucket/", "http://s3", {}, "1")
        yield journal


@contextmanager
def signal_soon(number: int = signal.SIGINT) -> Iterator[None]:
    """Send this process a signal while the block is at work."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))  # the statement takes a minute and has begun by then
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_statement_and_the_journal_can_be_used_after(journal, number):
    with Signals() as signals:
        journal.heed(signals.error)

        with (
            pytest.raises(InterruptedJobError, match=f"interrupted by {signal.Signals(number).name}") as caught,
            signal_soon(number),
        ):
            journal._store.rows(FOR_EVER)

        assert isinstance(caught.value.__context__, sqlite3.OperationalError), "it was not at its end"

        journal.operations.add([Operation(Kind.UPLOAD, "k", Reason.MISSING)])
        assert journal.outcomes.count_open() == 1


def test_a_signal_ends_a_statement_that_writes_and_nothing_of_it_counts(journal):
    with Signals() as signals:
        journal.heed(signals.error)

        with pytest.raises(InterruptedJobError) as caught, journal.batch(), signal_soon():
            journal.operations.add([Operation(Kind.UPLOAD, "k", Reason.MISSING)])
            journal._store.execute(f"INSERT INTO remembered SELECT 'n', ({FOR_EVER})")

        assert isinstance(caught.value.__context__, sqlite3.OperationalError), "it was not at its end"
        assert (journal.outcomes.count_open(), journal.recall("n")) == (0, None)


def test_a_signal_that_is_only_noted_ends_no_statement(journal):
    with Signals() as signals:
        journal.heed(signals.error)
        signals.gentle = True

        with signal_soon():
            rows = journal._store.value(FOR_EVER.replace("300000000", "3000000"))

        assert (rows, signals.seen) == (3_000_000, signal.SIGINT)


def test_what_a_job_has_done_is_learned_in_pieces(journal, monkeypatch):
    rows = journal.operations.add(
        [Operation(Kind.UPLOAD, f"k{number:02d}", Reason.MISSING) for number in range(35)], lease=True
    )
    journal.operations.settle([(State.DONE, Result(row.id, etag="e", date=5.0)) for row in rows])
    pieces, learn = [], journal.facts.learn

    def learned(jobs, first, last, *more) -> None:
        pieces.append((first, last))
        learn(jobs, first, last, *more)
        if len(pieces) == 3:
            raise InterruptedJobError(signal.SIGINT)

    monkeypatch.setattr(journal.facts, "learn", learned)
    with pytest.raises(InterruptedJobError):
        journal.jobs.learn_facts()
    assert pieces == [(0, 10), (10, 20), (20, 30)]
    monkeypatch.setattr(journal.facts, "learn", learn)

    journal.jobs.begin("sync", "/src", "bucket/", "http://s3", {}, "1")
    list(journal.jobs.take_over())

    known = journal.objects.look_up([row.key for row in rows])
    assert {facts[1].etag for facts in known.values()} == {"e"}, "a later job learns what this one has not"


class SlowDirectory:
    """A directory whose entries take C some time each, and Python none."""

    def __init__(self) -> None:
        self.entries = map(hashlib.sha256, itertools.repeat(bytes(1 << 20), 20_000))

    def __enter__(self) -> Iterator[object]:
        return self.entries

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


class Everything:
    def wants(self, _: str) -> bool:
        return True

    def wants_all_in(self, _: str) -> bool:
        return True

    def enters(self, _: str) -> bool:
        return True


def test_a_signal_does_not_wait_for_a_slow_directory(tmp_path, monkeypatch):
    directory = SlowDirectory()
    tree = walk_source(str(tmp_path), Everything())
    monkeypatch.setattr(walk_module.os, "scandir", lambda _: directory)

    with Signals(), pytest.raises(InterruptedJobError), signal_soon():
        list(tree)

    assert next(directory.entries, None) is not None, "it was read to its end"


class TestCancellation:
    """What stops a job that a Python program runs."""

    def test_an_event_raises_where_nothing_is_under_way_and_is_noted_elsewhere(self):
        cancel = threading.Event()
        with Cancellation(cancel) as stop:
            stop.check()
            stop.gentle = True
            cancel.set()
            stop.check()
            assert stop.seen == signal.SIGINT
            with pytest.raises(InterruptedJobError, match=r"^cancelled$"):
                raise stop.error()

    def test_an_event_ends_a_sleep(self):
        cancel = threading.Event()
        cancel.set()
        with Cancellation(cancel) as stop, pytest.raises(InterruptedJobError):
            stop.sleep(3600)

    def test_an_event_ends_a_statement(self, journal):
        cancel = threading.Event()
        with Cancellation(cancel) as stop:
            journal.heed(stop.error, stop.check)
            timer = threading.Timer(0.2, cancel.set)
            timer.start()
            with pytest.raises(InterruptedJobError, match=r"^cancelled$"):
                journal._store.rows(FOR_EVER)
            timer.join()

    def test_a_deadline_needs_no_signal(self):
        before = signal.getsignal(signal.SIGALRM)
        with Cancellation(threading.Event(), 0.001) as stop, pytest.raises(DeadlineError):
            assert signal.getsignal(signal.SIGALRM) is before
            stop.sleep(3600)

    def test_an_event_after_the_work_changes_nothing(self):
        cancel = threading.Event()
        with Cancellation(cancel) as stop:
            stop.work_is_over()
            cancel.set()
            stop.check()
            assert stop.seen == 0

    def test_only_the_jobs_of_the_block_take_no_signals(self):
        with stop_by_event(None):
            assert isinstance(watch_for_stop(), Cancellation)
        assert not isinstance(watch_for_stop(), Cancellation)
