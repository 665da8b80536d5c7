"""Plain PUTs: the answer to one proves what is stored. Bodies (:mod:`.plain_body`) and copies (:mod:`.plain_copy`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from s3batch.s3.plain_request import PlainRequest

if TYPE_CHECKING:
    from re import Match

    from s3batch.s3.answer_forms import AnswerForm

_FORMS_KEPT = 4
"""Forms of answers that are tried: a load balancer may have servers of several kinds before it."""

Stored = tuple[str, str, str, str]
"""What the answer to a PUT tells: ETag, date, id of the request, id of the version. All but the ETag may be empty."""


class PlainPut(PlainRequest, ABC):
    """A PUT under way."""

    __slots__ = ()
    method = "PUT"

    @abstractmethod
    def learn_form(self, answer: str) -> AnswerForm | None:
        """Return the form of ``answer``; ``None`` if that is more than the news that the object is stored and proved."""

    @abstractmethod
    def read_proof(self, match: Match[str]) -> Stored | None:
        """Return what an answer of a known form tells; ``None`` if it does not prove what is stored."""

    @abstractmethod
    def stored(self, etag: str, date: str, request_id: str, version: str, seconds: float) -> None:
        """Take the end of the short way: the store has proved, within so many seconds, what it has stored.

        ``version`` may be empty.
        """

    def read_answer(self, forms: list[AnswerForm], answer: bytes) -> Stored | None:
        """Return what an answer of a known form tells that proves the object; ``None`` for any other."""
        text = str(answer, "latin-1")
        for form in forms:
            match = form.pattern.fullmatch(text)
            if match is not None:
                return self.read_proof(match)
        learned = self.learn_form(text) if len(forms) < _FORMS_KEPT else None
        if learned is not None:
            forms.append(learned)
        return None

    def finish(self, told: Stored, seconds: float) -> None:
        """Take what the answer has told."""
        self.stored(*told, seconds)
