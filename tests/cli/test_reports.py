"""Reports of a run in every form, at every end of it, and again from its journal."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import stat
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, error

ENV = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
FORMS = ["r.html", "r.md", "r.xml", "r.prom", "r.json", "r.csv"]


@pytest.fixture
def store():
    with FakeS3() as running:
        yield running


@pytest.fixture
def sync(call, store, workspace):
    """``sync(*flags)`` of three files, of which ``b.txt`` is refused where ``refused`` says so."""
    (workspace / "src").mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (workspace / "src" / name).write_text(name)

    def run(*flags: str, refused: bool = False, target: str = "s3://b/site", env: dict[str, str] | None = None):
        if refused:
            store.meddle = lambda request: (
                Reply(403, body=error("AccessDenied")) if request.key.endswith("b.txt") else None
            )
        return call("sync", "src", target, "--endpoint-url", store.url, *flags, env=ENV | (env or {}))

    return run


def reports(*names: str) -> list[str]:
    return [word for name in names for word in ("--report", name)]


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


@pytest.mark.parametrize("refused", [False, True], ids=["done", "failed"])
def test_one_run_is_written_in_every_form(sync, workspace, refused):
    ran = sync(*reports(*FORMS), "--json", refused=refused)

    assert (ran.code, ran.err.count("warning")) == (int(refused), 0)
    assert (workspace / "r.json").read_text() == ran.out
    assert ("Failed, exit code 1" if refused else "Done") in (workspace / "r.html").read_text()
    assert f"### s3batch sync: {'failed' if refused else 'done'}" in (workspace / "r.md").read_text()
    assert f'target="s3://b/site"}} {int(refused)}\n' in (workspace / "r.prom").read_text()
    cases = [case.attrib["name"] for case in ElementTree.parse(workspace / "r.xml").iter("testcase")]
    assert cases == [*(["upload site/b.txt"] if refused else []), "all other operations"]
    assert sorted(row[2] + row[4] for row in rows_of(workspace / "r.csv")[1:]) == [
        "site/a.txtdone", "site/b.txtfailed" if refused else "site/b.txtdone", "site/c.txtdone",
    ]  # fmt: skip
    assert stat.S_IMODE((workspace / "r.html").stat().st_mode) == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


LATER = [
    pytest.param(["sync", "src", "s3://b/site"], 0, id="upload"),
    pytest.param(["sync", "src", "s3://b/refused", "--delete"], 1, id="refused upload"),
    pytest.param(["sync", "s3://b/old", "there"], 0, id="download"),
    pytest.param(["sync", "s3://b/old", "s3://b/new"], 0, id="transfer"),
    pytest.param(["sync", "s3://b/old", "s3://b/refused"], 1, id="refused transfer"),
    pytest.param(["sync", "src", "s3://b/site", "--fail-on", "changes"], 1, id="fail_on"),
    pytest.param(["apply", "plan"], 0, id="apply"),
    pytest.param(["undo", ""], 0, id="undo"),
    pytest.param(["cache", "restore", "s3://b", "--cache-key", "miss", "--cache", "src"], 0, id="miss"),
    pytest.param(["cache", "restore", "s3://b", "--cache-key", "k", "--cache", "src"], 0, id="hit"),
    pytest.param(["cache", "rebuild", "s3://b", "--cache-key", "k2", "--cache", "src"], 0, id="rebuild"),
    pytest.param(["cache", "rebuild", "s3://refused", "--cache-key", "k", "--cache", "src"], 0, id="forgiven"),
]


@pytest.fixture
def prepared(sync, call, store, workspace):
    """``prepared(*words)``: run a command in a workspace with objects, a cache, a plan and a backup; refuse some PUTs."""
    access = ["--endpoint-url", store.url, "--executor", "inline"]

    def run(*words: str):
        for prepare in (["sync", "src", "s3://b/old"], ["sync", "src", "s3://b/planned", "--plan", "plan"],
                        ["cache", "rebuild", "s3://b", "--cache-key", "k", "--cache", "src"]):  # fmt: skip
            assert call(*prepare, *access, env=ENV).code == 0
        backed_up = call(
            "sync", "src", "s3://b/old", "--acl", "private", "--backup", "s3://b/backup", *access, "--json", env=ENV
        )
        store.meddle = lambda request: (
            Reply(403, body=error("AccessDenied"))
            if "refused" in f"{request.bucket}/{request.key}" and request.name in {"PutObject", "CopyObject"}
            else None
        )
        given = [word or backed_up.json["job"] for word in words]
        return call(*given, *access, *reports(*FORMS), "--json", env=ENV)

    return run


@pytest.mark.parametrize(("words", "code"), LATER)
def test_the_same_report_can_be_had_later(prepared, call, workspace, words, code):
    ran = prepared(*words)

    later = call("report", ran.json["job"], *reports(*(f"later/{name}" for name in FORMS)))

    assert (ran.code, later.code, later.out, later.err) == (code, 0, "", "")
    for name in FORMS:
        assert (workspace / "later" / name).read_text() == (workspace / name).read_text(), name


@pytest.mark.parametrize("target", ["there", "s3://b/new"])
def test_a_report_of_a_killed_job_tells_the_proofs_too(prepared, call, workspace, target):
    ran = prepared("sync", "s3://b/old", target, "--journal", "j.db")
    with sqlite3.connect(workspace / "j.db") as journal:  # as a kill before the last word leaves it
        assert journal.execute("DELETE FROM ending").rowcount == 1
        journal.execute("UPDATE job SET state = 'running', ended = NULL")

    later = call("report", ran.json["job"], "--json", "--journal", "j.db")

    assert (later.code, later.json["state"]) == (0, "dead"), later.err
    assert later.json["proved"] == ran.json["proved"]
    assert sum(later.json["proved"].values()) == 3


def test_an_ending_that_another_program_wrote_is_no_text_of_the_page(sync, call, workspace):
    job = sync("--fail-on", "changes", "--journal", "j.db", "--json").json["job"]
    with sqlite3.connect(workspace / "j.db") as journal:
        facts = json.dumps({"verdict": ["<b>"], "error": {}, "cache": [], "operations": {}, "resume": 7})
        assert journal.execute("UPDATE ending SET facts = ?", (facts,)).rowcount == 1

    assert call("report", job, "--report", "r.json", "--journal", "j.db").code == 0
    assert json.loads((workspace / "r.json").read_text())["operations"]["upload"]["done"] == 3

    with sqlite3.connect(workspace / "j.db") as journal:
        journal.execute("UPDATE ending SET facts = 'no json'")
    refused = call("report", job, "--report", "r.json", "--journal", "j.db")
    assert (refused.code, "the ending of a job cannot be read" in refused.err) == (3, True)


def test_an_upload_in_parts_took_as_long_as_all_of_it(sync, store, workspace):
    (workspace / "src" / "big").write_bytes(bytes(11 << 20))

    def meddle(request):
        if request.name == "UploadPart":
            time.sleep(0.2)

    store.meddle = meddle

    assert sync("--report", "r.csv", "--multipart-threshold", "5MiB", "--part-size", "5MiB").code == 0

    (row,) = [row for row in rows_of(workspace / "r.csv") if row[2] == "site/big"]
    assert float(row[8]) >= 0.2


def test_a_report_of_a_job_that_nobody_knows(call):
    ran = call("report", "20260101", "--report", "r.html")

    assert (ran.code, "there is no job 20260101" in ran.err) == (2, True)
    assert call("report").err.startswith("s3batch: error: report is missing")


@pytest.mark.parametrize("name", ["r.pdf", "r", "report.html.gz"])
def test_an_ending_nobody_knows_is_said_before_anything_is_sent(sync, store, name):
    ran = sync("--report", "good.md", "--report", name)

    assert (ran.code, store.requests) == (2, [])
    assert f"report cannot be {name!r} (from --report)" in ran.err
    assert ".html, .md, .xml, .prom, .json, .csv" in ran.err


def test_what_cannot_be_written_is_a_warning(sync, workspace):
    (workspace / "taken.html").mkdir()
    (workspace / "file").touch()

    ran = sync(*reports("taken.html", "file/r.md", "good.md"))

    assert ran.code == 0
    assert "s3batch: warning: the report taken.html cannot be written: Is a directory" in ran.err
    assert "s3batch: warning: the report file/r.md cannot be written: " in ran.err
    assert (workspace / "good.md").exists()
    assert sorted(path.name for path in workspace.iterdir()) == ["file", "good.md", "src", "taken.html"]


def test_a_link_in_its_place_is_replaced_and_not_followed(sync, workspace, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (workspace / "r.md").symlink_to(tmp_path / "precious")

    assert sync("--report", "r.md").code == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (workspace / "r.md").is_symlink()


@pytest.mark.parametrize(
    ("words", "source", "target"),
    [
        pytest.param(["sync", "src", "s3://b/site/"], "src", "s3://b/site", id="upload"),
        pytest.param(["sync", "s3://b/site/", "copy"], "s3://b/site", "copy", id="download"),
        pytest.param(["sync", "s3://b/site/", "s3://c/there/"], "s3://b/site", "s3://c/there", id="transfer"),
    ],
)
def test_source_and_target_have_one_form_however_the_run_ends(call, store, workspace, words, source, target):
    flags = ("--endpoint-url", store.url, "--json")
    (workspace / "src").mkdir(exist_ok=True)
    (workspace / "src" / "a").write_text("a")

    whole = call(*words, *flags, env=ENV).json
    early = call(*words, *flags, "--files-from", "nothing-there", "--delete", env=ENV).json

    assert (whole["exit_code"], early["exit_code"]) == (0, 2)
    for each in (whole, early):
        places = [each[name].removeprefix(f"{workspace}/") for name in ("source", "target")]
        assert places == [source, target]


def test_a_run_that_cannot_begin_is_reported_and_leaves_no_job(call, sync, store, workspace):
    store.meddle = lambda _: Reply(404, body=error("NoSuchBucket"))

    ran = sync(*reports("r.xml", "r.html", "r.prom"))

    assert ran.code == 4
    (case,) = ElementTree.parse(workspace / "r.xml").iter("testcase")
    assert case.find("failure").attrib["message"] == "exit code 4"
    assert "NoSuchBucket" in case.find("failure").text
    assert "s3batch resume" not in (workspace / "r.html").read_text()
    assert 's3batch_exit_code{command="sync",target="s3://b/site"} 4' in (workspace / "r.prom").read_text()


def test_a_wrong_setting_writes_no_report(sync, workspace):
    assert sync("--report", "r.md", "--acl", "{").code == 2
    assert not (workspace / "r.md").exists()


def test_a_dry_run_reports_its_plan(sync, workspace):
    assert sync(*reports("r.json", "r.html", "r.csv", "r.md"), "--dry-run").code == 0

    document = json.loads((workspace / "r.json").read_text())
    assert (document["dry_run"], len(document["plan"])) == (True, 3)
    assert "Dry run: Done" in (workspace / "r.html").read_text()
    assert "### s3batch sync: dry run\n" in (workspace / "r.md").read_text()
    assert [row[4] for row in rows_of(workspace / "r.csv")[1:]] == ["skipped"] * 3


def test_a_verify_reports_its_differences(sync, call, store, workspace):
    assert sync().code == 0
    (workspace / "src" / "a.txt").write_text("other")

    ran = call(
        "verify", "src", "s3://b/site", "--endpoint-url", store.url, *reports("v.xml", "v.html", "v.csv", "v.json"),
        env=ENV,
    )  # fmt: skip

    assert ran.code == 1
    names = [case.attrib["name"] for case in ElementTree.parse(workspace / "v.xml").iter("testcase")]
    assert names == ["compare site/a.txt", "all other operations"]
    assert "run s3batch sync with the same settings" in (workspace / "v.html").read_text()
    assert rows_of(workspace / "v.csv")[1][1:6] == ["compare", "site/a.txt", "a.txt", "failed", ""]
    document = json.loads((workspace / "v.json").read_text())
    assert (document["dry_run"], document["target"]) == (False, "s3://b/site")


@pytest.mark.parametrize("command", [["doctor", "s3://b/x"], ["cache", "list", "s3://b"]])
def test_a_command_without_operations_has_reports_too(call, store, workspace, command):
    ran = call(*command, "--endpoint-url", store.url, *reports(*FORMS), env=ENV)

    assert (ran.code, "warning: the report" in ran.err) == (0, False)
    assert all((workspace / name).stat().st_size for name in FORMS)


def test_resume_all_writes_one_for_each_job(sync, call, store, workspace):
    sync(refused=True)
    sync(refused=True, target="s3://b/other")
    store.meddle = lambda _: None

    ran = call("resume", "--all", "--report", "r.json", "--json", "--endpoint-url", store.url, env=ENV)

    assert ran.code == 0
    jobs = [document["job"] for document in ran.json["jobs"]]
    assert len(jobs) == 2
    assert sorted(path.name for path in workspace.glob("r*.json")) == sorted(f"r-{job}.json" for job in jobs)


def test_no_report_holds_a_secret(sync, store, workspace):
    store.meddle = lambda _: Reply(403, body=error("AccessDenied", f"key {SECRET_KEY} is not allowed"))

    sync(*reports(*FORMS))

    assert not [name for name in FORMS if SECRET_KEY in (workspace / name).read_text()]
    assert "***" in (workspace / "r.html").read_text()
