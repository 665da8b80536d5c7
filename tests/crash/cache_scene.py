"""A workspace whose paths are cached, an empty one to restore them to, and what must be true after every kill.

The tree has every kind of entry: packs of small files, a file in pieces, a sparse one, hard links, symbolic links,
empty and closed directories, odd modes, names that are no UTF-8.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3batch.archive.manifest import Manifest
from s3batch.archive.manifest_codec import EncodedManifest
from tests.archive.cycle import OLD, fill, snapshot
from tests.crash.scene import sent_twice
from tests.rig import program
from tests.rig.buckets import Bucket
from tests.rig.proxy import FaultProxy

MIB = 1024 * 1024
ROOTS = ("deps", "tools/one.bin")
BUILD = {
    "DRONE": "true", "DRONE_REPO_OWNER": "octo", "DRONE_REPO_NAME": "app", "DRONE_COMMIT_BRANCH": "main",
    "DRONE_REPO_BRANCH": "main", "DRONE_BUILD_EVENT": "push", "DRONE_REPO": "octo/app",
}  # fmt: skip
SECRET = {"S3BATCH_CACHE_SECRET": "one secret for these tests"}
PATIENCE = ("--retries", "3", "--timeout", "5s")


@dataclass(slots=True)
class CacheScene:
    """Where a test of the cache plays; see the module."""

    directory: Path
    bucket: Bucket
    proxy: FaultProxy
    environment: dict[str, str]
    here: Path = field(init=False)
    """Where the cache is made."""
    there: Path = field(init=False)
    """Where it is restored."""

    def __post_init__(self) -> None:
        self.here, self.there = self.directory / "here", self.directory / "there"
        for path in (self.here, self.there):
            path.mkdir()

    def start(self, word: str, *more: str, at: Path | None = None, crash_at: str = "", **popen: Any) -> Any:
        """Begin ``cache word``; with ``crash_at`` it, or a worker of it, dies there."""
        place = at or (self.here if word == "rebuild" else self.there)
        environment = self.environment | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        roots = [word for root in ROOTS for word in ("--cache", root)]
        arguments = [
            "cache",
            word,
            "--bucket",
            self.bucket.name,
            *roots,
            "--journal",
            journal_of(place),
            "--workers",
            "2",
        ]
        return program.start([*arguments, *more], environment, place, **popen)

    def run(self, word: str, *more: str, at: Path | None = None, crash_at: str = "") -> program.Finished:
        return program.finish(self.start(word, *more, at=at, crash_at=crash_at))

    def resume(self, place: Path, *more: str) -> program.Finished:
        """``s3batch resume`` of the job there."""
        return program.run(["resume", "--journal", journal_of(place), "--workers", "2", *more], self.environment, place)

    def rebuild(self, *more: str) -> program.Finished:
        """One that must succeed."""
        done = self.run("rebuild", *more)
        assert (done.code, "warning" in done.stderr.lower()) == (0, False), done.stderr
        return done

    # --- what must be true ------------------------------------------------------------------

    def manifests(self) -> dict[str, Manifest]:
        return {key: self._manifest(key) for key in self.bucket.keys("v1/k/")}

    def _manifest(self, key: str) -> Manifest:
        opened = EncodedManifest(self.bucket.get(key))
        return opened.manifest({each.id: self.bucket.get(chunk_key(each.id)) for each in opened.segments})

    def chunks(self) -> set[str]:
        return self.bucket.keys("v1/c/")

    def missing_chunks(self) -> set[str]:
        """Chunks and segments that a manifest names and the bucket has not."""
        return self.named() - self.chunks()

    def named(self) -> set[str]:
        """The objects of the chunks and segments that a manifest names."""
        bodies = (self.bucket.get(key) for key in self.bucket.keys("v1/k/"))
        return {chunk_key(each) for body in bodies for each in EncodedManifest(body).sums().ids}

    def assert_restored(self, place: Path | None = None) -> None:
        """The same tree in every respect, and nothing beside it."""
        place = place or self.there
        assert differences(snapshot(place), snapshot(self.here)) == []
        assert leftovers(place) == []

    def assert_sent_once(self) -> None:
        """No chunk went again after the store had said that it has it; what a kill cut off may."""
        twice = [key for _, key, *_ in sent_twice(self.proxy.requests) if "/c/" in key]
        assert twice == [], twice


def chunk_key(identity: bytes) -> str:
    return f"v1/c/{identity.hex()[:2]}/{identity.hex()}"


def journal_of(place: Path) -> Path:
    return place.parent / f"{place.name}.journal.db"


def differences(found: dict[bytes, tuple], wanted: dict[bytes, tuple]) -> list[bytes]:
    """Paths at which two snapshots differ; directories above the roots are nobody's."""
    above = {os.fsencode(root.partition("/")[0]) for root in ROOTS if "/" in root}
    return sorted(
        path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path) and path not in above
    )


def leftovers(place: Path) -> list[str]:
    """What lies in the workspace and is neither of the tree nor ``.s3batch``; and in there, what can be undone."""
    wanted = {root.partition("/")[0] for root in ROOTS} | {".s3batch"}
    undo = [path.name for path in (place / ".s3batch").glob("*.undo")]
    return [*(path.name for path in place.iterdir() if path.name not in wanted), *undo]


def inodes(place: Path) -> dict[str, tuple[int, int]]:
    """Inode and change time of every file below the roots."""
    found = {}
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".s3batch" not in path.parts:
            status = path.lstat()
            found[os.fsdecode(path.relative_to(place))] = (status.st_ino, status.st_ctime_ns)
    return found


def make_cache_scene(
    directory: Path, bucket: Bucket, proxy: FaultProxy, environment: dict[str, str], *, seed: int = 1,
    segmented: bool = False,
) -> CacheScene:  # fmt: skip
    """A filled workspace, an empty one, an empty bucket. ``segmented``: with its manifest as that of a large tree is."""
    segments = {"S3BATCH_TEST_SEGMENTED_FROM": "1"} if segmented else {}
    scene = CacheScene(directory, bucket, proxy, {**environment, **BUILD, **segments, "AWS_ENDPOINT_URL": proxy.url})
    fill_workspace(scene.here, seed)
    return scene


def fill_workspace(place: Path, seed: int = 1) -> None:
    """About 15 MiB: two or three packs, two pieces."""
    chance = random.Random(seed)
    files = {f"deps/p{number % 12}/f{number:03}": chance.randbytes(45_000 + number) for number in range(140)}
    files |= {"deps/big.bin": chance.randbytes(9 * MIB), "deps/none": b"", "tools/one.bin": b"a file by itself"}
    fill(place, files)
    deps = place / "deps"
    (deps / "p0/f000").chmod(0o755)
    (deps / "p1/f001").chmod(0o400)
    os.link(deps / "p2/f002", deps / "p2/again")
    os.symlink("p1/f001", deps / "link")
    os.symlink("/nowhere/at/all", deps / "dangling")
    (deps / "hollow").mkdir()
    with open(os.fsencode(deps) + b"/n\xff\xfe", "wb") as file:
        file.write(b"no UTF-8")
    with open(deps / "sparse", "wb") as file:
        file.truncate(3 * MIB)
        file.seek(2 * MIB)
        file.write(b"in the middle")
    for path in sorted(deps.rglob("*"), reverse=True):
        os.utime(path, ns=(OLD, OLD), follow_symlinks=False)
    (deps / "p3").chmod(0o555)
    os.utime(deps, ns=(OLD + 7, OLD + 7))


def change_workspace(place: Path, seed: int) -> None:
    """Some files new, some changed, some gone."""
    chance = random.Random(seed)
    files = {f"deps/p{number % 12}/new{seed}-{number}": chance.randbytes(50_000) for number in range(20)}
    files |= {f"deps/p{number % 12}/f{number:03}": chance.randbytes(61_000) for number in chance.sample(range(140), 10)}
    (place / "deps/p3").chmod(0o755)
    for path in files:
        (place / path).unlink(missing_ok=True)
    fill(place, files, mtime_ns=OLD + seed)


def empty(place: Path) -> None:
    """Nothing there, not even ``.s3batch``."""
    for path in place.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(place)
    place.mkdir()
