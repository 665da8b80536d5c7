"""The reference client: the same calls through boto3, whose answer counts; the only door to boto3.

A call's own headers, query and body replace those that botocore made of the bare parameters, just before it signs. So
both clients send exactly the same, and endpoint rules, redirects, retries and signing are botocore's. Checksum trailers
are switched off, because several stores refuse them or even store them inside the object.
"""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import boto3
from botocore import UNSIGNED, auth, compat, handlers, xform_name
from botocore.config import Config
from botocore.crt import auth as crt_auth
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's, which is no OSError
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from s3batch.s3 import clock
from s3batch.s3.boto_http import BoundedSession
from s3batch.s3.faults import SKEWED, Fault, RequestError
from s3batch.s3.requests import Request, Response, percent_encode

if TYPE_CHECKING:
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.sigv4 import Credentials

_NEEDED: dict[str, dict[str, Any]] = {
    "CompleteMultipartUpload": {"MultipartUpload": {"Parts": []}},
    "DeleteObjects": {"Delete": {"Objects": [{"Key": "-"}]}},
    "PutObjectTagging": {"Tagging": {"TagSet": []}},
    "CopyObject": {"CopySource": "-/-"},
    "UploadPartCopy": {"CopySource": "-/-"},
}
"""Parameters botocore insists on; their wire form is replaced by the call's own."""
_PLACE = "-"
"""Stands in for the key: botocore takes only UTF-8, file names are bytes."""


class BotoTransport:
    """Carries out calls through one boto3 client; thread-safe, as botocore's clients are."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._access = endpoint.access_headers()
        self._client = make_client(endpoint, tries=1)  # who asks tries again himself, and counts it
        self._http: BoundedSession = self._client._endpoint.http_session  # noqa: SLF001 - a BoundedSession was put there
        self._now = threading.local()
        events = self._client.meta.events
        events.register("before-call.s3", self._replace)
        if (handler := getattr(handlers, "_handle_200_error", None)) is not None:
            # botocore turns a 200 with an unreadable body into a 500; errors inside a 200 are found elsewhere
            events.unregister("before-parse.s3.*", handler)

    def __call__(self, request: Request) -> Response:
        """Carry out ``request``. Raises :class:`RequestError` when no answer comes."""
        self._now.call = request
        self._http.expect(request)
        try:
            self._method(request)
        except (ClientError, ResponseParserError, RequestError):
            pass  # an answer all the same, it was kept; or none, and then that is said below
        except BotoCoreError as error:
            if self._http.answer is None:
                raise RequestError(request.name, request.key, fault_without_answer(error, self._endpoint)) from error
        except Exception:  # botocore's view of an answer does not count: s3batch validates it
            if self._http.answer is None:
                raise
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        if self._http.answer is None:
            raise self._http.failure or RequestError(request.name, request.key, Fault("Connection", "no answer"))
        return self._http.answer

    def _method(self, request: Request) -> None:
        method = getattr(self._client, xform_name(request.name))
        parameters: dict[str, Any] = {
            "Bucket": request.bucket or self._endpoint.bucket,
            **_NEEDED.get(request.name, {}),
        }
        if request.key:
            parameters["Key"] = _PLACE
        pairs = dict(parse_qsl(request.query, keep_blank_values=True))
        if "uploadId" in pairs:
            parameters["UploadId"] = pairs["uploadId"]
        if "partNumber" in pairs:
            parameters["PartNumber"] = int(pairs["partNumber"])
        method(**parameters)

    def _replace(self, params: dict[str, Any], **_: object) -> None:
        """Replace what botocore made of the parameters by the call's own key, query, headers and body."""
        request: Request = self._now.call
        url = params["url"].partition("?")[0]
        if request.key:
            url = url.removesuffix(_PLACE) + percent_encode(request.key, "/")
        params["url"] = f"{url}?{request.query}" if request.query else url
        params["headers"].update(request.headers)
        self._access.complete(request.name, params["headers"])
        params["body"] = bytes(request.body)
        params["context"].get("checksum", {}).pop("request_algorithm", None)  # the call brings its own


def fault_without_answer(error: BotoCoreError, endpoint: Endpoint) -> Fault:
    """Return boto3's exception as a fault: only trouble on the way is retryable."""
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Fault("Untrusted", f"no answer from {endpoint.name()}: {error}")
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return Fault("Timeout", f"no answer from {endpoint.name()}: {error}")
    if isinstance(error, (HTTPClientError, ConnectionError)):
        return Fault("Connection", f"no answer from {endpoint.name()}: {error}")
    return Fault(type(error).__name__, str(error))


def make_client(endpoint: Endpoint, service: str = "s3", url: str = "", *, tries: int = 3) -> Any:
    """Return a boto3 client with s3batch's settings and the endpoint's credentials."""
    credentials = endpoint.credentials
    config = Config(
        connect_timeout=min(endpoint.timeout, 20),
        read_timeout=endpoint.timeout,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=64,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=_s3_config(endpoint),
        **{f"use_{name}_endpoint": True for name in ("fips", "dualstack") if name in endpoint.variants},
        **({} if credentials else {"signature_version": UNSIGNED}),
    )
    made = boto3.session.Session().client(
        service,
        region_name=endpoint.region,
        endpoint_url=url or (endpoint.url if service == "s3" else "") or None,
        verify=endpoint.ca_bundle or None,
        aws_access_key_id=credentials.access_key if credentials else None,
        aws_secret_access_key=credentials.secret_key if credentials else None,
        aws_session_token=credentials.token or None if credentials else None,
        config=config,
    )
    if service == "s3":
        _bound_exchanges(made, endpoint)
    return made


def _bound_exchanges(made: Any, endpoint: Endpoint) -> None:
    """Have the client's exchanges bounded, and its signatures made by the store's clock."""
    inner = made._endpoint.http_session  # noqa: SLF001
    http = BoundedSession(inner, endpoint.timeout, endpoint.name(), endpoint.bounds)
    made._endpoint.http_session = http  # noqa: SLF001 - botocore has no event around an exchange
    place = (endpoint.server_name, endpoint.port)

    def sign_by(**_: object) -> None:
        _signing.offset = clock.offsets.get(place, 0.0)

    def learn(response: Any, attempts: int, **_: object) -> float | None:
        """Try again at once where the refusal tells the store's time."""
        if response is None or attempts > 1 or response[1].get("Error", {}).get("Code") != SKEWED:
            return None
        offset = clock.offset_of({name.lower(): value for name, value in response[0].headers.items()})
        if offset is None:
            return None
        clock.offsets[place] = offset
        return 0.0

    def name_next(request: Any, operation_name: str, **_: object) -> None:
        http.name_next(operation_name, request.method)

    made.meta.events.register_first("request-created.s3", name_next)
    made.meta.events.register_first("before-sign.s3", sign_by)
    made.meta.events.register_first("needs-retry.s3", learn)


class _Signing(threading.local):
    """By how many seconds the clock is off for which this thread signs."""

    offset = 0.0


_signing = _Signing()


def _read_store_time(remove_tzinfo: bool = True) -> datetime.datetime:
    """Return the time of the store's clock, as far as its difference from this machine's is known."""
    now: datetime.datetime = compat.get_current_datetime(remove_tzinfo)
    return now + datetime.timedelta(seconds=_signing.offset)


auth.get_current_datetime = crt_auth.get_current_datetime = _read_store_time
# botocore's signers, its own and those of awscrt, take the time from nowhere else


def _s3_config(endpoint: Endpoint) -> dict[str, Any]:
    addressing = "path" if endpoint.path_style else "virtual" if endpoint.url else "auto"
    config: dict[str, Any] = {"addressing_style": addressing}
    if endpoint.sign_payload != "auto":  # left to itself botocore signs over plain HTTP only
        config["payload_signing_enabled"] = endpoint.sign_payload == "always"
    return config | ({"use_accelerate_endpoint": True} if "accelerate" in endpoint.variants else {})


def make_session(credentials: Credentials | None, region: str, profile: str = "") -> Any:
    """Return a boto3 session that signs in as the job does, for AWS services beside S3."""
    return boto3.session.Session(
        aws_access_key_id=credentials.access_key if credentials else None,
        aws_secret_access_key=credentials.secret_key if credentials else None,
        aws_session_token=credentials.token or None if credentials else None,
        region_name=region,
        profile_name=profile or None,
    )
