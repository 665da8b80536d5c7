"""Secrets of a request that a store's answer repeats are masked: an error is kept in the journal, and shown."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from s3batch.s3 import validation
from s3batch.s3.access_headers import SOURCE_KEY
from s3batch.s3.faults import RequestError, hides_error

if TYPE_CHECKING:
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request, Response

_MASK = "***"
_SHORTEST_SECRET = 6  # characters; masking a shorter word would mask parts of other words
_NAMED = {"&": "|&amp;", "<": "|&lt;", ">": "|&gt;", '"': "|&quot;", "'": "|&apos;"}
_IN_DOCUMENT = ("Code", "Message")
"""What is kept of the errors that an answer to DeleteObjects lists. Their keys say which object stays."""


def validate_masked(request: Request, response: Response, endpoint: Endpoint) -> Response:
    """Return the answer after validation. What is kept of it where it tells an error holds no secret."""
    words = (*(endpoint.credentials or ()), endpoint.customer_key, request.headers.get(SOURCE_KEY, ""))
    if response.status >= 300 or hides_error(response):
        response = _mask_response(response, words)
    try:
        response = validation.validate_response(request, response)
    except RequestError as error:
        fault = error.fault._replace(message=mask_words(error.fault.message, words))
        raise RequestError(error.name, error.key, fault) from error
    if request.name == "DeleteObjects" and response.document:
        masked = [
            error | {name: mask_words(error[name], words) for name in _IN_DOCUMENT if name in error}
            for error in response.document
        ]
        response = response._replace(document=masked)
    return response


def mask_words(text: str, words: tuple[str, ...]) -> str:
    """Return ``text`` without these words, however XML or a URL may spell them."""
    found = _compile_words(words)
    return text if found is None else found.sub(_MASK, text)


def _mask_response(response: Response, words: tuple[str, ...]) -> Response:
    found = _compile_words(words)
    if found is None:
        return response
    headers = {name: found.sub(_MASK, value) for name, value in response.headers.items()}
    body = found.sub(_MASK, bytes(response.body).decode("utf-8", "surrogateescape"))
    return response._replace(headers=headers, body=body.encode("utf-8", "surrogateescape"))


@lru_cache(maxsize=8)
def _compile_words(words: tuple[str, ...]) -> re.Pattern[str] | None:
    found = sorted({word for word in words if len(word) >= _SHORTEST_SECRET}, key=len, reverse=True)
    return re.compile("|".join("".join(map(_spell_character, word)) for word in found)) if found else None


def _spell_character(character: str) -> str:
    """Return a pattern for the spellings of a character: as it is, a reference of XML, or percent-encoded."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    quoted = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return f"(?:{re.escape(character)}|(?i:{quoted}|&#0*{code};|&#x0*{code:x};{_NAMED.get(character, '')}))"
