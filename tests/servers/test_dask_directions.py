"""``--executor dask`` for downloads, whose target all workers write, and from bucket to bucket, without a shared directory."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.rig import dask_cluster, program
from tests.rig.faults import Delay, Hold, Rule

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the package distributed is not installed (tox -e dask)"
)
MIB = 1024 * 1024
PARTS = ("--part-size", "5MiB", "--multipart-threshold", "5MiB")


@pytest.fixture(scope="module")
def lasting_cluster(tmp_path_factory):
    """A cluster for all tests. Its first and its second worker are killed by one test each, and replaced by Dask."""
    directory = tmp_path_factory.mktemp("dask")
    with dask_cluster.running(directory / "cwd", program.clean_environment(directory)) as cluster:
        yield cluster


@pytest.fixture
def objects(bucket) -> dict[str, bytes]:
    """Objects below x/ of the bucket: their paths and contents."""
    chance = random.Random(11)
    found = {f"d{number % 7}/f{number}": chance.randbytes(900 + number) for number in range(60)}
    found |= {"big.bin": chance.randbytes(17 * MIB + 5), "empty": b"", "ünï cödé+%20": b"name"}
    for path, body in found.items():
        bucket.put(f"x/{path}", body)
    return found


@pytest.fixture
def site(tmp_path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def slow_env(env, proxy) -> dict[str, str]:
    """Every object takes a while, so that there is time to break something."""
    for operation in ("GetObject", "CopyObject"):
        proxy.on(operation, Delay(0.1))
    return env | {"AWS_ENDPOINT_URL": proxy.url}


def content_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# --- downloads ------------------------------------------------------------------------------------


def test_workers_of_a_cluster_fill_one_directory(run_cli, bucket, objects, site, lasting_cluster):
    (site / "gone").mkdir(parents=True)
    (site / "gone" / "orphan").write_bytes(b"x")
    words = ["sync", bucket.url("x"), site, "--delete", "--json", *PARTS, *lasting_cluster.flags]

    planned = run_cli([*words, "--dry-run"])
    synced = run_cli(words)
    again = run_cli(words)

    assert (planned.code, planned.json["operations"]["download"]["planned"]) == (0, len(objects)), planned.stderr
    assert synced.code == 0, synced.stderr
    assert content_of(site) == objects
    assert synced.json["requests"]["GetObject"] == len(objects) - 1 + 4, "the large one comes in four ranges"
    assert not (site / "gone").exists()
    assert not (site / ".s3batch").exists(), "the probe is gone"
    assert (again.code, again.json["unchanged"], again.json["operations"]["download"]["planned"]) == (0, 63, 0)


def test_ranges_of_one_object_are_spread_over_all_workers(run_cli, bucket, env, proxy, site, lasting_cluster):
    body = random.Random(5).randbytes(21 * MIB)
    bucket.put("x/big", body)
    both = threading.Event()
    proxy.on("GetObject", Hold(both))
    seen = []
    watch = threading.Thread(target=lambda: (seen.append(proxy.wait_for("GetObject", 2)), both.set()))
    watch.start()

    # one request at a time in each worker: two at once are of two workers
    synced = run_cli(
        ["sync", bucket.url("x"), site, *PARTS, "--max-concurrency", "2", *lasting_cluster.flags],
        env=env | {"AWS_ENDPOINT_URL": proxy.url},
    )
    watch.join(60)

    assert seen == [True]
    assert synced.code == 0, synced.stderr
    assert (site / "big").read_bytes() == body


def test_resume_finishes_a_download_whose_coordinator_was_killed(
    start_cli, run_cli, slow_env, proxy, bucket, objects, site, lasting_cluster
):
    journal = ("--journal", str(site.parent / "j.db"))
    flags = (*lasting_cluster.flags, "--max-concurrency", "8")
    running = start_cli(["sync", bucket.url("x"), site, *journal, *flags, *PARTS], env=slow_env)
    assert proxy.wait_for("GetObject", 30)
    program.kill(running)
    torn = {path: body for path, body in content_of(site).items() if not path.startswith(".s3batch/")}
    assert torn.items() <= objects.items(), "what has its name is whole"

    resumed = run_cli(["resume", *journal, *lasting_cluster.flags, "--json"], env=slow_env)

    assert resumed.code == 0, resumed.stderr
    assert content_of(site) == objects
    assert resumed.json["resumed"]


def test_another_worker_fetches_what_a_killed_one_had(
    start_cli, slow_env, proxy, bucket, objects, site, lasting_cluster
):
    killed = threading.Event()
    proxy.rules.insert(0, Rule(Hold(killed), "GetObject", skip=12))
    running = start_cli(
        ["sync", bucket.url("x"), site, *lasting_cluster.flags, *PARTS, "--max-concurrency", "8", "--json"],
        env=slow_env,
    )
    assert proxy.wait_for("GetObject", 16)
    os.kill(lasting_cluster.workers[0], signal.SIGKILL)
    killed.set()
    finished = program.finish(running)

    assert finished.code == 0, finished.stderr
    assert finished.json["failures"] == []
    assert content_of(site) == objects
    assert "Traceback" not in finished.stderr


CAN_MOUNT = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not CAN_MOUNT, reason="needs a mount namespace")
def test_a_target_that_the_workers_do_not_share_is_an_error_before_any_request(
    run_cli, env, clean_env, bucket, proxy, site, tmp_path
):
    site.mkdir()
    elsewhere = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs none {site} && exec "$@"', "sh")
    with dask_cluster.running(tmp_path / "cwd", clean_env, before=elsewhere, count=1) as cluster:
        refused = run_cli(["sync", bucket.url("x"), site, *cluster.flags], env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert refused.code == 2, refused.stderr
    assert f"has another directory at {site}" in refused.stderr
    assert "the target must be on a file system that every Dask worker sees and writes" in refused.stderr
    assert proxy.requests == []
    assert list(site.iterdir()) == []


# --- bucket to bucket -----------------------------------------------------------------------------


@pytest.fixture
def two_buckets(make_bucket):
    """A source with objects below in/, one of them in parts, and an empty target."""
    source, target = make_bucket(), make_bucket()
    for number in range(40):
        source.put(f"in/{number}", b"%d" % number, Metadata={"colour": "blue"})
    source.put("in/big", random.Random(3).randbytes(11 * MIB))
    return source, target


def is_copied(source, target) -> bool:
    return {key[3:]: body for key, body in source.contents("in/").items()} == {
        key[4:]: body for key, body in target.contents("out/").items()
    }


def test_resume_finishes_copies_whose_coordinator_was_killed(
    start_cli, run_cli, slow_env, proxy, two_buckets, lasting_cluster, tmp_path
):
    source, target = two_buckets
    journal = ("--journal", str(tmp_path / "j.db"))
    flags = (*lasting_cluster.flags, "--max-concurrency", "8")
    running = start_cli(["sync", source.url("in"), target.url("out"), *journal, *flags], env=slow_env)
    assert proxy.wait_for("CopyObject", 12)
    program.kill(running)

    resumed = run_cli(["resume", *journal, *lasting_cluster.flags, "--json"], env=slow_env)

    assert resumed.code == 0, resumed.stderr
    assert is_copied(source, target)


def test_another_worker_streams_what_a_killed_one_had(start_cli, env, proxy, two_buckets, lasting_cluster):
    source, target = two_buckets
    other = ("--source-endpoint-url", proxy.url, "--source-access-key", env["AWS_ACCESS_KEY_ID"],
             "--source-secret-key", env["AWS_SECRET_ACCESS_KEY"])  # fmt: skip
    killed = threading.Event()
    proxy.rules.insert(0, Rule(Hold(killed), "GetObject", skip=12))

    words = ["sync", source.url("in"), target.url("out"), *other, *PARTS, "--max-concurrency", "8", "--json"]
    running = start_cli([*words, *lasting_cluster.flags], env=env)
    assert proxy.wait_for("GetObject", 16)
    os.kill(lasting_cluster.workers[1], signal.SIGKILL)
    killed.set()
    finished = program.finish(running)

    assert finished.code == 0, finished.stderr
    assert finished.json["failures"] == []
    assert is_copied(source, target)
    assert target.head("out/7")["Metadata"] == {"colour": "blue"}
    assert target.uploads() == []
