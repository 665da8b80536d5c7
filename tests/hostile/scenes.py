"""What is run against the hostile store, and what must be true afterwards, whatever it said.

A :class:`Place` has one hostile store, one source, and the state that each scene begins with; all of that is made once,
by an honest store. :func:`run` runs one scene in one mode.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.modes import MARK
from tests.hostile.server import HostileS3
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, Reply, Seen, Stored

MIB = 1 << 20
BUCKET, PREFIX = "bucket", "site/"
FILES = {
    "a.txt": b"alpha", "b/c.html": b"<p>c</p>" * 50, "b/d.bin": bytes(range(256)) * 300, "empty": b"", "index.html": b"<i>",
    **{f"many/{number}": b"%d" % number for number in range(20)},
}  # fmt: skip
LARGE = {"big.bin": bytes(range(256)) * (6 * MIB // 256)}
OUTSIDE = {"private/x": b"private", "site2/y": b"y", "site": b"s"}
"""Objects that no scene has any business with."""
ORPHANS = {"old1": b"old", "old/2": b"old"}
CACHED = {"deps/x": b"x" * 5000, "deps/y/z": bytes(range(256)) * 40, "deps/y/w": b""}
MOST_MEMORY = 700 * MIB
QUICK_END, SLOW_END = 100.0, 280.0
"""Seconds within which a run has to end."""
DOCUMENTED = {0, 1, 4}
"""Exit codes that a store may cause; the settings and the journal are right."""
COMMON = ("--timeout", "1", "--retries", "3", "--workers", "2", "--part-size", "5MiB", "--multipart-threshold", "5MiB")
CACHE = ("--cache", "deps", "--fail-on-error", "--timeout", "1", "--retries", "3", "--workers", "2")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    memory: int


Check = Callable[["Place", Ended, bool], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """One command."""

    begin: Callable[[Place], list[str]]
    """Puts everything in its place; returns the arguments."""
    check: Check
    operations: dict[str, int]
    """Requests that it makes of an honest store, with how many."""


@dataclass(slots=True)
class Place:
    """Where runs happen, one at a time."""

    root: Path
    store: HostileS3
    environment: dict[str, str] = field(init=False)
    cached: dict[str, Stored] = field(default_factory=dict)
    """The objects of a cache."""
    synced: dict[str, Stored] = field(default_factory=dict)
    """The objects of a target that is as it should be."""
    left: dict[str, Stored] = field(default_factory=dict)
    """The objects after a job that was left."""

    def __post_init__(self) -> None:
        self.environment = program.clean_environment(self.root) | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "TMPDIR": str(self.root),
            "DRONE_REPO_OWNER": "octo", "DRONE_REPO_NAME": "app", "DRONE_COMMIT_BRANCH": "main", "DRONE_REPO_BRANCH": "main",
            "DRONE_BUILD_EVENT": "push", "DRONE_REPO": "octo/app", "DRONE": "true",
        }  # fmt: skip
        _write(self.root / "tree", FILES)
        _write(self.root / "large", FILES | LARGE)
        _write(self.root / "work", CACHED)
        (self.root / "journals").mkdir()
        self._make_cache()
        self._make_target()
        self._leave_a_job()

    @property
    def objects(self) -> dict[str, Stored]:
        return self.store.fake.objects.get(BUCKET, {})

    def fill(self, objects: dict[str, Stored]) -> None:
        """Have the honest store hold these, and what is nobody's business."""
        self.store.fake.forget()
        self.store.fake.objects[BUCKET] = {**deepcopy(objects), **stored(OUTSIDE)}

    def journal(self, name: str = "") -> Path:
        """A journal that is not there, or one like that which was kept as ``name``; so with what is beside it."""
        folder, state = self.root / "journals", self.root / "state"
        shutil.rmtree(state, ignore_errors=True)
        if name:
            shutil.copytree(self.root / f"state-{name}", state)
        for old in folder.glob("run.db*"):
            old.unlink()
        for kept in folder.glob(f"{name}.db*") if name else ():
            shutil.copy2(kept, folder / kept.name.replace(name, "run", 1))
        return folder / "run.db"

    def run(self, arguments: list[str], limit: float = QUICK_END) -> Ended:
        """Run the program, measured."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            begun = time.monotonic()
            process = subprocess.Popen(
                [*program.COMMAND, *arguments, "--endpoint-url", self.store.url] if arguments[0] != "resume" else
                [*program.COMMAND, *arguments],
                env=self.environment, cwd=self.root / "work", stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
            memory = _waited_for(process, begun + limit)
            out.seek(0)
            err.seek(0)
            texts = [stream.read().decode("utf-8", "surrogateescape") for stream in (out, err)]
        return Ended(process.returncode, texts[0], texts[1], time.monotonic() - begun, memory)

    def _make_cache(self) -> None:
        self.fill({})
        ended = self.run(["cache", "rebuild", f"s3://{BUCKET}/caches", *CACHE, "--journal", str(self.journal())])
        assert ended.code == 0, ended
        self.cached = {key: each for key, each in deepcopy(self.objects).items() if key not in OUTSIDE}
        for each in self.cached.values():
            each.modified -= 90 * 86400

    def _make_target(self) -> None:
        self.fill({})
        ended = self.run(_sync(self))
        assert ended.code == 0, ended
        self.synced = {key: each for key, each in deepcopy(self.objects).items() if key not in OUTSIDE}

    def _leave_a_job(self) -> None:
        self.fill({})

        def refuse(request: Seen) -> Reply | None:
            refused = request.name in {"PutObject", "UploadPart"} and not request.key.startswith("site/many/1")
            return Reply(403, {}, b"<Error><Code>AccessDenied</Code></Error>") if refused else None

        self.store.fake.meddle = refuse
        journal = self.journal()
        ended = self.run(
            ["sync", str(self.root / "large"), f"s3://{BUCKET}/{PREFIX}", *COMMON, "--journal", str(journal)]
        )
        assert ended.code == 1, ended
        self.left = deepcopy(self.objects)
        for each in journal.parent.glob("run.db*"):
            shutil.copy2(each, each.with_name(each.name.replace("run", "left", 1)))
        (self.root / "state").mkdir(exist_ok=True)
        shutil.copytree(self.root / "state", self.root / "state-left")


def _waited_for(process: subprocess.Popen[bytes], until: float) -> int:
    """Wait for the end, kill what does not end, and return the most memory any of its processes had."""
    memory = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            # a process begins as a copy of this one, whose memory counts as its own at first
            most = usage.ru_maxrss if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss else 0
            return max(most * 1024, memory)
        memory = max(memory, *map(_memory, _family(process.pid)))
        if time.monotonic() > until or memory > 2 * MOST_MEMORY:  # the machine is not ours alone
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)


def _family(pid: int) -> list[int]:
    """The process and its children."""
    with suppress(OSError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def _memory(pid: int) -> int:
    """Bytes of memory it has now."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return 0


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def stored(files: dict[str, bytes], prefix: str = "") -> dict[str, Stored]:
    """Objects as the honest store has them."""
    return {
        prefix + name: Stored(content, f'"{hashlib.md5(content).hexdigest()}"', modified=time.time() - 86400)
        for name, content in files.items()
    }


# --- what must be true ----------------------------------------------------------------------


def check_always(place: Place, ended: Ended, scene: Scene, *, honest: bool) -> None:
    """What holds after every run. ``honest``: what the store claimed was true, however odd."""
    said = ended.stdout + ended.stderr
    assert ended.code >= 0, f"killed: it did not end within the time, or died ({ended.code})"
    assert ended.code in DOCUMENTED, f"exit code {ended.code}"
    assert "Traceback" not in said, "a traceback"
    assert "bug in s3batch" not in said, "a bug"
    assert ended.memory < MOST_MEMORY, f"{ended.memory // MIB} MiB"
    assert "\x1b" not in said, "an escape sequence"
    assert "\u2028" not in said, "a line separator"
    for line in said.splitlines():
        assert not re.match(rf"\s*(::|##|{MARK})", line), f"a line of the store's: {line!r}"
    for key, content in OUTSIDE.items():
        assert place.objects.get(key) is not None, f"{key} was deleted"
        assert place.objects[key].body == content, f"{key} was changed"
    document = json.loads(ended.stdout)
    if "exit_code" in document:
        assert document["exit_code"] == ended.code, "the document tells another exit code"
    scene.check(place, ended, honest)


def _mirrored(place: Place, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        found = place.objects.get(PREFIX + name)
        assert found is not None, f"exit code 0, and {name} is not there"
        assert found.body == content, f"exit code 0, and {name} is another"


def _kept(place: Place, keys: set[str]) -> None:
    gone = keys - place.objects.keys()
    assert not gone, f"deleted: {sorted(gone)}"


def _check_sync(place: Place, ended: Ended, honest: bool) -> None:
    if ended.code == 0:
        _mirrored(place, FILES)


def _check_large(place: Place, ended: Ended, honest: bool) -> None:
    if ended.code == 0:
        _mirrored(place, FILES | LARGE)


def _check_delete(place: Place, ended: Ended, honest: bool) -> None:
    _kept(place, {PREFIX + name for name in FILES if name != "index.html"})
    if ended.code == 0:
        _mirrored(place, FILES)


def _check_cached(place: Place, ended: Ended, honest: bool) -> None:
    if ended.code == 0:
        kinds = {key.split("/")[2] for key in place.objects if key.startswith("caches/v1/")}
        assert {"k", "c"} <= kinds, f"exit code 0, and nothing is stored: {sorted(place.objects)}"
        _kept(place, {key for key in place.cached if "/c/" in key})


def _check_restored(place: Place, ended: Ended, honest: bool) -> None:
    found = {name: path.read_bytes() for name in CACHED if (path := place.root / "work" / name).is_file()}
    assert found in ({}, CACHED), f"a half restored tree: {sorted(found)}"
    if ended.code == 0:
        assert found == CACHED, "exit code 0, and nothing is restored"
    assert {path.name for path in (place.root / "work").iterdir()} <= {"deps", ".s3batch"}


def _check_pruned(place: Place, ended: Ended, honest: bool) -> None:
    _kept(place, set(place.cached))


def _check_cleared(place: Place, ended: Ended, honest: bool) -> None:
    if ended.code == 0:
        left = [key for key in place.objects if key.startswith("caches/v1/k/")]
        assert not left, f"exit code 0, and still there: {left}"


def _check_nothing_written(place: Place, ended: Ended, honest: bool) -> None:
    _kept(place, {PREFIX + name for name in FILES})


def _check_verified_right(place: Place, ended: Ended, honest: bool) -> None:
    _check_nothing_written(place, ended, honest)


def _check_verified_wrong(place: Place, ended: Ended, honest: bool) -> None:
    assert ended.code != 0, "exit code 0, and a file is missing"


# --- how they begin -------------------------------------------------------------------------


def _sync(place: Place, tree: str = "tree", *more: str) -> list[str]:
    target = f"s3://{BUCKET}/{PREFIX}"
    return ["sync", str(place.root / tree), target, *COMMON, "--json", "--journal", str(place.journal()), *more]


def begin_sync(place: Place) -> list[str]:
    place.fill({})
    return _sync(place)


def begin_large(place: Place) -> list[str]:
    place.fill({})
    return _sync(place, "large")


def begin_delete(place: Place) -> list[str]:
    place.fill({**place.synced, **stored({**ORPHANS, "a.txt": b"other", "b/c.html": b""}, PREFIX)})
    del place.objects[PREFIX + "index.html"]
    return _sync(place, "tree", "--delete", "--acl", "private")


def begin_resume(place: Place) -> list[str]:
    place.fill(place.left)
    return ["resume", "--journal", str(place.journal("left")), "--retries", "3", "--timeout", "1", "--json"]


def _cache(place: Place, word: str, *more: str) -> list[str]:
    work = place.root / "work"
    shutil.rmtree(work)
    work.mkdir()
    return ["cache", word, f"s3://{BUCKET}/caches", "--json", "--journal", str(place.journal()), *more]


def begin_rebuild(place: Place) -> list[str]:
    place.fill({})
    arguments = _cache(place, "rebuild", *CACHE)
    _write(place.root / "work", CACHED)
    return arguments


def begin_restore(place: Place) -> list[str]:
    place.fill(place.cached)
    return _cache(place, "restore", *CACHE, "--fail-on-miss")


def _admin(word: str, *more: str) -> Callable[[Place], list[str]]:
    def begin(place: Place) -> list[str]:
        place.fill(place.cached)
        return ["cache", word, f"s3://{BUCKET}/caches", "--json", "--timeout", "1", "--retries", "3", *more]

    return begin


def begin_prune(place: Place) -> list[str]:
    place.fill(place.cached)
    old = time.time() - 90 * 86400
    for number in range(3):
        place.objects[f"caches/v1/c/{number:064x}"] = Stored(b"junk", '"x"', modified=old)
    return ["cache", "prune", f"s3://{BUCKET}/caches", "--json", "--timeout", "1", "--retries", "3", "--ttl", "400d"]


def begin_verify(place: Place) -> list[str]:
    place.fill(place.synced)
    return ["verify", str(place.root / "tree"), f"s3://{BUCKET}/{PREFIX}", *COMMON[:6], "--json"]


def begin_verify_wrong(place: Place) -> list[str]:
    arguments = begin_verify(place)
    del place.objects[PREFIX + "a.txt"]
    return arguments


def begin_doctor(place: Place) -> list[str]:
    place.fill(place.synced)
    return ["doctor", f"s3://{BUCKET}/{PREFIX}", "--json", "--timeout", "1", "--retries", "3", "--delete"]


_MANIFESTS = {"ListObjectsV2": 1, "GetObject": 1}
_UPLOAD = {"ListMultipartUploads": 1, "CreateMultipartUpload": 1, "UploadPart": 2, "CompleteMultipartUpload": 1}
SCENES: dict[str, Scene] = {
    "sync": Scene(begin_sync, _check_sync, {"ListObjectsV2": 1, "PutObject": 25}),
    "sync of a large file": Scene(begin_large, _check_large, {"ListObjectsV2": 1, "PutObject": 25, **_UPLOAD}),
    "sync --delete": Scene(
        begin_delete, _check_delete,
        {"ListObjectsV2": 1, "HeadObject": 23, "PutObject": 3, "CopyObject": 1, "GetObjectAcl": 22, "DeleteObjects": 1},
    ),
    "resume": Scene(begin_resume, _check_large, {"ListObjectsV2": 1, "HeadObject": 15, "PutObject": 14, **_UPLOAD}),
    "cache rebuild": Scene(
        begin_rebuild, _check_cached, {"ListObjectsV2": 1, "GetObject": 1, "HeadObject": 1, "PutObject": 2}
    ),
    "cache restore": Scene(begin_restore, _check_restored, {"GetObject": 2}),
    "cache prune": Scene(
        begin_prune, _check_pruned,
        {"HeadObject": 2, "PutObject": 2, "ListObjectsV2": 4, "GetObject": 2, "DeleteObject": 1},
    ),
    "cache list": Scene(_admin("list"), _check_pruned, _MANIFESTS),
    "cache inspect": Scene(_admin("inspect"), _check_pruned, _MANIFESTS),
    "cache clear": Scene(_admin("clear"), _check_cleared, {"ListObjectsV2": 2, "DeleteObjects": 1}),
    "verify": Scene(begin_verify, _check_verified_right, {"ListObjectsV2": 1, "HeadObject": 25}),
    "verify what differs": Scene(begin_verify_wrong, _check_verified_wrong, {"ListObjectsV2": 1, "HeadObject": 24}),
    "doctor": Scene(
        begin_doctor, _check_nothing_written,
        {
            "ListObjectsV2": 2, "HeadBucket": 1, "GetBucketVersioning": 1, "GetBucketLifecycleConfiguration": 1,
            "ListObjects": 1, "PutObject": 16, "HeadObject": 4, "GetObject": 2, "CopyObject": 1, "ListParts": 1,
            "AbortMultipartUpload": 1, "DeleteObject": 1, "DeleteObjects": 1, **_UPLOAD,
        },
    ),
}  # fmt: skip
