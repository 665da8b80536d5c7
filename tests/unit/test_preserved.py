"""Tests of the user metadata in which an object carries its file's time, mode and owner."""

from __future__ import annotations

import pytest

from s3batch.objects.preserved import (
    PreservedAttributes,
    decode_preserved,
    encode_preserved,
    format_mtime,
    is_same_preserved,
    parse_mtime,
)

NOTHING = PreservedAttributes()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_764_446_400_123_456_789, "1764446400.123456789"),
        (1_764_446_400_500_000_000, "1764446400.5"),
        (1_764_446_400_000_000_000, "1764446400"),
        (5, "0.000000005"),
        (0, "0"),
        (-1_500_000_000, "-1.5"),
    ],
)
def test_a_time_is_written_and_read_as_rclone_does(nanoseconds: int, text: str) -> None:
    assert format_mtime(nanoseconds) == text
    assert parse_mtime(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("7.", 7_000_000_000), (" 7 ", 7_000_000_000), ("1.1234567899", 1_123_456_789), ("07", 7_000_000_000)],
)
def test_other_spellings_of_a_time_are_read(text: str, nanoseconds: int) -> None:
    assert parse_mtime(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "x", "1e9", "1,5", "--1", "٣", "9" * 11, "9999999999", "1" * 9999, "nan", "1\n2"])
def test_a_text_that_is_no_time_is_no_time(text: str) -> None:
    assert parse_mtime(text) is None


@pytest.mark.parametrize(
    ("names", "metadata"),
    [
        ((), ()),
        (("mtime",), (("mtime", "1.5"),)),
        (("owner", "mtime"), (("mtime", "1.5"), ("uid", "1000"), ("gid", "100"))),
        (("mode",), (("mode", "100644"),)),
    ],
)
def test_only_what_is_named_is_written(names: tuple[str, ...], metadata: tuple[tuple[str, str], ...]) -> None:
    assert encode_preserved(names, 1_500_000_000, 0o100644, 1000, 100) == metadata


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({}, NOTHING),
        ({"mtime": "1.5"}, PreservedAttributes(mtime_ns=1_500_000_000)),
        ({"mode": "100640"}, PreservedAttributes(mode=0o640)),
        ({"mode": "640"}, PreservedAttributes(mode=0o640)),
        ({"mode": "104755"}, PreservedAttributes(mode=0o755)),  # setuid
        ({"mode": "33188"}, PreservedAttributes(mode=0o644)),  # decimal, of s3fs
        ({"mode": "33261"}, PreservedAttributes(mode=0o755)),  # the same, and its digits would do for octal
        ({"mode": "40755"}, NOTHING),  # a directory's
        ({"mode": "120777"}, NOTHING),  # a link's
        ({"mode": "rw-r--r--"}, NOTHING),
        ({"uid": "0", "gid": "10"}, PreservedAttributes(uid=0, gid=10)),
        ({"uid": "4294967295", "gid": "-1"}, NOTHING),  # chown takes them for "leave it"
        ({"uid": "root"}, NOTHING),
        (
            {"s3cmd-attrs": "atime:9/ctime:8/gid:100/gname:users/md5:d41d/mode:33188/mtime:7/uid:1000/uname:me"},
            PreservedAttributes(7_000_000_000, 0o644, 1000, 100),
        ),
        ({"s3cmd-attrs": "mtime:7/mode:33188", "mtime": "8"}, PreservedAttributes(8_000_000_000, 0o644)),
        ({"s3cmd-attrs": "mtime:7", "mtime": "rubbish"}, PreservedAttributes(7_000_000_000)),
        ({"s3cmd-attrs": "/::/mtime/mtime:x/uid:"}, NOTHING),
    ],
)
def test_metadata_is_read(metadata: dict[str, str], found: PreservedAttributes) -> None:
    assert decode_preserved(metadata.items()) == found


@pytest.mark.parametrize(
    ("name", "wanted", "found", "same"),
    [
        ("mtime", "1.5", "1.5", True),
        ("mtime", "1.5", "1.500000000", True),
        ("mtime", "1.5", "1", False),
        ("mtime", "1.5", "", False),
        ("mtime", "99999999999", "", False),  # beyond what is read
        ("mode", "100644", "33188", True),
        ("mode", "100644", "100600", False),
        ("uid", "7", "07", True),
        ("uid", "7", "x", False),
    ],
)
def test_what_an_object_carries_is_compared_as_numbers(name: str, wanted: str, found: str, same: bool) -> None:
    assert is_same_preserved(name, wanted, found) is same
