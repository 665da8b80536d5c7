"""A bucket of several pages, which the journal knows: pages are asked for ahead, and all changes are found."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.test_journal_trust import KEYS, QUICK
from tests.rig.fake_s3 import FakeS3, Reply, Seen, Stored, error

OBJECTS = 4500


def test_a_listing_by_the_keys_of_the_last_one_is_whole(call, workspace: Path) -> None:
    (workspace / "tree").mkdir()
    with FakeS3() as store:

        def sync(*flags: str) -> dict:
            store.requests.clear()
            ran = call(
                "sync", "tree", "s3://b/site", "--json", *flags,
                env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url},
            )  # fmt: skip
            assert ran.code == 0, ran.err
            return ran.json

        def read_starts() -> list[str]:
            return [each.query.get("start-after", "") for each in store.requests if each.name == "ListObjectsV2"]

        (workspace / "tree" / "a file").write_text("content")
        sync()
        objects = store.objects["b"]
        for number in range(OBJECTS):
            objects[f"site/{number:05d}"] = objects["site/a file"]
        assert sync()["unchanged"] == 1
        assert set(read_starts()) == {""}

        assert sync()["unchanged"] == 1
        assert sorted(filter(None, read_starts())) == ["site/00999", "site/01999", "site/02999"]

        busy = iter([503, 500])
        store.meddle = lambda request: (
            Reply(status, {}, error("SlowDown", "later"))
            if request.query.get("start-after") == "site/01999" and (status := next(busy, None))
            else None
        )
        assert sync()["unchanged"] == 1
        assert sorted(filter(None, read_starts())) == ["site/00999", *["site/01999"] * 3, "site/02999"]

        for number in range(1200, 1400):
            del objects[f"site/{number:05d}"]
        for number in range(150):
            objects[f"site/02500-{number}"] = objects["site/a file"]
        del objects["site/a file"]
        assert sync()["operations"]["upload"]["done"] == 1
        (workspace / "tree" / "a file").unlink()
        (workspace / "tree" / "00007").write_text("content")
        sync("--delete")
        assert set(objects) == {"site/00007"}


def make_stored(body: bytes) -> Stored:
    return Stored(body, hashlib.md5(body, usedforsecurity=False).hexdigest())


def make_manifest(names: list[str]) -> bytes:
    rows = [{"s3batch": "manifest", "version": 1, "target": "b/site/"}]
    rows += [[name, "0" * 32, 7, 1.0, "", 7, ""] for name in names]
    lines = b"".join(json.dumps(row).replace(", ", ",").encode() + b"\n" for row in rows)
    return gzip.compress(
        lines + json.dumps({"blake2b": hashlib.blake2b(lines, digest_size=32).hexdigest()}).encode() + b"\n"
    )


@pytest.mark.parametrize(
    ("makes", "starts"),
    [
        pytest.param(make_manifest, ["site/00998", "site/01998", "site/02998"], id="whole"),
        pytest.param(lambda names: make_manifest(names[::2]), ["site/00998"], id="of other objects"),
        pytest.param(lambda names: make_manifest(names[2000:]), [], id="without the first page"),
        pytest.param(
            lambda names: make_manifest([*names[:2998], "\ud800", *names[2999:]]),
            ["site/00998"],
            id="a name that is no text",
        ),
        pytest.param(
            lambda names: make_manifest([*names[:999], *names[:999] * 3]),
            ["site/00000", "site/00998"],
            id="in no order",
        ),
        pytest.param(lambda names: make_manifest(names)[:9000], [], id="cut"),
        pytest.param(lambda _: b"something", [], id="no manifest"),
        pytest.param(None, [], id="none"),
    ],
)
def test_a_machine_without_a_journal_lists_by_the_keys_of_the_manifest(call, workspace: Path, makes, starts) -> None:
    (workspace / "tree").mkdir()
    (workspace / "tree" / "a file").write_text("content")
    names = [f"{number:05d}" for number in range(OBJECTS)]
    with FakeS3() as store:
        objects = store.objects.setdefault("b", {})
        objects |= {f"site/{name}": make_stored(b"content") for name in names}
        if makes:
            objects["site/.s3batch/manifest"] = make_stored(makes(names))

        ran = call(
            "sync", "tree", "s3://b/site", "--object-manifest", "--delete", "--json",
            env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url},
        )  # fmt: skip

        asked = [each.query.get("start-after", "") for each in store.requests if each.name == "ListObjectsV2"]
        fetched = [each.key for each in store.requests if each.name == "GetObject"]
        assert ran.code == 0, ran.err
        assert sorted(objects) == ["site/.s3batch/manifest", "site/a file"]
        assert ran.json["operations"]["delete"]["done"] == OBJECTS
    assert (
        sorted(start for start in asked if start.removeprefix("site/").isdigit()) == starts
    )  # those before deletes differ
    assert fetched == ["site/.s3batch/manifest"]


FILES = 1200
PATIENCE = 20
"""Seconds for which the store holds the second page at most."""


def test_files_are_compared_with_the_objects_listed_so_far(call, workspace: Path) -> None:
    compared = threading.Event()

    def hold_second_page(request: Seen) -> Reply | None:
        if request.name == "HeadObject":
            compared.set()
        waits = "continuation-token" in request.query and not compared.wait(PATIENCE)
        return Reply(403, body=error("AccessDenied", "no file was compared")) if waits else None

    (workspace / "tree").mkdir()
    for number in range(FILES):
        (workspace / "tree" / f"{number:05d}").write_text(f"content {number}")
    with FakeS3() as store:

        def sync(journal: str, *flags: str) -> dict:
            ran = call(
                "sync", "tree", "s3://b/site", "--json", "--journal", journal, *flags,
                env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url},
            )  # fmt: skip
            assert ran.code == 0, ran.err
            return ran.json

        sync("one.db", "--object-manifest")
        (workspace / "tree" / "00000").write_text("something else")
        (workspace / "tree" / "00000 new").write_text("something new")
        store.meddle = hold_second_page
        fresh = sync("two.db")
        store.meddle = lambda _: None
        store.requests.clear()
        again = sync("two.db")
        requests_again = {each.name for each in store.requests}
        store.requests.clear()
        sync("three.db", "--object-manifest")
        requests_with_manifest = Counter(each.name for each in store.requests)

    assert (fresh["files"], fresh["unchanged"]) == (FILES + 1, FILES - 1)
    assert {kind: each["done"] for kind, each in fresh["operations"].items() if each["done"]} == {"upload": 2}
    assert (again["unchanged"], requests_again) == (FILES + 1, {"ListObjectsV2"})
    assert requests_with_manifest == Counter(ListObjectsV2=2, GetObject=1, HeadObject=2, PutObject=1)
