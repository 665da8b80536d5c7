"""The two streams: stdout is data for programs, stderr is talk for people.

No line carries a carriage return, an escape sequence or a secret, whatever a file name or a server put into the
text. A stderr that nobody reads any more is no reason to stop; a stdout that nobody reads is (``BrokenPipeError``).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO
from urllib.parse import quote

MASK = "***"
_SHORTEST_SECRET = 6
"""Characters; a shorter one would make nonsense of ordinary words and keeps nothing secret."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def one_line(text: str) -> str:
    """``text`` with its line breaks and tabs shown: a file's name must not end a line, or look like one of ours."""
    return text.replace("\n", "\\x0a").replace("\t", "\\x09")


class Output:
    """Where a run speaks. One per run, used by the coordinator's thread only."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, quiet: bool = False, verbose: int = 0, log_format: str = "text"
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._secrets: tuple[str, ...] = ()
        self.quiet = quiet
        self.verbose = verbose
        self.log_format = log_format
        self.data_written = False
        """Whether anything went to stdout; with ``--json`` that was the document."""

    @property
    def stderr(self) -> TextIO:
        """For progress bars; text of users or servers goes through the methods."""
        return self._stderr

    def redact(self, secrets: Iterable[str]) -> None:
        """Never show these from now on, nor what they look like in a URL or in JSON."""
        found = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        forms = {form for secret in found for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        self._secrets = tuple(sorted(forms.union(self._secrets), key=len, reverse=True))

    def clean(self, text: str) -> str:
        """``text`` without secrets and without control characters but newline and tab."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)

    def data(self, text: str) -> None:
        """A line (or several) of stdout."""
        _write(self._stdout, self.clean(text) + "\n")
        self.data_written = True

    def document(self, document: Mapping[str, Any]) -> None:
        """The one JSON document of a run with ``--json``."""
        self.data(json.dumps(document, indent=2))

    def info(self, text: str) -> None:
        """What a person wants to know; ``--quiet`` silences it."""
        if not self.quiet:
            self._say("info", text)

    def detail(self, text: str) -> None:
        """With ``--verbose``."""
        if self.verbose:
            self._say("detail", text)

    def warn(self, text: str) -> None:
        """Something is not as it should be, and the run goes on."""
        self._say("warning", text)

    def error(self, text: str) -> None:
        """Something failed."""
        self._say("error", text)

    def flush(self) -> None:
        """Push out what is buffered; a stdout that is gone shows here."""
        self._stdout.flush()

    def _say(self, level: str, text: str) -> None:
        text = self.clean(text)
        if self.log_format == "json":
            text = json.dumps({"time": _now(), "level": level, "message": text})
        elif level in {"warning", "error"}:
            text = f"s3batch: {level}: {text}"
        try:
            _write(self._stderr, text + "\n")
            self._stderr.flush()
        except (OSError, ValueError):
            return  # closed, or its disk is full: what we do matters more than what we say


def _now() -> str:
    """UTC, as in ``2026-11-21T21:30:50.123Z``."""
    seconds = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03d}Z"


def _write(stream: TextIO, text: str) -> None:
    """A file name that is not UTF-8, or not in the terminal's alphabet, is shown with escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
