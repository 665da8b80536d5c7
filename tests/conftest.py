"""Fixtures for all tests: a server, a bucket, a fault proxy, the program, and no network but loopback.

Which server: S3BATCH_TEST_SERVER=ministack|moto|rclone|seaweedfs|rgw (default ministack).
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest
import trustme

pytest.register_assert_rewrite("tests.crash.scene", "tests.crash.cache_scene")  # their assertions tell what they saw

from tests.rig import buckets, program, servers  # noqa: E402
from tests.rig.proxy import FaultProxy  # noqa: E402

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, by programs that tests start too
DEFAULT_SERVER = os.environ.get("S3BATCH_TEST_SERVER", "ministack")
hypothesis.settings.register_profile("s3batch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("s3batch")  # a busy machine is no reason to fail
MARKED_FOLDERS = {"servers": "servers", "contract": "servers", "crash": "crash"}
BEGUN_FIRST = (
    "test_schedules", "test_further_schedules", "test_hostile", "test_sync_faults", "test_points", "test_sync_lessons",
    "test_gc_protocol", "test_image", "test_undo_kills", "test_demo", "test_cache_faults",
)  # fmt: skip
"""Files of tests that take a minute and more. A process that began one at the end would work on while others wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder of server tests as such, and begin with the longest files."""
    for item in items:
        mark = MARKED_FOLDERS.get(item.path.parent.name)
        if mark:
            item.add_marker(mark)
    ranks = {name: rank for rank, name in enumerate(BEGUN_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def _only_loopback(event: str, arguments: tuple) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in ("127.0.0.1", "::1", "localhost", "unix"):
            raise PermissionError(f"a test wants to connect to {host}; tests use this machine only")


sys.addaudithook(_only_loopback)


@pytest.fixture(autouse=True)
def _no_foreign_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests has settings and credentials of his own; none of them counts here.

    A test's own ``monkeypatch`` begins after its ``tmp_path``, and so ends before pytest removes that.
    """
    nowhere = str(tmp_path_factory.getbasetemp() / "does-not-exist")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(program.FOREIGN) or name == "CI":
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", nowhere)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def server_named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], servers.Server]]:
    """A function from a name to that server, running; each is started once and stopped at the end."""
    started: dict[str, tuple] = {}

    def named(name: str) -> servers.Server:
        if name not in started:
            why = servers.missing(name)
            if why:
                pytest.skip(why)
            context = servers.running(name, tmp_path_factory.mktemp(name))
            started[name] = (context, context.__enter__())
        return started[name][1]

    yield named
    for context, _ in started.values():
        context.__exit__(None, None, None)


@pytest.fixture
def server(server_named) -> servers.Server:
    """The S3 server of this run."""
    return server_named(DEFAULT_SERVER)


@pytest.fixture
def make_bucket(server) -> Iterator[Callable[..., buckets.Bucket]]:
    """Makes buckets that are gone after the test; ``ownership="BucketOwnerEnforced"`` for one without ACLs."""
    made: list[buckets.Bucket] = []

    def make(**options: str) -> buckets.Bucket:
        made.append(buckets.make_bucket(server, **options))
        return made[-1]

    yield make
    for bucket in made:
        buckets.remove_bucket(bucket)


@pytest.fixture
def bucket(make_bucket) -> buckets.Bucket:
    """A new, empty bucket."""
    return make_bucket()


@pytest.fixture
def proxy(server) -> Iterator[FaultProxy]:
    """A fault proxy before the server."""
    with FaultProxy(server.url) as running:
        yield running


@pytest.fixture(scope="session")
def tls_authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(tls_authority, tmp_path_factory) -> Path:
    """Its certificate in a file, for AWS_CA_BUNDLE."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    tls_authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def tls_proxy(server, tls_authority) -> Iterator[FaultProxy]:
    """A fault proxy that speaks TLS to its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with FaultProxy(server.url, tls=context) as running:
        yield running


@pytest.fixture
def clean_env(tmp_path) -> dict[str, str]:
    """An environment for the program without any setting."""
    home = tmp_path / "home"
    home.mkdir()
    return program.clean_environment(home)


@pytest.fixture
def env(clean_env, server) -> dict[str, str]:
    """An environment for the program with the server's address and key."""
    return clean_env | server.environment()


@pytest.fixture
def run_cli(env, tmp_path) -> Callable[..., program.Finished]:
    """``run_cli(["sync", ...], env=..., cwd=..., timeout=...)``: code, stdout and stderr of the real program."""

    def run_it(arguments, *, env=env, cwd=tmp_path, timeout=120) -> program.Finished:
        return program.run(arguments, env, cwd, timeout=timeout)

    return run_it


@pytest.fixture
def start_cli(env, tmp_path) -> Iterator[Callable]:
    """Like ``run_cli``, but returns the running process; what is still running after the test is killed."""
    processes = []

    def start_it(arguments, *, env=env, cwd=tmp_path, **popen):
        processes.append(program.start(arguments, env, cwd, **popen))
        return processes[-1]

    yield start_it
    for process in processes:
        if process.poll() is None:
            program.kill(process)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def make_tree(tmp_path) -> Callable[..., Path]:
    """``make_tree({"a/b.txt": b"..."})``: a directory with these files."""
    return partial(_make_tree, tmp_path)


def _make_tree(parent: Path, files: dict[str, bytes], name: str = "tree") -> Path:
    root = parent / name
    root.mkdir(exist_ok=True)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of tests/contract/test_responses.py: what came of each kind of answer, by call and lane."""
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, [])]
    found = [value for each in reports for name, value in getattr(each, "user_properties", []) if name == "answers"]
    if not found:
        return
    terminalreporter.section("what each call makes of an answer (taken, or the code it fails with)")
    for lane, kind, codes in sorted(found, key=lambda row: (row[1], row[0])):
        by_code: dict[str, list[str]] = {}
        for call, code in codes.items():
            by_code.setdefault(code, []).append(call)
        usual = max(by_code, key=lambda code: len(by_code[code]))
        rest = "; ".join(f"{code}: {', '.join(names)}" for code, names in sorted(by_code.items()) if code != usual)
        terminalreporter.write_line(f"{kind:<20} {lane:<10} all {len(codes)} {usual}{f', but {rest}' if rest else ''}")
