"""I1-I3 and decision 10: one invalidation after everything else, when something changed, and never forgotten."""

from __future__ import annotations

import json
import signal
from functools import partial
from urllib.parse import unquote

import pytest

from s3batch.commands.sync import cloudfront
from tests.rig.distributions import make_distribution
from tests.rig.faults import Refuse

INVALIDATION = "CreateInvalidation"


@pytest.fixture
def distribution(server) -> str:
    """The id of a new distribution."""
    return make_distribution(server)


@pytest.fixture
def step(step, distribution, proxy):
    """A step that invalidates, with a page to publish."""
    step.settings = {"cloudfront_distribution": distribution, "cloudfront_endpoint": proxy.url, "source": "dist"}
    step.files({"dist/index.html": "<p>1", "dist/a b.css": "p {}"})
    return step


def paths(run) -> list[str]:
    """What was invalidated."""
    body = b"".join(request.body for request in run.of(INVALIDATION)).decode()
    return sorted(unquote(piece.partition("<")[0]) for piece in body.split("<Path>")[1:])


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param("/", "/*", id="I1 the whole bucket"),
        pytest.param("/x", "/x/*", id="I1 below a target"),
        pytest.param("x/y/", "/x/y/*", id="I1 a target with a slash at its end"),
    ],
)
def test_one_invalidation_follows_everything_else(step, target, path) -> None:
    run = step.run({"target": target, "delete": True, "redirects": {"old": "/new"}})

    assert run.code == 0, run.err
    assert paths(run) == [path]
    assert run.requests[-1].operation == INVALIDATION


def test_the_report_counts_it_and_debug_names_it(step, distribution) -> None:
    run = step.run({"json": True}, DEBUG="1")

    assert json.loads(run.out)["requests"]["CreateInvalidation"] == 1
    assert f"of CloudFront distribution {distribution}" in run.err


def test_i2_nothing_is_invalidated_when_nothing_changed(step) -> None:
    first, again = step.run(), step.run()
    step.fresh_runner()
    fresh = step.run()

    assert [len(run.of(INVALIDATION)) for run in (first, again, fresh)] == [1, 0, 0]


def test_i2_cloudfront_always_is_the_old_way(step) -> None:
    step.run()

    assert paths(step.run({"cloudfront_always": True})) == ["/*"]


@pytest.mark.parametrize("always", [False, True])
def test_i2_a_dry_run_only_says_that_it_would(step, always) -> None:
    run = step.run({"dry_run": True, "cloudfront_always": always})

    assert run.changes == []
    assert "invalidate /* all\n" in run.out


def test_a_dry_run_in_which_nothing_would_change_says_nothing(step) -> None:
    step.run()

    assert step.run({"dry_run": True}).out == ""


def test_changed_paths_are_those_of_uploads_copies_deletes_and_redirects(step) -> None:
    settings = {"cloudfront_paths": "changed", "target": "t", "delete": True}
    step.files({"dist/gone.txt": "x", "dist/same.txt": "y", "dist/kept.js": "z"})
    step.run(settings)

    step.remove("dist/gone.txt")
    step.files({"dist/a b.css": "p { }", "dist/ü.html": "new"})
    run = step.run({**settings, "cache_control": {".js": "no-store"}, "redirects": {"old": "/t/"}})

    assert paths(run) == ["/old", "/t/a b.css", "/t/gone.txt", "/t/kept.js", "/t/ü.html"]


def test_more_changed_keys_than_cloudfront_takes_become_the_wildcard(step, monkeypatch) -> None:
    few = partial(cloudfront.plan_invalidations, most=0)
    monkeypatch.setattr(cloudfront, "plan_invalidations", few)

    assert paths(step.run({"cloudfront_paths": "changed"})) == ["/*"]


def test_i3_its_failure_fails_the_step_and_resume_asks_again(step, proxy) -> None:
    proxy.on(INVALIDATION, Refuse(403, "AccessDenied"))

    failed = step.run()
    proxy.rules.clear()
    resumed = step.run({"mode": "resume"})

    assert failed.code == 1
    assert "cannot invalidate /* of CloudFront distribution" in failed.err
    assert "cloudfront:CreateInvalidation" in failed.err
    assert "s3batch resume" in failed.err
    assert (resumed.code, paths(resumed)) == (0, ["/*"]), resumed.err
    assert [request.operation for request in resumed.changes] == [INVALIDATION]


def test_what_a_failed_job_owes_the_next_one_invalidates(step, proxy) -> None:
    settings = {"cloudfront_paths": "changed"}
    proxy.on(INVALIDATION, Refuse(400, "InvalidArgument"), times=1)
    step.run(settings)
    step.files({"dist/new.txt": "n"})

    run = step.run(settings)

    assert (run.code, paths(run)) == (0, ["/a b.css", "/index.html", "/new.txt"])
    assert step.run(settings).of(INVALIDATION) == []


def test_nothing_is_invalidated_when_an_upload_failed(step, proxy) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="index")

    run = step.run()

    assert (run.code, run.of(INVALIDATION)) == (1, [])


def test_resume_counts_what_earlier_runs_of_the_job_changed(step, proxy) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="index")
    step.run({"cloudfront_paths": "changed"})
    proxy.rules.clear()

    resumed = step.run({"mode": "resume", "cloudfront_paths": "changed"})

    assert (resumed.code, paths(resumed)) == (0, ["/a b.css", "/index.html"]), resumed.err


@pytest.mark.parametrize("how", ["resume", "run again"])
def test_a_job_killed_before_its_invalidation_is_not_forgotten(step, how) -> None:
    killed = step.process({"cloudfront_paths": "changed"}, S3BATCH_TEST_CRASH_AT="learned")
    settings = {"mode": "resume", "cloudfront_paths": "changed"}

    run = step.run(settings if how == "resume" else {"cloudfront_paths": "changed"})

    assert (killed.code, killed.of(INVALIDATION)) == (-signal.SIGKILL, [])
    assert (run.code, paths(run)) == (0, ["/a b.css", "/index.html"]), run.err
    assert [request.operation for request in run.changes] == [INVALIDATION]
