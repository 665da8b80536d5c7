"""The manifest of a backup: ``PREFIX/JOB/.s3batch-backup``, which says whose backup it is, and whether its job has ended.

It is there before the first object is copied, because it marks all beside it as s3batch's own. It is written again when the
job ends without a failure: its LastModified is then the end of the job, by the store's clock. A job that changed
nothing leaves none.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.model import Attributes
from s3batch.objects.headers import make_put_headers
from s3batch.plan.backup_spec import parse_backup
from s3batch.s3 import requests
from s3batch.s3.faults import RequestError, fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.commands.sync.job import SyncJob

VERSION = 1


@contextmanager
def keep_manifest(job: SyncJob) -> Iterator[None]:
    """Write the manifest of a job's backup at its begin and at its end. Raises RequestError, EndpointError."""
    current = job.journal.jobs.current
    spec = parse_backup(job.settings, job.wanted.target)
    facts = {
        "s3batch": "backup",
        "version": VERSION,
        "job": current.id,
        "continues": current.continues,
        "command": current.command,
        "source": current.source,
        "target": current.target,
        "endpoint": current.endpoint,
    }
    key = spec.manifest(current.id)
    try:
        _write_backup_manifest(job, spec.bucket, key, {**facts, "state": "begun"})
    except RequestError as error:
        if error.fault.code != "NoSuchBucket":
            raise
        named = f"backup {job.settings.backup} (from {job.settings.origin('backup')})"
        raise EndpointError(
            f"the bucket of {named} does not exist, so nothing was changed",
            hint=f"make the bucket {spec.bucket}, or name another with --backup",
            code=error.fault.code,
        ) from error
    yield
    if job.has_failures():
        return
    if any(count["done"] for count in job.journal.outcomes.count_by_kind().values()):
        _write_backup_manifest(job, spec.bucket, key, {**facts, "state": "done"})
    else:
        _ask_backup_bucket(job, requests.delete_object(key)._replace(bucket=spec.bucket))


def _write_backup_manifest(job: SyncJob, bucket: str, key: str, facts: dict[str, Any]) -> None:
    rules = job.wanted.rules
    attributes = Attributes(content_type="application/json", encryption=rules.encryption, kms_key_id=rules.kms_key_id)
    body = json.dumps(facts, indent=2).encode() + b"\n"
    headers = {"content-md5": requests.md5_header(body), **make_put_headers(attributes)}
    _ask_backup_bucket(job, requests.put_object(key, body, headers)._replace(bucket=bucket))


def _ask_backup_bucket(job: SyncJob, call: requests.Request) -> None:
    answer = job.bucket.ask(call)
    if not answer.ok:
        raise RequestError(call.name, f"s3://{call.bucket}/{call.key}", fault_of(answer))
