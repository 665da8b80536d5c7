"""The direction of a sync: which of its two sides are in S3, told from the settings in this one place.

    source          target          direction
    a local path    s3://B/P        upload, also with a bare target and ``bucket``
    s3://B/P        a local path    download
    s3://B/P        s3://B/P        transfer
    -, s3://B/KEY   s3://B/KEY, -   stream

In a download ``bucket`` is empty and ``target`` is a local path. In any other direction ``bucket`` and ``target`` are the
place in S3 that is written. A source in S3 is reached with the settings that :func:`settings_of_source` returns.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.endpoint_names import may_be_one_endpoint

if TYPE_CHECKING:
    from s3batch.settings.table import Settings

S3_SCHEME = "s3://"
STREAM = "-"
"""The word for stdin as source, and for stdout as target."""
NO_KEY = "none"
"""The value of ``source_sse_c_key`` for a source whose objects have no key of SSE-C, where the target's have."""
_PLACE_HINT = "write s3://BUCKET/PREFIX"
_CREDENTIALS = ("access_key", "secret_key", "session_token", "profile")
_ROLES = ("assume_role", "external_id", "user_role_arn", "user_role_external_id", "oidc_token_id")


def format_place(place: str) -> str:
    """Return a place as journals or settings have it in the one form of all reports: ``s3://BUCKET/PREFIX``, or a path.

    A slash at the end is left out: else one target would have two names, by where its run has ended.
    """
    if place.startswith("/") or place in {"", STREAM}:
        return place
    return f"{S3_SCHEME}{place.removeprefix(S3_SCHEME).rstrip('/')}"


class Direction(StrEnum):
    """The way that content takes."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    TRANSFER = "transfer"
    STREAM = "stream"

    @property
    def reads_s3(self) -> bool:
        """True if a whole prefix of S3 is the source."""
        return self in {Direction.DOWNLOAD, Direction.TRANSFER}


class S3Place(NamedTuple):
    """A prefix of a bucket, or one key in it."""

    bucket: str
    key: str
    """The key as it was written, without the slash behind the bucket."""

    @property
    def prefix(self) -> str:
        """The text that every key below the place begins with: empty, or with ``/`` at its end."""
        return self.key if not self.key or self.key.endswith("/") else f"{self.key}/"

    @property
    def url(self) -> str:
        """``s3://BUCKET/PREFIX``."""
        return f"{S3_SCHEME}{self.bucket}/{self.key}"


def is_in_s3(text: str) -> bool:
    """Return whether a source or target is written as a place in S3."""
    return text.startswith(S3_SCHEME)


def find_direction(settings: Settings) -> Direction:
    """Return the direction of a sync with these settings."""
    if settings.source == STREAM or (is_in_s3(settings.source) and settings.target == STREAM):
        return Direction.STREAM
    if is_in_s3(settings.source):
        return Direction.TRANSFER if settings.bucket else Direction.DOWNLOAD
    return Direction.UPLOAD


def names_store(settings: Settings) -> bool:
    """Return whether the settings name a bucket to read or to write."""
    return bool(settings.bucket) or is_in_s3(settings.source)


def parse_source_place(settings: Settings) -> S3Place:
    """Return the place in S3 that is the source. Raises SettingsError if it names no bucket."""
    bucket, _, key = settings.source.removeprefix(S3_SCHEME).partition("/")
    if not bucket:
        raise settings.bad("source", _PLACE_HINT)
    return S3Place(bucket, key)


def is_source_elsewhere(settings: Settings) -> bool:
    """Return whether the source is at another endpoint than the one whose credentials the settings hold.

    Where no side but the source is in S3 and no other endpoint is named, all credentials are the source's.
    """
    source, target = settings.source_endpoint_url, settings.endpoint_url
    if not source or source == target:
        return False
    return bool(target) or bool(settings.bucket)


def settings_of_source(settings: Settings) -> Settings:
    """Return the settings with the access to the source in the place of the access to the target.

    What is not named for the source is as for the target; but with another endpoint no credential of the target is.
    Raises SettingsError if no credential is left.
    """
    place, elsewhere = parse_source_place(settings), is_source_elsewhere(settings)
    origins = dict(settings.origins)
    changes: dict[str, Any] = {"bucket": place.bucket}

    def take(name: str, *, always: bool = False) -> None:
        given = f"source_{name}"
        if given in settings.origins or getattr(settings, given) or always:
            changes[name] = getattr(settings, given)
            origins.pop(name, None)
            if given in settings.origins:
                origins[name] = settings.origins[given]

    for name in ("endpoint_url", "path_style"):
        take(name)
    for name in ("region", "sse_c_key"):
        take(name, always=elsewhere)
    if changes.get("sse_c_key") == NO_KEY:
        changes["sse_c_key"] = ""
    if elsewhere or any(getattr(settings, f"source_{name}") for name in _CREDENTIALS):
        for name in _CREDENTIALS:
            take(name, always=True)
        changes |= dict.fromkeys(_ROLES, "")
    if elsewhere and not (changes["access_key"] or changes["profile"] or settings.no_sign_request):
        raise SettingsError(
            f"the source is at {settings.source_endpoint_url}, and no credentials are named for it",
            hint="give --source-access-key and --source-secret-key, --source-profile, or --no-sign-request",
        )
    return settings._replace(**changes, origins=origins)


def require_two_places(settings: Settings) -> None:
    """Raise SettingsError for sides that no sync can have: both local, the same place, one inside the other."""
    direction = find_direction(settings)
    if direction is Direction.UPLOAD:
        if not settings.bucket and _has_target(settings) and not settings.plugin:
            raise SettingsError(
                f"source {settings.source!r} and target {settings.target!r} are both local",
                hint="write one of them as s3://BUCKET/PREFIX, or name the target's bucket with --bucket",
            )
        return
    if direction is Direction.STREAM:
        _require_one_stream(settings)
        return
    place = parse_source_place(settings)
    if direction is Direction.DOWNLOAD:
        if not _has_target(settings):
            from s3batch.settings.shell_lines import format_shell_line  # noqa: PLC0415 - only for a command to be typed

            line = format_shell_line("s3batch", settings.command, place.url)
            raise SettingsError("target is missing", hint=f"write {line} DIRECTORY")
        return
    source_url = settings.source_endpoint_url or settings.endpoint_url
    if place.bucket != settings.bucket or not may_be_one_endpoint(source_url, settings.endpoint_url):
        return
    target = S3Place(settings.bucket, "/".join(part for part in settings.target.split("/") if part not in ("", ".")))
    if place.prefix == target.prefix:
        raise SettingsError(f"source and target are the same place, {target.url}", hint="write another target")
    if target.prefix.startswith(place.prefix):
        raise SettingsError(
            f"the target {target.url} is inside the source {place.url}", hint="write a target outside the source"
        )
    if settings.delete and place.prefix.startswith(target.prefix):
        raise SettingsError(
            f"the source {place.url} is inside the target {target.url}, and --delete would delete it",
            hint="write a target outside the source, or leave out --delete",
        )


def _has_target(settings: Settings) -> bool:
    return "target" in settings.origins or settings.target != "/"


def _require_one_stream(settings: Settings) -> None:
    """Raise SettingsError unless one side of a stream is one key in S3."""
    if settings.source == STREAM and not settings.bucket:
        raise SettingsError(
            "source - is stdin, and the target is no key in S3", hint="write s3batch sync - s3://BUCKET/KEY"
        )
    key = parse_source_place(settings).key if settings.source != STREAM else settings.target.lstrip("/")
    if not key or key.endswith("/"):
        raise SettingsError("a stream is one object, and its key is missing", hint="write s3://BUCKET/KEY")
