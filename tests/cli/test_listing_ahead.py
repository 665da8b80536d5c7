"""A bucket of several pages, which the journal knows: pages are asked for ahead, and all changes are found."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_journal_trust import KEYS, QUICK
from tests.rig.fake_s3 import FakeS3, Reply, error

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
