"""Workers in processes of their own, and in this one: what goes in comes out, also when a worker dies."""

from __future__ import annotations

import errno
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from s3batch.executors import (
    Credit,
    Executor,
    PollResult,
    Status,
    collect_work_tags,
    compute_work_weight,
    count_outstanding,
)
from s3batch.executors.inline import InlineExecutor
from s3batch.executors.local import LocalExecutor, _FreshPython, _InlineWorker
from s3batch.executors.worker_loop import WorkerLoop
from s3batch.executors.worker_process import FrameStream, Worker, pack_works, unpack_works
from s3batch.model import (
    ChunkSpec,
    Kind,
    KnownContent,
    Operation,
    Part,
    Reason,
    Result,
    SourceObject,
    Step,
    Work,
    expand_row,
    good_result,
)
from s3batch.objects.attributes import AttributeRules
from s3batch.s3.congestion_window import FIRST_WINDOW
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.sigv4 import Credentials
from s3batch.s3.tally import EMPTY_TALLY, Tally
from s3batch.settings.table import Settings
from s3batch.source.reader import SourceReader
from s3batch.worker.context import Brief
from s3batch.worker.fetch import EXTENSIONS
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen, Stored, error
from tests.rig.hanging import hang_or_die
from tests.rig.stamps import stamp, stamp_at
from tests.rig.waiting import wait_until


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture
def brief(fake, tmp_path) -> Brief:
    endpoint = Endpoint(
        bucket="b", region="us-east-1", host="127.0.0.1", port=fake.port, tls=False, path_style=True, url=fake.url,
        credentials=Credentials(ACCESS_KEY, SECRET_KEY, ""),
    )  # fmt: skip
    (tmp_path / "tree").mkdir()
    rules = AttributeRules.from_settings(Settings(), str(tmp_path / "tree"))
    return Brief(endpoint=endpoint, root=str(tmp_path / "tree"), rules=rules, limit=8)


@pytest.fixture(params=["local", "inline"])
def executor(request, brief) -> Iterator[Executor]:
    made: Executor = LocalExecutor(brief, 2) if request.param == "local" else InlineExecutor(brief)
    yield made
    made.close()


@pytest.fixture
def make_local(brief) -> Iterator[Callable[..., LocalExecutor]]:
    """``make_local(silence=2)``: two worker processes; they end after the test."""
    made: list[LocalExecutor] = []

    def make(**more: Any) -> LocalExecutor:
        made.append(LocalExecutor(brief, 2, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def local(make_local) -> LocalExecutor:
    return make_local()


@pytest.fixture
def upload(brief) -> Callable[[int], Work]:
    """``upload(7)``: a file, and the work of sending it."""

    def make(number: int) -> Work:
        path = Path(brief.root) / str(number)
        path.write_bytes(b"%d" % number)
        found = stamp_at(path)
        return Work(Operation(Kind.UPLOAD, f"k{number}", Reason.MISSING, str(number), found.size, found, id=number + 1))

    return make


def submit(executor: Executor, works: list[Work]) -> None:
    """Give each worker its share, whatever it asks for."""
    workers = executor.workers()
    share = -(-len(works) // len(workers))
    for number, worker in enumerate(workers):
        if batch := works[number * share : (number + 1) * share]:
            for work in batch:
                worker.dispatch(work, compute_work_weight(work))
            executor.dispatch(worker, batch)


def outstanding(executor: Executor) -> int:
    return count_outstanding(executor.workers())


def pids(executor: LocalExecutor) -> list[int]:
    return [process._process.pid for process in executor._processes.values()]


def collect(executor: Executor, until: Callable[[PollResult], bool], timeout: float = 30) -> PollResult:
    """Everything that comes until that is so."""
    news, end = PollResult(), time.monotonic() + timeout
    while not until(news):
        assert time.monotonic() < end, news
        more = executor.poll(0.1)
        news.results += [*more.results, *map(expand_row, more.stored)]
        news.lost += more.lost
        news.dropped += more.dropped
        news.deaths += more.deaths
        news.warnings += more.warnings
        news.add_tally(Tally(more.requests, more.overruled, more.unheard))
    return news


def test_what_goes_in_is_carried_out_and_comes_back(executor, upload, fake):
    works = [upload(number) for number in range(50)]

    submit(executor, works)
    news = collect(executor, lambda news: len(news.results) == 50)

    assert {result.id for result in news.results} == {work.operation.id for work in works}
    assert [result.error for result in news.results if result.error] == []
    assert {key: stored.body for key, stored in fake.objects["b"].items()} == {f"k{n}": b"%d" % n for n in range(50)}
    assert news.requests == {"PutObject": 50}
    assert outstanding(executor) == 0


def make_deletes(count: int) -> Work:
    keys = tuple(f"k{number}" for number in range(1, count + 1))
    return Work(Operation(Kind.DELETE, "k1", Reason.ORPHAN, id=1), keys=keys, rows=range(1, count + 1))


def test_a_batch_of_deletes_is_one_piece_and_fails_as_its_keys(executor, fake):
    fake.meddle = lambda request: Reply(503, body=error("SlowDown"))
    work = make_deletes(300)

    submit(executor, [work])
    given = outstanding(executor)
    news = collect(executor, lambda news: len(news.results) == 300)

    assert (given, outstanding(executor)) == (1, 0)
    assert {result.id for result in news.results} == set(work.rows)
    assert {(result.code, result.retryable) for result in news.results} == {("SlowDown", True)}


def test_a_batch_of_deletes_that_is_not_answered_fails_as_its_keys(executor, brief, fake):
    fake._server.shutdown()
    fake._server.server_close()

    submit(executor, [make_deletes(300)])
    news = collect(executor, lambda news: len(news.results) == 300)

    assert {(result.code, result.retryable) for result in news.results} == {("Connection", True)}


def test_a_drain_gives_back_what_was_not_begun_and_finishes_the_rest(executor, upload, fake):
    def slowly(_: Seen) -> None:
        time.sleep(0.05)

    fake.meddle = slowly
    submit(executor, [upload(number) for number in range(100)])
    first = collect(executor, lambda news: bool(news.results))

    executor.drain()
    rest = collect(executor, lambda _: not outstanding(executor))

    done = len(first.results) + len(rest.results)
    assert len(rest.dropped) > 10
    assert done + len(rest.dropped) == 100
    assert done == len(fake.objects["b"])


def test_new_credentials_are_signed_with(executor, upload, fake):
    fake.expired.add(ACCESS_KEY)
    fake.keys["NEW"] = "new-secret"
    submit(executor, [upload(1)])
    refused = collect(executor, lambda news: bool(news.results)).results

    executor.update_credentials(Credentials("NEW", "new-secret", ""))
    submit(executor, [upload(2)])
    accepted = collect(executor, lambda news: bool(news.results)).results

    assert [result.fatal for result in refused] == [True]
    assert [result.error for result in accepted] == [""]


def test_a_worker_that_is_refused_altogether_begins_nothing_more(executor, upload, fake):
    fake.expired.add(ACCESS_KEY)

    submit(executor, [upload(number) for number in range(200)])
    collect(executor, lambda news: bool(news.results))
    for _ in range(5):
        executor.poll(0.05)

    assert len(fake.requests) <= 2 * 8 * 2


def test_a_file_that_is_gone_fails_alone(executor, upload, brief):
    works = [upload(number) for number in range(3)]
    (Path(brief.root) / "1").unlink()

    submit(executor, works)
    results = collect(executor, lambda news: len(news.results) == 3).results

    assert {result.id: result.code for result in results} == {
        1: "",
        2: "Changed",
        3: "",
    }  # the coordinator looks what became of it


# --- processes ------------------------------------------------------------------------------


def test_no_process_is_started_for_nothing(local):
    assert pids(local) == []
    assert local.poll(0.0).results == []


def test_what_a_killed_worker_had_begun_is_lost_and_the_rest_comes_back(local, upload, fake, start):
    start(local)
    killed, begun = threading.Event(), len(fake.requests)

    def hold(_: Seen) -> None:
        if len(fake.requests) > begun + 10:
            killed.wait(30)

    fake.meddle = hold
    submit(local, [upload(number) for number in range(60)])
    collect(local, lambda news: bool(news.results))
    before = pids(local)
    had = set(local.workers()[0].given)

    os.kill(before[0], signal.SIGKILL)
    killed.set()
    news = collect(local, lambda news: bool(news.lost))

    lost = {tag for work in news.lost for tag in collect_work_tags(work)}
    assert len(lost) <= 2 * 8  # begun, or done and not yet reported
    assert lost | {tag for work in news.dropped for tag in collect_work_tags(work)} <= had
    assert news.deaths == 1
    assert len(set(pids(local)) - set(before)) == 1
    submit(local, news.lost + news.dropped)
    collect(local, lambda _: not outstanding(local))
    assert len(fake.objects["b"]) == 60 + 2


def test_one_small_file_is_sent_without_a_process_and_further_work_by_all(local, upload, fake):
    submit(local, [upload(0)])
    assert [type(process._process) for process in local._processes.values()] == [_InlineWorker]
    assert [worker.capacity for worker in local.workers()] == [0, Credit().works]  # else it would get more meanwhile
    assert [result.error for result in collect(local, lambda news: bool(news.results)).results] == [""]
    assert (local._processes, set(fake.objects["b"])) == ({}, {"k0"})

    submit(local, [upload(1), upload(2)])
    collect(local, lambda news: len(news.results) == 2)
    assert len(pids(local)) == 2


def test_one_larger_file_starts_one_process_and_further_work_the_others(local, upload, brief):
    path = Path(brief.root) / "large"
    path.write_bytes(bytes(100_000))
    found = stamp_at(path)
    submit(local, [Work(Operation(Kind.UPLOAD, "large", Reason.MISSING, "large", found.size, found, id=9))])
    collect(local, lambda news: bool(news.results))
    assert len(pids(local)) == 1

    submit(local, [upload(1), upload(2)])
    collect(local, lambda news: len(news.results) == 2)
    assert len(pids(local)) == 2


def test_work_that_comes_while_this_process_sends_a_file_is_for_others(local, upload):
    sending, other = local.workers()
    submit(local, [upload(0)])
    other.dispatch(upload(1), 1)
    local.dispatch(other, [upload(1)])
    assert [local._processes[worker].inside is not None for worker in (sending, other)] == [True, False]

    news = collect(local, lambda news: len(news.results) == 2)
    assert [result.error for result in news.results] == ["", ""]
    assert (sending.capacity, list(local._processes)) == (0, [other])


def test_a_small_file_whose_read_hangs_is_left_to_a_process(brief, upload, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(SourceReader, "_try_read", lambda *_: let_go.wait(30))
    local = LocalExecutor(brief, 2)
    try:
        submit(local, [upload(0)])
        assert [type(process._process) for process in local._processes.values()] == [_FreshPython]
    finally:
        let_go.set()
        local.close()


def test_work_for_a_worker_that_died_unnoticed_comes_back_as_not_begun(local, upload, start):
    start(local)
    for pid in pids(local):
        os.kill(pid, signal.SIGKILL)

    submit(local, [upload(number) for number in range(1, 9)])

    news = collect(local, lambda news: news.deaths == 2)
    assert (len(news.dropped), news.lost) == (8, [])


def test_workers_end_with_the_executor(local, upload):
    submit(local, [upload(number) for number in range(4)])
    started = pids(local)

    local.close()

    assert len(started) == 2
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_a_worker_ignores_the_signals_its_coordinator_gets(local, upload, start):
    start(local)

    for pid in pids(local):
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    submit(local, [upload(1)])

    assert [result.error for result in collect(local, lambda news: bool(news.results)).results] == [""]


@pytest.fixture
def start(upload) -> Callable[[LocalExecutor], None]:
    """Have every worker of an executor there, and have it done something."""

    def run(local: LocalExecutor) -> None:
        works = [upload(900 + number) for number in range(len(local.workers()))]
        local.start()
        submit(local, works)
        collect(local, lambda news: len(news.results) == len(works))

    return run


def test_a_worker_asks_for_what_it_begins_and_little_more(brief, upload, fake, start):
    """The store is slow: what waited in a worker would wait for seconds."""
    local = LocalExecutor(brief, 1)
    ahead = []
    try:
        start(local)
        fake.meddle = lambda _: time.sleep(0.3)
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            local.poll(0.1)
            (worker,) = local.workers()
            if works := [upload(len(ahead) * 8 + number) for number in range(min(8, worker.capacity))]:
                submit(local, works)
            ahead.append(worker.totals[0] - worker.begun)
    finally:
        local.close()

    assert max(ahead[len(ahead) // 2 :]) <= 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such policy")
@pytest.mark.parametrize(
    ("chosen", "receives", "policy"),
    [
        pytest.param("SCHED_OTHER", False, "SCHED_BATCH", id="none chosen"),
        pytest.param(
            "SCHED_OTHER", True, "SCHED_OTHER", id="content comes in, and fills the sockets of one that waits"
        ),
        pytest.param("SCHED_IDLE", False, "SCHED_IDLE", id="idle: it goes on as the user wants it"),
    ],
)
def test_a_response_to_a_worker_interrupts_no_process_that_computes(brief, chosen, receives, policy):
    told = brief._replace(extensions=EXTENSIONS if receives else ())
    script = f"""
        import os, pickle, socket
        from s3batch.executors.worker_process import FrameStream, run_worker
        os.sched_setscheduler(0, os.{chosen}, os.sched_param(0))
        os._exit = lambda code: print(os.sched_getscheduler(0))
        mine, theirs = socket.socketpair()
        frames = FrameStream(mine)
        frames.queue("start", pickle.loads({pickle.dumps(told)!r}))
        frames.flush()
        mine.shutdown(socket.SHUT_WR)
        run_worker(theirs.detach(), [0, 0])
    """

    ran = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)

    assert int(ran.stdout) == getattr(os, policy)


def test_a_stopped_worker_is_replaced_and_the_others_go_on(make_local, upload, start):
    local = make_local(silence=4.0)
    start(local)
    stopped = pids(local)[0]

    os.kill(stopped, signal.SIGSTOP)
    submit(local, [upload(number) for number in range(4)])
    news = collect(local, lambda news: bool(news.deaths))

    assert len(news.results) == 2
    assert news.warnings == ["a worker did not respond for 4 s; it was replaced"]
    assert news.lost == []
    assert len(news.dropped) == 2
    assert not Path(f"/proc/{stopped}").exists()


def test_a_worker_that_hangs_in_a_read_is_replaced_and_the_file_named(brief, start):
    """As a file server that does not answer has it. What it had not begun is no suspect."""
    works = [
        Work(Operation(Kind.CHUNK, key, Reason.MISSING, key, id=row)) for row, key in enumerate(("a", "hang", "b"), 1)
    ]
    local = LocalExecutor(brief._replace(extensions=((Kind.CHUNK, hang_or_die),)), 1, silence=4.0)
    try:
        start(local)
        submit(local, works)
        news = collect(local, lambda news: bool(news.deaths))
    finally:
        local.close()

    assert [work.operation.key for work in news.lost] == ["a", "hang"]
    assert [work.operation.key for work in news.dropped] == ["b"]
    assert news.warnings == ["a worker did not respond for 4 s while it read 'hang'; it was replaced"]


def test_a_worker_whose_thread_hangs_in_a_read_is_replaced_and_the_file_named(brief, start):
    """Its loop goes on, so it says so itself."""
    hanging = Work(Operation(Kind.CHUNK, "thread", Reason.MISSING, "large.bin", id=1))
    local = LocalExecutor(brief._replace(extensions=((Kind.CHUNK, hang_or_die),), stuck_after=0.5), 1)
    try:
        start(local)
        submit(local, [hanging])
        news = collect(local, lambda news: bool(news.deaths))
    finally:
        local.close()

    assert [work.operation.key for work in news.lost] == ["thread"]
    assert news.warnings == ["a worker did not respond for 15 s while it read 'large.bin'; it was replaced"]


def test_a_pause_of_the_coordinator_costs_no_worker(make_local, start):
    """The machine was suspended, or the coordinator stopped: no worker is to blame."""
    stood_still = [0.0]
    local = make_local(silence=60.0, clock=lambda: time.monotonic() + sum(stood_still))
    start(local)
    before = pids(local)

    stood_still.append(100.0)
    news = local.poll(0.0)

    assert (news.deaths, pids(local)) == (0, before)


def all_quiet(fake: FakeS3) -> bool:
    """Whether nothing comes for longer than a request takes."""
    seen = len(fake.requests)
    time.sleep(1.3)
    return len(fake.requests) == seen


@pytest.mark.parametrize("recheck", [False, True], ids=["begins", "changes"])
def test_a_worker_that_hears_nothing_begins_nothing_more_until_it_does(brief, upload, fake, start, recheck):
    """Not even the second request of what it has begun, if that changes the bucket."""
    local = LocalExecutor(brief._replace(limit=2, forsaken_after=1.0), 1)
    works = [upload(number) for number in range(12)]
    works = [work._replace(operation=work.operation._replace(recheck=recheck)) for work in works]
    try:
        start(local)
        fake.meddle = lambda request: time.sleep(1.2 if request.method == "HEAD" else 0.3)
        submit(local, works)
        time.sleep(1.0)
        assert wait_until(lambda: all_quiet(fake))
        sent = {work.operation.key for work in works} & set(fake.objects["b"])
        fake.meddle = lambda _: None
        news = collect(local, lambda news: len(news.results) == len(works))
    finally:
        local.close()

    assert len(sent) < (1 if recheck else len(works))
    assert [result.error for result in news.results if result.error] == []


# --- frames and tags ------------------------------------------------------------------------


def test_frames_within_one_process_are_the_objects_themselves():
    ours, theirs = socket.socketpair()
    there: deque[object] = deque()
    back: deque[object] = deque()
    with ours, theirs:
        out, into = FrameStream(ours, there, back), FrameStream(theirs, back, there)
        works = [object()]
        out.queue("work", works)
        out.queue("beat")
        out.flush()

        got = list(into.receive())
        assert got == [("work", works), ("beat", None)]
        assert got[0][1] is works
        ours.close()
        with pytest.raises(EOFError):
            list(into.receive())


@pytest.mark.parametrize("seed", range(5))
def test_frames_arrive_whole_however_they_are_cut(seed):
    chance = random.Random(seed)
    sent = [(f"word{number}", chance.randbytes(chance.choice([0, 1, 50, 100_000]))) for number in range(30)]
    mine, theirs = socket.socketpair()
    out = FrameStream(mine)
    for word, payload in sent:
        out.queue(word, payload)
    data, into, got = bytes(out._out), FrameStream(theirs), []

    while data:
        size = chance.choice([1, 3, 7, 1000, 60_000])
        mine.sendall(data[:size])
        data = data[size:]
        got += into.receive()
    mine.close()

    assert got == sent
    with pytest.raises(EOFError):
        list(into.receive())
    theirs.close()


@pytest.mark.parametrize(
    ("work", "tags"),
    [
        (Work(Operation(Kind.UPLOAD, "k", Reason.MISSING, id=7)), [(7, Step.WHOLE, 0)]),
        (Work(Operation(Kind.UPLOAD, "k", Reason.MISSING, id=7), Step.PART, (Part(7, 3, 0, 1),)), [(7, Step.PART, 3)]),
        (Work(Operation(Kind.UPLOAD, "k", Reason.MISSING, id=7), Step.FINISH, (Part(7, 1, 0, 1),) * 2), [(7, Step.FINISH, 0)]),
        (Work(Operation(Kind.DELETE, "k", Reason.ORPHAN, id=7), keys=("k", "l"), rows=(7, 8)),
         [(7, Step.WHOLE, 0), (8, Step.WHOLE, 0)]),
    ],
)  # fmt: skip
def test_a_piece_of_work_has_a_tag_for_each_result(work, tags):
    assert collect_work_tags(work) == tags


def test_every_step_of_an_upload_that_fails_comes_back_under_its_tag(executor, fake, upload):
    """Else it would be waited for for ever."""
    fake.meddle = lambda _: Reply(200, body=b"<nonsense/>")
    fake.objects["b"] = {"k1": Stored(b"", '"x"')}
    operation = upload(1).operation._replace(upload_id="u")
    part = Part(operation.id, 2, 0, 1)
    of_parts = (Step.BEGIN, Step.SURVEY, Step.PART, Step.FINISH, Step.ABORT)
    works = [Work(operation, step, (part,)) for step in of_parts]

    submit(executor, works)
    results: list[Result] = collect(executor, lambda news: len(news.results) == len(works)).results

    assert {(result.id, result.step, result.part) for result in results} == {
        collect_work_tags(work)[0] for work in works
    }
    assert outstanding(executor) == 0


def no_more_forks(monkeypatch, after: int) -> None:
    """From the fork or process number ``after`` on the system has none left, as under ``ulimit -u``."""
    real, started = os.fork, []

    def fork() -> int:
        if len(started) >= after:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(1)
        return real()

    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr("s3batch.executors.local.fork.is_fork_possible", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", refused)


@pytest.mark.parametrize(
    ("after", "warning"),
    [
        (
            1,
            "only 1 of 3 worker processes could be started (Resource temporarily unavailable); the job goes on with these",
        ),
        (
            0,
            "no worker process could be started (Resource temporarily unavailable); the work is done in the main process",
        ),
    ],
)
def test_fewer_processes_than_asked_do_all_the_work(brief, upload, fake, monkeypatch, after, warning):
    no_more_forks(monkeypatch, after)
    executor = LocalExecutor(brief, 3)
    works = [upload(number) for number in range(12)]
    try:
        submit(executor, works)
        news = collect(executor, lambda news: len(news.results) + len(news.dropped) == 12)
        assert len(executor.workers()) == 1
        if news.dropped:
            submit(executor, news.dropped)
            more = collect(executor, lambda more: len(more.results) == len(news.dropped))
            news.results += [*more.results, *map(expand_row, more.stored)]
        executor.throttle()
        executor.drain()
        executor.poll(0.1)
    finally:
        executor.close()

    assert news.warnings == [warning]
    assert sorted(result.id for result in news.results) == list(range(1, 13))
    assert not [result for result in news.results if result.error]
    assert len(fake.objects["b"]) == 12


def test_the_last_words_of_a_dead_coordinator_begin_nothing(fake, brief, upload):
    """A worker that stood still (SIGSTOP, a frozen container) reads them when it wakes, perhaps hours later."""
    ours, theirs = socket.socketpair()
    coordinator, worker = FrameStream(ours), Worker(theirs, [0, 0])
    coordinator.queue("start", brief)
    coordinator.flush()
    worker.turn(1.0)
    coordinator.queue("work", pack_works([upload(1)]))
    coordinator.flush()
    ours.close()

    with pytest.raises(EOFError):
        worker.turn(1.0)

    worker.close()
    assert fake.requests == []


MIB = 1 << 20


@pytest.mark.parametrize(
    ("gzip", "kind", "begun"),
    [(False, Kind.UPLOAD, 3), (True, Kind.UPLOAD, 1), (False, Kind.RECONCILE, 5), (True, Kind.RECONCILE, 1)],
    ids=["sent", "sent as gzip", "compared", "compared as gzip"],
)
def test_a_worker_begins_no_more_than_its_memory_holds(brief, gzip, kind, begun):
    rules = AttributeRules.from_settings(Settings(gzip="true" if gzip else ""), brief.root)
    page = [0, 0]
    runner = WorkerLoop(brief._replace(rules=rules), page)
    large = [Operation(kind, f"k{n}", Reason.CONTENT, f"k{n}.txt", 20 * MIB, stamp(20 * MIB), id=n) for n in range(5)]

    runner.take([Work(operation) for operation in large])

    assert page[0] == begun, "64 MiB hold 3 files of 20 MiB, 64 blocks, or one file with what it is compressed to"
    runner.transport.close()


def test_a_worker_that_ran_dry_asks_for_no_less(brief, upload):
    now = [100.0]
    runner = WorkerLoop(brief, lead=2.0, clock=lambda: now[0])
    try:
        runner._ended_works = 50
        now[0] += 0.5
        begun = runner.status().credit.works
        now[0] += 10.0
        dry = runner.status().credit.works
        runner._halted = True  # it begins nothing, so that something waits
        runner.take([upload(1)])
        now[0] += 10.0
        runner.status()
        runner._halted = False
        busy = runner.status().credit.works
    finally:
        runner.transport.close()

    assert begun == dry == FIRST_WINDOW + 200
    assert busy == FIRST_WINDOW + 100


@pytest.mark.parametrize(
    ("limit", "seconds", "ahead"),
    [
        pytest.param(64, 0.02, 4 * FIRST_WINDOW, id="a window that grows"),
        pytest.param(20, 0.02, 20, id="a window that is full soon"),
        pytest.param(64, 0.2, FIRST_WINDOW, id="a round that takes four times as long as asking"),
    ],
)
def test_a_worker_with_small_files_asks_for_as_many_as_its_window_soon_takes(brief, limit, seconds, ahead):
    """At 20 ms a request, all that is in flight ends together: without more at hand the worker waited for work."""
    runner = WorkerLoop(brief._replace(limit=limit), clock=lambda: 100.0)
    try:
        first = runner.status().credit.works
        runner._stored(good_result(1, "", seconds, 0, "etag", "", 0.0, ""))
        then = runner.status().credit.works
    finally:
        runner.transport.close()

    assert (first, then) == (FIRST_WINDOW + 1, FIRST_WINDOW + ahead)


def test_a_worker_whose_first_results_wait_asks_for_as_many(brief):
    """A copy has no result before the probe has ended, and a file none before the disk has it."""
    runner = WorkerLoop(brief._replace(limit=64), clock=lambda: 100.0)
    try:
        runner._plain.served_within = 0.02
        status = runner.status()
    finally:
        runner.transport.close()

    assert (status.credit.works, status.is_served) == (5 * FIRST_WINDOW, True)


@pytest.mark.parametrize(
    "spec", [None, SourceObject("e-1", streamed=True, proof="size", target_ns=7), ChunkSpec(1, 2, 3), KnownContent()]
)
def test_work_comes_out_of_its_row_as_it_went_in(spec):
    operation = Operation(Kind.TRANSFER, "k", Reason.MISSING, "p", 1, stamp(1, 2), 1, "etag", spec, 3, 4, True, "u")
    works = [Work(operation), Work(operation, Step.PART, (Part(3, 1, 0, 5),))]

    assert unpack_works(pack_works(works)) == works
    assert [type(each.operation.spec) for each in unpack_works(pack_works(works))] == [type(spec)] * 2


@pytest.mark.parametrize(
    ("parked", "room", "served", "reports"),
    [
        pytest.param(256, 64, False, 1, id="much more could be begun"),
        pytest.param(256, 63, False, 0, id="a little more"),
        pytest.param(8, 9, True, 1, id="the store was found to do its work"),
        pytest.param(0, 64, False, 0, id="nothing waits for the disk: results carry what it asks for"),
    ],
)
def test_a_worker_whose_files_wait_for_the_disk_asks_for_more_before_they_have_results(parked, room, served, reports):
    """Workers of a download had begun all they had, and said nothing until the disk had it: two waits of 20 ms."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    worker = Worker(theirs, [0, 0])
    runner = SimpleNamespace(
        results=[], hungry=True, busy=True, status=lambda: Status(0, Credit(1000 + room), is_served=served),
        transport=SimpleNamespace(loop=SimpleNamespace(parked=parked), take_tally=lambda: EMPTY_TALLY),
    )  # fmt: skip
    worker._asked, worker._flushed = 1000, time.monotonic() - 0.1
    try:
        for _ in range(3):  # it asks once
            worker._report(runner)
        said = [word for word, _ in FrameStream(mine).receive()]
    finally:
        mine.close()
        theirs.close()

    assert said == ["report"] * reports


def test_a_worker_that_waited_for_work_asks_for_more_at_a_time(brief, upload):
    runner = WorkerLoop(brief)
    leads = []
    try:
        for seconds in (0.01, 0.1, 9.0):  # it has nothing
            runner.note_wait(seconds)
            leads.append(runner.lead)
        runner._halted = True
        runner.take([upload(1)])
        for _ in range(9):  # it has something
            runner.note_wait(9.0)
            leads.append(runner.lead)
    finally:
        runner.transport.close()

    assert leads[:4] == [0.05, 0.2, 0.5, 0.25]
    assert leads[-1] == 0.05
