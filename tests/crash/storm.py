"""A storm: the real program killed at random again and again, over a network that fails at random, until it is done.

    python -m tests.crash.storm --rounds 100 --seed 7 --server moto

Each round has a tree and a bucket of its own and a seed that tells everything but the kernel's timing. After at
most eight kills the program is let run, and then every byte, every request and the journal are looked at. What a
round did is printed; the first round that ends wrong ends the storm, and its seed is said.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from s3batch.failpoints import NAMES
from tests.crash.scene import KILLS, MIB, Scene, acknowledged, make_scene, workers_of
from tests.rig import buckets, program, servers
from tests.rig.faults import Delay, DuringReply, DuringRequest, Fault, Refuse, Reset
from tests.rig.proxy import FaultProxy

MOST_KILLS = 8
LATE = 3.0
"""Seconds: the longest that a request is held up, and the program's timeout where some are."""
TEN_MINUTES = 600
FAULTS: tuple[Fault, ...] = (
    Reset(), Reset(after=True), Refuse(500, "InternalError"), Refuse(503, "SlowDown"), Delay(0.4),
    DuringReply(cut=10), DuringRequest(cut=100_000),
)  # fmt: skip
CLOCK = program.ROOT / "tests" / "rig" / "clock"
POINTS = NAMES[: NAMES.index("worker-started") + 1]
"""Those of a sync."""


def storm_round(scene: Scene, chance: random.Random, *, evils: bool) -> Counter[str]:
    """Kill, kill again, finish, and look; what happened. ``evils``: see :func:`run_round`."""
    done: Counter[str] = Counter()
    scene.proxy.latency = chance.choice([0, 0.005, 0.02])
    faulty, late = chance.random() < 0.5, evils and chance.random() < 0.25
    if late:
        done["rounds with late requests"] += 1
        scene.environment |= {"S3BATCH_TIMEOUT": f"{LATE:g}", "S3BATCH_TEST_LONGEST_WAIT": "20"}
    for number in range(chance.randint(1, MOST_KILLS)):
        scene.proxy.rules.clear()
        if faulty:
            _break_network(scene.proxy, chance)
        if late:
            _hold_up(scene.proxy, chance)
        if evils and chance.random() < 0.3:
            _set_clock(scene, chance)
            done["clocks set"] += 1
        ended = _one_run(scene, chance, first=number == 0, done=done, evils=evils)
        if ended == 0 or chance.random() < 0.2:
            _change_tree(scene, chance)
            done["changes of the tree"] += 1
    scene.proxy.rules.clear()
    scene.proxy.latency = 0
    scene.environment.pop("S3BATCH_TEST_CLOCK", None)
    if scene.journal.exists() and chance.random() < 0.7:
        resumed = scene.resume()
        overtaken = done["rivals"] > 0 and resumed.code == 2 and "is superseded by" in resumed.stderr
        assert resumed.code == 0 or overtaken, resumed.stderr
    last = scene.sync()  # the tree may have changed since the job was done
    assert last.code == 0, last.stderr
    if late:
        time.sleep(LATE)  # the program has waited for what could land; now it has
    scene.assert_mirrored()
    scene.assert_journal_healthy()
    if not done["runs with another journal"]:  # two journals do not know what each other's runs have sent
        scene.assert_nothing_sent_twice()
    sent = acknowledged(scene.proxy.requests)
    done.update(requests=len(scene.proxy.requests), rounds=1, pieces=len(sent))
    done["pieces under way when their sender died, sent again"] += sum(sent.values()) - len(sent)
    return done


def _one_run(scene: Scene, chance: random.Random, *, first: bool, done: Counter[str], evils: bool) -> int:
    """Start it, and do something bad to it at a random moment."""
    crash_at = f"{chance.choice(POINTS)}:{chance.randint(1, 6)}:{scene.cwd}/died{time.monotonic_ns()}"
    way = chance.choice(["point", *KILLS, *KILLS, "SIGTERM", "SIGINT"])
    environment = {"S3BATCH_TEST_CRASH_AT": crash_at} if way == "point" else {}
    stopped: list[int] = []
    seen = len(scene.proxy.requests)
    if first or not scene.journal.exists() or chance.random() < 0.4:
        process = scene.start(crash_at=environment.get("S3BATCH_TEST_CRASH_AT", ""))
    else:
        arguments = ["resume", "--journal", scene.journal, "--workers", "2"]
        process = program.start(arguments, scene.environment | environment, scene.cwd)
    if way != "point":
        soonest = 0 if way in KILLS else 1  # before that, Python itself may not be ready for a signal
        moment = chance.choice([soonest, 1, chance.randint(2, 20), chance.randint(2, 60)])
        _await_moment(process, scene.proxy, seen + moment)
        if evils:
            _disturb(scene, process, chance, done, stopped)
        time.sleep(chance.choice([0, chance.uniform(0, 0.05), chance.uniform(0, 0.3)]))
        if way in KILLS:
            KILLS[way](process)
        else:
            process.send_signal(signal.Signals[way])
    _wake(stopped, chance)
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
    return ended.code


def _await_moment(process: subprocess.Popen[str], proxy: FaultProxy, requests: int) -> None:
    """Until so many requests have been made, the process is over, or it takes too long."""
    until = time.monotonic() + 3
    while len(proxy.requests) < requests and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def say(text: str, stream: TextIO = sys.stdout) -> None:
    stream.write(text + "\n")
    stream.flush()


def _break_network(proxy: FaultProxy, chance: random.Random) -> None:
    for fault in chance.sample(FAULTS, 3):
        proxy.on("", fault, probability=0.05, seed=chance.randrange(10**6))


def _hold_up(proxy: FaultProxy, chance: random.Random) -> None:
    """Have some writes wait in the network, longer than their sender may live."""
    for operation in ("PutObject", "CreateMultipartUpload", "CompleteMultipartUpload", "DeleteObjects"):
        fault = Delay(chance.uniform(0.5, LATE - 0.5))
        proxy.on(operation, fault, probability=0.1, seed=chance.randrange(10**6))


def _set_clock(scene: Scene, chance: random.Random) -> None:
    """Have the program's clock be wrong by up to ten minutes, and be set while it runs."""
    first, then = (chance.choice([0, chance.randint(-TEN_MINUTES, TEN_MINUTES)]) for _ in range(2))
    scene.environment["S3BATCH_TEST_CLOCK"] = f"{first} {chance.uniform(0, 2):.2f}:{then}"
    scene.environment["PYTHONPATH"] = os.pathsep.join([str(CLOCK), str(program.ROOT)])


def _disturb(
    scene: Scene, process: subprocess.Popen[str], chance: random.Random, done: Counter[str], stopped: list[int]
) -> None:
    """What else may happen while it runs: a file replaced, a worker that stands still, a second run."""
    if chance.random() < 0.4:
        _replace(scene, chance)
        done["files replaced by others of equal size and mtime"] += 1
    if chance.random() < 0.15:
        stopped += workers_of(process)[: chance.randint(1, 2)]
        _signal(stopped, signal.SIGSTOP)
        done["workers stopped"] += len(stopped)
    if chance.random() < 0.1:
        other = chance.random() < 0.5
        rival = scene.sync(*(["--journal", f"{scene.cwd}/rival.db"] if other else []))
        assert rival.code in (0, 1, 3, 4), (rival.code, rival.stderr)
        done["rivals"] += 1
        done[f"rivals, exit {rival.code}"] += 1
        done["runs with another journal"] += other and rival.code != 3


def _wake(stopped: list[int], chance: random.Random) -> None:
    """Let workers go on: soon, or when they are given up, if their coordinator lives."""
    if stopped:
        time.sleep(chance.choice([0, 0.5, 2]) if chance.random() < 0.9 else 17)
        _signal(stopped, signal.SIGCONT)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _replace(scene: Scene, chance: random.Random) -> None:
    """Rename another file of the same size and mtime over one."""
    path = chance.choice([path for path in scene.files if path.startswith("page/")] + ["second.bin", "big.bin"])
    scene.files[path] = chance.randbytes(len(scene.files[path]))
    target, fresh = scene.tree / path, scene.cwd / "fresh"
    fresh.write_bytes(scene.files[path])
    found = target.stat()
    os.utime(fresh, ns=(found.st_atime_ns, found.st_mtime_ns))
    fresh.rename(target)


def _change_tree(scene: Scene, chance: random.Random) -> None:
    """A file new, one changed, one gone, one back."""
    pages = [path for path in scene.files if path.startswith("page/")]
    for path in chance.sample(pages, 3):
        scene.files[path] = chance.randbytes(1000)
        (scene.tree / path).write_bytes(scene.files[path])
    if len(pages) > 3:
        del scene.files[pages[-1]]
        (scene.tree / pages[-1]).unlink()
    scene.files["old/2"] = b"back again"
    (scene.tree / "old").mkdir(exist_ok=True)
    (scene.tree / "old" / "2").write_bytes(b"back again")
    if chance.random() < 0.3:
        scene.files["second.bin"] = chance.randbytes(11 * MIB)
        (scene.tree / "second.bin").write_bytes(scene.files["second.bin"])


def run_round(server: servers.Server, seed: int, *, evils: bool = True) -> Counter[str]:
    """One round with a bucket and a directory of its own.

    ``evils``: writes are held up in the network, clocks are set, files are replaced by others of equal size and mtime,
    workers stand still, and a second run begins. Not in the gate: some take longer than their timeout on a busy machine.
    """
    chance = random.Random(seed)
    bucket = buckets.make_bucket(server)
    with tempfile.TemporaryDirectory(prefix="s3batch-storm-") as directory, FaultProxy(server.url) as proxy:
        (Path(directory) / "home").mkdir()
        environment = program.clean_environment(Path(directory) / "home") | server.environment()
        big = chance.choice([6, 16, 41]) * MIB
        scene = make_scene(Path(directory), bucket, proxy, environment, pages=chance.randint(6, 40), big=big)
        try:
            return storm_round(scene, chance, evils=evils)
        finally:
            buckets.remove_bucket(bucket)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default="ministack")
    given = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as data, servers.running(given.server, Path(data) / "server") as server:
        for seed in range(given.seed, given.seed + given.rounds):
            try:
                total += (did := run_round(server, seed))
            except AssertionError:
                say(f"the round with --seed {seed} --rounds 1 ended wrong", sys.stderr)
                raise
            say(f"seed {seed}: {', '.join(f'{name} {count}' for name, count in sorted(did.items()))}")
    say("\n".join(["in all:", *(f"  {name}: {count}" for name, count in sorted(total.items()))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
