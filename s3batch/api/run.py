"""Runs a command for a Python program: no signal is taken, nothing is printed, the report comes back as a value.

keywords + environment + file ─loading→ Settings ─dispatch→ the function that the command line calls ─→ Report
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TextIO, cast

from s3batch.api.report import Report
from s3batch.base.errors import (
    EXIT_ENDPOINT,
    EXIT_JOURNAL,
    EXIT_SETTINGS,
    EndpointError,
    JournalError,
    S3BatchError,
    SettingsError,
)
from s3batch.cli import loading
from s3batch.cli.config_file import text_of_value
from s3batch.cli.dispatch import carry_out_command
from s3batch.coordinator.signals import stop_by_event
from s3batch.model import JobState
from s3batch.reporting.console import Output
from s3batch.reporting.events import Listener
from s3batch.reporting.json_stream import iterate_document_text, make_plain_document
from s3batch.reporting.publish import publish_document
from s3batch.reporting.report import make_jobless_document
from s3batch.settings.direction import STREAM
from s3batch.settings.parsing import GivenText, unknown_name_error
from s3batch.settings.table import GUARDS, TABLE, Settings, spellings_of

SettingValue = (
    str | int | float | bool | os.PathLike[str] | timedelta | Sequence[str] | Mapping[str, "SettingValue"] | None
)
"""The value of a setting: its text, or what the text means. ``None`` is unset."""

PlaceText = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A place: a path in any form that Python's own functions take, or the URL of a place in S3."""

_SPEAKING = frozenset({"json", "json_lines", "progress", "verbose", "log_level", "quiet", "log_format", "env_file"})
"""Settings of a command's own output. A function has none."""
_OUTPUT_VARIABLES = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "DRONE_OUTPUT", "DRONE_CARD_PATH")
"""Files of a CI for the outputs of a step. They belong to the program."""
_SECRET = frozenset(name for row in TABLE.values() if row.secret for name in row.names)
_ERRORS: Mapping[int, type[S3BatchError]] = {
    EXIT_SETTINGS: SettingsError,
    EXIT_JOURNAL: JournalError,
    EXIT_ENDPOINT: EndpointError,
}


def run_function(
    command: str,
    words: Sequence[PlaceText],
    keywords: Mapping[str, SettingValue],
    cancel: threading.Event | None,
    on_event: Listener | None = None,
) -> Report:
    """Run ``command``. Raises an :class:`S3BatchError` for the exit codes 2, 3 and 4."""
    output = _ReportOutput()
    if on_event is not None:
        output.events.subscribe(lambda event: on_event(json.loads(output.mask(json.dumps(make_plain_document(event))))))
    output.redact(str(keywords[name]) for name in _SECRET & keywords.keys() if keywords[name])
    settings: Settings | None = None
    try:
        settings = load_keyword_settings(command, words, keywords)
        output.redact(settings.secrets())
        with stop_by_event(cancel):
            code = carry_out_command(settings, output)
        _run_hooks(settings, output, code)
    except S3BatchError as stopped:
        stopped.message, stopped.hint = output.clean(stopped.message), output.clean(stopped.hint)
        if not output.published:
            document = make_jobless_document(command, JobState.FAILED, stopped.exit_code)
            publish_document(None, output, document | {"error": str(stopped)})
        if settings is not None:
            _run_hooks(settings, output, stopped.exit_code)
        raise
    report = Report({"command": command, "exit_code": code, **output.report})
    if report.exit_code in _ERRORS:
        error = _ERRORS[report.exit_code](report.error)
        error.document = report.document
        raise error
    return report


def _run_hooks(settings: Settings, output: Output, code: int) -> None:
    if settings.on_done or settings.ping:
        from s3batch.reporting.hooks import tell_others  # noqa: PLC0415 - few calls have any

        tell_others(settings, output, code)


def load_keyword_settings(command: str, words: Sequence[PlaceText], keywords: Mapping[str, SettingValue]) -> Settings:
    """Return the settings of a call: keywords are stronger than variables, and these than the config file."""
    environ = {name: text for name, text in os.environ.items() if name not in _OUTPUT_VARIABLES}
    config = keywords.get("config")
    given = _read_keywords(command, {name: value for name, value in keywords.items() if name != "config"})
    settings = loading.settings_of_keywords(
        command,
        [
            *(["--config", os.fspath(cast("str", config))] if config is not None else []),
            "--",
            *[os.fsdecode(word) for word in words],
        ],
        given,
        loading.with_env_file(command, [], environ),
    )
    if command == "sync" and settings.target == STREAM:
        raise SettingsError("target cannot be '-': a function prints nothing", hint="name a directory")
    return settings._replace(
        json=True, json_lines=False, quiet=True, verbose=0, progress="none", log_level="", log_format="text"
    )


def _read_keywords(command: str, keywords: Mapping[str, SettingValue]) -> dict[str, GivenText]:
    known = spellings_of(command)
    given: dict[str, GivenText] = {}
    for name, value in keywords.items():
        row = known.get(name)
        if name in _SPEAKING:
            raise SettingsError(f"{name} is no argument: a function prints nothing", hint="use on_event, or the report")
        if row is None:
            users = sorted({user for each in TABLE.values() if name in each.names for user in each.commands})
            if users:
                raise SettingsError(f"{command} takes no {name}", hint=f"it is a setting of {', '.join(users)}")
            raise unknown_name_error("setting", name, known)
        if value is not None:
            origin = f"argument {name}"
            if row.name in GUARDS and isinstance(value, str) and not value.strip():
                raise SettingsError(f"{name} is empty (from {origin})", hint="write a value; None is unset")
            given[row.name] = GivenText(text_of_value(row, _plain_value(value), origin), origin)
    return given


def _plain_value(value: SettingValue) -> Any:
    """Return a value as a config file would have it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, timedelta):
        return f"{value.total_seconds()}s"
    if isinstance(value, Mapping):
        return {name: _plain_value(each) for name, each in value.items()}
    if isinstance(value, str | int | float):
        return value
    return [_plain_value(each) for each in cast("Sequence[str]", value)]


class _ReportOutput(Output):
    """Prints nothing, and keeps the document of the run."""

    def __init__(self) -> None:
        nowhere = cast("TextIO", _Nowhere())
        super().__init__(nowhere, nowhere, quiet=True)
        self.report: Mapping[str, Any] = {}

    def document(self, document: Mapping[str, Any]) -> None:
        """Keep the document."""
        if self.held is not None:
            super().document(document)
            return
        self.report = json.loads(self.mask("".join(iterate_document_text(document))))
        self.data_written = True


class _Nowhere(io.TextIOBase):
    """A stream that drops everything."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Return as if the text were written."""
        return len(text)
