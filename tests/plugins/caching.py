"""A pipeline that restores a cache, builds and rebuilds it: builds as the three CIs tell of them, and old plugins' archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from s3batch.s3.store_clock import StoreClock, TimeBounds
from tests.archive.cycle import OLD, snapshot
from tests.plugins import ci
from tests.plugins.conftest import Run, Step

DRONE = {
    "DRONE_REPO": "octo/site", "DRONE_REPO_OWNER": "octo", "DRONE_REPO_NAMESPACE": "octo", "DRONE_REPO_NAME": "site",
    "DRONE_REPO_BRANCH": "main", "DRONE_BRANCH": "main", "DRONE_COMMIT_BRANCH": "main", "DRONE_SOURCE_BRANCH": "main",
    "DRONE_TARGET_BRANCH": "main", "DRONE_COMMIT_REF": "refs/heads/main", "DRONE_COMMIT_SHA": "8e5f3a1",
    "DRONE_BUILD_EVENT": "push", "DRONE_BUILD_NUMBER": "7", "DRONE_COMMIT_MESSAGE": "Mend the site\n\nwith care\n",
}  # fmt: skip
"""A push to the default branch, as Drone tells of it."""

WOODPECKER = {
    "CI_REPO": "octo/site", "CI_REPO_OWNER": "octo", "CI_REPO_NAME": "site", "CI_REPO_DEFAULT_BRANCH": "main",
    "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF": "refs/heads/main", "CI_COMMIT_SHA": "8e5f3a1",
    "CI_PIPELINE_EVENT": "push", "CI_PIPELINE_NUMBER": "7", "CI_COMMIT_MESSAGE": "Mend the site",
}  # fmt: skip

BUILDS = {"drone": (ci.drone, DRONE), "woodpecker": (ci.woodpecker, WOODPECKER), "harness": (ci.harness, DRONE)}


def branch(name: str) -> dict[str, str]:
    """What Drone says of a push to another branch."""
    names = ("DRONE_BRANCH", "DRONE_COMMIT_BRANCH", "DRONE_SOURCE_BRANCH", "DRONE_TARGET_BRANCH")
    return {**dict.fromkeys(names, name), "DRONE_COMMIT_REF": f"refs/heads/{name}"}


def pull_request(number: int, source: str = "feat/x", target: str = "main") -> dict[str, str]:
    """What Drone says of a pull request."""
    return {
        "DRONE_BUILD_EVENT": "pull_request", "DRONE_PULL_REQUEST": str(number), "DRONE_BRANCH": target,
        "DRONE_COMMIT_BRANCH": target, "DRONE_SOURCE_BRANCH": source, "DRONE_TARGET_BRANCH": target,
        "DRONE_COMMIT_REF": f"refs/pull/{number}/head",
    }  # fmt: skip


@dataclass
class Pipeline:
    """The steps of a build that has a cache, in one workspace and one bucket."""

    step: Step
    build: dict[str, str] = field(default_factory=lambda: dict(DRONE))
    settings: dict[str, Any] = field(default_factory=lambda: {"cache": ["vendor"]})

    def on(self, *facts: Mapping[str, str], **settings: Any) -> Pipeline:
        """The same pipeline in another build, or with other settings."""
        build = dict(self.build)
        for more in facts:
            build |= more
        return replace(self, build=build, settings=self.settings | settings)

    def restore(self, **settings: Any) -> Run:
        return self.run(restore=True, **settings)

    def rebuild(self, **settings: Any) -> Run:
        return self.run(rebuild=True, **settings)

    def run(self, **settings: Any) -> Run:
        return self.step.run(self.settings | settings, **self.build)

    def cached(self, files: Mapping[str, bytes | str] | None = None) -> Pipeline:
        """Make a cache of these files, and begin the next build on a machine that knows nothing of it."""
        self.write(files or {"vendor/a": "A", "vendor/b/c": "C"})
        done = self.rebuild()
        assert (done.code, "warning" in done.err) == (0, False), done.err
        self.next_build()
        return self

    # --- the workspace ----------------------------------------------------------------------

    @property
    def workspace(self) -> Path:
        return self.step.workspace

    def write(self, files: Mapping[str, bytes | str]) -> None:
        """Write files, all with times in the past, so that none is racy."""
        self.step.files(files)
        for path in files:
            os.utime(self.workspace / path, ns=(OLD, OLD))

    def next_build(self) -> None:
        """A fresh clone, which has nothing in it."""
        for entry in self.workspace.iterdir():
            _remove(entry)

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """What lies in the workspace, ours apart."""
        return {os.fsdecode(path): facts for path, facts in snapshot(self.workspace).items()}

    def contents(self) -> dict[str, bytes]:
        """Its regular files."""
        return {path: facts[3][0] for path, facts in self.tree().items() if isinstance(facts[3], tuple)}

    # --- the bucket -------------------------------------------------------------------------

    def objects(self, prefix: str = "") -> list[str]:
        return sorted(self.step.bucket.keys(prefix))

    def manifests(self) -> list[str]:
        """The caches of ours, by scope and key."""
        found = [key.removeprefix("v1/k/").split("/") for key in self.objects("v1/k/")]
        return ["/".join([*parts[:3], *parts[4:]]) for parts in found]

    def put(self, key: str, body: bytes) -> None:
        self.step.bucket.put(key, body)


def _remove(entry: Path) -> None:
    if entry.is_symlink() or not entry.is_dir():
        entry.unlink()
    else:
        for path in entry.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(entry)


# --- archives as the plugins before us made them ---------------------------------------------


def s3cache(workspace: Path, *paths: str) -> bytes:
    """drone-s3cache and its fork: Python's tarfile, gzip at its best, names as they were listed."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=9) as archive:
        for path in paths:
            archive.add(workspace / path if not path.startswith("/") else path, arcname=path)
    return file.getvalue()


def drone_cache(workspace: Path, mount: str, *, packed: str = "tar", was_at: str = "") -> bytes:
    """meltwater's: absolute names of the workspace it ran in; plain, gzip or zstd. It sees no hard links."""
    file = io.BytesIO()
    top = was_at or str(workspace)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in [workspace / mount, *sorted((workspace / mount).rglob("*"))]:
            archive.inodes.clear()
            member = archive.gettarinfo(path)
            member.name = f"{top}/{path.relative_to(workspace)}"  # gettarinfo cuts the first slash off
            archive.addfile(member, path.open("rb") if member.isreg() else None)
    pack = {"tar": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[packed]
    return pack(file.getvalue())


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def names(run: Run, operation: str) -> list[str]:
    """The keys of such requests, in order."""
    return [request.key for request in run.of(operation)]


def ends(paths: Iterable[str], end: str) -> list[str]:
    return [path for path in paths if path.endswith(end)]


def put_store_ahead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the store's clock say that so many seconds have gone by."""
    now = StoreClock.now
    monkeypatch.setattr(StoreClock, "now", lambda clock: TimeBounds(*(each + seconds for each in now(clock))))
