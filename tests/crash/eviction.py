"""Builds that write while clean-ups run without a pause, and what must be true after every round of it."""

from __future__ import annotations

import random
from pathlib import Path

from tests.archive.cycle import OLD, fill, snapshot
from tests.crash.cache_scene import CacheScene, differences, empty
from tests.rig import program

BRANCHES = ("main", "feature")


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


def prune(scene: CacheScene, *more: str) -> program.Finished:
    """A clean-up that leaves alone what is younger than a second."""
    arguments = ["cache", "prune", "--bucket", scene.bucket.name, "--grace", "1s", "--keep-last", "1", *more]
    return program.run(arguments, scene.environment, scene.directory)


def run_round(scene: CacheScene, places: dict[str, Path], chance: random.Random, number: int) -> None:
    """Both branches rebuild under a new key, prunes run until they are done; then everything is looked at."""
    key = ("--cache-key", f"round-{number}")
    for place in places.values():
        write_tree(place, chance)
    builds = {branch: start(scene, "rebuild", branch, place, *key) for branch, place in places.items()}

    pruned = 0
    while any(build.poll() is None for build in builds.values()) or not pruned:
        done = prune(scene)
        assert done.code == 0, done.stderr
        pruned += 1

    for branch, build in builds.items():
        done = program.finish(build)
        assert done.code == 0, (branch, done.stderr)
        assert "warning" not in done.stderr, done.stderr
    assert scene.missing_chunks() == set(), number
    for branch, place in places.items():
        empty(scene.there)
        restored = program.finish(start(scene, "restore", branch, scene.there, *key, "--fail-on-miss"))
        assert restored.code == 0, (branch, restored.stderr)
        assert differences(snapshot(scene.there), snapshot(place)) == [], branch


def run_rounds(scene: CacheScene, rounds: int, seed: int) -> None:
    """``rounds`` of it, and in the end nothing is left in the bucket that nobody needs."""
    places = {branch: scene.directory / branch for branch in BRANCHES}
    for place in places.values():
        place.mkdir()
    chance = random.Random(seed)
    for number in range(rounds):
        run_round(scene, places, chance, number)
