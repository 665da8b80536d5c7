"""``s3batch cache``: keep directories between builds, incrementally, in chunks. A failure breaks no build.

commit message ─→ skip, clear or go on ─→ names ─→ job ─→ restore │ rebuild ─→ exit code
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.errors import EXIT_DONE
from s3batch.cache import run as job
from s3batch.cache.naming import CLEAR, SKIP, command_of
from s3batch.model import JobState
from s3batch.reporting import report
from s3batch.reporting.publish import publish_document

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def run_restore(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache restore``; return the exit code."""
    from s3batch.cache.restore import restore_cache, write_miss  # noqa: PLC0415 - each command loads its own

    job.check_cache_settings(settings)
    word = command_of(settings)
    if word:
        write_miss(settings, output)
    if word == CLEAR:
        return run_clear(settings, output)
    return _report_skipped(settings, output) if word == SKIP else job.run_use_case(settings, output, restore_cache)


def run_rebuild(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache rebuild``; return the exit code."""
    from s3batch.cache.rebuild import rebuild_cache  # noqa: PLC0415 - as above

    names = job.check_cache_settings(settings)
    if command_of(settings) == SKIP:
        return _report_skipped(settings, output)
    if names.refusal:
        return _report_skipped(settings, output, names.refusal)
    return job.run_use_case(settings, output, rebuild_cache)


def resume_cache(settings: Settings, output: Output) -> int:
    """Finish a job: run it again, because finished work is recognised."""
    from s3batch.cache.rebuild import rebuild_cache  # noqa: PLC0415 - as above
    from s3batch.cache.restore import restore_cache  # noqa: PLC0415 - as above

    return job.run_use_case(
        settings, output, restore_cache if settings.command == "cache restore" else rebuild_cache, resumed=True
    )


def _report_skipped(settings: Settings, output: Output, why: str = f"the commit message says {SKIP}") -> int:
    output.info(f"nothing to do: {why}")
    document = report.make_jobless_document(settings.command, JobState.DONE, EXIT_DONE, warnings=[why])
    publish_document(settings, output, {**document, "cache": {}}, f"nothing to do: {why}")
    return EXIT_DONE


def run_clear(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache clear``; return the exit code."""
    from s3batch.cache.clear import clear_caches as clear  # noqa: PLC0415 - as above

    return clear(settings, output)


def run_list(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache list``; return the exit code."""
    from s3batch.cache.list import list_caches as show  # noqa: PLC0415 - as above

    return show(settings, output)


def run_inspect(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache inspect``; return the exit code."""
    from s3batch.cache.inspect import inspect_cache as inspect  # noqa: PLC0415 - as above

    return inspect(settings, output)


def run_prune(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache prune``; return the exit code."""
    from s3batch.cache.prune import prune_caches as prune  # noqa: PLC0415 - as above

    return prune(settings, output)
