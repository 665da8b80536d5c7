"""A policy that only lets write and list (no s3:GetObject)."""

from __future__ import annotations

import os

import pytest

from tests.contract.scene import DENIED, MIB
from tests.contract.test_quirks import broken_at_part
from tests.rig.fake_s3 import Manners

READS = ("HeadObject", "GetObject", "CopyObject", "GetObjectAcl", "GetObjectTagging")
WRITE_ONLY = Manners(refuses=dict.fromkeys(READS, DENIED))
FILES = {f"f{number}": b"%d" % number for number in range(20)}


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_what_may_not_be_looked_at_fails_and_is_never_taken_for_absent(scene, lane):
    scene.write(FILES)
    scene.sync("--cache-control", "no-cache", fresh=True)
    scene.write({"f7": b"x"})
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--cache-control", "no-cache", "--lane", lane, fresh=True)

    assert run.code == 1
    assert "HeadObject: AccessDenied" in run.err
    assert "s3:GetObject" in run.err
    assert run.requests["PutObject"] == 0
    assert scene.objects["site/f7"].body == b"7"


def test_an_upload_that_only_the_store_knows_of_is_finished_without_a_look(scene):
    scene.write({"big": os.urandom(12 * MIB)})
    scene.fake.meddle = broken_at_part(2)
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    scene.fake.meddle = lambda _: None
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)

    assert (run.code, run.err.count("(HeadObject: ")) == (0, 1), run.err
    assert "s3:GetObject" in run.err
    assert scene.objects["site/big"].body == (scene.source / "big").read_bytes()
    assert scene.fake.uploads == {}
