"""A plain GET of a small object, pinned to its listed ETag: the usual answer is one head of a known form, and the content."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from s3batch.s3.answer_forms import FetchedForm
from s3batch.s3.plain_request import READ_AT_ONCE, PlainRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN_SIZE = 64 * 1024
"""Bytes: the content of a larger object comes in many pieces, which the general way reads into one."""
_FORMS_KEPT = 8
"""Forms of answers that are tried: objects differ in the names of their headers, for instance of metadata."""
_HEADERS: Mapping[str, str] = {"x-amz-checksum-mode": "ENABLED"}
_NAMES = ("if-match",)
_HEAD_END = b"\r\n\r\n"

Fetched = tuple[dict[str, str], memoryview]
"""What the answer tells: headers that decide something, and the content, which is not proved yet."""


class PlainGet(PlainRequest, ABC):
    """The GET of one whole object."""

    __slots__ = ("etag", "size")
    request_name = "GetObject"
    method = "GET"
    sends_body = False

    def __init__(self, row: int, key: str, etag: str, size: int) -> None:
        """``etag`` and ``size`` are those of the listing."""
        super().__init__(row, key, b"", _HEADERS, "", _NAMES, (f'"{etag}"',))
        self.etag = etag
        self.size = size

    @property
    def read_size(self) -> int:
        """The number of bytes to read at once."""
        return READ_AT_ONCE + self.size

    def lacks(self, answer: bytes) -> bool:
        """Return whether a part of the head or of the content is still to come."""
        end = answer.find(_HEAD_END)
        return end < 0 or len(answer) < end + len(_HEAD_END) + self.size

    def read_answer(self, forms: list[FetchedForm], answer: bytes) -> Fetched | None:
        """Return what an answer of a known form tells: it is whole, and of the object that was listed."""
        end = answer.find(_HEAD_END) + len(_HEAD_END)
        if len(answer) != end + self.size or end < len(_HEAD_END):
            return None
        head = str(answer[:end], "latin-1")
        for form in forms:
            told = form.read(head)
            if told is not None:
                is_listed = told["etag"] == f'"{self.etag}"' and told["content-length"] == str(self.size)
                return (told, memoryview(answer)[end:]) if is_listed else None
        learned = FetchedForm.of(head) if len(forms) < _FORMS_KEPT else None
        if learned is not None:
            forms.append(learned)
        return None
