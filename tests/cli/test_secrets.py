"""A canary in every secret: no stream and no file of ours ever shows one, however a run goes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from s3batch.cli import main
from s3batch.settings.schema import COMMANDS
from s3batch.settings.table import TABLE, taken_by
from tests.rig import program
from tests.rig.fake_s3 import FakeS3, Reply, error

KEY, SECRET, TOKEN = "CANARYACCESSKEY00000", "canary/secret+key=00000000000000", "canary-session-token"
CANARIES = ("canary", quote(SECRET, safe=""))
SECRETS = [name for name, row in TABLE.items() if row.secret]
COMMANDS_RUN = {
    "sync": ["sync", "tree", "s3://b/p"],
    "dry run": ["sync", "tree", "s3://b/p", "--dry-run"],
    "verify": ["verify", "tree", "s3://b/p"],
    "doctor": ["doctor", "s3://b/p"],
    "rebuild": ["cache", "rebuild", "s3://b/c", "--cache", "tree"],
    "restore": ["cache", "restore", "s3://b/c", "--cache", "tree"],
    "list": ["cache", "list", "s3://b/c"],
    "prune": ["cache", "prune", "s3://b/c"],
    "config": ["config", "sync", "tree", "s3://b/p"],
}


@pytest.fixture
def store():
    with FakeS3() as fake:
        fake.keys = {KEY: SECRET}
        yield fake


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    return tmp_path


def environment(place: Path, url: str) -> dict[str, str]:
    return program.clean_environment(place) | {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN,
        "S3BATCH_CACHE_SECRET": "canary-of-the-cache", "AWS_ENDPOINT_URL_S3": url, "TMPDIR": str(place),
        "DRONE_REPO": "o/r", "DRONE_REPO_OWNER": "o", "DRONE_REPO_NAME": "r", "DRONE_COMMIT_BRANCH": "b",
    }  # fmt: skip


def assert_no_canary(place: Path, ended: program.Finished) -> None:
    texts = {"stdout": ended.stdout.encode(), "stderr": ended.stderr.encode("utf-8", "surrogateescape")}
    texts |= {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    shown = {name for name, text in texts.items() for canary in CANARIES if canary.lower().encode() in text.lower()}
    assert not shown


def echo(request) -> Reply:
    """What a store may do: repeat all it was told."""
    told = "; ".join([f"{name}: {value}" for name, value in request.headers.items()] + [SECRET])  # which it knows
    return Reply(403, {"x-amz-request-id": told[:200]}, error("AccessDenied", told, AWSAccessKeyId=KEY, Extra=told))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS_RUN)
@pytest.mark.parametrize(
    "repeats",
    [(), ("PutObject", "GetObject", "CopyObject"), ("ListObjectsV2",)],
    ids=["a good store", "one that repeats what it hears", "one that repeats it at once"],
)
def test_no_stream_and_no_file_shows_a_secret(store, place, command, repeats):
    if repeats:
        store.meddle = lambda request: echo(request) if request.name in repeats else None
    more = {"config": []}.get(
        command, ["-vv", "--workers", "1"] if command in {"sync", "rebuild", "restore"} else ["-vv"]
    )
    words = [
        *COMMANDS_RUN[command],
        *more,
        *(["--json"] if command in {"sync", "config"} else ["--log-format", "json"]),
    ]

    ended = program.run(words, environment(place, store.url), place)

    assert_no_canary(place, ended)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["table", "json"])
def test_config_shows_no_secret_wherever_it_came_from(call, tmp_path, name, as_json):
    value = "canary, \"with\" 'quotes' and \\ a slash"
    command = next(each for each in COMMANDS if name in taken_by(each) and each not in {"config", "plugin"})
    row = TABLE[name]
    shown = value
    if name in {"sse_c_key", "source_sse_c_key"}:  # a key has 32 bytes, and its flag names a file
        value, shown = "canary, exactly 32 bytes of key.", str(tmp_path / "key")
        (tmp_path / "key").write_text(value)
    (tmp_path / "settings.toml").write_text(f"[s3batch]\n{name} = {json.dumps(value)}\n")

    for argv, environ in (
        ([f"{row.flag}={shown}"], {}),
        ([], {row.variable: value}),
        (["--config", str(tmp_path / "settings.toml")], {}),
    ):
        answer = call("config", *command.split(), *argv, *as_json, env=environ)
        assert "canary" not in answer.out + answer.err
        assert "***" in answer.out


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        (["sync", "a", "s3://b", "--secret-keys=canary"], {}),
        (["sync", "a", "s3://b", "--access-key", "canary-key"], {}),
        (["sync", "a", "s3://b", "--secret-key=canary-key"], {}),
        (["sync", "a", "s3://b"], {"AWS_SECRET_ACCESS_KEY": "canary\nkey"}),
        (["snyc"], {"AWS_SECRET_ACCESS_KEY": "canarykey"}),
        (["sync", "a", "s3://b", "--endpoint-url", "http://user:canary@x"], {}),
    ],
)
def test_no_complaint_about_settings_shows_a_secret(call, argv, environ):
    answer = call(*argv, env=environ)

    assert answer.code in {2, 4}
    assert "canary" not in answer.err + answer.out


def test_a_bug_shows_no_secret(monkeypatch, capsys, tmp_path):
    def fails(*_: object) -> None:
        raise ZeroDivisionError("canary-secret")

    monkeypatch.setattr("s3batch.commands.jobs.list.list_jobs", fails)

    code = main(
        ["jobs", "list", "-vv"],
        {**os.environ, "AWS_SECRET_ACCESS_KEY": "canary-secret", "XDG_STATE_HOME": str(tmp_path)},
    )

    captured = capsys.readouterr()
    assert code == 70
    assert "canary" not in captured.err + captured.out
