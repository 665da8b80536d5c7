"""The trust in journals: which of them may decide what a job sends, where it sends it, and who carries it out.

    journal                                        may it decide?
    named by the flag --journal                    yes: the user chose this file
    in the user's state directory, outside cwd     yes
    below the working directory                    no: a checkout may have brought it

A journal that may not decide is still useful: the settings given must then name the same job, and only they count.
The journal adds the done and the remaining operations. docs/journal.md says the same for users.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import JournalError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.direction import is_in_s3, names_store
from s3batch.settings.schema import RESUMABLE, Topic
from s3batch.settings.table import TABLE, Settings
from s3batch.source.filters import order_filters

if TYPE_CHECKING:
    from s3batch.journal import Job

_JOURNAL_FLAG = "--journal"
_ENDPOINTS = frozenset({"endpoint_url", "source_endpoint_url"})
_PLACE = ("source", "bucket", "target", "prefix", "cache_key", "cache", *sorted(_ENDPOINTS))
"""Settings that say which job it is."""
_COMPARED_TOPICS = (Topic.WHAT, Topic.ATTRIBUTES, Topic.SAFETY, Topic.CLOUDFRONT, Topic.CACHE)
_FREE = frozenset({"mode", "restore", "rebuild", "dry_run"})
"""Settings of those topics that are no part of a job."""
_COMPARED = tuple(
    name
    for name, row in TABLE.items()
    if (row.topic in _COMPARED_TOPICS or name in _ENDPOINTS) and not row.secret and name not in _FREE
)


class SettingDifference(NamedTuple):
    """A setting that is not as the job has it."""

    name: str
    job: Any
    given: Any


def may_journal_decide(journal: str, settings: Settings) -> bool:
    """Return whether the settings of a job may be taken from this journal: true unless it lies in the tree."""
    if settings.journal and settings.origin("journal") == _JOURNAL_FLAG:
        return True
    return not _is_in_tree(journal, settings)


def is_foreign_journal(journal: str, settings: Settings) -> bool:
    """Return whether another program may have written this journal: true below the working directory."""
    return _is_in_tree(journal, settings)


def is_journal_found(journal: str, settings: Settings) -> bool:
    """Return whether a bare ``s3batch resume`` finds this journal by itself, and believes it."""
    in_place = os.path.dirname(journal) == settings.journal_directory()
    return in_place and not settings.journal and not settings.plugin and may_journal_decide(journal, settings)


def require_plugin_settings(settings: Settings) -> None:
    """Raise SettingsError if a plugin step is to resume and its settings name no job."""
    if settings.plugin and not names_store(settings):
        raise SettingsError(
            "mode resume takes the settings of the step it finishes, and bucket is missing",
            hint="repeat them beside mode: resume; the journal in the workspace does not decide where files go",
        )
    if settings.dry_run:
        raise SettingsError(
            f"resume has no dry run, but dry_run is true (from {settings.origin('dry_run')})", hint="remove it"
        )


def is_same_job(job: Job, journal: str, settings: Settings) -> bool:
    """Return whether the settings given name this job: its command, source, target and endpoint."""
    return _is_given_command(job.command, journal, settings) and not any(
        _find_differences(job, settings, _list_place_settings(journal, settings))
    )


def choose_resume_settings(job: Job, journal: str, settings: Settings) -> Settings:
    """Return the settings to go on with: the job's own, or those given where the journal may not decide.

    SettingsError if a repeated setting differs or the journal may not decide; JournalError if it cannot be read.
    """
    begun = read_job_settings(job, journal, settings)
    own_words = _is_resumed_as_given(journal, settings)
    if own_words and not names_store(settings):
        raise describe_untrusted_job(job, journal, "undo" if settings.command == "undo" else "resume")
    if not _is_given_command(job.command, journal, settings):
        raise describe_other_job(job, journal, settings)
    marks = settings.customer_key_marks()
    for name in ("sse_c", "source_sse_c"):
        if job.settings.get(name, "") != marks.get(name, ""):
            raise SettingsError(
                f"job {job.id} was begun with another {name}_key, or without one",
                hint="give the same key again: it is not in the journal",
            )
    for found in _find_differences(job, settings, _select_fixed_settings(_COMPARED, journal, settings)):
        raise _describe_setting_difference(job, found, settings)
    if settings.filter_order and order_filters(settings) != order_filters(begun):
        raise SettingsError(
            f"--include and --exclude are in another order than those of job {job.id}",
            hint="repeat the job's own settings, or begin a new job",
        )
    return _convert_to_command(settings, job.command) if own_words else begun


def read_job_settings(job: Job, journal: str, given: Settings | None = None) -> Settings:
    """Return a job's settings as it was begun; JournalError where the journal holds something else."""
    try:
        if job.settings.get("command") not in RESUMABLE or job.settings["command"] != job.command:
            raise ValueError("it has no command that can be resumed")
        return Settings.from_public(job.settings, given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise JournalError(
            f"journal {journal} is damaged: the settings of job {job.id} cannot be read ({error})",
            hint="run the command of the job again with another --journal",
        ) from error


def describe_untrusted_job(job: Job, journal: str, *command: str) -> SettingsError:
    """Return the error for a job that only a journal in the tree knows, with its facts and the command to type."""
    said = {"source": job.source, "target": job.target, "endpoint": job.endpoint or "AWS"}
    facts = ", ".join(f"{name} {value!r}" for name, value in said.items())
    return SettingsError(
        f"nothing was sent: job {job.id} is in a journal below the working directory, and a checkout may have "
        f"brought it; it says: {facts}",
        hint=f"if that is right, write {format_command_line(*command, job.id, journal)}",
    )


def format_command_line(*words: str) -> str:
    """Return the line to type for ``s3batch WORDS``, the last of which is the journal to name."""
    from s3batch.settings.shell_lines import format_shell_line  # noqa: PLC0415 - only for a command to be typed

    return format_shell_line("s3batch", *words[:-1], _JOURNAL_FLAG, words[-1])


def describe_other_job(job: Job, journal: str, settings: Settings) -> SettingsError:
    """Return the error where the settings given name another job than the one that is left."""
    found = next(iter(_find_differences(job, settings, _list_place_settings(journal, settings))), None)
    if found is None or not _is_given_command(job.command, journal, settings):
        return SettingsError(
            f"the unfinished job {job.id} is a {job.command}, and the settings given are of another command",
            hint="repeat the job's own settings, or begin a new job",
        )
    return _describe_setting_difference(job, found, settings)


def _is_resumed_as_given(journal: str, settings: Settings) -> bool:
    """Return whether the job goes on with the settings given, all of them, and not with those of the journal."""
    return settings.plugin or not may_journal_decide(journal, settings)


def _select_fixed_settings(names: Iterable[str], journal: str, settings: Settings) -> list[str]:
    """Return which of these settings have to be as the job has them."""
    if _is_resumed_as_given(journal, settings):
        return list(names)
    return [
        name
        for name in names
        if _is_flag_origin(settings.origin(name)) or (name in _ENDPOINTS and getattr(settings, name))
    ]


def _list_place_settings(journal: str, settings: Settings) -> list[str]:
    return _select_fixed_settings(_PLACE, journal, settings)


def _is_in_tree(journal: str, settings: Settings) -> bool:
    """Return whether a file lies below the working directory, by its name or by where its links lead."""
    workspace = os.path.abspath(settings.at_workspace("."))
    name, place = settings.at_workspace(journal), os.path.realpath(settings.at_workspace(journal))
    trees = {workspace, os.path.realpath(workspace), os.path.realpath(os.getcwd())}
    below = [path for path in {name, place} if any(_is_path_below(path, tree) for tree in trees)]
    return bool(below) and not _is_in_home(name, place, settings)


def _is_in_home(name: str, place: str, settings: Settings) -> bool:
    """Return whether it is in the state directory of the home that the system, not HOME, names.

    Someone who works in their home directory, or in ``/``, has that directory below the working one.
    """
    try:
        home = os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return False
    state = os.path.realpath(settings.journal_directory())
    return (
        not settings.plugin
        and home != "/"
        and _is_path_below(state, home)
        and _is_path_below(place, state)
        and os.path.dirname(name) == settings.journal_directory()
        and not os.path.lexists(os.path.join(home, ".git"))
    )


def _is_path_below(path: str, tree: str) -> bool:
    return tree in {"/", path} or path.startswith(tree + "/")


def _is_flag_origin(origin: str) -> bool:
    return origin.startswith(("--", "argument "))


def _is_given_command(command: str, journal: str, settings: Settings) -> bool:
    """Return whether the settings given are those of this command."""
    if not _is_resumed_as_given(journal, settings):
        return True
    if settings.restore or settings.rebuild:
        return command == ("cache restore" if settings.restore else "cache rebuild")
    return command.startswith("cache ") if settings.cache else command == "sync"


def _convert_to_command(settings: Settings, command: str) -> Settings:
    """Return the settings given as the job's own command would have them."""
    if command != "sync" and "symlinks" in settings.origins and "cache_symlinks" not in settings.origins:
        settings = settings._replace(cache_symlinks=settings.symlinks)
    return settings._replace(command=command)


def _find_differences(job: Job, settings: Settings, names: Iterable[str]) -> Iterable[SettingDifference]:
    """Yield the settings given that are not as the job has them."""
    given = _convert_to_command(settings, job.command)
    for name in names:
        if job.command not in TABLE[name].commands:
            continue
        theirs, ours = job.settings.get(name, TABLE[name].default), getattr(given, name)
        here = {"workspace": given.at_workspace("."), "source": given.source, "bucket": given.bucket}
        if _normalise_setting_value(name, theirs, job.settings) != _normalise_setting_value(name, ours, here):
            yield SettingDifference(name, theirs, ours)


def _normalise_setting_value(name: str, value: Any, public: Mapping[str, Any]) -> Any:
    """Return a value in the one spelling in which it is compared."""
    source = str(public.get("source", ""))
    is_local = name == "source" or (name == "target" and is_in_s3(source) and not public.get("bucket"))
    if isinstance(value, str) and is_local and not is_in_s3(value):
        return os.path.abspath(os.path.join(str(public.get("workspace", "")), value))
    if isinstance(value, str) and name in {"source", "target", "prefix", *_ENDPOINTS}:
        return value.strip("/") if name not in _ENDPOINTS else value.rstrip("/")
    return tuple(value) if isinstance(value, list) else value


def _describe_setting_difference(job: Job, found: SettingDifference, settings: Settings) -> SettingsError:
    return SettingsError(
        f"{found.name} is {_format_setting_value(found.given)} (from {settings.origin(found.name)}), and job {job.id} was "
        f"begun with {_format_setting_value(found.job)}",
        hint="repeat the job's own settings, or begin a new job",
    )


def _format_setting_value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return repr(text[:200])
