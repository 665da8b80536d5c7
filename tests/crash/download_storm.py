"""The storm of downloads: killed at random, over a bad network and onto a full disk, while both sides change.

``python -m tests.crash.storm --direction down`` runs it. After each kill every file is looked at: it holds one version of
its object or what was there before, and nothing outside the target has been touched. After the last run the target
holds each byte of the prefix and nothing else, by ``rclone check --download`` where rclone is installed.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.storm_run import break_network, change_objects, fill_source, run_once, start_resume
from tests.rig import buckets, program, servers
from tests.rig.buckets import Bucket
from tests.rig.proxy import FaultProxy

MOST_KILLS = 6
PREFIX = "p/"
SPEED = ("--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB")
KEPT = "keep"
"""A directory that ``--exclude`` leaves out: its files are of somebody else."""
POINTS = (
    "begun", "listed-page", "listed", "added", "leased", "dispatched", "settled", "upload-journalled", "part-settled",
    "finishing", "finished", "deleting", "deleted", "learned", "sending", "fetched", "landed", "part-stored",
    "upload-begun", "completed", "worker-started",
)  # fmt: skip
TMPFS = os.geteuid() == 0 and bool(shutil.which("mount"))
SMALL, LARGE = "size=9m", "size=300m"


@dataclass(slots=True)
class DownloadScene:
    """A prefix of a bucket, a directory that mirrors it, and a directory beside it that must stay as it is."""

    bucket: Bucket
    proxy: FaultProxy
    environment: dict[str, str]
    site: Path
    objects: dict[str, bytes] = field(default_factory=dict)
    """The content of each object now, by its path."""
    seen: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Whatever a path may hold: each version of its object, and what was put into its place."""
    outside: dict[str, bytes] = field(default_factory=dict)
    planted: list[str] = field(default_factory=list)
    """Links and full directories in the way of objects. They have to go before a run can end well."""

    @property
    def cwd(self) -> Path:
        return self.site.parent

    @property
    def journal(self) -> Path:
        return self.cwd / "journal.db"

    def start(self, *, crash_at: str = "") -> subprocess.Popen[str]:
        environment = self.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        arguments = ["sync", self.bucket.url("p"), self.site, "--delete", "--exclude", f"{KEPT}/**"]
        return program.start([*arguments, "--journal", self.journal, *SPEED], environment, self.cwd)

    def put_object(self, path: str, body: bytes) -> None:
        self.objects[path] = body
        self.seen[path].add(body)
        self.bucket.put_and_look(PREFIX + path, body)

    def remove_object(self, path: str) -> None:
        del self.objects[path]
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=PREFIX + path)

    def write_file(self, path: str, body: bytes) -> None:
        """Write a local file as another program does: beside, and renamed to its place."""
        self.seen[path].add(body)
        target, fresh = self.site / path, self.site / ".of-another"
        if (self.site / path.partition("/")[0]).is_symlink():
            return
        with suppress(OSError):  # a file may be in the place of its directory, or the disk is full
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(body)
            fresh.rename(target)

    def assert_untouched(self) -> None:
        """Nothing outside has changed, no foreign file is gone, and no file is torn."""
        beside = self.cwd / "beside"
        assert {
            str(path.relative_to(beside)): path.read_bytes() for path in beside.rglob("*") if path.is_file()
        } == self.outside
        assert (self.site / KEPT / "mine").read_bytes() == b"mine"
        for path in _list_files(self.site):
            name = str(path.relative_to(self.site))
            with suppress(FileNotFoundError):  # the program runs
                assert path.read_bytes() in self.seen[name], f"{name} is torn"

    def assert_mirrored(self) -> None:
        """The directory holds the prefix, by bytes of our own and by rclone's."""
        kept = {f"{KEPT}/mine": b"mine"}
        found = {str(path.relative_to(self.site)): path.read_bytes() for path in self.site.rglob("*") if path.is_file()}
        assert not set(found) ^ set(self.objects | kept), sorted(set(found) ^ set(self.objects | kept))
        assert not (wrong := [name for name, body in (self.objects | kept).items() if found[name] != body]), wrong
        assert not (links := [path for path in self.site.rglob("*") if path.is_symlink()]), links
        assert not (self.site / ".s3batch").exists(), "a temporary file is left"
        if rclone := servers.installed("rclone"):
            self._ask_rclone(rclone)

    def _ask_rclone(self, rclone: str) -> None:
        remote = f":s3,provider=Other,env_auth=true,force_path_style=true:{self.bucket.name}/p"
        environment = self.environment | {"RCLONE_S3_ENDPOINT": self.bucket.server.url, "RCLONE_CONFIG": os.devnull}
        judged = subprocess.run(
            [rclone, "check", "--download", "--exclude", f"/{KEPT}/**", remote, self.site],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert judged.returncode == 0, judged.stderr

    def assert_journal_healthy(self) -> None:
        with closing(sqlite3.connect(self.journal)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert connection.execute("SELECT count(*) FROM operation WHERE state = 'leased'").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM operation WHERE upload_id <> ''").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM part").fetchone()[0] == 0


def _list_files(site: Path) -> Iterator[Path]:
    """Yield the regular files outside ``.s3batch``; no link is followed."""
    for directory, names, files in os.walk(site):
        if Path(directory) == site:
            names[:] = [name for name in names if name != ".s3batch"]
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink() and name != ".of-another":
                yield path


def make_download_scene(
    directory: Path, bucket: Bucket, proxy: FaultProxy, environment: dict[str, str], chance: random.Random
) -> DownloadScene:
    """Fill the prefix, the directory and the one beside it."""
    scene = DownloadScene(bucket, proxy, {**environment, "AWS_ENDPOINT_URL": proxy.url}, directory / "site")
    fill_source(scene, chance)
    bucket.put("other/object", b"not of this prefix")
    scene.site.mkdir(exist_ok=True)
    for path, body in (
        ("wrong", b"old text.."),
        ("same", scene.objects["same"]),
        ("orphan", b"1"),
        ("old/orphan", b"2"),
    ):
        scene.write_file(path, body)
    scene.seen[f"{KEPT}/mine"] = {b"mine"}
    (scene.site / KEPT).mkdir()
    (scene.site / KEPT / "mine").write_bytes(b"mine")
    scene.outside = {"secret": b"secret", "dir/f0": b"secret too"}
    for path, body in scene.outside.items():
        (directory / "beside" / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / "beside" / path).write_bytes(body)
    return scene


# --- what happens meanwhile ------------------------------------------------------------------


def change_files(scene: DownloadScene, chance: random.Random) -> None:
    """A local file changed, an orphan, a leftover; sometimes a link or a directory in an object's way."""
    path = chance.choice(list(scene.objects))
    scene.write_file(path, chance.randbytes(chance.choice([10, len(scene.objects[path])])))
    scene.write_file(f"odd/{chance.randrange(5)}", b"orphan")
    leftovers = scene.site / ".s3batch" / "tmp"
    with suppress(OSError):
        leftovers.mkdir(parents=True, exist_ok=True, mode=0o700)
        (leftovers / f"{chance.randrange(99)}-{chance.randrange(99)}").write_bytes(chance.randbytes(1000))
    kind = chance.choice(["link", "dangling", "directory", "link of a directory", "", "", ""])
    place = chance.choice(["same", "wrong", "large"])
    with suppress(OSError):
        if kind == "link of a directory":
            _clear_place(scene, "dir0")
            os.symlink(scene.cwd / "beside" / "dir", scene.site / "dir0")
        elif kind:
            _clear_place(scene, place)
            if kind == "directory":
                (scene.site / place).mkdir()
                scene.write_file(f"{place}/inside", b"orphan")
            else:
                os.symlink(scene.cwd / "beside" / ("secret" if kind == "link" else "nothing"), scene.site / place)
    scene.planted += [place if kind == "directory" else "dir0"] if kind in ("directory", "link of a directory") else []


def _clear_place(scene: DownloadScene, path: str) -> None:
    """Remove what is in a place, a link itself."""
    place = scene.site / path
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def remove_planted(scene: DownloadScene) -> None:
    """Remove what nobody but its owner may remove."""
    for path in scene.planted:
        place = scene.site / path
        if place.is_symlink() or place.is_dir():
            _clear_place(scene, path)
    scene.planted.clear()


def disturb_download(
    scene: DownloadScene, chance: random.Random, done: Counter[str], process: subprocess.Popen[str]
) -> Callable[[], None]:
    """Change either side while it runs, or have the server be gone for a while; return what brings it back."""
    if chance.random() < 0.4:
        change_objects(scene, chance)
        done["changes of objects while it ran"] += 1
    if chance.random() < 0.3:
        change_files(scene, chance)
        done["changes of files while it ran"] += 1
    if chance.random() < 0.15:
        done["servers gone"] += 1
        scene.proxy.down()
        return partial(_bring_back, scene.proxy, chance.uniform(0, 1))
    scene.assert_untouched()
    return lambda: None


def _bring_back(proxy: FaultProxy, seconds: float) -> None:
    time.sleep(seconds)
    proxy.up()


@contextmanager
def small_disk(site: Path, *, wanted: bool) -> Iterator[Callable[[], Any]]:
    """A disk that the objects do not fit on, if wanted; gives the function that makes it larger."""
    if not wanted:
        yield lambda: None
        return
    site.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", site], check=True)
    try:
        yield partial(subprocess.run, ["mount", "-o", f"remount,{LARGE}", site], check=True)
    finally:
        subprocess.run(["umount", site], check=True)


# --- a round ---------------------------------------------------------------------------------


def storm_round(
    scene: DownloadScene, chance: random.Random, enlarge: Callable[[], Any], *, evils: bool
) -> Counter[str]:
    """Kill, kill again, finish, and look; return what happened."""
    done: Counter[str] = Counter()
    scene.proxy.latency = chance.choice([0, 0.005, 0.02])
    faulty = chance.random() < 0.5
    for number in range(chance.randint(1, MOST_KILLS if evils else 2)):
        scene.proxy.rules.clear()
        if faulty:
            break_network(scene.proxy, chance)
        disturb = partial(disturb_download, scene, chance, done) if evils else lambda _: lambda: None
        ended = run_once(scene, chance, done, POINTS, first=number == 0, disturb=disturb)
        done["disks full"] += "the target takes no more" in ended.stderr
        scene.assert_untouched()
        if ended.code == 0 or chance.random() < 0.3:
            change_objects(scene, chance)
            change_files(scene, chance)
            done["changes between runs"] += 1
    scene.proxy.rules.clear()
    scene.proxy.latency = 0
    enlarge()
    remove_planted(scene)
    if scene.journal.exists() and chance.random() < 0.7:
        resumed = program.finish(start_resume(scene))
        assert resumed.code == 0, resumed.stderr
        scene.assert_untouched()
    last = program.finish(scene.start())  # objects may have changed since the job was done
    assert last.code == 0, last.stderr
    scene.assert_untouched()
    scene.assert_mirrored()
    scene.assert_journal_healthy()
    done.update(requests=len(scene.proxy.requests), rounds=1)
    return done


def run_round(server: servers.Server, seed: int, *, evils: bool = True) -> Counter[str]:
    """One round with a bucket and a directory of its own; ``evils``: both sides change while it runs, and disks are full."""
    chance = random.Random(seed)
    bucket = buckets.make_bucket(server)
    full = evils and TMPFS and chance.random() < 0.25
    with (
        tempfile.TemporaryDirectory(prefix="s3batch-storm-") as directory,
        FaultProxy(server.url) as proxy,
        small_disk(Path(directory) / "site", wanted=full) as enlarge,
    ):
        (Path(directory) / "home").mkdir()
        environment = program.clean_environment(Path(directory) / "home") | server.environment()
        try:
            scene = make_download_scene(Path(directory), bucket, proxy, environment, chance)
            return storm_round(scene, chance, enlarge, evils=evils)
        finally:
            buckets.remove_bucket(bucket)
