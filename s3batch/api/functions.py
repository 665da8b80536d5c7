"""The commands as functions. Each runs in the thread that calls it, and returns when the command has ended."""

from __future__ import annotations

import os
import threading

from s3batch.api.report import Report
from s3batch.api.run import PlaceText, SettingValue, run_function
from s3batch.reporting.events import Listener


def sync(
    source: PlaceText,
    target: PlaceText,
    *,
    on_event: Listener | None = None,
    cancel: threading.Event | None = None,
    **settings: SettingValue,
) -> Report:
    """Make ``target`` match ``source``, as ``s3batch sync`` does. One of them is ``s3://BUCKET/PREFIX``.

    ``settings`` are those of docs/settings.md. A ``cancel`` that is set ends the run as SIGINT ends the command: what
    is left is in the journal. ``on_event`` is called in this thread with the events of ``--json-lines``, as dictionaries.

    Failed operations do not raise: see :attr:`Report.exit_code`. Raises :class:`s3batch.SettingsError`,
    :class:`s3batch.JournalError` or :class:`s3batch.EndpointError` where the command exits with 2, 3 or 4.
    """
    return run_function("sync", [source, target], settings, cancel, on_event)


def verify(
    source: PlaceText,
    target: PlaceText,
    *,
    on_event: Listener | None = None,
    cancel: threading.Event | None = None,
    **settings: SettingValue,
) -> Report:
    """Compare ``target`` with ``source`` and change nothing. The exit code is 1 if anything differs.

    :attr:`Report.differences` names each. The arguments and exceptions are those of :func:`sync`.
    """
    return run_function("verify", [source, target], settings, cancel, on_event)


def resume(
    job: str | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
    on_event: Listener | None = None,
    cancel: threading.Event | None = None,
    **settings: SettingValue,
) -> Report:
    """Finish the unfinished job, or ``job``, with its own settings.

    ``journal`` names its journal, where that is not in the state directory. ``settings`` may give credentials, the
    endpoint and speed. The exceptions are those of :func:`sync`.
    """
    return run_function("resume", [] if job is None else [job], {**settings, "journal": journal}, cancel, on_event)


def cache_restore(
    *, on_event: Listener | None = None, cancel: threading.Event | None = None, **settings: SettingValue
) -> Report:
    """Restore the paths that an earlier build cached. :attr:`Report.cache` has what was found.

    A miss does not raise, and neither does a store that cannot be reached, unless ``fail_on_error`` is true. The
    exceptions are those of :func:`sync`.
    """
    return run_function("cache restore", [], settings, cancel, on_event)


def cache_rebuild(
    *, on_event: Listener | None = None, cancel: threading.Event | None = None, **settings: SettingValue
) -> Report:
    """Cache paths for later builds. The exceptions are those of :func:`cache_restore`."""
    return run_function("cache rebuild", [], settings, cancel, on_event)
