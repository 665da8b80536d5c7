"""JSON documents written piece by piece, so that memory does not grow with their lists.

document ─pieces→ text, exactly as json.dumps(document, indent=2) gives it
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import IO, Any

from s3batch.base.errors import JournalError

_IN_MEMORY = 1 << 20
"""Bytes that are kept before there is a file."""
_ROWS = 500
"""Rows in one piece of text."""
_BLOCK = 1 << 16
_ANOTHER = "name another --journal"
_LINE_BREAK = r"\n *"
_encode_flat = json.JSONEncoder(separators=(",\n      ", ": "), allow_nan=False).encode


class Rows:
    """A list in a document. Its rows are made again each time it is read."""

    def __init__(self, read: Callable[[], Iterator[Any]], count: int) -> None:
        """Take ``read``, which yields the ``count`` rows."""
        self._read = read
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return self._read() if self._count else iter(())  # most jobs have no failure: no row is looked at for one


class Spool:
    """A list in a document. The text of its rows waits in an unnamed temporary file, in the order they were added."""

    def __init__(self) -> None:
        self._kept = _TemporaryText()
        self._count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row. Raises JournalError where the temporary directory is full."""
        self._kept.write((",\n    " if self._count else "[\n    ") + _format_json_row(row))
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def read_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows again."""
        text = ""
        for line in chain.from_iterable(self._kept.blocks()):
            text += line
            if line.startswith("    }"):
                yield json.loads(text.strip("[, \n"))
                text = ""

    def pieces(self) -> Iterator[str]:
        """Yield the text of the list."""
        yield from map("".join, self._kept.blocks())
        yield "\n  ]" if self._count else "[]"


class Collected:
    """A list of whole documents, kept as their text."""

    def __init__(self) -> None:
        self._kept = _TemporaryText()

    def write(self, text: str) -> None:
        """Add a piece of a document. Each ends with a line break of its own."""
        self._kept.write(text)

    def pieces(self) -> Iterator[str]:
        """Yield the text of the list."""
        before = "[\n"
        for line in chain.from_iterable(self._kept.blocks()):
            yield f"{before}    {line.rstrip()}"
            before = ",\n" if line == "}\n" else "\n"
        yield "[]" if before == "[\n" else "\n  ]"


def iterate_document_text(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of a document, without a line break at its end."""
    before = "{\n"
    for name, value in document.items():
        yield f"{before}  {json.dumps(name)}: "
        if isinstance(value, Spool | Collected):
            yield from value.pieces()
        elif isinstance(value, Rows):
            yield from _iterate_list_text(iter(value))
        else:
            yield _indent_json(value, "  ")
        before = ",\n"
    yield "{}" if before == "{\n" else "\n}"


def make_plain_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of plain lists and maps, which a program may keep when the journal is closed."""
    plain: dict[str, Any] = json.loads("".join(iterate_document_text(document)))
    return plain


def iterate_line_text(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of a document as one line, with a line break at its end."""
    for piece in iterate_document_text(document):
        yield re.sub(_LINE_BREAK, "", piece)  # a line break inside a string is an escape
    yield "\n"


def _iterate_list_text(rows: Iterator[Any]) -> Iterator[str]:
    before = "[\n    "
    while some := list(map(_format_json_row, islice(rows, _ROWS))):
        yield before + ",\n    ".join(some)
        before = ",\n    "
    yield "[]" if before == "[\n    " else "\n  ]"


def _format_json_row(row: Mapping[str, Any]) -> str:
    if not row or any(isinstance(value, dict | list | tuple) for value in row.values()):
        return _indent_json(row, "    ")
    try:
        text = _encode_flat(row)  # 2 us in place of 15: json.dumps indents in Python
    except ValueError as error:
        raise _impossible_number(error) from error
    return f"{{\n      {text[1:-1]}\n    }}"


def _indent_json(value: Any, indent: str) -> str:
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise _impossible_number(error) from error
    return text.replace("\n", f"\n{indent}")  # a line break inside a string is an escape


def _impossible_number(error: ValueError) -> JournalError:
    """Return the error for a number that JSON does not have: only another program can have written it to a journal."""
    return JournalError(f"the journal is damaged: a number of the report is not finite ({error})", hint=_ANOTHER)


class _TemporaryText:
    """Text in a file that has no name. It is written first and read then."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def write(self, text: str) -> None:
        if self._file is None:
            import tempfile  # noqa: PLC0415 - few documents need it

            self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it goes with its last user
        try:
            self._file.write(text.encode())
        except OSError as error:
            raise JournalError(
                f"the temporary directory cannot keep what this run reports: {error.strerror}",
                hint="set TMPDIR to one with more room",
            ) from error

    def blocks(self) -> Iterator[list[str]]:
        """Yield the lines from the first one on, some at a time."""
        if self._file is None:
            return
        self._file.seek(0)
        while block := self._file.readlines(_BLOCK):
            yield [line.decode() for line in block]
