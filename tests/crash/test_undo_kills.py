"""A kill between any two requests of a sync with a backup, and of an undo: what was there comes back, byte for byte.

Each run goes through a proxy that kills it at one request, before the server sees it or after it has answered.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.rig import program
from tests.rig.faults import Call
from tests.servers.test_undo import state

EVERY = int(os.environ.get("S3BATCH_TEST_EVERY_REQUEST", "0"))
"""With 1 the kill comes at every request; else at a few that matter."""
OLD = {
    "www/changed": (
        b"old content",
        {"ContentType": "text/x-old", "Metadata": {"who": "me"}, "CacheControl": "no-store"},
    ),
    "www/copied.html": (b"<p>", {"ContentType": "text/html", "Metadata": {"kept": "yes"}, "Tagging": "a=1&b=2"}),
    "www/orphan": (b"orphan", {"ContentLanguage": "de"}),
}
FILES = {"changed": b"new content", "copied.html": b"<p>", "new": b"created"}


@pytest.fixture
def scene(request, bucket, make_tree, env, proxy, start_cli, run_cli):
    """Puts the old objects; returns functions that run a command, killed at a request or not. It may be "versioned"."""
    tree = make_tree(FILES)
    is_versioned = getattr(request, "param", "") == "versioned"
    if is_versioned:
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for key, (body, more) in OLD.items():
        bucket.put(key, body, **more)
    through = env | {"S3BATCH_ENDPOINT_URL": proxy.url}

    def run(*words):
        return run_cli([*words, "--json"], env=through, cwd=tree)

    def killed(operation: str, skip: int, after: bool, *words) -> bool:
        proxy.forget()
        process = start_cli([*words, "--workers", "1"], env=through, cwd=tree)
        proxy.on(operation, Call(lambda _: program.kill(process), after=after), skip=skip, times=1)
        process.wait(60)
        hit = process.returncode == -9
        proxy.forget()
        return hit

    words = ["sync", tree, bucket.url("www"), "--delete", "--cache-control", '{".html": "no-cache"}']
    return bucket, run, killed, words if is_versioned else [*words, "--backup", bucket.url("backups")]


def newest_job(run, command: str) -> str:
    return next(each["job"] for each in run("jobs", "list").json["jobs"] if each["command"] == command)


POINTS = [
    ("CopyObject", 0, True, False),
    ("CopyObject", 1, True, False),
    ("PutObject", 2, True, False),
    ("PutObject", 2, True, True),  # the copy is made, and the resumed job overwrites the object
    ("DeleteObject", 0, True, False),
    ("PutObject", 1, False, False),
]
EACH = [("", skip, after) for skip in range(40) for after in (False, True)]


@pytest.mark.parametrize(
    ("operation", "skip", "after", "resumes"),
    [(*point, resumes) for point in EACH for resumes in (False, True)] if EVERY else POINTS,
)
def test_a_killed_sync_can_be_undone(scene, operation, skip, after, resumes):
    bucket, run, killed, words = scene
    before = state(bucket)
    if not killed(operation, skip, after, *words) and EVERY:
        pytest.skip("it has fewer requests")
    if resumes:
        resumed = run("resume")
        assert resumed.code == 0, resumed.stderr
    left = state(bucket)
    if not EVERY or run("jobs", "list").json["jobs"]:
        undone = run("undo", newest_job(run, "sync"))
        assert undone.code == 0, undone.stderr
        assert state(bucket) == before
        again = run("undo", undone.json["job"])
        assert again.code == 0, again.stderr
    assert state(bucket) == left or not after  # a request of the killed run may land after the look


UNDO_POINTS = [("CopyObject", 1, True), ("CopyObject", 2, False), ("DeleteObject", 0, True)]
if EVERY:
    UNDO_POINTS = EACH


@pytest.mark.parametrize(("operation", "skip", "after"), UNDO_POINTS)
def test_a_killed_undo_is_resumed_and_can_be_undone(scene, operation, skip, after):
    bucket, run, killed, words = scene
    before = state(bucket)
    assert run(*words).code == 0
    changed = state(bucket)
    job = newest_job(run, "sync")
    if not killed(operation, skip, after, "undo", job) and EVERY:
        pytest.skip("it has fewer requests")
    undo = newest_job(run, "undo")
    resumed = run("resume", undo)
    assert (resumed.code, resumed.json["command"]) == (0, "undo"), resumed.stderr
    assert state(bucket) == before
    again = run("undo", resumed.json["job"])
    assert again.code == 0, again.stderr
    assert state(bucket) == changed


def test_an_undo_that_is_killed_twice_while_it_lists_is_planned_by_the_third_run(scene):
    bucket, run, killed, words = scene
    before = state(bucket)
    assert run(*words).code == 0
    assert killed("ListObjectsV2", 1, False, "undo", newest_job(run, "sync"))
    assert killed("ListObjectsV2", 1, False, "resume", newest_job(run, "undo"))
    resumed = run("resume", newest_job(run, "undo"))
    assert (resumed.code, resumed.json["command"]) == (0, "undo"), resumed.stderr
    assert state(bucket) == before


def test_a_copy_of_a_renamed_file_that_a_kill_has_hidden_goes_with_the_undo(scene):
    """The copy was made, and no answer came: the resumed job finds it, and the undo removes it all the same."""
    bucket, run, killed, words = scene
    tree = words[1]
    assert run(*words[:-2]).code == 0
    before = state(bucket)
    (tree / "new").rename(tree / "renamed")
    assert killed("CopyObject", 0, True, *words)
    resumed = run("resume")
    assert (resumed.code, resumed.json["operations"]["copy"]["done"]) == (0, 1), resumed.stderr
    assert bucket.keys("www/") == before.keys() - {"www/new"} | {"www/renamed"}
    undone = run("undo", resumed.json["job"])
    assert undone.code == 0, undone.stderr
    assert state(bucket) == before


HIDDEN = [("CopyObject", 0, True), ("PutObject", 2, True), ("DeleteObjects", 0, True)]
"""The metadata copy, the redirect, and the deletes; with each request the uploads too, and without a resume."""
if EVERY:
    HIDDEN = [
        (operation, skip, resumes)
        for operation, skip, _ in [*HIDDEN, ("PutObject", 0, 0), ("PutObject", 1, 0)]
        for resumes in (False, True)
    ]


@pytest.mark.parametrize("scene", ["versioned"], indirect=True)
@pytest.mark.parametrize(("operation", "skip", "resumes"), HIDDEN)
def test_a_change_whose_answer_a_kill_has_hidden_is_undone_by_versions(scene, operation, skip, resumes):
    bucket, run, killed, words = scene
    words = [*words, "--redirects", '{"www/go": "/x"}']
    bucket.put("www/go", b"", WebsiteRedirectLocation="/old")
    before = state(bucket)
    time.sleep(1.1)  # LastModified has whole seconds
    assert killed(operation, skip, True, *words)
    if resumes:
        resumed = run("resume")
        assert resumed.code == 0, resumed.stderr
    undone = run("undo", newest_job(run, "sync"))
    assert undone.code == 0, undone.stderr
    assert state(bucket) == before
    again = run("undo", undone.json["job"])
    assert again.code == 0, again.stderr
    assert not resumes or state(bucket).keys() == {"www/changed", "www/copied.html", "www/new", "www/go"}


@pytest.mark.parametrize("scene", ["versioned"], indirect=True)
@pytest.mark.parametrize(("operation", "skip", "after"), UNDO_POINTS if EVERY else UNDO_POINTS[:1])
def test_a_killed_undo_by_versions_is_resumed_and_can_be_undone(scene, operation, skip, after):
    bucket, run, killed, words = scene
    before = state(bucket)
    assert run(*words).code == 0
    changed = state(bucket)
    if not killed(operation, skip, after, "undo", newest_job(run, "sync")) and EVERY:
        pytest.skip("it has fewer requests")
    resumed = run("resume", newest_job(run, "undo"))
    assert (resumed.code, resumed.json["command"]) == (0, "undo"), resumed.stderr
    assert state(bucket) == before
    again = run("undo", resumed.json["job"])
    assert again.code == 0, again.stderr
    assert state(bucket) == changed
