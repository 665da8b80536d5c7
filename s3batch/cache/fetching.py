"""Fetches of a cache's objects: content that is wrong, and not as the store holds it, was spoilt on its way and comes again.

content ─ can be read ──────────────────> done
        ├ wrong, and as its ETag says ──> the object is damaged: no other try fares better
        └ wrong ────────────────────────> fetched again, within the tries of the job
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from s3batch.base.errors import ArchiveError
from s3batch.objects.content_match import ContentEvidence, is_same_content

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Response

_Answer = TypeVar("_Answer", bound="Response | None")
_Value = TypeVar("_Value")


def is_as_stored(response: Response) -> bool | None:
    """Return whether the content in the answer to a GET is that of the object; ``None`` if nothing tells."""
    evidence = ContentEvidence.from_head(response.headers)
    return is_same_content(lambda: [response.body], len(response.body), evidence, 0)


async def fetch_readable(
    bucket: Bucket, fetch: Callable[[], Awaitable[_Answer]], read: Callable[[_Answer], _Value]
) -> _Value:
    """Return what ``read`` makes of the answer to a GET. If it raises ArchiveError, the object is fetched again.

    Where nothing tells whether content is as stored, the same content twice is.
    """
    before = None
    for attempt in range(1, bucket.tries):
        answer = await fetch()
        try:
            return read(answer)
        except ArchiveError:
            if answer is None or not answer.ok:
                raise
            as_stored = is_as_stored(answer)
            if as_stored or (as_stored is None and answer.body == before):
                raise
            before = answer.body
        await bucket.wait_before_try(attempt)
    return read(await fetch())
