"""The forms of answers to plain requests: known by their bytes, of which only some differ from one object to the next.

    answer ─ judged by the general way ─learn─> AnswerForm: status, headers in their order, document
    answer ─ the same bytes but for ETag, date, ids and other values that decide nothing ──> its values

A form fixes where an answer ends. What it accepts is one whole response, and nothing more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.document_values import is_usual_copy

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIXED = frozenset(
    {
        "connection", "content-length", "transfer-encoding", "trailer", "upgrade", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-customer-algorithm",
    }
)  # fmt: skip
"""Headers that say where an answer ends, what becomes of the connection, or what the ETag is: their values count too."""
_WITHOUT_MD5 = frozenset(_FIXED - {"connection", "content-length"})
"""Headers beside which an ETag is not looked at as an MD5."""
_NAME = r"[A-Za-z0-9-]+\Z"
_FIXED_FETCHED = (_FIXED - {"content-length"}) | {"x-amz-checksum-type"}
"""The same headers of an answer with content, whose length differs, and the one that says what its checksum is of."""
_NOT_WHOLE = frozenset({"transfer-encoding", "content-range", "x-amz-meta-s3cmd-attrs"})
"""Headers of answers that are not plain: content in pieces or a part of it, and the time of a file among other values."""
_CHECKSUM = "x-amz-checksum-"
_TOLD_FETCHED = frozenset({"etag", "content-length", "last-modified", "x-amz-request-id", "x-amz-meta-mtime"})
_ANY_VALUE = "[!-~](?:[ -~]*[!-~])?"
_VALUES = {"etag": '"[!#-~]+"', "content-length": "[0-9]{1,18}"}
_COMMON = {"date": "date", "x-amz-request-id": "id", "x-amz-version-id": "version"}
"""Headers whose values are told, and the groups that hold them."""


class AnswerForm(NamedTuple):
    """The form of the usual answer of a store: its headers in their order, of which only some values differ."""

    pattern: re.Pattern[str]
    """The pattern has groups for ETag, date, id, version and perhaps checksum; that of a header that does not come is empty."""

    @classmethod
    def of_stored(cls, answer: str, checksum: str) -> AnswerForm | None:
        """Return the form of ``answer``; ``None`` if that is more than the news that the body is stored and proved.

        ``checksum`` is the name of the header by which the store may prove the body.
        """
        head = _AnswerHead.parse(answer)
        if head is None or head.rest or "etag" not in head.values or "transfer-encoding" in head.values:
            return None
        if head.values.get("content-length") != "0":
            return None
        if checksum not in head.values or not checksum.startswith("x-amz-"):
            if not _WITHOUT_MD5.isdisjoint(head.values):
                return None
            checksum = ""
        return cls(re.compile(head.make_pattern({"etag": "etag", **_COMMON, checksum: "checksum"})))

    @classmethod
    def of_copied(cls, answer: str, etag: str) -> AnswerForm | None:
        """Return the form of ``answer``; ``None`` if that is more than the news that a copy has this ETag."""
        head = _AnswerHead.parse(answer)
        if head is None or head.values.get("content-length") != str(len(head.rest)):
            return None
        if "transfer-encoding" in head.values or not is_usual_copy(head.rest.encode("latin-1")):
            return None
        pieces = re.split(_ELEMENT, head.rest)
        pairs = list(zip(pieces[1::3], pieces[2::3], strict=True))
        quoted = next((text for name, text in pairs if name == "ETag"), "")
        front, found, back = quoted.partition(etag)
        if [name for name, _ in pairs].count("ETag") != 1 or not found or (front, back) not in _QUOTES:
            return None
        texts = [
            f"{front}(?P<etag>[!#-%'-~]{{{len(etag)}}}){back}" if name == "ETag" else f"[^<>]{{{len(text)}}}"
            for name, text in pairs
        ]
        opened = [
            f"{re.escape(front)}<{name}>{text}"
            for front, (name, _), text in zip(pieces[::3], pairs, texts, strict=False)
        ]
        return cls(re.compile(head.make_pattern(_COMMON) + "".join(opened) + re.escape(pieces[-1])))


class FetchedForm(NamedTuple):
    """The form of the usual answer to a GET, without the content."""

    pattern: re.Pattern[str]
    """The pattern has a group for the value of each header in ``names``."""
    names: tuple[str, ...]
    """Headers that decide something, and whose values differ, in lower case."""
    fixed: Mapping[str, str]
    """Headers that decide something, and whose values are the same in each answer of this form."""

    @classmethod
    def of(cls, answer: str) -> FetchedForm | None:
        """Return the form of a head; ``None`` if it says more than that a whole object follows."""
        head = _AnswerHead.parse(answer)
        if head is None or head.rest or not head.values.keys() >= {"etag", "content-length", "last-modified"}:
            return None
        if not head.values.keys().isdisjoint(_NOT_WHOLE):
            return None
        fixed = {name: value for name, value in head.values.items() if name in _FIXED_FETCHED}
        told = [name for name in head.values if name in _TOLD_FETCHED or name.startswith(_CHECKSUM)]
        names = tuple(name for name in told if name not in fixed)
        lines = [
            f"{name}: *{re.escape(value)}" if (lower := name.lower()) in fixed
            else f"{name}: *({_VALUES.get(lower, _ANY_VALUE)})" if lower in names
            else f"{name}:[^\r\n]*"
            for name, value in head.pairs
        ]  # fmt: skip
        return cls(re.compile("\r\n".join([re.escape(head.status), *lines, "\r\n"])), names, fixed)

    def read(self, head: str) -> dict[str, str] | None:
        """Return the headers of a head that decide something; ``None`` if it has another form."""
        match = self.pattern.fullmatch(head)
        return None if match is None else {**self.fixed, **dict(zip(self.names, match.groups(), strict=True))}


_ELEMENT = r"<(LastModified|ETag|Checksum[A-Z0-9a-z]+)>([^<>]*)(?=</)"
_QUOTES = frozenset({("&quot;", "&quot;"), ("&#34;", "&#34;"), ('"', '"')})
"""Notations of the quotes around an ETag in a document."""


class _AnswerHead(NamedTuple):
    status: str
    pairs: list[tuple[str, str]]
    values: dict[str, str]
    """The values by the names in lower case."""
    rest: str
    """What came after the head."""

    @classmethod
    def parse(cls, answer: str) -> _AnswerHead | None:
        """Return the head of ``answer``; ``None`` if it is not a whole head of the usual kind."""
        head, end, rest = answer.partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        values = {name.lower(): value for name, value in pairs}
        if not end or not status.startswith("HTTP/1.1 200 ") or len(values) != len(pairs):
            return None
        if "close" in values.get("connection", "").lower() or not all(re.match(_NAME, name) for name, _ in pairs):
            return None
        return cls(status, pairs, values, rest)

    def make_pattern(self, groups: Mapping[str, str]) -> str:
        """Return the pattern of heads like this one, with groups for the values of these headers."""
        lines = [_make_line_pattern(name, value, groups) for name, value in self.pairs]
        absent = [f"(?P<{group}>)" for header, group in groups.items() if header not in self.values]
        return "\r\n".join([re.escape(self.status), *lines, "\r\n"]) + "".join(absent)


def _make_line_pattern(name: str, value: str, groups: Mapping[str, str]) -> str:
    """Return the pattern of a line: with this value, with any, or with one that is of interest."""
    lower = name.lower()
    if lower in _FIXED:
        return f"{name}: *{re.escape(value)}"
    group = groups.get(lower, "")
    if group == "etag":
        return f'{name}: *"(?P<etag>[!#-~]{{3,}})"'
    return f"{name}: *(?P<{group}>{_ANY_VALUE})" if group else f"{name}:[^\r\n]*"
