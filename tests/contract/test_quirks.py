"""Stores that drop, refuse or do not echo something: jobs end well, converge, and remember it (one fake S3, switched)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

import pytest

from tests.contract.scene import DENIED, FOR_GOOD, MIB, UNKNOWN
from tests.rig import fake_s3
from tests.rig.fake_s3 import Reply, error


def broken_at_part(number: int) -> Callable[[fake_s3.Seen], Reply | None]:
    """Refuse one part for now, so that the upload is parked."""

    def meddle(seen: fake_s3.Seen) -> Reply | None:
        wanted = seen.name == "UploadPart" and seen.query["partNumber"] == str(number)
        return Reply(500, body=error("InternalError")) if wanted else None

    return meddle


# --- optional requests that are refused for good -------------------------------------------


@FOR_GOOD
@pytest.mark.parametrize("fresh", [False, True], ids=["resumed", "without a journal"])
def test_an_upload_that_may_not_be_surveyed_nor_aborted_is_begun_anew_in_the_same_run(scene, refusal, fresh):
    scene.write({"big": os.urandom(12 * MIB)})
    scene.fake.meddle = broken_at_part(2)
    dead = scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    scene.fake.meddle = lambda _: None
    scene.manners(refuses={"ListParts": refusal, "AbortMultipartUpload": refusal})

    run = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", "--object-manifest", fresh=fresh)

    assert (dead.code, run.code) == (1, 0), run.err
    assert scene.objects["site/big"].body == (scene.source / "big").read_bytes()
    assert "site/.s3batch/manifest" in scene.objects
    assert run.err.count("(ListParts: ") == 1
    assert run.err.count("(AbortMultipartUpload: ") == 1
    if refusal is DENIED:
        assert "s3:ListMultipartUploadParts" in run.err
        assert "s3:AbortMultipartUpload" in run.err
    assert run.requests["UploadPart"] == 3


@FOR_GOOD
def test_an_upload_of_a_dead_run_that_may_not_be_aborted_ends_no_job(scene, refusal):
    scene.write({"big": os.urandom(12 * MIB), "a": b"a"})
    scene.fake.meddle = broken_at_part(2)
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    scene.fake.meddle = lambda _: None
    (scene.source / "big").unlink()
    scene.manners(refuses={"AbortMultipartUpload": refusal, "ListMultipartUploads": refusal})

    run = scene.sync("--object-manifest")
    again = scene.sync("--object-manifest")

    assert (run.code, again.code) == (0, 0), run.err
    assert "site/.s3batch/manifest" in scene.objects
    assert run.err.count("(AbortMultipartUpload: ") == 1
    assert "MultipartUpload" not in again.err


@FOR_GOOD
def test_tags_and_acls_that_may_not_be_read_are_not_compared(scene, refusal):
    scene.write({f"f{n}": b"%d" % n for n in range(8)})
    scene.manners(refuses={"GetObjectTagging": refusal, "GetObjectAcl": refusal}, counts_tags=False)
    scene.sync("--tags", "a=b", "--acl", "public-read")

    run = scene.sync("--tags", "a=b", "--acl", "public-read", fresh=True)

    assert run.code == 0, run.err
    assert run.requests["CopyObject"] == 0
    assert run.requests["GetObjectTagging"] <= 16
    assert run.err.count("(GetObjectTagging: ") == 1
    assert run.err.count("(GetObjectAcl: ") == 1


@FOR_GOOD
def test_jobs_prune_warns_of_an_upload_it_may_not_abort(scene, refusal):
    scene.write({"big": os.urandom(12 * MIB), "a": b"a"})
    scene.fake.meddle = broken_at_part(2)
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB", "--include", "a", "--dry-run")
    scene.fake.meddle = lambda _: None
    (journal,) = (scene.root / "state").rglob("*.db")
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE job SET state = 'superseded'")
    scene.manners(refuses={"AbortMultipartUpload": refusal})

    run = scene.run("jobs", "prune", "--json")

    assert run.code == 0, run.err
    assert [row["key"] for row in run.json["refused"]] == ["site/big"]
    assert run.err.count("stays in the bucket: AbortMultipartUpload is refused") == 1


# --- remembered ----------------------------------------------------------------------------


def test_a_quirk_is_shown_by_jobs_show_and_warned_of_by_the_job_that_found_it_only(scene):
    scene.write({"a": b"a"})
    scene.manners(refuses={"GetObjectTagging": UNKNOWN})
    scene.sync("--tags", "a=b")
    (journal,) = (scene.root / "state").rglob("*.db")

    first = scene.sync("--tags", "a=b", "--no-trust-journal")
    second = scene.sync("--tags", "a=b", "--no-trust-journal")
    shown = scene.run("jobs", "show", "--journal", str(journal))
    document = scene.run("jobs", "show", "--journal", str(journal), "--json").json

    assert ("GetObjectTagging" in first.err, "GetObjectTagging" in second.err) == (True, False)
    assert second.requests["GetObjectTagging"] == 0
    assert "quirk of the store: GetObjectTagging is refused (HTTP 501 NotImplemented)" in shown.out
    assert [(each["quirk"], each["about"]) for each in document["quirks"]] == [("refused", "GetObjectTagging")]


def test_a_missing_permission_is_looked_for_again_by_the_next_job(scene):
    scene.write({"a": b"a"})
    scene.sync("--tags", "a=b")
    scene.manners(refuses={"GetObjectTagging": DENIED}, counts_tags=False)
    refused = scene.sync("--tags", "a=b", "--no-trust-journal")
    scene.manners(counts_tags=False)
    scene.objects["site/a"].tags = ()

    run = scene.sync("--tags", "a=b", "--no-trust-journal")

    assert "(GetObjectTagging: " in refused.err
    assert (run.code, scene.objects["site/a"].tags) == (0, (("a", "b"),))
