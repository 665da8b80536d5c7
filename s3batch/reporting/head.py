"""The first fields of every JSON document: which program, what it worked on, and when."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s3batch import __version__
from s3batch.reporting.text import format_timestamp
from s3batch.settings.direction import STREAM, format_place, is_in_s3
from s3batch.settings.schema import ARCHIVE_COMMANDS, CACHE_COMMANDS

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

SCHEMA = 1
"""The version of the document. A field may be added under it; none changes its meaning."""
_COMPARING = frozenset({"sync", "verify", "explain"})


def complete_document(settings: Settings | None, output: Output, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its first fields, of which it may know better itself."""
    return {**describe_run(settings, output), "ended": format_timestamp(time.time()), **document}


def describe_run(settings: Settings | None, output: Output) -> dict[str, Any]:
    """Return what is known of a run before it begins. ``settings`` is ``None`` if they are wrong."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "command": settings.command if settings else None,
        "source": settings and _find_run_source(settings),
        "target": settings and _find_run_target(settings),
        "endpoint": (settings and settings.endpoint_url) or None,
        "started": format_timestamp(output.started),
        "ended": None,
        "dry_run": bool(settings and settings.dry_run),
    }


def list_cache_paths(workspace: str, paths: Any) -> list[str]:
    """Return the absolute form of the paths of a cache."""
    return [os.path.normpath(os.path.join(workspace, str(path))) for path in paths or ()]


def _find_run_source(settings: Settings) -> str | list[str] | None:
    if settings.command in ARCHIVE_COMMANDS:
        return list_cache_paths(settings.at_workspace("."), settings.cache)
    return find_source_of_sync(settings) if settings.command in _COMPARING else None


def find_source_of_sync(settings: Settings) -> str:
    """Return the source of a sync, or of a job with the settings of one: a path or a place in S3."""
    is_path = not is_in_s3(settings.source) and settings.source != STREAM
    return settings.at_workspace(settings.source) if is_path else format_place(settings.source)


def _find_run_target(settings: Settings) -> str | None:
    if settings.command in CACHE_COMMANDS:
        return format_place(f"{settings.bucket}/{settings.prefix.strip('/')}") if settings.bucket else None
    if settings.bucket:
        return format_place(f"{settings.bucket}/{settings.target.lstrip('/')}")
    if is_in_s3(settings.source):
        return settings.target if settings.target == STREAM else settings.at_workspace(settings.target)
    return None
