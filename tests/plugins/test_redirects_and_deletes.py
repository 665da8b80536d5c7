"""R1-R3, L1-L8, decisions 8 and 9: signposts, and what is deleted when."""

from __future__ import annotations

from functools import partial

import pytest

from s3batch.coordinator.deps import CoordinatorDeps
from s3batch.s3 import requests as calls
from tests.rig.faults import Delay, Refuse

LOCATION = "x-amz-website-redirect-location"
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture
def step(step):
    step.settings = {"source": "dist"}
    step.files({"dist/a.txt": "hello", "dist/sub/b.txt": "there"})
    return step


def stored(step, *keys: str) -> None:
    for key in keys:
        step.bucket.put(key, b"before")


# --- redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        pytest.param("some/missing/file", "some/missing/file", id="R1 the name is the key, target or not"),
        pytest.param("/old", "old", id="R1 without one leading slash"),
        pytest.param("site/old", "site/old", id="R1 below the target too"),
    ],
)
def test_a_redirect_is_an_empty_object_for_everybody(step, name, key) -> None:
    settings = {"target": "site", "redirects": {name: "/somewhere/that/actually/exists"}}

    run = step.run(settings)

    assert run.code == 0, run.err
    assert run.headers(key)[LOCATION] == "/somewhere/that/actually/exists"
    assert run.headers(key)["content-type"] == "application/octet-stream"
    assert (step.bucket.get(key), (EVERYBODY, "READ") in step.bucket.grants(key)) == (b"", True)
    step.is_settled(settings)


def test_r1_one_that_leads_elsewhere_now_is_sent_again(step) -> None:
    step.run({"redirects": {"old": "/a", "kept": "/k"}})

    run = step.run({"redirects": {"old": "/b", "kept": "/k"}})

    assert run.changed == [("PutObject", "old")]
    assert step.bucket.head("old")["WebsiteRedirectLocation"] == "/b"


@pytest.mark.parametrize(
    ("acl", "sent"),
    [
        pytest.param("private", "private", id="9 a plain acl"),
        pytest.param({"old": "authenticated-read"}, "authenticated-read", id="9 one for this name"),
        pytest.param({"*.html": "private"}, "public-read", id="9 one that does not match"),
    ],
)
def test_the_acl_setting_may_say_otherwise(step, acl, sent) -> None:
    assert step.run({"acl": acl, "redirects": {"old": "/new"}}).headers("old")["x-amz-acl"] == sent


def test_r1_a_redirect_is_encrypted_as_the_files_are(step, kms_key) -> None:
    run = step.run({"kms_key_id": kms_key, "redirects": {"old": "/new"}})

    assert run.headers("old")["x-amz-server-side-encryption"] == "aws:kms"
    assert step.bucket.head("old")["SSEKMSKeyId"] == kms_key


@pytest.mark.parametrize("name", ["a.txt", "/a.txt", "site/sub/b.txt"])
def test_r2_a_redirect_for_a_key_that_a_file_has_is_refused_before_any_request(step, name) -> None:
    target = "site" if name.startswith("site") else "/"

    run = step.run({"target": target, "redirects": {name: "/x"}})

    assert (run.code, run.requests) == (2, []), run.err
    assert "redirects cannot be" in run.err
    assert "is also a file of the source" in run.err


def test_r1_a_passing_fault_of_its_look_up_is_tried_again(step, proxy) -> None:
    step.run({"redirects": {"old": "/new"}})
    proxy.on("HeadObject", Refuse(503, "SlowDown"), key="old", times=2)

    run = step.run({"redirects": {"old": "/new"}})

    assert (run.code, run.changed) == (0, []), run.err


def test_r3_the_location_is_sent_as_it_is(step) -> None:
    url = "https://example.com/a b?c=d&e=%20"

    assert step.run({"redirects": {"old": url}}).headers("old")[LOCATION] == url


# --- what is deleted --------------------------------------------------------------------------------------


def test_l1_the_listing_is_read_always_and_its_refusal_ends_the_step(step, proxy) -> None:
    assert step.run().counts["ListObjectsV2"] == 1
    proxy.on("ListObjectsV2", Refuse(403, "AccessDenied"))

    run = step.run()

    assert (run.code, run.changed) == (1, [])
    assert "ListObjectsV2: AccessDenied" in run.err
    assert "s3:ListBucket" in run.err


def test_l1_a_failing_second_page_is_a_failed_listing(step, proxy, monkeypatch) -> None:
    monkeypatch.setattr("s3batch.s3.requests.list_objects", partial(calls.list_objects, limit=2))
    stored(step, "many/1", "many/2", "many/3")
    proxy.on("ListObjectsV2", Refuse(403, "AccessDenied"), skip=1)

    run = step.run({"target": "many", "delete": True})

    assert (run.code, run.changed) == (1, [])


def test_l2_what_no_file_answers_to_is_deleted_in_one_request(step) -> None:
    stored(step, *(f"t/old/{number}" for number in range(30)), "t/a.txt", "other")

    run = step.run({"target": "t", "delete": True})

    assert (run.code, step.bucket.keys()) == (0, {"t/a.txt", "t/sub/b.txt", "other"}), run.err
    assert run.counts["DeleteObjects"] == 1
    step.is_settled({"target": "t", "delete": True})


def test_without_delete_nothing_is(step) -> None:
    stored(step, "t/old")

    assert step.run({"target": "t"}).counts["DeleteObjects"] == 0
    assert "t/old" in set(step.bucket.keys())


@pytest.mark.parametrize("target", ["site", "/site", "site/", "/site/", "site//"])
def test_l3_l4_the_prefix_has_exactly_one_slash(step, target) -> None:
    stored(step, "site2/x", "siteold", "site/gone", "site")

    run = step.run({"target": target, "delete": True})

    assert (run.code, step.bucket.keys()) == (
        0, {"site/a.txt", "site/sub/b.txt", "site2/x", "siteold", "site"},
    ), run.err  # fmt: skip


@pytest.mark.parametrize("name", ["t/old", "/t/old"])
def test_l5_a_redirect_below_the_target_is_no_orphan(step, name) -> None:
    settings = {"target": "t", "delete": True, "redirects": {name: "/x"}}
    step.run(settings)

    assert "t/old" in set(step.bucket.keys())
    step.is_settled(settings)


def test_l6_a_folders_marker_survives(step) -> None:
    stored(step, "site/")

    step.run({"target": "site", "delete": True})

    assert "site/" in set(step.bucket.keys())


def test_l6_in_the_whole_bucket_a_leading_slash_makes_no_other_file(step) -> None:
    stored(step, "/a.txt", "/gone.txt")

    run = step.run({"delete": True})

    assert (run.code, step.bucket.keys()) == (0, {"a.txt", "sub/b.txt", "/a.txt"}), run.err


def test_l7_a_redirect_that_is_no_longer_wanted_is_an_orphan(step) -> None:
    step.run({"target": "t", "redirects": {"t/old": "/x", "beside": "/x"}})

    step.run({"target": "t", "delete": True})

    assert step.bucket.keys() == {"t/a.txt", "t/sub/b.txt", "beside"}


def test_l8_deletes_come_after_everything_else(step, proxy) -> None:
    stored(step, "gone")
    proxy.on("PutObject", Delay(0.2), key="sub/b")

    run = step.run({"delete": True, "redirects": {"old": "/new"}})

    assert run.changes[-1].operation == "DeleteObjects"
    assert run.changes[-2].key == "old"


@pytest.mark.parametrize(
    ("operation", "key"),
    [
        pytest.param("PutObject", "sub/b", id="8 an upload failed"),
        pytest.param("CopyObject", "a.txt", id="8 a copy failed"),
        pytest.param("PutObject", "signpost", id="8 a redirect failed"),
    ],
)
def test_nothing_is_deleted_when(step, proxy, operation, key) -> None:
    stored(step, "gone")
    step.bucket.put("a.txt", b"hello", ContentType="x/y")
    proxy.on(operation, Refuse(403, "AccessDenied"), key=key)

    run = step.run({"delete": True, "redirects": {"signpost": "/new"}})

    assert (run.code, "gone" in set(step.bucket.keys())) == (1, True)
    assert "nothing was deleted, because not all other operations succeeded" in run.err


@pytest.mark.parametrize(
    ("limit", "code"),
    [("3", 0), ("2", 1), ("0", 1), ("60%", 0), ("59%", 1), ("100%", 0)],
    ids=lambda value: f"8 max_delete {value}",
)
def test_max_delete_stops_the_job_before_the_first_delete(step, limit, code) -> None:
    step.run()
    stored(step, "x", "y", "z")

    run = step.run({"delete": True, "max_delete": limit})

    assert (run.code, run.counts["DeleteObjects"]) == (code, 1 - code), run.err
    assert (f"3 of 5 objects would be deleted, which is more than max_delete {limit} allows" in run.err) is bool(code)


def test_what_is_not_selected_is_not_deleted(step) -> None:
    step.files({"dist/local.map": "m", "dist/sub/c.map": "m"})
    stored(step, "remote.map", "gone.txt", "kept/x", "sub/old.map")

    run = step.run({"delete": True, "exclude": ["*.map", "kept/"]})

    assert (run.code, step.bucket.keys()) == (0, {"a.txt", "sub/b.txt", "remote.map", "kept/x", "sub/old.map"}), run.err


def test_what_a_glob_does_not_match_is_not_deleted(step) -> None:
    stored(step, "gone.txt", "gone.js", "sub/gone.txt")

    run = step.run({"source": "dist/*.txt", "delete": True})

    assert (run.code, step.bucket.keys()) == (0, {"a.txt", "gone.js", "sub/gone.txt"}), run.err


@pytest.mark.parametrize("strip", ["sub", "sub/", "s*/"])
def test_strip_prefix_and_delete_agree(step, strip) -> None:
    stored(step, "t/gone.txt")
    settings = {"target": "t", "strip_prefix": strip, "delete": True}

    run = step.run(settings)

    assert (run.code, step.bucket.keys()) == (0, {"t/a.txt", "t/b.txt"}), run.err
    step.is_settled(settings)


def test_two_files_that_strip_prefix_gives_one_key_are_an_error(step) -> None:
    step.files({"dist/b.txt": "root"})

    run = step.run({"strip_prefix": "sub/"})

    assert run.code == 2
    assert "strip_prefix cannot be 'sub/'" in run.err
    assert "b.txt" in run.err


def test_a_key_that_a_job_of_before_wrote_and_a_broken_link_holds_now_stays(step) -> None:
    step.run()
    step.remove("dist/a.txt")
    (step.workspace / "dist" / "a.txt").symlink_to("nowhere")

    run = step.run({"delete": True})

    assert (run.code, "a.txt" in set(step.bucket.keys())) == (1, True)


def test_a_delete_that_is_refused_names_every_key(step, proxy) -> None:
    stored(step, "x", "y")
    for operation in ("DeleteObjects", "DeleteObject"):
        proxy.on(operation, Refuse(403, "AccessDenied"))

    run = step.run({"delete": True})

    assert run.code == 1
    for key in "xy":
        assert f"failed: delete {key}: DeleteObjects: AccessDenied" in run.err
    assert "needs s3:DeleteObject" in run.err


def test_l2_a_job_of_many_deletes_goes_in_batches(step, monkeypatch) -> None:
    of_twenty = partial(CoordinatorDeps, delete_batch=20)  # S3's limit is 1,000
    monkeypatch.setattr("s3batch.coordinator.job_runner.CoordinatorDeps", of_twenty)
    stored(step, *(f"t/{number}" for number in range(30)))

    run = step.run({"target": "t", "delete": True})

    assert (run.code, run.counts["DeleteObjects"], step.bucket.keys("t/")) == (0, 2, {"t/a.txt", "t/sub/b.txt"})
