"""One run in a storm: the program is begun, something happens to it at a random moment, and its end is looked at.

The storms of all directions share it. What the program works on is a scene of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO

from tests.crash.scene import KILLS, MIB
from tests.rig import program
from tests.rig.faults import Delay, DuringReply, DuringRequest, Fault, Refuse, Reset
from tests.rig.proxy import FaultProxy

LATE = 2.5
"""Seconds: the longest that a request is held up."""
PATIENCE = 10.0
"""Seconds: the program's timeout where some are. A server on a busy machine needs more than three for a part."""
FAULTS: tuple[Fault, ...] = (
    Reset(), Reset(after=True), Refuse(500, "InternalError"), Refuse(503, "SlowDown"), Delay(0.4),
    DuringReply(cut=10), DuringRequest(cut=100_000),
)  # fmt: skip


class StormScene(Protocol):
    """What a storm needs of its scene."""

    proxy: FaultProxy
    environment: dict[str, str]

    @property
    def cwd(self) -> Path: ...

    @property
    def journal(self) -> Path: ...

    def start(self, *, crash_at: str = "") -> subprocess.Popen[str]: ...


class ChangingScene(Protocol):
    """A scene whose source is objects."""

    objects: dict[str, bytes]
    """The content of each object now, by its path."""

    def put_object(self, path: str, body: bytes) -> None: ...

    def remove_object(self, path: str) -> None: ...


Disturb = Callable[[subprocess.Popen[str]], Callable[[], None]]
"""Does something to a running program or to what it works on. What it returns is called after the kill."""


def run_once(
    scene: StormScene,
    chance: random.Random,
    done: Counter[str],
    points: Sequence[str],
    *,
    first: bool,
    disturb: Disturb,
) -> program.Finished:
    """Start the program or a resume of it, do something bad to it at a random moment, and return how it ended."""
    crash_at = f"{chance.choice(points)}:{chance.randint(1, 6)}:{scene.cwd}/died{time.monotonic_ns()}"
    way = chance.choice(["point", *KILLS, *KILLS, "SIGTERM", "SIGINT"])
    crash_at = crash_at if way == "point" else ""
    seen = len(scene.proxy.requests)
    if first or not scene.journal.exists() or chance.random() < 0.4:
        process = scene.start(crash_at=crash_at)
    else:
        process = start_resume(scene, crash_at=crash_at)
    if way == "point":
        ended = program.finish(process)
    else:
        soonest = 0 if way in KILLS else 1  # before that, Python itself may not be ready for a signal
        moment = chance.choice([soonest, 1, chance.randint(2, 20), chance.randint(2, 60)])
        await_requests(process, scene.proxy, seen + moment)
        mend = disturb(process)
        time.sleep(chance.choice([0, chance.uniform(0, 0.05), chance.uniform(0, 0.3)]))
        if way in KILLS:
            KILLS[way](process)
        else:
            process.send_signal(signal.Signals[way])
        mend()
        ended = program.finish(process)
    done["kills: " + way] += 1
    done[f"exit {ended.code}"] += 1
    # a signal that comes while Python itself ends, after all is done, is the system's business
    late = way in ("SIGTERM", "SIGINT") and ended.code == -signal.Signals[way] and "done in" in ended.stderr
    # -15: the signal came before Python ran its first line of ours
    held_off = done["rivals"] > 0 and (ended.code == 3 or (ended.code == 2 and "is superseded by" in ended.stderr))
    assert late or held_off or ended.code in (0, 1, 4, -9, -15, 130, 143), (ended.code, ended.stderr)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "this is a bug" not in ended.stderr, ended.stderr
    return ended


def start_resume(scene: StormScene, *, crash_at: str = "") -> subprocess.Popen[str]:
    """Begin ``s3batch resume``."""
    environment = scene.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
    return program.start(["resume", "--journal", scene.journal, "--workers", "2"], environment, scene.cwd)


def await_requests(process: subprocess.Popen[str], proxy: FaultProxy, requests: int) -> None:
    """Until so many requests have been made, the process is over, or it takes too long."""
    until = time.monotonic() + 3
    while len(proxy.requests) < requests and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def break_network(proxy: FaultProxy, chance: random.Random) -> None:
    """Have three kinds of faults hit one request in twenty."""
    for fault in chance.sample(FAULTS, 3):
        proxy.on("", fault, probability=0.05, seed=chance.randrange(10**6))


def hold_up(proxy: FaultProxy, chance: random.Random) -> None:
    """Have some writes wait in the network, longer than their sender may live."""
    writes = ("PutObject", "CopyObject", "CreateMultipartUpload", "CompleteMultipartUpload", "DeleteObjects")
    for operation in writes:
        fault = Delay(chance.uniform(0.5, LATE))
        proxy.on(operation, fault, probability=0.1, seed=chance.randrange(10**6))


def expect_writes_late(scene: StormScene) -> None:
    """Have the program wait for writes of dead runs longer than one is held up."""
    scene.environment |= {"S3BATCH_TIMEOUT": f"{PATIENCE:g}", "S3BATCH_TEST_LONGEST_WAIT": "20"}


def fill_source(scene: ChangingScene, chance: random.Random) -> None:
    """Put the objects of a new source: small ones, two in parts, an empty one, and an odd name."""
    for number in range(chance.randint(6, 24)):
        scene.put_object(f"dir{number % 3}/f{number}", chance.randbytes(2000))
    for path, size in (("large", 12 * MIB), ("dir1/other", 6 * MIB), ("wrong", 10), ("same", 10), ("empty", 0)):
        scene.put_object(path, chance.randbytes(size))
    scene.put_object("ünï cödé+%20.txt", b"name")


def change_objects(scene: ChangingScene, chance: random.Random) -> None:
    """An object of the same size, one of another, one gone, one new; sometimes a large one."""
    names = [path for path in scene.objects if path.startswith("dir")]
    for path in chance.sample(names, 2):
        scene.put_object(path, chance.randbytes(len(scene.objects[path])))
    scene.put_object(chance.choice(names), chance.randbytes(chance.randint(0, 3000)))
    if len(names) > 3:
        scene.remove_object(chance.choice(names))
    scene.put_object(f"new/{chance.randrange(5)}", chance.randbytes(50))
    if chance.random() < 0.5:
        scene.put_object("large", chance.randbytes(chance.choice([12 * MIB, 7 * MIB, 100])))


def send_signal(pids: list[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def say(text: str, stream: TextIO = sys.stdout) -> None:
    stream.write(text + "\n")
    stream.flush()
