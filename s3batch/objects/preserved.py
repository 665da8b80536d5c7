"""The user metadata in which an object carries the time, mode and owner of its file. Pure: texts and numbers.

    mtime          1764446400.123456789     seconds since the epoch, as rclone writes and reads them
    mode           100644                   octal, with the type of the file, as rclone --metadata
    uid, gid       1000                     numbers, as rclone --metadata
    s3cmd-attrs    mode:33188/mtime:17...   s3cmd's; read only, for what the names above do not give

What an object says is not trusted: a text that is not of its form, or out of range, counts as missing.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

PRESERVABLE = ("mtime", "mode", "owner")
"""What ``--preserve`` may name."""
_NAMES = {"mtime": ("mtime",), "mode": ("mode",), "owner": ("uid", "gid")}
_S3CMD = "s3cmd-attrs"
_SECONDS = r"(-?)([0-9]{1,10})(?:\.([0-9]{0,9})[0-9]{0,20})?"  # these are compiled where they are needed: few jobs do
_ID = r"[0-9]{1,10}"
_MODE = r"[0-7]{1,7}"
_NANOSECONDS = 10**9
_LATEST = 2**63
"""Nanoseconds: a time beyond it fits neither a stamp nor rclone."""
_NO_ID = 2**32 - 1
"""chown takes it for "leave it"."""
_PERMISSIONS = 0o777


class PreservedAttributes(NamedTuple):
    """The time, mode and owner of a file. ``None``: not known."""

    mtime_ns: int | None = None
    mode: int | None = None
    """The permissions alone: neither setuid, setgid nor sticky comes from metadata."""
    uid: int | None = None
    gid: int | None = None


def encode_preserved(
    names: Collection[str], mtime_ns: int, mode: int = 0, uid: int = 0, gid: int = 0
) -> tuple[tuple[str, str], ...]:
    """Return the metadata for those of :data:`PRESERVABLE` that ``names`` holds. ``mode`` is an ``st_mode``."""
    texts = {"mtime": format_mtime(mtime_ns), "mode": f"{mode:o}", "uid": str(uid), "gid": str(gid)}
    return tuple((name, texts[name]) for each in PRESERVABLE if each in names for name in _NAMES[each])


def decode_preserved(metadata: Iterable[tuple[str, str]]) -> PreservedAttributes:
    """Return what user metadata tells of a file; names are in lower case, without ``x-amz-meta-``."""
    found = dict(metadata)
    theirs = dict(_split_s3cmd(found.get(_S3CMD, "")))
    return PreservedAttributes(
        _choose_known(parse_mtime(found.get("mtime", "")), parse_mtime(theirs.get("mtime", ""))),
        _choose_known(_parse_octal_mode(found.get("mode", "")), _parse_decimal_mode(theirs.get("mode", ""))),
        _choose_known(_parse_owner_id(found.get("uid", "")), _parse_owner_id(theirs.get("uid", ""))),
        _choose_known(_parse_owner_id(found.get("gid", "")), _parse_owner_id(theirs.get("gid", ""))),
    )


def is_same_preserved(name: str, wanted: str, found: str) -> bool:
    """Return whether two values of one name are equal, whatever the spelling of their numbers."""
    return wanted == found or (found != "" and decode_preserved([(name, wanted)]) == decode_preserved([(name, found)]))


def format_mtime(nanoseconds: int) -> str:
    """Return seconds as rclone writes them: ``1764446400.5``, without zeros at the end."""
    sign = "-" if nanoseconds < 0 else ""
    whole, fraction = divmod(abs(nanoseconds), _NANOSECONDS)
    return f"{sign}{whole}.{fraction:09d}".rstrip("0").rstrip(".")


def parse_mtime(text: str) -> int | None:
    """Return the nanoseconds of seconds such as ``1764446400.5``; digits beyond the ninth are cut off."""
    found = re.fullmatch(_SECONDS, text.strip())
    if found is None:
        return None
    sign, whole, fraction = found.groups(default="")
    nanoseconds = int(whole) * _NANOSECONDS + int(fraction.ljust(9, "0"))
    nanoseconds = -nanoseconds if sign else nanoseconds
    return nanoseconds if -_LATEST <= nanoseconds < _LATEST else None


def _parse_octal_mode(text: str) -> int | None:
    """Return the permissions of an octal mode; also of the decimal one that s3fs writes under the same name."""
    text = text.strip()
    if re.fullmatch(_MODE, text):
        mode = int(text, 8)
        if stat.S_ISREG(mode) or not stat.S_IFMT(mode):
            return mode & _PERMISSIONS
    return _parse_decimal_mode(text)


def _parse_decimal_mode(text: str) -> int | None:
    number = _parse_owner_id(text)
    return number & _PERMISSIONS if number is not None and stat.S_ISREG(number) else None


def _parse_owner_id(text: str) -> int | None:
    number = int(text) if re.fullmatch(_ID, text.strip()) else _NO_ID
    return number if number < _NO_ID else None


def _split_s3cmd(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("/"):
        name, colon, value = pair.partition(":")
        if colon:
            yield name.strip().lower(), value


def _choose_known(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
