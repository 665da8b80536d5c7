"""``s3batch jobs prune`` against a real bucket: no multipart upload of a dead job outlives it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3batch.commands.jobs.prune import prune_jobs
from s3batch.journal import Journal
from s3batch.model import JobState, Kind, Operation, Part, Reason
from s3batch.reporting.console import Output
from s3batch.settings.table import Settings


@pytest.fixture
def prune(tmp_path: Path, server) -> Callable[..., tuple[int, Any]]:
    """Run it with today's credentials; exit code and JSON."""

    def run(**values: Any) -> tuple[int, Any]:
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        settings = Settings(
            state_directory=str(tmp_path), workspace=str(tmp_path / "work"), json=True, **keys, **values
        )
        out = io.StringIO()
        code = prune_jobs(settings, Output(out, io.StringIO()))
        return code, json.loads(out.getvalue())

    return run


def begin(journal: Journal, bucket, state: JobState, *keys: str) -> str:
    """A job whose uploads were begun and that came to ``state``."""
    public = Settings(bucket=bucket.name, endpoint_url=bucket.server.url, region="us-east-1", path_style=True).public()
    job = journal.jobs.begin("sync", "/src", f"s3://{bucket.name}/{state.value}", bucket.server.url, public, "1")
    journal.operations.add([Operation(Kind.UPLOAD, key, Reason.MISSING, path=key, size=10) for key in keys])
    for operation in journal.operations.lease(10, 0):
        upload_id = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=operation.key)["UploadId"]
        journal.uploads.begin(operation.id, upload_id, [Part(operation.id, 1, 0, 10)])
    journal.jobs.set_state(state)
    return job


def open_uploads(bucket) -> set[str]:
    return {upload["Key"] for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])}


def test_uploads_of_killed_and_finished_jobs_are_aborted_and_parked_ones_stay(tmp_path, bucket, prune) -> None:
    with Journal.open(str(tmp_path / "sync-1.db")) as journal:
        killed = begin(journal, bucket, JobState.RUNNING, "running/1 1", "running/2é")
        begin(journal, bucket, JobState.SUPERSEDED, "superseded/1")
        begin(journal, bucket, JobState.INTERRUPTED, "interrupted/1")

    code, found = prune()

    assert code == 0
    assert open_uploads(bucket) == {"interrupted/1"}
    assert {row["key"] for row in found["aborted"]} == {"running/1 1", "running/2é", "superseded/1"}
    assert {row["job"] for row in found["aborted"]} > {killed}
    assert [row["key"] for row in found["kept"]] == ["interrupted/1"]
    assert found["forgotten"] == 1
    assert prune()[1]["aborted"] == []


def test_an_upload_that_is_gone_already_is_forgotten(tmp_path, bucket, prune) -> None:
    with Journal.open(str(tmp_path / "sync-1.db")) as journal:
        begin(journal, bucket, JobState.RUNNING, "running/a")
        upload = journal.uploads.list_left(of_dead_jobs_only=False)[0]
    bucket.client.abort_multipart_upload(Bucket=bucket.name, Key="running/a", UploadId=upload.upload_id)

    code, found = prune()

    assert code == 0
    assert found["failures"] == []
    assert prune()[1]["aborted"] == []


def test_a_dry_run_aborts_nothing_and_lists_what_it_would(tmp_path, bucket, prune) -> None:
    with Journal.open(str(tmp_path / "sync-1.db")) as journal:
        begin(journal, bucket, JobState.RUNNING, "running/a")

    code, found = prune(dry_run=True)

    assert code == 0
    assert [row["key"] for row in found["aborted"]] == ["running/a"]
    assert open_uploads(bucket) == {"running/a"}
