"""Renamed files on stores that refuse copies or lose things in them, and what a planted journal may not do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s3batch.model import Kind, MovedObject, Operation, Reason
from s3batch.plan.row_check import RowCheck
from s3batch.plan.spec import SyncSpec
from s3batch.settings.table import Settings
from tests.cli.test_journal_trust import KEYS, QUICK
from tests.rig.fake_s3 import FakeS3, Manners
from tests.rig.stamps import stamp_at

CONTENT = b"the content of a file" * 10


@pytest.fixture
def store() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def sync(call, workspace: Path, store: FakeS3):
    (workspace / "tree").mkdir()
    (workspace / "tree" / "old.html").write_bytes(CONTENT)
    (workspace / "tree" / "stays").write_bytes(b"x")

    def run(*flags: str) -> dict[str, int]:
        ran = call(
            "sync", "tree", "s3://b/site", "--delete", "--json", "--cache-control", "no-cache", *flags,
            env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url},
        )  # fmt: skip
        assert ran.code == 0, ran.err
        return {kind: count["done"] for kind, count in ran.json["operations"].items() if count["done"]}

    assert run() == {"upload": 2}
    (workspace / "tree" / "old.html").rename(workspace / "tree" / "new.html")
    store.requests.clear()
    return run


@pytest.mark.parametrize(
    "manners",
    [
        pytest.param({"refuses": {"CopyObject": (501, "NotImplemented")}}, id="copies are not supported"),
        pytest.param({"refuses": {"CopyObject": (403, "AccessDenied")}}, id="copies are not allowed"),
        pytest.param({"copy_drops": frozenset({"cache-control"})}, id="a copy loses an attribute"),
        pytest.param({"copy_drops": frozenset({"content-type"})}, id="a copy loses the type"),
        pytest.param({"refuses": {"HeadObject": (403, "AccessDenied")}}, id="a copy cannot be looked at"),
    ],
)
def test_where_no_whole_copy_can_be_made_the_file_is_sent(sync, store: FakeS3, manners) -> None:
    store.manners = replace(Manners(), **manners)

    assert sync() == {"upload": 1, "delete": 1}

    [new] = [stored for key, stored in store.objects["b"].items() if key == "site/new.html"]
    assert (new.body, new.headers["cache-control"]) == (CONTENT, "no-cache")


def test_a_store_that_ignores_the_condition_of_a_copy_publishes_no_other_content(
    sync, store: FakeS3, monkeypatch
) -> None:
    copy = store._copy_object

    def overtaken(request, objects):
        source = objects["site/old.html"]  # someone else writes it, in the moment before the copy
        source.body = b"X" * len(source.body)
        source.checksum = ("", "")
        return copy(request, objects)

    monkeypatch.setattr(type(store), "_copy_object", lambda _, request, objects: overtaken(request, objects))

    assert sync()["upload"] == 1
    assert store.objects["b"]["site/new.html"].body == CONTENT


def test_where_it_can_be_made_nothing_is_sent(sync, store: FakeS3) -> None:
    assert sync() == {"copy": 1, "delete": 1}

    assert not [
        each for each in store.requests if each.name == "PutObject" and not each.headers.get("x-amz-copy-source")
    ]
    [copy] = [each for each in store.requests if each.name == "CopyObject"]
    etag = hashlib.md5(CONTENT).hexdigest()
    assert copy.headers["x-amz-copy-source-if-match"] == f'"{etag}"'


def test_a_filter_that_hides_the_old_object_keeps_it_and_the_file_is_sent(sync, store: FakeS3) -> None:
    assert sync("--exclude", "old.html") == {"upload": 1}
    assert "site/old.html" in store.objects["b"]


def test_many_objects_of_one_size_are_tried_by_name(sync, store: FakeS3, workspace: Path) -> None:
    for number in range(30):
        (workspace / "tree" / f"{number}.x").write_bytes(b"%02d" % number + CONTENT)
    sync()
    (workspace / "tree" / "deep").mkdir()
    for number in range(30):
        (workspace / "tree" / f"{number}.x").rename(workspace / "tree" / "deep" / f"{number}.x")

    assert sync() == {"copy": 30, "delete": 30}
    assert store.objects["b"]["site/deep/7.x"].body == b"07" + CONTENT


@pytest.mark.parametrize(
    ("origins", "foreign", "kept"),
    [
        ((("site/old", "e", "c"),), False, True),
        ((("site/old", "e", "c"),), True, False),
        ((("site/old", "e", ""), ("elsewhere/secret", "e", "")), False, False),
    ],
)
def test_an_origin_counts_only_if_the_journal_is_our_own_and_the_key_too(
    workspace: Path, origins, foreign, kept
) -> None:
    (workspace / "tree").mkdir()
    (workspace / "tree" / "a").write_text("a")
    wanted = SyncSpec.from_settings(Settings(source="tree", bucket="b", target="site", workspace=str(workspace)))
    row = Operation(Kind.RECONCILE, "site/a", Reason.UNKNOWN, "a", 1, stamp_at(workspace / "tree" / "a"))

    admitted = RowCheck(wanted, is_foreign=foreign).admit(row._replace(spec=MovedObject(origins)))

    assert admitted is not None
    assert (admitted.recheck, admitted.spec) == (True, MovedObject(origins) if kept else None)
