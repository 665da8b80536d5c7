"""What a profile of the AWS config files gives to s3batch, and which of its names s3batch ignores. For ``s3batch config``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.credentials import has_configuration_file, make_boto_session, read_aws_config
from s3batch.settings.texts import without_secrets

if TYPE_CHECKING:
    from s3batch.settings.table import Settings

_SECTION = "s3"
_USED = frozenset(
    {
        "region", "endpoint_url", "services", "ca_bundle", "use_fips_endpoint", "use_dualstack_endpoint",
        "ignore_configured_endpoint_urls", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_account_id",
        "role_arn", "role_session_name", "source_profile", "credential_source", "external_id", "mfa_serial",
        "duration_seconds", "web_identity_token_file", "credential_process", "sso_session", "sso_account_id",
        "sso_role_name", "sso_start_url", "sso_region", "sts_regional_endpoints", "metadata_service_timeout",
        "metadata_service_num_attempts", "ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode",
        "ec2_metadata_v1_disabled", "login_session",
    }
)  # fmt: skip
"""Names of a profile that boto3 reads for s3batch."""
_USED_IN_SECTION = frozenset({"addressing_style", "use_accelerate_endpoint", "use_dualstack_endpoint"})
INSTEAD = {
    "max_concurrent_requests": "--max-concurrency", "multipart_threshold": "--multipart-threshold",
    "multipart_chunksize": "--part-size", "max_bandwidth": "--bandwidth", "target_bandwidth": "--bandwidth",
    "payload_signing_enabled": "--sign-payload", "max_attempts": "--retries", "output": "--json",
    "request_checksum_calculation": "--checksum", "cli_read_timeout": "--timeout", "cli_connect_timeout": "--timeout",
    "read_timeout": "--timeout", "connect_timeout": "--timeout",
}  # fmt: skip
"""The flag for a name that s3batch ignores."""


class AwsProfile(NamedTuple):
    """The facts of the profile in force."""

    name: str
    region: str
    endpoint_url: str
    addressing_style: str
    """``path``, ``virtual``, or ``auto`` where it names none."""
    section: Mapping[str, str]
    """Its ``s3`` section, whole."""
    ignored: tuple[str, ...]
    """Names of the profile and its ``s3`` section that s3batch does not read."""


def read_profile(settings: Settings) -> AwsProfile | None:
    """Return the profile in force; ``None`` without an AWS config file, or where boto3 cannot read it."""
    if not has_configuration_file():
        return None
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - few commands ask

    try:
        session = make_boto_session(settings)
        given: Mapping[str, Any] = session._session.get_scoped_config()  # noqa: SLF001 - boto3 has no other way
        configured = read_aws_config(session, settings)
        name, region = session.profile_name, session.region_name or ""
    except (BotoCoreError, ValueError):  # the commands that sign in say what is wrong
        return None
    section = given.get(_SECTION)
    section = {key: _format_section_value(value) for key, value in section.items()} if isinstance(section, dict) else {}
    ignored = [key for key in given if key not in _USED and not isinstance(given[key], dict)]
    ignored += [key for key in section if key not in _USED_IN_SECTION]
    endpoint = without_secrets(configured.endpoint_url)
    return AwsProfile(name, region, endpoint, configured.addressing_style, section, tuple(ignored))


def _format_section_value(value: object) -> str:
    """Return a value as the file has it: botocore reads some as booleans."""
    return str(value).lower() if isinstance(value, bool) else str(value)
