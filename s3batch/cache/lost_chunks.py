"""The look for chunks that the store lost, which a rebuild would believe to be there.

    own ids, sorted    ···a······b··c·········d····e···
    one page of the listing      [··c·········d·]        c and d are looked at now, e and a by later rebuilds

Each rebuild asks for one page of 1,000 keys below the chunks' prefix. It begins at the first own chunk after the end of
the last page. In a bucket with fewer chunks each rebuild sees all of them. A chunk that the page lacks is looked up by a
HEAD before it counts as lost.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from s3batch.base.units import format_plural
from s3batch.cache.object_keys import CHUNKS, chunk_key
from s3batch.s3 import requests
from s3batch.s3.gather import gather_results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3batch.cache.session import CacheSession
    from s3batch.s3.listing import ListingPage


def look_for_lost(session: CacheSession, ids: Iterable[bytes]) -> bool:
    """Note in ``session.lost`` which of ``ids`` the store lacks; return True if it lacks any. A second call sends nothing.

    ``ids`` name the chunks and segments of the cache that the rebuild builds on.
    """
    if session.lost is None:
        session.lost = _compare_page(session, ids)
        if session.lost:
            count = format_plural(len(session.lost), "chunk")
            session.warn(
                f"the store has lost {count} of {session.names.title}: the content is stored again; find what deletes "
                f"below {session.base}{CHUNKS}"
            )
    return bool(session.lost)


def _compare_page(session: CacheSession, ids: Iterable[bytes]) -> frozenset[bytes]:
    keys = {chunk_key(session.base, identity): identity for identity in ids}
    if not keys:
        return frozenset()
    ordered, name = sorted(keys), f"lost chunks {session.settings.bucket}/{session.base}"
    last = session.journal.recall(name)
    first = bisect_right(ordered, last) if isinstance(last, str) else 0
    first = first if first < len(ordered) else 0
    begin = ordered[first][:-1]  # right before the key, which start-after leaves out
    answer = session.bucket.ask(requests.list_objects(f"{session.base}{CHUNKS}", start_after=begin))
    if not answer.ok:
        session.output.detail(f"cannot list the chunks of the cache to find lost ones: {answer.status}")
        return frozenset()
    page: ListingPage = answer.document
    shown = [each.key for each in page.objects]
    if page.token and shown != sorted(shown):
        return frozenset()  # a listing without order tells of no key that it is missing
    session.journal.remember(name, shown[-1] if page.token else "")
    there, end = set(shown), shown[-1] if page.token else ordered[-1]
    lacking = [key for key in ordered[first:] if key <= end and key not in there]
    heads = session.bucket.run(gather_results(session.bucket.send(requests.head_object(key)) for key in lacking))
    return frozenset(keys[key] for key, head in zip(lacking, heads, strict=True) if head.status == 404)
