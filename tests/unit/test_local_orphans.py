"""The walk for local files without an object, in a tree that other programs change."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from s3batch.files.tree import TargetTree
from s3batch.plan.local_orphans import OrphanWalk

WANTED: Any = SimpleNamespace(
    settings=SimpleNamespace(journal="", plan_path=""), root="/nowhere", limits=None, key=lambda path: path, keeps_out=lambda _: False,
    selection=SimpleNamespace(wants=lambda _: True, enters=lambda _: True),
)  # fmt: skip
JOURNAL: Any = SimpleNamespace(
    path="/elsewhere/j.db", objects=SimpleNamespace(look_up=lambda keys: dict.fromkeys(keys, (None, None)))
)


class ChangingTree(TargetTree):
    """A tree out of which each file named ``gone`` is removed once it is listed."""

    def list_directory(self, path):
        for entry in super().list_directory(path):
            if entry.name == "gone":
                os.unlink(entry.name, dir_fd=self.open_directory(path))
            yield entry


def test_a_file_that_another_program_removes_is_no_orphan_and_no_trouble(tmp_path):
    (tmp_path / "dir").mkdir()
    for path in ("gone", "orphan", "dir/gone", "dir/orphan"):
        (tmp_path / path).write_bytes(b"")

    walk = OrphanWalk(WANTED, JOURNAL, ChangingTree(str(tmp_path)))
    found = {orphan.path for batch in walk.batches() for orphan in batch}

    assert found == {"orphan", "dir/orphan"}
    assert walk.unread == []
