"""The direction of a sync or verify: each has a module of its own, imported only where it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.settings.direction import STREAM, Direction, find_direction

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

# ruff: noqa: PLC0415 - a plain upload does not pay for the other directions


def run_in_direction(settings: Settings, output: Output) -> int:
    """Run ``s3batch sync`` in the direction of its settings, or resume one; return the exit code."""
    direction = find_direction(settings)
    if direction in (Direction.DOWNLOAD, Direction.STREAM):
        for name in ("backup", "newest_wins"):
            if getattr(settings, name):
                raise settings.bad(
                    name, f"it is for uploads and for bucket to bucket; a {direction.value} does without"
                )
    if direction is Direction.UPLOAD:
        from s3batch.commands.sync import job

        return job.run_sync(settings, output)
    if direction is Direction.STREAM:
        _refuse_lists(settings)
    if direction is Direction.DOWNLOAD:
        from s3batch.commands.sync import download

        return download.run_download(settings, output)
    if direction is Direction.TRANSFER:
        from s3batch.commands.sync import transfer_job

        return transfer_job.run_transfer(settings, output)
    from s3batch.commands.sync import stdin_job, stdout

    is_stdin = settings.source == STREAM
    return stdin_job.store_stdin(settings, output) if is_stdin else stdout.write_object(settings, output)


def verify_in_direction(settings: Settings, output: Output) -> int:
    """Run ``s3batch verify`` in the direction of its settings; return the exit code."""
    direction = find_direction(settings)
    if direction is Direction.UPLOAD:
        from s3batch.commands import verify

        return verify.run_verify(settings, output)
    if direction is Direction.DOWNLOAD:
        from s3batch.commands.sync import download_verify

        return download_verify.run_download_verify(settings, output)
    if direction is Direction.TRANSFER:
        from s3batch.commands.sync import transfer_verify

        return transfer_verify.run_transfer_verify(settings, output)
    raise settings.bad("source", "verify a file or an object: a stream has nothing to be compared with")


def _refuse_lists(settings: Settings) -> None:
    """Raise SettingsError for a list or a plan: a stream is one object, and what stdin gives is not known before."""
    for name in ("files_from", "files_from0", "plan"):
        if getattr(settings, name):
            raise settings.bad(name, "leave it out: a stream has no files to choose from, and no plan")
