"""SIGKILL in the middle of the work: of the coordinator, of workers, of all of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.crash.scene import KILLS, PREFIX, Scene, await_workers, kill_sender
from tests.rig import program
from tests.rig.faults import Call, Delay, Hold
from tests.rig.waiting import wait_until

SURVIVED = ("one worker", "all workers")


@pytest.mark.parametrize("moment", [("PutObject", 6), ("UploadPart", 5), ("CompleteMultipartUpload", 1)], ids=str)
@pytest.mark.parametrize("victim", KILLS)
def test_a_kill_in_the_middle_loses_nothing(scene: Scene, victim: str, moment: tuple[str, int]):
    scene.proxy.latency = 0.03
    process = scene.start()
    assert scene.proxy.wait_for(*moment)

    KILLS[victim](process)
    ended = program.finish(process)
    resumed = ended if victim in SURVIVED else scene.resume()

    assert resumed.code == 0, resumed.stderr
    scene.assert_all_well()


def test_workers_end_with_their_coordinator(scene: Scene):
    scene.proxy.on("PutObject", Delay(30))
    process = scene.start()
    workers = await_workers(process, 2)

    os.kill(process.pid, signal.SIGKILL)

    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 25)  # a request takes 30


def test_a_kill_while_resuming_loses_nothing_either(scene: Scene):
    scene.proxy.latency = 0.03
    for moment in (("PutObject", 4), ("UploadPart", 6), ("UploadPart", 9), ("PutObject", 20)):
        process = scene.start()
        scene.proxy.wait_for(*moment, timeout=10)
        program.kill(process)

    resumed = scene.resume()

    assert resumed.code == 0, resumed.stderr
    scene.assert_all_well()


def test_one_operation_that_kills_its_workers_is_named_and_fails_nobody_else(scene: Scene):
    poison, last = f"{PREFIX}page/05.html", {f"{PREFIX}index.html", "go"}
    running: list[subprocess.Popen[str]] = []
    deaths = scene.proxy.on("PutObject", Call(lambda request: kill_sender(running[0], request)), key=poison)

    running.append(scene.start("--json"))
    ended = program.finish(running[0])

    assert ended.code == 1
    assert [(each["key"], each["code"]) for each in ended.json["failures"]] == [(poison, "WorkerLost")]
    assert deaths.applied == 3
    assert scene.bucket.keys() >= set(scene.expected()) - {poison} - last
    scene.proxy.forget()
    assert scene.resume().code == 0
    scene.assert_mirrored()


def test_a_file_that_comes_back_between_kill_and_resume_is_not_deleted(scene: Scene):
    killed = scene.sync(crash_at="planned")
    scene.files["old/1"] = b"here again"
    (scene.tree / "old").mkdir()
    (scene.tree / "old" / "1").write_bytes(b"here again")

    resumed = scene.resume()

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.stderr
    scene.assert_mirrored()


def test_a_file_that_goes_between_kill_and_resume_is_no_failure(scene: Scene):
    killed = scene.sync(crash_at="settled:1")
    for path in ("page/03.html", "big.bin", "page/23.html"):
        (scene.tree / path).unlink()
        del scene.files[path]

    resumed = scene.resume()

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.stderr
    scene.assert_mirrored()


@pytest.mark.parametrize("again", ["resume", "sync"])
@pytest.mark.parametrize("left", [b"", b"small now"], ids=["gone", "small"])
def test_an_upload_that_only_the_store_knows_of_is_aborted_when_its_file_has_gone(
    scene: Scene, left: bytes, again: str
):
    killed = scene.sync("--executor", "inline", crash_at="upload-begun")
    path = scene.bucket.uploads()[0]["Key"].removeprefix(PREFIX)
    (scene.tree / path).unlink()
    del scene.files[path]
    if left:
        (scene.tree / path).write_bytes(left)
        scene.files[path] = left

    finished = scene.resume() if again == "resume" else scene.sync()

    assert killed.code == -signal.SIGKILL
    assert finished.code == 0, finished.stderr
    scene.assert_mirrored()


def test_of_several_uploads_that_only_the_store_knows_of_none_outlives_the_job(scene: Scene):
    """The run dies with both files leased and no upload id heard: the answers are held back until it is dead."""
    dead = threading.Event()
    scene.proxy.on("CreateMultipartUpload", Call(lambda _: dead.wait(60), after=True))
    process = scene.start()
    assert wait_until(lambda: len(scene.bucket.uploads()) == 2)
    program.kill(process)
    dead.set()
    scene.proxy.rules.clear()
    for path in ("big.bin", "second.bin") * 2:  # as more such runs leave them
        scene.bucket.client.create_multipart_upload(Bucket=scene.bucket.name, Key=PREFIX + path)

    finished = scene.resume()

    assert finished.code == 0, finished.stderr
    scene.assert_mirrored()


@pytest.mark.parametrize("again", ["resume", "sync"])
def test_a_source_that_is_empty_after_a_kill_deletes_nothing_more(small_scene: Scene, again: str):
    scene = small_scene
    orphans = [f"{PREFIX}orphan/{number:04d}" for number in range(5)]
    for key in orphans:
        scene.bucket.put(key, b"orphan")
    killed = scene.sync(crash_at="added:5")  # the deletes are added last, and no worker has them yet
    away = scene.tree.rename(scene.tree.with_name("away"))  # a disk that is not mounted
    scene.tree.mkdir()

    refused = scene.resume() if again == "resume" else scene.sync()
    left = scene.bucket.contents(PREFIX)
    scene.tree.rmdir()
    away.rename(scene.tree)
    finished = scene.resume()

    assert killed.code == -signal.SIGKILL
    assert refused.code == 1
    assert "holds no file; refusing to delete" in refused.stderr
    assert set(orphans) <= left.keys()
    assert finished.code == 0, finished.stderr
    scene.assert_mirrored()


def test_an_object_that_goes_between_kill_and_resume_is_sent_again(scene: Scene):
    killed = scene.sync(crash_at="deleting")
    for path in ("page/03.html", "second.bin"):
        scene.bucket.client.delete_object(Bucket=scene.bucket.name, Key=PREFIX + path)

    resumed = scene.resume()

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.stderr
    scene.assert_mirrored()


def test_a_file_that_changes_between_kill_and_resume_is_sent_as_it_is_now(scene: Scene):
    scene.proxy.latency = 0.03
    process = scene.start()
    assert scene.proxy.wait_for("UploadPart", 5)
    program.kill(process)
    for path in ("big.bin", "page/03.html"):
        scene.files[path] = scene.files[path][::-1]
        (scene.tree / path).write_bytes(scene.files[path])

    resumed = scene.resume()

    assert resumed.code == 0, resumed.stderr
    scene.assert_mirrored()
    scene.assert_journal_healthy()


@pytest.mark.parametrize("again", ["resume", "sync"])
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_a_request_of_a_killed_run_that_lands_late_is_mended(small_scene: Scene, again: str, gone: bool):
    scene, path = small_scene, "page/01.html"
    scene.proxy.on("PutObject", Delay(2), key=PREFIX + path, times=1)
    process = scene.start("--timeout", "3")
    assert wait_until(lambda: [each for each in list(scene.proxy.requests) if each.key == PREFIX + path])
    program.kill(process)
    if gone:
        (scene.tree / path).unlink()
        del scene.files[path]
    else:
        scene.files[path] = scene.files[path][::-1]
        (scene.tree / path).write_bytes(scene.files[path])
    scene.environment["S3BATCH_TEST_LONGEST_WAIT"] = "10"

    finished = scene.resume("-v") if again == "resume" else scene.sync("-v", "--timeout", "3")

    assert finished.code == 0, finished.stderr
    scene.assert_mirrored()
    scene.assert_journal_healthy()


def test_a_request_whose_connection_broke_and_that_lands_after_the_job_is_mended(small_scene: Scene):
    scene, path = small_scene, "page/01.html"
    landed = threading.Event()
    scene.proxy.on("PutObject", Hold(landed), key=PREFIX + path, times=1)
    process = scene.start("--timeout", "4")
    assert wait_until(lambda: [each for each in list(scene.proxy.requests) if each.key == PREFIX + path])
    scene.proxy.down()
    process.send_signal(signal.SIGTERM)
    scene.proxy.up()
    first = program.finish(process)
    scene.files[path] = scene.files[path][::-1]
    (scene.tree / path).write_bytes(scene.files[path])
    scene.environment["S3BATCH_TEST_LONGEST_WAIT"] = "10"
    scene.proxy.on("PutObject", Call(lambda _: landed.set(), after=True), key=PREFIX + path, times=1)

    second = scene.sync("-v", "--timeout", "4")

    puts = [each.status for each in scene.proxy.requests if each.operation == "PutObject" and each.key == PREFIX + path]
    assert puts == [200, 200, 200], "the late one landed, and was mended"
    assert first.code == 143, first.stderr
    assert second.code == 0, second.stderr
    scene.assert_mirrored()
    scene.assert_journal_healthy()
