"""One exchange between the coordinator and a worker on a Dask cluster: its messages, and the box at the worker's end."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.executors.dask.source_check import FileSample
from s3batch.executors.dask.target_check import TargetProbe
from s3batch.executors.worker_process import pack_results
from s3batch.executors.worker_state import CURRENT
from s3batch.s3.tally import EMPTY_TALLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3batch.executors import Status
    from s3batch.executors.worker_loop import WorkerLoop
    from s3batch.model import Result, ShortRow


class SealedValue:
    """A value in a message. No log shows its content, because Dask prints the arguments of a failed task."""

    __slots__ = ("_data",)

    def __init__(self, value: object) -> None:
        self._data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def __repr__(self) -> str:
        return f"<{len(self._data)} sealed bytes>"

    def open(self) -> Any:
        """Return the value. Pickle is safe here, because both ends are s3batch."""
        return pickle.loads(self._data)  # noqa: S301 - see above


class CoordinatorView(NamedTuple):
    """The coordinator's view of source and versions, to compare with a worker's."""

    version: str
    root: str
    samples: tuple[FileSample, ...]
    symlinks: str = "follow"
    probe: TargetProbe | None = None
    """For a directory that workers write to."""


class ExchangeRequest(NamedTuple):
    """The coordinator's message of one exchange."""

    works: list[tuple[Any, ...]]
    """The works as :func:`~s3batch.executors.worker_process.pack_works` makes them."""
    words: dict[str, Any]
    """``drain``, ``throttle``, ``credentials``, ``quirks``, each with its payload."""


class ExchangeResponse(NamedTuple):
    """The worker's message of one exchange."""

    results: list[tuple[Any, ...]]
    tally: tuple[Any, ...]
    """The fields of a :class:`~s3batch.s3.tally.Tally`."""
    dropped: list[tuple[Any, ...]]
    """Work that was not begun and will not be."""
    status: Status | None = None
    """The worker's status; ``None`` before it has begun its loop."""
    silent: float = 0.0
    """Seconds since its loop last turned."""
    busy_row: int = 0
    """The row that its loop is busy with; 0 for none."""
    gone: str = ""
    """Why there is no worker any more; empty while there is one."""
    stored: Sequence[ShortRow] = ()
    """Further results: of plain uploads, downloads and copies that worked."""


def make_empty_response(gone: str = "") -> ExchangeResponse:
    """Return an empty answer."""
    return ExchangeResponse([], tuple(EMPTY_TALLY), [], gone=gone)


class ExchangeBox:
    """Messages between the threads of exchanges and the thread of one worker. Any thread may call it."""

    def __init__(self, page: Sequence[int]) -> None:
        """``page``: see :class:`WorkerLoop`."""
        self.ears, self._knocker = socket.socketpair()
        self.ears.setblocking(False)
        self.heard = self.turned = time.monotonic()
        """When the last exchange came, and when the worker's loop turned last."""
        self._page = page
        self._status: Status | None = None
        self._news = threading.Condition()
        self._inbox: list[ExchangeRequest] = []
        self._results: list[Result] = []
        self._requests: Counter[str] = Counter()
        self._overruled: Counter[str] = Counter()
        self._unheard: list[str] = []
        self._dropped: list[tuple[Any, ...]] = []
        self._gone = ""

    # --- for the threads of exchanges ---------------------------------------------------------

    def swap(self, request: ExchangeRequest, wait: float) -> ExchangeResponse:
        """Leave ``request`` for the worker; return what arrived from it, after ``wait`` seconds at most."""
        with self._news:
            self.heard = time.monotonic()
            self._inbox.append(request)
            self.knock()
            self._news.wait_for(lambda: self._results or self._dropped or self._gone, wait)
            rows, stored = pack_results(self._results)
            response = ExchangeResponse(
                rows, (dict(self._requests), dict(self._overruled), self._unheard), self._dropped, self._status,
                time.monotonic() - self.turned, self._page[CURRENT], self._gone, stored,
            )  # fmt: skip
            self._results, self._dropped, self._unheard = [], [], []
            self._requests.clear()
            self._overruled.clear()
            return response

    def knock(self) -> None:
        """Wake the worker."""
        with contextlib.suppress(OSError):  # it has gone
            self._knocker.send(b".")

    # --- for the worker's thread --------------------------------------------------------------

    def take_requests(self) -> list[ExchangeRequest]:
        """Return the requests that came since the last call."""
        self.ears.recv(4096)
        with self._news:
            requests, self._inbox = self._inbox, []
        return requests

    def put_dropped(self, works: list[tuple[Any, ...]]) -> None:
        """Hand back work that was not begun."""
        with self._news:
            self._dropped += works
            self._news.notify_all()

    def put_status(self, status: Status) -> None:
        """Keep the status for the next response, which need not come at once."""
        with self._news:
            self._status = status

    def put_report(self, runner: WorkerLoop) -> None:
        """Put the results of the worker's loop and its counts into the next response, and have that sent."""
        with self._news:
            self._status = runner.status()
            self._results += runner.results
            tally = runner.transport.take_tally()
            self._requests.update(tally.requests)
            self._overruled.update(tally.overruled)
            self._unheard += tally.unheard
            self._news.notify_all()
        runner.results.clear()

    def close(self, why: str) -> None:
        """Note why there is no worker any more."""
        with self._news:
            self._gone = why
            self._news.notify_all()
        self.ears.close()
        self._knocker.close()
