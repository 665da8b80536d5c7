"""``--newest-wins``: a change that is under way when a newer run writes counts only where it overwrites nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Seen, Stored

NEWER = Stored(b"of the newer run", '"newer"')


@pytest.fixture
def store() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        fake.objects["b"] = {}
        fake.objects["from"] = {}
        yield fake


@pytest.fixture
def sync(call, store: FakeS3) -> Callable[..., object]:
    def run(source: str, number: int, *flags: str) -> object:
        words = ["sync", source, "s3://b/www", "--newest-wins", str(number), "--endpoint-url", store.url, "--json"]
        keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--executor", "inline", "--retries", "2"]
        return call(*words, *keys, *flags)

    return run


def overtake(store: FakeS3, name: str, key: str) -> None:
    """Have a newer run write the fence and an object while a request of this name is under way to it."""

    def meddle(request: Seen) -> None:
        if (request.name, request.key) == (name, key):
            store.objects["b"][key] = NEWER
            store.objects["b"]["www/.s3batch/fence"] = Stored(b"43\n", '"43"')

    store.meddle = meddle


def delete(store: FakeS3, sync: Callable[..., object], workspace) -> Callable[[], object]:
    (workspace / "tree" / "new").write_text("new")
    store.objects["b"]["www/a"] = Stored(b"old", '"old"')
    return lambda: sync("tree", 42, "--delete")


def copy_metadata(store: FakeS3, sync: Callable[..., object], workspace) -> Callable[[], object]:
    (workspace / "tree" / "a").write_text("same")
    assert sync("tree", 41).code == 0
    return lambda: sync("tree", 42, "--cache-control", "no-store")


def transfer(store: FakeS3, sync: Callable[..., object], workspace) -> Callable[[], object]:
    store.objects["from"]["a"] = Stored(b"source", '"source"')
    store.objects["b"]["www/a"] = Stored(b"old", '"old"')
    return lambda: sync("s3://from", 42)


@pytest.mark.parametrize(
    ("name", "make", "ignored"),
    [
        pytest.param("DeleteObject", delete, (), id="a delete"),
        pytest.param("CopyObject", copy_metadata, (), id="new metadata"),
        pytest.param(
            "CopyObject", copy_metadata, ("CopyObject",), id="new metadata, on a store that pins sources only"
        ),
        pytest.param("CopyObject", transfer, (), id="a copy by the store"),
    ],
)
def test_a_change_under_way_leaves_what_a_newer_run_has_written(store, sync, workspace, name, make, ignored):
    (workspace / "tree").mkdir()
    run = make(store, sync, workspace)
    store.manners = Manners(ignores_conditions=frozenset(ignored))
    overtake(store, name, "www/a")

    ended = run()

    assert [each.name for each in store.requests if (each.name, each.key) == (name, "www/a")], "it was under way"
    assert store.objects["b"]["www/a"] is NEWER
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("name", "make", "left"),
    [("DeleteObject", delete, None), ("CopyObject", copy_metadata, b"same"), ("CopyObject", transfer, b"source")],
)
def test_a_store_that_refuses_the_condition_gets_the_change_without(store, sync, workspace, name, make, left):
    (workspace / "tree").mkdir()
    run = make(store, sync, workspace)
    store.manners = Manners(refuses_conditions=frozenset({name}))

    ended = run()

    assert ended.code == 0, ended.err
    there = store.objects["b"].get("www/a")
    assert (there and there.body) == left
    if make is copy_metadata:
        assert there.headers["cache-control"] == "no-store"
