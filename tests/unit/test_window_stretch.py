"""More requests in flight than the limit, while the store answers them as quickly."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest

from s3batch.executors.window_stretch import WindowStretch
from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Reason, Work
from s3batch.objects.attributes import AttributeRules
from s3batch.s3.congestion_window import CongestionWindow
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.sigv4 import Credentials
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen
from tests.rig.stamps import stamp_at

GROWN = "grown"
REFUSED = "refused"


class Times:
    def __init__(self) -> None:
        self.now = self.cpu = 100.0


def limit_after(*rounds: object, most: int = 64) -> int:
    """Return the limit after rounds: mean seconds of a request, perhaps with the part of it that the worker was busy."""
    times = Times()
    window = CongestionWindow(16, lambda: times.now)
    stretch = WindowStretch(window, most, lambda: times.now, lambda: times.cpu)
    for each in rounds:
        if each == GROWN:
            while window.size < window.limit:
                window.grow()
        elif each == REFUSED:
            window.throttle(16)
        else:
            seconds, busy = each if isinstance(each, tuple) else (each, 0.3)
            times.now += seconds
            times.cpu += seconds * busy
            for _ in range(int(window.size)):
                stretch.note(seconds)
    return window.limit


@pytest.mark.parametrize(
    ("rounds", "limit"),
    [
        pytest.param([0.02], 16, id="the window is not full yet"),
        pytest.param([GROWN, 0.02], 32, id="full, and as quick as ever"),
        pytest.param([0.02, GROWN, 0.029], 32, id="a little slower"),
        pytest.param([0.02, GROWN, 0.031], 16, id="the store queues them"),
        pytest.param([GROWN, (0.02, 0.9)], 16, id="the worker has enough to do"),
        pytest.param([GROWN, 0.02, 0.02], 32, id="not stretched again before it has grown"),
        pytest.param([GROWN, 0.02, GROWN, 0.02], 64, id="twice"),
        pytest.param([GROWN, 0.02, GROWN, 0.02, GROWN, 0.02], 64, id="no further than the most"),
        pytest.param([GROWN, 0.02, GROWN, 0.05, 0.02], 64, id="quick again"),
        pytest.param([GROWN, REFUSED, GROWN, 0.02], 16, id="the store has refused some"),
    ],
)
def test_the_limit_follows_the_pace_of_the_store(rounds: list[object], limit: int) -> None:
    assert limit_after(*rounds) == limit


def test_the_limit_is_not_stretched_beyond_the_most() -> None:
    assert limit_after(GROWN, 0.02, most=20) == 20


class SlowS3(FakeS3):
    """A store that takes 30 ms for each request, however many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.at_once = 0
        self._counting = threading.Lock()

    def answer(self, request: Seen) -> Reply:
        with self._counting:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.03)
        with self._counting:
            self.at_once -= 1
        return super().answer(request)


@pytest.mark.parametrize(("stretches", "most"), [(True, 8), (False, 4)])
def test_a_worker_sends_more_small_files_at_once_where_the_store_is_far(
    tmp_path: Path, stretches: bool, most: int
) -> None:
    with SlowS3() as store:
        endpoint = Endpoint(
            bucket="b", region="us-east-1", host="127.0.0.1", port=store.port, tls=False, path_style=True, url=store.url,
            credentials=Credentials(ACCESS_KEY, SECRET_KEY, ""),
        )  # fmt: skip
        rules = AttributeRules.from_settings(Settings(), str(tmp_path))
        runner = WorkerLoop(Brief(endpoint=endpoint, root=str(tmp_path), rules=rules, limit=4, stretches=stretches))
        works = []
        for number in range(1, 121):
            path = tmp_path / f"{number}"
            path.write_bytes(b"content")
            found = stamp_at(path)
            works.append(Work(Operation(Kind.UPLOAD, path.name, Reason.MISSING, path.name, 7, found, id=number)))
        runner.transport.writes.open(math.inf)
        runner.take(works)
        while runner.busy:
            runner.turn(1.0)
        runner.transport.close()

    assert [result.error for result in runner.results] == [""] * 120
    assert store.most == most
