"""SIGTERM and SIGINT: what is under way ends, the rest is parked, and the report says how to go on."""

from __future__ import annotations

import json
import re
import signal
import threading
import time

import pytest

from tests.crash.scene import Scene
from tests.rig import program
from tests.rig.faults import Delay, Hold, Stall

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("number", CODES, ids=str)
def test_a_signal_parks_the_multipart_upload_and_tells_how_to_go_on(scene: Scene, number: signal.Signals):
    stopping = threading.Event()
    scene.proxy.on("UploadPart", Hold(stopping), skip=1)
    process = scene.start("--json")
    assert scene.proxy.wait_for("UploadPart", 3)

    program.kill(process, number)  # the whole group, as a terminal's Ctrl-C does
    program.read_until(process, "stopping: finishing")
    stopping.set()
    ended = program.finish(process)

    report = json.loads(ended.stdout)
    assert ended.code == CODES[number]
    assert (report["state"], report["exit_code"]) == ("interrupted", CODES[number])
    assert f"s3batch resume {report['job']} --journal {scene.journal}" in ended.stderr
    assert {upload["Key"] for upload in scene.bucket.uploads()} >= {"site/big.bin"}
    assert scene.state() == "interrupted"
    scene.proxy.forget()
    assert scene.resume().code == 0
    scene.assert_mirrored()
    scene.assert_journal_healthy()


def test_what_is_under_way_at_the_first_signal_is_finished(scene: Scene):
    scene.proxy.on("PutObject", Delay(1.0))
    process = scene.start("--json")
    assert scene.proxy.wait_for("PutObject", 4)
    under_way = [each.key for each in scene.proxy.requests if each.operation == "PutObject"]

    process.send_signal(signal.SIGTERM)
    ended = program.finish(process)

    assert ended.code == 143
    assert re.search(r"stopping: finishing \d+ requests?, up to 10 s; Ctrl-C again stops now\n", ended.stderr)
    assert ended.json["operations"]["upload"]["done"] >= len(under_way)
    assert set(under_way) <= scene.bucket.keys()
    scene.proxy.rules.clear()
    assert scene.resume().code == 0
    scene.assert_all_well()


def test_the_second_signal_means_now(scene: Scene):
    scene.proxy.on("PutObject", Delay(60))
    scene.proxy.on("UploadPart", Delay(60))
    process = scene.start("--json")
    assert scene.proxy.wait_for("PutObject", 4)
    process.send_signal(signal.SIGTERM)
    program.read_until(process, "stopping: finishing")

    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ended = program.finish(process)

    assert time.monotonic() - asked < 8  # without it 10
    assert ended.code == 143
    assert json.loads(ended.stdout)["state"] == "interrupted"
    assert "s3batch resume" in ended.stderr


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize("operation", ["ListObjectsV2", "PutObject"])
def test_a_store_that_says_nothing_delays_the_end_by_no_more_than_the_grace_period(
    scene: Scene, lane: str, operation: str
):
    scene.proxy.on(operation, Stall(60))
    process = scene.start("--json", "--lane", lane)
    assert scene.proxy.wait_for(operation)

    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ended = program.finish(process)

    assert time.monotonic() - asked < (8 if operation == "ListObjectsV2" else 40)  # without it 10, 60
    assert ended.code == 143
    assert json.loads(ended.stdout)["state"] == "interrupted"
    assert "s3batch resume" in ended.stderr


def test_a_signal_between_two_pages_of_the_listing_leaves_a_job_to_resume(scene: Scene):
    scene.proxy.on("ListObjectsV2", Delay(1.0))
    process = scene.start("--json")
    assert scene.proxy.wait_for("ListObjectsV2")

    process.send_signal(signal.SIGINT)
    ended = program.finish(process)

    assert ended.code == 130
    scene.proxy.forget()
    assert scene.resume().code == 0
    scene.assert_all_well()
