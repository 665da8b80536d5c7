"""The last look of a run that overtook another one: writes of that one may have landed on objects that needed nothing.

    fence raised ─> listing ─> ... ─> the older run's requests are over ─> listing ─> changed meanwhile: compared again

The older run begins nothing after the fence was raised. What it had sent by then is pinned to the object that this run
listed too, so no condition of the store tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.failpoints import reach_failpoint
from s3batch.journal import Doubt
from s3batch.model import Kind, Stage
from s3batch.plan import late_requests, quirk_memory
from s3batch.plan.spec import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.commands.sync.job import SyncJob
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.journal.objects import Facts
    from s3batch.model import ListedObject

LATEST = 2.0
"""Seconds after which hardly a request is still under way: bodies of one request are small."""
_GRAIN = 2.0
"""Seconds by which LastModified may differ from the Date of the response to the write."""


def look_at_late_writes(job: SyncJob, coordinator: Coordinator, seconds: float) -> None:
    """Compare again what changed since the listing and was not changed by this job. ``seconds`` are waited first."""
    if seconds > 0:
        job.runner.signals.sleep(seconds)  # a signal ends it
    late = quirk_memory.read_quirks_in_force(job.journal).late
    job.journal.jobs.learn_facts_so_far(late)
    changed = [
        Doubt(key, "", Kind.UPLOAD, upload=False, since=0.0, until=0.0) for key in _find_changed(job, _GRAIN + late)
    ]
    if not changed:
        return
    coordinator.add(
        late_requests.plan_late_checks(job.wanted, job.journal, lambda: job.bucket, changed, job.make_replan())
    )
    reach_failpoint("looking-again")
    for stage in (Stage.MAIN, Stage.DELETE):
        coordinator.run(stage)


def _find_changed(job: SyncJob, grain: float) -> Iterator[str]:
    for page in job.bucket.list_objects(job.wanted.listed):
        known = job.journal.objects.look_up([each.key for each in page.objects])
        for each in page.objects:
            is_other = each.key.startswith(job.wanted.prefix + KEPT) or not job.wanted.owns(each.key)
            if not (is_other or _is_as_left(each, known[each.key], grain)):
                yield each.key


def _is_as_left(now: ListedObject, facts: Facts, grain: float) -> bool:
    """Return whether an object is the one that was listed, or that this job wrote."""
    listed, known = facts
    if listed is not None and (now.etag, now.modified) == (listed.etag, listed.modified):
        return True
    return known is not None and now.etag == known.etag and abs(now.modified - known.written) < grain
