"""``main``: from a command line to an exit code. Everything that goes wrong becomes one sentence here.

Nothing heavy is imported before a command is known to need it: ``s3batch --version`` and ``jobs list`` start without
an AWS library, and a typo is answered at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NoReturn, TextIO

import s3batch
from s3batch.base import errors
from s3batch.base.errors import S3BatchError, SettingsError
from s3batch.cli.dispatch import carry_out_command
from s3batch.coordinator.signals import Interrupter, TerminatedError
from s3batch.files import private
from s3batch.reporting.console import Output, standard_streams
from s3batch.settings import texts
from s3batch.settings.parsing import parse_setting, unknown_name_error
from s3batch.settings.schema import COMMANDS, REPORTING_COMMANDS, RESUMABLE
from s3batch.settings.table import TABLE, Settings

_HELP = ("-h", "--help")
_UNREPORTED = frozenset({errors.EXIT_SETTINGS, errors.EXIT_JOURNAL, errors.EXIT_BUG})
"""Exit codes without a report file: nothing was tried, or it is not known what was."""
_STEPS = frozenset({"cache restore", "cache rebuild"})
"""Commands that break no build."""
_PING_SECONDS = 60.0
"""Seconds for all tries of a ping."""
_TRUE = frozenset({"1", "t", "true", "yes", "y", "on"})


class _Invocation:
    """One call of ``main``, with the facts known so far for its error message."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        output: Output,
        *,
        real: bool,
        noted: list[int] | None = None,
    ) -> None:
        self.argv = argv
        self.environ = environ
        self.output = output
        self.command = ""
        self.settings: Settings | None = None
        self.real = real
        """True in the process itself, false in a test inside another process."""
        self.interrupter = Interrupter(noted, gentle=True)

    def wants(self, name: str) -> bool:
        """Return whether ``json`` or ``json_lines`` is set, also before the settings are known, and if they never are."""
        if self.settings:
            return bool(getattr(self.settings, name))
        flag = name.replace("_", "-")
        words = list(self.argv[: self.argv.index("--")] if "--" in self.argv else self.argv)
        variables = [f"S3BATCH_{name.upper()}", *([f"PLUGIN_{name.upper()}"] if self.command == "plugin" else [])]
        said = [word for word in words if word in {f"--{flag}", f"--no-{flag}"}]
        if said:
            return said[-1] == f"--{flag}"
        return any(self.environ.get(variable, "").strip().lower() in _TRUE for variable in variables)

    def find_ping(self) -> str:
        """Return the URL of ``--ping`` as flag or variable says it, for settings that cannot be read; else empty."""
        plugin = self.command == "plugin"
        if not plugin and self.command not in REPORTING_COMMANDS:
            return ""
        words = _before_dashes(self.argv)
        said = [after for word, after in pairwise(words) if word == "--ping"]
        said += [word.removeprefix("--ping=") for word in words if word.startswith("--ping=")]
        variables = ["S3BATCH_PING", *(["PLUGIN_PING"] if plugin else [])]
        said += [self.environ.get(variable, "") for variable in variables]
        return next(filter(None, map(_parse_ping, said)), "")

    @property
    def wants_document(self) -> bool:
        """True if anything is done with the document of a run that failed before it had a job."""
        return self.settings is not None or self.wants("json") or self.wants("json_lines")

    @property
    def wants_traceback(self) -> bool:
        """``-vv``."""
        if self.settings:
            return self.settings.verbose >= 2
        return "-vv" in self.argv or sum(word in {"-v", "--verbose"} for word in self.argv) >= 2


def _parse_ping(text: str) -> str:
    """Return the URL of ``--ping``; empty for a text that is none."""
    with suppress(SettingsError):
        if text.strip().lower().startswith(("http://", "https://")):
            return str(parse_setting(TABLE["ping"], text, "--ping"))
    return ""


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run s3batch and return its exit code; never raises, never exits.

    Without arguments it is the process's own command line, environment and streams.
    """
    call = _Invocation(
        argv=list(sys.argv[1:] if argv is None else argv),
        environ=os.environ if environ is None else environ,
        output=Output(stdout, stderr),
        real=environ is None,
    )
    return _finish_output(call)


def run_program(noted: list[int]) -> NoReturn:
    """Run the CLI and exit with ``os._exit``. ``noted`` lists signals that come meanwhile.

    That skips interpreter shutdown and does not wait for threads blocked in boto3.
    """
    stdout, stderr = standard_streams()
    call = _Invocation(
        argv=sys.argv[1:], environ=os.environ, output=Output(stdout, stderr), real=True,
        noted=noted,
    )  # fmt: skip
    call.output.take_strays()
    os._exit(_finish_output(call))


def _finish_output(call: _Invocation) -> int:
    """Return the exit code, when everything is written that is to be written."""
    call.output.redact(_secrets_of(call.environ))
    interrupter = call.interrupter
    if call.real and threading.current_thread() is threading.main_thread():
        interrupter.install()
    code = _run_checked(call)
    if call.settings is not None and (call.settings.on_done or call.settings.ping):
        from s3batch.reporting.hooks import tell_others  # noqa: PLC0415 - few runs have any

        interrupter.over = True
        tell_others(call.settings, call.output, code, stop=interrupter)
    elif call.settings is None and code == errors.EXIT_SETTINGS and (url := call.find_ping()):
        from s3batch.reporting.hooks import send_ping  # noqa: PLC0415 - as above

        interrupter.over = True
        send_ping(url, call.output, code, time.monotonic() + _PING_SECONDS)
    return call.output.finish(code)


def _run_checked(call: _Invocation) -> int:
    """Run the command; turn every exception into a sentence and an exit code."""
    try:
        code = _run_invocation(call)
        call.interrupter.over = True
    except S3BatchError as error:
        return _report_error(call, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _report_error(call, "interrupted", errors.EXIT_SIGINT)
    except TerminatedError as error:
        return _report_error(call, "terminated", error.exit_code)
    except Exception as error:  # noqa: BLE001 - the boundary: anything else is a bug, reported in one sentence
        if call.settings is not None and call.settings.command in _STEPS:
            return _broken_step(call, call.settings, error)
        sentence = f"this is a bug in s3batch: {type(error).__name__}: {error}"
        hint = "please report it" if call.wants_traceback else "run it again with -vv for the traceback, and report it"
        return _report_error(call, f"{sentence}; {hint}", errors.EXIT_BUG)
    return code


def _broken_step(call: _Invocation, settings: Settings, error: Exception) -> int:
    """Return the exit code of a cache step that met a bug in s3batch: the build goes on, unless asked to fail."""
    sentence = f"{settings.command}: {errors.wrap_unforeseen(error)}"
    if settings.fail_on_error:
        return _report_error(call, sentence, errors.EXIT_FAILED)
    call.output.warn(f"{sentence}; the build goes on without it")
    call.output.trace(error)
    _publish_failure(call, sentence, errors.EXIT_DONE)
    return errors.EXIT_DONE


def _run_invocation(call: _Invocation) -> int:
    text = _help_or_version(call.argv, call.environ)
    if text:
        call.output.data(*text.split("\n"))
        return errors.EXIT_DONE
    call.command, rest = _peel_command(call.argv)
    if call.command == "completion":
        return _print_completion(call, rest)
    return _show_config(call, rest) if call.command == "config" else _run_command(call, rest)


def _help_or_version(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the text that is asked for instead of a command; empty if a command is to run."""
    words = list(_before_dashes(argv))
    if words[:1] == ["--version"]:
        return f"s3batch {s3batch.__version__}"
    asked = next((at for at, word in enumerate(words) if word in _HELP), None)
    if words[:1] == ["help"]:
        about = [word for word in words[1:] if word not in _HELP]
    elif asked is not None:
        about = [*words[:asked], *(["all"] if words[asked + 1 :][:1] == ["all"] else [])]
    elif argv:
        return ""
    else:
        about = []
    from s3batch.cli import help as helps  # noqa: PLC0415 - --version and a typo are answered at once

    return helps.choose_help(about, helps.choose_width(environ))


def _run_command(call: _Invocation, rest: Sequence[str]) -> int:
    settings = _load_settings(call, call.command, rest)
    if settings is None:
        return _nothing_wanted(call)
    return carry_out_command(settings, call.output)


def _nothing_wanted(call: _Invocation) -> int:
    """Say that a cache step has neither restore nor rebuild to do; return the exit code."""
    call.output.info("neither restore nor rebuild is true: nothing to do")
    if call.wants_document:
        from s3batch.model import JobState  # noqa: PLC0415 - as above
        from s3batch.reporting import publish, report  # noqa: PLC0415 - few ask for it

        document = report.make_jobless_document(call.command, JobState.DONE, errors.EXIT_DONE)
        publish.publish_document(None, call.output, document)
    return errors.EXIT_DONE


def _print_completion(call: _Invocation, rest: Sequence[str]) -> int:
    from s3batch.cli.completion import format_completion  # noqa: PLC0415 - few ask for it

    call.output.data(*format_completion(rest).rstrip("\n").split("\n"))
    return errors.EXIT_DONE


def _show_config(call: _Invocation, rest: Sequence[str]) -> int:
    from s3batch.cli import show_config  # noqa: PLC0415 - only one command needs it

    about, flags = _peel_command(rest) if rest and not rest[0].startswith("-") else ("config", rest)
    settings = _load_settings(call, about, flags)
    if settings is None:
        call.output.info("neither restore nor rebuild is true: nothing to do")
        return errors.EXIT_DONE
    call.settings = show_config.without_effects(settings)
    return show_config.show_settings(settings, call.output, call.environ)


def _load_settings(call: _Invocation, command: str, rest: Sequence[str]) -> Settings | None:
    """Return the settings, with the output set up as they say."""
    from s3batch.cli import loading  # noqa: PLC0415 - configargparse comes with it

    if command == "plugin" and rest:
        raise SettingsError(f"plugin takes no arguments, {rest[0]!r} was given", hint="it reads PLUGIN_ variables")
    environ = loading.with_env_file(command, rest, call.environ)
    if call.real:  # boto3 reads the process's environment, and so do the workers it starts
        os.environ.update(environ)
        for name in os.environ.keys() - environ.keys():
            del os.environ[name]  # boto3 would use an empty variable as a value
    call.environ = environ
    call.output.redact(_secrets_of(environ))
    settings = loading.plugin_settings(environ) if command == "plugin" else loading.settings_of(command, rest, environ)
    if settings:
        call.settings, call.command = settings, settings.command
        call.output.quiet, call.output.verbose = settings.quiet, settings.verbose
        call.output.log_format = settings.log_format
        call.output.errors_only = settings.log_level == "error"
        call.output.redact(settings.secrets())
        if settings.json_lines:
            call.output.write_events()
        _warn_of_lost_journal(settings, call.output)
    call.interrupter.raise_noted()  # from here on it is known which documents the end owes
    return settings


def _warn_of_lost_journal(settings: Settings, output: Output) -> None:
    """Say where the journal is if it is not where it usually is."""
    journals = settings.command in RESUMABLE or settings.command == "resume"
    if settings.journal or not journals or settings.state_directory != private.temporary_state_path():
        return
    if settings.plugin:
        what, lost = "the workspace", ": a later step cannot resume this job"
    else:
        what, lost = "the user's state directory", "; choose another place with --journal"
    output.warn(f"{what} cannot be written, so the journal is in {settings.state_directory}{lost}")


def _peel_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command, of one or two words, and the words after it."""
    words = list(argv)
    two = " ".join(words[:2])
    if two in COMMANDS:
        return two, words[2:]
    if words[0] in COMMANDS:
        return words[0], words[1:]
    raise _no_such_command(words)


def _no_such_command(words: list[str]) -> SettingsError:
    family = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if family:
        choices = ", ".join(name.partition(" ")[2] for name in family)
        return SettingsError(f"{words[0]} needs a command", hint=f"write s3batch {words[0]} and one of {choices}")
    if words[0].startswith("-"):
        flag = words[0].partition("=")[0]
        return SettingsError(f"the command must come before {flag}", hint="write s3batch COMMAND [flags]")
    return unknown_name_error("command", words[0], COMMANDS)


def _before_dashes(words: Sequence[str]) -> Sequence[str]:
    return words[: list(words).index("--")] if "--" in words else words


def _report_error(call: _Invocation, sentence: str, code: int) -> int:
    """Report the error, on stderr for people and with ``--json`` on stdout for programs."""
    call.output.error(sentence)
    if call.wants_traceback:
        import traceback  # noqa: PLC0415 - a run without a bug does not pay for it

        call.output.error(*(f"| {line}" for line in traceback.format_exc().rstrip().split("\n")))
    _publish_failure(call, sentence, code)
    return code


def _publish_failure(call: _Invocation, sentence: str, code: int) -> None:
    """Publish the end of a run that failed before it had a job, unless its end has been published."""
    begun = call.output.data_written and call.wants("json")
    if call.output.published or begun or not call.wants_document:
        return
    from s3batch.reporting.publish import publish_document  # noqa: PLC0415 - only a failure needs it

    settings = call.settings
    if settings is None and call.wants("json_lines") and not call.output.events:
        call.output.write_events()
    if settings is not None and (code in _UNREPORTED):
        settings = settings._replace(report=(), build=None)
    publish_document(settings, call.output, _failure_document(call, sentence, code), sentence)


def _failure_document(call: _Invocation, sentence: str, code: int) -> dict[str, Any]:
    """Return the document of a run that failed before it had a job."""
    from s3batch.model import JobState  # noqa: PLC0415 - as above
    from s3batch.reporting import report  # noqa: PLC0415 - only a failure with --json needs it

    interrupted = code in errors.INTERRUPTED
    state = JobState.INTERRUPTED if interrupted else JobState.FAILED
    return {**report.make_jobless_document(call.command, state, code), "error": call.output.clean(sentence)}


def _secrets_of(environ: Mapping[str, str]) -> list[str]:
    """Return the values in the environment that may be secrets, before any setting is parsed."""
    rows = [row for row in TABLE.values() if row.secret]
    names = {name for row in rows for name in (*row.plugin_names, *row.plugin_cache, row.variable, *row.also)}
    names |= {"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"}
    found = [environ[name].strip() for name in names if environ.get(name)]
    proxies = (text for name, text in environ.items() if name.upper().endswith("_PROXY"))
    return found + [secret for text in proxies for secret in texts.secrets_of_url(text)]
