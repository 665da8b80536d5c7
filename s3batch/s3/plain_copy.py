"""A plain copy by the store: pinned to the ETag of its source, which the copy has to have as well."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from s3batch.s3.answer_forms import AnswerForm
from s3batch.s3.plain_put import PlainPut
from s3batch.s3.requests import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from re import Match

    from s3batch.s3.plain_put import Stored

_NAMES = ("x-amz-copy-source", "x-amz-copy-source-if-match")


class PlainCopy(PlainPut, ABC):
    """The CopyObject of one object."""

    __slots__ = ("etag",)
    request_name = "CopyObject"
    sends_body = False

    def __init__(
        self, row: int, key: str, headers: Mapping[str, str], fingerprint: str, source: str, etag: str
    ) -> None:
        """``source`` is the value of the header that names the source object, and ``etag`` the ETag of that."""
        super().__init__(row, key, b"", headers, fingerprint, _NAMES, (source, f'"{etag}"'))
        self.etag = etag

    def make_request(self) -> Request:
        """Return the request as the general way sends it."""
        own = dict(zip(self.names, self.values, strict=True))
        return Request(self.request_name, "PUT", self.key, "", {**self.headers, **own})

    def learn_form(self, answer: str) -> AnswerForm | None:
        """Return the form of ``answer``, if there is one."""
        return AnswerForm.of_copied(answer, self.etag)

    def read_proof(self, match: Match[str]) -> Stored | None:
        """Return what an answer tells that proves the copy."""
        etag, date, request_id, version = match.group("etag", "date", "id", "version")
        return (etag, date, request_id, version) if etag == self.etag else None
