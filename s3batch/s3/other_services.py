"""boto3's clients of services beside S3 (CloudFront, STS): each exchange is bounded and each response judged.

A malformed response becomes a 502 for botocore, which tries it again and then fails with s3batch's words.
"""

from __future__ import annotations

import io
from typing import Any
from xml.sax.saxutils import escape

from s3batch.s3.boto_http import BoundedSession
from s3batch.s3.faults import MALFORMED, RequestError

_DOCUMENT = "<ErrorResponse><Error><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


class _JudgedSession(BoundedSession):
    """Stands in for botocore's HTTP session."""

    def send(self, aws_request: Any) -> Any:
        """Carry out ``aws_request``; a response that is not the service's is a 502."""
        aws_response = super().send(aws_request)
        if not 200 <= aws_response.status_code < 300:  # whose refusal it is makes no difference
            return aws_response
        try:
            response = self.check_last()
        except RequestError as error:
            return _replace_response(aws_response, error.fault.message)
        if response is not None and not response.ok:
            return _replace_response(aws_response, "an error in a response that says success")
        return aws_response


def _replace_response(response: Any, words: str) -> Any:
    body = _DOCUMENT.format(MALFORMED, escape(words)).encode()
    response.status_code, response._content, response.raw = 502, body, io.BytesIO(body)  # noqa: SLF001 - botocore's
    response.headers.pop("content-length", None)
    return response


def judge_client(client: Any, timeout: float, name: str) -> Any:
    """Have the exchanges of ``client`` bounded and judged, and return it; ``name`` of the service, for messages."""
    http = _JudgedSession(client._endpoint.http_session, timeout, name)  # noqa: SLF001 - botocore has no event for it
    client._endpoint.http_session = http  # noqa: SLF001

    def name_next(request: Any, operation_name: str, **_: object) -> None:
        http.name_next(operation_name, request.method)

    client.meta.events.register_first("request-created", name_next)
    return client
