"""Arguments that a shell makes empty for a variable that is not set: no run does more, or the opposite, because of one."""

from __future__ import annotations

import pytest

import s3batch
from s3batch.base.errors import SettingsError
from s3batch.cli import parser
from s3batch.settings.schema import COMMANDS, Form
from s3batch.settings.table import GUARDS, TABLE, taken_by
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored

URL = "s3://prec1/backup"
ETAG = '"fbade9e36a3f36d3d676c1b808451dd7"'


@pytest.fixture
def store():
    with FakeS3() as fake:
        fake.objects["prec1"] = {"backup/a": Stored(b"z", ETAG), "backup/b": Stored(b"z", ETAG)}
        yield fake


@pytest.fixture
def access(store, workspace, monkeypatch):
    """A working directory with a file, and the variables to reach the store."""
    (workspace / "own.txt").write_bytes(b"own")
    (workspace / "site").mkdir()
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": store.url}
    for name, text in keys.items():
        monkeypatch.setenv(name, text)
    return keys


@pytest.mark.parametrize("empty", ["", " ", '""'], ids=["empty", "blank", "quotes"])
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["sync", URL, "{}", "--delete"], "TARGET"),
        (["sync", "{}", URL, "--delete"], "SOURCE"),
        (["sync", "--delete", "--", URL, "{}"], "TARGET"),
        (["sync", "{}", "--bucket", "prec1", "--target", "backup", "--delete"], "SOURCE"),
        (["sync", "site", URL, "{}", "--delete"], "argument 3 of sync"),
        (["sync", "--source", "{}", "--target", URL, "--delete"], "--source"),
        (["sync", "--source={}", "--target", URL, "--delete"], "--source"),
        (["sync", "--source", URL, "--target", "{}", "--delete"], "--target"),
        (["sync", "site", URL, "--plan", "{}"], "--plan"),
        (["sync", "site", URL, "--dry-run={}"], "--dry-run"),
        (["sync", "site", URL, "--delete", "--max-delete", "{}"], "--max-delete"),
        (["sync", "site", URL, "--delete", "--max_delete={}"], "--max_delete"),
        (["sync", "site", URL, "--files-from", "{}"], "--files-from"),
        (["sync", "site", URL, "--delete", "--backup={}"], "--backup"),
        (["sync", "site", URL, "--delete", "--exclude", "x", "--exclude", "{}"], "--exclude"),
        (["sync", "site", URL, "--delete", "--max-delete=1", "{}"], "argument 3 of sync"),
        (["sync", "site", URL, "--delete", "--config", "{}"], "--config"),
        (["sync", "site", URL, "--delete", "--env-file={}"], "--env-file"),
        (["verify", URL, "{}"], "TARGET"),
        (["explain", "{}", "site", URL], "PATH|KEY"),
        (["explain", "a", URL, "{}"], "TARGET"),
        (["doctor", "{}"], "s3://BUCKET/PREFIX"),
        (["backup", "prune", "{}", "--bucket", "prec1"], "s3://BUCKET/PREFIX"),
        (["backup", "prune", URL, "--older-than", "{}"], "--older-than"),
        (["cache", "clear", "{}", "--bucket", "prec1"], "s3://BUCKET/PREFIX"),
        (["cache", "inspect", URL, "{}"], "NAME"),
        (["resume", "{}"], "JOB"),
        (["undo", "{}"], "JOB"),
        (["jobs", "forget", "{}"], "JOB"),
        (["jobs", "show", "{}"], "JOB"),
        (["jobs", "list", "{}"], "argument 1 of jobs list"),
        (["plan", "{}"], "FILE"),
        (["apply", "{}"], "FILE"),
        (["config", "sync", URL, "{}"], "TARGET"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)  # fmt: skip
def test_an_empty_argument_is_named_and_nothing_is_sent(call, access, store, words, name, empty):
    if empty == '""' and name in {"--config", "--env-file"}:
        pytest.skip("the name of a file, which there may be")

    ended = call(*[word.format(empty) for word in words], env=access)

    assert (ended.code, ended.err) == (2, f"s3batch: error: {name} is empty; is a variable unset?\n")
    assert not store.requests


@pytest.mark.parametrize("command", ["sync", "verify", "explain a"])
def test_one_place_in_s3_may_be_either_side_and_is_refused(call, access, store, command):
    ended = call(*command.split(), URL, env=access)

    assert ended.code == 2
    assert f"got one place, {URL}, and no source; write SOURCE and TARGET" in ended.err
    assert not store.requests


@pytest.mark.parametrize("way", ["a flag", "a variable", "the config file"])
def test_one_place_is_the_target_of_a_source_that_is_given(call, access, store, config_file, workspace, way):
    (workspace / "site" / "page").write_bytes(b"page")
    if way == "the config file":
        config_file('[s3batch.sync]\nsource = "site"\n')
    flags = ["--source", "site"] if way == "a flag" else []

    ended = call("sync", URL, *flags, env=access | ({"S3BATCH_SOURCE": "site"} if way == "a variable" else {}))

    assert ended.code == 0, ended.err
    assert set(store.objects["prec1"]) == {"backup/a", "backup/b", "backup/page"}


def test_an_empty_variable_and_key_stay_unset(call, access, config_file):
    config_file('[s3batch.sync]\nmax_delete = ""\nexclude = ""\n')

    found = call("config", "sync", "--json", "--region", "", env=access | {"S3BATCH_BACKUP": "", "S3BATCH_PLAN": " "})

    assert [found.setting(name) for name in ("max_delete", "exclude", "backup", "plan")] == [
        ("", "default"), ([], "default"), ("", "default"), ("", "default")
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_every_guard_needs_a_value_as_a_flag(name):
    row = TABLE[name]
    for command in (command for command in COMMANDS if name in taken_by(command)):
        forms = [[f"{row.flag}="], [f"--{name}="]] + [[row.flag, ""]] * (row.form is not Form.BOOLEAN)
        for words in forms:
            with pytest.raises(SettingsError, match="is empty; is a variable unset"):
                parser.merge_settings(command, words, {}, None)


@pytest.mark.parametrize("function", [s3batch.sync, s3batch.verify])
@pytest.mark.parametrize(
    ("places", "more", "name"),
    [
        ((URL, ""), {"delete": True}, "TARGET"),
        ((" ", URL), {"delete": True}, "SOURCE"),
        (("site", URL), {"delete": True, "max_delete": ""}, "max_delete"),
        (("site", URL), {"exclude": " "}, "exclude"),
        (("site", URL), {"config": ""}, "--config"),
    ],
)
def test_a_python_program_gets_the_same_answer(access, store, function, places, more, name):
    more = more if function is s3batch.sync else {key: value for key, value in more.items() if key != "delete"}

    with pytest.raises(s3batch.SettingsError, match=f"^{name} is empty"):
        function(*places, **more)

    assert not store.requests
    with pytest.raises(s3batch.SettingsError, match=r"^JOB is empty"):
        s3batch.resume("")
