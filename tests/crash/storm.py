"""A storm: the real program killed at random again and again, over a network that fails at random, until it is done.

    python -m tests.crash.storm --direction down --rounds 100 --seed 7 --server moto

Each round has a tree and a bucket of its own and a seed that tells everything but the kernel's timing. After at
most eight kills the program is let run, and then every byte, every request and the journal are looked at. What a
round did is printed; the first round that ends wrong ends the storm, and its seed is said. ``--go-on`` counts such rounds
instead, and ends with 1. Downloads and transfers are in :mod:`tests.crash.download_storm` and
:mod:`tests.crash.copy_storm`.
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
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from s3batch.base.failpoints import NAMES
from tests.crash import copy_storm, download_storm
from tests.crash.scene import MIB, Scene, acknowledged, make_scene, workers_of
from tests.crash.storm_run import break_network, expect_writes_late, hold_up, run_once, say, send_signal
from tests.rig import buckets, program, servers
from tests.rig.proxy import FaultProxy

MOST_KILLS = 8
TEN_MINUTES = 600
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
        expect_writes_late(scene)
    for number in range(chance.randint(1, MOST_KILLS)):
        scene.proxy.rules.clear()
        if faulty:
            break_network(scene.proxy, chance)
        if late:
            hold_up(scene.proxy, chance)
        if evils and chance.random() < 0.3:
            _set_clock(scene, chance)
            done["clocks set"] += 1
        disturb = partial(_disturb, scene, chance, done, evils=evils)
        ended = run_once(scene, chance, done, POINTS, first=number == 0, disturb=disturb)
        if ended.code == 0 or chance.random() < 0.2:
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
    assert scene.proxy.wait_until_quiet(), "a late request never lands"
    scene.assert_mirrored()
    scene.assert_journal_healthy()
    if not done["runs with another journal"]:  # two journals do not know what each other's runs have sent
        scene.assert_nothing_sent_twice()
    sent = acknowledged(scene.proxy.requests)
    done.update(requests=len(scene.proxy.requests), rounds=1, pieces=len(sent))
    done["pieces under way when their sender died, sent again"] += sum(sent.values()) - len(sent)
    return done


def _set_clock(scene: Scene, chance: random.Random) -> None:
    """Have the program's clock be wrong by up to ten minutes, and be set while it runs."""
    first, then = (chance.choice([0, chance.randint(-TEN_MINUTES, TEN_MINUTES)]) for _ in range(2))
    scene.environment["S3BATCH_TEST_CLOCK"] = f"{first} {chance.uniform(0, 2):.2f}:{then}"
    scene.environment["PYTHONPATH"] = os.pathsep.join([str(CLOCK), str(program.ROOT)])


def _disturb(
    scene: Scene, chance: random.Random, done: Counter[str], process: subprocess.Popen[str], *, evils: bool
) -> Callable[[], None]:
    """What else may happen while it runs: a file replaced, a worker that stands still, a second run."""
    stopped: list[int] = []
    if evils and chance.random() < 0.4:
        _replace(scene, chance)
        done["files replaced by others of equal size and mtime"] += 1
    if evils and chance.random() < 0.15:
        stopped = workers_of(process)[: chance.randint(1, 2)]
        send_signal(stopped, signal.SIGSTOP)
        done["workers stopped"] += len(stopped)
    if evils and chance.random() < 0.1:
        other = chance.random() < 0.5
        rival = scene.sync(*(["--journal", f"{scene.cwd}/rival.db"] if other else []))
        assert rival.code in (0, 1, 3, 4), (rival.code, rival.stderr)
        done["rivals"] += 1
        done[f"rivals, exit {rival.code}"] += 1
        done["runs with another journal"] += other and rival.code != 3
    return partial(_wake, stopped, chance)


def _wake(stopped: list[int], chance: random.Random) -> None:
    """Let workers go on: soon, or when they are given up, if their coordinator lives."""
    if stopped:
        time.sleep(chance.choice([0, 0.5, 2]) if chance.random() < 0.9 else 17)
        send_signal(stopped, signal.SIGCONT)


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


ROUNDS: dict[str, Callable[[servers.Server, servers.Server, int], Counter[str]]] = {
    "up": lambda server, _, seed: run_round(server, seed),
    "down": lambda server, _, seed: download_storm.run_round(server, seed),
    "copy": copy_storm.run_round,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--direction", choices=ROUNDS, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default="ministack")
    parser.add_argument("--go-on", action="store_true", help="count rounds that end wrong, and end with 1")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as data, ExitStack() as stack:
        server = stack.enter_context(servers.running(given.server, Path(data) / "server"))
        name = "moto" if given.server != "moto" else "ministack"
        other = stack.enter_context(servers.running(name, Path(data) / "other"))
        for direction in given.direction or ROUNDS:
            run = partial(ROUNDS[direction], server, other)
            wrong += run_rounds(direction, run, range(given.seed, given.seed + given.rounds), go_on=given.go_on)
    return int(wrong > 0)


def run_rounds(direction: str, run: Callable[[int], Counter[str]], seeds: range, *, go_on: bool) -> int:
    """Run a round for each seed, and say what happened; how many ended wrong."""
    total: Counter[str] = Counter()
    for seed in seeds:
        try:
            total += (did := run(seed))
        except Exception:  # a round may end wrong in any way
            say(f"the round with --direction {direction} --seed {seed} --rounds 1 ended wrong", sys.stderr)
            if not go_on:
                raise
            say(traceback.format_exc(), sys.stderr)
            total["rounds that ended wrong"] += 1
            continue
        say(f"{direction}, seed {seed}: {', '.join(f'{name} {count}' for name, count in sorted(did.items()))}")
    say("\n".join([f"{direction}, in all:", *(f"  {name}: {count}" for name, count in sorted(total.items()))]))
    return total["rounds that ended wrong"]


if __name__ == "__main__":
    sys.exit(main())
