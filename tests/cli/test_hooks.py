"""``--on-done`` and ``--ping``: others are told of the end, and cannot change it."""

from __future__ import annotations

import io
import json
import signal
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s3batch.reporting import hooks
from s3batch.reporting.console import Output
from s3batch.settings.table import Settings
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, error
from tests.rig.waiting import wait_until

ENV = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}


class Listener(ThreadingHTTPServer):
    """A server that remembers what it got, and answers with ``statuses``, then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, str, bytes]] = []
        self.logins: list[str | None] = []
        self.statuses: list[int] = []
        self.stalls = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.logins.append(self.headers["Authorization"])
        self.server.got.append((self.path, self.headers["Content-Type"], body))
        if self.server.stalls:
            time.sleep(30)
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener():
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def sync(call, workspace):
    (workspace / "src").mkdir()
    (workspace / "src" / "a.txt").write_text("a")
    with FakeS3() as store:

        def run(*flags: str, refused: bool = False):
            store.meddle = lambda request: Reply(403, body=error("AccessDenied")) if refused and request.key else None
            return call("sync", "src", "s3://b/site", "--endpoint-url", store.url, *flags, env=ENV)

        yield run


def test_a_command_gets_the_document(sync, workspace):
    ran = sync("--json", "--on-done", "cat > got.json")

    assert (ran.code, (workspace / "got.json").read_text()) == (0, ran.out)


def test_a_url_gets_the_document(sync, listener):
    ran = sync("--json", "--on-done", f"{listener.url}/hook?a=1")

    assert [(path, kind) for path, kind, _ in listener.got] == [("/hook?a=1", "application/json")]
    assert listener.got[0][2].decode() == ran.out


@pytest.mark.parametrize(
    ("refused", "code", "path"), [(False, 0, "/ping/1"), (True, 1, "/ping/1/fail")], ids=["done", "failed"]
)
def test_a_ping_tells_whether_it_went_well(sync, listener, refused, code, path):
    assert sync("--ping", f"{listener.url}/ping/1", refused=refused).code == code
    assert [(path, body) for path, _, body in listener.got] == [(path, b"")]


@pytest.mark.parametrize(("refused", "path"), [(False, "/Ping/?m=1"), (True, "/Ping/fail?m=1")], ids=["done", "failed"])
def test_the_url_of_a_ping_may_have_a_query(sync, listener, refused, path):
    sync("--ping", f"{listener.url}/Ping/?m=1", refused=refused)

    assert [path for path, _, _ in listener.got] == [path]


def test_a_wrong_setting_is_told_too(sync, call, listener):
    ran = call("sync", "nowhere", "s3://b/x", "--ping", listener.url, "--on-done", f"{listener.url}/done", env=ENV)

    assert ran.code == 2
    (_, _, body), (path, _, _) = listener.got
    assert (json.loads(body)["exit_code"], path) == (2, "/fail")


@pytest.mark.parametrize("way", ["flag", "word", "variable"])
def test_a_ping_tells_of_settings_that_cannot_be_read(call, workspace, listener, way):
    url = f"{listener.url}/1"
    flags, more = {
        "flag": (["--ping", url], {}), "word": ([f"--ping={url}"], {}), "variable": ([], {"S3BATCH_PING": url}),
    }[way]  # fmt: skip

    assert call("sync", ".", "s3://b/x", "--delte", *flags, env=ENV | more).code == 2
    assert call("jobs", "list", "--delte", env=ENV | more).code == 2
    assert [path for path, _, _ in listener.got] == ["/1/fail"]


def test_the_user_and_password_of_a_url_are_sent_and_never_shown(call, sync, listener):
    url = listener.url.replace("//", "//me:pass%20word@")

    told = sync("--on-done", f"{url}/hook")
    unheard = sync("--on-done", "http://me:pass%20word@127.0.0.1:1/")
    refused = sync("--ping", f"{url}/ping")
    shown = call("config", "sync", "--on-done", f"{url}/hook")

    assert ([path for path, _, _ in listener.got], listener.logins) == (["/hook"], ["Basic bWU6cGFzcyB3b3Jk"])
    assert (told.code, unheard.code, refused.code) == (0, 0, 2)
    assert "on_done failed: " in unheard.err
    assert "remove user and password\n" in refused.err
    assert "pass" not in told.err + unheard.err + refused.err.replace("password", "")
    assert "pass%20word" not in shown.out


def test_a_refused_try_is_repeated(sync, listener):
    listener.statuses = [500, 404]

    ran = sync("--ping", listener.url)

    assert (ran.code, "warning" in ran.err, len(listener.got)) == (0, False, 3)


def test_what_fails_is_one_warning_and_the_exit_code_stays(sync, listener):
    listener.statuses = [503] * 3

    ran = sync("--ping", f"{listener.url}/secret-token", "--on-done", "exit 7")

    assert (ran.code, len(listener.got)) == (0, 3)
    assert ran.err.count("s3batch: warning: ") == 2
    assert "on_done failed: it ended with exit code 7" in ran.err
    assert "ping to http://127.0.0.1 failed: HTTP 503" in ran.err
    assert "secret-token" not in ran.err


def test_nobody_there_is_a_warning(sync):
    ran = sync("--ping", "http://127.0.0.1:1/")

    assert (ran.code, "ping to http://127.0.0.1 failed: " in ran.err) == (0, True)


def test_after_a_signal_there_is_little_time(listener):
    listener.stalls = True
    said = io.StringIO()
    output = Output(io.StringIO(), said)
    output.keep_document({"exit_code": 143})

    hooks.tell_others(Settings(on_done="sleep 20", ping=listener.url), output, 143, after_a_signal=0.2)

    assert "on_done failed: it ran for more than 0.2 s and was ended" in said.getvalue()
    assert "failed: there is no time left after a signal" in said.getvalue()


@pytest.mark.parametrize(("signals", "code"), [(1, 0), (2, 143)])
def test_a_signal_ends_a_command_that_runs_and_leaves_no_process(clean_env, workspace, signals, code):
    (workspace / "src").mkdir()
    with FakeS3() as store:
        words = [
            "sync",
            "src",
            "s3://b",
            "--endpoint-url",
            store.url,
            "--on-done",
            "echo $$ > new; mv new pid; sleep 60",
        ]
        process = program.start(words, clean_env | ENV, workspace)
        wait_until((workspace / "pid").exists)
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)  # two that come at once are one

        ended = program.finish(process)

    assert ended.code == code
    assert signals == 2 or "on_done failed: it ran for more than" in ended.stderr
    group = int((workspace / "pid").read_text())
    wait_until(lambda: not living_processes(group))


def living_processes(group: int) -> list[str]:
    """The states of the processes of a group that have not ended."""
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, found = stat.read_text().rpartition(")")[2].split()[:3]
            states += [state] if int(found) == group and state != "Z" else []
    return states


def test_a_bug_is_told_to_nobody(listener):
    hooks.tell_others(Settings(ping=listener.url), Output(io.StringIO(), io.StringIO()), 70)

    assert listener.got == []
