"""The Python API: s3batch as a library, in a program that has threads, signals and an output of its own."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import s3batch
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, error


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as store:
        yield store


@pytest.fixture
def access(fake: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings to reach the store."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return {
        "endpoint_url": fake.url, "region": "us-east-1", "access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
        "executor": "inline",
    }  # fmt: skip


@pytest.fixture
def tree(make_tree) -> Path:
    return make_tree({"index.html": b"<p>hello", "a/b.txt": b"b", "a/c.tmp": b"c"})


def test_a_sync_returns_the_report_and_prints_nothing(fake, access, tree, capfd):
    report = s3batch.sync(tree, "s3://b/site", exclude=["*.tmp"], cache_control={"*.html": "no-cache"}, **access)

    assert (report.command, report.state, report.exit_code, report.ok) == ("sync", "done", 0, True)
    assert (report.files, report.bytes, report.operations["upload"]["done"]) == (2, 9, 2)
    assert set(fake.objects["b"]) == {"site/index.html", "site/a/b.txt"}
    assert fake.objects["b"]["site/index.html"].headers["cache-control"] == "no-cache"
    assert capfd.readouterr() == ("", "")
    json.dumps(dict(report.document))
    again = s3batch.sync(str(tree), "s3://b/site", exclude="*.tmp", cache_control={"*.html": "no-cache"}, **access)
    assert (again.unchanged, again.operations["upload"]["planned"]) == (2, 0)


def test_a_place_may_be_bytes(fake, access, tree):
    assert s3batch.sync(os.fsencode(tree), b"s3://b/site", **access).ok
    assert "site/index.html" in fake.objects["b"]


def test_settings_are_values_or_texts(fake, access, tree):
    report = s3batch.sync(
        tree, "s3://b", dry_run=True, part_size="16MiB", multipart_threshold=32 << 20, timeout=timedelta(minutes=1),
        bandwidth=None, delete=False, metadata={"team": "web"}, journal=tree.parent / "j.db", **access,
    )  # fmt: skip

    assert [row["key"] for row in report.plan] == ["a/b.txt", "a/c.tmp", "index.html"]
    assert fake.objects["b"] == {}
    assert not (tree.parent / "j.db").exists()


def test_a_keyword_wins_over_a_variable_and_that_over_the_config_file(fake, access, tree, tmp_path, monkeypatch):
    config = tmp_path / "s3batch.toml"
    config.write_text('[s3batch.sync]\ncache_control = "file"\nacl = "private"\ncontent_language = "de"\n')
    monkeypatch.setenv("S3BATCH_CACHE_CONTROL", "variable")
    monkeypatch.setenv("S3BATCH_CONTENT_LANGUAGE", "fr")

    s3batch.sync(tree, "s3://b", config=config, content_language="en", **access)

    headers = fake.objects["b"]["index.html"].headers
    assert (headers["cache-control"], headers["content-language"]) == ("variable", "en")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"delte": True}, "there is no setting delte; did you mean delete?"),
        ({"lookup_only": True}, "sync takes no lookup_only; it is a setting of cache restore"),
        ({"json": True}, "json is no argument: a function prints nothing; use on_event, or the report"),
        ({"retries": "many"}, "retries cannot be 'many' (from argument retries); write a whole number"),
        ({"acl": ["a"]}, "acl cannot be a list (from argument acl); write text, or map from pattern to text"),
        ({"secret_key": "x"}, "secret_key (from argument secret_key) is set and access_key is not; give both or none"),
        ({"config": "missing.toml"}, "config file missing.toml does not exist; give another --config, or none"),
    ],
)
def test_a_wrong_setting_raises_before_any_request(fake, access, tree, settings, sentence):
    given = {**access, **({"access_key": None} if "secret_key" in settings else {}), **settings}

    with pytest.raises(s3batch.SettingsError) as caught:
        s3batch.sync(tree, "s3://b", **given)

    assert (str(caught.value), caught.value.exit_code, isinstance(caught.value, s3batch.Error)) == (sentence, 2, True)
    assert fake.requests == []


def test_failed_operations_are_in_the_report(fake, access, tree):
    fake.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.key == "index.html" else None

    report = s3batch.sync(tree, "s3://b", **access)

    assert (report.exit_code, report.state) == (1, "failed")
    assert [(each["key"], each["code"]) for each in report.failures] == [("index.html", "AccessDenied")]


def test_an_endpoint_that_is_not_there_raises(access, tree):
    with pytest.raises(s3batch.EndpointError) as caught:
        s3batch.sync(tree, "s3://b", **access | {"endpoint_url": "http://127.0.0.1:9", "retries": 1})

    assert caught.value.exit_code == 4
    assert caught.value.document["state"] == "failed"


def test_a_journal_that_is_none_raises(access, tree, tmp_path):
    (tmp_path / "j.db").mkdir()

    with pytest.raises(s3batch.JournalError) as caught:
        s3batch.sync(tree, "s3://b", journal=tmp_path / "j.db", **access)

    assert caught.value.exit_code == 3


def test_a_second_sync_to_a_target_at_work_raises_in_another_thread_too(fake, access, tree):
    at_work, go_on = threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        if request.name == "PutObject":
            at_work.set()
            go_on.wait(30)

    fake.meddle = hold
    reports: list[s3batch.Report] = []
    first = threading.Thread(target=lambda: reports.append(s3batch.sync(tree, "s3://b", **access)))
    first.start()
    assert at_work.wait(30)

    with pytest.raises(s3batch.JournalError, match="in use by pid"):
        s3batch.sync(tree, "s3://b", **access)
    go_on.set()
    first.join()

    assert reports[0].ok


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_run_is_cancelled_from_another_thread_and_resumed(fake, access, make_tree, executor):
    tree = make_tree({f"{number:03}": b"x" for number in range(300)})
    cancel = threading.Event()

    def count(request: Any) -> None:
        if request.key == "050":
            cancel.set()

    fake.meddle = count
    settings = access | {"executor": executor}
    report = s3batch.sync(tree, "s3://b", cancel=cancel, max_concurrency=2, workers=1, **settings)

    assert (report.state, report.exit_code, report.error) == ("interrupted", 130, "cancelled")
    assert 0 < len(fake.objects["b"]) < 300
    resumed = s3batch.resume(access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    assert (resumed.state, resumed.resumed, len(fake.objects["b"])) == ("done", True, 300)


def test_a_function_writes_no_object_to_stdout(fake, access):
    with pytest.raises(
        s3batch.SettingsError, match="target cannot be '-': a function prints nothing; name a directory"
    ):
        s3batch.sync("s3://b/key", "-", **access)

    assert fake.requests == []


def test_a_run_whose_event_is_set_sends_nothing(fake, access, tree):
    cancel = threading.Event()
    cancel.set()

    assert s3batch.sync(tree, "s3://b", cancel=cancel, **access).exit_code == 130
    assert "PutObject" not in [request.name for request in fake.requests]


def test_a_cancel_does_not_wait_for_a_store_that_is_silent(fake, access, tree):
    cancel, silent = threading.Event(), threading.Event()

    def wait(request: Any) -> None:
        cancel.set()
        silent.wait(60)

    fake.meddle = wait
    report = s3batch.sync(tree, "s3://b", cancel=cancel, **access)
    silent.set()

    assert report.state == "interrupted"


def test_the_signals_of_the_program_are_its_own(access, tree):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)]
    seen: list[Any] = []

    s3batch.sync(
        tree, "s3://b", on_event=lambda _: seen.append([signal.getsignal(each) for each in (2, 15, 1, 14)]), **access
    )

    assert seen
    assert all(each == handlers for each in seen)


def test_events_come_as_dictionaries(access, tree):
    events: list[dict[str, Any]] = []

    report = s3batch.sync(tree, "s3://b", on_event=events.append, **access)

    assert [events[0]["event"], events[-1]["event"]] == ["begun", "ended"]
    assert {name: events[-1][name] for name in report.document} == report.document


def test_a_call_that_raises_has_an_ended_event_too(access, tree):
    events: list[dict[str, Any]] = []

    with pytest.raises(s3batch.SettingsError):
        s3batch.sync(tree, "s3://b", on_event=events.append, retries="many", **access)

    assert [(each["event"], each["exit_code"]) for each in events] == [("ended", 2)]


def test_an_exception_of_the_listener_ends_the_run_and_a_resume_finishes_it(fake, access, tree):
    def refuse(event: dict[str, Any]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        s3batch.sync(tree, "s3://b", on_event=refuse, **access)

    assert s3batch.sync(tree, "s3://b", **access).ok


def test_a_run_out_of_time_is_interrupted_without_a_signal(fake, access, make_tree):
    tree = make_tree({f"{number:03}": b"x" for number in range(300)})
    fake.meddle = lambda request: time.sleep(0.05) if request.name == "PutObject" else None

    report = s3batch.sync(tree, "s3://b", max_duration=timedelta(seconds=1), max_concurrency=1, workers=1, **access)

    assert (report.exit_code, report.state) == (124, "interrupted")


def test_a_ping_is_told_of_a_call_that_raises(fake, access, tree, tmp_path):
    (tmp_path / "j.db").mkdir()
    fake.meddle = lambda request: Reply(200) if request.method == "POST" else None

    with pytest.raises(s3batch.JournalError):
        s3batch.sync(tree, "s3://b", journal=tmp_path / "j.db", ping=f"{fake.url}/ping/me", **access)

    assert [request.target for request in fake.requests] == ["/ping/me/fail"]


def test_a_report_file_is_written(access, tree, tmp_path):
    s3batch.sync(tree, "s3://b", report=[tmp_path / "run.json", tmp_path / "run.md"], **access)

    assert json.loads((tmp_path / "run.json").read_text())["state"] == "done"
    assert (tmp_path / "run.md").exists()


def test_a_verify_names_the_differences(fake, access, tree):
    s3batch.sync(tree, "s3://b", **access)
    (tree / "index.html").write_text("<p>other")
    (tree / "new").write_text("")

    report = s3batch.verify(tree, "s3://b", **access)

    assert report.exit_code == 1
    assert {(each["what"], each["key"]) for each in report.differences} == {
        ("different", "index.html"),
        ("missing", "new"),
    }


def test_a_cache_goes_and_comes_back(access, tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tree)
    given = {key: value for key, value in access.items() if key != "executor"}
    miss = s3batch.cache_restore(bucket="b", cache=["a"], cache_key="k", **given)
    s3batch.cache_rebuild(bucket="b", cache=["a"], cache_key="k", **given)
    (tree / "a" / "b.txt").unlink()

    hit = s3batch.cache_restore(bucket="b", cache=["a"], cache_key=["k"], **given)

    assert [miss.cache["hit"], hit.cache["hit"], hit.exit_code] == [False, True, 0]
    assert (tree / "a" / "b.txt").read_bytes() == b"b"
    with pytest.raises(s3batch.SettingsError, match="cache is missing"):
        s3batch.cache_restore(bucket="b", **given)


def test_resume_without_a_job_has_nothing_to_do(access):
    report = s3batch.resume()

    assert (report.command, report.exit_code, report.job) == ("resume", 0, None)


def test_a_journal_is_read(fake, access, tree, tmp_path):
    fake.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.key == "index.html" else None
    report = s3batch.sync(tree, "s3://b", journal=tmp_path / "j.db", **access)
    before = (tmp_path / "j.db").read_bytes()

    with s3batch.Journal.open(report.journal) as journal:
        [job] = journal.jobs()
        [failure] = journal.failures(job)
        states = {each.key: each.state for each in journal.operations(job.id)}
        with pytest.raises(s3batch.SettingsError, match="there is no job none in"):
            list(journal.failures("none"))

    assert (job.id, job.state, job.exit_code, job.files) == (report.job, "failed", 1, 3)
    assert job.started.utcoffset() == timedelta(0)
    assert (failure.key, failure.code, failure.status) == ("index.html", "AccessDenied", 403)
    assert states == {"index.html": "failed", "a/b.txt": "done", "a/c.tmp": "done"}
    assert (tmp_path / "j.db").read_bytes() == before
    with pytest.raises(s3batch.JournalError):
        s3batch.Journal.open(tmp_path / "none.db")


def test_a_failure_does_not_show_a_secret(fake, access, tree):
    with pytest.raises(s3batch.SettingsError) as caught:
        s3batch.sync(tree, "s3://b", workers=SECRET_KEY, **access)

    assert SECRET_KEY not in str(caught.value)


SCRIPT = """
import os, threading, sys
import s3batch
assert not {"sqlite3", "s3batch.cli", "configargparse", "argparse"} & set(sys.modules), "the import is not cheap"
others = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(3)] if "threads" in sys.argv else []
for each in others:
    each.start()
before = dict(os.environ)
report = s3batch.sync("tree", "s3://b/site", workers=2)
assert before == dict(os.environ)
assert report.ok, report.document
print(report.operations["upload"]["done"], threading.active_count() - len(others))
sys.stdout.flush()
os._exit(0) if others else None
"""


@pytest.mark.parametrize("parent", ["plain", "threads", "stdin", "loop"])
def test_a_script_needs_no_main_guard(fake, make_tree, tmp_path, parent):
    """Its workers are processes: forks of a program with one thread, else fresh ones. A notebook runs an event loop."""
    make_tree({"a": b"1", "b": b"2"})
    script = (
        f"import asyncio\nasync def run():\n{textwrap.indent(SCRIPT, '    ')}\nasyncio.run(run())"
        if parent == "loop"
        else SCRIPT
    )
    (tmp_path / "script.py").write_text(script)
    file = "-" if parent == "stdin" else "script.py"
    environ = program.clean_environment(tmp_path) | {
        "AWS_ENDPOINT_URL": fake.url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }  # fmt: skip

    ran = subprocess.run(
        [sys.executable, file, parent], cwd=tmp_path, env=environ, text=True, capture_output=True, check=False,
        input=script if file == "-" else None,
    )  # fmt: skip

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "2 1\n", "")
    assert set(fake.objects["b"]) == {"site/a", "site/b"}


def test_every_public_name_is_documented_and_typed():
    assert set(s3batch.__all__) <= set(dir(s3batch))
    for name in s3batch.__all__:
        assert getattr(s3batch, name).__doc__
    for name in ("sync", "verify", "resume", "cache_restore", "cache_rebuild"):
        parameters = inspect.signature(getattr(s3batch, name)).parameters
        assert {"on_event", "cancel", "settings"} <= set(parameters)
    with pytest.raises(AttributeError):
        s3batch.nothing  # noqa: B018 - that it raises is the test
    assert os.path.exists(os.path.join(os.path.dirname(s3batch.__file__), "py.typed"))


def test_events_are_dictionaries_as_they_happen(fake, access, tree):
    fake.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.key.endswith("b.txt") else None
    told: list[dict[str, Any]] = []

    report = s3batch.sync(tree, "s3://b/site", on_event=told.append, **access)

    names = [event["event"] for event in told if event["event"] != "progress"]
    assert names == ["begun", "failure", "ended"]
    assert told[0]["job"] == report.job
    assert {name: value for name, value in told[-1].items() if name not in {"event", "time"}} == dict(report.document)


def test_hooks_are_told_by_a_function_too(fake, access, tree, tmp_path):
    report = s3batch.sync(tree, "s3://b/site", on_done=f"cat > {tmp_path}/done.json", **access)

    assert json.loads((tmp_path / "done.json").read_text())["job"] == report.job
