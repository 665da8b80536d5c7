"""From settings to an :class:`Endpoint`: who we are, where the bucket is, which lane serves it.

boto3 is the authority on credentials, regions and endpoints. It is not even imported in the plain case
that CI and cron have (a key pair given outright, no AWS configuration file): that saves a fifth of a second
of CPU, which is all that a run with nothing to do costs.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from s3batch.errors import EndpointError
from s3batch.s3.endpoint import Endpoint, Signing, split_url
from s3batch.s3.sigv4 import Credentials

if TYPE_CHECKING:
    from s3batch.settings import Settings

_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z")
DEFAULT_REGION = "us-east-1"


class Login:
    """The job's credentials, renewed before they run out. Asked by the coordinator only."""

    def __init__(self, credentials: Any = None, fixed: Credentials | None = None) -> None:
        """``credentials`` are botocore's (they renew themselves), ``fixed`` a pair given outright."""
        self._source = credentials
        self._fixed = fixed

    def current(self) -> Credentials | None:
        """What to sign with now; ``None`` where there is nobody to be. May block for a renewal."""
        if self._source is None:
            return self._fixed
        frozen = self._source.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")

    def renewed(self) -> Credentials | None:
        """Credentials resolved anew after the store refused the old ones; ``None`` if there are no others."""
        before = self.current()
        if self._source is not None and hasattr(self._source, "_refresh"):
            self._source._expiry_time = None  # noqa: SLF001 - botocore has no public way to say "these are dead"
            self._source.refresh_needed = lambda refresh_in=None: True
            after = self.current()
            del self._source.refresh_needed
            return after if after != before else None
        return None


def connect(settings: Settings, bucket: str) -> tuple[Endpoint, Login]:
    """The endpoint of ``bucket`` and who signs in to it. Raises :class:`EndpointError`."""
    plain = not settings.profile and not settings.assume_role and not _configuration_file()
    if plain and settings.access_key and settings.secret_key:
        fixed = Credentials(settings.access_key, settings.secret_key, settings.session_token)
        login = Login(fixed=fixed)
        configured: dict[str, str] = {}
    else:
        login, configured = _by_boto3(settings)
    return _endpoint(settings, bucket, login.current(), configured), login


def _configuration_file() -> bool:
    """Whether an AWS configuration may say more than the settings do."""
    if os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"):
        return True
    return Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().exists()


def _endpoint(settings: Settings, bucket: str, credentials: Credentials | None, configured: dict[str, str]) -> Endpoint:
    region = settings.region or configured.get("region") or DEFAULT_REGION
    url = settings.endpoint_url or configured.get("endpoint_url", "")
    if url and "://" not in url:
        url = f"https://{url}"
    try:
        host, port, tls, base_path = split_url(url or _aws_host(region))
    except ValueError as error:
        raise settings.bad("endpoint_url", f"{error}; write something like https://s3.example.com:9000") from error
    style = configured.get("addressing_style", "auto")
    path_style = settings.path_style or style == "path" or (style == "auto" and _needs_path(host, bucket, url, tls=tls))
    return Endpoint(
        bucket=bucket, region=region, host=host, port=port, tls=tls, base_path=base_path, url=url,
        path_style=path_style, credentials=credentials,
        ca_bundle=os.environ.get("AWS_CA_BUNDLE", "") or configured.get("ca_bundle", ""),
        sign_payload=cast("Signing", settings.sign_payload), checksum=_checksum(settings.checksum),
        lane=_lane(settings, bucket, host, configured, tls=tls), timeout=float(settings.timeout),
    )  # fmt: skip


def _aws_host(region: str) -> str:
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{region}.{suffix}"


def _checksum(name: str) -> str:
    return {"auto": "crc64nvme", "none": ""}.get(name, name)


def _needs_path(host: str, bucket: str, url: str, *, tls: bool) -> bool:
    """A bucket goes into the host's name only where DNS and certificates surely know it there: on AWS."""
    if "." in bucket and tls:
        return True
    return (bool(url) and not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))) or not _DNS_NAME.match(
        bucket.replace(".", "-")
    )


def _lane(settings: Settings, bucket: str, host: str, configured: dict[str, str], *, tls: bool) -> Any:
    """The reference lane where the lean one does not apply: proxies, ARNs, directory buckets, dual-stack..."""
    if settings.lane != "auto":
        return settings.lane
    special = bucket.startswith("arn:") or bucket.endswith(("--x-s3", ".mrap")) or "special" in configured
    return "reference" if special or _proxied(host, tls=tls) else "lean"


def _proxied(host: str, *, tls: bool) -> bool:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return False
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - 20 ms that most runs need not pay

    proxies = getproxies()
    if ("https" if tls else "http") not in proxies or _is_loopback(host):
        return False
    return not proxy_bypass(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# --- where boto3 decides -------------------------------------------------------------------


def _by_boto3(settings: Settings) -> tuple[Login, dict[str, str]]:
    import boto3  # noqa: PLC0415 - see the module's docstring
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    pair: dict[str, Any] = {}
    if settings.access_key and settings.secret_key:
        pair = {
            "aws_access_key_id": settings.access_key,
            "aws_secret_access_key": settings.secret_key,
            "aws_session_token": settings.session_token or None,
        }
    try:
        session = boto3.session.Session(profile_name=settings.profile or None, **pair)
        credentials = session.get_credentials()
        if settings.assume_role:
            credentials = _assumed(session, settings)
        if credentials is not None:
            credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise EndpointError(f"cannot sign in: {error}", hint="give access_key and secret_key, or a profile") from error
    if credentials is None:
        raise EndpointError(
            "no credentials found: neither settings nor environment, profile, web identity or instance role has any",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a plugin: access_key and secret_key)",
        )
    return Login(credentials), _configured(session)


def _configured(session: Any) -> dict[str, str]:
    """What the AWS configuration file says of S3."""
    core = session._session  # noqa: SLF001 - boto3 hides botocore's session, which alone knows
    section = core.get_scoped_config()
    special = section.get("s3", {}) if isinstance(section.get("s3"), dict) else {}
    values = {
        "region": core.get_config_variable("region"),
        "endpoint_url": section.get("endpoint_url"),
        "ca_bundle": core.get_config_variable("ca_bundle"),
        "addressing_style": special.get("addressing_style"),
        "special": "yes" if any(special.get(name) == "true" for name in _SPECIAL) else None,
    }
    return {name: str(value) for name, value in values.items() if value}


_SPECIAL = ("use_accelerate_endpoint", "use_dualstack_endpoint", "us_east_1_regional_endpoint")


def _assumed(session: Any, settings: Settings) -> Any:
    """Credentials of the role to assume; they renew themselves."""
    from botocore.credentials import RefreshableCredentials  # noqa: PLC0415

    url = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL") or None
    sts = session.client("sts", region_name=settings.region or DEFAULT_REGION, endpoint_url=url)
    asked: dict[str, Any] = {
        "RoleArn": settings.assume_role,
        "RoleSessionName": settings.assume_role_session_name or "s3batch",
    }

    def fetch() -> dict[str, str]:
        if settings.oidc_token_id:
            answer = sts.assume_role_with_web_identity(**asked, WebIdentityToken=settings.oidc_token_id)
        else:
            external = {"ExternalId": settings.external_id} if settings.external_id else {}
            answer = sts.assume_role(**asked, **external)
        got = answer["Credentials"]
        return {
            "access_key": got["AccessKeyId"], "secret_key": got["SecretAccessKey"], "token": got["SessionToken"],
            "expiry_time": got["Expiration"].isoformat(),
        }  # fmt: skip

    return RefreshableCredentials.create_from_metadata(fetch(), refresh_using=fetch, method="sts-assume-role")
