"""A plain PUT of a body: the store repeats its checksum, or its ETag is the MD5 of the body."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from s3batch.base import hashes
from s3batch.s3.answer_forms import AnswerForm
from s3batch.s3.plain_put import PlainPut
from s3batch.s3.requests import put_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from re import Match

    from s3batch.s3.plain_put import Stored
    from s3batch.s3.requests import Body, Request


class PlainBody(PlainPut, ABC):
    """The PUT of an object's body."""

    __slots__ = ("checksum",)
    request_name = "PutObject"
    sends_body = True

    def __init__(
        self, row: int, key: str, body: Body, headers: Mapping[str, str], fingerprint: str, checksum: tuple[str, str]
    ) -> None:
        """``headers`` are those of all objects with this ``fingerprint``; ``checksum`` is the header for the body."""
        name, value = checksum
        super().__init__(row, key, body, headers, fingerprint, (name,), (value,))
        self.checksum = checksum

    def make_request(self) -> Request:
        """Return the request as the general way sends it."""
        name, value = self.checksum
        return put_object(self.key, self.body, {**self.headers, name: value})

    def learn_form(self, answer: str) -> AnswerForm | None:
        """Return the form of ``answer``, if there is one."""
        return AnswerForm.of_stored(answer, self.checksum[0])

    def read_proof(self, match: Match[str]) -> Stored | None:
        """Return what an answer tells that proves the body."""
        etag, date, request_id, version, checksum = match.group("etag", "date", "id", "version", "checksum")
        if checksum == self.checksum[1] or (not checksum and etag == hashes.md5(self.body).hexdigest()):
            return etag, date, request_id, version
        return None
