"""The storm of transfers between buckets: killed at random, over a bad network, while objects of the source change.

``python -m tests.crash.storm --direction copy`` runs it, on one server or from one to another. Between runs each object of
the target is looked at: it is one version of its source or what was there before. After the last run the target holds
what the source holds, byte for byte and with its attributes, and nothing else in either bucket has been touched. boto3
is the judge.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.crash.scene import workers_of
from tests.crash.storm_run import (
    break_network,
    change_objects,
    expect_writes_late,
    fill_source,
    hold_up,
    run_once,
    send_signal,
    start_resume,
)  # fmt: skip
from tests.rig import buckets, program, servers
from tests.rig.buckets import Bucket
from tests.rig.proxy import FaultProxy
from tests.rig.servers import Quirk

MOST_KILLS = 6
IN, OUT = "in/", "out/"
SPEED = ("--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB", "--copy-part-size", "5MiB")
POINTS = (
    "begun", "listed-page", "listed", "added", "leased", "dispatched", "settled", "upload-journalled", "part-settled",
    "finishing", "finished", "deleting", "deleted", "learned", "sending", "stored", "part-sending", "part-stored",
    "upload-begun", "completed", "worker-started",
)  # fmt: skip
SMALL_COPIES = program.ROOT / "tests" / "rig" / "small_copies"
TEXT, ODD = "text/x-odd", {"colour": "blue"}


@dataclass(slots=True)
class CopyScene:
    """A prefix of one bucket, and the one of another that gets what it holds."""

    source: Bucket
    target: Bucket
    proxy: FaultProxy
    """Before the target's server; before the only one, if there is one."""
    environment: dict[str, str]
    cwd: Path
    flags: list[str]
    """With which the source is reached."""
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    foreign: dict[str, bytes] = field(default_factory=dict)
    """Objects of the target's bucket that are none of the job."""

    @property
    def journal(self) -> Path:
        return self.cwd / "journal.db"

    def start(self, *, crash_at: str = "") -> subprocess.Popen[str]:
        environment = self.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        arguments = ["sync", self.source.url("in"), self.target.url("out"), "--delete", "--exclude", "keep/**"]
        return program.start([*arguments, *self.flags, "--journal", self.journal, *SPEED], environment, self.cwd)

    def put_object(self, path: str, body: bytes) -> None:
        self.objects[path] = body
        self.seen[path].add(body)
        self.source.put_and_look(IN + path, body, ContentType=TEXT, Metadata=ODD, Tagging="k=v")

    def remove_object(self, path: str) -> None:
        del self.objects[path]
        self.source.client.delete_object(Bucket=self.source.name, Key=IN + path)

    def assert_untouched(self) -> None:
        """No object is torn, and none is touched that is not the job's."""
        found = self.target.contents()
        touched = {key for key, body in self.foreign.items() if found.get(key) != body}
        assert not touched, touched
        for key, body in found.items():
            if key.startswith(OUT) and key not in self.foreign and "/.s3batch/" not in key:
                assert body in self.seen[key.removeprefix(OUT)], f"{key} is torn"

    def assert_mirrored(self) -> None:
        """The target has each byte and attribute of the source, which is as the storm left it."""
        assert self.source.contents(IN) == {IN + path: body for path, body in self.objects.items()}, (
            "the source changed"
        )
        found = self.target.contents()
        wanted = self.foreign | {OUT + path: body for path, body in self.objects.items()}
        assert not set(found) ^ set(wanted), sorted(set(found) ^ set(wanted))
        assert not (wrong := [key for key, body in wanted.items() if found[key] != body]), wrong
        for path in self.objects:
            head = self.target.head(OUT + path)
            assert (head["ContentType"], head["Metadata"]) == (TEXT, ODD), path
            tags = self.target.client.get_object_tagging(Bucket=self.target.name, Key=OUT + path)["TagSet"]
            assert tags == [{"Key": "k", "Value": "v"}], path
        untrue = self.target.server.has(Quirk.UPLOAD_TIMES_UNTRUE)  # it lets uploads be that may be another's
        assert untrue or not self.target.uploads(), self.target.uploads()

    def assert_journal_healthy(self) -> None:
        with closing(sqlite3.connect(self.journal)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert connection.execute("SELECT count(*) FROM operation WHERE state = 'leased'").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM operation WHERE upload_id <> ''").fetchone()[0] == 0


def fill_buckets(scene: CopyScene, chance: random.Random) -> None:
    """Put what the source holds, and what an earlier run and other programs left in the target's bucket."""
    fill_source(scene, chance)
    for path, body in (
        ("wrong", b"old text.."),
        ("same", scene.objects["same"]),
        ("orphan", b"1"),
        ("old/orphan", b"2"),
    ):
        scene.seen[path].add(body)
        scene.target.put(OUT + path, body, ContentType=TEXT, Metadata=ODD, Tagging="k=v")
    scene.foreign = {"outside": b"not of this prefix", f"{OUT}keep/mine": b"mine", "outer/f0": b"beside"}
    for key, body in scene.foreign.items():
        scene.target.put(key, body)


def plant_orphans(scene: CopyScene, chance: random.Random) -> None:
    """Have another program write into the target: an orphan, and a wrong object."""
    for path in (f"odd/{chance.randrange(5)}", chance.choice([*scene.objects])):
        scene.seen[path].add(b"planted")
        scene.target.put(OUT + path, b"planted")


def disturb_transfer(
    scene: CopyScene, chance: random.Random, done: Counter[str], process: subprocess.Popen[str]
) -> Callable[[], None]:
    """Change the source while it runs, stop workers, or have the server be gone; return what mends that."""
    if chance.random() < 0.4:
        change_objects(scene, chance)
        done["changes of objects while it ran"] += 1
    if chance.random() < 0.15:
        stopped = workers_of(process)[: chance.randint(1, 2)]
        send_signal(stopped, signal.SIGSTOP)
        done["workers stopped"] += len(stopped)
        return partial(_after, chance.uniform(0, 1), partial(send_signal, stopped, signal.SIGCONT))
    if chance.random() < 0.15:
        done["servers gone"] += 1
        scene.proxy.down()
        return partial(_after, chance.uniform(0, 1), scene.proxy.up)
    return lambda: None


def _after(seconds: float, mend: Callable[[], None]) -> None:
    time.sleep(seconds)
    mend()


def storm_round(scene: CopyScene, chance: random.Random, *, evils: bool) -> Counter[str]:
    """Kill, kill again, finish, and look; return what happened."""
    done: Counter[str] = Counter()
    scene.proxy.latency = chance.choice([0, 0.005, 0.02])
    faulty, late = chance.random() < 0.5, evils and chance.random() < 0.2
    if late:
        done["rounds with late requests"] += 1
        expect_writes_late(scene)
    for number in range(chance.randint(1, MOST_KILLS if evils else 2)):
        scene.proxy.rules.clear()
        if faulty:
            break_network(scene.proxy, chance)
        if late:
            hold_up(scene.proxy, chance)
        disturb = partial(disturb_transfer, scene, chance, done) if evils else lambda _: lambda: None
        ended = run_once(scene, chance, done, POINTS, first=number == 0, disturb=disturb)
        scene.assert_untouched()
        if ended.code == 0 or chance.random() < 0.3:
            change_objects(scene, chance)
            plant_orphans(scene, chance)
            done["changes between runs"] += 1
    scene.proxy.rules.clear()
    scene.proxy.latency = 0
    if scene.journal.exists() and chance.random() < 0.7:
        resumed = program.finish(start_resume(scene))
        assert resumed.code == 0, resumed.stderr
        scene.assert_untouched()
    last = program.finish(scene.start())  # objects may have changed since the job was done
    assert last.code == 0, last.stderr
    assert scene.proxy.wait_until_quiet(), "a late request never lands"
    scene.assert_untouched()
    scene.assert_mirrored()
    scene.assert_journal_healthy()
    done.update(requests=len(scene.proxy.requests), rounds=1)
    done.update(each.operation for each in scene.proxy.requests if each.operation in ("CopyObject", "UploadPartCopy"))
    return done


def run_round(
    server: servers.Server, other: servers.Server, seed: int, *, evils: bool = True, far: bool | None = None
) -> Counter[str]:
    """One round with buckets of its own: on one server, or ``far``, from ``other`` to it; chance decides without it.

    ``evils``: the source changes while it runs, writes are held up, workers stand still, and the server is gone.
    """
    chance = random.Random(seed)
    far = chance.random() < 0.5 if far is None else far
    origin = other if far else server
    source, target = buckets.make_bucket(origin), buckets.make_bucket(server)
    with tempfile.TemporaryDirectory(prefix="s3batch-storm-") as directory, FaultProxy(server.url) as proxy:
        (Path(directory) / "home").mkdir()
        environment = program.clean_environment(Path(directory) / "home") | server.environment()
        environment |= {
            "AWS_ENDPOINT_URL": proxy.url,
            "PYTHONPATH": os.pathsep.join([str(SMALL_COPIES), str(program.ROOT)]),
        }
        keys = {"S3BATCH_SOURCE_ACCESS_KEY": origin.access_key, "S3BATCH_SOURCE_SECRET_KEY": origin.secret_key}
        flags = ["--source-endpoint-url", origin.url, "--source-region", origin.region] if far else []
        scene = CopyScene(source, target, proxy, environment | (keys if far else {}), Path(directory), flags)
        try:
            fill_buckets(scene, chance)
            done = storm_round(scene, chance, evils=evils)
            done["rounds between two servers"] += far
            return done
        finally:
            buckets.remove_bucket(source)
            buckets.remove_bucket(target)
