"""``--json-lines``: a program hears of a run while it happens, and of its end however it ends."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Stored, error

ENV = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}


@pytest.fixture
def store():
    with FakeS3() as running:
        yield running


@pytest.fixture
def events(call, store, workspace):
    """``events("sync", "src", "s3://b/site")``: the events, and the exit code."""
    (workspace / "src").mkdir()
    (workspace / "src" / "a.txt").write_text("a")
    (workspace / "src" / "b.txt").write_text("b")

    def run(*words: str, **env: str):
        ran = call(*words, "--json-lines", "--endpoint-url", store.url, env=ENV | env)
        return [json.loads(line) for line in ran.out.splitlines()], ran.code

    return run


def test_a_job_begins_and_ends(events):
    told, code = events("sync", "src", "s3://b/site")

    begun, *_, ended = told
    assert (code, begun["event"], ended["event"]) == (0, "begun", "ended")
    assert begun["job"] == ended["job"]
    assert (begun["target"], begun["dry_run"], begun["ended"]) == ("s3://b/site", False, None)
    assert {each["event"] for each in told[1:-1]} <= {"progress"}
    assert ended["operations"]["upload"]["done"] == 2


@pytest.mark.parametrize(
    ("words", "module"),
    [
        pytest.param(["src", "s3://b/site"], "s3batch.commands.sync.begin", id="upload"),
        pytest.param(["s3://b/site", "copy"], "s3batch.commands.sync.download", id="download"),
    ],
)
def test_a_signal_right_after_the_beginning_ends_the_job(events, call, store, monkeypatch, words, module):
    monkeypatch.setattr(f"{module}.reach_failpoint", lambda _: os.kill(os.getpid(), signal.SIGTERM))

    told, code = events("sync", *words)

    begun, ended = told
    assert (code, ended["state"], ended["job"]) == (143, "interrupted", begun["job"])
    (job,) = call("jobs", "list", "--json").json["jobs"]
    assert (job["job"], job["state"]) == (begun["job"], "interrupted")


def test_a_failure_is_told_before_the_end(events, store):
    store.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.key.endswith("b.txt") else None

    told, code = events("sync", "src", "s3://b/site")

    (failure,) = [each for each in told if each["event"] == "failure"]
    row = told[-1]["failures"][0]
    assert code == 1
    assert {name: failure[name] for name in row} == row
    assert told.index(failure) < len(told) - 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["s3://b/site", "copy"], id="a key that cannot be a file"),
        pytest.param(["src", "s3://b/site", "--files-from", "list"], id="a path of a list that is not there"),
        pytest.param(["src", "s3://b/site", "--dry-run"], id="a broken link in a dry run"),
    ],
)
def test_a_failure_before_any_request_is_told(events, store, workspace, words):
    store.objects["b"] = {"site//x": Stored(b"x", "9dd4e461268c8034f5c8564e155c67a6")}
    (workspace / "list").write_text("gone.txt\n")
    (workspace / "src" / "link").symlink_to("nowhere")

    told, code = events("sync", *words)

    (failure,) = [each for each in told if each["event"] == "failure"]
    row = told[-1]["failures"][0]
    assert code == 1
    assert {name: failure[name] for name in row} == row


def test_a_warning_is_told_once(events):
    told, _ = events("sync", "src", "s3://b.s3-website-eu-west-1.amazonaws.com/site")

    warnings = [each["text"] for each in told if each["event"] == "warning"]
    assert len(warnings) == len(set(warnings))
    assert any("host name of a website" in text for text in warnings)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["sync", "src"], 2, id="a missing target"),
        pytest.param(["sync", "src", "s3://b/x", "--delte"], 2, id="a mistyped flag"),
        pytest.param(["sync", "nothing-there", "s3://b/x"], 2, id="a missing source"),
    ],
)
def test_wrong_settings_have_an_end_only(events, words, code):
    told, exit_code = events(*words)

    (ended,) = told
    assert (exit_code, ended["event"], ended["exit_code"]) == (code, "ended", code)
    assert ended["error"]


def test_an_endpoint_without_the_bucket_has_an_end(events, store):
    store.meddle = lambda _: Reply(404, body=error("NoSuchBucket"))

    told, code = events("sync", "src", "s3://b/x")

    assert (code, told[-1]["event"], told[-1]["exit_code"]) == (4, "ended", 4)


def test_both_kinds_of_output_at_once_are_refused(events, store):
    told, code = events("sync", "src", "s3://b/x", "--json")

    assert (code, store.requests, told[-1]["error"]) == (
        2, [], "json and json_lines are both set; choose one of them",
    )  # fmt: skip


def test_a_dry_run_prints_events_only(events):
    told, _ = events("sync", "src", "s3://b/site", "--dry-run")

    assert [row["key"] for row in told[-1]["plan"]] == ["site/a.txt", "site/b.txt"]


def test_a_verify_and_a_doctor_end_too(events):
    verified, code = events("verify", "src", "s3://b/site")
    examined, _ = events("doctor", "s3://b/site")

    assert (code, len(verified[-1]["differences"])) == (1, 2)
    assert (examined[-1]["event"], bool(examined[-1]["checks"])) == ("ended", True)


def test_a_slow_link_shows_its_rate_before_a_file_is_done(events, workspace):
    for path in (workspace / "src").iterdir():
        path.unlink()
    (workspace / "src" / "big").write_bytes(bytes(600_000))

    told, code = events("sync", "src", "s3://b/site", "--bandwidth", "200KiB")

    under_way = [each for each in told if each["event"] == "progress" and not each["operations_done"]]
    assert (code, {each["bytes_done"] for each in under_way}) == (0, {0})
    assert any(0 < each["bytes_sent"] < 600_000 and each["bytes_per_second"] > 0 for each in under_way)


def test_a_store_that_asks_for_patience_is_named(events, store):
    refused = []

    def meddle(request):
        if request.name != "PutObject" or len(refused) > 3:
            return None
        refused.append(request.key)
        return Reply(503, body=error("SlowDown"), headers={"Retry-After": "2"})

    store.meddle = meddle

    told, code = events("sync", "src", "s3://b/site")

    assert code == 0
    assert "503 SlowDown" in {each["waiting"] for each in told if each["event"] == "progress"}


@pytest.mark.slow
def test_after_sigterm_come_the_reports_and_the_end(store, tmp_path):
    (tmp_path / "src").mkdir()
    for number in range(20):
        (tmp_path / "src" / f"f{number}").write_bytes(bytes(100_000))
    environ = program.clean_environment(tmp_path) | ENV
    words = [
        "sync", "src", "s3://b/x", "--endpoint-url", store.url, "--bandwidth", "100KiB", "--json-lines", "--workers", "1",
        "--report", "r.xml", "--report", "r.html", "--on-done", "cat > done.json",
    ]  # fmt: skip
    process = program.start(words, environ, tmp_path)
    begun = json.loads(process.stdout.readline())
    assert json.loads(process.stdout.readline())["event"] == "progress"
    process.send_signal(signal.SIGTERM)
    ended = program.finish(process)

    last = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.code, begun["event"], last["event"]) == (143, "begun", "ended")
    assert (last["state"], last["exit_code"], last["job"]) == ("interrupted", 143, begun["job"])
    assert json.loads((tmp_path / "done.json").read_text())["state"] == "interrupted"
    assert 'message="exit code 143"' in (tmp_path / "r.xml").read_text()
    assert "Interrupted, exit code 143" in (tmp_path / "r.html").read_text()


def test_a_message_shows_a_byte_that_is_not_utf_8_and_a_key_gives_it_back(events):
    os.symlink("nowhere", b"src/caf\xe9")

    told, code = events("sync", "src", "s3://b/site", "--executor", "inline")

    rows = [*(each for each in told if each["event"] == "failure"), *told[-1]["failures"]]
    assert (code, len(rows)) == (1, 2)
    for row in rows:
        assert os.fsencode(row["path"]) == b"caf\xe9"
        assert "\\xe9': broken symbolic link" in row["error"]
