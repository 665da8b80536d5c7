"""``max_duration``: the end of a run's time is a signal of its own, which any other overrules."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from s3batch.base.errors import INTERRUPTED
from s3batch.coordinator.signals import (
    GRACE,
    DeadlineError,
    InterruptedJobError,
    Signals,
    stop_by_event,
    watch_for_stop,
)
from s3batch.settings.table import Settings
from tests.rig.waiting import wait_until


def wait_until_seen(signals: Signals) -> None:
    until = time.monotonic() + 30
    while not signals.seen and time.monotonic() < until:
        signals.check()
        time.sleep(0.001)


@pytest.mark.parametrize("of_a_program", [False, True], ids=["a command", "a Python program"])
def test_the_end_of_the_time_is_noted_and_is_an_interruption(of_a_program: bool) -> None:
    def run() -> None:
        gentle = watch_for_stop(max_duration=0.01)
        gentle.gentle = True
        with gentle as signals:
            wait_until_seen(signals)

            error = signals.error()
            assert isinstance(error, InterruptedJobError)
            assert (error.exit_code, signals.grace, signals.again) == (124, GRACE, False)
            assert str(error) == "stopped after 10 ms, as max_duration says"

    if of_a_program:
        with stop_by_event(threading.Event()):
            run()
    else:
        run()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert 124 in INTERRUPTED


def test_it_raises_where_nothing_is_under_way() -> None:
    with pytest.raises(InterruptedJobError, match="max_duration"), Signals(max_duration=0.01):
        time.sleep(30)


def test_a_signal_after_it_stops_at_once() -> None:
    gentle = Signals(max_duration=0.01)
    gentle.gentle = True
    with gentle as signals:
        wait_until_seen(signals)
        with pytest.raises(InterruptedJobError, match="interrupted by SIGTERM"):
            signal.raise_signal(signal.SIGTERM)


def test_it_comes_to_nothing_once_the_work_is_over() -> None:
    over = Signals(max_duration=0.01)
    over.work_is_over()
    with over as signals:
        assert wait_until(lambda: signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0))

        assert signals.seen == 0


def test_a_deadline_is_no_interruption() -> None:
    assert isinstance(Signals(deadline=1.0)._time_error(), DeadlineError)


def test_a_resumed_job_has_a_time_of_its_own() -> None:
    begun = Settings(max_duration=50.0)
    later = Settings(max_duration=7.0, origins={"max_duration": "--max-duration"})

    assert Settings.from_public(begun.public()).max_duration == 0
    assert Settings.from_public(begun.public(), later).max_duration == 7
