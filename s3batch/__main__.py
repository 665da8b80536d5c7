"""``python -m s3batch`` and the console script."""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # as in s3batch/__init__.py: the handlers are set as early as can be
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLLECT_AFTER = 60_000
"""Objects made and kept: more than a start makes. Hardly anything here makes cycles, and Python looks for them after 700."""


def program() -> NoReturn:
    """Run the program. A signal that arrives while Python still imports it counts when the settings are known.

    Only then it is known which documents the end of the run owes. A second signal ends the process at once.
    """
    noted: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        if noted:
            os._exit(128 + signum)  # the exit code that shells give for a death by signal
        noted.append(signum)

    gc.set_threshold(_COLLECT_AFTER, 20, 50)  # older generations are scanned less often than by default, too
    for signum in _STOPPING:
        if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # ignored: started by nohup
            signal.signal(signum, note)
    if sys.argv[1:2] == ["--version"]:
        _print_version(noted)
    from s3batch.cli import run_program as run  # noqa: PLC0415 - after the handlers are set

    run(noted)


def _print_version(noted: list[int]) -> NoReturn:
    """Print the version, and end: without the command line, which takes longer to import than this to run."""
    from s3batch import __version__  # noqa: PLC0415 - after the handlers are set
    from s3batch.reporting.console import Output, standard_streams  # noqa: PLC0415 - as above

    output = Output(*standard_streams())
    output.data(f"s3batch {__version__}")
    code = output.finish(0)
    os._exit(128 + noted[0] if noted else code)


if __name__ == "__main__":
    program()
