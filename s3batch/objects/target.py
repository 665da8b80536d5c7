"""The target: the bucket, and the key of each file.

    prefix   empty, or ends with exactly one ``/``: nothing outside it is ever listed for deletion
    key      prefix + path, after ``strip_prefix`` has taken away the front of the path

A key never begins with ``/`` and never holds ``.`` or ``..`` taken from the target.
"""

from __future__ import annotations

import re

from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.direction import format_place
from s3batch.settings.table import Settings
from s3batch.settings.texts import is_utf8

_WEBSITE = r"(?i)(?P<name>.+)\.s3-website[-.][a-z0-9-]+\.amazonaws\.com(?:\.cn)?"
_WILD = r"\*\*|\*|\?|[^*?]+"
_WILDCARDS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}

_UTF8_HINT = "write it in UTF-8: the keys of objects are text"
_UP_HINT = "write a target without '..'"
_BUCKET_HINT = "write the bucket's name alone; what comes below it is the target"


class Target(NamedTuple):
    """A bucket and the place in it. Frozen and picklable."""

    bucket: str
    prefix: str
    warnings: tuple[str, ...] = ()
    """Warnings to print once."""
    whole: str = ""
    """The target as a key, for a source that is one file; empty where the target names a directory."""
    stripped: re.Pattern[str] | None = None
    """The prefix that is stripped from every path."""
    stripped_text: str = ""
    """The same as text, if it holds no wildcard: then the path can be found from the key."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Target:
        """Return the target. Raises SettingsError for a malformed bucket or target."""
        if not settings.bucket:
            raise settings.bad("bucket", "name the bucket")
        if _is_impossible_name(settings.bucket):
            raise settings.bad("bucket", _BUCKET_HINT)
        if _has_parent_segment(settings.target):
            raise settings.bad("target", _UP_HINT)
        if not is_utf8(settings.target):
            raise settings.bad("target", _UTF8_HINT)
        return normalise_target(settings.bucket, settings.target, settings.strip_prefix or "")

    @property
    def url(self) -> str:
        """The place as every message names it."""
        return format_place(f"{self.bucket}/{self.prefix}")

    def key(self, path: str) -> str:
        """Return the key of a file; ``path`` is relative to the source."""
        return self.prefix + (path if self.stripped is None else self._strip_prefix(self.stripped, path))

    def key_of_single(self, name: str) -> str:
        """Return the key of a source that is one file: the target itself, or ``name`` below it if it ends with ``/``."""
        return self.whole or self.key(name)

    @staticmethod
    def _strip_prefix(front: re.Pattern[str], path: str) -> str:
        found = front.match(path)
        # a path that would vanish as a whole stays as it is: an empty name is no key
        return (path[found.end() :].lstrip("/") if found else "") or path


def normalise_target(bucket: str, target: str, strip_prefix: str = "") -> Target:
    """Normalise ``target``: no empty and ``.`` segments; a website's host name becomes its bucket, with a warning."""
    if _is_impossible_name(bucket):
        raise SettingsError(f"bucket {bucket!r} is not a valid bucket name", hint=_BUCKET_HINT)
    if _has_parent_segment(target):
        raise SettingsError(f"target {target!r} leaves the bucket", hint=_UP_HINT)
    website = re.fullmatch(_WEBSITE, bucket) if ".s3-website" in bucket.lower() else None
    name = website["name"] if website else bucket
    warning = f"bucket {bucket} is the host name of a website; its bucket is {name}"
    whole = "/".join(segment for segment in target.split("/") if segment not in ("", "."))
    front = strip_prefix.removeprefix("./").lstrip("/")
    return Target(
        bucket=name,
        prefix=whole and f"{whole}/",
        warnings=(warning,) if website else (),
        whole="" if target.endswith("/") else whole,
        stripped=_compile_prefix(front),
        stripped_text="" if "*" in front or "?" in front else front,
    )


def _has_parent_segment(target: str) -> bool:
    return ".." in target.split("/")


def _is_impossible_name(bucket: str) -> bool:
    # an access point's ARN stands for a bucket too
    return "/" in bucket and not bucket.startswith("arn:")


def _compile_prefix(plain: str) -> re.Pattern[str] | None:
    """Return the prefix as a pattern: ``*`` and ``?`` stay inside a segment, ``**`` crosses; the rest is literal."""
    if not plain:
        return None
    return re.compile(
        "".join(_WILDCARDS.get(piece) or re.escape(piece) for piece in re.findall(_WILD, plain)), re.DOTALL
    )
