"""``s3batch cache``: keep directories between builds, incrementally, in chunks, and break no build.

A miss, an unreachable store, a damaged cache, a missing permission: one warning and exit code 0, unless
``fail_on_error`` (or ``fail_on_miss``) asks for more. Settings that are wrong are exit code 2 always.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from s3batch.cache.rebuild import rebuild
from s3batch.cache.resolve import command_of, names_of
from s3batch.cache.restore import restore
from s3batch.cache.session import Session
from s3batch.coordinator import InterruptedJobError, Signals
from s3batch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EndpointError,
    JobFailedError,
    JournalError,
    S3BatchError,
    SettingsError,
)
from s3batch.journal import Journal
from s3batch.s3.faults import CallError
from s3batch.units import format_count, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.output import Output
    from s3batch.settings import Settings


def run_restore(settings: Settings, output: Output) -> int:
    """``s3batch cache restore``. The exit code."""
    if (word := command_of(settings)) == "skip":
        return _skipped(settings, output, "the commit message says [NO CACHE]")
    if word == "clear":
        from s3batch.cache.clear import run_clear  # noqa: PLC0415 - one build in a thousand

        return run_clear(settings, output)
    return _run(settings, output, _restore)


def run_rebuild(settings: Settings, output: Output) -> int:
    """``s3batch cache rebuild``. The exit code."""
    if command_of(settings) == "skip":
        return _skipped(settings, output, "the commit message says [NO CACHE]")
    if refusal := names_of(settings).refusal:
        return _skipped(settings, output, refusal)
    return _run(settings, output, _rebuild)


def resume(settings: Settings, output: Output) -> int:
    """Finish a killed job: the same command again, since what was done is found done."""
    return _run(settings, output, _restore if settings.command == "cache restore" else _rebuild)


def _skipped(settings: Settings, output: Output, why: str) -> int:
    output.info(f"nothing to do: {why}")
    if settings.json:
        output.document({"command": settings.command, "state": "done", "exit_code": EXIT_DONE, "warnings": [why]})
    return EXIT_DONE


def _run(settings: Settings, output: Output, work: Callable[[Session], dict[str, Any]]) -> int:
    """One job of the cache, from its journal to its report; trouble becomes a warning where it may."""
    with _journal(settings) as journal, Signals() as signals:
        session = Session(settings, output, journal, signals)
        session.begin()
        for warning in names_of(settings).warnings:
            session.warn(warning)
        stopped: S3BatchError | None = None
        found: dict[str, Any] = {}
        try:
            found = work(session)
        except (SettingsError, JournalError):
            raise
        except S3BatchError as error:
            stopped = error
        except (CallError, OSError) as error:
            stopped = JobFailedError(str(error))
        code = _code(settings, stopped, hit=found.get("hit", True))
        if stopped is not None:
            session.warn(f"{stopped}")
        document = session.end(code, stopped)
        if settings.json:
            output.document({**document, "cache": found})
        if words := found.get("words"):
            output.info(words)
        return code


@contextmanager
def _journal(settings: Settings) -> Iterator[Journal]:
    with Journal.open(settings.journal_path()) as journal:
        journal.lock()
        yield journal


def _code(settings: Settings, stopped: S3BatchError | None, *, hit: bool) -> int:
    if isinstance(stopped, InterruptedJobError):
        return stopped.exit_code
    if stopped is not None and settings.fail_on_error:
        return stopped.exit_code if isinstance(stopped, EndpointError) else EXIT_FAILED
    return EXIT_FAILED if settings.fail_on_miss and not (hit and stopped is None) else EXIT_DONE


def _restore(session: Session) -> dict[str, Any]:
    names = names_of(session.settings)
    taken = restore(session, names)
    _tell_harness(session, hit=bool(taken.key))
    if not taken.key:
        return {"hit": False, "key": names.own, "words": f"no cache for {names.own}"}
    exact = "" if taken.key == names.own else " (a fallback)"
    how = "all files were right already"
    if taken.made or taken.chunks:
        how = f"{format_count(taken.chunks)} chunks ({format_size(taken.fetched)}) fetched for {format_count(taken.made)} files"
    words = f"restored {taken.key}{exact}: {_amount(taken.files, taken.bytes)}: {how}"
    return {
        "hit": True, "key": taken.key, "files": taken.files, "bytes": taken.bytes, "made": taken.made,
        "chunks": taken.chunks, "fetched": taken.fetched, "words": words,
    }  # fmt: skip


def _rebuild(session: Session) -> dict[str, Any]:
    made = rebuild(session, names_of(session.settings))
    if made.chunks:
        how = f"{format_count(made.chunks)} chunks ({format_size(made.sent)}) sent, the rest was there"
    elif made.published:
        how = "nothing but the list of files sent"
    else:
        how = "nothing changed, nothing sent"
    words = f"cached {made.key}: {_amount(made.files, made.bytes)}: {how}"
    return {
        "key": made.key, "files": made.files, "bytes": made.bytes, "chunks": made.chunks, "sent": made.sent,
        "published": made.published, "words": words,
    }  # fmt: skip


def _amount(files: int, size: int) -> str:
    return f"{format_count(files)} files, {format_size(size)}"


def _tell_harness(session: Session, *, hit: bool) -> None:
    """Harness reads outputs of a step from a file it names."""
    build = session.settings.build
    if session.settings.plugin and build is not None and build.output_path:
        with open(build.output_path, "a", encoding="utf-8") as file:
            file.write(f"cache_hit={'true' if hit else 'false'}\n")


def run_clear(settings: Settings, output: Output) -> int:
    """``s3batch cache clear``. The exit code."""
    from s3batch.cache.clear import run_clear as clear  # noqa: PLC0415 - each command loads its own

    return clear(settings, output)


def run_list(settings: Settings, output: Output) -> int:
    """``s3batch cache list``. The exit code."""
    from s3batch.cache.catalog import run_list as show  # noqa: PLC0415 - as above

    return show(settings, output)


def run_inspect(settings: Settings, output: Output) -> int:
    """``s3batch cache inspect``. The exit code."""
    from s3batch.cache.catalog import run_inspect as inspect  # noqa: PLC0415 - as above

    return inspect(settings, output)


def run_prune(settings: Settings, output: Output) -> int:
    """``s3batch cache prune``. The exit code."""
    from s3batch.cache.prune import run_prune as prune  # noqa: PLC0415 - as above

    return prune(settings, output)
