"""Rows that are all written alike are cut out of a page; a page with any other row is left to the general readers."""

from __future__ import annotations

import pytest

from s3batch.model import ListedObject
from s3batch.s3.documents import MalformedResponseError
from s3batch.s3.listing import parse_page
from s3batch.s3.listing_rows import read_uniform_rows

ROW = (
    "<Contents><Key>{}</Key><LastModified>2026-11-29T08:00:0{}.000Z</LastModified><ETag>&quot;{}&quot;</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
ROWS = [("a", 1, "0f-2", 7), ("b%20c+d", 2, "", 0), ("caf\u00e9", 3, "e\u00e9", 10**18 - 1)]
FRONT = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
)
END = "</ListBucketResult>"
GOOD = FRONT + "".join(ROW.format(*row) for row in ROWS) + END


def test_all_rows_of_a_page_are_read() -> None:
    found = read_uniform_rows(GOOD.encode())

    assert found is not None
    assert (found.keys, found.etags, found.sizes) == tuple([row[at] for row in ROWS] for at in (0, 2, 3))
    assert found.outside == (FRONT + END).encode()
    first = parse_page(GOOD.encode()).objects[1]
    assert first == ListedObject("b c d", 0, "", 1795939202.0)


def test_a_name_that_is_not_utf_8_keeps_its_bytes() -> None:
    page = GOOD.encode().replace("caf\u00e9".encode(), b"caf\xe9")

    assert read_uniform_rows(page).keys[2] == "caf\udce9"
    assert parse_page(page).objects[2].key == "caf\udce9"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Size>0</Size>", "<Size>0</Size><Size>1</Size>"),
        ("<Size>0</Size>", "<Size></Size>"),
        ("<Size>0</Size>", "<Size>-1</Size>"),
        ("<Size>0</Size>", "<Size>\u0663</Size>"),
        ("<Size>0</Size>", f"<Size>{10**18}</Size>"),
        ("02.000Z", "02.000"),
        ("02.000Z", "02.000z"),
        ("2026-11-29T08:00:02", "\u0662026-11-29T08:00:02"),
        ("b%20c+d", "b&amp;c"),
        ("b%20c+d", "b\1c"),
        ("b%20c+d", "b</Key><LastModified>c"),
        ("e\u00e9", 'e"'),
        ("<Key>b%20c+d</Key>", "<Key>b</Key><!-- c -->"),
        ("</Contents><Contents><Key>b", "</Contents><Foo/><Contents><Key>b"),
        ("<StorageClass>STANDARD</StorageClass></Contents><Contents><Key>caf", "</Contents><Contents><Key>caf"),
        ("<Contents><Key>b", "<CommonPrefixes><Prefix>x</Prefix></CommonPrefixes><Contents><Key>b"),
    ],
)
def test_another_row_leaves_the_page_to_the_general_readers(old: str, new: str) -> None:
    assert old in GOOD
    assert read_uniform_rows(GOOD.replace(old, new, 1).encode()) is None


@pytest.mark.parametrize(
    "page",
    [
        GOOD.removesuffix(END),
        GOOD.replace(END, "<Foo>" + END),
        GOOD.replace(FRONT, FRONT + '<Foo a="'),
        GOOD.replace(FRONT, FRONT + "<Foo a='>").replace(END, "'/>" + END),
        GOOD.replace(FRONT, FRONT + "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>"),
        GOOD.replace("<IsTruncated>false", "<IsTruncated>true"),
        GOOD.replace("ListBucketResult", "Error"),
        GOOD.replace("2026-11-29T08:00:02", "2026-13-29T08:00:02"),
        GOOD.replace(">STANDARD<", ">&foo;<"),
    ],
)
def test_a_page_that_is_not_whole_or_no_listing_is_malformed(page: str) -> None:
    with pytest.raises(MalformedResponseError):
        parse_page(page.encode())


@pytest.mark.parametrize("front", ["<!-- x -->", "<Foo>1</Foo>", "  \n "])
def test_what_stands_around_the_rows_changes_none_of_them(front: str) -> None:
    assert parse_page(GOOD.replace(FRONT, FRONT + front).encode()) == parse_page(GOOD.encode())
