"""A journal below the working directory is content of the tree: it never decides what is sent, or where to."""

from __future__ import annotations

import os
import pwd
import sqlite3
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import Kind, Operation, Part, Reason
from s3batch.settings.table import TABLE, Settings
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

QUICK = {"S3BATCH_EXECUTOR": "inline", "S3BATCH_PROGRESS": "none"}
KEYS = {"S3BATCH_ACCESS_KEY": ACCESS_KEY, "S3BATCH_SECRET_KEY": SECRET_KEY}


@pytest.fixture
def store():
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def thief():
    """The planter's own store: any request to it is a leak."""
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def private(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret").write_text("secret")
    return tmp_path / "private"


def plant(path: Path, endpoint: str, source: Path, **more) -> str:
    """Write a journal with a job that was interrupted before it planned anything; return its id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = Settings(
        source=str(source), bucket="evil", target="loot", endpoint_url=endpoint, workspace=str(source),
        origins={"bucket": "x"}, **more,
    )  # fmt: skip
    with Journal.open(str(path)) as journal:
        return journal.jobs.begin(begun.command, str(source), "evil/loot/", endpoint, begun.public(), "1")


@pytest.mark.parametrize("place", [".s3batch/sync-0.db", "state/s3batch/sync-0.db", "home/.local/state/s3batch/x.db"])
@pytest.mark.parametrize("named", [False, True])
def test_a_bare_resume_sends_nothing_and_says_what_to_type(call, workspace, private, thief, place, named):
    job = plant(workspace / place, thief.url, private)
    homes = {"XDG_STATE_HOME": str(workspace / "state")} if place.startswith("state") else {}
    if place.startswith("home"):
        homes = {"XDG_STATE_HOME": "", "HOME": str(workspace / "home")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", homes.get("HOME", os.environ["HOME"]))
        ran = call("resume", *([job] if named else []), env={**homes, **KEYS, **QUICK})

    assert (ran.code, thief.requests) == (2, []), ran.err
    assert f"source '{private}', target 'evil/loot/', endpoint '{thief.url}'" in ran.err
    assert f"write s3batch resume {job} --journal {workspace / place}\n" in ran.err


def test_an_undo_says_how_to_undo(call, workspace, private, thief):
    """The line to type is that of the command: a resume would send what the undo was to take back."""
    job = plant(workspace / ".s3batch" / "x.db", thief.url, private)

    ran = call("undo", job, env={**KEYS, **QUICK})

    assert (ran.code, thief.requests) == (2, []), ran.err
    assert f"write s3batch undo {job} --journal {workspace / '.s3batch' / 'x.db'}\n" in ran.err


@pytest.mark.parametrize("how", ["a variable", "a config file"])
def test_a_journal_in_the_tree_is_not_chosen_by_what_is_set_for_good(call, workspace, private, thief, config_file, how):
    plant(workspace / "x.db", thief.url, private)
    config_file('[s3batch]\njournal = "x.db"\n' if how == "a config file" else "")
    env = {"S3BATCH_JOURNAL": "x.db"} if how == "a variable" else {}

    ran = call("resume", env={**env, **KEYS, **QUICK})

    assert (ran.code, thief.requests) == (2, []), ran.err


def test_a_link_in_the_state_directory_does_not_lift_it_out_of_the_tree(call, workspace, private, thief, tmp_path):
    plant(workspace / "x.db", thief.url, private)
    (tmp_path / "state" / "s3batch").mkdir(parents=True)
    (tmp_path / "state" / "s3batch" / "x.db").symlink_to(workspace / "x.db")

    ran = call("resume", env={**KEYS, **QUICK})

    assert ran.code in {2, 3}
    assert thief.requests == []


def test_a_tree_that_is_a_link_is_the_tree(call, workspace, private, thief, tmp_path, monkeypatch):
    plant(workspace / ".s3batch" / "x.db", thief.url, private)
    (tmp_path / "link").symlink_to(workspace)
    monkeypatch.chdir(tmp_path / "link")

    assert call("resume", env={**KEYS, **QUICK}).code == 2
    assert thief.requests == []


def test_what_the_journal_says_cannot_begin_a_line(call, workspace, tmp_path, thief):
    plant(workspace / ".s3batch" / "x.db", thief.url, tmp_path / "a\n::error::b\x1b[31m")

    ran = call("resume", env={**KEYS, **QUICK})

    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert "\x1b" not in ran.err


def test_the_flag_names_the_file(call, workspace, private, store):
    plant(workspace / ".s3batch" / "x.db", store.url, private)

    ran = call("resume", "--journal", ".s3batch/x.db", env={**KEYS, **QUICK})

    assert ran.code == 0, ran.err
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/secret"]


def test_settings_that_name_the_same_job_make_it_usable(call, workspace, private, store):
    plant(workspace / ".s3batch" / "x.db", store.url, private)
    same = ["--source", str(private), "--bucket", "evil", "--target", "/loot/", "--endpoint-url", store.url + "/"]

    ran = call("resume", *same, env={**KEYS, **QUICK})

    assert ran.code == 0, ran.err
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/secret"]


@pytest.mark.parametrize(
    ("name", "theirs", "flag"),
    [
        ("acl", "public-read", None), ("delete", True, None), ("cloudfront_distribution", "E1", None),
        ("cloudfront_endpoint", "http://evil", None), ("exclude", ("x",), None), ("object_manifest", True, None),
        ("acl", "public-read", "--acl=private"),
    ],
)  # fmt: skip
def test_a_setting_that_only_the_journal_in_the_tree_has_is_refused(
    call, workspace, private, store, name, theirs, flag
):
    plant(workspace / ".s3batch" / "x.db", store.url, private, **{name: theirs})
    same = ["--source", str(private), "--bucket", "evil", "--target", "loot", "--endpoint-url", store.url]

    ran = call("resume", *same, *([flag] if flag else []), env={**KEYS, **QUICK})

    assert (ran.code, store.requests) == (2, []), ran.err
    assert f"{name} is " in ran.err
    assert "was begun with " in ran.err


@pytest.mark.parametrize("journal", ["the user's own", "one that is named"])
def test_repeated_settings_may_be_equal_and_not_different(call, workspace, private, store, tmp_path, journal):
    path = tmp_path / "state" / "s3batch" / "x.db" if journal == "the user's own" else workspace / "x.db"
    named = [] if journal == "the user's own" else ["--journal", str(path)]
    plant(path, store.url, private)

    other = call("resume", *named, "--bucket", "good", env={**KEYS, **QUICK})
    assert (other.code, store.requests) == (2, []), other.err
    assert "bucket is 'good' (from --bucket)" in other.err
    assert "was begun with 'evil'" in other.err
    moved = call("resume", *named, env={**KEYS, **QUICK, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert (moved.code, store.requests) == (2, []), moved.err
    assert "endpoint_url is 'http://127.0.0.1:1' (from AWS_ENDPOINT_URL)" in moved.err

    equal = ["--source", str(private), "--target", "loot", "--bucket", "evil"]
    assert call("resume", *named, *equal, env={**KEYS, **QUICK}).code == 0
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/secret"]


def test_the_users_own_journal_decides_as_before(call, workspace, private, store, tmp_path):
    plant(tmp_path / "state" / "s3batch" / "x.db", store.url, private)

    ran = call("resume", env={**KEYS, **QUICK, "S3BATCH_BUCKET": "other", "S3BATCH_ACL": "private"})

    assert ran.code == 0, ran.err
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/secret"]


def test_resume_all_with_only_planted_journals_sends_nothing_and_says_what_to_type(call, workspace, private, thief):
    jobs = [plant(workspace / f".s3batch/sync-{number}.db", thief.url, private) for number in range(2)]

    ran = call("resume", "--all", env={**KEYS, **QUICK})

    assert (ran.code, thief.requests) == (2, []), ran.err
    assert f"source '{private}', target 'evil/loot/', endpoint '{thief.url}'" in ran.err
    assert any(f"write s3batch resume {job} --journal {workspace}/.s3batch/sync-" in ran.err for job in jobs)


def test_resume_all_finishes_the_users_own_jobs_and_warns_of_the_others(
    call, workspace, private, store, thief, tmp_path
):
    plant(tmp_path / "state" / "s3batch" / "x.db", store.url, private)
    job = plant(workspace / ".s3batch/sync-0.db", thief.url, private)

    ran = call("resume", "--all", env={**KEYS, **QUICK})

    assert (ran.code, thief.requests) == (0, []), ran.err
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/secret"]
    assert ran.err.count(f"write s3batch resume {job} --journal {workspace}/.s3batch/sync-0.db\n") == 1


def test_who_works_at_home_is_believed(call, private, store, tmp_path, monkeypatch):
    home = tmp_path / "home"
    plant(home / ".local/state/s3batch/x.db", store.url, private)
    entry = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd((*entry[:5], str(home), entry[6])))
    monkeypatch.chdir(home)
    env = {**KEYS, **QUICK, "XDG_STATE_HOME": str(home / ".local/state")}

    assert call("resume", env=env).code == 0
    (home / ".git").mkdir()
    plant(home / ".local/state/s3batch/x.db", store.url, private)
    assert call("resume", env=env).code == 2


def test_jobs_prune_aborts_nothing_on_the_word_of_the_tree(call, workspace, private, store, tmp_path):
    for path in (workspace / ".s3batch" / "x.db", tmp_path / "state" / "s3batch" / "own.db"):
        plant(path, store.url, private)
        with Journal.open(str(path)) as journal:
            journal.jobs.select(journal.jobs.list_all()[0].id)
            (row,) = journal.operations.add(
                [Operation(Kind.UPLOAD, "loot/secret", Reason.MISSING, "secret", 6)], lease=True
            )
            journal.uploads.begin(row.id, "id", [Part(row.id, 1, 0, 6)])
    own = call("jobs", "prune", env={**KEYS, **QUICK})
    assert [each.name for each in store.requests] == ["AbortMultipartUpload"]
    assert f"s3batch jobs prune --journal {workspace}/.s3batch/x.db" in own.err
    store.forget()

    alone = call("jobs", "prune", env={**KEYS, **QUICK})
    assert (alone.code, store.requests) == (2, []), alone.err

    named = call("jobs", "prune", "--journal", ".s3batch/x.db", env={**KEYS, **QUICK})
    assert (named.code, [each.name for each in store.requests]) == (0, ["AbortMultipartUpload"]), named.err


@pytest.mark.parametrize(
    "settings",
    [
        "{", "[]", "null", "7", "{}", '{"command": "sync", "bucket": 5}', '{"command": "sync", "workers": "2"}',
        '{"command": "rm -rf"}', '{"command": "sync", "build": 3}', '{"command": "sync", "include": "x"}',
        '{"command": "sync", "workspace": []}', '{"command": "sync", "executor": "other"}', "[" * 100_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["named", "own"])
def test_settings_that_cannot_be_read_are_damage(call, workspace, private, thief, tmp_path, settings, where):
    path = workspace / "x.db" if where == "named" else tmp_path / "state" / "s3batch" / "x.db"
    plant(path, thief.url, private)
    edit(path, "UPDATE job SET settings = ?", settings)

    for command in (["resume"], ["jobs", "show"]):
        ran = call(*command, *(["--journal", "x.db"] if where == "named" else []), env={**KEYS, **QUICK})

        if command == ["resume"] or where == "named":
            assert (ran.code, thief.requests) == (3, []), ran.err
        assert ran.code in {2, 3}
        assert "is damaged" in ran.err


@pytest.mark.parametrize("column", ["id", "state", "started", "source", "requests", "planned"])
def test_a_job_row_of_another_type_is_damage(call, workspace, private, thief, column):
    plant(workspace / "x.db", thief.url, private)
    edit(workspace / "x.db", f"UPDATE job SET {column} = ?", b"\xff\xff")

    for command in (["resume"], ["jobs", "list"], ["jobs", "show"], ["jobs", "prune"]):
        ran = call(*command, "--journal", "x.db", env={**KEYS, **QUICK})
        assert (ran.code, thief.requests) == (3, []), ran.err


def edit(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql, values)
    connection.close()


# -- the plugin


def step(workspace: Path, store: FakeS3, **more: str) -> dict[str, str]:
    given = {"bucket": "evil", "target": "loot", "source": "dist", "endpoint": store.url, **more}
    keys = {"PLUGIN_ACCESS_KEY": ACCESS_KEY, "PLUGIN_SECRET_KEY": SECRET_KEY}
    (workspace / "dist").mkdir(exist_ok=True)
    (workspace / "dist" / "a").write_text("a")
    return {**keys, **QUICK, **{f"PLUGIN_{name.upper()}": text for name, text in given.items()}}


def test_a_step_that_resumes_takes_the_settings_of_the_step_it_finishes(call, workspace, store):
    store.meddle = lambda request: refuse(request.name == "PutObject")
    assert call("plugin", env=step(workspace, store)).code == 1
    store.meddle = None
    store.forget()

    ran = call("plugin", env=step(workspace, store, mode="resume"))

    assert ran.code == 0, ran.err
    assert [each.key for each in store.requests if each.name == "PutObject"] == ["loot/a"]
    assert call("plugin", env=step(workspace, store, mode="resume")).code == 0


def refuse(wanted: bool):
    from tests.rig.fake_s3 import Reply, error

    return Reply(403, body=error("AccessDenied")) if wanted else None


@pytest.mark.parametrize(
    ("name", "value"), [("bucket", "other"), ("target", "other"), ("acl", "private"), ("delete", "true")]
)
def test_a_step_that_resumes_with_other_settings_is_refused_naming_both(call, workspace, store, name, value):
    store.meddle = lambda request: refuse(request.name == "PutObject")
    call("plugin", env=step(workspace, store))
    store.forget()

    ran = call("plugin", env=step(workspace, store, mode="resume", **{name: value}))

    assert (ran.code, store.requests) == (2, []), ran.err
    assert f"{name} is '{value.title() if name == 'delete' else value}'" in ran.err
    assert "was begun with" in ran.err


def test_a_step_with_credentials_alone_is_refused_whatever_the_workspace_says(call, workspace, private, thief):
    plant(workspace / ".s3batch" / "sync-0.db", thief.url, private, plugin=True)
    env = {"PLUGIN_MODE": "resume", "PLUGIN_ACCESS_KEY": ACCESS_KEY, "PLUGIN_SECRET_KEY": SECRET_KEY, **QUICK}

    ran = call("plugin", env=env)

    assert (ran.code, thief.requests) == (2, []), ran.err
    assert "bucket is missing" in ran.err
    assert call("plugin", env={**env, "PLUGIN_JOURNAL": ".s3batch/sync-0.db"}).code == 2


def test_a_step_that_resumes_sends_nothing_where_only_the_journal_says_to(call, workspace, private, thief, store):
    plant(workspace / ".s3batch" / "sync-0.db", thief.url, private, plugin=True)

    ran = call("plugin", env=step(workspace, store, mode="resume"))

    assert (ran.code, thief.requests, store.requests) == (2, [], [])
    assert f"endpoint_url is '{store.url}'" in ran.err or "source is" in ran.err


def test_every_setting_of_the_compared_topics_is_compared():
    from s3batch.coordinator import journal_trust

    assert set(journal_trust._COMPARED) <= set(TABLE)
    assert {"acl", "redirects", "cache", "prefix", "max_delete", "endpoint_url"} <= set(journal_trust._COMPARED)
