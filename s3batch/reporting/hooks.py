"""Tells other programs of the end of a run: ``--on-done`` and ``--ping``. Neither changes the exit code.

--on-done COMMAND   sh -c COMMAND, the document on its stdin, its stdout to stderr
--on-done URL       POST of the document
--ping URL          POST to URL after exit code 0, to URL/fail after any other
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from s3batch import __version__
from s3batch.base.errors import EXIT_BUG, INTERRUPTED
from s3batch.base.thread_wait import call_on_thread

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_TRIES = 3
_SECONDS_A_TRY = 10.0
_SECONDS_OF_A_COMMAND = 60.0
AFTER_A_SIGNAL = 2.0
"""Seconds for everything: a CI kills a step that it has stopped."""
_PAUSE = 0.5
"""Seconds between two tries."""
_LOOK = 0.1
"""Seconds between two looks at a signal."""
_ERROR = 400
"""The lowest HTTP status that is an error."""


class LateStop(Protocol):
    """The handler of the process's signals, which may come while the hooks run."""

    late: bool
    """True if one has come since the work is done."""
    before_exit: Callable[[], object] | None
    """Is called before a second one ends the process."""


def tell_others(
    settings: Settings,
    output: Output,
    code: int,
    after_a_signal: float = AFTER_A_SIGNAL,
    stop: LateStop | None = None,
) -> None:
    """Run the hooks of a run that ends with ``code``. What goes wrong is a warning.

    ``after_a_signal``: seconds for all of them if a signal has ended the run, or comes while they run.
    """
    if code == EXIT_BUG or not (settings.on_done or settings.ping):
        return
    time_limit = _TimeLimit(after_a_signal, stop)
    if code in INTERRUPTED:
        time_limit.shorten()
    if settings.on_done and output.kept is not None:
        _warn_if(output, "on_done", _tell_done(settings.on_done, output.kept, output, time_limit))
    if settings.ping:
        send_ping(settings.ping, output, code, time_limit.find_end())


class _TimeLimit:
    """The time for all hooks, which a signal makes short."""

    def __init__(self, after_a_signal: float, stop: LateStop | None) -> None:
        self.stop = stop
        self._after_a_signal = after_a_signal
        self._end = time.monotonic() + 3600.0
        self._is_short = False

    def shorten(self) -> None:
        """Leave the seconds after a signal, from now on."""
        self._is_short, self._end = True, time.monotonic() + self._after_a_signal

    def find_end(self) -> float:
        """Return when the time is over, on the monotonic clock."""
        if self.stop is not None and self.stop.late and not self._is_short:
            self.shorten()
        return self._end


def send_ping(url: str, output: Output, code: int, deadline: float) -> None:
    """Tell the receiver of ``--ping`` of a run that ends with ``code``. What goes wrong is a warning."""
    url = _make_failure_url(url) if code else url
    _warn_if(output, f"ping to {_hide_path(url)}", post_data(url, None, deadline))


def _warn_if(output: Output, what: str, wrong: str) -> None:
    if wrong:
        output.warn(f"{what} failed: {wrong}")


def _tell_done(receiver: str, document: IO[bytes], output: Output, time_limit: _TimeLimit) -> str:
    if receiver.lower().startswith(("http://", "https://")):
        return post_data(receiver, document, time_limit.find_end())
    return _run_shell(receiver, document, output, time_limit)


def _make_failure_url(url: str) -> str:
    """Return the URL with ``/fail`` behind its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))


def _hide_path(url: str) -> str:
    """Return the URL without its path, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}"


def post_data(url: str, data: IO[bytes] | None, deadline: float, tries: int = _TRIES) -> str:
    """Send a POST; try again after any error. Return the last error, empty if it was taken."""
    wrong = ""
    for number in range(tries):
        if number:
            time.sleep(max(0.0, min(_PAUSE, deadline - time.monotonic())))
        seconds = min(_SECONDS_A_TRY, deadline - time.monotonic())
        if seconds <= 0:
            return wrong or "there is no time left after a signal"
        wrong = _run_bounded(lambda: _post_once(url, data), seconds)
        if not wrong:
            return ""
    return wrong


class _Body:
    """The bytes of a file for one request. A try that was given up does not move the next one's place in the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._at = 0

    def read(self, size: int = 65536, /) -> bytes:
        """Return the next bytes."""
        block = os.pread(self._descriptor, size, self._at)
        self._at += len(block)
        return block


def _post_once(url: str, data: IO[bytes] | None) -> str:
    import urllib.error  # noqa: PLC0415 - 30 ms that few runs pay
    import urllib.request  # noqa: PLC0415 - as above

    url, login = _split_login(url)
    headers = {"User-Agent": f"s3batch/{__version__}", "Content-Type": "application/json", "Content-Length": "0"}
    headers |= login
    if data is not None:
        headers["Content-Length"] = str(os.fstat(data.fileno()).st_size)
    try:
        request = urllib.request.Request(url, _Body(data) if data else b"", headers, method="POST")  # noqa: S310 - http and https only
        with urllib.request.urlopen(request, timeout=_SECONDS_A_TRY) as response:  # noqa: S310 - as above
            status: int = response.status
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:  # URLError is an OSError
        return str(getattr(error, "reason", "") or error)
    return f"HTTP {status}" if status >= _ERROR else ""


def _split_login(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL without user and password, and the header that carries them: urllib takes them for a port."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    encoded = base64.b64encode(unquote(login).encode("utf-8", "surrogateescape")).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {encoded}"}


def _run_bounded(work: Callable[[], str], seconds: float) -> str:
    """Return the answer of ``work``, or that it took too long: a time-out of a socket bounds one read only."""
    answers = call_on_thread(lambda: _guard(work), seconds)
    return answers[0] if answers else f"no answer in {seconds:.3g} s"


def _guard(work: Callable[[], str]) -> str:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - http.client raises many kinds, and an odd proxy any of them
        return str(error) or type(error).__name__


def _run_shell(command: str, document: IO[bytes], output: Output, time_limit: _TimeLimit) -> str:
    """Run a command with the document on its stdin; return what is wrong with its end. It leaves no process behind."""
    document.seek(0)
    try:
        process = subprocess.Popen(
            ["sh", "-c", command], stdin=document, stdout=_descriptor_of_stderr(output), start_new_session=True
        )
    except OSError as error:
        return error.strerror or str(error)
    if time_limit.stop is not None:
        time_limit.stop.before_exit = lambda: _end_group(process)
    begun = time.monotonic()
    try:
        code = _wait_for_command(process, begun + _SECONDS_OF_A_COMMAND, time_limit)
    finally:
        if time_limit.stop is not None:
            time_limit.stop.before_exit = None
        if process.poll() is None:
            _end_group(process)
            process.wait()
    if code is None:
        return f"it ran for more than {round(time.monotonic() - begun, 1):g} s and was ended"
    return f"it ended with exit code {code}" if code else ""


def _wait_for_command(process: subprocess.Popen[bytes], latest: float, time_limit: _TimeLimit) -> int | None:
    """Return the exit code of a command; ``None`` if its time is over before its end."""
    while (left := min(latest, time_limit.find_end()) - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, _LOOK))
    return process.poll()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _descriptor_of_stderr(output: Output) -> int:
    try:
        return output.progress_stream.fileno()
    except (OSError, ValueError):  # closed, or the memory of a test
        return subprocess.DEVNULL
