"""Stores that drop, refuse or do not echo something: jobs end well, converge, and remember it (one fake S3, switched)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

import pytest

from tests.contract.scene import DENIED, FOR_GOOD, MIB, UNKNOWN, UNSUPPORTED
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


# --- metadata copies ---------------------------------------------------------------------------

FOREIGN = {"content-disposition": "inline", "x-amz-meta-foreign": "1", "content-language": "de"}
TAGGED = (("team", "web"),)


def foreign(scene, number: int = 6, size: int = 1) -> None:
    """Objects of others, with the content of our files, in need of our Content-Type."""
    scene.write({f"f{n}.html": b"%d" % n * size for n in range(number)})
    scene.sync()
    for n in range(number):
        stored = scene.objects[f"site/f{n}.html"]
        stored.headers = {"content-type": "text/plain", **FOREIGN}
        stored.tags = TAGGED
    scene.fake.requests.clear()


def is_kept(scene) -> bool:
    """Whether each object has our type, and what others gave it."""
    return all(
        each.tags == TAGGED and FOREIGN.items() <= each.headers.items() and "html" in each.headers["content-type"]
        for each in scene.objects.values()
    )


COUNTS = pytest.mark.parametrize("counts_tags", [True, False], ids=["tags counted", "not counted"])


@COUNTS
def test_tags_that_a_copy_drops_are_put_back(scene, counts_tags):
    foreign(scene)
    scene.manners(copy_drops=frozenset({"tags"}), counts_tags=counts_tags)

    run = scene.sync(fresh=True)
    again = scene.sync(fresh=True)

    assert (run.code, is_kept(scene)) == (0, True), run.err
    assert run.requests["PutObjectTagging"] == 6
    assert run.requests["PutObject"] == 0
    assert run.err.count("a metadata copy loses tags") == 1
    assert again.requests["CopyObject"] == 0


@pytest.mark.parametrize("size", [1, 7 * MIB], ids=["small", "in parts"])
def test_headers_that_a_copy_drops_are_brought_back_by_sending_the_file_again(scene, size):
    foreign(scene, number=2, size=size)
    scene.manners(copy_drops=frozenset({"content-disposition", "x-amz-meta-foreign"}))

    run = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)
    again = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)

    assert (run.code, is_kept(scene)) == (0, True), run.err
    assert run.err.count("a metadata copy loses content-disposition") == 1
    assert again.requests.keys() <= {"ListObjectsV2", "HeadObject", "GetObjectTagging"}


@pytest.mark.parametrize("refusal", [UNSUPPORTED, UNKNOWN], ids=["405", "501"])
@pytest.mark.parametrize("size", [1, 7 * MIB], ids=["small", "in parts"])
def test_where_nothing_is_copied_the_file_is_sent_again_with_all_that_was_there(scene, refusal, size):
    foreign(scene, number=3, size=size)
    scene.manners(refuses={"CopyObject": refusal}, counts_tags=False)

    run = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)
    again = scene.sync("--multipart-threshold", "6MiB", "--part-size", "5MiB", fresh=True)

    assert (run.code, is_kept(scene)) == (0, True), run.err
    assert run.err.count("CopyObject: ") == 1
    assert again.requests.keys() <= {"ListObjectsV2", "HeadObject"}


def test_tags_that_may_not_be_put_back_go_with_the_file(scene):
    foreign(scene)
    scene.manners(copy_drops=frozenset({"tags"}), refuses={"PutObjectTagging": DENIED})

    run = scene.sync(fresh=True)

    assert (run.code, is_kept(scene)) == (0, True), run.err
    assert "s3:PutObjectTagging" in run.err


@pytest.mark.parametrize(
    ("lost", "settings"),
    [
        pytest.param("x-amz-server-side-encryption", ["--encryption", "AES256"], id="encryption"),
        pytest.param("acl", ["--acl", "public-read"], id="acl"),
        pytest.param("tags", ["--tags", "a=b"], id="tags"),
        pytest.param("x-amz-storage-class", ["--storage-class", "STANDARD_IA"], id="storage class"),
    ],
)
def test_what_a_store_does_not_give_back_makes_no_run_copy_all_again(scene, lost, settings):
    scene.write({f"f{n}": b"%d" % n for n in range(20)})
    scene.manners(forgets=frozenset({lost}))
    scene.sync(*settings)

    runs = [scene.sync(*settings, fresh=True), scene.sync("--no-trust-journal", *settings)]
    quiet = scene.sync("--no-trust-journal", *settings)

    for run in runs:
        assert run.code == 0, run.err
        assert run.requests["CopyObject"] + run.requests["PutObject"] <= 3
        assert run.err.count(f"the store does not return {lost}") == 1
    assert (quiet.requests["CopyObject"], quiet.requests["PutObject"], "give" in quiet.err) == (0, 0, False)


def test_what_is_not_given_back_is_sent_all_the_same_when_the_setting_changes(scene):
    scene.write({f"f{n}": b"%d" % n for n in range(4)})
    scene.manners(forgets=frozenset({"x-amz-storage-class"}))
    scene.sync("--storage-class", "STANDARD_IA")
    scene.sync("--storage-class", "STANDARD_IA", "--no-trust-journal")

    changed = scene.sync("--storage-class", "GLACIER_IR")
    same = scene.sync("--storage-class", "GLACIER_IR")

    sent = [seen for seen in scene.fake.requests if seen.headers.get("x-amz-storage-class") == "GLACIER_IR"]
    assert (changed.code, changed.requests["CopyObject"]) == (0, 4)
    assert (same.requests["CopyObject"], sent) == (0, [])


def test_a_store_that_keeps_everything_costs_one_more_look(scene):
    """One more of all, and one more of each object with tags that is under way before the store is known to keep them.

    Each file is also compared once in bulk, in vain for those whose attributes differ.
    """
    foreign(scene)

    run = scene.sync(fresh=True)

    assert (run.code, is_kept(scene)) == (0, True), run.err
    looks = run.requests["HeadObject"] - 6 - 7
    assert run.requests == {
        "ListObjectsV2": 1, "HeadObject": 6 + 7 + looks, "CopyObject": 6, "GetObjectTagging": 6 + looks,
    }  # fmt: skip
    assert 1 <= looks <= 6  # how many are under way at once is up to the machine


# --- settings that a store cannot carry out ----------------------------------------------------


def not_implemented(header: str, *, named: bool = False) -> Callable[[fake_s3.Seen], Reply | None]:
    """Answer 501 to each write with this header, as a store does that does not know it."""
    more = {"Header": header} if named else {}
    body = error("NotImplemented", "A function you asked for is not implemented", **more)
    writes = ("PutObject", "CreateMultipartUpload")
    return lambda seen: Reply(501, body=body) if header in seen.headers and seen.name in writes else None


@pytest.mark.parametrize(
    ("header", "settings", "words"),
    [
        ("x-amz-tagging", ["--tags", "a=b", "--acl", "private"], "settings it carried: acl, tags"),
        ("x-amz-storage-class", ["--storage-class", "GLACIER"], "settings it carried: storage_class"),
        ("x-amz-server-side-encryption", ["--encryption", "AES256"], "settings it carried: encryption"),
    ],
)
def test_a_501_says_which_settings_the_request_carried_and_ten_of_them_stop_the_job(scene, header, settings, words):
    scene.write({f"f{n}": b"%d" % n for n in range(200)})
    scene.fake.meddle = not_implemented(header)

    run = scene.sync(*settings, "--checksum", "none")

    assert run.code == 4
    assert words in run.err
    assert run.err.count(words) <= 60
    assert run.requests["PutObject"] < 150


def test_a_501_stops_a_job_also_after_others_have_worked(scene):
    scene.write({"a.txt": b"1", **{f"f{n:03d}.html": b"%d" % n for n in range(300)}})
    scene.fake.meddle = not_implemented("x-amz-storage-class", named=True)
    storage = '{"*.html": "GLACIER"}'

    run = scene.sync("--storage-class", storage, "--checksum", "none", "--max-concurrency", "4")

    assert run.code == 1
    assert "the store does not implement storage_class" in run.err
    assert run.requests["PutObject"] < 200


def test_a_kms_key_that_the_store_cannot_get_is_the_failure_of_its_object(scene):
    scene.write({"a": b"a", "b": b"b"})
    body = error("InvalidAccessKeyId", "Failed to retrieve the actual key, kms-keyid: nokey")
    scene.fake.meddle = lambda seen: (
        Reply(403, body=body) if "x-amz-server-side-encryption-aws-kms-key-id" in seen.headers else None
    )

    run = scene.sync("--encryption", "aws:kms", "--kms-key-id", "nokey", "--json")

    assert run.code == 1, run.err
    assert {row["code"] for row in run.json["failures"]} == {"KMSKeyUnavailable"}
    assert "credentials" not in run.err


def test_credentials_that_are_refused_are_that_also_with_a_kms_key(scene):
    scene.write({f"f{n}": b"%d" % n for n in range(30)})
    served = []

    def meddle(seen):
        served.append(seen)
        return Reply(403, body=error("InvalidAccessKeyId")) if len(served) > 5 else None

    scene.fake.meddle = meddle
    run = scene.sync("--encryption", "aws:kms", "--kms-key-id", "k")

    assert run.code == 1
    assert "the credentials are refused" in run.err


def test_verify_takes_what_is_not_given_back_for_no_difference_once_that_is_known(scene):
    scene.write({"a": b"a"})
    scene.manners(forgets=frozenset({"x-amz-storage-class"}))
    scene.sync("--storage-class", "GLACIER_IR")
    settings = ("verify", str(scene.source), "s3://bucket/site", "--storage-class", "GLACIER_IR")

    before = scene.run(*settings)
    scene.sync("--storage-class", "GLACIER_IR", "--no-trust-journal")
    after = scene.run(*settings)

    assert (before.code, after.code) == (1, 0), after.err


# --- the doctor --------------------------------------------------------------------------------


def test_the_doctor_names_quirks_and_fails_for_none_of_them(scene):
    scene.manners(
        copy_drops=frozenset({"tags", "content-disposition"}), forgets=frozenset({"x-amz-storage-class", "acl"}),
        refuses={"ListParts": DENIED, "AbortMultipartUpload": DENIED, "ListMultipartUploads": UNKNOWN},
    )  # fmt: skip
    settings = ["--storage-class", "STANDARD_IA", "--acl", "public-read", "--tags", "a=b"]

    run = scene.run("doctor", "s3://bucket/site", *settings, "--json")
    said = scene.run("doctor", "s3://bucket/site", *settings)

    found = {(each["quirk"], each["about"]) for each in run.json["quirks"]}
    assert (run.code, said.code) == (0, 0), said.out
    assert found >= {
        ("copy-drops", "tags"), ("copy-drops", "content-disposition"), ("not-echoed", "x-amz-storage-class"),
        ("not-echoed", "acl"), ("refused", "ListParts"), ("refused", "AbortMultipartUpload"),
        ("refused", "ListMultipartUploads"),
    }  # fmt: skip
    assert "quirk of the store: a metadata copy loses tags" in said.out
    assert "s3:ListMultipartUploadParts" in said.out


@pytest.mark.parametrize("refusal", [UNSUPPORTED, UNKNOWN], ids=["405", "501"])
def test_a_store_without_copies_is_no_failure_for_the_doctor(scene, refusal):
    scene.manners(refuses={"CopyObject": refusal})

    run = scene.run("doctor", "s3://bucket/site", "--tags", "a=b", "--json")

    assert run.code == 0, run.out
    assert [each["about"] for each in run.json["quirks"]] == ["CopyObject"]


def test_the_doctor_shows_what_jobs_have_found(scene):
    scene.write({"a": b"a"})
    scene.sync("--tags", "a=b")
    scene.manners(refuses={"GetObjectTagging": UNKNOWN})
    scene.sync("--tags", "a=b", "--no-trust-journal")

    run = scene.run("doctor", "s3://bucket/site", "--json")

    assert [each["about"] for each in run.json["quirks"]] == ["GetObjectTagging"]
