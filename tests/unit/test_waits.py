"""Waits outside the main loop: a signal, or the event of a Python program, ends each of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from s3batch.coordinator.signals import Cancellation, CancelledJobError, InterruptedJobError, Signals
from s3batch.reporting.console import Output
from s3batch.s3 import credentials, dialer


class Silence:
    """A server that says nothing for a minute. Its reader receives SIGTERM, as the system may have any thread do."""

    def __init__(self, cancel: threading.Event | None = None) -> None:
        self._cancel = cancel
        self._over = threading.Event()

    def ask(self, *_: Any, **__: Any) -> Any:
        """Stop the run, and wait on."""
        if self._cancel is not None:
            self._cancel.set()
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        self._over.wait(60)
        return []

    def end(self) -> None:
        """Let the thread go."""
        self._over.set()


@pytest.fixture
def silence() -> Iterator[Silence]:
    silent = Silence()
    yield silent
    silent.end()


def test_a_signal_that_another_thread_received_ends_the_wait_for_credentials(silence):
    with Signals(), pytest.raises(InterruptedJobError) as ended:
        credentials._ask_boto(silence.ask, 600)

    assert ended.value.exit_code == 143


def test_a_cancelled_run_does_not_wait_for_credentials():
    cancel = threading.Event()
    silent = Silence(cancel)

    with Cancellation(cancel) as signals, pytest.raises(CancelledJobError):
        credentials._ask_boto(silent.ask, 600, signals.check)

    silent.end()


def test_a_signal_that_another_thread_received_ends_the_wait_for_the_resolver(silence, monkeypatch):
    monkeypatch.setattr(dialer.socket, "getaddrinfo", silence.ask)

    with Signals(), pytest.raises(InterruptedJobError):
        dialer._resolve_host(b"s3.example.com", 443)


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1", b"::1"])
def test_an_address_is_resolved_without_a_thread(monkeypatch, host):
    asked: list[Any] = []
    monkeypatch.setattr(dialer.socket, "getaddrinfo", lambda *_, **__: asked.append(threading.current_thread()) or [])

    dialer._resolve_host(host, 80)

    assert asked == [threading.main_thread()]


def test_a_signal_that_another_thread_received_ends_the_question_on_the_terminal(silence, monkeypatch):
    ours, theirs = os.openpty()
    with open(ours, "r+b", buffering=0), open(theirs, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        waker = threading.Thread(target=silence.ask)
        with Signals(), pytest.raises(InterruptedJobError):
            waker.start()
            Output(None, open(os.devnull, "w", encoding="utf-8")).ask("Delete 101 objects?")  # noqa: SIM115


def test_a_signal_noted_before_a_long_step_ends_it_at_its_beginning():
    with Signals() as signals:
        signals.gentle = True
        signal.raise_signal(signal.SIGTERM)

        with pytest.raises(InterruptedJobError), signals.raising():
            pytest.fail("the step began")

        assert signals.gentle
