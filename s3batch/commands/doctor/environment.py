"""The facts that need no write: where the bucket is, whose clock is right, and how the bucket is configured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

from s3batch.base.units import format_duration
from s3batch.commands.doctor.bucket_config import parse_lifecycle, parse_lock, parse_versioning
from s3batch.commands.doctor.visit import Visit
from s3batch.s3 import permissions
from s3batch.s3.requests import Request

_SKEW_WORTH_A_WORD = 60.0
"""Seconds. S3 refuses requests signed more than 15 minutes off; s3batch corrects its clock by the store's Date."""
_GRAIN = 2.0
"""Seconds. A Date is cut to whole ones."""
_NOTHING_THERE = frozenset({404, 405, 501})
"""Statuses that mean: nothing is configured, or the store does not support it."""

T = TypeVar("T")


def about_us(visit: Visit) -> None:
    """Note endpoint, region, credentials and the way requests are made."""
    endpoint, found, settings = visit.probe.bucket.endpoint, visit.findings, visit.settings
    head = visit.probe.ask(Request("HeadBucket", "HEAD")).answer
    region = head.headers.get("x-amz-bucket-region") or endpoint.region
    wrong = settings.region not in ("", region)
    found.fact("region", region, f"{region}; the settings say {settings.region}" if wrong else region)
    keys = f"the keys from {settings.origin('access_key')}" if settings.access_key else "what boto3 found"
    found.fact("signed_in_with", f"the role {settings.assume_role}, by {keys}" if settings.assume_role else keys)
    found.fact("requests_by", endpoint.lane, "the built-in client" if endpoint.lane == "lean" else "boto3")
    style = "path" if endpoint.path_style else "host"
    found.fact("bucket_in", style, f"the {style} of each request")
    note_clock(visit)


def note_clock(visit: Visit) -> None:
    """Compare this machine's clock with the store's."""
    skew = visit.probe.skew
    visit.findings.fact("clock", None if skew is None else round(skew, 1), _describe_skew(skew))
    if skew is not None and abs(skew) > _SKEW_WORTH_A_WORD:
        visit.findings.warnings.append(
            f"the store's clock is {_describe_skew(skew)}; S3 refuses requests that are signed 15 minutes off"
        )


def _describe_skew(skew: float | None) -> str:
    if skew is None:
        return "unknown, no answer had a Date"
    if abs(skew) < _GRAIN:
        return "equal to this machine's"
    return f"{format_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this machine's"


def note_versioning(visit: Visit) -> None:
    """Note whether the bucket keeps replaced objects as old versions."""
    status, unseen = _read_configuration(visit, "GetBucketVersioning", "versioning=", parse_versioning)
    visit.findings.fact("versioning", None if unseen else (status or "off").lower(), unseen)
    if status == "Enabled":
        visit.findings.warnings.append(
            "the bucket is versioned: replaced and deleted objects are still stored and paid for, until a "
            "lifecycle rule removes old versions"
        )


def note_lifecycle(visit: Visit) -> None:
    """Note the rules that delete, freeze or abort objects below the target."""
    rules, unseen = _read_configuration(visit, "GetBucketLifecycleConfiguration", "lifecycle=", parse_lifecycle)
    concerned = [rule for rule in rules or [] if rule.concerns(visit.target.prefix)]
    value = None if unseen else [rule._asdict() for rule in concerned]
    words = ", ".join(rule.name for rule in concerned) or "no rule for the target"
    visit.findings.fact("lifecycle", value, unseen or words)
    visit.findings.warnings += [warning for rule in concerned for warning in rule.warnings()]


def object_lock(visit: Visit) -> str:
    """Return how long the bucket locks every new object by default; empty: it does not."""
    lock, unseen = _read_configuration(visit, "GetObjectLockConfiguration", "object-lock=", parse_lock)
    on = lock is not None and lock.enabled
    keeps = lock.keeps if lock else ""
    words = f"on, each object is kept for {keeps}" if keeps else "on, without default retention" if on else "off"
    visit.findings.fact("object_lock", None if unseen else on, unseen or words)
    return keeps


def _read_configuration(visit: Visit, name: str, query: str, parse: Callable[[Any], T]) -> tuple[T | None, str]:
    """Return the configuration, if there is one; and the reason if it is unknown."""
    reply = visit.probe.ask(Request(name, "GET", "", query))
    fault = reply.fault
    if fault is None:
        try:
            return parse(reply.answer.body), ""
        except (ET.ParseError, ValueError):
            return None, "unknown, the answer cannot be read"
    if fault.status in _NOTHING_THERE:
        return None, ""
    needs = permissions.permission_sentence(permissions.missing_permissions(name, fault.code, fault.message))
    return None, "; ".join(filter(None, (f"unknown, {name} is refused: {fault}", needs)))


def note_cloudfront(visit: Visit) -> None:
    """Note that an invalidation is not tried, because that would invalidate."""
    settings = visit.settings
    if not settings.cloudfront_distribution:
        return
    where = settings.cloudfront_endpoint or "https://cloudfront.amazonaws.com"
    visit.not_tried(
        f"invalidate {settings.cloudfront_distribution}", "CreateInvalidation",
        f"it would invalidate; a job asks {where} with the same credentials", needed=False,
        hint=permissions.permission_sentence(permissions.NEEDED["CreateInvalidation"]),
    )  # fmt: skip
