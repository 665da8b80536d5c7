"""What stops a job before its end: signals, and reasons that are not one operation's."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self

from s3batch.errors import EXIT_SIGINT, EXIT_SIGTERM, S3BatchError

if TYPE_CHECKING:
    from types import FrameType


class StoppedError(S3BatchError):
    """The job ends here with work left in the journal, for a reason that is not one operation's."""

    def __init__(self, message: str, *, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class InterruptedJobError(StoppedError):
    """SIGINT or SIGTERM."""

    def __init__(self, signum: int) -> None:
        name = signal.Signals(signum).name
        super().__init__(f"interrupted by {name}", exit_code=EXIT_SIGINT if signum == signal.SIGINT else EXIT_SIGTERM)


class Signals:
    """While entered, SIGINT and SIGTERM are noted; where nothing is under way they raise at once."""

    def __init__(self) -> None:
        self.seen = 0
        """The first signal's number; 0 for none."""
        self.again = False
        self.gentle = False
        """Whether the one who runs looks at ``seen`` by himself."""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _note(self, signum: int, _: FrameType | None) -> None:
        self.again = bool(self.seen)
        self.seen = self.seen or signum
        if not self.gentle or self.again:
            raise InterruptedJobError(self.seen)
