"""What an undo does with one key; which old version it takes; when a backup's job has ended."""

from __future__ import annotations

import pytest

from s3batch.commands.undo.decide import ChangedSinceError, UndoFacts, decide_undo
from s3batch.commands.undo.prune import FoundBackup, find_ends
from s3batch.journal.reversals import ChangedKey
from s3batch.model import Kind, ListedObject, RestoreSpec
from s3batch.s3.listing import ObjectVersion
from s3batch.worker.restore import find_old_version

BEGIN, END = 1000.0, 1100.0
BACKED_UP = UndoFacts("b", BEGIN, END)
VERSIONED = UndoFacts("", BEGIN, END)
OURS = ListedObject("k", 1, "ours", 1050.0)
THEIRS = ListedObject("k", 1, "theirs", 1050.0)
OLD = ListedObject("k", 1, "old", 900.0)
LATER = ListedObject("k", 1, "ours", 1200.0)
WRITE, REMOVE, RETURN = "upload", "delete", "restore"


def change(
    kind: str, now: ListedObject | None, *, before: bool, settled: bool = True, backup: bool | None = None
) -> ChangedKey:
    has_backup = before if backup is None else backup
    written = kind not in {REMOVE, ""} and settled
    return ChangedKey(
        "k", kind, "ours" if written else "", 1050.0 if written else 0.0, "old" if before else "", settled,
        "p/J/k" if has_backup else "", "", now,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "changed", "expected"),
    [
        (BACKED_UP, change(WRITE, OURS, before=True), Kind.RESTORE),
        (BACKED_UP, change(WRITE, OURS, before=False), Kind.DELETE),
        (BACKED_UP, change(REMOVE, None, before=True), Kind.RESTORE),
        (BACKED_UP, change(WRITE, THEIRS, before=True), "changed"),
        (BACKED_UP, change(WRITE, LATER, before=True), "changed"),
        (BACKED_UP, change(WRITE, None, before=True), "deleted"),
        (BACKED_UP, change(WRITE, None, before=False), "deleted"),
        (BACKED_UP, change(REMOVE, THEIRS, before=True), "written"),
        (BACKED_UP, change(WRITE, OURS, before=True, backup=False), "no backup"),
        (BACKED_UP, change(REMOVE, None, before=True, backup=False), "no backup"),
        # killed before the answer came: LastModified tells
        (BACKED_UP, change(WRITE, OURS, before=True, settled=False), Kind.RESTORE),
        (BACKED_UP, change(WRITE, OLD, before=True, settled=False), None),
        (BACKED_UP, change(WRITE, LATER, before=True, settled=False), "changed"),
        (BACKED_UP, change(WRITE, None, before=True, settled=False), Kind.RESTORE),
        (BACKED_UP, change("", OURS, before=False, settled=False, backup=True), Kind.RESTORE),
        (BACKED_UP, change(WRITE, OURS, before=False, settled=False), Kind.DELETE),
        (BACKED_UP, change(WRITE, None, before=False, settled=False), None),
        (BACKED_UP, change(WRITE, OURS, before=True, settled=False, backup=False), None),
        (VERSIONED, change(WRITE, OURS, before=True, backup=False), Kind.RESTORE),
        (VERSIONED, change(WRITE, OURS, before=False), Kind.RESTORE),
        (VERSIONED, change(REMOVE, None, before=True, backup=False), Kind.RESTORE),
        (VERSIONED, change(WRITE, THEIRS, before=True, backup=False), "changed"),
    ],
)
def test_a_key(facts, changed, expected):
    if isinstance(expected, str) and not isinstance(expected, Kind):
        with pytest.raises(ChangedSinceError, match=expected):
            decide_undo(changed, facts)
        return
    operation = decide_undo(changed, facts)
    assert (operation and operation.kind) == expected
    if operation is not None and changed.now is not None:
        assert operation.etag == changed.now.etag


def version(name: str, etag: str, modified: float, *, marker: bool = False) -> ObjectVersion:
    return ObjectVersion("k", name, etag, modified, marker)


OURS_NOW, OURS_TWICE = version("4", "ours", 1050.0), version("3", "ours", 1049.0)
BEFORE, LONG_BEFORE = version("2", "old", 900.0), version("1", "older", 800.0)
MARKER = version("5", "", 1051.0, marker=True)


@pytest.mark.parametrize(
    ("versions", "listed", "is_there", "expected"),
    [
        ([OURS_NOW, BEFORE, LONG_BEFORE], "old", True, "2"),
        ([OURS_NOW, OURS_TWICE, BEFORE], "old", True, "2"),
        ([MARKER, BEFORE, LONG_BEFORE], "old", False, "2"),
        ([OURS_NOW], "", True, None),
        ([OURS_NOW, OURS_TWICE], "", True, None),
        ([OURS_NOW, version("2", "", 900.0, marker=True), LONG_BEFORE], "", True, None),
        ([OURS_NOW, LONG_BEFORE], "old", True, None),
        # a metadata copy has the ETag of what was there
        ([version("4", "old", 1050.0), version("3", "old", 1049.0), BEFORE], "old", True, "2"),
    ],
)
def test_the_old_version(versions, listed, is_there, expected):
    found = find_old_version(versions, RestoreSpec(0, listed_etag=listed, since=BEGIN), is_there=is_there)
    assert (found and found.version) == expected


def backup(job: str, state: str, modified: float, continues: str = "", target: str = "b/www/") -> FoundBackup:
    manifest = {"state": state, "continues": continues, "target": target, "endpoint": ""}
    return FoundBackup(job, manifest, modified, 1, 1)


@pytest.mark.parametrize(
    ("found", "over", "ends"),
    [
        ([backup("1", "done", 10.0)], (), {"1": 10.0}),
        ([backup("1", "begun", 10.0)], (), {"1": None}),
        ([backup("1", "begun", 10.0)], ("1",), {"1": 10.0}),
        ([backup("1", "begun", 10.0), backup("2", "done", 30.0)], (), {"1": 30.0, "2": 30.0}),
        ([backup("1", "begun", 10.0), backup("2", "done", 30.0, target="b/other/")], (), {"1": None, "2": 30.0}),
        ([backup("1", "begun", 10.0), backup("2", "begun", 30.0, "1")], (), {"1": None, "2": None}),
        (
            [backup("1", "begun", 1.0), backup("2", "begun", 2.0, "1"), backup("3", "done", 90.0, "2")],
            (),
            {"1": 90.0, "2": 90.0, "3": 90.0},
        ),
    ],
)
def test_the_end_of_the_job_of_a_backup(found, over, ends):
    assert find_ends(found, over) == ends
