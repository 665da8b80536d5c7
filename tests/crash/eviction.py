"""Builds that write while clean-ups run without a pause, and what must be true after every round of it."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from tests.archive.cycle import OLD, fill, snapshot
from tests.crash.cache_scene import CacheScene, differences, empty
from tests.rig import program

BRANCHES = ("main", "feature")
LONGEST_LIFE = 0.8
"""Seconds until a process is killed at the latest: a build takes about as long."""


def write_tree(place: Path, chance: random.Random) -> None:
    """A tree that has half of its files in common with the one before, and some with the other branch's."""
    shared = random.Random(chance.randrange(3))
    files = {f"deps/own{number}": chance.randbytes(40_000) for number in chance.sample(range(40), 20)}
    files |= {f"deps/shared{number}": shared.randbytes(90_000) for number in range(20)}
    files["tools/one.bin"] = b"a file by itself"
    for path in files:
        (place / path).unlink(missing_ok=True)
    fill(place, files, mtime_ns=OLD + chance.randrange(10**9))


def start(scene: CacheScene, word: str, branch: str, place: Path, *more: str):
    """A cache command of a build of ``branch``."""
    environment = scene.environment
    scene.environment = {**environment, "DRONE_COMMIT_BRANCH": branch}
    try:
        return scene.start(word, *more, "--executor", "inline", at=place)
    finally:
        scene.environment = environment


def start_prune(scene: CacheScene, *more: str) -> subprocess.Popen[str]:
    """A clean-up that leaves alone what is younger than a second."""
    arguments = ["cache", "prune", "--bucket", scene.bucket.name, "--grace", "1s", "--keep-last", "1", *more]
    return program.start(arguments, scene.environment, scene.directory)


def prune(scene: CacheScene, *more: str) -> program.Finished:
    """The same, to its end."""
    return program.finish(start_prune(scene, *more))


def kill_some(begun: list[subprocess.Popen[str]], chance: random.Random) -> None:
    """Kill processes, each after a moment of its own; one may be done by then."""
    for process in begun:
        time.sleep(chance.random() * LONGEST_LIFE)
        program.kill(process)
        program.finish(process)


def run_round(
    scene: CacheScene, places: dict[str, Path], chance: random.Random, number: int, *, kills: bool = False
) -> None:
    """Both branches rebuild under a new key, prunes run until they are done; then everything is looked at.

    With ``kills``, builds, clean-ups and restores are killed first, and then begun again.
    """
    key = ("--cache-key", f"round-{number}")
    for place in places.values():
        write_tree(place, chance)
    if kills:
        begun = [start(scene, "rebuild", branch, place, *key) for branch, place in places.items()]
        begun.append(start_prune(scene))
        chance.shuffle(begun)
        kill_some(begun, chance)
    builds = {branch: start(scene, "rebuild", branch, place, *key) for branch, place in places.items()}

    pruned = 0
    while any(build.poll() is None for build in builds.values()) or not pruned:
        done = prune(scene, *(("--lock-timeout", "3s") if kills else ()))
        if kills and "another prune is running" in done.stderr:  # one that was killed left its lock
            time.sleep(0.5)
            continue
        assert done.code == 0, done.stderr
        pruned += 1

    for branch, build in builds.items():
        done = program.finish(build)
        assert done.code == 0, (branch, done.stderr)
        assert "warning" not in done.stderr, done.stderr
    assert scene.missing_chunks() == set(), number
    for branch, place in places.items():
        empty(scene.there)
        if kills:
            kill_some([start(scene, "restore", branch, scene.there, *key)], chance)
        restored = program.finish(start(scene, "restore", branch, scene.there, *key, "--fail-on-miss"))
        assert restored.code == 0, (branch, restored.stderr)
        assert differences(snapshot(scene.there), snapshot(place)) == [], branch


def run_rounds(scene: CacheScene, rounds: int, seed: int, *, kills: bool = False) -> None:
    """``rounds`` of it, and in the end nothing is left in the bucket that nobody needs."""
    places = {branch: scene.directory / branch for branch in BRANCHES}
    for place in places.values():
        place.mkdir()
    chance = random.Random(seed)
    for number in range(rounds):
        run_round(scene, places, chance, number, kills=kills)
