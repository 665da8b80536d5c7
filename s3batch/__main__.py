"""``python -m s3batch`` and the console script."""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType
from typing import NoReturn

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLLECT_AFTER = 20_000
"""Objects made and kept. Hardly anything here makes cycles; Python looks for them after 700, 200 times in a small run."""


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
    from s3batch.cli import run_program as run  # noqa: PLC0415 - after the handlers are set

    run(noted)


if __name__ == "__main__":
    program()
