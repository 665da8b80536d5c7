"""Rows that a plan of the job could not have made are never read or sent: each is planted here, one by one."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import (
    ChunkSpec,
    KeptAttributes,
    Kind,
    Operation,
    OperationSpec,
    Part,
    Reason,
    RedirectSpec,
    Stage,
    UnreadableSpec,
)
from s3batch.plan.row_check import is_plain_path
from s3batch.settings.table import Settings
from tests.cli.test_journal_trust import KEYS, QUICK, edit
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3
from tests.rig.stamps import stamp_at

CHANGING = {"PutObject", "CopyObject", "DeleteObjects", "DeleteObject", "CreateMultipartUpload", "UploadPart"}


@pytest.fixture
def store():
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def tree(workspace: Path) -> Path:
    """The source, beside what is none of it."""
    (workspace / "tree" / ".s3batch").mkdir(parents=True, mode=0o700)
    for path in ("tree/a", "tree/b.secret", "tree/.s3batch/own", "secret"):
        (workspace / path).write_text(f"content of {path}")
    (workspace / "tree" / "link").symlink_to(workspace)
    return workspace / "tree"


def settings_for(tree: Path, store: FakeS3) -> Settings:
    return Settings(
        source=str(tree), bucket="b", target="site", endpoint_url=store.url, workspace=str(tree.parent),
        exclude=("*.secret",), redirects='{"old": "/new"}', symlinks="skip",
    )  # fmt: skip


def plant(journal_path: Path, tree: Path, store: FakeS3, *rows: Operation, **changes: object) -> str:
    """Write a journal whose job has these rows left, and a complete plan."""
    begun = settings_for(tree, store)
    with Journal.open(str(journal_path)) as journal:
        plan = begun.plan_digest()
        job = journal.jobs.begin("sync", str(tree), "b/site/", store.url, begun.public(), "1", plan=plan)
        journal.operations.add(list(rows))
        journal.jobs.set_planned()
    for column, value in changes.items():
        edit(journal_path, f"UPDATE operation SET {column} = ?", value)
    return job


def upload(tree: Path, path: str, key: str = "", **more) -> Operation:
    there = tree / path
    stamp = stamp_at(there if there.is_file() else tree / "a")
    return Operation(Kind.UPLOAD, key or f"site/{path}", Reason.MISSING, path, stamp.size, stamp, **more)


def row(kind: Kind, key: str, stage: int = Stage.MAIN, spec: OperationSpec | None = None, path: str = "") -> Operation:
    return Operation(kind, key, Reason.MISSING, path, stage=stage, spec=spec)


def resume(call, journal: Path, **env: str):
    return call("resume", "-vv", "--journal", str(journal), env={**KEYS, **QUICK, **env})


def changes(store: FakeS3) -> list[tuple[str, str]]:
    return [(each.name, each.key) for each in store.requests if each.name in CHANGING]


BAD = {
    "a path that goes up": lambda tree: upload(tree, "../secret"),
    "a path that goes up further in": lambda tree: upload(tree, "x/../../secret"),
    "an absolute path": lambda tree: upload(tree, str(tree.parent / "secret"), "site/x"),
    "an absolute path as key": lambda tree: upload(tree, str(tree.parent / "secret")),
    "a path with a dot": lambda tree: upload(tree, "./a"),
    "a path with an empty name": lambda tree: upload(tree, "x//a"),
    "an empty path": lambda tree: upload(tree, "", "site/"),
    "an excluded file": lambda tree: upload(tree, "b.secret"),
    "a file of our own": lambda tree: upload(tree, ".s3batch/own"),
    "a key out of the target": lambda tree: upload(tree, "a", "other/a"),
    "another key in the target": lambda tree: upload(tree, "a", "site/index.html"),
    "a comparison of a path that goes up": lambda tree: upload(tree, "../secret")._replace(kind=Kind.RECONCILE),
    "a copy of a key out of the target": lambda tree: upload(tree, "a", "other/a")._replace(kind=Kind.COPY),
    "a redirect of its own": lambda tree: row(Kind.REDIRECT, "login", Stage.REDIRECT, RedirectSpec("https://evil")),
    "another end of a redirect": lambda tree: row(Kind.REDIRECT, "old", Stage.REDIRECT, RedirectSpec("https://evil")),
    "a redirect in the main stage": lambda tree: row(Kind.REDIRECT, "old", Stage.MAIN, RedirectSpec("https://evil")),
    "a chunk": lambda tree: row(Kind.CHUNK, "site/x", spec=ChunkSpec(0, 0, 1), path="/etc/passwd"),
}


@pytest.mark.parametrize("what", BAD)
def test_such_a_row_is_refused_and_the_journal_set_aside(call, workspace, tree, store, what):
    journal = workspace / "x.db"
    planted = BAD[what](tree)
    plant(journal, tree, store, planted)

    ran = resume(call, journal)

    # a redirect of its own stage is planned anew, by the job's settings
    assert ran.code == (0 if planted.stage == Stage.REDIRECT else 3), ran.err
    assert (f"journal {journal} is damaged" in ran.err) is (ran.code == 3)
    assert journal.exists() is (ran.code == 0)
    assert set(changes(store)) <= {("PutObject", "site/a"), ("PutObject", "old")}
    assert not [each for each in store.requests if b"content of secret" in each.body or "evil" in str(each.headers)]


@pytest.mark.parametrize(
    ("key", "delete"),
    [("site/gone", False), ("other/gone", True), ("site/", True), ("site/.s3batch/fence", True), ("old", True),
     ("site/x.secret", True), ("sitegone", True)],
)  # fmt: skip
def test_a_delete_of_what_the_job_keeps_is_not_sent(call, workspace, tree, store, key, delete):
    journal = workspace / "x.db"
    store.objects = getattr(store, "objects", {})
    plant(journal, tree, store, upload(tree, "a"), row(Kind.DELETE, key, Stage.DELETE))
    if delete:
        edit(journal, "UPDATE job SET settings = json_set(settings, '$.delete', json('true'))")

    ran = resume(call, journal)

    assert ran.code in {0, 3}, ran.err
    assert not [each for each in store.requests if each.name in {"DeleteObjects", "DeleteObject"}]


def test_a_row_that_the_plan_could_have_made_is_carried_out(call, workspace, tree, store):
    journal = workspace / "x.db"
    redirect = row(Kind.REDIRECT, "old", Stage.REDIRECT, RedirectSpec("/new"))
    plant(journal, tree, store, upload(tree, "a"), redirect._replace(reason=Reason.REDIRECT))

    ran = resume(call, journal)

    assert ran.code == 0, ran.err
    assert sorted(changes(store)) == [("PutObject", "old"), ("PutObject", "site/a")]


def test_an_upload_whose_kept_attributes_cannot_be_read_is_damage(call, workspace, tree, store):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a", spec=UnreadableSpec('[{"x-amz-meta-theirs": ')), upload_id="U1")

    ran = resume(call, journal)

    # the file would be sent without the attributes that other programs gave its object
    assert (ran.code, changes(store)) == (3, []), ran.err
    assert f"journal {journal} is damaged" in ran.err


@pytest.mark.parametrize(
    "spec", [UnreadableSpec('{"x-amz-acl": "public-read"}'), KeptAttributes((("x-amz-acl", "public-read"),))]
)
def test_what_a_row_wants_beside_its_file_is_found_out_anew(call, workspace, tree, store, spec):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a", spec=spec))

    ran = resume(call, journal)

    assert ran.code == 0, ran.err
    put = next(each for each in store.requests if each.key == "site/a" and each.name == "PutObject")
    assert "x-amz-acl" not in put.headers


@pytest.mark.parametrize(
    ("column", "value"),
    [("kind", "rm"), ("reason", "x"), ("state", "x"), ("size", "many"), ("size", -1), ("stage", "x"), ("path", b"\xff"),
     ("key", b"\x07"), ("mtime_ns", "now"), ("attempts", 1.5), ("key", "x" * 5000), ("detail", b"7"),
     ("stage", 77), ("seconds", 9e999), ("written", 1e300), ("attempts", -1)],
)  # fmt: skip
def test_a_row_of_other_types_is_damage(call, workspace, tree, store, column, value):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a"), **{column: value})

    for command in (["jobs", "list"], ["jobs", "show"], ["resume"]):
        ran = call(*command, "--journal", str(journal), env={**KEYS, **QUICK})
        assert (ran.code, changes(store)) == (3, []), (command, ran.err)
        assert "is damaged" in ran.err


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER UPDATE ON operation BEGIN UPDATE operation SET path = '../secret'; END",
        "CREATE VIEW extra AS SELECT 1",
        'ALTER TABLE job ADD COLUMN "x\'); --" BLOB',
    ],
)
def test_a_journal_that_does_more_than_hold_rows_is_damage(call, workspace, tree, store, sql):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a"))
    edit(journal, sql)

    ran = resume(call, journal)

    assert (ran.code, changes(store)) == (3, []), ran.err
    assert "is damaged" in ran.err


@pytest.mark.parametrize("key", ["other/a", "../a", "/site/a"])
@pytest.mark.parametrize("command", ["resume", "jobs prune"])
def test_an_upload_out_of_the_target_is_not_aborted(call, workspace, tree, store, key, command):
    journal = workspace / "x.db"
    with Journal.open(str(journal)) as planted:
        planted.jobs.begin("sync", str(tree), "b/site/", store.url, settings_for(tree, store).public(), "1")
        (added,) = planted.operations.add([upload(tree, "a", key)], lease=True)
        planted.uploads.begin(added.id, "id", [Part(added.id, 1, 0, added.size)])
    edit(journal, "UPDATE job SET state = 'done'")
    plant(journal, tree, store, upload(tree, "a"))

    ran = call(*command.split(), "--journal", str(journal), env={**KEYS, **QUICK})

    assert ran.code == 3, ran.err
    assert [each for each in store.requests if each.name == "AbortMultipartUpload"] == []


@pytest.mark.parametrize(
    "parts", [[(1, 0, 5)], [(1, 0, 5), (2, 0, 9)], [(2, 0, 14)], [(1, 0, 7), (2, 7, 8)], [(1, -7, 14)]]
)
def test_parts_that_are_not_those_of_one_file_are_damage(call, workspace, tree, store, parts):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a"))
    with Journal.open(str(journal)) as planted:
        planted.jobs.select(planted.jobs.list_all()[0].id)
        planted.uploads.begin(1, "id", [Part(1, *part) for part in parts])

    ran = resume(call, journal)

    assert (ran.code, changes(store)) == (3, []), ran.err


def test_a_step_does_not_carry_out_what_it_finds_in_the_workspace(call, workspace, tree, store):
    env = {
        "PLUGIN_ACCESS_KEY": ACCESS_KEY, "PLUGIN_SECRET_KEY": SECRET_KEY, "PLUGIN_BUCKET": "b", "PLUGIN_TARGET": "site",
        "PLUGIN_SOURCE": "tree", "PLUGIN_ENDPOINT": store.url, "PLUGIN_SYMLINKS": "skip", **QUICK,
    }  # fmt: skip
    assert call("plugin", env=env).code == 0
    (journal,) = (workspace / ".s3batch").glob("*.db")
    edit(journal, "UPDATE job SET state = 'interrupted', planned = 1")
    edit(journal, "UPDATE operation SET state = 'pending', path = '../secret', key = 'site/a' WHERE key = 'site/a'")
    store.forget()

    ran = call("plugin", env=env)

    assert ran.code in {0, 3}, ran.err
    assert b"content of secret" not in b"".join(each.body for each in store.requests)


@pytest.mark.parametrize(("path", "plain"), [("a", True), ("a/b", True), ("", False), ("/a", False), ("a/", False),
                                             ("a/../b", False), ("..", False), ("a\0b", False), ("...", True)])  # fmt: skip
def test_a_plain_path(path, plain):
    assert is_plain_path(path) is plain


@pytest.mark.parametrize(("column", "value"), [("kind", "rm"), ("reason", "x"), ("path", b"\x07"), ("stage", "x")])
def test_a_row_of_other_types_in_a_journal_beyond_the_tree_is_damage_where_it_matters(
    call, tree, store, tmp_path, column, value
):
    journal = tmp_path / "x.db"
    plant(journal, tree, store, upload(tree, "a"), **{column: value})

    for command in (["jobs", "list"], ["jobs", "show"], ["resume"]):
        ran = call(*command, "--journal", str(journal), env={**KEYS, **QUICK})
        assert ran.code in {0, 3}, (command, ran.err)
    assert set(changes(store)) <= {("PutObject", "site/a"), ("PutObject", "old")}


@pytest.mark.parametrize("symlinks", ["skip", "inside"])
@pytest.mark.parametrize("how", ["the file", "its directory"])
def test_a_link_made_after_planning_is_not_followed_out_of_the_source(call, workspace, tree, store, symlinks, how):
    journal = workspace / "x.db"
    (tree / "sub").mkdir()
    (tree / "sub" / "secret").write_text("content of secret"[:12])
    plant(journal, tree, store, upload(tree, "sub/secret"))
    edit(journal, "UPDATE job SET settings = json_set(settings, '$.symlinks', ?)", symlinks)
    begun = Settings.from_public(read_settings(journal))
    edit(journal, "UPDATE job SET plan = ?", begun.plan_digest())
    (tree / "sub" / "secret").unlink()
    if how == "the file":
        (tree / "sub" / "secret").symlink_to(workspace / "secret")
    else:
        (tree / "sub").rmdir()
        (tree / "sub").symlink_to(workspace)

    ran = resume(call, journal)

    assert ran.code in {0, 1, 3}, ran.err
    assert b"content of secret" not in b"".join(each.body for each in store.requests)


def read_settings(path: Path) -> dict:
    with Journal.read_only(str(path)) as journal:
        return journal.jobs.list_all()[0].settings


def test_the_users_own_journals_are_opened_without_looking_at_each_row(call, workspace, tree, store, tmp_path):
    journal = tmp_path / "state" / "s3batch" / "x.db"
    journal.parent.mkdir(parents=True)
    plant(journal, tree, store, upload(tree, "../secret"))

    ran = call("resume", env={**KEYS, **QUICK})

    assert (ran.code, changes(store)) == (3, []), ran.err  # the row that is to be carried out is looked at all the same
    assert sqlite3.connect(next(journal.parent.glob("*.damaged-*[0-9]"))).execute("SELECT 1").fetchone() == (1,)


def test_an_operation_of_no_stage_is_damage_and_not_a_job_that_is_done(call, tree, store, tmp_path):
    journal = tmp_path / "x.db"
    plant(journal, tree, store, upload(tree, "a"), stage=77)

    ran = call("resume", "--journal", str(journal), env={**KEYS, **QUICK})

    assert ran.code == 3, ran.err
    assert f"journal {journal} is damaged (an operation has stage 77)" in ran.err
    assert "done in" not in ran.err


@pytest.mark.parametrize("command", [["resume"], ["jobs", "show"], ["jobs", "prune"], ["report", "--report", "x.json"]])
def test_a_job_that_continues_itself_is_damage_for_each_command(call, workspace, tree, store, command):
    journal = workspace / "x.db"
    plant(journal, tree, store, upload(tree, "a"))
    edit(journal, "UPDATE job SET continues = id")

    ran = call(*command, "--journal", str(journal), env={**KEYS, **QUICK})

    assert (ran.code, changes(store)) == (3, []), ran.err


_INFINITE = {
    "a duration": "UPDATE operation SET seconds = 9e999, state = 'done'",
    "requests": """UPDATE job SET requests = '{"PutObject": 1e999}'""",
    "a setting": "UPDATE job SET settings = json_set(settings, '$.timeout', 9e999)",
    "an ending": """INSERT INTO ending SELECT number, '{"proved": {"etag": NaN}}' FROM job""",
    "a sample": "INSERT INTO sample SELECT number, 9e999, 1, 1, 1, 1 FROM job",
}


@pytest.mark.parametrize("sql", _INFINITE.values(), ids=_INFINITE)
def test_no_document_holds_a_number_that_json_does_not_have(call, workspace, tree, store, sql):
    journal = workspace / "x.db"
    job = plant(journal, tree, store, upload(tree, "a"))
    edit(journal, sql)
    forms = [word for form in ("json", "csv", "html", "prom", "md") for word in ("--report", f"r.{form}")]

    for command in (["jobs", "show", job, "-v"], ["jobs", "list"], ["report", job, *forms], ["resume", job]):
        ran = call(*command, "--json", "--journal", str(journal), env={**KEYS, **QUICK})

        assert ran.code in ({0, 3} if command[0] != "resume" else {0, 1, 3}), (command, ran.err)
        for text in (ran.out, *(each.read_text() for each in Path.cwd().glob("r.*"))):
            assert not {"Infinity", "NaN", "inf"} & set(re.findall(r"\w+", text)), (command, text)
        if ran.code == 3:
            assert "damaged" in ran.err
