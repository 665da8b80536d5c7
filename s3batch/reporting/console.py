"""The only writer to stdout and stderr: it hides secrets and escapes control characters.

    stdout   data for programs and tables      stderr   talk for people, progress

Every argument of a method is one line. Line breaks, control characters and bidirectional controls inside it are
escaped. So a text of the store or of the tree cannot end a line, begin one, or look like a command of a CI service.
Secrets are masked.

A stream that fails does not end the run. stderr goes mute. :meth:`Output.lost_data` returns the error of stdout, which
is asked when the work is done.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import select
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from s3batch.base.errors import EXIT_FAILED
from s3batch.base.shown_bytes import show_bytes
from s3batch.reporting.events import EventStream
from s3batch.reporting.json_stream import Collected, iterate_document_text, iterate_line_text
from s3batch.reporting.text import format_timestamp

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MASK = "***"
_SHORTEST_SECRET = 6
"""Characters; a shorter one would make nonsense of ordinary words and keeps nothing secret."""
_PLAIN_WIDTH = 80
"""Columns where there is no terminal."""
_TRACEBACKS = 2
"""``-vv``."""
_LOOK = 0.1
"""Seconds of one wait for an answer on the terminal."""
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: line breaks, escape sequences
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # breaks, bidi, invisible
    "\U000e0000-\U000e0fff]"
)
_COMMANDS_FIRST = ("::", "--- ", "+++ ", "~~~ ", "^^^ ")
"""GitHub's workflow commands and Buildkite's groups; they count at the beginning of a line."""
_COMMAND_ANYWHERE = r"#(?=#\w*\[)"
"""Commands of Azure Pipelines, TeamCity and older GitHub runners; they count anywhere."""


def escape_line(text: str) -> str:
    r"""Return ``text`` as one line, with everything escaped that would move a cursor, end a line or hide.

    A byte that is not UTF-8 is shown as ``\xff``.
    """
    text = show_bytes(text)
    return text if text.isprintable() else re.sub(_UNSAFE, _escape_character, text)


def _escape_character(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_ci_command(line: str) -> str:
    """Return ``line`` with the first character of a CI service's command escaped."""
    if "##" in line:
        line = re.sub(_COMMAND_ANYWHERE, _escape_character, line)
    bare = line.lstrip()
    if not bare.startswith(_COMMANDS_FIRST):
        return line
    return f"{line.removesuffix(bare)}\\x{ord(bare[0]):02x}{bare[1:]}"


class Output:
    """Where a run speaks. One per run, used by the coordinator's thread only."""

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        *,
        quiet: bool = False,
        verbose: int = 0,
        log_format: str = "text",
    ) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = _Mute(stderr or sys.stderr)
        self._secrets: tuple[str, ...] = ()
        self._lost: OSError | ValueError | None = None
        self.quiet = quiet
        self.verbose = verbose
        self.log_format = log_format
        self.errors_only = False
        """True if warnings are not printed either; a report still has them."""
        self.data_written = False
        """True if anything was written to stdout; with ``--json`` that was the document."""
        self.events = EventStream()
        """The events of this run, for programs that subscribe."""
        self.started = time.time()
        """When this run began, in seconds since the epoch."""
        self.events_only = False
        """True if stdout is for the lines of ``--json-lines``."""
        self.published = False
        """True if a document of this run was published."""
        self.kept: IO[bytes] | None = None
        """The text of the last document that was kept, for those who are told at the end."""
        self.held: Collected | None = None
        """Collects the documents of several jobs, while someone makes one of them."""

    @property
    def progress_stream(self) -> TextIO:
        """The stream for progress, whose texts are all s3batch's. It never fails."""
        return cast("TextIO", self._stderr)

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 where stdout is none."""
        with contextlib.suppress(OSError, ValueError):
            if self._stdout.isatty():
                return os.get_terminal_size(self._stdout.fileno()).columns or _PLAIN_WIDTH
        return _PLAIN_WIDTH

    def redact(self, secrets: Iterable[str]) -> None:
        """Hide these values from now on, and their forms in a URL or in JSON."""
        from urllib.parse import quote  # noqa: PLC0415 - `--version` has no secrets

        found = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        forms = {form for secret in found for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        self._secrets = tuple(sorted(forms.union(self._secrets), key=len, reverse=True))

    def clean(self, text: str) -> str:
        """Return ``text`` as one harmless line without secrets."""
        return _escape_ci_command(escape_line(self.mask(text)))

    def mask(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def data(self, *lines: str) -> None:
        """Write lines to stdout, unless that is for events only."""
        if not self.events_only:
            self._put("".join(f"{self.clean(line)}\n" for line in lines))

    def content(self, block: ReadableBuffer) -> None:
        """Write bytes to stdout as they are. Raises OSError or ValueError if they are lost."""
        self.data_written = True
        try:
            self._stdout.flush()
            self._stdout.buffer.write(block)
            self._stdout.buffer.flush()
        except (OSError, ValueError) as error:
            self._lost = error
            raise

    def document(self, document: Mapping[str, Any]) -> None:
        """Write the one JSON document of a run with ``--json``."""
        write = self._put if self.held is None else self.held.write
        for piece in chain(iterate_document_text(document), ["\n"]):
            write(re.sub(_COMMAND_ANYWHERE, r"\\u0023", self.mask(piece)))

    def write_events(self) -> None:
        """Write each event as a line from now on, and nothing else to stdout."""
        self.events_only = True
        self.events.subscribe(self._write_event)

    def _write_event(self, event: Mapping[str, Any]) -> None:
        for piece in iterate_line_text(event):
            self._put(re.sub(_COMMAND_ANYWHERE, r"\\u0023", self.mask(piece)))
        with self._noting_loss():
            self._stdout.flush()

    def keep_document(self, document: Mapping[str, Any]) -> None:
        """Keep the text of a document for the end of the run, when the journal is closed."""
        import tempfile  # noqa: PLC0415 - few runs need it

        file = tempfile.TemporaryFile()  # noqa: SIM115 - the run ends with it
        for piece in chain(iterate_document_text(document), ["\n"]):
            file.write(self.mask(piece).encode())
        file.flush()
        self.kept = file

    def info(self, *lines: str) -> None:
        """Print a message for people; ``--quiet`` silences it."""
        if not self.quiet:
            self._say("info", lines)

    def detail(self, *lines: str) -> None:
        """Say it with ``--verbose`` only."""
        if self.verbose:
            self._say("detail", lines)

    def warn(self, *lines: str) -> None:
        """Say that something is not as it should be, and that the run goes on."""
        for line in lines:
            self.events.warning(line)
        if not self.errors_only:
            self._say("warning", lines)

    def error(self, *lines: str) -> None:
        """Say that something failed."""
        self._say("error", lines)

    @property
    def may_ask(self) -> bool:
        """True if someone sits at a terminal: stdin and stderr are one."""
        try:
            return self._stderr.isatty() and sys.stdin is not None and sys.stdin.isatty()
        except ValueError:  # stdin is closed
            return False

    def ask(self, question: str) -> bool:
        """Ask on the terminal and return whether the answer is yes; an empty answer and the end of stdin are no."""
        self._stderr.write(f"{self.clean(question)} [y/N] ")
        self._stderr.flush()
        while not select.select([sys.stdin], [], [], _LOOK)[0]:
            pass  # a signal that comes just before a read would not interrupt it
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def trace(self, error: BaseException) -> None:
        """Show with ``-vv`` where ``error`` was raised."""
        if self.verbose >= _TRACEBACKS:
            import traceback  # noqa: PLC0415 - a run without a bug does not pay for it

            lines = "".join(traceback.format_exception(error)).rstrip().split("\n")
            self.error(*(f"| {line}" for line in lines))

    def lost_data(self) -> OSError | ValueError | None:
        """Flush the buffers; return the error that kept data from being written, if there was one."""
        if self.data_written and self._lost is None:
            with self._noting_loss():
                self._stdout.flush()
        return self._lost

    def finish(self, code: int) -> int:
        """Return the exit code of a run that would end with ``code``: stdout that lost data is told, and a failure."""
        lost = self.lost_data()
        if lost is None:
            return code
        if getattr(lost, "errno", 0) != errno.EPIPE:  # a reader that has seen enough, as `head`
            why = getattr(lost, "strerror", None) or str(lost)
            self.error(f"stdout cannot be written, so its data is lost: {why}")
        return code or EXIT_FAILED

    def take_strays(self) -> None:
        """Make ``sys.stdout`` and ``sys.stderr`` print texts of Python and libraries only with ``--verbose``.

        Otherwise warnings, tracebacks of threads and log lines of libraries would be printed unescaped.
        """
        sys.stdout = sys.stderr = _Strays(self)

    def _put(self, text: str) -> None:
        if self._lost is None:
            with self._noting_loss():
                self._stdout.write(_escape_unencodable(self._stdout, text))
        self.data_written = True

    @contextlib.contextmanager
    def _noting_loss(self) -> Any:
        try:
            yield
        except (OSError, ValueError) as error:
            self._lost = error

    def _say(self, level: str, lines: tuple[str, ...]) -> None:
        cleaned = [self.clean(line) for line in lines]
        if self.log_format == "json":
            said = {"time": format_timestamp(time.time()), "level": level, "message": "\n".join(cleaned)}
            cleaned = [json.dumps(said)]
        elif level in {"warning", "error"}:
            cleaned[:1] = [f"s3batch: {level}: {line}" for line in cleaned[:1]]
        self._stderr.write("".join(f"{line}\n" for line in cleaned))
        self._stderr.flush()


class _Mute(io.TextIOBase):
    """A stream that takes everything, also where the real one is closed, broken or full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute above
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # the work matters more than the messages
            self._stream.write(_escape_unencodable(self._stream, text))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        return self._stream.fileno()


class _Strays(io.TextIOBase):
    """Receives the output of other libraries, and shows each line of it with ``--verbose``."""

    encoding = "utf-8"

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._output.detail(f"python: {line}")
        return len(text)


def standard_streams() -> tuple[TextIO, TextIO]:
    """Return stdout and stderr of this process, each usable even if it was closed at the start.

    A closed standard stream is opened on the null device, so that no file or socket takes its number. Data written to a
    closed stdout is lost, which is remembered for the exit code.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    return _make_waiting_stream(sys.stdout), _make_waiting_stream(sys.stderr)


def _make_waiting_stream(stream: TextIO | None) -> TextIO:
    """Return ``stream`` as one that waits where a non-blocking descriptor is full."""
    if stream is None:
        return cast("TextIO", _Closed())
    raw = _Patient(stream.fileno(), "w", closefd=False)
    lines = getattr(stream, "line_buffering", False) or getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=lines
    )


class _Patient(io.FileIO):
    """A descriptor that may be non-blocking, as Node.js leaves them to the programs it starts."""

    def write(self, data: ReadableBuffer, /) -> int:
        while True:
            written = cast("int | None", super().write(data))
            if written is not None:
                return written
            select.select([], [self], [])


class _Closed(io.TextIOBase):
    """A standard stream that was closed at the start."""

    encoding = "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        raise OSError(errno.EBADF, "it is closed")

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


def _escape_unencodable(stream: IO[str], text: str) -> str:
    """Return ``text`` with escapes for characters that are not UTF-8, or not in the terminal's encoding."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
