"""What an undo does with one key; which old version it takes; when a backup's job has ended."""

from __future__ import annotations

import pytest

from s3batch.commands.undo.decide import ChangedSinceError, UndoFacts, decide_undo
from s3batch.commands.undo.prune import FoundBackup, find_ends
from s3batch.journal.reversals import ChangedKey
from s3batch.model import Kind, ListedObject, Operation, Reason, RestoreSpec, WrittenVersion
from s3batch.s3.document_values import ObjectVersion
from s3batch.s3.requests import Response
from s3batch.worker.restore import find_old_version, require_last_version
from s3batch.worker.results import RefusedChangeError
from s3batch.worker.versions import note_version

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
        # of the same second, with the same ETag
        (BACKED_UP, change(WRITE, OURS, before=True)._replace(later=True), "a later job changed"),
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


@pytest.mark.parametrize(
    ("versions", "first", "before", "listed", "expected"),
    [
        # another program has written the old content again since, and in the second in which the job began
        (
            [version("6", "old", 1000.2), version("4", "ours", 1000.1), version("3", "old", 1000.0), BEFORE],
            "4",
            "",
            "old",
            "3",
        ),
        # what the job created is known by the marker before it, whatever else was there
        ([OURS_NOW, version("3", "", 1000.9, marker=True), version("2", "old", 1000.5)], "4", "", "", None),
        # a store that lists markers apart, in one second
        ([OURS_NOW, version("2", "old", 1000.0), version("3", "", 1000.0, marker=True)], "4", "", "", None),
        ([OURS_NOW, version("3", "", 1000.0, marker=True), version("2", "old", 1000.0)], "4", "", "old", "2"),
        # a HEAD told the version, and a copy keeps the ETag
        ([OURS_NOW, version("3", "old", 1000.1), version("2", "old", 1000.0)], "4", "2", "old", "2"),
        ([OURS_NOW, version("3", "old", 1000.1)], "4", "2", "old", None),
        # another version came between: ETag and time decide
        ([OURS_NOW, version("3", "theirs", 1049.0), BEFORE], "4", "", "old", "2"),
        ([OURS_NOW, BEFORE], "gone", "", "old", "2"),
    ],
)
def test_version_ids_tell_the_old_version(versions, first, before, listed, expected):
    spec = RestoreSpec(0, listed_etag=listed, since=BEGIN, first=first, before=before)
    found = find_old_version(versions, spec, is_there=True)
    assert (found and found.version) == expected


@pytest.mark.parametrize(("told", "attempts", "recheck", "expected"), [
    ({"x-amz-version-id": "2"}, 0, False, WrittenVersion("2", "1")),
    ({"x-amz-version-id": "2"}, 1, False, None),  # an earlier try may have written one too
    ({"x-amz-version-id": "2"}, 0, True, None),
    ({"x-amz-version-id": "null"}, 0, False, None),
    ({}, 0, False, None),
])  # fmt: skip
def test_version_ids_are_told_of_a_change_that_was_tried_once(told, attempts, recheck, expected):
    operation = Operation(Kind.UPLOAD, "k", Reason.CONTENT, attempts=attempts, recheck=recheck)
    head = Response(200, {"x-amz-version-id": "1"}, b"")
    assert note_version(operation, Response(200, told, b""), head) == expected


def test_an_object_of_another_version_than_the_job_wrote_is_left_alone():
    """ETag and time may be equal: another program has written the same content in the same second."""
    head = Response(200, {"x-amz-version-id": "6", "etag": '"ours"'}, b"")
    require_last_version(RestoreSpec(0, last="6"), head)
    require_last_version(RestoreSpec(0), head)
    require_last_version(RestoreSpec(0, last="5"), Response(200, {"etag": '"ours"'}, b""))
    with pytest.raises(RefusedChangeError, match="changed since"):
        require_last_version(RestoreSpec(0, last="5"), head)


SECOND = "20261130-065712"


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
        # no job continues itself, or one that continues it: somebody else wrote these manifests
        ([backup("1", "done", 10.0, "1")], (), {"1": 10.0}),
        ([backup("1", "done", 10.0, "2"), backup("2", "done", 30.0, "1")], (), {"1": 30.0, "2": 30.0}),
        ([backup("1", "done", 10.0, "2"), backup("2", "begun", 30.0, "1")], (), {"1": None, "2": None}),
        (
            [backup("1", "done", 1.0, "3"), backup("2", "done", 2.0, "1"), backup("3", "done", 9.0, "2")],
            (),
            {"1": 9.0, "2": 9.0, "3": 9.0},
        ),
        ([backup("1", "done", 10.0, "1"), backup("2", "done", 30.0, "1")], (), {"1": 30.0, "2": 30.0}),
        # two of one second: the rest of an id is random
        (
            [backup(f"{SECOND}-f82860", "done", 12.0), backup(f"{SECOND}-f69f66", "begun", 12.0)],
            (),
            {f"{SECOND}-f82860": 12.0, f"{SECOND}-f69f66": None},
        ),
        (
            [backup(f"{SECOND}-f82860", "begun", 12.0), backup(f"{SECOND}-f69f66", "done", 12.5)],
            (),
            {f"{SECOND}-f82860": 12.5, f"{SECOND}-f69f66": 12.5},
        ),
    ],
)
def test_the_end_of_the_job_of_a_backup(found, over, ends):
    assert find_ends(found, over) == ends
