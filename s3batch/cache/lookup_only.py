"""``lookup_only``: report the cache that would be restored, its age and size, with at most two requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.units import format_duration
from s3batch.cache.lookup import SeenObject, is_too_old, look_at_head, published_at, seen_at
from s3batch.cache.run import CacheOutcome
from s3batch.reporting.text import format_amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3batch.cache.object_keys import RestoreCandidate
    from s3batch.cache.session import CacheSession
    from s3batch.model import ListedObject

_RAW, _FILES = "x-amz-meta-s3b-raw", "x-amz-meta-s3b-files"


def look_up(session: CacheSession) -> CacheOutcome:
    """Report the cache that a restore would take, with one request for one key, else a listing and one request."""
    names = session.names
    found = next(_candidate_caches(session), None)
    if found is None:
        words = f"no cache for {names.title}"
        return CacheOutcome(words=words, cache={"hit": False, "key": names.own, "name": names.title}, missed=True)
    seen, files, size = found
    age = max(0.0, session.bucket.clock.now().low - published_at(seen))
    title = session.title(seen.key)
    return CacheOutcome(
        words=f"found {title}: {format_amount(files, size)}, made {format_duration(age)} ago; lookup_only is set",
        cache={
            "hit": True, "key": seen.key, "name": title, "exact": seen.key in names.owns, "files": files, "bytes": size,
            "age": round(age),
        },
    )  # fmt: skip


def _candidate_caches(session: CacheSession) -> Iterator[tuple[SeenObject, int, int]]:
    """Yield the cache to restore, if there is one, with its files and bytes; a second one only after one of no use."""
    for key in _listed_keys(session):
        found = _prove_content(session, key) if session.settings.cache_secret else _read_key_metadata(session, key)
        if found is not None and not is_too_old(session, found[0]):
            yield found


def _prove_content(session: CacheSession, key: str) -> tuple[SeenObject, int, int] | None:
    """Look at the key object's content, which the signature is of."""
    found = look_at_head(session, key)
    if found is None:
        return None
    seen, _, opened = found
    sums = opened.sums()
    return seen, sums.files, sums.size


def _read_key_metadata(session: CacheSession, key: str) -> tuple[SeenObject, int, int] | None:
    """Read the key object's metadata; that of an old cache has no size."""
    seen = seen_at(session.bucket, key)
    if seen is None:
        return None
    return seen, _parse_count(seen.headers.get(_FILES, "")), _parse_count(seen.headers.get(_RAW, ""))


def _listed_keys(session: CacheSession) -> Sequence[str]:
    """Return the keys to try, best first: the listed ones, if more than one key may do."""
    lookups = session.names.lookups
    if len(lookups) == 1 and not lookups[0].is_prefix:
        return [lookups[0].key]
    common = os.path.commonprefix([lookup.key for lookup in lookups])  # noqa: RUF071 - keys are listed by characters
    listed = [each for page in session.bucket.list_objects(common) for each in page.objects]
    return list(dict.fromkeys(key for lookup in lookups for key in _matching_keys(lookup, listed)))


def _matching_keys(lookup: RestoreCandidate, listed: list[ListedObject]) -> list[str]:
    """Return the keys that one lookup of a restore means, newest first."""
    if not lookup.is_prefix:
        return [each.key for each in listed if each.key == lookup.key]
    found = [each for each in listed if each.key.startswith(lookup.key)]
    return [each.key for each in sorted(found, key=lambda each: each.modified, reverse=True)]


def _parse_count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0  # 19 digits hold any int64
