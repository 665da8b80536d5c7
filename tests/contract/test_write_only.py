"""A policy that only lets write and list (no s3:GetObject): no file fails for want of a look, and there is one warning."""

from __future__ import annotations

import os

import pytest

from tests.contract.scene import DENIED, MIB
from tests.contract.test_quirks import broken_at_part
from tests.rig.fake_s3 import Manners, Reply, Seen, error

READS = ("HeadObject", "GetObject", "CopyObject", "GetObjectAcl", "GetObjectTagging")
WRITE_ONLY = Manners(refuses=dict.fromkeys(READS, DENIED))
FILES = {f"f{number}": b"%d" % number for number in range(60)}
LANES = pytest.mark.parametrize("lane", ["lean", "reference"])


def assert_one_warning(run) -> None:
    assert run.code == 0, run.err
    assert run.err.count("(HeadObject: ") == 1
    assert "s3:GetObject" in run.err


@LANES
def test_without_a_journal_files_are_compared_by_the_listing(scene, lane):
    scene.write(FILES)
    scene.sync("--cache-control", "no-cache", fresh=True)
    scene.write({"f7": b"x"})
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--cache-control", "no-cache", "--lane", lane)
    again = scene.sync("--cache-control", "no-cache", "--lane", lane)

    assert_one_warning(run)
    assert run.requests["PutObject"] == 1
    assert run.requests["HeadObject"] < len(FILES)
    assert scene.objects["site/f7"].body == b"x"
    assert again.requests.keys() <= {"ListObjectsV2"}


def test_what_the_listing_cannot_prove_is_sent_again_and_then_known(scene):
    scene.write(FILES)
    scene.fake.manners = Manners(md5_etags=False)
    scene.sync(fresh=True)
    scene.fake.manners = Manners(md5_etags=False, refuses=WRITE_ONLY.refuses)

    run = scene.sync()
    again = scene.sync()

    assert_one_warning(run)
    assert run.requests["PutObject"] == len(FILES)
    assert again.requests.keys() <= {"ListObjectsV2"}


def test_other_attributes_are_set_by_sending_the_file_again(scene):
    scene.write(FILES)
    scene.sync("--cache-control", "no-cache")
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--cache-control", "max-age=60")
    again = scene.sync("--cache-control", "max-age=60")

    assert_one_warning(run)
    assert {each.headers["cache-control"] for each in scene.objects.values()} == {"max-age=60"}
    assert again.requests.keys() <= {"ListObjectsV2"}


def test_where_some_objects_may_not_be_looked_at_the_others_are(scene):
    scene.write(FILES)
    scene.sync("--cache-control", "no-cache")
    scene.fake.meddle = lambda seen: closed(seen) if seen.key == "site/f5" else None

    run = scene.sync("--cache-control", "max-age=60", fresh=True)

    assert_one_warning(run)
    assert (run.requests["CopyObject"], run.requests["PutObject"]) == (len(FILES) - 1, 0)


def closed(seen: Seen) -> Reply | None:
    return Reply(403, body=error("AccessDenied")) if seen.name in READS else None


def test_an_upload_that_only_the_store_knows_of_is_finished_without_a_look(scene):
    scene.write({"big": os.urandom(12 * MIB)})
    scene.fake.meddle = broken_at_part(2)
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    scene.fake.meddle = lambda _: None
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)

    assert_one_warning(run)
    assert scene.objects["site/big"].body == (scene.source / "big").read_bytes()
    assert scene.fake.uploads == {}


def test_a_dry_run_tells_what_the_run_would_do(scene):
    scene.write(FILES)
    scene.sync()
    scene.write({"f7": b"x"})
    scene.fake.manners = WRITE_ONLY

    run = scene.sync("--dry-run", "--json", fresh=True)

    assert run.code == 0, run.err
    assert run.json["operations"]["upload"]["planned"] == 1
