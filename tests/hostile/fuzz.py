"""Run every command against a store that misbehaves, until the time is up; say what was found.

    python -m tests.hostile.fuzz --seconds 600 --seed 7
    python -m tests.hostile.fuzz --only "a page of a portal" --scene sync --lane lean      one round, told in full

A round is a scene, a lane, a mode, and the requests that the mode is for. Its number and the seed tell all of it but
the kernel's timing. Every mode comes up once before any comes up twice.
"""

from __future__ import annotations

import argparse
import queue
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.hostile.modes import MODES
from tests.hostile.scenes import QUICK_END, SCENES, SLOW_END, Ended, Place, check_always
from tests.hostile.server import HostileS3, Position

LANES = ("lean", "reference")


@dataclass(frozen=True, slots=True)
class Round:
    """One run that is to be."""

    number: int
    scene: str
    lane: str
    mode: str
    position: Position

    def __str__(self) -> str:
        return f"round {self.number}: {self.scene}, {self.lane} lane, {self.mode}, at {self.position}"


@dataclass(slots=True)
class Found:
    """What came of all rounds."""

    rounds: int = 0
    idle: int = 0
    """Rounds in which no request was in the position."""
    codes: Counter[int] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    scenes: Counter[str] = field(default_factory=Counter)
    lanes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: int = 0
    wrong: list[str] = field(default_factory=list)


def rounds(seed: int, *, slow: bool) -> list[Round]:
    """All rounds of a seed, so many that no time is enough for them."""
    chance = random.Random(seed)
    names = [name for name, one in MODES.items() if slow or not one.slow]
    planned: list[Round] = []
    scenes: list[str] = []
    for _ in range(200):
        chance.shuffle(names)
        for name in names:
            if not scenes:
                scenes = [scene for scene in SCENES for _ in range(2)]
                chance.shuffle(scenes)
            scene = scenes.pop()
            planned.append(Round(len(planned), scene, chance.choice(LANES), name, _position(scene, chance)))
    return planned


def _position(scene: str, chance: random.Random) -> Position:
    operations = {"": 2} | SCENES[scene].operations
    operation = chance.choice(list(operations))
    return Position(operation, chance.randrange(min(operations[operation], 4)), chance.choice((1, 2, 1 << 30, 1 << 30)))


def play(place: Place, one: Round, seed: int, found: Found, lock: threading.Lock, out: TextIO, *, full: bool) -> None:
    """Play a round, and note what is wrong with it."""
    scene, mode = SCENES[one.scene], MODES[one.mode]
    arguments = scene.begin(place)
    if arguments[0] != "resume":
        arguments += ["--lane", one.lane]
    place.store.misbehave(mode.answer, one.position, random.Random(f"{seed} {one.number}"))
    place.store.greeting = mode.greeting
    try:
        ended = place.run(arguments, SLOW_END if mode.slow or one.mode.startswith("each") else QUICK_END)
        misbehaved = sum(place.store.misbehaved.values())
    finally:
        place.store.calm()
    broken, place.store.broken = place.store.broken, []
    try:
        assert not broken, "the mode does not work: " + broken[0]
        check_always(place, ended, scene, honest=mode.truthful)
        wrong = ""
    except Exception as error:  # noqa: BLE001 - told below, with all that is known
        wrong = f"{one}\n    {type(error).__name__}: {error}\n{_told(ended)}"
        if not isinstance(error, AssertionError | ValueError):
            wrong += traceback.format_exc()
    with lock:
        found.rounds += 1
        found.idle += not misbehaved
        found.codes[ended.code] += 1
        found.modes[one.mode] += 1
        found.scenes[one.scene] += 1
        found.lanes[one.lane] += 1
        found.slowest, found.largest = max(found.slowest, ended.seconds), max(found.largest, ended.memory)
        if wrong:
            found.wrong.append(wrong)
        if wrong or full:
            out.write(f"{wrong or f'{one}{chr(10)}{_told(ended)}'}\n")
            out.flush()


def _told(ended: Ended) -> str:
    lines = [f"exit code {ended.code} after {ended.seconds:.1f} s, {ended.memory >> 20} MiB"]
    for name, text in (("stderr", ended.stderr), ("stdout", ended.stdout)):
        shown = [line[:300].encode("unicode_escape").decode() for line in text.splitlines()]
        lines += [f"{name}: {line}" for line in (shown if len(shown) < 30 else [*shown[:12], "...", *shown[-12:]])]
    return "\n".join(f"    {line}" for line in lines)


def fuzz(
    planned: list[Round], seed: int, seconds: float, places: int, out: TextIO, *, full: bool = False, least: int = 0
) -> Found:
    """Play ``planned`` rounds until the time is up, at so many places at once; ``least`` of them, however long it takes."""
    found, lock = Found(), threading.Lock()
    until = time.monotonic() + seconds
    left: queue.SimpleQueue[Round] = queue.SimpleQueue()
    for one in planned:
        left.put(one)

    def work(root: Path) -> None:
        with HostileS3() as store, store.fake:
            place = Place(root, store)
            while time.monotonic() < until or found.rounds < least:
                try:
                    one = left.get_nowait()
                except queue.Empty:
                    return
                play(place, one, seed, found, lock, out, full=full)

    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        roots = [Path(folder) / f"place{number}" for number in range(places)]
        failed: list[str] = []

        def guarded(root: Path) -> None:
            root.mkdir()
            try:
                work(root)
            except Exception:  # noqa: BLE001 - a thread's; it ends the fuzz
                failed.append(traceback.format_exc())

        threads = [threading.Thread(target=guarded, args=(root,)) for root in roots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found.wrong += failed
    return found


def tell(found: Found, seed: int, out: TextIO) -> None:
    """The counts."""
    out.write(
        f"seed {seed}: {found.rounds} rounds ({found.idle} without a request in the position), "
        f"{len(found.modes)} modes, {len(found.scenes)} commands; "
        f"lanes {dict(found.lanes)}; exit codes {dict(sorted(found.codes.items()))}; "
        f"slowest {found.slowest:.1f} s, largest {found.largest >> 20} MiB; {len(found.wrong)} wrong\n"
    )


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--places", type=int, default=3, help="runs at once")
    parser.add_argument("--round", type=int, help="only this round of the seed")
    parser.add_argument("--only", choices=sorted(MODES), metavar="MODE", help="only this mode")
    parser.add_argument("--scene", choices=sorted(SCENES), metavar="SCENE")
    parser.add_argument("--lane", choices=LANES)
    parser.add_argument("--operation", default=None)
    parser.add_argument("--quick", action="store_true", help="leave out the modes that wait for time limits")
    chosen = parser.parse_args()
    planned = rounds(chosen.seed, slow=not chosen.quick)
    if chosen.round is not None:
        planned = [planned[chosen.round]]
    elif chosen.only:
        position = Position(chosen.operation or "")
        planned = [Round(0, chosen.scene or "sync", chosen.lane or "lean", chosen.only, position)]
    elif chosen.scene:
        planned = [one for one in planned if one.scene == chosen.scene and chosen.lane in (None, one.lane)]
    full = len(planned) == 1
    found = fuzz(planned, chosen.seed, chosen.seconds, min(chosen.places, len(planned)), sys.stdout, full=full)
    tell(found, chosen.seed, sys.stdout)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
