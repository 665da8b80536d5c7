"""A whole rebuild and a whole restore in one process, over a dictionary of chunks: what the cache's use case will do."""

from __future__ import annotations

import os
import random
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from s3batch.archive import (
    build_manifest,
    change_detection,
    manifest_codec,
    pack_chunk,
    pack_plan,
    remember,
    restore_apply,
    restore_plan,
    scan,
    verify,
)
from s3batch.archive import unpack_chunk as unpack
from s3batch.archive.local_state import LocalState
from s3batch.archive.manifest import Manifest
from s3batch.archive.paths import parse_roots
from s3batch.archive.undo_log import UndoLog, undo_leftovers

OLD = 1_500_000_000_123_456_789


@dataclass
class Store:
    """Chunks by id, and how many were put and fetched since the last look."""

    chunks: dict[bytes, bytes] = field(default_factory=dict)
    puts: int = 0
    gets: int = 0

    def put(self, identity: bytes, body: bytes) -> None:
        self.chunks[identity] = body
        self.puts += 1

    def get(self, identity: bytes) -> bytes:
        self.gets += 1
        return self.chunks[identity]


@dataclass
class Rebuilt:
    stored: bytes
    manifest: Manifest
    state: LocalState
    problems: list[scan.ScanProblem]
    puts: int
    hashed: int
    found: scan.ScannedTree


def rebuild(
    workspace: Path,
    listed: list[str],
    store: Store,
    *,
    state: LocalState | None = None,
    base: Manifest | None = None,
    **options,
) -> Rebuilt:
    roots = parse_roots(listed, str(workspace))
    own = workspace / ".s3batch"
    own.mkdir(exist_ok=True)
    plan_file = str(own / "plan")
    store.puts = 0

    found = scan.scan_tree(str(workspace), roots)
    surveyed = change_detection.survey_changes(found, state=state, base=base, **options)
    items = pack_plan.hash_plan(surveyed)
    pack_plan.write_items(plan_file, surveyed, items, str(workspace), roots)
    pack_plan.learn_hashes(surveyed, items, [pack_chunk.hash_items(plan_file, recipe) for recipe in items.recipes])
    pack_chunk.close_pack_plans()
    plan = pack_plan.plan_packing(surveyed)
    pack_plan.write_items(plan_file, surveyed, plan.items, str(workspace), roots)
    results = []
    for recipe in plan.recipes:
        built = pack_chunk.build_chunk(plan_file, recipe)
        if built.body:
            store.put(built.packed.id, built.body)
        results.append(pack_chunk.PackedChunk.from_bytes(built.packed.to_bytes()))
    pack_chunk.close_pack_plans()
    done = build_manifest.assemble_manifest(plan, results, roots)
    done.manifest.created = 1.0
    body = manifest_codec.encode_manifest(done.manifest)
    memory = remember.rebuilt_state(body, done.manifest, done.found, key="k", etag="e")
    return Rebuilt(body, done.manifest, memory, done.problems, store.puts, len(surveyed.to_hash), found)


@dataclass
class Restored:
    plan: restore_plan.RestorePlan
    state: LocalState
    gets: int


def restore_tree(
    workspace: Path,
    listed: list[str],
    body: bytes,
    store: Store,
    *,
    check: bool = False,
    fail_after: int = -1,
    state: LocalState | None = None,
    **options,
) -> Restored:
    """``check``: hash every file. ``state`` is what is remembered. After ``fail_after`` chunks the store is gone: ``ConnectionError``, and everything is undone."""
    asked = parse_roots(listed, str(workspace))
    manifest = manifest_codec.decode_manifest(body)
    own = workspace / ".s3batch"
    own.mkdir(parents=True, exist_ok=True)
    plan_file, folder = str(own / "plan"), str(own / "restore")
    roots = restore_plan.common_roots(manifest.roots, asked)
    undo = UndoLog(folder, str(workspace), roots, manifest.tree_id())
    store.gets = 0
    try:
        found = scan.scan_tree(str(workspace), roots)
        wrong = _verify(plan_file, workspace, roots, found, manifest, None if check else state, all_sizes=check)
        plan = restore_plan.plan_restore(manifest, asked, found, wrong=wrong, **options)
        restore_plan.write_restore(plan_file, plan, str(workspace))
        restore_apply.check_room(plan, str(workspace))
        restore_apply.prepare_restore(plan, str(workspace), undo)
        results = []
        for recipe in plan.recipes:
            if store.gets == fail_after:
                raise ConnectionError("the store is gone")
            results.append(unpack.unpack_chunk(plan_file, recipe, store.get(manifest.chunks.id(recipe.chunk))))
        restore_apply.finish_restore(plan, str(workspace))
    except BaseException:
        undo.close()
        undo_leftovers(folder, str(workspace))
        raise
    finally:
        unpack.close_restore_plans()
    undo.commit()
    state = remember.restored_state(
        body,
        plan,
        found,
        results,
        restore_apply.finished_stamps(plan, str(workspace)),
        key="k",
        etag="e",
        now_ns=time.time_ns(),
    )
    return Restored(plan, state, store.gets)


def _verify(plan_file, workspace, roots, found, manifest, state, *, all_sizes) -> frozenset[int]:
    surveyed = verify.plan_verification(found, manifest, state, all_sizes=all_sizes)
    items = pack_plan.hash_plan(surveyed)
    pack_plan.write_items(plan_file, surveyed, items, str(workspace), roots)
    pack_plan.learn_hashes(surveyed, items, [pack_chunk.hash_items(plan_file, recipe) for recipe in items.recipes])
    pack_chunk.close_pack_plans()
    return verify.wrong_rows(surveyed, manifest)


def snapshot(top: Path, *, times: bool = True) -> dict[bytes, tuple]:
    """Everything a restore must bring back, by path in bytes: kind, mode, mtime, content or target, first other name."""
    found: dict[bytes, tuple] = {}
    names: dict[tuple[int, int], bytes] = {}
    start = os.fsencode(top)
    for directory, dirs, files in os.walk(start):
        dirs.sort()
        if directory == start and b".s3batch" in dirs:
            dirs.remove(b".s3batch")
        for name in sorted([*dirs, *files]):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, start)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read(), names.setdefault((status.st_dev, status.st_ino), relative)
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[relative] = (
                stat.S_IFMT(status.st_mode),
                stat.S_IMODE(status.st_mode),
                status.st_mtime_ns if times else 0,
                content,
            )
    return found


def fill(top, files, *, mtime_ns=OLD):
    """Files from a table of path and content; all times in the past, so that none is racy."""
    for path, content in files.items():
        full = top / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)
        os.utime(full, ns=(mtime_ns, mtime_ns))


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def settle():
    """Until changes of now are no longer racy."""
    time.sleep(0.06)
