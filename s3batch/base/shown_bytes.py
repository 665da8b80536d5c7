"""Bytes that are not UTF-8, as people see them. A file's name may hold some, and so may a key."""

from __future__ import annotations

import re

_BYTE = re.compile(r"[\udc80-\udcff]|(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")
"""Such a byte as ``os.fsdecode`` makes it, or as ``repr`` shows it: after an odd number of backslashes."""


def show_bytes(text: str) -> str:
    r"""Return ``text`` with ``\xff`` in the place of each byte that is not UTF-8, also where ``repr`` has been."""
    if text.isascii() and "\\udc" not in text:
        return text
    return _BYTE.sub(_show_byte, text)


def _show_byte(found: re.Match[str]) -> str:
    if found[2]:
        return f"{found[1]}\\x{found[2]}"
    return f"\\x{ord(found[0]) - 0xDC00:02x}"
