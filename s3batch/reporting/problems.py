"""The problems of a run, whatever the command calls them, each with its cause and the next step.

failures     of a job       ─┐
differences  of a verify    ─┼─→ Problem
checks       of a doctor    ─┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.reporting.json_stream import Spool
from s3batch.s3 import permissions
from s3batch.s3.faults import THROTTLED_STATUSES

_STEPS: Mapping[str, str] = {
    "Archived": "restore the object first",
    "Blocked": "remove or rename what is in its way; --delete removes an orphan",
    "BrokenLink": "correct or remove the link, or write --symlinks skip",
    "Changed": "run it again when nothing writes to the file",
    "Connection": "check endpoint_url and the network",
    "EntityTooLarge": "write a larger --part-size, or leave the file out",
    "FileTooLarge": "split the file, or exclude it",
    "InsufficientStorage": "make room in the bucket",
    "KeyTooLongError": "shorten the path",
    "KMSKeyUnavailable": "check the KMS key and the permissions on it",
    "NoSuchBucket": "create the bucket, or correct the target",
    "NoSuchUpload": "run it again: the upload begins anew",
    "NotImplemented": "leave out the setting that the store does not support; s3batch doctor finds it",
    "QuotaExceeded": "make room in the bucket",
    "RequestTimeTooSkewed": "set this machine's clock",
    "RequestTimeout": "check the network, or lower --max-concurrency",
    "ServiceUnavailable": "lower --max-concurrency",
    "SlowDown": "lower --max-concurrency",
    "Timeout": "check the network, or write a longer --timeout",
    "TooManyRequests": "lower --max-concurrency",
    "Unreadable": "make the file readable for this user, or exclude it",
    "Vanished": "run it again: the file is gone",
    "WorkerLost": "give the workers more memory, or lower --workers and --max-concurrency",
    "drifted": "make a new plan",
}
"""The next step by S3's error code, or by one of s3batch."""
_CREDENTIALS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
)
_DIFFERENCES: Mapping[str, str] = {
    "missing": "run s3batch sync with the same settings",
    "different": "run s3batch sync with the same settings",
    "extra": "run s3batch sync --delete, or add the file to the source",
}


class Problem(NamedTuple):
    """One thing that is not as it should be."""

    operation: str
    key: str
    path: str
    code: str
    """S3's error code, or a word of s3batch. Never empty."""
    cause: str
    step: str
    """What to do about it, as an imperative."""
    facts: str
    """HTTP status, request id and number of tries, between commas; empty if nothing is known."""


def count_problems(document: Mapping[str, Any]) -> int:
    """Return the number of problems of a document."""
    checks = sum(map(_is_failed_check, document.get("checks", ())))
    return len(document.get("failures", ())) + len(document.get("differences", ())) + checks


def list_problems(document: Mapping[str, Any], headers: Mapping[str, str], resume: str) -> Iterator[Problem]:
    """Yield the problems of a document. ``headers``: see :func:`s3batch.s3.permissions.headers_of`.

    ``resume`` is the command that finishes the job; empty if it leaves nothing to finish.
    """
    again = f"run {resume}" if resume else "run it again"
    return chain(
        (_make_failure_problem(each, headers, again) for each in document.get("failures", ())),
        map(_make_difference_problem, _iterate_rows(document.get("differences", ()))),
        (_make_check_problem(each) for each in document.get("checks", ()) if _is_failed_check(each)),
    )


def suggest_step(failure: Mapping[str, Any], headers: Mapping[str, str], again: str) -> str:
    """Return the next step after a failed operation; ``again`` is the step that tries it once more."""
    code, status = failure["code"], failure["status"]
    needs = permissions.of_failure(failure["operation"], failure["error"], code, headers)
    if needs:
        return f"grant {' and '.join(needs)}, then {again}"
    if code in _CREDENTIALS:
        return f"renew the credentials, then {again}"
    known = _STEPS.get(code) or (_STEPS["SlowDown"] if status in THROTTLED_STATUSES else "")
    if not known and status >= 500:
        known = "wait until the store works again"
    if known:
        return known if "run it again" in known else f"{known}, then {again}"
    return f"correct the cause, then {again}"


def _iterate_rows(rows: Any) -> Iterator[dict[str, Any]]:
    return rows.read_rows() if isinstance(rows, Spool) else iter(rows)


def _make_failure_problem(failure: Mapping[str, Any], headers: Mapping[str, str], again: str) -> Problem:
    code, error = failure["code"], failure["error"]
    facts = [
        f"HTTP {failure['status']}" if failure["status"] else "",
        f"request {failure['request_id']}" if failure["request_id"] else "",
        f"tried {failure['attempts']} times" if failure["attempts"] > 1 else "",
    ]
    cause = error if not code or code in error else f"{code}: {error}" if error else code
    step = suggest_step(failure, headers, again)
    return Problem(
        failure["operation"], failure["key"], failure["path"], code or "failed", cause or "no cause is known", step,
        ", ".join(filter(None, facts)),
    )  # fmt: skip


def _make_difference_problem(difference: Mapping[str, Any]) -> Problem:
    what, reason = difference["what"], difference["reason"]
    cause = f"{what}: {reason}" if reason else what
    return Problem("compare", difference["key"], difference["path"], what, cause, _DIFFERENCES.get(what, ""), "")


def _is_failed_check(check: Mapping[str, Any]) -> bool:
    return bool(check["needed"]) and check["outcome"] != "allowed"


def _make_check_problem(check: Mapping[str, Any]) -> Problem:
    needs = permissions.permission_sentence(tuple(check["permissions"]))
    step = check["hint"] or (f"grant {needs.removeprefix('needs ')}" if needs else "see s3batch doctor in docs/cli.md")
    facts = [
        f"HTTP {check['status']}" if check["status"] else "",
        f"request {check['request_id']}" if check["request_id"] else "",
    ]
    cause = f"{check['outcome']}: {check['error']}" if check["error"] else check["outcome"]
    return Problem(
        check["call"], check["needed_for"], "", check["code"] or check["outcome"], cause, step,
        ", ".join(filter(None, facts)),
    )  # fmt: skip
