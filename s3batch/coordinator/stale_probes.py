"""Probes of dead runs: small objects below ``.s3batch/`` in the target that a kill has left, found in the listing.

Those of a worker that has died in this run are found by a look of their own, which only such a run pays for.

A worker and the plan probe a store before they use what some stores do not do, and remove their probes at once. The
probe of a job that runs elsewhere may be removed too. Its job then counts it as a probe that could not be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError
from s3batch.objects.own_keys import PROBE
from s3batch.s3 import requests
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3batch.journal import Journal
    from s3batch.s3.bucket import Bucket


def remove_stale_probes(journal: Journal, bucket: Bucket, prefix: str) -> None:
    """Delete the probes below ``prefix``, as far as the job's listing has shown them. One that cannot be deleted stays.

    If a worker has died since, or a write got no answer, the store is asked for them.
    """
    try:
        if journal.doubts.list_all():
            pages = bucket.list_objects(prefix + PROBE)
            keys: Iterable[str] = [each.key for page in pages for each in page.objects]
        else:
            keys = journal.objects.read_listed_below(prefix + PROBE)
        for key in keys:
            bucket.ask(requests.delete_object(key))
    except (RequestError, EndpointError):
        return
