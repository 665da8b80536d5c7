"""A file that no object can hold fails by itself: the job names it, sends all others, and deletes nothing."""

from __future__ import annotations

import os

import pytest

from tests.contract.scene import Scene
from tests.rig.fake_s3 import Stored

TIB = 1 << 40
WORDS = "it has 6,597,069,766,656 bytes, and S3 takes objects of up to 5 TiB"


@pytest.fixture
def oversized(scene: Scene) -> Scene:
    """A source with a sparse file of 6 TiB among others, and an object that no file answers to."""
    scene.write({"a": b"a", "huge": b"", "z": b"z"})
    try:
        os.truncate(scene.source / "huge", 6 * TIB)
    except OSError:
        pytest.skip("this file system holds no file of 6 TiB")
    scene.objects["site/orphan"] = Stored(b"kept", '"e"', modified=1_600_000_000.0)
    return scene


def test_it_fails_alone_in_each_run(oversized):
    for _ in range(3):
        run = oversized.sync("--delete", "--json")

        assert run.code == 1, run.err
        assert [(each["key"], WORDS in each["error"]) for each in run.json["failures"]] == [("site/huge", True)]
        assert set(oversized.objects) == {"site/a", "site/z", "site/orphan"}
        assert "CreateMultipartUpload" not in run.requests


def test_a_resume_fails_it_again_and_sends_it_once_it_is_smaller(oversized):
    oversized.sync()
    journal = next((oversized.root / "state").rglob("*.db"))

    assert oversized.run("resume", "--journal", str(journal)).code == 1

    (oversized.source / "huge").write_bytes(b"small")
    assert oversized.run("resume", "--journal", str(journal)).code == 0
    assert oversized.objects["site/huge"].body == b"small"


def test_a_file_that_grows_too_large_while_the_job_runs_fails_too(oversized):
    huge = oversized.source / "huge"
    huge.write_bytes(b"small")
    oversized.fake.meddle = lambda seen: os.truncate(huge, 6 * TIB) if seen.name == "ListObjectsV2" else None

    run = oversized.sync("--json")

    assert run.code == 1, run.err
    assert [each["key"] for each in run.json["failures"]] == ["site/huge"]
    assert set(oversized.objects) == {"site/a", "site/z", "site/orphan"}


def test_a_dry_run_and_a_verify_name_it(oversized):
    dry = oversized.sync("--dry-run")
    verify = oversized.run("verify", str(oversized.source), "s3://bucket/site")

    assert (dry.code, WORDS in dry.err) == (1, True)
    assert (verify.code, WORDS in verify.err) == (1, True)
    assert "2 files compared" in verify.err
