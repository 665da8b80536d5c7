"""The place of backups: ``--backup s3://BUCKET/PREFIX``, beside source and target and never inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.objects.own_keys import BACKUP_MARK
from s3batch.settings.direction import S3_SCHEME, is_in_s3, parse_source_place
from s3batch.settings.endpoint_names import may_be_one_endpoint
from s3batch.worker.context import BackupPlace

if TYPE_CHECKING:
    from s3batch.objects.target import Target
    from s3batch.settings.table import Settings


class BackupSpec(NamedTuple):
    """The prefix of all backups; below it each job has a directory of its own."""

    bucket: str
    prefix: str
    """Empty, or with a slash at its end."""

    def place(self, job: str) -> BackupPlace:
        """Return the place of one job's backup."""
        return BackupPlace(self.bucket, f"{self.prefix}{job}/")

    def manifest(self, job: str) -> str:
        """Return the key of a job's manifest, which marks all below its directory as s3batch's own."""
        return f"{self.prefix}{job}/{BACKUP_MARK}"


def parse_backup(settings: Settings, target: Target) -> BackupSpec:
    """Return the place of the setting ``backup``. Raises SettingsError."""
    if not settings.bucket:
        raise settings.bad("backup", "a download changes no object; remove it")
    bucket, _, path = settings.backup.removeprefix(S3_SCHEME).partition("/")
    segments = [each for each in path.split("/") if each not in ("", ".")]
    if not is_in_s3(settings.backup) or not bucket or ".." in segments:
        raise settings.bad("backup", "write s3://BUCKET/PREFIX")
    found = BackupSpec(bucket, "".join(f"{each}/" for each in segments))
    if bucket == target.bucket and (found.prefix.startswith(target.prefix) or target.prefix.startswith(found.prefix)):
        raise settings.bad("backup", f"name a prefix beside the target {target.url}, or another bucket")
    source_url = settings.source_endpoint_url or settings.endpoint_url
    if is_in_s3(settings.source) and may_be_one_endpoint(source_url, settings.endpoint_url):
        source = parse_source_place(settings)
        if bucket == source.bucket and found.prefix.startswith(source.prefix):
            raise settings.bad(
                "backup", f"name a prefix beside the source {source.url}: the next run would take it along"
            )
    return found
