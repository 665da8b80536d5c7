"""A storm: the real program killed at random again and again, over a network that fails at random, until it is done.

    python -m tests.crash.storm --rounds 100 --seed 7

Each round has a tree and a bucket of its own and a seed that tells everything but the kernel's timing. After at
most eight kills the program is let run, and then every byte, every request and the journal are looked at. What a
round did is printed; the first round that ends wrong ends the storm, and its seed is said.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from s3batch.crash_points import NAMES
from tests.crash.scene import KILLS, MIB, Scene, acknowledged, make_scene
from tests.rig import buckets, program, servers
from tests.rig.faults import Delay, DuringReply, DuringRequest, Fault, Refuse, Reset
from tests.rig.proxy import FaultProxy

MOST_KILLS = 8
FAULTS: tuple[Fault, ...] = (
    Reset(), Reset(after=True), Refuse(500, "InternalError"), Refuse(503, "SlowDown"), Delay(0.4),
    DuringReply(cut=10), DuringRequest(cut=100_000),
)  # fmt: skip
POINTS = NAMES[: NAMES.index("worker-started") + 1]
"""Those of a sync."""


def storm_round(scene: Scene, chance: random.Random) -> Counter[str]:
    """Kill, kill again, finish, and look; what happened."""
    done: Counter[str] = Counter()
    scene.proxy.latency = chance.choice([0, 0.005, 0.02])
    faulty = chance.random() < 0.5
    for number in range(chance.randint(1, MOST_KILLS)):
        if faulty:
            _break_network(scene.proxy, chance)
        ended = _one_run(scene, chance, first=number == 0, done=done)
        if ended == 0 or chance.random() < 0.2:
            _change_tree(scene, chance)
            done["changes of the tree"] += 1
    scene.proxy.rules.clear()
    scene.proxy.latency = 0
    if scene.journal.exists() and chance.random() < 0.7:
        resumed = scene.resume()
        assert resumed.code == 0, resumed.stderr
    last = scene.sync()  # the tree may have changed since the job was done
    assert last.code == 0, last.stderr
    scene.assert_mirrored()
    scene.assert_journal_healthy()
    scene.assert_nothing_sent_twice()
    sent = acknowledged(scene.proxy.requests)
    done.update(requests=len(scene.proxy.requests), rounds=1, pieces=len(sent))
    done["pieces under way when their sender died, sent again"] += sum(sent.values()) - len(sent)
    return done


def _one_run(scene: Scene, chance: random.Random, *, first: bool, done: Counter[str]) -> int:
    """Start it, and do something bad to it at a random moment."""
    crash_at = f"{chance.choice(POINTS)}:{chance.randint(1, 6)}:{scene.cwd}/died{time.monotonic_ns()}"
    way = chance.choice(["point", *KILLS, *KILLS, "SIGTERM", "SIGINT"])
    environment = {"S3BATCH_TEST_CRASH_AT": crash_at} if way == "point" else {}
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
        time.sleep(chance.choice([0, chance.uniform(0, 0.05), chance.uniform(0, 0.3)]))
        if way in KILLS:
            KILLS[way](process)
        else:
            process.send_signal(signal.Signals[way])
    ended = program.finish(process)
    done["kills: " + way] += 1
    done[f"exit {ended.code}"] += 1
    # a signal that comes while Python itself ends, after all is done, is the system's business
    late = way in ("SIGTERM", "SIGINT") and ended.code == -signal.Signals[way] and "done in" in ended.stderr
    # -15: the signal came before Python ran its first line of ours
    assert late or ended.code in (0, 1, 4, -9, -15, 130, 143), (ended.code, ended.stderr)
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
    proxy.rules.clear()
    for fault in chance.sample(FAULTS, 3):
        proxy.on("", fault, probability=0.05, seed=chance.randrange(10**6))


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


def run_round(server: servers.Server, seed: int) -> Counter[str]:
    """One round with a bucket and a directory of its own."""
    chance = random.Random(seed)
    bucket = buckets.make_bucket(server)
    with tempfile.TemporaryDirectory(prefix="s3batch-storm-") as directory, FaultProxy(server.url) as proxy:
        (Path(directory) / "home").mkdir()
        environment = program.clean_environment(Path(directory) / "home") | server.environment()
        big = chance.choice([6, 16, 41]) * MIB
        scene = make_scene(Path(directory), bucket, proxy, environment, pages=chance.randint(6, 40), big=big)
        try:
            return storm_round(scene, chance)
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
