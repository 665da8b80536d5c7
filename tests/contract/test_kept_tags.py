"""A kill between a metadata copy and the put-back of the tags that the store drops loses no tag (real program, fake S3)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.crash.scene import kill_workers
from tests.rig import fake_s3, program
from tests.rig.fake_s3 import FakeS3, Manners, Seen

TAGS = (("team", "web"), ("ü", "1 = 2"))
FILES = {f"f{number}.html": b"%d" % number for number in range(4)}
DROPS = Manners(copy_drops=frozenset({"tags"}))


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture
def start(fake, tmp_path, make_tree, start_cli, clean_env) -> Callable:
    """``start("sync", ...)``: the program, with a source whose objects have another type, and tags."""
    tree = make_tree(FILES)
    environment = clean_env | {
        "AWS_ACCESS_KEY_ID": fake_s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET_KEY,
        "AWS_ENDPOINT_URL": fake.url, "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    (tmp_path / "cwd").mkdir()

    def run(command: str, *more: str, variable: str = ""):
        words = (
            [command, tree, "s3://bucket/site", "--workers", "1"] if command == "sync" else [command, "--workers", "1"]
        )
        named = {"S3BATCH_JOURNAL": variable} if variable else {}
        return start_cli([*words, *more], env=environment | named, cwd=tmp_path / "cwd")

    assert program.finish(run("sync")).code == 0
    for stored in fake.objects["bucket"].values():
        stored.headers["content-type"], stored.tags = "text/plain", TAGS
        stored.modified -= 3600
    fake.manners = DROPS
    return run


def on_first_put_back(fake: FakeS3, act: Callable[[], object]) -> None:
    """Do something when the first object has lost its tags and the request that puts them back has come."""
    done: list[str] = []

    def meddle(seen: Seen) -> None:
        if seen.name == "PutObjectTagging" and not done:
            done.append(seen.key)
            act()
            raise ConnectionAbortedError

    fake.meddle = meddle


def what_they_have(fake: FakeS3) -> set:
    """The tags and types that there are."""
    return {(each.tags, each.headers["content-type"].partition(";")[0]) for each in fake.objects["bucket"].values()}


@pytest.mark.parametrize("again", ["resume", "sync"])
def test_a_killed_job_puts_tags_back_when_it_is_resumed(fake, start, again):
    running = []
    on_first_put_back(fake, lambda: program.kill(running[0]))
    running.append(start("sync", "--no-trust-journal"))
    killed = program.finish(running[0])

    ended = program.finish(start(again))

    assert killed.code == -signal.SIGKILL
    assert ended.code == 0, ended.stderr
    assert what_they_have(fake) == {(TAGS, "text/html")}


def test_a_worker_that_dies_before_it_put_tags_back_loses_none(fake, start):
    running = []
    on_first_put_back(fake, lambda: kill_workers(running[0]))
    running.append(start("sync", "--no-trust-journal"))
    ended = program.finish(running[0])

    assert ended.code == 0, ended.stderr
    assert what_they_have(fake) == {(TAGS, "text/html")}


def test_a_put_back_that_failed_for_good_is_made_up_for_by_a_resume(fake, start):
    fake.manners = Manners(copy_drops=frozenset({"tags"}), refuses={"PutObjectTagging": (500, "InternalError")})
    failed = program.finish(start("sync", "--no-trust-journal", "--retries", "1"))
    fake.manners = DROPS

    ended = program.finish(start("resume"))

    assert (failed.code, ended.code) == (1, 0), ended.stderr
    assert what_they_have(fake) == {(TAGS, "text/html")}


def test_rows_of_a_killed_run_that_turn_out_to_be_uploads_are_uploaded(fake, start):
    """What this run has found out of such a row is not found out again, for ever."""
    running = []
    fake.meddle = lambda seen: program.kill(running[0]) if seen.name == "HeadObject" else None
    running.append(start("sync", "--no-trust-journal"))
    program.finish(running[0])
    fake.meddle = lambda _: None
    fake.manners = Manners(refuses={"CopyObject": (501, "NotImplemented")})

    ended = program.finish(start("resume"), timeout=60)

    assert ended.code == 0, ended.stderr
    assert what_they_have(fake) == {(TAGS, "text/html")}


def test_tags_that_another_has_set_since_are_left_alone(fake, start):
    running = []
    on_first_put_back(fake, lambda: program.kill(running[0]))
    running.append(start("sync", "--no-trust-journal"))
    program.finish(running[0])
    for each in fake.objects["bucket"].values():
        each.tags = (("new", "1"),)

    ended = program.finish(start("resume"))

    assert ended.code == 0, ended.stderr
    assert what_they_have(fake) == {((("new", "1"),), "text/html")}


def test_a_journal_in_the_tree_decides_no_tags(fake, start):
    running = []
    on_first_put_back(fake, lambda: program.kill(running[0]))
    running.append(start("sync", "--no-trust-journal", variable="j.db"))
    program.finish(running[0])

    ended = program.finish(start("sync", variable="j.db"))

    assert ended.code == 0, ended.stderr
    assert what_they_have(fake) == {(TAGS, "text/html"), ((), "text/html")}
