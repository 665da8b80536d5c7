"""The schemas in docs/ describe what commands really print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, error

DOCS = Path(__file__).parents[2] / "docs"
REPORT, EVENTS = (
    json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8")) for name in ("report", "events")
)
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in (REPORT, EVENTS)
)
ENV = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1",
    "DRONE": "true", "DRONE_REPO": "octo/site", "DRONE_REPO_BRANCH": "main",
}  # fmt: skip
CACHE = ["--bucket", "b", "--cache-key", "k", "--cache", "src"]

COMMANDS = [
    ["sync", "src", "s3://b/site"],
    ["sync", "src", "s3://b/new", "--dry-run"],
    ["sync", "src", "s3://b/new", "--delte"],
    ["sync", "nowhere", "s3://b/new"],
    ["nonsense"],
    ["resume"],
    ["resume", "--all"],
    ["verify", "src", "s3://b/site"],
    ["doctor", "s3://b/site"],
    ["cache", "rebuild", *CACHE],
    ["cache", "rebuild", *CACHE, "--dry-run"],
    ["cache", "restore", *CACHE],
    ["cache", "list", "s3://b"],
    ["cache", "inspect", "s3://b"],
    ["cache", "clear", "s3://b"],
    ["cache", "prune", "s3://b", "--ttl", "1d"],
    ["jobs", "list"],
    ["jobs", "show"],
    ["jobs", "prune"],
    ["report"],
    ["explain", "src/a", "src", "s3://b/site"],
    ["sync", "src", "s3://b/new", "--plan", "new.plan"],
    ["plan", "new.plan"],
    ["apply", "new.plan"],
    ["undo", "nothing"],
    ["backup", "prune", "s3://b/backups", "--older-than", "30d"],
    ["config"],
]


def wrong(schema: dict[str, Any], document: Any) -> list[str]:
    """Return what is wrong with a document."""
    validator = Draft202012Validator(schema, registry=REGISTRY)
    return [f"{'/'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(document)]


@pytest.fixture
def store():
    with FakeS3() as running:
        yield running


@pytest.fixture
def ran(call, store, workspace):
    """``ran("sync", ...)``: what it prints on stdout, after a sync of which one file was refused."""
    (workspace / "src").mkdir()
    for name in "ab":
        (workspace / "src" / name).write_text(name)
    refuse(store, "b")
    assert call("sync", "src", "s3://b/site", "--endpoint-url", store.url, env=ENV).code == 1

    def run(*words: str) -> str:
        online = words[0] not in {"config", "report", "plan"} and words[:2] not in {("jobs", "list"), ("jobs", "show")}
        return call(*words, *(["--endpoint-url", store.url] if online else []), env=ENV).out

    return run


def refuse(store: FakeS3, end: str) -> None:
    store.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.key.endswith(f"/{end}") else None


@pytest.mark.parametrize("schema", [REPORT, EVENTS])
def test_a_schema_is_one(schema):
    Draft202012Validator.check_schema(schema)


def test_each_command_prints_such_a_document(ran):
    found = {" ".join(words): wrong(REPORT, json.loads(ran(*words, "--json"))) for words in COMMANDS}

    assert {words: mistakes for words, mistakes in found.items() if mistakes} == {}


def test_a_sync_that_could_not_begin_has_such_a_document(ran, store):
    store.meddle = lambda _: Reply(404, body=error("NoSuchBucket"))

    assert wrong(REPORT, json.loads(ran("sync", "src", "s3://b/x", "--json"))) == []


@pytest.mark.parametrize(
    "words", [["sync", "src", "s3://b/site"], ["sync", "src", "s3://b/x", "--delte"], ["verify", "src", "s3://b/site"]]
)
def test_each_line_is_such_an_event(ran, words):
    lines = [json.loads(line) for line in ran(*words, "--json-lines").splitlines()]

    assert [wrong(EVENTS, line) for line in lines] == [[] for _ in lines]
    assert lines[-1]["event"] == "ended"


def test_the_schemas_refuse_what_is_no_document():
    assert wrong(REPORT, {"schema": 1})
    assert wrong(EVENTS, {"event": "progress", "time": "2026-11-29T08:00:00.123Z"})
