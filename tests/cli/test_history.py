"""One history a target: who excludes whom, what is superseded, and what ``resume`` chooses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from s3batch.base.errors import SettingsError
from s3batch.coordinator import history
from s3batch.journal import Journal, TargetLock, target_lock
from s3batch.journal.outcomes import Outcomes
from s3batch.model import JobState, Kind, ListedObject, Operation, Reason, Stage
from s3batch.plan.deletes import make_delete_operation
from s3batch.reporting.console import Output
from s3batch.settings.table import Settings
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Stored, error
from tests.rig.stamps import stamp_at

ENV = {
    "S3BATCH_EXECUTOR": "inline", "S3BATCH_PROGRESS": "none", "S3BATCH_ACCESS_KEY": ACCESS_KEY,
    "S3BATCH_SECRET_KEY": SECRET_KEY, "S3BATCH_RETRIES": "1",
}  # fmt: skip


@pytest.fixture
def store():
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def sync(call, store, workspace):
    """``sync(source, target, ...)`` with one file in the source."""

    def run(source: str, target: str, *flags: str, **env: str):
        (workspace / source).mkdir(exist_ok=True)
        (workspace / source / "a").write_text(source)
        endpoint = env.pop("endpoint", store.url)
        return call("sync", source, target, *flags, "--endpoint-url", endpoint, env={**ENV, **env})

    return run


def refuse_uploads(store: FakeS3) -> None:
    store.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.name == "PutObject" else None


def puts(store: FakeS3) -> list[str]:
    return [each.key for each in store.requests if each.name == "PutObject"]


def locked(store: FakeS3, directory: Path, target: str) -> TargetLock:
    lock = TargetLock([str(directory)], store.url, target)
    lock.take()
    lock.note("20261121-000000-abcdef", "/elsewhere.db", 1.0)
    return lock


@pytest.mark.parametrize("target", ["s3://b/site", "s3://b//./site/", "s3://b/site//"])
@pytest.mark.parametrize("journal", [[], ["--journal", "other.db"]])
def test_two_runs_to_one_target_exclude_each_other(sync, store, tmp_path, target, journal):
    lock = locked(store, tmp_path / "state" / "s3batch", "b/site/")

    ran = sync("release", target, *journal)
    lock.release()

    assert (ran.code, store.requests) == (3, []), ran.err
    assert "the target s3://b/site is in use by pid" in ran.err
    assert sync("release", target, *journal).code == 0


def test_a_plugin_holds_the_lock_in_the_workspace_too(call, store, workspace, tmp_path):
    (workspace / "dist").mkdir()
    env = {
        "PLUGIN_ACCESS_KEY": ACCESS_KEY, "PLUGIN_SECRET_KEY": SECRET_KEY, "PLUGIN_BUCKET": "b", "PLUGIN_TARGET": "site",
        "PLUGIN_SOURCE": "dist", "PLUGIN_ENDPOINT": store.url, "S3BATCH_EXECUTOR": "inline",
    }  # fmt: skip
    for directory in (workspace / ".s3batch", tmp_path / "state" / "s3batch"):
        lock = locked(store, directory, "b/site/")
        assert call("plugin", env=env).code == 3
        lock.release()
    assert call("plugin", env=env).code == 0


@pytest.mark.parametrize(("theirs", "warned"), [("b/site/docs/", True), ("b/", True), ("b/other/", False)])
def test_an_overlapping_target_at_work_is_warned_of(sync, store, tmp_path, theirs, warned):
    lock = locked(store, tmp_path / "state" / "s3batch", theirs)

    ran = sync("release", "s3://b/site")
    lock.release()

    assert ran.code == 0
    assert ("job 20261121-000000-abcdef is at work below" in ran.err) is warned


def test_a_start_reads_no_lock_of_another_target_that_is_free(store, tmp_path, monkeypatch):
    """A home keeps the lock of each target it ever had: reading 10,000 of them took 0.4 s of CPU."""
    held = locked(store, tmp_path, "b/site/docs/")
    for name in ("b/site/old/", "b/site/older/"):
        locked(store, tmp_path, name).release()
    read = []
    monkeypatch.setattr(target_lock, "_read_last_job", lambda path, _: read.append(path))

    TargetLock([str(tmp_path)], store.url, "b/site/").overlapping()
    held.release()

    assert len(read) == 1


def test_sources_and_spellings_of_one_target_share_one_journal(sync, call, tmp_path):
    sync("one", "s3://b/site")
    sync("two", "s3://b/site/")

    (found,) = (tmp_path / "state" / "s3batch").glob("sync-*.db")
    with Journal.read_only(str(found)) as journal:
        assert [job.state for job in journal.jobs.list_all()] == [JobState.DONE, JobState.DONE]


def test_an_old_release_is_never_brought_back_over_a_newer_one(sync, call, store):
    refuse_uploads(store)
    old = sync("release41", "s3://b/site")
    store.meddle = lambda _: None
    assert (old.code, sync("release42", "s3://b/site").code) == (1, 0)
    store.forget()

    resumed = call("resume", env=ENV)

    assert (resumed.code, store.requests) == (0, []), resumed.err
    assert "nothing to resume" in resumed.err


def test_nor_by_its_id_nor_where_the_newer_one_has_another_journal(sync, call, store):
    refuse_uploads(store)
    old = sync("release41", "s3://b/site", "--json").json["job"]
    store.meddle = lambda _: None
    newer = sync("release42", "s3://b/site", "--json", "--journal", "other.db").json["job"]
    store.forget()

    named = call("resume", old, env=ENV)
    bare = call("resume", env=ENV)

    assert (named.code, bare.code, store.requests) == (2, 0, []), named.err + bare.err
    assert f"superseded by job {newer}" in named.err
    assert "no unfinished job" in bare.err, "it is not offered"


@pytest.fixture
def fetch(call, store, workspace):
    """``fetch(target, fails=...)`` of two objects, one of which the store refuses."""
    for key in ("p/a", "p/b"):
        store.objects.setdefault("b", {})[key] = Stored(b"new", '"22af645d1859cb5ca6da0c484f1f37ea"', {})

    def run(target: str, *, fails: bool):
        def refuse(seen):
            return Reply(403, body=error("AccessDenied")) if (seen.name, seen.key) == ("GetObject", "p/b") else None

        store.meddle = refuse if fails else lambda _: None
        ran = call("sync", "s3://b/p", target, "--endpoint-url", store.url, env=ENV)
        store.meddle = lambda _: None
        assert ran.code == int(fails), ran.err
        return ran

    return run


def test_a_download_is_resumed_where_its_directory_has_moved_and_a_link_leads_to_it(fetch, call, workspace):
    fetch("site", fails=True)
    (workspace / "site").rename(workspace / "moved")
    (workspace / "site").symlink_to("moved")

    resumed = call("resume", env=ENV)

    assert resumed.code == 0, resumed.err
    assert (workspace / "moved/b").read_bytes() == b"new"
    assert "no unfinished job" in call("resume", env=ENV).err


def test_a_download_is_resumed_in_the_directory_that_its_link_led_to(fetch, call, workspace):
    for name in ("one", "two"):
        (workspace / name).mkdir()
    (workspace / "site").symlink_to("one")
    fetch("site", fails=True)
    (workspace / "site").unlink()
    (workspace / "site").symlink_to("two")

    resumed = call("resume", env=ENV)

    assert resumed.code == 0, resumed.err
    assert [(workspace / name / "b").exists() for name in ("one", "two")] == [True, False]


def test_a_download_is_superseded_by_one_through_a_link_to_its_directory(fetch, call, workspace):
    fetch("site", fails=True)
    (workspace / "site").rename(workspace / "moved")
    (workspace / "site").symlink_to("moved")
    fetch("site", fails=False)

    resumed = call("resume", env=ENV)

    assert (resumed.code, "no unfinished job" in resumed.err) == (0, True), resumed.err


def test_resume_says_which_job_it_is(sync, call, store, workspace):
    refuse_uploads(store)
    job = sync("release", "s3://b/site", "--json").json["job"]
    store.meddle = lambda _: None

    resumed = call("resume", env=ENV)

    assert resumed.code == 0
    assert f"resuming job {job}: sync of {workspace}/release to s3://b/site at {store.url}, begun 20" in resumed.err
    assert resumed.err.splitlines()[0].endswith("Z, 1 operation failed")
    assert puts(store)[-1] == "site/a"


def test_with_several_targets_resume_lets_one_choose(sync, call, store):
    refuse_uploads(store)
    jobs = [sync(name, f"s3://b/{name}", "--json").json["job"] for name in ("one", "two")]
    store.meddle = lambda _: None
    store.forget()

    refused = call("resume", env=ENV)

    assert (refused.code, store.requests) == (2, []), refused.err
    for job in jobs:
        assert f"s3batch resume {job}   # sync of " in refused.err
    assert call("resume", jobs[0], env=ENV).code == 0
    assert puts(store) == ["one/a"]
    assert call("resume", env=ENV).code == 0
    assert puts(store) == ["one/a", "two/a"]


def test_resume_all_finishes_each_the_oldest_first_and_ends_with_the_worst_code(sync, call, store):
    refuse_uploads(store)
    for name in ("one", "two", "three"):
        sync(name, f"s3://b/{name}")
    store.forget()
    store.meddle = lambda request: (
        Reply(403, body=error("AccessDenied")) if (request.name, request.key) == ("PutObject", "two/a") else None
    )

    ran = call("resume", "--all", "--json", env=ENV)

    assert ran.code == ran.json["exit_code"] == 1
    assert [each["state"] for each in ran.json["jobs"]] == ["done", "failed", "done"]
    assert puts(store) == ["one/a", "two/a", "three/a"]


def test_a_job_that_failed_before_anything_was_planned_leaves_nothing_to_resume(sync, call, store):
    store.meddle = lambda request: Reply(404, body=error("NoSuchBucket"))
    failed = sync("release", "s3://mistyped/site")
    store.meddle = lambda _: None

    resumed = call("resume", env=ENV)

    assert failed.code == 4
    assert "s3batch resume" not in failed.err
    assert (resumed.code, puts(store)) == (0, []), resumed.err
    assert "nothing to resume" in resumed.err


def test_a_resumed_job_sums_the_chain(sync, call, store, workspace):
    refuse_uploads(store)
    (workspace / "release").mkdir()
    (workspace / "release" / "b").write_text("b")
    store.meddle = lambda request: (
        Reply(403, body=error("AccessDenied")) if (request.name, request.key) == ("PutObject", "site/a") else None
    )
    first = sync("release", "s3://b/site", "--json").json
    store.meddle = lambda _: None

    resumed = call("resume", "--json", env=ENV)
    assert resumed.code == 0, resumed.err
    second = resumed.json

    assert (first["sent_now"], second["sent_now"], second["sent_before"]) == (1, 1, 1)
    assert second["operations"]["upload"]["done"] == 2
    assert (second["files"], second["unchanged"], second["resumed"]) == (2, 0, True)
    assert second["seconds_total"] >= second["seconds"]
    shown = call("jobs", "show", "--json", env=ENV).json
    assert (shown["continues"], shown["sent_before"]) == (first["job"], 1)


def test_a_warning_of_the_earlier_run_does_not_count(sync, call, store, workspace):
    refuse_uploads(store)
    (workspace / "release").mkdir()
    (workspace / "release" / "pipe").symlink_to("loop")
    (workspace / "release" / "loop").symlink_to("pipe")
    first = sync("release", "s3://b/site", "--fail-on", "warnings", "--symlinks", "skip")
    store.meddle = lambda _: None
    for name in ("pipe", "loop"):
        (workspace / "release" / name).unlink()

    assert first.code == 1
    resumed = call("resume", env=ENV)
    assert resumed.code == 0, resumed.err


def test_forget_aborts_what_the_job_left_and_forgets_it(sync, call, store):
    refuse_uploads(store)
    job = sync("release", "s3://b/site", "--json").json["job"]
    store.forget()

    forgotten = call("jobs", "forget", job, env=ENV)

    assert (forgotten.code, store.requests) == (0, []), forgotten.err
    assert f"job {job} is forgotten" in forgotten.err
    assert "nothing to resume" in call("resume", env=ENV).err
    assert call("jobs", "forget", job, env=ENV).code == 2
    assert call("jobs", "forget", env=ENV).code == 2


def test_prune_forgets_only_what_is_old_enough(sync, call):
    sync("release", "s3://b/site")

    kept = call("jobs", "prune", "--older-than", "30d", env=ENV)
    gone = call("jobs", "prune", env=ENV)

    assert "0 jobs forgotten" in kept.err
    assert "1 job forgotten" in gone.err


def test_the_journal_of_an_older_version_is_brought_along(sync, call, store, workspace, tmp_path, monkeypatch):
    settings = Settings(
        source="release", bucket="b", target="site", endpoint_url=store.url, workspace=str(workspace),
        state_directory=str(tmp_path / "state" / "s3batch"),
    )  # fmt: skip
    with Journal.open(settings.old_journal_path()) as journal:
        old = journal.jobs.begin("sync", str(workspace / "release"), "b/site/", store.url, settings.public(), "0")
        journal.jobs.set_state(JobState.INTERRUPTED, 130)

    assert sync("release", "s3://b/site/").code == 0

    (found,) = (tmp_path / "state" / "s3batch").glob("sync-*.db")
    with Journal.read_only(str(found)) as journal:
        assert {job.id: job.state for job in journal.jobs.list_all()}[old] is JobState.SUPERSEDED


def test_an_unfinished_job_of_an_older_version_can_be_resumed(sync, call, store, workspace, tmp_path):
    (workspace / "release").mkdir()
    (workspace / "release" / "a").write_text("a")
    settings = Settings(
        source="release", bucket="b", target="site", endpoint_url=store.url, workspace=str(workspace),
        state_directory=str(tmp_path / "state" / "s3batch"),
    )  # fmt: skip
    with Journal.open(settings.old_journal_path()) as journal:
        journal.jobs.begin("sync", str(workspace / "release"), "b/site/", store.url, settings.public(), "0")
        journal.jobs.set_state(JobState.INTERRUPTED, 130)

    assert call("resume", env=ENV).code == 0
    assert puts(store) == ["site/a"]


def plant_leased(store: FakeS3, workspace: Path, tmp_path: Path, **settings) -> str:
    """Leave a killed job that had one upload in hand; return its id."""
    (workspace / "release").mkdir(exist_ok=True)
    (workspace / "release" / "a").write_text("new")
    begun = Settings(
        source="release", bucket="b", target="site", endpoint_url=store.url, workspace=str(workspace),
        state_directory=str(tmp_path / "state" / "s3batch"), **settings,
    )  # fmt: skip
    stamp = stamp_at(workspace / "release" / "a")
    with Journal.open(begun.journal_path("b/site/")) as journal:
        job = journal.jobs.begin(
            "sync", str(workspace / "release"), "b/site/", store.url, begun.public(), "1", plan=begun.plan_digest()
        )
        journal.operations.add([Operation(Kind.UPLOAD, "site/a", Reason.MISSING, "a", 3, stamp)], lease=True)
    return job


def test_a_write_of_a_key_in_doubt_is_conditional(sync, call, store, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("S3BATCH_TEST_LONGEST_WAIT", "0")
    sync("late", "s3://b/late")
    late = store.objects["b"]["late/a"]
    plant_leased(store, workspace, tmp_path)
    store.forget()

    def land(request) -> None:
        if (request.name, request.key) == ("PutObject", "site/a"):
            store.objects["b"].setdefault("site/a", late)

    store.meddle = land
    resumed = call("resume", env={**ENV, "S3BATCH_RETRIES": "3"})

    assert resumed.code == 0, resumed.err
    tried = [each for each in store.requests if (each.name, each.key) == ("PutObject", "site/a")]
    assert [each.headers.get("if-none-match", "") for each in tried] == ["*", ""]
    assert [bool(each.headers.get("if-match")) for each in tried] == [False, True]
    assert store.objects["b"]["site/a"].body == b"new"


def plant_leased_delete(store: FakeS3, workspace: Path, tmp_path: Path, stored: Stored, *keys: str) -> None:
    """Leave a killed job that was about to delete one object, or several like it."""
    begun = Settings(
        source="release", bucket="b", target="site", endpoint_url=store.url, workspace=str(workspace), delete=True,
        state_directory=str(tmp_path / "state" / "s3batch"),
    )  # fmt: skip
    facts = len(stored.body), stored.etag.strip('"'), stored.modified
    with Journal.open(begun.journal_path("b/site/")) as journal:
        journal.jobs.begin(
            "sync", str(workspace / "release"), "b/site/", store.url, begun.public(), "1", plan=begun.plan_digest()
        )
        journal.jobs.set_stage(Stage.DELETE)
        journal.operations.add(
            [make_delete_operation(ListedObject(key, *facts)) for key in keys or ["site/old"]], lease=True
        )


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        (None, True),
        (Reply(501, body=error("NotImplemented")), False),
        (Reply(412, body=error("PreconditionFailed")), False),
    ],
    ids=["a store that takes it", "one that does not know it", "one that refuses a condition that holds"],
)
def test_a_delete_of_a_key_in_doubt_is_conditional(sync, call, store, workspace, tmp_path, monkeypatch, answer, held):
    monkeypatch.setenv("S3BATCH_TEST_LONGEST_WAIT", "0")
    sync("release", "s3://b/site")
    stored = store.objects["b"]["site/old"] = Stored(b"old", '"etag"', modified=1_700_000_000.0)
    plant_leased_delete(store, workspace, tmp_path, stored)
    store.requests.clear()
    store.meddle = lambda request: answer if request.headers.get("if-match") else None

    resumed = call("resume", env=ENV)

    assert resumed.code == 0, resumed.err
    deletes = [each for each in store.requests if (each.name, each.key) == ("DeleteObject", "site/old")]
    assert [bool(each.headers.get("if-match")) for each in (deletes[0], deletes[-1])] == [True, held]
    assert "site/old" not in store.objects["b"]


def test_a_delete_of_a_key_in_doubt_leaves_what_another_has_written_that_moment(
    sync, call, store, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("S3BATCH_TEST_LONGEST_WAIT", "0")
    sync("release", "s3://b/site")
    stored = store.objects["b"]["site/old"] = Stored(b"old", '"etag"', modified=1_700_000_000.0)
    plant_leased_delete(store, workspace, tmp_path, stored)

    def land(request) -> None:
        if request.name == "DeleteObject":
            store.objects["b"]["site/old"] = Stored(b"of another", '"other"')

    store.meddle = land

    resumed = call("resume", env=ENV)

    assert "skipped: changed meanwhile: site/old" in resumed.err
    assert [each.name for each in store.requests if each.name.startswith("Delete")] == ["DeleteObject", "DeleteObjects"]
    assert resumed.code == 0, "what it is now has been listed since, and is an orphan as well"


def test_keys_in_doubt_share_the_pages_of_a_listing(sync, call, store, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("S3BATCH_TEST_LONGEST_WAIT", "0")
    sync("release", "s3://b/site")
    plant_leased_delete(store, workspace, tmp_path, Stored(b"", '"e"'), *(f"site/old{number}" for number in range(100)))
    store.requests.clear()

    resumed = call("resume", env=ENV)

    assert resumed.code == 0, resumed.err
    deletes = [each for each in store.requests if each.name == "DeleteObject"]
    assert len(deletes) == 100
    after_deletes = [each.name for each in store.requests[store.requests.index(deletes[-1]) :]]
    assert after_deletes.count("ListObjectsV2") == 3, "the job's own, one page for all keys in doubt, one for probes"


def test_deletes_that_had_failed_go_together_again(sync, call, store, workspace):
    sync("release", "s3://b/site")
    for number in range(20):
        store.objects["b"][f"site/old{number}"] = Stored(b"old", '"etag"')
    store.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.name == "DeleteObjects" else None
    failed = sync("release", "s3://b/site", "--delete")
    store.meddle = lambda _: None
    store.requests.clear()

    resumed = call("resume", env=ENV)

    assert (failed.code, resumed.code) == (1, 0), resumed.err
    assert [each.name for each in store.requests if each.name.startswith("Delete")] == ["DeleteObjects"]


def test_a_key_in_doubt_stays_marked_until_the_killed_run_can_send_nothing_more(
    sync, call, store, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("S3BATCH_TEST_LONGEST_WAIT", "0")
    plant_leased(store, workspace, tmp_path)
    (found,) = (tmp_path / "state" / "s3batch").glob("sync-*.db")

    def marked() -> list[str]:
        with Journal.read_only(str(found)) as journal:
            return [doubt.key for doubt in journal.doubts.list_all()]

    assert call("resume", env=ENV).code == 0
    assert marked() == ["site/a"]
    with sqlite3.connect(found) as connection:
        connection.execute("UPDATE doubt SET until = 1")
    store.objects["b"].pop("site/a")  # as a delete that landed late would leave it

    assert sync("release", "s3://b/site").code == 0
    assert marked() == []
    assert "site/a" in store.objects["b"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.1", "[::1]", "2130706433", "[::ffff:127.0.0.1]"])
def test_two_runs_to_one_target_exclude_each_other_under_two_names_of_the_machine(sync, store, tmp_path, host):
    lock = locked(store, tmp_path / "state" / "s3batch", "b/site/")

    ran = sync("release", "s3://b/site", endpoint=f"http://{host}:{store.port}")
    lock.release()

    assert (ran.code, store.requests) == (3, []), ran.err
    assert "the target s3://b/site is in use by pid" in ran.err


def test_a_job_is_superseded_by_one_to_another_name_of_its_endpoint(tmp_path):
    one, other = (TargetLock([str(tmp_path)], f"http://{host}:9000/", "b/site/") for host in ("localhost", "127.0.0.1"))
    one.take()
    one.note("first", "/j", 1000.0)
    one.release()

    assert other.last().id == "first"
    assert TargetLock([str(tmp_path)], "http://localhost:9001", "b/site/").last() is None


def test_a_clock_that_was_set_back_brings_no_superseded_job_back(tmp_path):
    lock = TargetLock([str(tmp_path)], "http://s3", "b/site/")
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        job = journal.jobs.begin("sync", "/release/41", "b/site/", "http://s3", {}, "1", plan="p")
        lock.take()
        lock.note(job, journal.path, journal.jobs.current.started)
        lock.note("20261121-000000-abcdef", "/elsewhere.db", journal.jobs.current.started - 600)

        assert lock.last().id == "20261121-000000-abcdef"
        with pytest.raises(SettingsError, match=f"job {job} is superseded by job 20261121-000000-abcdef"):
            history.refuse_overtaken(job, journal, lock)
    lock.release()


def test_the_lock_of_two_directories_tells_the_last_job_whatever_the_clock_showed(tmp_path):
    lock, half = (
        TargetLock(each, "http://s3", "b/site/")
        for each in ([str(tmp_path / "a"), str(tmp_path / "b")], [str(tmp_path / "b")])
    )
    lock.take()
    lock.note("first", "/j", 1000.0)
    lock.release()
    half.take()
    half.note("second", "/j", 500.0)
    half.release()

    assert lock.last().id == "second"


def test_why_a_job_stops_is_said_before_its_sums_are_reckoned(sync, store, monkeypatch):
    happened = []
    counts, say = Outcomes.count_by_kind, Output.error
    monkeypatch.setattr(Outcomes, "count_by_kind", lambda read: happened.append("sums") or counts(read))
    monkeypatch.setattr(Output, "error", lambda output, *lines: happened.append(lines[0]) or say(output, *lines))
    store.meddle = lambda request: Reply(403, body=error("InvalidAccessKeyId"))

    stopped = sync("release", "s3://b/site")

    assert stopped.code == 4
    assert "InvalidAccessKeyId" in happened[0]
    assert happened.index("sums") == 1


@pytest.mark.parametrize(("target", "endpoint"), [("/a\0b", ""), ("b/p/", "http://\udcff/"), ("b/\0", "http://[::1")])
def test_texts_of_a_planted_journal_that_are_neither_paths_nor_endpoints_do_no_harm(tmp_path, target, endpoint):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/s", "b/p/", "http://s3", {}, "1", plan="p")
        planted = journal.jobs.current._replace(target=target, endpoint=endpoint)

    assert not history.is_overtaken(planted, Settings(state_directory=str(tmp_path)))
