"""The rows of a listing whose page writes all of them alike, as stores do: cut out of its bytes by a few replacements.

    <Contents><Key>KEY</Key><LastModified>TIME</LastModified><ETag>&quot;ETAG&quot;</ETag><Size>SIZE</Size></Contents>
    └── head ─────┘   └── to time ───────┘    └─── to ETag ────────────┘    └── to size ────┘    └── tail ──────┘

The first row tells the frames. Each frame becomes one mark, and the marks have to come in order, row after row. What is
between them is then a value, and holds no markup. A page of 1,000 rows takes a quarter of the time of a regular expression.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from s3batch.base.named_tuple import NamedTuple

_QUOTE = rb'(?:"|&quot;|&\#34;)'
_BEGIN, _END = b"<Contents>", b"</Contents>"
_MARKS = b"\1\2\3\4"
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_ONE_MARK = bytes.maketrans(_MARKS, b"\1" * len(_MARKS))
_MOMENT = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,12})?Z"
_LONGEST_SIZE = 18
"""Digits that fit the journal's numbers."""


class UniformRows(NamedTuple):
    """The rows of a page by column, and the document without them."""

    keys: list[str]
    """The keys as they are written."""
    times: list[str]
    etags: list[str]
    sizes: list[int]
    outside: bytes


def read_uniform_rows(data: bytes) -> UniformRows | None:
    """Return the rows of a page; ``None`` if it has none, or they are not all written alike."""
    begin, end = data.find(_BEGIN), data.rfind(_END) + len(_END)
    first = _compile_first_row().match(data, begin) if begin >= 0 else None
    if first is None:
        return None
    head, to_time, to_etag, to_size, tail, gap = first.groups()
    before, after = data[:begin].rstrip(), data[end:].lstrip()
    if not (before.endswith(b">") and after.startswith(b"<") and data.endswith(tail, begin, end)):
        return None
    body = data[begin + len(head) : end - len(tail)]
    if body.translate(None, _MARKS) != body:
        return None
    for mark, frame in enumerate((to_time, to_etag, to_size, tail + gap + head), 1):
        body = body.replace(frame, bytes([mark]))
    marks = body.translate(None, _OTHERS)
    if b"<" in body or b"&" in body or marks != (_MARKS * (len(marks) // len(_MARKS) + 1))[:-1]:
        return None
    texts = body.translate(_ONE_MARK).decode("utf-8", "surrogateescape").split("\1")
    keys, times, etags, sizes = texts[::4], texts[1::4], texts[2::4], texts[3::4]
    digits = "".join(sizes)
    if '"' in "".join(etags) or not (digits.isascii() and digits.isdigit()) or not _are_sizes(sizes):
        return None
    if not all(map(_is_moment, times)):
        return None
    return UniformRows(keys, times, etags, list(map(int, sizes)), before + after)


@cache  # when there is a row: it takes 0.5 ms
def _compile_first_row() -> re.Pattern[bytes]:
    return re.compile(
        rb"""(<Contents>\s*<Key>)[^<&]*
    (</Key>\s*<LastModified>)[^<&]*
    (</LastModified>\s*<ETag>%b)[^<&"]*
    (%b</ETag>\s*(?:<(?:ChecksumAlgorithm|ChecksumType)>[^<&]*</[A-Za-z]*>\s*)*<Size>)[^<&]*
    (</Size>\s*(?:<StorageClass>[^<&]*</StorageClass>\s*)?</Contents>)(\s*)"""
        % (_QUOTE, _QUOTE),
        re.VERBOSE,
    )


def _are_sizes(texts: list[str]) -> bool:
    lengths = list(map(len, texts))
    return min(lengths) > 0 and max(lengths) <= _LONGEST_SIZE


@lru_cache(maxsize=4096)
def _is_moment(text: str) -> bool:
    return text.isascii() and re.fullmatch(_MOMENT, text) is not None
