"""``--executor dask``: the same job with its workers on a Dask cluster, which may lose them."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.rig import dask_cluster, program
from tests.rig.faults import Delay, Hold, Rule
from tests.rig.waiting import wait_until

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the package distributed is not installed (tox -e dask)"
)
MIB = 1024 * 1024
PARTS = ("--part-size", "5MiB", "--multipart-threshold", "5MiB")
SECRET = "a-secret-nobody-may-read"


@pytest.fixture
def dask_env(env) -> dict[str, str]:
    return env | {"AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture(scope="module")
def lasting_cluster(tmp_path_factory):
    """A cluster for all tests that leave it whole."""
    directory = tmp_path_factory.mktemp("dask")
    with dask_cluster.running(directory / "cwd", program.clean_environment(directory)) as cluster:
        yield cluster


@pytest.fixture
def cluster(tmp_path, clean_env):
    """A cluster to be broken."""
    with dask_cluster.running(tmp_path / "cwd", clean_env) as running:
        yield running


@pytest.fixture
def tree(make_tree) -> Path:
    chance = random.Random(9)
    files = {f"d{number % 7}/f{number}": chance.randbytes(900 + number) for number in range(120)}
    return make_tree(files | {"big.bin": chance.randbytes(11 * MIB + 5), "empty": b"", "ünï cödé+%20": b"name"})


def content_of(tree: Path) -> dict[str, bytes]:
    return {f"x/{path.relative_to(tree)}": path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def sent_twice(proxy) -> dict[tuple[str, str], int]:
    """What S3 acknowledged more than once."""
    sent = Counter(
        (each.key, each.query.get("partNumber", ""))
        for each in proxy.requests
        if each.operation in ("PutObject", "UploadPart") and each.status == 200
    )
    return {what: count for what, count in sent.items() if count > 1}


# --- all goes well --------------------------------------------------------------------------------


@needs_dask
def test_workers_of_a_cluster_make_the_target_what_the_source_is(run_cli, dask_env, bucket, tree, lasting_cluster):
    for number in range(1200):
        bucket.put(f"x/old/{number}")

    flags = (*lasting_cluster.flags, *PARTS, "--delete", "--json")
    synced = run_cli(["sync", tree, bucket.url("x"), *flags], env=dask_env)
    again = run_cli(["sync", tree, bucket.url("x"), *flags], env=dask_env)

    assert (synced.code, again.code) == (0, 0), synced.stderr + again.stderr
    assert bucket.contents() == content_of(tree)
    requests = synced.json["requests"]
    assert (requests["PutObject"], requests["UploadPart"], requests["DeleteObjects"]) == (122, 3, 2)
    assert again.json["operations"]["upload"]["planned"] == 0
    assert "distributed" not in synced.stderr + again.stderr


@needs_dask
def test_workers_of_a_cluster_copy_from_bucket_to_bucket(run_cli, dask_env, make_bucket, lasting_cluster):
    source, target = make_bucket(), make_bucket()
    for number in range(30):
        source.put(f"in/{number}", bytes([number]), Metadata={"colour": "blue"})
    target.put("out/orphan", b"x")
    words = ["sync", source.url("in"), target.url("out"), "--delete", "--json", *lasting_cluster.flags]

    synced = run_cli(words, env=dask_env)
    again = run_cli(words, env=dask_env)

    assert synced.code == 0, synced.stderr
    assert target.contents("out/") == {f"out/{number}": bytes([number]) for number in range(30)}
    assert target.head("out/7")["Metadata"] == {"colour": "blue"}
    assert (again.code, again.json["unchanged"], again.json["sent_now"]) == (0, 30, 0)


@needs_dask
def test_no_log_and_no_journal_holds_the_secret(run_cli, dask_env, bucket, tree, lasting_cluster, tmp_path):
    journal = tmp_path / "j.db"
    synced = run_cli(["sync", tree, bucket.url("x"), "--journal", journal, "-vv", *lasting_cluster.flags], env=dask_env)

    assert synced.code == 0, synced.stderr
    assert SECRET not in synced.stdout + synced.stderr + lasting_cluster.log.read_text()
    assert not [path for path in tmp_path.glob("j.db*") if SECRET.encode() in path.read_bytes()]


@needs_dask
def test_a_file_that_fails_is_told_as_by_local_workers(run_cli, dask_env, bucket, tree, lasting_cluster):
    (tree / "refused").write_bytes(b"!")
    synced = run_cli(
        ["sync", tree, bucket.url("x"), "--storage-class", '{"refused": "NO_SUCH_CLASS"}', "--json",
         *lasting_cluster.flags],
        env=dask_env,
    )  # fmt: skip

    assert synced.code == 1
    assert [(each["key"], each["code"]) for each in synced.json["failures"]] == [("x/refused", "InvalidStorageClass")]


@needs_dask
@pytest.mark.parametrize("direction", ["upload", "download", "transfer"])
def test_a_verify_uses_the_workers_of_the_cluster(run_cli, dask_env, bucket, make_tree, lasting_cluster, direction):
    files = {f"f{number}": b"%d" % number for number in range(8)}
    tree = make_tree(files)
    for path, body in files.items():
        bucket.put(f"x/{path}", body, ContentType="application/octet-stream")
        bucket.put(f"y/{path}", body, ContentType="application/octet-stream")
    bucket.put("x/f7", b"8", ContentType="application/octet-stream")
    x, y = bucket.url("x"), bucket.url("y")
    sides = {"upload": (tree, x), "download": (x, tree), "transfer": (x, y)}[direction]
    no_local_worker = {"S3BATCH_TEST_CRASH_AT": "worker-started:1"}

    verified = run_cli(["verify", *sides, "--json", *lasting_cluster.flags], env=dask_env | no_local_worker)

    assert verified.code == 1, verified.stderr
    assert verified.json["failures"] == []
    assert [(each["what"], each["key"][2:]) for each in verified.json["differences"]] == [("different", "f7")]


@needs_dask
def test_others_that_look_or_are_kept_out_leave_the_workers_of_a_sync_alone(
    start_cli, run_cli, dask_env, bucket, tree, lasting_cluster, proxy
):
    going_on = threading.Event()
    proxy.on("PutObject", Hold(going_on), skip=24)  # before any success one worker may have all that is handed out
    words = ["sync", tree, bucket.url("x"), *lasting_cluster.flags, "--json", "--timeout", "5m"]
    running = start_cli([*words, "--max-concurrency", "8"], env=dask_env | {"AWS_ENDPOINT_URL": proxy.url})
    assert proxy.wait_for("PutObject", 28)

    env = dask_env | {"AWS_ENDPOINT_URL": proxy.url}
    looked = run_cli([*words, "--dry-run"], env=env)
    verified = run_cli(["verify", *words[1:]], env=env)
    kept_out = run_cli(words, env=env)
    going_on.set()
    finished = program.finish(running)

    assert (looked.code, verified.code, kept_out.code) == (3, 1, 3), looked.stderr + verified.stderr + kept_out.stderr
    assert finished.code == 0, finished.stderr
    assert (finished.json["retries"], finished.json["warnings"], sent_twice(proxy)) == (0, [], {})
    assert proxy.counts()["PutObject"] == 123
    assert bucket.contents() == content_of(tree)


# --- it breaks ------------------------------------------------------------------------------------


@pytest.fixture
def slow_proxy(proxy):
    """Every PutObject takes a while, so that there is time to break something."""
    proxy.on("PutObject", Delay(0.1))
    return proxy


@pytest.fixture
def slow_env(dask_env, slow_proxy) -> dict[str, str]:
    return dask_env | {"AWS_ENDPOINT_URL": slow_proxy.url}


@pytest.fixture
def journal(tmp_path) -> tuple[str, str]:
    return "--journal", str(tmp_path / "j.db")


@needs_dask
def test_what_a_killed_dask_worker_had_is_looked_up_and_done_by_another(
    start_cli, slow_env, bucket, tree, cluster, slow_proxy
):
    killed, landed = threading.Event(), threading.Event()
    slow_proxy.rules.insert(0, Rule(Hold(killed), "PutObject", skip=24))
    slow_proxy.on("HeadObject", Hold(landed))
    running = start_cli(
        ["sync", tree, bucket.url("x"), *cluster.flags, *PARTS, "--max-concurrency", "8", "--json"], env=slow_env
    )
    assert slow_proxy.wait_for("PutObject", 30)
    under_way = [each for each in list(slow_proxy.requests) if each.operation == "PutObject"]
    os.kill(cluster.workers[0], signal.SIGKILL)
    killed.set()
    wait_until(lambda: all(each.answered for each in under_way), 5)  # else S3 is asked before it has what was sent
    landed.set()
    finished = program.finish(running)

    assert finished.code == 0, finished.stderr
    assert finished.json["failures"] == []
    assert bucket.contents() == content_of(tree)
    assert slow_proxy.counts()["HeadObject"] > 0
    assert sent_twice(slow_proxy) == {}
    assert "Traceback" not in finished.stderr


@needs_dask
@pytest.mark.parametrize("executor", ["dask", "local"])
def test_resume_finishes_what_a_killed_coordinator_began(
    start_cli, run_cli, slow_env, slow_proxy, bucket, tree, lasting_cluster, executor
):
    journal = ("--journal", str(tree.parent / "j.db"))
    flags = (*lasting_cluster.flags, "--max-concurrency", "8")
    running = start_cli(["sync", tree, bucket.url("x"), *journal, *flags, *PARTS], env=slow_env)
    assert slow_proxy.wait_for("PutObject", 30)
    program.kill(running)

    flags = lasting_cluster.flags if executor == "dask" else ("--executor", "local")
    resumed = run_cli(["resume", *journal, *flags, "--json"], env=slow_env)

    assert resumed.code == 0, resumed.stderr
    assert bucket.contents() == content_of(tree)
    assert resumed.json["resumed"]


@needs_dask
def test_a_signal_ends_the_job_in_order_and_the_cluster_stays(
    start_cli, run_cli, slow_env, slow_proxy, bucket, tree, lasting_cluster, journal
):
    flags = (*lasting_cluster.flags, "--max-concurrency", "8")
    running = start_cli(["sync", tree, bucket.url("x"), *journal, *flags, *PARTS], env=slow_env)
    assert slow_proxy.wait_for("PutObject", 30)
    running.terminate()
    stopped = program.finish(running)
    resumed = run_cli(["resume", *journal], env=slow_env)

    assert (stopped.code, resumed.code) == (143, 0), stopped.stderr + resumed.stderr
    assert "s3batch resume" in stopped.stderr
    assert bucket.contents() == content_of(tree)
    assert sent_twice(slow_proxy) == {}


@needs_dask
def test_when_the_scheduler_dies_the_job_stops_and_can_be_resumed(
    start_cli, run_cli, slow_env, slow_proxy, bucket, tree, cluster, journal
):
    running = start_cli(
        ["sync", tree, bucket.url("x"), *journal, *cluster.flags, "--max-concurrency", "8", "--json"], env=slow_env
    )
    assert slow_proxy.wait_for("PutObject", 30)
    os.killpg(cluster.pid, signal.SIGKILL)
    stopped = program.finish(running)
    resumed = run_cli(["resume", *journal, "--executor", "local"], env=slow_env)

    assert (stopped.code, resumed.code) == (1, 0), stopped.stderr + resumed.stderr
    assert json.loads(stopped.stdout)["state"] == "failed"
    assert f"the connection to the Dask scheduler at {cluster.scheduler} is gone" in stopped.stderr
    assert "s3batch resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert bucket.contents() == content_of(tree)


# --- it cannot be used ----------------------------------------------------------------------------


@needs_dask
@pytest.mark.skipif(not os.path.exists("/proc/self/cwd"), reason="needs /proc")
@pytest.mark.parametrize(
    ("there", "words"),
    [
        pytest.param(None, "has no /proc/self/cwd/tree", id="no such directory"),
        pytest.param({}, "cannot read /proc/self/cwd/tree/f: No such file", id="an empty one"),
        pytest.param({"f": b"other"}, "has another size for /proc/self/cwd/tree/f", id="other files"),
        pytest.param({"f": b"same!"}, "has another modification time for /proc/self/cwd/tree/f", id="a copy"),
    ],
)
def test_a_source_that_the_workers_see_otherwise_is_an_error_before_any_request(
    run_cli, env, bucket, proxy, make_tree, lasting_cluster, there, words
):
    # a path that means another directory in each process
    make_tree({"f": b"same!!"})
    cwd = lasting_cluster.log.parent
    if there is not None:
        (cwd / "tree").mkdir()
        for name, content in there.items():
            (cwd / "tree" / name).write_bytes(content)
    if there == {"f": b"same!"}:
        make_tree({"f": b"same!"})
    try:
        refused = run_cli(
            ["sync", "/proc/self/cwd/tree", bucket.url("x"), *lasting_cluster.flags],
            env=env | {"AWS_ENDPOINT_URL": proxy.url},
        )  # fmt: skip
    finally:
        for name in there or {}:
            (cwd / "tree" / name).unlink()
        if there is not None:
            (cwd / "tree").rmdir()

    assert refused.code == 2, refused.stderr
    assert words in refused.stderr
    assert "the source must be on a file system that every Dask worker sees" in refused.stderr
    assert proxy.requests == []


@needs_dask
def test_a_cluster_without_s3batch_is_left_alone(run_cli, env, bucket, tree, tmp_path, clean_env):
    (tmp_path / "old" / "s3batch").mkdir(parents=True)
    (tmp_path / "old" / "s3batch" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    with dask_cluster.running(tmp_path / "cwd", clean_env | {"PYTHONPATH": str(tmp_path / "old")}) as cluster:
        refused = run_cli(["sync", tree, bucket.url("x"), *cluster.flags])
        log = cluster.log.read_text()

    assert refused.code == 2
    assert f"the Dask scheduler at {cluster.scheduler} has no s3batch" in refused.stderr
    assert "pip install 's3batch[dask]'" in refused.stderr
    assert "Failed to deserialize" not in log


@needs_dask
@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        pytest.param("tcp://127.0.0.1:1", 4, "cannot reach the Dask scheduler at tcp://127.0.0.1:1", id="nobody there"),
        pytest.param("nonsense://x", 2, "scheduler cannot be 'nonsense://x'", id="no such scheme"),
        pytest.param("tls://127.0.0.1:1", 2, "TLS", id="TLS without certificates"),
        pytest.param("", 2, "executor dask needs --scheduler, such as tcp://host:8786", id="not said"),
    ],
)
def test_a_scheduler_that_is_none_is_one_sentence(run_cli, bucket, tree, address, code, words):
    flags = ["--scheduler", address] if address else []
    refused = run_cli(["sync", tree, bucket.url("x"), "--executor", "dask", *flags])

    assert refused.code == code
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Exception ignored" not in refused.stderr


def test_without_the_package_the_error_says_how_to_install_it(run_cli, env, bucket, tree, tmp_path):
    (tmp_path / "hidden" / "distributed").mkdir(parents=True)
    (tmp_path / "hidden" / "distributed" / "__init__.py").write_text("raise ImportError('it is hidden')\n")
    path = f"{tmp_path / 'hidden'}:{env['PYTHONPATH']}"
    flags = ["--executor", "dask", "--scheduler", "tcp://127.0.0.1:1"]
    refused = run_cli(["sync", tree, bucket.url("x"), *flags], env=env | {"PYTHONPATH": path})

    assert refused.code == 2
    assert "pip install 's3batch[dask]'" in refused.stderr
