"""Helpers of the transport: boto3, imported when it is needed, and the back-off before a new try."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from s3batch.s3.back_off import in_words
from s3batch.s3.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request, Response
    from s3batch.s3.sigv4 import Credentials

_MASK = "***"
_SHORTEST_SECRET = 6  # characters; masking a shorter word would mask parts of other words


def mask_credentials(response: Response, credentials: Credentials) -> Response:
    """Return ``response`` with the credentials masked that it repeats."""
    import html  # noqa: PLC0415 - it has a large table, and few answers are left to boto3

    words = [word for word in (credentials.access_key, credentials.token) if len(word) >= _SHORTEST_SECRET]
    forms = {form for word in words for form in (word, quote(word, safe=""), html.escape(word, quote=False))}
    if not forms:
        return response
    found = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    headers = {name: found.sub(_MASK, value) for name, value in response.headers.items()}
    body = re.sub(found.pattern.encode(), _MASK.encode(), bytes(response.body))
    return response._replace(headers=headers, body=body)


def make_boto_sender(endpoint: Endpoint) -> Callable[[Request], Response]:
    """Return the function that carries out calls through boto3, imported at the first call; any thread may make it.

    It raises nothing but :class:`RequestError`. Errors of boto3 come from the AWS configuration, or from the store's
    answer.
    """
    kept: list[Callable[[Request], Response]] = []
    making = threading.Lock()

    def carry(request: Request) -> Response:
        with making:
            if not kept:
                kept.append(_make_transport(endpoint, request))
        try:
            return kept[0](request)
        except RequestError:
            raise
        except Exception as error:
            fault = Fault("MalformedAnswer", f"no answer from {endpoint.name()}: {in_words(error)}")
            raise RequestError(request.name, request.key, fault) from error

    return carry


def _make_transport(endpoint: Endpoint, request: Request) -> Callable[[Request], Response]:
    from s3batch.s3.boto import BotoTransport  # noqa: PLC0415 - see above

    try:
        return BotoTransport(endpoint)
    except Exception as error:
        raise RequestError(
            request.name, request.key, Fault("Environment", f"cannot set up boto3: {in_words(error)}")
        ) from error
