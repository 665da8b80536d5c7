"""Helpers of the transport: boto3, imported when it is needed, and the back-off before a new try."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from s3batch.s3.back_off import in_words
from s3batch.s3.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.requests import Request, Response


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
