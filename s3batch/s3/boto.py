"""The reference client: the same calls through boto3, whose answer counts; the only door to boto3 and s3transfer.

A call's own headers, query and body replace those that botocore made of the bare parameters, just before it signs. So
both clients send exactly the same, and endpoint rules, redirects, retries and signing are botocore's. Checksum trailers
are switched off, because several stores refuse them or even store them inside the object.
"""

from __future__ import annotations

import datetime
import threading
from base64 import b64decode
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
from s3transfer.manager import TransferConfig, TransferManager

from s3batch.s3 import clock
from s3batch.s3.back_off import back_off
from s3batch.s3.boto_http import BoundedSession
from s3batch.s3.faults import SKEWED, Fault, RequestError
from s3batch.s3.requests import Request, Response, percent_encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def copy_large(endpoint: Endpoint, key: str, part_size: int, headers: Mapping[str, str]) -> None:
    """Copy a key onto itself in parts, for objects CopyObject refuses (above 5 GiB). Raises :class:`RequestError`.

    ``headers`` are the attributes of the copy.
    """
    place = (endpoint.bucket, key)
    copy_between(endpoint, place, place, part_size, headers)


def copy_between(
    endpoint: Endpoint, source: Sequence[str], to: Sequence[str], part_size: int, headers: Mapping[str, str]
) -> None:
    """Copy an object in parts. Each place is a bucket, a key and perhaps a version. Raises :class:`RequestError`."""
    named = dict(zip(("Bucket", "Key", "VersionId"), filter(None, source), strict=False))
    bucket, key = to[:2]
    config = TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size, max_request_concurrency=8)
    try:
        through = make_client(endpoint)
        _judge_all(through)
        with TransferManager(through, config) as manager:
            parameters = _to_parameters(through, headers) | _access_parameters(endpoint)
            manager.copy(named, bucket, key, parameters).result()
    except RequestError as error:
        raise RequestError(error.name, key, error.fault) from error
    except ClientError as error:
        said, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        fault = Fault(
            str(said.get("Code", "")), str(said.get("Message", "")),
            int(about.get("HTTPStatusCode", 0)), str(about.get("RequestId", "")),
        )  # fmt: skip
        raise RequestError("UploadPartCopy", key, fault) from error
    except BotoCoreError as error:
        raise RequestError("UploadPartCopy", key, fault_without_answer(error, endpoint)) from error


def _judge_all(through: Any) -> None:
    """Have each response judged that s3transfer gets: one that is not S3's is tried again, then an error."""
    http: BoundedSession = through._endpoint.http_session  # noqa: SLF001 - a BoundedSession was put there

    def try_again(response: Any, attempts: int, **_: object) -> float | None:
        if response is None or attempts >= _TRIES:
            return None
        try:
            http.check_last()
        except RequestError:
            return back_off(attempts)
        return None

    def refuse(**_: object) -> None:
        http.check_last()

    through.meta.events.register_last("needs-retry.s3", try_again)
    through.meta.events.register("after-call.s3", refuse)


_TRIES = 4
"""Of one request of a copy in parts."""
_META = "x-amz-meta-"


def _access_parameters(endpoint: Endpoint) -> dict[str, Any]:
    """Return the endpoint's own headers as parameters of s3transfer; botocore adds the digest of a key."""
    payer = {"RequestPayer": "requester"} if endpoint.request_payer else {}
    key = b64decode(endpoint.customer_key)
    keyed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key} if key else {}
    return {**payer, **keyed, **{f"CopySource{name}": value for name, value in keyed.items()}}


def _to_parameters(through: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return ``headers`` as boto3's parameters, by botocore's own model of CreateMultipartUpload."""
    members = through.meta.service_model.operation_model("CreateMultipartUpload").input_shape.members
    names = {shape.serialization.get("name", "").lower(): name for name, shape in members.items()}
    found: dict[str, Any] = {names[name]: value for name, value in headers.items() if name in names}
    metadata = {name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)}
    return {**found, "Metadata": metadata, "MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
