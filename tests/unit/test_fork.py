"""Forks: what they have of us, and how they end. Each test forks from a fresh Python, as a test run has threads."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked"),
]


def run(script: str) -> str:
    """What a fresh Python prints that runs the script."""
    head = "import os, signal, socket, sys, threading, time\nfrom s3batch.executors import fork as forks\n"
    ran = subprocess.run([sys.executable, "-c", head + dedent(script)], text=True, capture_output=True, check=True)
    return ran.stdout + ran.stderr


def test_a_fork_has_no_descriptor_but_its_own():
    said = run(
        """
        lock, (mine, theirs) = open("/dev/zero"), os.pipe()
        def work():
            os.write(theirs, " ".join(sorted(os.listdir("/proc/self/fd"), key=int)).encode())
        forks.Fork(work, theirs).wait(9)
        print(os.read(mine, 999).decode(), theirs)
        """
    )

    *held, own = said.split()
    assert held[:3] == ["0", "1", "2"]
    assert own in held
    assert len(held) <= 5  # and the one that lists them


def test_a_fork_that_fails_says_why_and_goes_no_further():
    said = run(
        """
        def work():
            print("into the void")
            raise ZeroDivisionError("on purpose")
        forks.Fork(work, 0).wait(9)
        print("only once")
        """
    )

    assert said.count("only once") == 1
    assert "ZeroDivisionError: on purpose" in said
    assert "into the void" not in said


def test_signals_that_we_catch_end_a_fork():
    said = run(
        """
        signal.signal(signal.SIGTERM, lambda *_: print("caught"))
        mine, theirs = os.pipe()
        def work():
            os.write(theirs, b"!")
            time.sleep(60)
        fork = forks.Fork(work, theirs)
        os.read(mine, 1)
        os.kill(fork.pid, signal.SIGTERM)
        print(fork.wait(9))
        """
    )

    assert said == "True\n"


def test_a_fork_that_goes_on_is_waited_for_so_long_and_can_be_killed():
    said = run(
        """
        fork = forks.Fork(lambda: time.sleep(60), 0)
        print(fork.wait(0.05))
        fork.kill()
        print(fork.wait(9))
        fork.kill()
        """
    )

    assert said.split() == ["False", "True"]


def test_a_fork_is_let_go_of_where_nobody_is_told_of_ended_children():
    said = run(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        fork = forks.Fork(lambda: time.sleep(60), 0)
        fork.kill()
        time.sleep(0.2)
        print(fork.wait(9))
        """
    )

    assert said == "True\n"


@pytest.mark.parametrize(
    ("script", "possible"),
    [
        ("pass", True),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", False),
        ("import botocore", False),
    ],
    ids=["alone", "with a thread", "with botocore"],
)
def test_when_a_copy_would_be_whole(script: str, possible: bool):
    assert run(f"{script}\nprint(forks.is_fork_possible()); sys.stdout.flush(); os._exit(0)") == f"{possible}\n"
