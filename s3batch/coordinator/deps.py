"""The dependencies of a coordinator, given by the job that runs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.coordinator.circuit_breaker import ENDPOINT_GONE
from s3batch.coordinator.dispatcher import ENOUGH, KEYS_OUT
from s3batch.reporting.events import EventStream
from s3batch.settings.s3_limits import DELETE_BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.coordinator.multipart import MultipartUploads
    from s3batch.coordinator.signals import Signals
    from s3batch.executors import Executor
    from s3batch.journal import Journal
    from s3batch.model import Operation, Result
    from s3batch.reporting.progress import Progress, Totals
    from s3batch.s3.credentials import Login

CHANGES = 5
"""A file that changed so often while it was read is given up."""


class CoordinatorDeps(NamedTuple):
    """The journal, the workers and the decisions of one job."""

    journal: Journal
    executor: Executor
    uploads: MultipartUploads
    login: Login
    signals: Signals
    totals: Totals
    progress: Progress
    tries: int
    """Attempts for one operation."""
    multipart_threshold: int
    """Bytes: larger uploads go in parts."""
    whole: Callable[[Operation], bool]
    """Return true if an operation must go in one request however large it is."""
    replan: Callable[[Operation], Operation | Result | None]
    """Return the operation for its file as it is now, or its result where there is nothing to send any more.

    A result without an error means that it is skipped; ``None`` that nothing more is known.
    """
    heard: Callable[[Operation, Result], None]
    """Called with every good result of a whole operation, and with each operation of a dry run."""
    say: Callable[[str], None]
    """Tell a person something at once."""
    events: EventStream
    """Hears of progress and of failures."""
    source_login: Login | None = None
    """The sign-in of a transfer's source."""
    changes: int = CHANGES
    """Changes of a file or object while it is read after which its operation is given up."""
    has_file: Callable[[str], bool] | None = None
    """Return true if a key has a file by now: asked before a delete where workers cannot see the source."""
    warn: Callable[[str], None] | None = None
    """Keeps a warning, and says it at once where the report does not; else the journal keeps it."""
    look: Callable[[], None] | None = None
    """Called with each turn; it may stop the job."""
    heard_deletes: Callable[[Sequence[str]], None] | None = None
    """Called with the keys of a request whose deletes all went well, in place of ``heard`` with each."""
    deletes_alone: bool = False
    """Delete each key in a request of its own: workers look at each object first."""
    dry_run: bool = False
    """Look and compare only; an operation that would change the bucket is settled as skipped."""
    endpoint_gone: float = ENDPOINT_GONE
    """Seconds without any success after which an endpoint counts as gone."""
    enough: int = ENOUGH
    """Operations that wait for a worker while planning pauses."""
    keys_out: int = KEYS_OUT
    """Keys to delete that are leased at once."""
    delete_batch: int = DELETE_BATCH
    """Keys of one DeleteObjects request."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that only grow. A simulation gives its own."""
