"""Late requests of earlier runs: keys of a killed one, and of writes without an answer, are checked at a job's end.

    kill ──> a PUT waits in a proxy ──> resume: done ──> the PUT lands, and the old content is back

A run that is dead sends nothing more once its timeout is over, counted from its last sign of life. The job waits for
that, but not long; keys that are younger stay marked, and the next job to the target looks at them too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from s3batch.model import Kind, Operation, Reason, RedirectSpec, Result
from s3batch.plan.deletes import find_deletable_objects, make_delete_operation

if TYPE_CHECKING:
    from s3batch.journal import Doubt, Journal
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket

Replan = Callable[[Operation], "Operation | Result | None"]

LONGEST_WAIT = 10.0
"""Seconds."""


def find_doubts(journal: Journal) -> list[Doubt]:
    """Return the keys that have to be looked at."""
    return [doubt for doubt in journal.doubts.list_all() if doubt.until]


def seconds_to_wait(doubts: list[Doubt], now: float) -> float:
    """Return how long to wait until no request to these keys is under way, at most :data:`LONGEST_WAIT`.

    ``now``: the earliest time by the store's clock; this machine's clock may have been set since.
    """
    # the tests that kill hundreds of runs do not wait
    longest = float(os.environ.get("S3BATCH_TEST_LONGEST_WAIT", LONGEST_WAIT))
    return min(max((doubt.until for doubt in doubts), default=0.0) - now, longest)


def plan_late_checks(
    wanted: SyncSpec, journal: Journal, bucket: Callable[[], Bucket], doubts: list[Doubt], replan: Replan
) -> list[Operation]:
    """Return the operations for these keys: compare with a file, set a redirect again, or delete an object that came back.

    ``replan`` plans an operation again for its file or source object as it is now.
    """
    found = {doubt.key: _plan_late_check(wanted, replan, doubt) for doubt in doubts}
    gone = [key for key, operation in found.items() if operation is None]
    back = _find_returned_keys(journal, bucket(), gone, wanted.listed) if gone and wanted.settings.delete else []
    return [
        *filter(None, found.values()),
        *(
            make_delete_operation(each)._replace(reason=Reason.LATE)
            for each in (find_deletable_objects(wanted, journal) if back else ())
            if each.key in back
        ),
    ]


def settle_doubts(journal: Journal, doubts: list[Doubt], now: float) -> None:
    """Take the mark from the keys to which nothing was under way any more at ``now``, by the store's clock."""
    journal.doubts.mark_checked([doubt.key for doubt in doubts if doubt.until <= now])


def _plan_late_check(wanted: SyncSpec, replan: Replan, doubt: Doubt) -> Operation | None:
    """Return the operation for a key of a file or a redirect."""
    for redirect in wanted.redirects:
        if redirect.key == doubt.key:
            return Operation(Kind.REDIRECT, doubt.key, Reason.LATE, spec=RedirectSpec(redirect.location))
    for path in dict.fromkeys([*filter(None, [doubt.path]), *wanted.paths(doubt.key)]):
        if wanted.key(path) != doubt.key or not wanted.selection.wants(path):
            continue
        now = replan(Operation(Kind.RECONCILE, doubt.key, Reason.LATE, path))
        if isinstance(now, Operation):
            return now
    return None


def _find_returned_keys(journal: Journal, bucket: Bucket, keys: list[str], listed: str) -> set[str]:
    """List these keys without a file, and return those that exist."""
    back = bucket.look_up(keys, listed)
    journal.objects.record_found(back)
    return {each.key for each in back}
