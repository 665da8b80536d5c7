"""Reads S3's documents as XML: linear in time, bounded in depth, without a document type.

:func:`check_document` proves that a text is a whole document; the listing's own reader may then cut its rows out of it.
:func:`read_document` gives the elements of any document. Both read keys that XML 1.0 cannot hold (control characters,
bytes that are not UTF-8), because some stores write them as they are. The functions behind them make values of texts.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from s3batch.base.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.s3.requests import Body

_DEPTH = 32  # levels; the documents of S3 that are read here have fewer than ten
_HEAD = 64 * 1024
"""Bytes of a body that show whether it is a document at all."""
_OUTSIDE = 0xF0000
"""Where characters that XML cannot hold stay while it is read: a private area that no key uses."""
_ILLEGAL = "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
_REFERENCE = r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));"
_KEPT_OUTSIDE = f"[{chr(_OUTSIDE)}-{chr(_OUTSIDE + 0xFFFF)}]"

_EPOCH = date(1970, 1, 1).toordinal()
_LARGEST = 2**63 - 1
"""The journal's largest number, far beyond S3's largest object."""
_NUMBER = re.compile(r"[0-9]{1,19}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_FRACTION = re.compile(r"\.\d{1,12}")


class MalformedResponseError(ValueError):
    """The response is not S3's: cut, of another request, or some proxy's page."""


class Element(NamedTuple):
    """One element by its local name, with the texts of its children."""

    name: str
    children: dict[str, str]


class Document(NamedTuple):
    """The document that :func:`read_document` found."""

    root: str
    top: dict[str, str]
    """Children of the root and their texts."""
    elements: list[Element]
    """The elements that were asked for, in the order of their ends."""

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the children of each element called ``name``."""
        return [element.children for element in self.elements if element.name == name]


def check_document(body: Body) -> None:
    """Raise :class:`MalformedResponseError` unless ``body`` is a whole, well-formed document."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        _read_strange(body, frozenset(), error)


def read_document(body: Body, *names: str) -> Document:
    """Return the root of ``body``, and its elements called one of ``names``."""
    wanted = frozenset(names)
    try:
        return _Reader(wanted).read(bytes(body))
    except expat.ExpatError as error:
        return _read_strange(body, wanted, error)


def _read_strange(body: Body, wanted: frozenset[str], error: expat.ExpatError) -> Document:
    """Read a document once more whose characters may be all that is wrong with it.

    Its head is read first: most bodies of another kind are wrong there, and moving characters is slow.
    """
    try:
        _Reader(wanted, moved=True).read(_move_characters(bytes(body[:_HEAD])), is_whole=False)
        return _Reader(wanted, moved=True).read(_move_characters(bytes(body)))
    except expat.ExpatError as again:
        raise _malformed_document(body, again) from error


def _move_characters(body: bytes) -> str:
    """Return the text of ``body`` with each character that XML cannot hold moved outside."""
    text = body.decode("utf-8", "surrogateescape")
    return re.sub(_REFERENCE, _keep_reference, re.sub(_ILLEGAL, lambda found: _move_character(ord(found[0])), text))


def _move_character(code: int) -> str:
    return chr(_OUTSIDE + code)


def _keep_reference(found: re.Match[str]) -> str:
    """Return a reference as it is, or the character that XML cannot hold out of harm's way."""
    code = int(found[1], 16) if found[1] else int(found[2])
    return _move_character(code) if code <= 0xFFFF and re.match(_ILLEGAL, chr(code)) else found[0]


def _moved_back(text: str) -> str:
    return re.sub(_KEPT_OUTSIDE, lambda found: chr(ord(found[0]) - _OUTSIDE), text)


def _malformed_document(body: Body, error: Exception) -> MalformedResponseError:
    return MalformedResponseError(f"not a whole document ({error}): {bytes(body[:80])!r}")


def _refuse_doctype(*_: object) -> NoReturn:
    raise MalformedResponseError("a document type, which S3 never sends")


class _Reader:
    """Collects elements while expat reads."""

    def __init__(self, wanted: frozenset[str], *, moved: bool = False) -> None:
        self._wanted = wanted
        self._moved = moved
        self._stack: list[tuple[str, list[str], dict[str, str]]] = []
        self._found: list[Element] = []
        self._root: tuple[str, dict[str, str]] = ("", {})

    def read(self, body: bytes | str, *, is_whole: bool = True) -> Document:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(body, is_whole)
        return Document(*self._root, self._found)

    def _start(self, name: str, _: object) -> None:
        if len(self._stack) >= _DEPTH:
            raise MalformedResponseError(f"a document of more than {_DEPTH} levels")
        self._stack.append((name.rpartition(":")[2], [], {}))

    def _text(self, text: str) -> None:
        self._stack[-1][1].append(text)

    def _end(self, _: str) -> None:
        name, texts, children = self._stack.pop()
        if name in self._wanted:
            self._found.append(Element(name, children))
        elif self._stack:
            text = "".join(texts)
            self._stack[-1][2][name] = _moved_back(text) if self._moved else text
        if not self._stack:
            self._root = (name, children)


# --- the texts of elements -----------------------------------------------------------------


def expect_root(document: Document, *roots: str) -> None:
    """Raise :class:`MalformedResponseError` unless the document has one of these roots."""
    if document.root not in roots:
        raise MalformedResponseError(f"a document {document.root[:40]!r}, not {roots[0]}")


def is_truncated(top: Mapping[str, str]) -> bool | None:
    """Return ``IsTruncated``; ``None`` if it is left out."""
    text = top.get("IsTruncated")
    if text is None:
        return None
    said = {"true": True, "false": False}.get(text.strip().lower())
    if said is None:
        raise MalformedResponseError(f"IsTruncated is {text[:40]!r}")
    return said


def parse_number(text: str) -> int:
    """Return the number ``text`` is. Raises :class:`MalformedResponseError` for none, or one too large to be true."""
    text = text.strip()
    if not _NUMBER.match(text) or (value := int(text)) > _LARGEST:
        raise MalformedResponseError(f"{text[:40]!r} where a number should be")
    return value


def decode_references(text: str) -> str:
    """Return ``text`` with its references, such as ``&amp;``, decoded."""
    if "&" not in text:
        return text
    import html  # noqa: PLC0415 - it has a large table, and few texts have a reference

    return html.unescape(text)


def bare_etag(etag: str) -> str:
    """Return an ETag without its quotes, in any notation: SeaweedFS sends ``&#34;``."""
    etag = etag.replace("&quot;", "")
    return decode_references(etag).strip('"')


def parse_moment(text: str) -> float:
    """Return ``2026-11-21T20:15:00.123Z`` in seconds since the epoch; some stores write two digits, some nine."""
    seconds = parse_seconds(text[:19])  # up to the seconds: equal for many objects, so it is cached
    if text[19:20] == "." and (fraction := _FRACTION.match(text, 19)):
        return seconds + float(fraction[0])
    return seconds


@lru_cache(maxsize=4096)
def parse_seconds(text: str) -> float:
    """Return ``2026-11-21T20:15:00`` in seconds since the epoch."""
    if not _TIME.match(text):
        raise MalformedResponseError(f"{text!r} where a time should be")
    year, month, day, hour, minute, second = map(int, re.split("[-T:]", text))
    try:
        days = date(year, month, 1).toordinal() - _EPOCH + day - 1
    except ValueError as error:
        raise MalformedResponseError(f"{text!r} where a time should be") from error
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)  # as calendar.timegm, whose import takes 1 ms
