"""``--backup`` and ``undo``: what a job has changed comes back byte for byte, with its attributes."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rig import buckets
from tests.rig.faults import Refuse

ATTRIBUTES = (
    "ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding", "Metadata", "StorageClass",
    "WebsiteRedirectLocation",
)  # fmt: skip
OLD = {
    "www/changed": (
        b"old content",
        {"ContentType": "text/x-old", "Metadata": {"who": "me"}, "CacheControl": "no-store"},
    ),
    "www/copied.html": (b"<p>", {"ContentType": "text/html", "Metadata": {"kept": "yes"}, "Tagging": "a=1&b=2"}),
    "www/orphan": (b"orphan", {"StorageClass": "STANDARD_IA", "ContentLanguage": "de"}),
    "www/large": (b"L" * (6 << 20), {"ContentDisposition": "attachment"}),
    "www/public": (b"public", {"ACL": "public-read"}),
}


def grants(store, key) -> list:
    try:
        return [grant for grant in store.grants(key) if grant[1] != "FULL_CONTROL"]
    except ClientError:  # moto has no ACL of an object that was sent in parts
        return []


def state(store) -> dict[str, Any]:
    """Everything below the target with its bytes and attributes."""
    found = {}
    for key in store.keys("www/"):
        head = store.head(key)
        tags = store.client.get_object_tagging(Bucket=store.name, Key=key)["TagSet"]
        found[key] = (
            store.get(key), {name: head.get(name) for name in ATTRIBUTES}, sorted((tag["Key"], tag["Value"]) for tag in tags),
            grants(store, key),
        )  # fmt: skip
    return found


def put_old(store) -> dict[str, Any]:
    for key, (body, more) in OLD.items():
        store.put(key, body, **more)
    return state(store)


@pytest.fixture
def store(request, server_named):
    """A bucket on ministack, or on the server that a test names."""
    made = buckets.make_bucket(server_named(getattr(request, "param", "ministack")))
    yield made
    buckets.remove_bucket(made)


@pytest.fixture
def tree(make_tree):
    return make_tree(
        {
            "changed": b"new content", "copied.html": b"<p>", "new": b"created", "large": b"N" * (6 << 20),
            "public": b"private now",
        }
    )  # fmt: skip


@pytest.fixture
def call(run_cli, clean_env, store, tree):
    env = clean_env | store.server.environment()

    def run(*arguments, **more):
        return run_cli([*arguments], env=env | more, cwd=tree)

    return run


def sync_words(store, tree, backup: str | None = None):
    words = ["sync", tree, store.url("www"), "--delete", "--cache-control", '{".html": "no-cache"}', "--json"]
    words += ["--multipart-threshold", "5MiB", "--part-size", "5MiB"]
    return [*words, "--backup", backup or f"s3://{store.name}/backups"]


BOTH = pytest.mark.parametrize("store", ["ministack", "moto"], indirect=True)


@BOTH
def test_undo_brings_everything_back_and_undo_of_the_undo_too(call, store, tree):
    before = put_old(store)
    done = call(*sync_words(store, tree))
    assert (done.code, done.json["state"]) == (0, "done"), done.stderr
    after = state(store)
    assert after != before
    job = done.json["job"]
    assert json.loads(store.get(f"backups/{job}/.s3batch-backup"))["state"] == "done"
    undone = call("undo", job, "--json")
    assert (undone.code, undone.json["state"], undone.json["command"]) == (0, "done", "undo"), undone.stderr
    assert state(store) == before
    again = call("undo", undone.json["job"], "--json")
    assert again.code == 0, again.stderr
    assert state(store) == after


@BOTH
@pytest.mark.parametrize("versioned", [False, True])
def test_tags_and_acl_come_back_where_nothing_else_has_changed(call, store, tree, versioned):
    """A HEAD shows neither the values of tags nor the ACL."""
    if versioned:
        store.client.put_bucket_versioning(Bucket=store.name, VersioningConfiguration={"Status": "Enabled"})
    where = ["sync", tree, store.url("www"), "--json"]
    first = call(*where, "--tags", '{"new": {"a": "1"}}', "--acl", '{"public": "public-read"}')
    assert first.code == 0, first.stderr
    more = [] if versioned else ["--backup", f"s3://{store.name}/backups"]
    before = state(store)
    done = call(*where, "--tags", '{"new": {"a": "2"}}', "--acl", '{"public": "private"}', *more)
    assert (done.code, done.json["operations"]["copy"]["done"]) == (0, 2), done.stderr
    undone = call("undo", done.json["job"])
    assert undone.code == 0, undone.stderr
    assert state(store) == before


def test_what_was_changed_since_is_named_and_stays(call, store, tree):
    before = put_old(store)
    done = call(*sync_words(store, tree))
    store.put("www/changed", b"of someone else")
    store.put("www/orphan", b"written again")
    store.client.delete_object(Bucket=store.name, Key="www/new")
    undone = call("undo", done.json["job"], "--json")
    assert undone.code == 1
    failures = {each["key"]: each["error"] for each in undone.json["failures"]}
    assert failures.keys() == {"www/changed", "www/orphan", "www/new"}
    assert all(error.startswith("not undone: it was") for error in failures.values())
    resumed = call("resume", "--json")
    assert (resumed.code, {each["key"]: each["error"] for each in resumed.json["failures"]}) == (1, failures)
    assert resumed.json["source"] == undone.json["source"] == done.json["source"]
    now = state(store)
    assert (now["www/changed"][0], now["www/orphan"][0]) == (b"of someone else", b"written again")
    assert {key: now[key] for key in ("www/copied.html", "www/large", "www/public")} == {
        key: before[key] for key in ("www/copied.html", "www/large", "www/public")
    }


@BOTH
def test_a_change_of_a_later_job_in_the_same_second_is_named_and_stays(call, store, tree):
    """The later job copies the objects onto themselves: with the same ETag, and here within a second."""
    put_old(store)
    first = call(*sync_words(store, tree))
    with closing(sqlite3.connect(first.json["journal"])) as journal, journal:
        journal.execute("UPDATE operation SET written = written + 3600")  # as if all were of one second
    later = call(*sync_words(store, tree), "--metadata", '{"changed": {"release": "2"}}')
    assert later.code == 0, later.stderr
    after = store.head("www/changed")["Metadata"]
    assert after["release"] == "2"

    undone = call("undo", first.json["job"], "--json")

    assert undone.code == 1, undone.stderr
    named = {each["key"]: each["error"] for each in undone.json["failures"]}
    assert "a later job changed it" in named["www/changed"]
    assert store.get("www/changed") == b"new content"
    assert store.head("www/changed")["Metadata"] == after


def test_a_versioned_bucket_needs_no_backup(call, store, tree):
    store.client.put_bucket_versioning(Bucket=store.name, VersioningConfiguration={"Status": "Enabled"})
    before = put_old(store)
    done = call(*sync_words(store, tree)[:-2])
    assert done.code == 0, done.stderr
    after = state(store)
    undone = call("undo", done.json["job"], "--json")
    assert (undone.code, undone.json["state"]) == (0, "done"), undone.stderr
    counts = undone.json["operations"]
    assert (counts["restore"]["done"], counts["delete"]["done"]) == (len(before), 1)
    assert state(store) == before
    assert call("undo", undone.json["job"]).code == 0
    assert state(store) == after


def read_versions(journal, job) -> dict[str, tuple[str | None, str | None]]:
    with closing(sqlite3.connect(journal)) as connection:
        rows = connection.execute(
            "SELECT key, version_id, previous_version_id FROM operation JOIN job ON job = number WHERE job.id = ?",
            (job,),
        )
        return {key: (version, before) for key, version, before in rows}


@BOTH
@pytest.mark.parametrize("versioned", [False, True])
def test_the_journal_keeps_the_version_ids_of_each_change(call, store, tree, tmp_path, versioned):
    if versioned:
        store.client.put_bucket_versioning(Bucket=store.name, VersioningConfiguration={"Status": "Enabled"})
    put_old(store)
    old = {key: store.head(key).get("VersionId") for key in OLD}
    words = sync_words(store, tree)[:-2]
    done = call(*words, "--redirects", '{"www/go": "/x"}', "--journal", str(tmp_path / "journal.db"))
    assert done.code == 0, done.stderr
    kept = read_versions(tmp_path / "journal.db", done.json["job"])
    written = {key: store.head(key).get("VersionId") for key in store.keys("www/")}
    copied = old["www/copied.html"]
    assert kept == {
        key: (version, copied if key == "www/copied.html" else None) for key, version in written.items()
    } | {"www/orphan": (None, None)}
    assert (None in written.values()) is not versioned


def test_a_change_since_that_etag_and_time_do_not_show_is_named(call, store, tree):
    """Another program writes the same content in the same second, with other metadata."""
    store.client.put_bucket_versioning(Bucket=store.name, VersioningConfiguration={"Status": "Enabled"})
    put_old(store)
    done = call(*sync_words(store, tree)[:-2])
    for key, body in (("www/copied.html", b"<p>"), ("www/new", b"created")):
        store.put(key, body, Metadata={"of": "another"})
    undone = call("undo", done.json["job"], "--json")
    assert undone.code == 1
    assert {each["key"]: each["error"] for each in undone.json["failures"]} == dict.fromkeys(
        ("www/copied.html", "www/new"), "not undone: it was changed since"
    )
    assert store.head("www/copied.html")["Metadata"] == store.head("www/new")["Metadata"] == {"of": "another"}
    assert store.get("www/changed") == b"old content"


def test_a_backup_in_another_bucket(call, store, tree, server_named):
    before = put_old(store)
    other = buckets.make_bucket(server_named("ministack"))
    done = call(*sync_words(store, tree, other.url("kept")))
    assert done.code == 0, done.stderr
    job = done.json["job"]
    assert {f"kept/{job}/{key}" for key in OLD} < other.keys()
    assert other.keys("kept") == other.keys()
    undone = call("undo", job)
    assert undone.code == 0, undone.stderr
    assert state(store) == before
    buckets.remove_bucket(other)


def test_bad_input(call, store, tree):
    put_old(store)
    plain = call(*sync_words(store, tree)[:-2])
    refused = call("undo", plain.json["job"])
    assert (refused.code, "keeps no versions" in refused.stderr) == (2, True)
    assert call("undo").code == 2
    assert call("undo", "nothing").code == 2
    for backup in (
        "backups",
        f"s3://{store.name}/www/b",
        f"s3://{store.name}",
        f"s3://{store.name}/www",
        "s3://",
        "s3:///x",
    ):
        wrong = call(*sync_words(store, tree, backup))
        assert (wrong.code, "backup" in wrong.stderr) == (2, True), backup
    copy = ["sync", store.url("www"), store.url("copy")]
    inside = call(*copy, "--backup", store.url("www/b"))
    assert (inside.code, "beside the source" in inside.stderr) == (2, True)
    assert call(*copy, "--backup", store.url("wwwb")).code == 0


def test_versions_that_may_not_be_looked_at_are_not_called_missing(bucket, make_tree, run_cli, env, proxy):
    tree, asked = make_tree({"a": b"1"}), env | {"S3BATCH_ENDPOINT_URL": proxy.url}
    job = run_cli(["sync", tree, bucket.url("www"), "--json"], env=asked, cwd=tree).json["job"]
    proxy.on("GetBucketVersioning", Refuse(403, "AccessDenied"))
    refused = run_cli(["undo", job], env=asked, cwd=tree)
    assert (refused.code, "keeps versions cannot be read" in refused.stderr) == (4, True), refused.stderr
    assert "s3:GetBucketVersioning" in refused.stderr


def test_prune_removes_old_backups_and_nothing_else(call, store, tree):
    put_old(store)
    first = call(*sync_words(store, tree)).json["job"]
    (tree / "changed").write_bytes(b"changed again")
    killed = call(*sync_words(store, tree), S3BATCH_TEST_CRASH_AT="settled:1")
    assert killed.code < 0
    store.put("backups/notes.txt", b"mine")
    store.put("backups/20200101-000000-abcdef/www/x", b"without a manifest")
    prune = ["backup", "prune", f"s3://{store.name}/backups"]
    assert call(*prune).code == 2
    assert call(*prune, "--older-than", "1d", "--json").json["removed"] == []
    time.sleep(2.1)
    dry = call(*prune, "--older-than", "0d", "--dry-run", "--json").json
    assert ([each["job"] for each in dry["removed"]], len(dry["kept"])) == ([first], 1)
    assert store.keys(f"backups/{first}/")
    pruned = call(*prune, "--older-than", "1s")
    assert (pruned.code, pruned.stdout.split()[0], "can be resumed" in pruned.stderr) == (0, first, True)
    left = store.keys("backups/")
    assert not [key for key in left if first in key]
    assert {"backups/notes.txt", "backups/20200101-000000-abcdef/www/x"} < left
    assert f"backups/{dry['kept'][0]}/.s3batch-backup" in left


def test_a_sync_at_the_root_of_the_bucket_keeps_the_backup(call, store, tree):
    put_old(store)
    job = call(*sync_words(store, tree)).json["job"]
    swept = call("sync", tree, store.url(), "--delete", "--json")
    assert swept.code == 0, swept.stderr
    assert store.keys(f"backups/{job}/")
