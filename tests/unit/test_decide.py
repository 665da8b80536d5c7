"""What is to be done for one file, row by row."""

from __future__ import annotations

import pytest

from s3batch.journal.specs import decode_spec, encode_spec
from s3batch.model import (
    AttributesChanged,
    Kind,
    KnownAttributes,
    KnownContent,
    KnownObject,
    KnownWhole,
    ListedObject,
    Operation,
    Reason,
)
from s3batch.plan.decide import choose_part_size, decide_operation, decide_unlisted, split_into_parts
from tests.rig.stamps import local_file

FILE = local_file("a.txt", 5)
LISTED = ListedObject("t/a.txt", 5, "e", 100.0)
LOCAL = FILE.stamp
KNOWN = KnownObject("e", 5, LOCAL, 100.0, "F", "C")
ELSEWHERE = LOCAL._replace(inode=-1)
UPLOAD, RECONCILE = Kind.UPLOAD, Kind.RECONCILE


@pytest.mark.parametrize(
    ("listed", "known", "wanted"),
    [
        pytest.param(None, None, (UPLOAD, Reason.MISSING, None), id="no object"),
        pytest.param(None, KNOWN, (UPLOAD, Reason.MISSING, None), id="an object that was ours and is gone"),
        pytest.param(LISTED._replace(size=6), None, (UPLOAD, Reason.CONTENT, None), id="another size"),
        pytest.param(LISTED, None, (RECONCILE, Reason.UNKNOWN, None), id="the same size and nothing known"),
        pytest.param(LISTED, KNOWN, None, id="file and object as we left them"),
        pytest.param(
            LISTED, KNOWN._replace(fingerprint="G"), (RECONCILE, Reason.UNKNOWN, KnownContent()), id="other attributes"
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=LOCAL._replace(mtime_ns=9)), (RECONCILE, Reason.UNKNOWN, KnownAttributes("C")),
            id="touched",
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=LOCAL._replace(ctime_ns=9)), (RECONCILE, Reason.UNKNOWN, KnownAttributes("C")),
            id="built anew with the same size, time and inode",
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=ELSEWHERE, checksum=""), (RECONCILE, Reason.UNKNOWN, KnownAttributes("")),
            id="another checkout, no checksum noted",
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=ELSEWHERE, fingerprint="G"), (RECONCILE, Reason.UNKNOWN, AttributesChanged()),
            id="another checkout and other attributes",
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=ELSEWHERE._replace(size=4)), (RECONCILE, Reason.UNKNOWN, None),
            id="another size before",
        ),
        pytest.param(LISTED._replace(etag="f"), KNOWN, (RECONCILE, Reason.UNKNOWN, None), id="somebody else's object"),
        pytest.param(
            LISTED._replace(modified=102.0), KNOWN, (RECONCILE, Reason.UNKNOWN, None), id="written again since, all alike"
        ),
    ],
)  # fmt: skip
def test_a_file_needs(listed, known, wanted) -> None:
    found = decide_operation(FILE, "t/a.txt", listed, known, "F", stage=2, gzip=False)

    if wanted is None:
        assert found is None
        return
    kind, reason, spec = wanted
    etag = listed.etag if listed else ""
    assert found == Operation(kind, "t/a.txt", reason, "a.txt", 5, LOCAL, 2, etag, spec)


@pytest.mark.parametrize(
    ("known", "spec"),
    [
        pytest.param(KNOWN._replace(local=LOCAL._replace(mtime_ns=9)), AttributesChanged(), id="touched"),
        pytest.param(KNOWN._replace(local=LOCAL._replace(ctime_ns=9)), None, id="perhaps another mode or owner"),
        pytest.param(KNOWN._replace(fingerprint="G"), KnownContent(), id="preserved from now on"),
    ],
)
def test_a_preserved_file_with_another_stamp_is_compared_with_its_object(known, spec) -> None:
    found = decide_operation(FILE, "t/a.txt", LISTED, known, "F", stage=0, gzip=False, preserves=True)

    assert found is not None
    assert (found.kind, found.spec) == (RECONCILE, spec)


def test_a_preserved_file_with_its_stamp_needs_nothing() -> None:
    assert decide_operation(FILE, "t/a.txt", LISTED, KNOWN, "F", stage=0, gzip=False, preserves=True) is None


@pytest.mark.parametrize(
    ("known", "gzip", "spec"),
    [
        pytest.param("Fz", True, KnownContent(), id="compressed before and now"),
        pytest.param("Fz", False, AttributesChanged(), id="compressed before, and by chance as long as the file"),
        pytest.param("F", True, AttributesChanged(), id="compressed now"),
    ],
)
def test_other_attributes_leave_the_content_alone_unless_compression_is_one_of_them(known, gzip, spec) -> None:
    found = decide_operation(FILE, "t/a.txt", LISTED, KNOWN._replace(fingerprint=known), "G", stage=0, gzip=gzip)

    assert found is not None
    assert (found.kind, found.spec) == (Kind.RECONCILE, spec)


def test_the_size_of_a_compressed_object_says_nothing() -> None:
    found = decide_operation(FILE, "t/a.txt", LISTED._replace(size=3), None, "F", stage=0, gzip=True)

    assert found is not None
    assert found.kind is Kind.RECONCILE


def test_parts_grow_until_ten_thousand_are_enough() -> None:
    assert choose_part_size(10_000 * 16, 16) == 16
    assert choose_part_size(10_000 * 16 + 1, 16) == 32


def test_parts_cover_the_file_once() -> None:
    assert split_into_parts(25, 10) == [(1, 0, 10), (2, 10, 10), (3, 20, 5)]


@pytest.mark.parametrize(
    ("known", "etag", "spec"),
    [
        pytest.param(None, "", None, id="nothing known"),
        pytest.param(KNOWN, "e", KnownWhole(100.0), id="file and attributes as we left them"),
        pytest.param(KNOWN._replace(fingerprint="G"), "e", KnownContent(), id="other attributes"),
        pytest.param(
            KNOWN._replace(local=ELSEWHERE), "", None, id="touched: an ETag of the journal is not a listed one"
        ),
        pytest.param(
            KNOWN._replace(local=ELSEWHERE, fingerprint="G"), "", AttributesChanged(), id="touched, and others"
        ),
    ],
)
def test_a_file_whose_key_was_not_listed_is_compared_with_its_object(known, etag, spec) -> None:
    found = decide_unlisted(FILE, "t/a.txt", known, "F", stage=0, gzip=False)

    assert (found.kind, found.etag, found.spec) == (RECONCILE, etag, spec)
    assert decode_spec(RECONCILE, encode_spec(spec)) == spec
