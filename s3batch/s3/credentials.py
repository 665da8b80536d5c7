"""From settings to an :class:`Endpoint`: credentials, address of the bucket, and the lane that serves it.

boto3 decides about credentials, regions and endpoints. It is not imported in the plain case of CI and cron: a key pair
is given, and there is no AWS configuration file. That saves a fifth of a second of CPU, which is all the CPU of a run
with nothing to do.
"""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from s3batch.base.errors import EndpointError, S3BatchError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.base.thread_wait import call_on_thread
from s3batch.files.bounded import is_odd_file, read_regular_file
from s3batch.s3.back_off import in_words
from s3batch.s3.endpoint import AMAZON, Endpoint, Signing, split_url
from s3batch.s3.sigv4 import Credentials, UnsafeTextError, refuse_breaks
from s3batch.settings.direction import is_in_s3, parse_source_place
from s3batch.settings.texts import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.settings.table import Settings

_DNS_NAME = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z"  # no dots: a wildcard certificate covers one label
DEFAULT_REGION = "us-east-1"
_APART = ("us-iso", "eu-iso", "eusc-")
"""Regions whose hosts have names of their own, which boto3 knows."""
_ASKS_SYSTEM = sys.platform in ("darwin", "win32")
"""True on systems where proxies may be configured outside the environment."""
SIGN_IN_GRACE = 30.0
"""Seconds beyond ``timeout`` for finding credentials: a ``credential_process`` may ask a person."""
_RENEW_AFTER = 60.0
"""Seconds: new credentials that are refused sooner are permanently refused."""


class Login:
    """The job's credentials, renewed before they run out. Asked by the coordinator only."""

    def __init__(
        self,
        fixed: Credentials | None = None,
        source: Any = None,
        resolve: Callable[[], Any] | None = None,
        patience: float = 90.0,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Take a given pair as ``fixed``, or ``source``, botocore's credentials; ``resolve`` finds such again.

        ``patience`` is the seconds that finding credentials may take; ``check`` raises if the run is to stop meanwhile.
        """
        self._check = check
        self._patience = patience
        self._fixed = fixed
        self._source = source
        self._resolve = resolve
        self._last = fixed
        self._renewed = -_RENEW_AFTER

    def current(self) -> Credentials | None:
        """Return the credentials to sign with now; ``None`` for anonymous requests. May block for a renewal.

        Raises :class:`EndpointError` if expired credentials cannot be renewed.
        """
        if self._source is None:
            return self._fixed
        due = getattr(self._source, "refresh_needed", None)
        if due is not None and due():
            frozen = _ask_boto(self._source.get_frozen_credentials, self._patience, self._check)
        else:
            frozen = self._source.get_frozen_credentials()
        parts = (frozen.access_key, frozen.secret_key, frozen.token or "")
        found = tuple(part.strip() if isinstance(part, str) else part for part in parts)
        if not all(isinstance(text, str) and text.isascii() and text.isprintable() for text in found):
            raise EndpointError("cannot sign in: the credentials found are not printable text", hint=_WORKING_PROFILE)
        self._last = Credentials(*found)
        return self._last

    def renewed(self) -> Credentials | None:
        """Return credentials resolved again after the store refused the old ones; ``None`` if there are no others."""
        now = time.monotonic()
        if self._resolve is None or now - self._renewed < _RENEW_AFTER:
            return None
        self._renewed = now
        before = self._last
        self._source = self._resolve()
        after = self.current()
        return after if after != before else None


def connect_to_bucket(
    settings: Settings, bucket: str, grace: float = SIGN_IN_GRACE, check: Callable[[], None] | None = None
) -> tuple[Endpoint, Login]:
    """Return the endpoint of ``bucket`` and its sign-in. Raises :class:`EndpointError`, :class:`SettingsError`.

    ``grace``: seconds beyond the timeout for finding credentials. ``check`` raises if the run is to stop meanwhile.
    """
    patience = settings.timeout + grace
    if is_unsigned(settings, bucket):
        login, configured = Login(), AwsConfig()
        if settings.profile or _configuration_files():
            session = _ask_boto(lambda: make_boto_session(settings), patience, check)
            configured = _ask_boto(lambda: read_aws_config(session, settings), patience, check)
    elif _needs_no_boto(settings):
        login = Login(Credentials(settings.access_key, settings.secret_key, settings.session_token))
        configured = AwsConfig()
    else:
        login, configured = _by_boto3(settings, patience, check)
    endpoint = _make_endpoint(settings, bucket, login.current(), configured)
    _refuse_unsafe("the region", endpoint.region)
    return endpoint, login


def is_unsigned(settings: Settings, bucket: str) -> bool:
    """Return whether requests to ``bucket`` carry no signature. Of two buckets that is the source."""
    if not settings.no_sign_request:
        return False
    return not is_in_s3(settings.source) or parse_source_place(settings).bucket == bucket


def refuse_odd_aws_files() -> None:
    """Raise SettingsError where a variable names a pipe or a device as a file of the AWS tools.

    boto3 passes over such a configuration, and waits for such certificates. ``/dev/null`` says that there is no file.
    """
    for name in (*_AWS_FILES, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        path = os.path.expanduser(os.environ.get(name, ""))
        if path != os.devnull and is_odd_file(path):
            raise SettingsError(f"{name} cannot be {path!r}: {_ODD}", hint=_REGULAR)


_ODD, _REGULAR = "it is a pipe or a device", "name a regular file"


def refuse_endpoint_with_secrets(settings: Settings) -> None:
    """Raise :class:`SettingsError` for an endpoint of the AWS configuration that holds a user or password.

    Only boto3 knows which endpoint counts. It is asked where a file has such a one, for this profile or another.
    """
    if settings.endpoint_url or not any(map(_has_endpoint_with_userinfo, _configuration_files())):
        return
    configured = _ask_boto(
        lambda: read_aws_config(make_boto_session(settings), settings), settings.timeout + SIGN_IN_GRACE
    )
    if "@" in configured.endpoint_url:
        raise SettingsError(
            f"endpoint_url cannot be {without_secrets(configured.endpoint_url)!r} (from the AWS configuration)",
            hint="remove user and password; set access_key and secret_key",
        )


def _has_endpoint_with_userinfo(path: str) -> bool:
    try:
        lines = read_regular_file(path, _LARGEST_CONFIGURATION).splitlines()
    except OSError:
        return False
    return any(b"@" in line and b"endpoint_url" in line for line in lines)


_LARGEST_CONFIGURATION = 1 << 20  # bytes of an AWS configuration file that are read


def _refuse_unsafe(what: str, *texts: str) -> None:
    """Raise :class:`EndpointError` for values of an AWS configuration that no request can carry."""
    try:
        refuse_breaks(what, *texts)
    except UnsafeTextError as error:
        raise EndpointError(f"cannot sign in: {error}", hint="correct it in the AWS configuration") from None


def _needs_no_boto(settings: Settings) -> bool:
    """Return whether the settings hold everything, so that boto3 need not be asked."""
    if not (settings.access_key and settings.secret_key) or settings.profile:
        return False
    if settings.assume_role or settings.user_role_arn or settings.oidc_token_id:
        return False
    if settings.region.startswith(_APART) and not settings.endpoint_url:
        return False
    return not _configuration_files() and not any(os.environ.get(name) for name in _TELLING)


_TELLING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
"""Variables by which an AWS configuration may say more than the settings do."""


_AWS_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
"""The files of the AWS tools: the variable that names each, and where it is without."""


def _configuration_files() -> list[str]:
    paths = [os.path.expanduser(os.environ.get(name) or usual) for name, usual in _AWS_FILES.items()]
    # not Path.exists(): that fails where a home may not be entered, as in an image run by another user
    return [path for path in paths if os.path.exists(path)]


def has_configuration_file() -> bool:
    """Return whether there is a file of the AWS tools."""
    return bool(_configuration_files())


class AwsConfig(NamedTuple):
    """The AWS configuration of S3, resolved by boto3."""

    region: str = ""
    endpoint_url: str = ""
    aws_url: str = ""
    """The URL of Amazon's own S3 in that region."""
    ca_bundle: str = ""
    addressing_style: str = "auto"
    variants: tuple[str, ...] = ()


def _make_endpoint(settings: Settings, bucket: str, credentials: Credentials | None, configured: AwsConfig) -> Endpoint:
    region = settings.region or configured.region or DEFAULT_REGION
    url = settings.endpoint_url or configured.endpoint_url
    if url and "://" not in url:
        url = f"https://{url}"
    try:
        host, port, tls, base_path = split_url(url or configured.aws_url or _aws_url(region))
    except ValueError as error:
        raise settings.bad("endpoint_url", f"{error}; write something like https://s3.example.com:9000") from error
    endpoint = Endpoint(
        bucket=bucket, region=region, host=host, port=port, tls=tls, base_path=base_path, url=url,
        path_style=_path_style(settings, bucket, url, configured.addressing_style, tls=tls),
        credentials=credentials, ca_bundle=_find_ca_bundle(configured),
        sign_payload=cast("Signing", settings.sign_payload), checksum=_checksum_name(settings.checksum),
        checksum_fallbacks=("crc32", "md5") if settings.checksum == "auto" else (),
        customer_key=settings.sse_c_key, request_payer=settings.request_payer,
        variants=configured.variants, timeout=float(settings.timeout),
    )  # fmt: skip
    return endpoint.through(_choose_transport(settings, endpoint))


def _aws_url(region: str) -> str:
    return f"https://s3.{region}{AMAZON[region.startswith('cn-')]}"


def _checksum_name(name: str) -> str:
    return {"auto": "crc64nvme", "none": ""}.get(name, name)


def _find_ca_bundle(configured: AwsConfig) -> str:
    """Return the CA bundle from the places that boto3 reads. Raises SettingsError for a pipe or a device of the profile."""
    if is_odd_file(configured.ca_bundle):
        raise SettingsError(
            f"ca_bundle of the AWS configuration cannot be {configured.ca_bundle!r}: {_ODD}", hint=_REGULAR
        )
    return os.environ.get("AWS_CA_BUNDLE", "") or configured.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE", "")


def _path_style(settings: Settings, bucket: str, url: str, style: str, *, tls: bool) -> bool:
    """Return whether the bucket goes into the path. It goes into the host name only on AWS, where DNS and TLS know it."""
    if bucket.startswith("arn:"):
        return False
    if settings.path_style or style == "path":
        return True
    if ("." in bucket and tls) or not re.match(_DNS_NAME, bucket.replace(".", "-")):
        return True
    return bool(url) and style != "virtual"


def _choose_transport(settings: Settings, endpoint: Endpoint) -> Any:
    """Return the lane: reference where the lean one cannot work: proxies, ARNs, directory buckets, dual-stack..."""
    bucket = endpoint.bucket
    special = bucket.startswith("arn:") or bucket.endswith(("--x-s3", ".mrap")) or bool(endpoint.variants)
    if special and settings.lane == "lean":
        raise settings.bad("lane", f"the built-in HTTP client cannot reach {bucket}; write auto or reference")
    if settings.lane != "auto":
        return settings.lane
    return "reference" if special or _is_proxied(endpoint.server_name, tls=endpoint.tls) else "lean"


def _is_proxied(host: str, *, tls: bool) -> bool:
    if _is_loopback(host) or not (_ASKS_SYSTEM or any(name.lower().endswith("_proxy") for name in os.environ)):
        return False
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - 20 ms that few have to pay

    proxies = getproxies()
    if ("https" if tls else "http") not in proxies:
        return False
    return not proxy_bypass(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- where boto3 decides -------------------------------------------------------------------


def _by_boto3(settings: Settings, patience: float, check: Callable[[], None] | None) -> tuple[Login, AwsConfig]:
    if settings.oidc_token_id and not settings.assume_role:
        raise settings.bad("oidc_token_id", "it is only for assuming a role; set assume_role too")

    def resolve() -> Any:
        return _ask_boto(lambda: _resolve_credentials(make_boto_session(settings), settings), patience, check)

    session = _ask_boto(lambda: make_boto_session(settings), patience, check)
    source = _ask_boto(lambda: _resolve_credentials(session, settings), patience, check)
    login = Login(source=source, resolve=resolve, patience=patience, check=check)
    return login, _ask_boto(lambda: read_aws_config(session, settings), patience, check)


def _ask_boto(question: Callable[[], Any], patience: float, check: Callable[[], None] | None = None) -> Any:
    """Return boto3's answer within ``patience`` seconds, else raise :class:`EndpointError` with its words.

    An exception of its credential chain or of the AWS configuration comes from the user's configuration and is no bug
    of s3batch: an SSO cache that is not JSON, a missing token file, a ``credential_process`` that prints nonsense.
    ``check`` raises if the run is to stop meanwhile.
    """
    try:  # boto3 has no limit for a credential_process
        values = call_on_thread(question, patience, check=check, give_up=_end_children_of)
    except S3BatchError:
        raise
    except Exception as error:
        raise EndpointError(f"cannot sign in: {in_words(error)}", hint=_WORKING_PROFILE) from error
    if not values:
        raise EndpointError(f"cannot sign in: no credentials came within {patience:g} s", hint=_WORKING_PROFILE)
    return values[0]


def _end_children_of(thread: int) -> None:
    """End what a thread has begun that is late, or that a signal has ended the wait for."""
    _end_children(f"/proc/self/task/{thread}/children")


def _end_children(path: str) -> None:
    """End the processes listed there, each after its own: a ``credential_process`` outlives its reader otherwise."""
    with suppress(OSError, ValueError):  # the list is Linux's, and a process may end by itself
        with open(path, encoding="ascii") as file:
            children = file.read().split()
        for child in map(int, children):
            _end_children(f"/proc/{child}/task/{child}/children")
            os.kill(child, signal.SIGTERM)


_WORKING_PROFILE = "set access_key and secret_key, or a profile that works"


def make_boto_session(settings: Settings) -> Any:
    """Return boto3's session for the profile and the keys of these settings."""
    import boto3  # noqa: PLC0415 - see the module's docstring

    pair: dict[str, Any] = {}
    if settings.access_key and settings.secret_key:
        pair = {
            "aws_access_key_id": settings.access_key,
            "aws_secret_access_key": settings.secret_key,
            "aws_session_token": settings.session_token or None,
        }
    return boto3.session.Session(profile_name=settings.profile or None, **pair)


def _resolve_credentials(session: Any, settings: Settings) -> Any:
    """Return the credentials of settings, environment or machine; then of the role, or the two roles, to assume."""
    credentials: Any = None if settings.oidc_token_id else session.get_credentials()
    if credentials is None and not settings.oidc_token_id:
        raise EndpointError(
            "no credentials found in settings, environment, profile, web identity or instance role",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a plugin: access_key and secret_key)",
        )
    if settings.assume_role:
        token, external_id = settings.oidc_token_id, settings.external_id
        proof = {"WebIdentityToken": token} if token else {"ExternalId": external_id}
        credentials = _assume_role(session, settings, credentials, {"RoleArn": settings.assume_role, **proof})
    if settings.user_role_arn:
        asked = {"RoleArn": settings.user_role_arn, "ExternalId": settings.user_role_external_id}
        credentials = _assume_role(session, settings, credentials, asked)
    credentials.get_frozen_credentials()
    return credentials


def _assume_role(session: Any, settings: Settings, base: Any, asked: dict[str, str]) -> Any:
    """Return credentials of a role, assumed by ``base`` or by a web identity's token; they renew themselves."""
    from botocore.credentials import RefreshableCredentials  # noqa: PLC0415 - see the module's docstring

    given = {name: value for name, value in asked.items() if value}
    given["RoleSessionName"] = settings.assume_role_session_name or "s3batch"

    def fetch() -> dict[str, str]:
        sts = _make_sts_client(session, settings, base)
        by_token = "WebIdentityToken" in given
        got = (sts.assume_role_with_web_identity if by_token else sts.assume_role)(**given)["Credentials"]
        return {
            "access_key": got["AccessKeyId"], "secret_key": got["SecretAccessKey"], "token": got["SessionToken"],
            "expiry_time": got["Expiration"].isoformat(),
        }  # fmt: skip

    return RefreshableCredentials.create_from_metadata(fetch(), refresh_using=fetch, method="sts-assume-role")


def _make_sts_client(session: Any, settings: Settings, base: Any) -> Any:
    """Return an STS client that signs with the current credentials of ``base``."""
    from botocore.config import Config  # noqa: PLC0415 - see the module's docstring

    from s3batch.s3.other_services import judge_client  # noqa: PLC0415 - the same

    keys = base.get_frozen_credentials() if base is not None else None
    pair = {
        "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key, "aws_session_token": keys.token,
    } if keys else {}  # fmt: skip
    config = Config(connect_timeout=10, retries={"total_max_attempts": 4, "mode": "standard"})
    client = session.client(
        "sts", region_name=settings.region or session.region_name or DEFAULT_REGION, config=config, **pair
    )
    return judge_client(client, settings.timeout, "STS")


def read_aws_config(session: Any, settings: Settings) -> AwsConfig:
    """Return the configuration that boto3 makes of file and environment, read from one of its clients."""
    from botocore.config import Config  # noqa: PLC0415 - see the module's docstring

    nobody = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "-")  # else it would sign in again

    def about(**options: Any) -> Any:
        return session.client("s3", region_name=settings.region or None, **nobody, **options).meta

    found = about()
    bare = about(config=Config(ignore_configured_endpoint_urls=True))
    own = settings.endpoint_url or found.endpoint_url != bare.endpoint_url
    region = found.region_name if found.region_name != "aws-global" else DEFAULT_REGION
    s3 = found.config.s3 or {}
    wanted = {
        "fips": found.config.use_fips_endpoint,
        "dualstack": found.config.use_dualstack_endpoint or s3.get("use_dualstack_endpoint"),
        "accelerate": s3.get("use_accelerate_endpoint"),
    }
    return AwsConfig(
        region=region, endpoint_url=found.endpoint_url if own and not settings.endpoint_url else "",
        aws_url=bare.endpoint_url if region.startswith(_APART) else "",
        ca_bundle=session._session.get_config_variable("ca_bundle") or "",  # noqa: SLF001 - only botocore's knows
        addressing_style=s3.get("addressing_style") or "auto",
        variants=tuple(name for name, on in wanted.items() if on) if not own else (),
    )  # fmt: skip
