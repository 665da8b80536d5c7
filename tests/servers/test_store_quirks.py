"""Quirks of real servers: what they drop or do not give back makes no run lose it, or do it all again."""

from __future__ import annotations

import os

import pytest

from tests.rig import buckets, program
from tests.rig.servers import Quirk

FILES = {f"f{n}.html": b"%d" % n for n in range(5)}


@pytest.fixture(params=["ministack", "moto", "rclone", "rgw"])
def store(request, server_named):
    """A bucket on each server there is."""
    bucket = buckets.make_bucket(server_named(request.param))
    yield bucket
    buckets.remove_bucket(bucket)


@pytest.fixture
def sync(store, clean_env, make_tree, tmp_path):
    """``sync(files, *arguments)``: a run without anything remembered."""

    def run(files: dict[str, bytes], *arguments: str) -> program.Finished:
        root = make_tree(files)
        for path in root.rglob("*"):
            os.utime(path, (1_700_000_000,) * 2)
        number = sum(1 for _ in tmp_path.glob("state-*"))
        (tmp_path / f"state-{number}").mkdir()
        state = {"XDG_STATE_HOME": str(tmp_path / f"state-{number}")}
        words = [
            "sync",
            root,
            f"s3://{store.name}/site",
            "--executor",
            "inline",
            "--json",
            "--retries",
            "3",
            *arguments,
        ]
        return program.run(words, clean_env | store.server.environment() | state, tmp_path)

    return run


def copied(run: program.Finished) -> int:
    operations = run.json["operations"]
    return operations["copy"]["done"] + operations["upload"]["done"]


def test_a_metadata_copy_keeps_tags_and_headers_of_others(store, sync):
    if store.server.has(Quirk.TAGS_LOST):
        pytest.skip("this server has no tags")
    for name, body in FILES.items():
        store.client.put_object(
            Bucket=store.name, Key=f"site/{name}", Body=body, ContentType="text/plain", Tagging="team=web",
            ContentDisposition="inline", Metadata={"foreign": "1"},
        )  # fmt: skip

    run = sync(FILES)
    again = sync(FILES)

    assert (run.code, copied(run), again.code, copied(again)) == (0, 5, 0, 0), run.stderr
    for name in FILES:
        head = store.client.head_object(Bucket=store.name, Key=f"site/{name}")
        tags = store.client.get_object_tagging(Bucket=store.name, Key=f"site/{name}").get("TagSet", [])
        assert (head["ContentType"], head["ContentDisposition"]) == ("text/html; charset=utf-8", "inline")
        assert head["Metadata"] == {"foreign": "1"}
        assert tags == [{"Key": "team", "Value": "web"}]


@pytest.mark.parametrize(
    "settings",
    [
        ["--encryption", "AES256"],
        ["--acl", "public-read"],
        ["--tags", "a=b"],
        ["--expires", "Thu, 01 Jan 2037 00:00:00 GMT"],
    ],
    ids=["encryption", "acl", "tags", "expires"],
)
def test_what_a_server_does_not_give_back_makes_no_run_do_all_again(store, sync, settings):
    runs = [sync(FILES, *settings) for _ in range(3)]

    assert [run.code for run in runs] == [0, 0, 0], runs[0].stderr
    assert copied(runs[0]) == len(FILES)
    assert [copied(run) <= 1 for run in runs[1:]] == [True, True]
