"""Y1, O1-O5, decisions 11 and 15: what a step says, and how it ends."""

from __future__ import annotations

import json
import re

import pytest

from tests.rig.faults import Refuse, Reset


@pytest.fixture
def step(step):
    step.settings = {"source": "dist", "target": "t"}
    step.files({"dist/a.txt": "hello", "dist/b.txt": "there"})
    return step


def prepared(step) -> dict:
    """A bucket in which there is one thing of each kind to do, and the settings."""
    step.files({"dist/same.txt": "same"})
    text = {"ContentType": "text/plain; charset=utf-8"}
    step.bucket.put("t/same.txt", b"same", **text)
    step.bucket.put("t/a.txt", b"hello", ContentType="x/y")
    step.bucket.put("t/b.txt", b"THERE", **text)
    step.bucket.put("t/gone.txt", b"")
    step.files({"dist/new.txt": "new"})
    return {"delete": True, "redirects": {"old": "/new"}}


PLAN = [
    "copy t/a.txt metadata",
    "delete t/gone.txt orphan",
    "redirect old redirect",
    "upload t/b.txt content",
    "upload t/new.txt missing",
]


def test_y1_a_dry_run_looks_and_changes_nothing(step) -> None:
    settings = prepared(step)
    before = step.bucket.contents()

    run = step.run({**settings, "dry_run": True})

    assert (run.code, run.changes) == (0, [])
    assert step.bucket.contents() == before
    assert sorted(run.out.splitlines()) == PLAN
    assert re.search(
        r"dry run in .*: 2 to upload, 1 to update or rename in the store, 1 redirect to set, 1 to delete, 1 unchanged",
        run.err,
    )


def test_decision_11_what_it_says_is_what_the_run_then_does(step) -> None:
    settings = prepared(step)
    said = [line.split()[:2] for line in step.run({**settings, "dry_run": True}).out.splitlines()]

    run = step.run({**settings, "json": True})

    done = json.loads(run.out)["operations"]
    assert run.code == 0, run.err
    assert {
        kind: len([1 for each, _ in said if each == kind]) for kind in ("upload", "copy", "delete", "redirect")
    } == {kind: done[kind]["done"] for kind in ("upload", "copy", "delete", "redirect")}
    keys = {(each.operation, each.key) for each in run.changes}
    assert keys == {
        ("PutObject", "t/b.txt"), ("PutObject", "t/new.txt"), ("PutObject", "old"), ("CopyObject", "t/a.txt"),
        ("DeleteObjects", ""),
    }  # fmt: skip


def test_decision_11_a_dry_run_with_a_journal_leaves_no_trace_in_it(step) -> None:
    step.run()
    step.files({"dist/a.txt": "other"})
    step.run({"dry_run": True})

    assert step.run().changed == [("PutObject", "t/a.txt")]


def test_decision_11_json_has_the_plan(step) -> None:
    document = json.loads(step.run({"dry_run": True, "json": True}).out)

    assert document["plan"] == [
        {"operation": "upload", "key": f"t/{name}", "reason": "missing"} for name in ("a.txt", "b.txt")
    ]


def test_decision_11_a_dry_run_with_max_delete_fails_as_the_run_would(step) -> None:
    step.bucket.put("t/gone", b"")

    run = step.run({"dry_run": True, "delete": True, "max_delete": "0"})

    assert (run.code, run.changes) == (1, [])
    assert "more than max_delete 0 allows" in run.err


def test_decision_11_one_line_an_operation_whatever_its_name(step) -> None:
    step.files({"dist/new\nupload t/forged missing": "x", "dist/bell\x07": "x"})

    lines = step.run({"dry_run": True}).out.splitlines()

    assert sorted(lines) == [
        "upload t/a.txt missing", "upload t/b.txt missing", "upload t/bell\\x07 missing",
        "upload t/new\\x0aupload t/forged missing missing",
    ]  # fmt: skip


# --- O1-O3 ---------------------------------------------------------------------------------------------------


def test_o1_the_first_line_names_the_bucket(step) -> None:
    assert step.run().err.splitlines()[0] == f'Synchronizing with bucket "{step.bucket.name}"'


@pytest.mark.parametrize("variable", ["DEBUG", "PLUGIN_DEBUG", "PLUGIN_VERBOSE"])
def test_o1_debug_names_what_is_done(step, variable) -> None:
    settings = prepared(step)

    run = step.run(settings, **{variable: "yes please" if variable == "DEBUG" else "true"})

    lines = run.err.splitlines()
    assert {"upload t/b.txt content", "upload t/new.txt missing", "copy t/a.txt metadata"} <= set(lines)
    assert {"delete t/gone.txt orphan", "redirect old redirect"} <= set(lines)


def test_o1_without_it_only_the_totals(step) -> None:
    run = step.run(prepared(step))

    assert len(run.err.splitlines()) == 2
    assert "2 uploaded" in run.err


def test_o2_every_failure_is_named_with_all_that_helps(step, proxy) -> None:
    step.files({"dist/c.txt": "see"})
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="[ab].txt")

    run = step.run()

    assert (run.code, step.bucket.keys()) == (1, {"t/c.txt"})
    for name in ("a.txt", "b.txt"):
        line = next(line for line in run.err.splitlines() if f"upload {name} to t/{name}" in line)
        assert "PutObject: AccessDenied: made by the fault proxy" in line
        assert "HTTP 403, request FAULTPROXY" in line
        assert "needs s3:PutObject" in line
    assert re.search(r"to finish it: s3batch resume \S+ --journal ", run.err)


def test_o2_a_name_cannot_break_the_line_that_names_it(step, proxy) -> None:
    step.files({"dist/x\ny": "x"})
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="x\ny")

    assert "failed: upload x\\x0ay to t/x\\x0ay: PutObject: AccessDenied" in step.run().err


def test_o2_a_passing_fault_is_tried_again(step, proxy) -> None:
    proxy.on("PutObject", Refuse(503, "SlowDown"), times=1)
    proxy.on("PutObject", Reset(after=True), times=1)

    run = step.run({"json": True})

    document = json.loads(run.out)
    assert (run.code, step.bucket.contents()) == (0, {"t/a.txt": b"hello", "t/b.txt": b"there"}), run.err
    assert document["retries"] >= 1


def test_decision_15_resume_does_only_what_is_left(step, proxy) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="a.txt")
    step.run({"delete": True})
    proxy.rules.clear()

    run = step.run({"mode": "resume", "delete": True})

    assert (run.code, run.changed) == (0, [("PutObject", "t/a.txt")]), run.err


def test_decision_15_the_document_has_the_failures_too(step, proxy) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="a.txt")

    document = json.loads(step.run({"json": True}).out)

    assert (document["state"], document["exit_code"]) == ("failed", 1)
    (failure,) = document["failures"]
    assert failure.pop("error").startswith("PutObject: AccessDenied")
    assert failure == {
        "operation": "upload", "key": "t/a.txt", "path": "a.txt", "code": "AccessDenied", "status": 403,
        "request_id": "FAULTPROXY", "attempts": 1,
    }  # fmt: skip


def test_o3_no_bucket(step) -> None:
    run = step.run({"bucket": None})

    assert (run.code, run.requests) == (2, [])
    assert "Must set 'bucket'" in run.err


@pytest.mark.parametrize(
    ("settings", "code", "why"),
    [
        pytest.param({}, 0, "done in", id="none"),
        pytest.param({"fail_on": "changes"}, 1, "something changed", id="changes"),
        pytest.param({"fail_on": ["nothing", "warnings"]}, 0, "done in", id="neither"),
        pytest.param({"fail_on": "warnings", "bucket_host": True}, 1, "there are warnings", id="warnings"),
    ],
)
def test_fail_on_makes_a_good_job_end_with_1(step, settings, code, why) -> None:
    settings = dict(settings)
    if settings.pop("bucket_host", False):
        settings["bucket"] = f"{step.bucket.name}.s3-website-us-east-1.amazonaws.com"

    run = step.run(settings)

    assert (run.code, run.counts["PutObject"]) == (code, 2), run.err
    assert why in run.err
    assert "resume" not in run.err


def test_fail_on_nothing(step) -> None:
    step.run()

    run = step.run({"fail_on": "nothing"})

    assert (run.code, run.changed) == (1, [])
    assert "nothing changed" in run.err


def test_fail_on_changes_finds_drift_in_a_dry_run(step) -> None:
    assert step.run({"fail_on": "changes", "dry_run": True}).code == 1
    step.run()
    assert step.run({"fail_on": "changes", "dry_run": True}).code == 0
