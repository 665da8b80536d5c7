"""CloudFront invalidations, after everything else of a job has succeeded.

    all       one wildcard below the target: ``/*`` or ``/site/*``
    changed   the changed keys themselves; the wildcard where they are too many or too long

The only door to boto3's CloudFront client. Sending an invalidation again is harmless and, with the same paths, free.
Its reference is made of the job and the paths, and CloudFront answers with the existing one.

The journal holds a row number: changes in higher rows still have to be invalidated, by whichever
job they were made. So neither a resumed job nor a new one in the place of a failed one forgets them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import JobFailedError
from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.permissions import missing_permissions, permission_sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.journal import Journal
    from s3batch.settings.table import Settings

PATHS_A_REQUEST = 3000
"""CloudFront's limit: paths in progress per distribution.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html"""

WILDCARDS = 15
"""CloudFront's limit: wildcards in progress per distribution."""

PATH_LENGTH = 4000
"""CloudFront's limit: characters in a path."""

BATCHES = 5
"""A limit of s3batch: for more, one wildcard is cheaper. Beyond 1,000 a month each path costs money; a wildcard is one.
"""

_UNSAFE = re.compile(rb"[^!$&'()*+,./:;=@\w-]")
"""The characters that RFC 1738 calls unsafe, and ``?``. CloudFront does not find the object if others are encoded."""

_PATIENCE = 60
"""Seconds of silence."""
_TOO_MANY = "TooManyInvalidationsInProgress"


class InvalidationBatch(NamedTuple):
    """One CreateInvalidation request."""

    reference: str
    """CallerReference: the same for the same job and paths, so that a resumed job does not pay twice."""
    paths: tuple[str, ...]


def wildcard_path(prefix: str) -> str:
    """Return the path for all keys below ``prefix``, which is empty or ends with ``/``."""
    return f"{path_of(prefix)}*"


def path_of(key: str) -> str:
    """Return ``key`` in CloudFront's form: with a leading slash, and unsafe characters percent-encoded."""
    raw = key.encode("utf-8", "surrogateescape")
    return "/" + _UNSAFE.sub(lambda found: f"%{found[0][0]:02X}".encode(), raw).decode("ascii")


def plan_invalidations(
    prefix: str, job: str, changed: Iterable[str] | None, most: int = PATHS_A_REQUEST * BATCHES
) -> list[InvalidationBatch]:
    """Return the requests for the ``changed`` keys, or for all below ``prefix`` (``None``). No key, no request.

    For more than ``most`` paths it is one wildcard.
    """
    whole = [_make_batch(job, [wildcard_path(prefix)])]
    if changed is None:
        return whole
    paths = sorted({path_of(key) for key in islice(changed, most + 1)})
    if _over_a_limit(paths, most):
        return whole
    return [_make_batch(job, paths[start : start + PATHS_A_REQUEST]) for start in range(0, len(paths), PATHS_A_REQUEST)]


def _over_a_limit(paths: Sequence[str], most: int) -> bool:
    return (
        len(paths) > most
        or sum(path.endswith("*") for path in paths) > WILDCARDS
        or any(len(path) > PATH_LENGTH for path in paths)
    )


def _make_batch(job: str, paths: Sequence[str]) -> InvalidationBatch:
    digest = hashlib.blake2b("\n".join(paths).encode(), digest_size=8).hexdigest()
    return InvalidationBatch(f"s3batch-{job}-{digest}", tuple(paths))


def begin_invalidation(settings: Settings, journal: Journal) -> None:
    """Begin a job: an invalidation is due for its changes, beside those of earlier jobs."""
    if settings.cloudfront_distribution and journal.recall(_invalidation_mark(settings, journal)) is None:
        journal.remember(_invalidation_mark(settings, journal), journal.jobs.current.after_operation)


def is_due(settings: Settings, journal: Journal, *, changed: bool) -> bool:
    """Return whether a job would end with an invalidation, given whether it ``changed`` anything."""
    owed = changed or journal.outcomes.find_last_change(
        journal.recall(_invalidation_mark(settings, journal)) or journal.jobs.current.after_operation
    )
    return bool(settings.cloudfront_distribution and (settings.cloudfront_always or owed))


def send_invalidations(settings: Settings, journal: Journal, prefix: str, session: Callable[[], Any]) -> list[str]:
    """Send the invalidations that are due; return their ids. ``session`` makes the boto3 session.

    Raises :class:`JobFailedError`, and then it is still owed.
    """
    if not settings.cloudfront_distribution:
        return []
    after = journal.recall(_invalidation_mark(settings, journal)) or 0
    last = journal.outcomes.find_last_change(after)
    if not last and not settings.cloudfront_always:
        return []
    changed = journal.outcomes.read_changed_keys(after) if settings.cloudfront_paths == "changed" and last else None
    client = _connect_or_fail(settings, session)
    made = invalidate_paths(
        client, settings.cloudfront_distribution, prefix=prefix, job=journal.jobs.current_id, changed=changed
    )
    journal.jobs.add_tally(requests={"CreateInvalidation": len(made)})
    journal.remember(_invalidation_mark(settings, journal), last or after)
    return made


def _connect_or_fail(settings: Settings, session: Callable[[], Any]) -> Any:
    try:
        return connect_cloudfront(session(), settings.cloudfront_endpoint)
    except Exception as error:  # any error of boto3 here comes from the settings or the AWS configuration
        raise JobFailedError(f"cannot set up boto3 for CloudFront: {error}", hint=_LATER) from error


def _invalidation_mark(settings: Settings, journal: Journal) -> str:
    return f"invalidated {settings.cloudfront_distribution} {journal.jobs.current.target}"


def connect_cloudfront(session: Any, endpoint_url: str = "") -> Any:
    """Return a CloudFront client of the boto3 ``session``; without a URL boto3 finds one (AWS_ENDPOINT_URL_CLOUDFRONT)."""
    from botocore.config import Config  # noqa: PLC0415 - boto3 is loaded where it is needed

    from s3batch.s3.other_services import judge_client  # noqa: PLC0415 - the same

    config = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=10, read_timeout=_PATIENCE)
    region = session.region_name or "us-east-1"  # CloudFront has none, boto3 wants one to sign
    client = session.client("cloudfront", endpoint_url=endpoint_url or None, region_name=region, config=config)
    return judge_client(client, _PATIENCE, "CloudFront")


def invalidate_paths(
    client: Any, distribution: str, *, prefix: str, job: str, changed: Iterable[str] | None
) -> list[str]:
    """Ask for the invalidation and return its ids; it is not waited for.

    Where CloudFront has too many paths in progress to take the single ones, the wildcard goes in their place.
    """
    batches = plan_invalidations(prefix, job, changed)
    whole = plan_invalidations(prefix, job, None)
    try:
        return [_create_invalidation(client, distribution, batch) for batch in batches]
    except JobFailedError as error:
        if batches == whole or not isinstance(error, _TooManyError):
            raise
    return [_create_invalidation(client, distribution, batch) for batch in whole]


class _TooManyError(JobFailedError):
    """CloudFront is busy with as many paths as it takes."""


def _create_invalidation(client: Any, distribution: str, batch: InvalidationBatch) -> str:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

    wanted = {
        "Paths": {"Quantity": len(batch.paths), "Items": list(batch.paths)},
        "CallerReference": batch.reference,
    }
    try:
        answer = client.create_invalidation(DistributionId=distribution, InvalidationBatch=wanted)
        return str(answer["Invalidation"]["Id"])
    except ClientError as error:
        raise _refused_invalidation(distribution, batch, error.response) from error
    except Exception as error:  # an error of boto3 itself, or a malformed response
        said = "the answer names no invalidation" if isinstance(error, KeyError) else str(error)
        raise JobFailedError(f"{_describe_batch(distribution, batch)}: {said}", hint=_LATER) from error


_LATER = "the objects are in place; resume the job, or sync again with cloudfront_always"


def _refused_invalidation(distribution: str, batch: InvalidationBatch, response: Any) -> JobFailedError:
    """Return the error of a refused invalidation: the request, CloudFront's answer, the next step."""
    code, message = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    request = response.get("ResponseMetadata", {}).get("RequestId", "")
    needs = permission_sentence(missing_permissions("CreateInvalidation", code, message))
    hint = f"the credentials lack a permission: it {needs}" if needs else _LATER
    kind = _TooManyError if code == _TOO_MANY else JobFailedError
    said = f"{code}: {message}" + (f" (request {request})" if request else "")
    return kind(f"{_describe_batch(distribution, batch)}: {said}", hint=hint)


def _describe_batch(distribution: str, batch: InvalidationBatch) -> str:
    what = batch.paths[0] if len(batch.paths) == 1 else f"{len(batch.paths)} paths"
    return f"cannot invalidate {what} of CloudFront distribution {distribution}"
