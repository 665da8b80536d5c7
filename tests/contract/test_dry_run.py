"""A dry run sends nothing that changes anything, and knows what the run would know."""

from __future__ import annotations

import hashlib

import pytest

from tests.contract.scene import MIB, Scene

ASKING = {"ListObjectsV2", "HeadObject", "GetObjectAcl", "GetObjectTagging", "GetObject"}


def kept(scene: Scene) -> dict[str, str]:
    """Return every file of the state directory but locks, with a digest of what it holds."""
    files = [each for each in (scene.root / "state").rglob("*") if each.is_file() and each.suffix != ".lock"]
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def test_the_upload_of_an_earlier_run_is_not_aborted(scene):
    scene.write({"large": b"x" * 11 * MIB})
    scene.manners(refuses={"UploadPart": (500, "InternalError")})
    scene.sync("--retries", "1", "--multipart-threshold", "6MiB", "--part-size", "5MiB")
    (scene.source / "large").unlink()
    scene.write({"small": b"x"})
    scene.manners()
    assert len(scene.fake.uploads) == 1

    ran = scene.sync("--dry-run")

    assert (ran.code, ran.out) == (0, "upload site/small missing\n")
    assert set(ran.requests) <= ASKING
    assert len(scene.fake.uploads) == 1


@pytest.mark.parametrize("delete", [[], ["--delete"]])
def test_it_says_what_the_next_run_does_and_changes_no_journal(scene, delete):
    scene.write({f"f{number}": b"x" for number in range(5)})
    scene.sync(*delete)
    scene.fake.objects["bucket"]["site/orphan"] = scene.objects["site/f0"]
    (scene.source / "f1").unlink()
    scene.write({"f2": b"other", "f3": b"y"})
    before = kept(scene)

    said = scene.sync("--dry-run", *delete)

    assert kept(scene) == before
    done = scene.sync("--json", *delete)
    operations = {kind: count["done"] for kind, count in done.json["operations"].items() if count["done"]}
    lines = said.out.splitlines()
    assert operations == {kind: len([1 for line in lines if line.startswith(f"{kind} ")]) for kind in operations}
    assert len(lines) == sum(operations.values())


def test_files_that_did_not_change_need_no_request(scene):
    scene.write({f"f{number}": b"x" for number in range(5)}, when=1_600_000_000)
    scene.sync()
    scene.sync()  # files younger than two seconds are read once more
    ran = scene.sync("--dry-run")

    assert (ran.out, dict(ran.requests)) == ("", {"ListObjectsV2": 1})


def test_it_makes_no_journal(scene):
    scene.write({"a": b"x"})

    assert scene.sync("--dry-run").code == 0

    assert kept(scene) == {}
