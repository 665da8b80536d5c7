"""Parts that were sent of another state of the file are compared, and what is equal is not sent again."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.contract.scene import MIB, Scene
from tests.rig.fake_s3 import Reply, Seen, Stored, error

IN_PARTS = ("--multipart-threshold", "6MiB", "--part-size", "5MiB")
CONTENT = bytes(range(256)) * 4 * 1024 * 16
"""16 MiB: parts of 5, 5, 5 and 1."""


def park_after(scene: Scene, parts: int) -> None:
    """Leave an upload whose first parts were sent."""
    scene.write({"large": CONTENT})

    def meddle(seen: Seen) -> Reply | None:
        wanted = seen.name == "UploadPart" and int(seen.query["partNumber"]) > parts
        return Reply(500, body=error("InternalError")) if wanted else None

    scene.fake.meddle = meddle
    assert scene.sync("--retries", "1", "--max-concurrency", "1", *IN_PARTS).code == 1
    scene.fake.meddle = lambda _: None
    (upload,) = scene.fake.uploads.values()
    assert sorted(upload.parts) == list(range(1, parts + 1))


def touch_only(path: str) -> None:
    os.chmod(path, 0o600)


def rewrite_same(path: str) -> None:
    """Write the same bytes again, with the same mtime, over the file."""
    with open(f"{path}.new", "wb") as file:
        file.write(CONTENT)
    os.utime(f"{path}.new", (1_700_000_000, 1_700_000_000))
    os.rename(f"{path}.new", path)


def change_part_2(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(5 * MIB)
        file.write(b"other")
    os.utime(path, (1_700_000_000, 1_700_000_000))


CHANGES = pytest.mark.parametrize(
    ("change", "sent_again"),
    [(touch_only, 0), (rewrite_same, 0), (change_part_2, 1)],
    ids=["another ctime", "another inode", "one part"],
)


@CHANGES
@pytest.mark.parametrize(
    ("command", "fresh"),
    [("sync", False), ("resume", False), ("sync", True)],
    ids=["by sync", "by resume", "without its journal"],
)
def test_a_killed_upload_goes_on(scene, change: Callable[[str], None], sent_again, command, fresh):
    park_after(scene, 2)
    change(str(scene.source / "large"))

    ran = scene.run("resume", "--executor", "inline") if command == "resume" else scene.sync(*IN_PARTS, fresh=fresh)

    assert ran.code == 0, ran.err
    assert scene.objects["site/large"].body == (scene.source / "large").read_bytes()
    assert ran.requests["UploadPart"] == 2 + sent_again
    assert (ran.requests["CreateMultipartUpload"], scene.fake.uploads) == (0, {})
    assert scene.sync(*IN_PARTS, fresh=fresh).requests["UploadPart"] == 0


@CHANGES
@pytest.mark.parametrize("at", [3, 4])
def test_an_upload_whose_file_changes_in_the_midst_goes_on(scene, change, sent_again, at):
    scene.write({"large": CONTENT})
    changed = []

    def meddle(seen: Seen) -> None:
        if seen.name == "UploadPart" and int(seen.query["partNumber"]) == at and not changed:
            changed.append(at)
            change(str(scene.source / "large"))

    scene.fake.meddle = meddle

    ran = scene.sync("--max-concurrency", "1", *IN_PARTS)

    assert ran.code == 0, ran.err
    assert scene.objects["site/large"].body == (scene.source / "large").read_bytes()
    assert ran.requests["UploadPart"] == 4 + sent_again
    assert (ran.requests["CreateMultipartUpload"], scene.fake.uploads) == (1, {})


def test_a_file_of_another_size_is_begun_anew(scene):
    park_after(scene, 2)
    with open(scene.source / "large", "ab") as file:
        file.write(b"more")

    ran = scene.sync(*IN_PARTS)

    assert ran.code == 0, ran.err
    assert scene.objects["site/large"].body == CONTENT + b"more"
    assert (ran.requests["CreateMultipartUpload"], scene.fake.uploads) == (1, {})


def test_a_file_that_never_comes_to_rest_fails_and_leaves_no_upload(scene):
    scene.write({"large": CONTENT})

    def meddle(seen: Seen) -> None:
        if seen.name in ("UploadPart", "ListParts", "CreateMultipartUpload"):
            change_part_2(str(scene.source / "large"))

    scene.fake.meddle = meddle

    ran = scene.sync("--max-concurrency", "1", *IN_PARTS)

    assert ran.code == 1
    assert "after it was planned, 5 times" in ran.err
    assert scene.fake.uploads == {}


@pytest.mark.parametrize("refusal", [None, 501, 412], ids=["a store that takes it", "does not know it", "misjudges it"])
def test_an_upload_in_doubt_is_completed_on_the_condition_that_nothing_came_between(scene, refusal):
    park_after(scene, 2)
    conditions = []

    def meddle(seen: Seen) -> Reply | None:
        if seen.name != "CompleteMultipartUpload":
            return None
        condition = seen.headers.get("if-none-match") or seen.headers.get("if-match") or ""
        conditions.append(condition)
        if refusal is None and len(conditions) == 1:  # a late request of the killed run lands
            scene.objects["site/large"] = Stored(b"late", '"late"')
        return Reply(refusal, body=error("Refused")) if refusal and condition else None

    scene.fake.meddle = meddle

    ran = scene.sync("--retries", "3", *IN_PARTS)

    assert ran.code == 0, ran.err
    assert scene.objects["site/large"].body == CONTENT
    assert (conditions[0], conditions[-1]) == ("*", '"late"' if refusal is None else "")
    assert ran.requests["UploadPart"] == 2
