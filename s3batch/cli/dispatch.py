"""The table of commands: which function carries out which command.

Each function imports its command when it is called: ``s3batch sync`` does not pay for the cache, nor the cache for a sync.
"""
# ruff: noqa: PLC0415 - that is what this module is for

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

UseCase = Callable[["Settings", "Output"], int]
"""Carries out a command and returns the exit code."""


def _dispatch_sync(settings: Settings, output: Output) -> int:
    from s3batch.commands.sync.directions import run_in_direction

    return run_in_direction(settings, output)


def _dispatch_verify(settings: Settings, output: Output) -> int:
    from s3batch.commands.sync.directions import verify_in_direction

    return verify_in_direction(settings, output)


def _dispatch_resume(settings: Settings, output: Output) -> int:
    from s3batch.commands import resume

    return resume.run_resume(settings, output, _carry_on)


def _carry_on(settings: Settings, output: Output) -> int:
    """Carry on with the job that ``settings`` name."""
    if settings.command == "sync":
        return _dispatch_sync(settings, output)
    if settings.command == "apply":
        return _dispatch_apply(settings, output)
    if settings.command == "undo":
        return _dispatch_undo(settings, output)
    from s3batch import cache

    return cache.resume_cache(settings, output)


def _dispatch_undo(settings: Settings, output: Output) -> int:
    from s3batch.commands.undo.job import run_undo

    return run_undo(settings, output)


def _backup_prune(settings: Settings, output: Output) -> int:
    from s3batch.commands.undo.prune import prune_backups

    return prune_backups(settings, output)


def _dispatch_plan(settings: Settings, output: Output) -> int:
    from s3batch.commands.plans.show import show_plan

    return show_plan(settings, output)


def _dispatch_apply(settings: Settings, output: Output) -> int:
    from s3batch.commands.plans.apply import run_apply

    return run_apply(settings, output)


def _dispatch_explain(settings: Settings, output: Output) -> int:
    from s3batch.commands.explain import run_explain

    return run_explain(settings, output)


def _dispatch_doctor(settings: Settings, output: Output) -> int:
    from s3batch.commands.doctor import run

    return run.run_doctor(settings, output)


def _dispatch_report(settings: Settings, output: Output) -> int:
    from s3batch.commands.report import write_reports

    return write_reports(settings, output)


def _jobs_list(settings: Settings, output: Output) -> int:
    from s3batch.commands.jobs.list import list_jobs

    return list_jobs(settings, output)


def _jobs_show(settings: Settings, output: Output) -> int:
    from s3batch.commands.jobs.show import run_show

    return run_show(settings, output)


def _jobs_prune(settings: Settings, output: Output) -> int:
    from s3batch.commands.jobs.prune import prune_jobs

    return prune_jobs(settings, output)


def _jobs_forget(settings: Settings, output: Output) -> int:
    from s3batch.commands.jobs.prune import run_forget

    return run_forget(settings, output)


def _dispatch_restore(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_restore(settings, output)


def _dispatch_rebuild(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_rebuild(settings, output)


def _cache_clear(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_clear(settings, output)


def _cache_list(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_list(settings, output)


def _cache_inspect(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_inspect(settings, output)


def _cache_prune(settings: Settings, output: Output) -> int:
    from s3batch import cache

    return cache.run_prune(settings, output)


USE_CASES: dict[str, UseCase] = {
    "sync": _dispatch_sync,
    "verify": _dispatch_verify,
    "undo": _dispatch_undo,
    "backup prune": _backup_prune,
    "plan": _dispatch_plan,
    "apply": _dispatch_apply,
    "explain": _dispatch_explain,
    "resume": _dispatch_resume,
    "doctor": _dispatch_doctor,
    "report": _dispatch_report,
    "jobs list": _jobs_list,
    "jobs show": _jobs_show,
    "jobs prune": _jobs_prune,
    "jobs forget": _jobs_forget,
    "cache restore": _dispatch_restore,
    "cache rebuild": _dispatch_rebuild,
    "cache clear": _cache_clear,
    "cache list": _cache_list,
    "cache inspect": _cache_inspect,
    "cache prune": _cache_prune,
}
"""The function of each command that needs settings; ``config`` and ``plugin`` are answered by :mod:`s3batch.cli.main`."""


def carry_out_command(settings: Settings, output: Output) -> int:
    """Carry out the command of these settings, for the command line and for a Python program; return the exit code.

    Raises SettingsError if a setting is missing that the command needs.
    """
    from s3batch.cli.loading import require_needed_settings

    require_needed_settings(settings)
    return USE_CASES[settings.command](settings, output)
