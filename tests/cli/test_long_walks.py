"""A tree so long that its walk goes on in a process of its own, beside a listing of several pages."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_journal_trust import KEYS, QUICK
from tests.rig.fake_s3 import FakeS3

FILES = 5000


def test_changes_at_all_places_of_a_long_unchanged_tree_are_found(call, workspace: Path) -> None:
    tree = workspace / "tree"
    for number in range(FILES):
        path = tree / f"d{number // 500:02d}" / f"f{number:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content {number}")
    files = sorted(tree.glob("*/*"))
    with FakeS3() as store:

        def sync(*flags: str) -> dict:
            ran = call(
                "sync", "tree", "s3://b/site", "--delete", "--json", *flags,
                env={**KEYS, **QUICK, "S3BATCH_ENDPOINT_URL": store.url},
            )  # fmt: skip
            assert ran.code == 0, ran.err
            return ran.json

        def read_objects() -> dict[str, bytes]:
            return {key: each.body for key, each in store.objects["b"].items()}

        assert sync()["operations"]["upload"]["done"] == FILES
        sync()  # reads once more what was young
        store.requests.clear()
        assert sync()["unchanged"] == FILES
        assert {each.name for each in store.requests} == {"ListObjectsV2"}

        changed = [files[at] for at in (0, 2100, 4444, FILES - 1)]
        for path in changed:
            path.write_text("changed")
        for at in (1, 3000, FILES - 2):
            files[at].unlink()
        added = [tree / "a", tree / "d03" / "new", tree / "z" / "new"]
        for path in added:
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"added as {path.name} {path.parent.name}")
        objects = store.objects["b"]
        lost = [f"site/{files[at].relative_to(tree)}" for at in (2, 2222, 4800)]
        for key in lost:
            del objects[key]
        overwritten = [f"site/{files[at].relative_to(tree)}" for at in (3, 3333)]
        for key in overwritten:
            objects[key] = objects[f"site/{files[7].relative_to(tree)}"]
        objects["site/d05/of somebody else"] = objects["site/d09/f04990.txt"]

        assert sync()["operations"]["delete"]["done"] == 4

        expected = {f"site/{each.relative_to(tree)}": each.read_bytes() for each in tree.rglob("*") if each.is_file()}
        assert read_objects() == expected
        assert len(expected) == FILES
