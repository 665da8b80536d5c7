"""The outputs of a step for later steps of the build: appended to the file that each CI names.

GITHUB_OUTPUT ........ name-with-hyphens=value
DRONE_OUTPUT ......... name_with_underscores=value (Harness)
output_file .......... the same, wherever it runs
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.reporting.console import escape_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_WRITE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A link is not followed: a checkout may hold one under the name of ``output_file``. A FIFO does not block."""


def write_outputs(settings: Settings, output: Output, values: Mapping[str, str | int | bool]) -> None:
    """Append ``values`` (names with underscores) to each file. One that cannot be written is a warning."""
    build = settings.build
    files = {
        **({build.github_output: "-", build.output_path: "_"} if build else {}),
        settings.output_file and settings.at_workspace(settings.output_file): "_",
    }
    for path, mark in files.items():
        if not path:
            continue
        text = "".join(f"{name.replace('_', mark)}={_format_output_value(value)}\n" for name, value in values.items())
        try:
            append_text(path, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            output.warn(f"the outputs of this step cannot be written to {path}: {error.strerror}")


def collect_sync_outputs(document: Mapping[str, Any]) -> dict[str, int]:
    """Return the outputs of a sync from its report."""
    operations = document["operations"]
    return {
        "uploaded": operations["upload"]["done"],
        "copied": operations["copy"]["done"],
        "deleted": operations["delete"]["done"],
        "unchanged": document["unchanged"],
        "failed": sum(each["failed"] for each in operations.values()),
        "bytes": document["bytes"],
    }


def _format_output_value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else escape_line(str(value))


def append_text(path: str, data: bytes) -> None:
    """Append to a file that a CI named, or make it. Raises OSError."""
    _write_ci_file(path, os.O_APPEND, data)


def replace_text(path: str, data: bytes) -> None:
    """Write the content of a file that a CI named, or make it. Raises OSError."""
    _write_ci_file(path, os.O_TRUNC, data)


def _write_ci_file(path: str, how: int, data: bytes) -> None:
    descriptor = os.open(path, _WRITE | how, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
