"""The configuration of a bucket: lifecycle rules and others, judged by their effect below one prefix. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import format_plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.s3.requests import Body

_COLD = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects cannot be read without being restored first."""


class LifecycleRule(NamedTuple):
    """An enabled lifecycle rule."""

    name: str
    prefix: str
    narrowed: bool
    """True if tags or sizes narrow it to some objects."""
    expires: str
    """When it deletes objects: ``after 30 days``, ``on 2030-01-01``; empty: never."""
    cold: str
    """When it moves them to a class that cannot be read at once."""
    aborts: int
    """Days until it aborts a multipart upload; 0: never."""

    def concerns(self, prefix: str) -> bool:
        """Return whether the rule may apply to a key below ``prefix``."""
        return self.prefix.startswith(prefix) or prefix.startswith(self.prefix)

    def warnings(self) -> Iterator[str]:
        """Yield the consequences that people should know before they keep a cache, or a site, below its prefix."""
        which = f"objects below {self.prefix!r}" if self.prefix else "every object"
        which += " that its tags and sizes select" if self.narrowed else ""
        if self.expires:
            yield (
                f"lifecycle rule {self.name!r} deletes {which} {self.expires}: a sync sends them again, and "
                "chunks that caches share go while they are needed; let s3batch cache prune tidy caches instead"
            )
        if self.cold:
            yield f"lifecycle rule {self.name!r} moves {which} {self.cold}: caches there cannot be restored"
        if self.aborts:
            yield (
                f"lifecycle rule {self.name!r} aborts multipart uploads after {_format_days(self.aborts)}: a large file that "
                "was interrupted has to be resumed by then, or it is sent from the start"
            )


def parse_lifecycle(body: Body) -> list[LifecycleRule]:
    """Return the enabled rules of GetBucketLifecycleConfiguration. Raises ``ET.ParseError`` for other responses."""
    document = ET.fromstring(bytes(body))  # noqa: S314 - from the store, which is trusted with the data
    return [_parse_rule(rule) for rule in document.iterfind("{*}Rule") if rule.findtext("{*}Status") == "Enabled"]


def _parse_rule(rule: ET.Element) -> LifecycleRule:
    prefixes = (rule.findtext(path) for path in ("{*}Filter/{*}And/{*}Prefix", "{*}Filter/{*}Prefix", "{*}Prefix"))
    narrowing = ("Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
    return LifecycleRule(
        name=rule.findtext("{*}ID") or "without a name",
        prefix=next(filter(None, prefixes), ""),
        narrowed=any(rule.find(f"{{*}}Filter//{{*}}{name}") is not None for name in narrowing),
        expires=_describe_time(rule.find("{*}Expiration")),
        cold=next((_describe_transition(each) for each in rule.iterfind("{*}Transition") if _is_cold(each)), ""),
        aborts=int(rule.findtext("{*}AbortIncompleteMultipartUpload/{*}DaysAfterInitiation") or 0),
    )


def _is_cold(transition: ET.Element) -> bool:
    return (transition.findtext("{*}StorageClass") or "") in _COLD


def _describe_transition(transition: ET.Element) -> str:
    return f"to {transition.findtext('{*}StorageClass')} {_describe_time(transition)}"


def _describe_time(element: ET.Element | None) -> str:
    """Return when an action happens; empty also for an expiration that only removes delete markers."""
    if element is None:
        return ""
    if days := element.findtext("{*}Days"):
        return f"after {_format_days(int(days))}"
    date = element.findtext("{*}Date")
    return f"on {date[:10]}" if date else ""


def _format_days(count: int) -> str:
    return format_plural(count, "day")


class ObjectLock(NamedTuple):
    """A bucket's object lock."""

    enabled: bool
    mode: str
    """The mode of the default retention; empty: there is none."""
    days: int

    @property
    def keeps(self) -> str:
        """The time for which new objects cannot be removed; empty: there is none."""
        return f"{_format_days(self.days)} ({self.mode})" if self.mode else ""


def parse_lock(body: Body) -> ObjectLock:
    """Return the lock in a GetObjectLockConfiguration response. Raises ``ET.ParseError`` for other bodies."""
    document = ET.fromstring(bytes(body))  # noqa: S314 - as above
    retention = "{*}Rule/{*}DefaultRetention/"
    days = int(document.findtext(f"{retention}{{*}}Days") or 0)
    years = int(document.findtext(f"{retention}{{*}}Years") or 0)
    return ObjectLock(
        document.findtext("{*}ObjectLockEnabled") == "Enabled",
        document.findtext(f"{retention}{{*}}Mode") or "",
        days or years * 365,
    )


def parse_versioning(body: Body) -> str:
    """Return ``Enabled``, ``Suspended`` or empty. Raises ``ET.ParseError`` if it is no GetBucketVersioning response."""
    return ET.fromstring(bytes(body)).findtext("{*}Status") or ""  # noqa: S314 - as above
