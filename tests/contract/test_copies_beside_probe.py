"""Copies that are sent while the store is still probed for what its copies lose: none is done with anything lost."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.contract.scene import DENIED, Scene
from tests.rig.fake_s3 import FakeS3, Reply, Seen, Stored

COUNT = 30
ANSWERED = 12
"""Copies that are answered before the probe: more than the first window, so that some are of a known form."""
TAGS = (("team", "web"),)
HEADERS = {"content-type": "text/x-odd", "x-amz-meta-colour": "blue"}
PATIENCE = 60.0


class SlowlyProbed(FakeS3):
    """It answers the look at the probe's copy after some real copies."""

    def __init__(self) -> None:
        super().__init__()
        self.left = ANSWERED
        """So many copies are answered before."""
        self._enough = threading.Event()

    def answer(self, request: Seen) -> Reply:
        """Answer as any other, but in this order."""
        is_probe = ".s3batch/probe-" in request.key
        if is_probe and request.method == "HEAD":
            assert self._enough.wait(PATIENCE)
        reply = super().answer(request)
        if request.name == "CopyObject" and not is_probe:
            self.left -= 1
            if not self.left:
                self._enough.set()
        return reply


@pytest.fixture
def scene(tmp_path, monkeypatch) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    with SlowlyProbed() as fake:
        scene = Scene(fake, tmp_path)
        scene.fake.objects["from"] = {
            f"in/{number:02}": Stored(b"%d" % number, f'"{hashlib.md5(b"%d" % number).hexdigest()}"', dict(HEADERS), tags=TAGS)
            for number in range(COUNT)
        }  # fmt: skip
        yield scene


def copy(scene: Scene, *flags: str):
    return scene.run("sync", "s3://from/in", "s3://bucket/out", "--json", "--executor", "inline", *flags)


def require_all(scene: Scene) -> None:
    """Assert that each object is there, with all that belongs to it."""
    assert sorted(scene.objects) == [f"out/{number:02}" for number in range(COUNT)]
    for number in range(COUNT):
        stored = scene.objects[f"out/{number:02}"]
        assert (stored.body, stored.headers, stored.tags) == (b"%d" % number, HEADERS, TAGS)


def count_copies(scene: Scene) -> Counter[str]:
    """Return how often each real object was copied."""
    return Counter(each.key for each in scene.fake.requests if each.name == "CopyObject" and "probe" not in each.key)


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_store_that_loses_nothing_copies_before_the_probe_has_ended(scene, executor):
    run = copy(scene, "--executor", executor, "--workers", "1")

    assert run.code == 0, run.err
    require_all(scene)
    assert run.json["proved"]["etag"] == COUNT
    assert run.requests["GetObject"] == 0
    assert set(count_copies(scene).values()) == {1}


@pytest.mark.parametrize("counts_tags", [True, False], ids=["tags counted", "not counted"])
def test_tags_of_copies_made_before_it_has_ended_are_put_back(scene, counts_tags):
    scene.manners(copy_drops=frozenset({"tags"}), counts_tags=counts_tags)

    run = copy(scene)

    assert run.code == 0, run.err
    require_all(scene)
    assert set(count_copies(scene).values()) == {1}
    assert run.requests["PutObjectTagging"] == COUNT


def test_objects_whose_copies_have_lost_metadata_are_streamed(scene):
    scene.manners(copy_drops=frozenset({"x-amz-meta-s3batch", "x-amz-meta-colour"}))

    run = copy(scene)

    assert run.code == 0, run.err
    require_all(scene)
    assert run.requests["GetObject"] == COUNT


def test_a_store_that_refuses_the_probe_copies_all_the_same(scene):
    scene.fake.meddle = lambda request: (
        Reply(DENIED[0], body=b"") if request.method == "HEAD" and "probe" in request.key else None
    )

    run = copy(scene)

    assert run.code == 0, run.err
    require_all(scene)
    assert set(count_copies(scene).values()) == {1}


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_more_than_the_first_fifty_copies_do_not_wait_for_the_probe(scene, executor):
    first = scene.fake.objects["from"]["in/00"]
    scene.fake.objects["from"] |= {f"in/{number}": first for number in range(100, 300)}
    scene.fake.left = 80

    run = copy(scene, "--executor", executor, "--workers", "1")

    assert run.code == 0, run.err
    assert run.json["operations"]["transfer"]["done"] == COUNT + 200
