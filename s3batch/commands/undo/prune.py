"""``s3batch backup prune s3://BUCKET/PREFIX --older-than 30d``: remove the backups of jobs that ended long ago.

A directory is a backup only if its name is a job's id and its manifest names that job. All else below the prefix stays. A
job's age counts from its end, by the store's clock. A backup stays as long as its job can be resumed, and as long as that
of a job which continues it, because an undo of the later one needs both.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE, SettingsError
from s3batch.base.units import format_plural, format_size
from s3batch.commands.jobs.find import find_jobs
from s3batch.objects.own_keys import BACKUP_MARK
from s3batch.objects.target import Target
from s3batch.plan.backup_spec import BackupSpec
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_date
from s3batch.s3.bucket import Bucket
from s3batch.settings.s3_limits import DELETE_BATCH
from s3batch.settings.schema import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3batch.model import ListedObject
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_JOB = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
_SECOND = len("20260102-030405")
"""The part of a job's id that tells when it began. The rest is random."""
_LONGEST = 64 * 1024
"""Bytes of a manifest."""


@dataclass(frozen=True, slots=True)
class FoundBackup:
    """One backup, as listing and manifest tell it."""

    job: str
    manifest: Mapping[str, Any]
    modified: float
    """LastModified of the manifest."""
    objects: int
    bytes: int

    @property
    def place(self) -> tuple[Any, Any]:
        """Target and endpoint of the job."""
        return self.manifest.get("target"), self.manifest.get("endpoint")


def prune_backups(settings: Settings, output: Output) -> int:
    """Remove old backups, or name them in a dry run; return the exit code."""
    if settings.origin("older_than") == DEFAULT:  # 0 is an age too: that of every job that has ended
        raise SettingsError(
            "older_than is missing", hint="write s3batch backup prune s3://BUCKET/PREFIX --older-than 30d"
        )
    target = Target.from_settings(settings)
    spec = BackupSpec(target.bucket, target.prefix)
    bucket = Bucket.from_settings(settings, target.bucket)
    try:
        found = _find_backups(bucket, spec)
        over = {each.job.id for each in find_jobs(settings, output, counted=False) if not each.leaves_work}
        ends = find_ends(found, over)
        before = bucket.clock.now().low - settings.older_than
        old = [each for each in found if (end := ends[each.job]) is not None and end < before]
        for each in old if not settings.dry_run else ():
            _remove_backup(bucket, spec, each)
    finally:
        bucket.close()
    kept = [each.job for each in found if ends[each.job] is None]
    _report_pruned(old, kept, ends, settings, output)
    return EXIT_DONE


def find_ends(found: Iterable[FoundBackup], over: Iterable[str] = ()) -> dict[str, float | None]:
    """Return when the job of each backup ended, by the store's clock; ``None`` while it can be resumed.

    ``over`` are jobs that a journal here knows to leave nothing to resume.
    """
    backups, finished = sorted(found, key=_order_of), set(over)
    ends: dict[str, float | None] = {}
    for at, each in enumerate(backups):
        later = [other.modified for other in backups[at + 1 :] if other.place == each.place]
        is_over = each.manifest.get("state") == "done" or bool(later) or each.job in finished
        is_killed = each.manifest.get("state") != "done" and bool(later)  # it ended when a later one began, or before
        ends[each.job] = (max(each.modified, min(later)) if is_killed else each.modified) if is_over else None
    continued = {each.job: each.manifest.get("continues") for each in backups}
    for each in reversed(backups):  # the later ones first
        before, end, seen = continued[each.job], ends[each.job], {each.job}
        # anyone who may write to the bucket can write manifests, also ones that continue each other in a circle
        while isinstance(before, str) and before in ends and before not in seen:
            seen.add(before)
            own = ends[before]
            ends[before] = None if own is None or end is None else max(own, end)
            before = continued[before]
    return ends


def _order_of(backup: FoundBackup) -> tuple[str, float, bool]:
    """Return what sorts backups by their begin; of two in one second, one that may be resumed counts as the later one."""
    return backup.job[:_SECOND], backup.modified, backup.manifest.get("state") != "done"


def _find_backups(bucket: Bucket, spec: BackupSpec) -> list[FoundBackup]:
    """Return the backups below a prefix."""
    objects: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    manifests: dict[str, ListedObject] = {}
    for page in bucket.list_objects(spec.prefix):
        for each in page.objects:
            job, _, name = each.key[len(spec.prefix) :].partition("/")
            if not _JOB.fullmatch(job):
                continue
            objects[job] += 1
            sizes[job] += each.size
            if name == BACKUP_MARK:
                manifests[job] = each
    found = []
    for job, listed in manifests.items():
        manifest = _read_backup_manifest(bucket, listed)
        if manifest.get("s3batch") == "backup" and manifest.get("job") == job:
            found.append(FoundBackup(job, manifest, listed.modified, objects[job] - 1, sizes[job] - listed.size))
    return found


def _read_backup_manifest(bucket: Bucket, listed: ListedObject) -> Mapping[str, Any]:
    """Return what a manifest says; nothing if it is none of s3batch."""
    answer = bucket.get(listed.key, listed.size) if listed.size <= _LONGEST else None
    try:
        manifest = json.loads(bytes(answer.body)) if answer is not None else {}
    except (ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _remove_backup(bucket: Bucket, spec: BackupSpec, backup: FoundBackup) -> None:
    """Delete all objects of a backup, the manifest last: what is left after a kill is still marked."""
    manifest = spec.manifest(backup.job)
    for page in bucket.list_objects(spec.place(backup.job).prefix):
        keys = [each.key for each in page.objects if each.key != manifest]
        for at in range(0, len(keys), DELETE_BATCH):
            bucket.delete_many(keys[at : at + DELETE_BATCH])
    bucket.delete(manifest)


def _report_pruned(
    old: list[FoundBackup], kept: list[str], ends: Mapping[str, float | None], settings: Settings, output: Output
) -> None:
    if settings.wants_document:
        rows = [
            {"job": each.job, "objects": each.objects, "bytes": each.bytes, "ended": format_date(ends[each.job] or 0.0)}
            for each in old
        ]
        publish_document(settings, output, {"exit_code": EXIT_DONE, "removed": rows, "kept": kept})
        return
    for each in old:
        size, ended = format_size(each.bytes), format_date(ends[each.job] or 0.0)
        output.data(f"{each.job} {format_plural(each.objects, 'object')} {size}, ended {ended}")
    for job in kept:
        output.info(f"kept: job {job} can be resumed")
    verb = "would be removed" if settings.dry_run else "removed"
    output.info(f"{format_plural(len(old), 'backup')} {verb}")
