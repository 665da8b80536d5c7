"""Decision 7: a cache breaks no build unless asked, and leaves no half. Ids begin with the decision."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess

import pytest

from s3batch.journal import Journal
from tests.archive.cycle import noise
from tests.plugins.caching import Pipeline, names, s3cache
from tests.rig import program
from tests.rig.faults import Call, DuringReply, Refuse, Reset

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}
MINE = {"vendor/a": "not what the cache says", "vendor/mine": "my own"}
DOCUMENT = {
    "job", "command", "state", "exit_code", "seconds", "seconds_total", "sent_now", "sent_before", "resumed", "journal", "files", "bytes", "unchanged",
    "operations", "requests", "retries", "failures", "warnings", "cache",
    "schema", "version", "source", "target", "endpoint", "started", "ended", "dry_run",
}  # fmt: skip


@pytest.fixture
def pipeline(step) -> Pipeline:
    step.settings = {"retries": 1}
    return Pipeline(step)


def gone(pipeline: Pipeline) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipeline.settings["endpoint"] = f"http://127.0.0.1:{server.getsockname()[1]}"


def signed_out(pipeline: Pipeline) -> None:
    pipeline.step.proxy.on("", Refuse(403, "InvalidAccessKeyId"))


def forbidden(pipeline: Pipeline) -> None:
    pipeline.step.proxy.on("", Refuse(403, "AccessDenied"))


def no_bucket(pipeline: Pipeline) -> None:
    pipeline.settings["bucket"] = "no-such-bucket-here"


def broken(pipeline: Pipeline) -> None:
    pipeline.step.proxy.on("", Reset())


def ailing(pipeline: Pipeline) -> None:
    pipeline.step.proxy.on("", Refuse(500, "InternalError"))


def damaged_chunk(pipeline: Pipeline) -> None:
    (key,) = pipeline.objects("v1/c/")
    pipeline.put(key, b"rubbish")


def missing_chunk(pipeline: Pipeline) -> None:
    (key,) = pipeline.objects("v1/c/")
    pipeline.step.bucket.client.delete_object(Bucket=pipeline.step.bucket.name, Key=key)


def damaged_manifest(pipeline: Pipeline) -> None:
    (key,) = pipeline.objects("v1/k/")
    pipeline.put(key, b"rubbish")


def flipped_bit(pipeline: Pipeline) -> None:
    pipeline.step.proxy.on("GetObject", DuringReply(flip=9), key="/c/")


def no_room_for_a_file(pipeline: Pipeline) -> None:
    """Somebody removes its directory while we fetch."""
    place = pipeline.workspace / "vendor" / "b"
    pipeline.step.proxy.on("GetObject", Call(lambda _: place.rmdir()), key="/c/")


RESTORES = [
    pytest.param(gone, 4, "cannot reach", id="7 unreachable"),
    pytest.param(signed_out, 4, "refuses the credentials", id="7 signed out"),
    pytest.param(no_bucket, 4, "does not exist", id="7 no such bucket"),
    pytest.param(forbidden, 1, "needs s3:GetObject and s3:ListBucket", id="7 no permission"),
    pytest.param(broken, 4, "no answer from", id="7 connections break"),
    pytest.param(ailing, 1, "InternalError", id="7 internal error"),
    pytest.param(damaged_chunk, 1, "a chunk cannot be fetched", id="7 a damaged chunk"),
    pytest.param(damaged_manifest, 1, "cannot be used: not a readable zstd frame", id="7 a damaged manifest"),
    pytest.param(missing_chunk, 1, "NoSuchKey", id="7 a missing chunk"),
    pytest.param(flipped_bit, 1, "a chunk cannot be fetched", id="7 a bit flipped on the way"),
    pytest.param(no_room_for_a_file, 1, "cannot write", id="7 a file that cannot be written"),
]


@pytest.mark.parametrize(("trouble", "strict", "said"), RESTORES)
def test_a_restore_that_fails_leaves_the_tree_as_it_was_and_the_build_goes_on(pipeline, trouble, strict, said):
    pipeline.cached()
    pipeline.write(MINE)
    before = pipeline.tree()
    trouble(pipeline)

    lenient = pipeline.restore(json=True)
    after = pipeline.tree()
    failing = pipeline.restore(fail_on_error=True)

    document = json.loads(lenient.out)
    assert (lenient.code, failing.code) == (0, strict)
    assert after == before == pipeline.tree()
    assert [line for line in lenient.err.splitlines() if "warning" in line] == [
        line for line in lenient.err.splitlines() if said in line
    ]
    assert lenient.err.count("the cache was not restored: ") == 1
    assert (document["state"], document["exit_code"]) == ("failed", 0)
    assert document["warnings"] == [lenient.err.partition("warning: ")[2].splitlines()[0]]
    assert document["cache"]["name"] == "octo/site/main"
    assert "error: the cache was not restored: " in failing.err


REBUILDS = [
    pytest.param(gone, 4, id="7 unreachable"),
    pytest.param(signed_out, 4, id="7 signed out"),
    pytest.param(no_bucket, 4, id="7 no such bucket"),
    pytest.param(broken, 4, id="7 connections break"),
    pytest.param(ailing, 1, id="7 internal error"),
    pytest.param(forbidden, 1, id="7 no permission"),
]


@pytest.mark.parametrize(("trouble", "strict"), REBUILDS)
def test_a_rebuild_that_fails_leaves_the_cache_as_it_was_and_the_build_goes_on(pipeline, trouble, strict):
    pipeline.cached()
    pipeline.write({"vendor/new": "n"})
    before = {key: pipeline.step.bucket.get(key) for key in pipeline.objects("v1/k/")}
    trouble(pipeline)

    lenient, failing = pipeline.rebuild(), pipeline.rebuild(fail_on_error=True)

    assert (lenient.code, failing.code) == (0, strict)
    assert lenient.err.count("warning: the cache was not stored: ") == 1
    assert "; the build goes on without it" in lenient.err
    assert "error: the cache was not stored: " in failing.err
    pipeline.step.proxy.forget()
    assert {key: pipeline.step.bucket.get(key) for key in pipeline.objects("v1/k/")} == before


@pytest.mark.parametrize("settings", [{}, {"override": False}], ids=["7 override", "7 override false"])
def test_a_store_that_lets_nobody_list_says_forbidden_for_missing_and_a_rebuild_copes(pipeline, settings):
    pipeline.write(FILES)
    pipeline.step.proxy.on("GetObject", Refuse(403, "AccessDenied"))
    pipeline.step.proxy.on("HeadObject", Refuse(403, "AccessDenied"))
    pipeline.step.proxy.on("ListObjectsV2", Refuse(403, "AccessDenied"))

    done = pipeline.rebuild(fail_on_error=True, **settings)

    assert (done.code, pipeline.manifests()) == (0, ["octo/site/main/default"])


def test_7_a_damaged_manifest_is_a_miss_with_a_warning_and_the_next_one_is_tried(pipeline):
    pipeline.cached({"vendor/from": "main"})
    (key,) = pipeline.objects("v1/k/")
    pipeline.put(key.replace("/main/", "/feat/"), b"rubbish")
    feat = pipeline.on({"DRONE_BRANCH": "feat", "DRONE_COMMIT_BRANCH": "feat"})

    done = feat.restore(fail_on_error=True)

    assert (done.code, pipeline.contents()) == (0, {"vendor/from": b"main"})
    assert done.err.count("warning") == 1
    assert "warning: the cache octo/site/feat cannot be used: " in done.err


@pytest.mark.parametrize("spoil", [damaged_chunk, missing_chunk], ids=["7 damaged", "7 missing"])
def test_the_rebuild_after_a_failed_restore_mends_the_cache(pipeline, spoil):
    pipeline.cached(FILES)
    spoil(pipeline)
    pipeline.restore()
    pipeline.write(FILES)

    pipeline.rebuild()
    pipeline.next_build()
    done = pipeline.restore(fail_on_error=True)

    assert (done.code, sorted(pipeline.contents())) == (0, sorted(FILES))


def test_7_a_rebuild_whose_chunks_vanish_each_time_gives_up(pipeline):
    pipeline.write(FILES)
    pipeline.put("v1/gc/d-1", b"rubbish")
    bucket = pipeline.step.bucket
    sweep = Call(lambda _: [bucket.client.delete_object(Bucket=bucket.name, Key=key) for key in bucket.keys("v1/c/")])
    pipeline.step.proxy.on("PutObject", sweep, key="/gc/b-", times=6)

    done, strict = pipeline.rebuild(), pipeline.rebuild(fail_on_error=True)

    assert (done.code, strict.code) == (0, 1)
    assert (
        "warning: the cache was not stored: chunks of octo/site/main were stored 3 times and deleted again each time"
        in done.err
    )
    assert pipeline.objects("v1/k/") == []
    pipeline.rebuild()
    pipeline.next_build()
    assert (pipeline.restore(fail_on_miss=True).code, sorted(pipeline.contents())) == (0, sorted(FILES))


def test_7_a_half_restored_tree_of_a_killed_restore_is_undone_when_the_store_is_gone(pipeline):
    pipeline.cached()
    half(pipeline)
    gone(pipeline)

    done = pipeline.restore()

    assert (done.code, pipeline.contents()) == (0, {"vendor/mine": b"my own"})


def half(pipeline: Pipeline) -> None:
    """What a restore leaves that is killed after its first chunk: the real program, really killed."""
    pipeline.write({"vendor/mine": "my own"})
    environment = program.clean_environment(pipeline.step.home)
    environment |= pipeline.step.environment({**pipeline.settings, "restore": True}, **pipeline.build)
    killed = program.run(["plugin"], environment | {"S3BATCH_TEST_CRASH_AT": "unpacked"}, pipeline.workspace)
    again = program.run(["plugin"], environment | {"S3BATCH_TEST_CRASH_AT": "restored"}, pipeline.workspace)
    assert (killed.code, again.code) == (0, -signal.SIGKILL)


def test_7_a_locked_journal_is_exit_code_3(pipeline):
    pipeline.cached()
    pipeline.restore()
    (path,) = (pipeline.workspace / ".s3batch").glob("cache-restore-*.db")

    with Journal.open(str(path)) as journal:
        journal.lock()
        done = pipeline.restore()

    assert (done.code, done.requests) == (3, [])
    assert "is in use by pid" in done.err


@pytest.mark.parametrize("word", ["restore", "rebuild"])
@pytest.mark.parametrize("settings", [{}, {"dry_run": True}], ids=["7 for real", "7 rehearsed"])
def test_every_document_has_the_keys_of_a_syncs_and_the_cache(pipeline, word, settings):
    pipeline.cached()
    pipeline.write({"vendor/new": "n"} if word == "rebuild" else {})

    done = pipeline.run(**{word: True, "json": True, **settings})

    document = json.loads(done.out)
    assert set(document) - {"plan"} == DOCUMENT
    assert (document["command"], document["state"], document["exit_code"]) == (f"cache {word}", "done", 0)
    assert set(document["cache"]) >= {"key", "name", "files", "bytes", "chunks"}


def test_7_the_document_counts_the_bytes_that_really_travelled(pipeline):
    pipeline.write({"vendor/zeros": bytes(1_000_000), "vendor/more": "x"})

    rebuilt = pipeline.rebuild(json=True)
    pipeline.next_build()
    restored = pipeline.restore(json=True)

    sent = sum(request.sent for request in rebuilt.of("PutObject") if "/c/" in request.key)
    for document in (json.loads(rebuilt.out), json.loads(restored.out)):
        assert document["operations"]["chunk"] == {"planned": 1, "done": 1, "failed": 0, "skipped": 0, "bytes": sent}
        assert (document["files"], document["bytes"]) == (2, 1_000_001)
    assert sent < 1000


def test_7_a_dry_run_says_what_a_run_would_do_and_does_nothing(pipeline):
    pipeline.write({"vendor/large": noise(20 << 20), "vendor/small": "s"})

    rehearsed, rebuilt = pipeline.rebuild(dry_run=True), pipeline.rebuild()
    objects = pipeline.objects()
    pipeline.next_build()
    looked = pipeline.restore(dry_run=True)

    assert rehearsed.changed == looked.changed == []
    planned = len(rehearsed.out.splitlines())
    assert planned == len([key for key in names(rebuilt, "PutObject") if "/c/" in key]) > 1
    assert looked.out.splitlines() == [f"chunk {key} missing" for key in looked_for(looked.out)]
    assert sorted(looked_for(looked.out)) == [key for key in objects if "/c/" in key]
    assert pipeline.tree() == {}
    assert not list((pipeline.workspace / ".s3batch").glob("*.state"))
    assert f"would send {planned} chunks" in rehearsed.err
    assert f"would fetch {planned} chunks for 2 files" in looked.err


def looked_for(plan: str) -> list[str]:
    return [line.split()[1] for line in plan.splitlines()]


def test_7_a_dry_run_leaves_no_job_to_be_resumed(pipeline):
    pipeline.write(FILES)

    pipeline.rebuild(dry_run=True)

    assert list((pipeline.workspace / ".s3batch").glob("cache-rebuild-*.db*")) == []


def test_7_a_dry_run_restores_no_old_cache(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    done = pipeline.restore(dry_run=True)

    assert (done.code, pipeline.tree()) == (0, {})
    assert "would restore site/site.tar.gz (of an older plugin)" in done.err


MISS = "cache_hit=false\ncache_matched_key=\ncache_state=none\ncache_files=0\ncache_bytes=0\ncache_seconds=0\n"


@pytest.mark.parametrize("made", [True, False], ids=["7 hit", "7 miss"])
def test_harness_reads_whether_there_was_a_cache(pipeline, tmp_path, made):
    if made:
        pipeline.cached()
    told = {"DRONE_OUTPUT": str(tmp_path / "outputs")}
    (tmp_path / "outputs").write_text("before=1\n")

    pipeline.on(told).restore()

    before, *lines = (tmp_path / "outputs").read_text().splitlines()
    assert before == "before=1"
    hit = ["cache_hit=true", "cache_matched_key=default", "cache_state=complete", "cache_files=2", "cache_bytes=2"]
    assert lines[:5] == (hit if made else MISS.splitlines()[:5])


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"DRONE_COMMIT_MESSAGE": "[NO CACHE]"}, id="7 skipped"),
        pytest.param({"DRONE_COMMIT_MESSAGE": "[CLEAR CACHE]"}, id="7 cleared"),
        pytest.param({"PLUGIN_ENDPOINT": "http://127.0.0.1:9"}, id="7 unreachable"),
    ],
)
def test_harness_is_told_of_no_hit_where_nothing_was_restored(pipeline, tmp_path, facts):
    pipeline.cached()

    done = pipeline.on(facts, {"DRONE_OUTPUT": str(tmp_path / "outputs")}).restore()

    assert (done.code, (tmp_path / "outputs").read_text()) == (0, MISS)


def test_7_an_output_file_that_cannot_be_written_is_a_warning(pipeline, tmp_path):
    pipeline.cached()

    done = pipeline.on({"DRONE_OUTPUT": str(tmp_path / "no" / "such")}).restore()

    assert (done.code, len(pipeline.contents())) == (0, 2)
    assert "warning: the outputs of this step cannot be written to" in done.err


def test_7_what_cannot_be_remembered_for_want_of_room_is_stored_and_restored_all_the_same(pipeline):
    pipeline.write(FILES)
    pipeline.rebuild()
    (state,) = (pipeline.workspace / ".s3batch").glob("*.state")
    state.unlink()
    (state / "no").mkdir(parents=True)  # a name that cannot be written, also by root
    pipeline.write({"vendor/new": "n"})

    rebuilt = pipeline.rebuild(fail_on_error=True)
    shutil.rmtree(pipeline.workspace / "vendor")
    restored = pipeline.restore(fail_on_error=True)

    assert (rebuilt.code, restored.code, sorted(pipeline.contents())) == (0, 0, sorted({**FILES, "vendor/new": ""}))
    for done in (rebuilt, restored):
        assert "so the next step reads every file" in done.err
    assert sorted((pipeline.workspace / ".s3batch").glob("*.state*")) == [state]


def test_7_a_damaged_journal_is_replaced_and_the_cache_restored(pipeline):
    pipeline.cached(FILES)
    pipeline.restore()
    (path,) = (pipeline.workspace / ".s3batch").glob("cache-restore-*.db")
    path.write_bytes(b"rubbish" * 1000)
    shutil.rmtree(pipeline.workspace / "vendor")

    done = pipeline.restore(fail_on_error=True)

    assert (done.code, sorted(pipeline.contents())) == (0, sorted(FILES))


@pytest.fixture
def little_room(pipeline, tmp_path) -> Pipeline:
    """A cache of 300 kB, and a workspace on a disk of 1 MiB."""
    pipeline.cached({"vendor/a": noise(300_000), "vendor/b": "B"})
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(pipeline.workspace)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    os.chdir(pipeline.workspace)
    yield pipeline
    os.chdir(tmp_path)
    subprocess.run(["umount", "--lazy", str(pipeline.workspace)], check=True)


@pytest.mark.parametrize("room", [0, 4, 40, 100, 300, 400], ids=lambda room: f"7 {room} KiB left")
def test_a_full_disk_breaks_no_build_and_leaves_no_half(little_room, room):
    usage = os.statvfs(little_room.workspace)
    (little_room.workspace / "full").write_bytes(b"x" * (usage.f_bavail * usage.f_frsize - (room << 10)))

    restored, strict = little_room.restore(), little_room.restore(fail_on_error=True)
    rebuilt = little_room.rebuild(cache=["full"])

    assert (restored.code, rebuilt.code) == (0, 0), restored.err + rebuilt.err
    assert (restored.err.count("warning:"), strict.code) == (1, 1)
    assert "the build goes on without it" in restored.err
    assert list(little_room.tree()) == ["full"]


# --- where nothing may be written ----------------------------------------------------------------


def as_nobody(pipeline: Pipeline, **settings: object) -> program.Finished:
    """The step by somebody who owns nothing here; it needs root to become that."""
    mine = {"TMPDIR": str(pipeline.step.home.parent / "tmp"), "S3BATCH_EXECUTOR": "inline"}
    environment = program.clean_environment(pipeline.step.home) | mine
    environment |= pipeline.step.environment({**pipeline.settings, **settings}, **pipeline.build)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *program.COMMAND, "plugin"]
    done = subprocess.run(words, env=environment, cwd=pipeline.workspace, capture_output=True, text=True, check=False)
    return program.Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def foreign(pipeline, tmp_path) -> Pipeline:
    """A workspace that is not ours, reachable and readable."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    for path in [tmp_path, *tmp_path.parents[:-2], pipeline.step.home]:
        path.chmod(path.stat().st_mode | 0o055)
    return pipeline


def test_7_a_workspace_of_somebody_else_is_cached_all_the_same(foreign):
    foreign.write(FILES)

    done, again = as_nobody(foreign, rebuild=True), as_nobody(foreign, rebuild=True)

    assert (done.code, again.code) == (0, 0), done.stderr
    assert "cached octo/site/main: 2 files" in done.stderr
    assert "nothing changed, nothing sent" in again.stderr
    assert not (foreign.workspace / ".s3batch").exists()


def test_7_a_workspace_that_cannot_be_written_is_one_sentence_and_no_failed_build(foreign):
    foreign.cached()

    done = as_nobody(foreign, restore=True)

    assert (done.code, foreign.tree()) == (0, {})
    (warning,) = [line for line in done.stderr.splitlines() if "the cache was not restored: " in line]
    assert "Permission denied" in warning


# --- directories of somebody else that may be written -------------------------------------------


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775], ids=lambda mode: f"{mode:o}")
@pytest.mark.parametrize("old", [False, True], ids=["our cache", "an old plugin's"])
def test_a_directory_of_somebody_else_that_may_be_written_takes_a_restore(foreign, mode, old):
    if old:
        foreign.write(FILES)
        foreign.put("site/site.tar.gz", s3cache(foreign.workspace, "vendor"))
        foreign.next_build()
    else:
        foreign.cached(FILES)
    (foreign.workspace / "vendor").mkdir()
    os.chown(foreign.workspace / "vendor", 0, 65534)
    (foreign.workspace / "vendor").chmod(mode)

    done = as_nobody(foreign, restore=True, fail_on_error=True)

    assert (done.code, sorted(foreign.contents())) == (0, sorted(FILES)), done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if "cannot set mode" in line]
    assert "cannot set mode and time of 1 directory, such as vendor: it belongs to another user" in warning
    assert (foreign.workspace / "vendor").stat().st_mode & 0o7777 == mode


def test_a_directory_of_ours_keeps_its_group_for_what_is_made_in_it(pipeline):
    pipeline.cached(FILES)
    (pipeline.workspace / "vendor").mkdir()
    (pipeline.workspace / "vendor").chmod(0o3777)

    done = pipeline.restore()

    assert (done.code, "warning" in done.err) == (0, False)
    assert (pipeline.workspace / "vendor").stat().st_mode & 0o7777 == 0o3755


# --- what cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["vendor/a", "vendor/b"], ids=["a file", "a directory"])
@pytest.mark.parametrize("compat", [None, "s3cache"], ids=["ours", "compat"])
def test_fail_on_error_lets_no_cache_be_made_that_lacks_what_cannot_be_read(foreign, closed, compat):
    foreign = foreign.on(**({"compat": compat} if compat else {}))
    foreign.write(FILES)
    assert as_nobody(foreign, rebuild=True).code == 0
    before = {key: foreign.step.bucket.get(key) for key in foreign.objects()}
    foreign.write({"vendor/new": "n"})
    (foreign.workspace / closed).chmod(0)

    strict = as_nobody(foreign, rebuild=True, fail_on_error=True)
    lenient = as_nobody(foreign, rebuild=True)
    after = {key: foreign.step.bucket.get(key) for key in foreign.objects()}

    assert strict.code == 1, strict.stderr
    assert f"1 path cannot be read, such as {closed}: " in strict.stderr
    assert "the cache stays as it was" in strict.stderr
    assert (lenient.code, f"warning: {closed} is not cached" in lenient.stderr) == (0, True), lenient.stderr
    assert f"{closed} cannot be read, and the cache that is there holds it" in lenient.stderr
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("closed", ["vendor", "other", "vendor/b"])
def test_an_older_whole_cache_is_never_replaced_by_one_that_lacks_what_cannot_be_read(foreign, closed):
    foreign = foreign.on(cache=["vendor", "other"])
    files = {**FILES, "other/x": "x"}
    foreign.write(files)
    as_nobody(foreign, rebuild=True)
    (foreign.workspace / closed).chmod(0)

    done = as_nobody(foreign, rebuild=True)
    foreign.next_build()
    foreign.restore()

    assert (done.code, f"{closed} cannot be read" in done.stderr) == (0, True), done.stderr
    assert foreign.contents() == {path: content.encode() for path, content in files.items()}


def test_a_first_cache_lacks_what_cannot_be_read_and_is_replaced_by_a_later_one(foreign):
    foreign.write(FILES)
    (foreign.workspace / "vendor/b").chmod(0)

    done = as_nobody(foreign, rebuild=True)
    foreign.write({"vendor/new": "n"})
    again = as_nobody(foreign, rebuild=True)
    foreign.next_build()
    foreign.restore()

    assert (done.code, again.code) == (0, 0)
    assert "cached octo/site/main: 2 files" in again.stderr
    assert foreign.contents() == {"vendor/a": FILES["vendor/a"].encode(), "vendor/new": b"n"}
    assert not (foreign.workspace / "vendor/b").exists()


def test_no_cache_is_made_where_no_listed_path_can_be_read(foreign):
    foreign.write(FILES)
    (foreign.workspace / "vendor").chmod(0)

    done, strict = as_nobody(foreign, rebuild=True), as_nobody(foreign, rebuild=True, fail_on_error=True)

    assert (done.code, strict.code) == (0, 1)
    assert "none of the paths to cache can be read" in done.stderr
    assert not foreign.objects()


def test_after_a_strict_failure_the_older_whole_cache_is_restored(foreign):
    foreign.write(FILES)
    as_nobody(foreign, rebuild=True)
    foreign.write({"vendor/a": "changed"})
    (foreign.workspace / "vendor/b/c").chmod(0)
    as_nobody(foreign, rebuild=True, fail_on_error=True)
    foreign.next_build()

    assert foreign.restore(fail_on_miss=True).code == 0
    assert foreign.contents() == {path: content.encode() for path, content in FILES.items()}
