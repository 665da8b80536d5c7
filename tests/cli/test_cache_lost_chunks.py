import shutil
from types import SimpleNamespace

import pytest

from s3batch.archive.manifest_codec import EncodedManifest
from s3batch.cache import lost_chunks
from s3batch.cache.object_keys import chunk_key
from s3batch.model import ListedObject
from s3batch.s3.listing import ListingPage
from tests.archive.cycle import noise, settle
from tests.cli.caches import DRONE, bucket, cached, fake, shell, small_segments

__all__ = ["bucket", "cached", "fake", "shell", "small_segments"]
MAIN = DRONE | {"DRONE_COMMIT_BRANCH": "main"}

LARGE = noise(9 << 20)
FILES = {"v/a": b"A", "v/b": b"B", "v/large": LARGE}


@pytest.fixture
def step(shell, workspace):
    return lambda word, *more: shell(word, "--cache", "v", *more, env=MAIN)


def forget(workspace) -> None:
    for name in ("v", ".s3batch"):
        shutil.rmtree(workspace / name, ignore_errors=True)


@pytest.mark.parametrize("more", [(), ("--no-override",)], ids=["override", "no override"])
@pytest.mark.parametrize("changed", [False, True], ids=["nothing changed", "a file changed"])
@pytest.mark.parametrize("number", [0, 1], ids=["one chunk", "another chunk"])
def test_a_rebuild_notices_a_chunk_that_the_store_lost(cached, step, bucket, workspace, number, changed, more):
    cached("main", FILES)
    key = sorted(bucket.keys("v1/c/"))[number]
    del bucket.fake.objects["caches"][key]
    settle()
    if changed:
        (workspace / "v/b").write_bytes(b"other")

    done = step("rebuild", *more)
    again = step("rebuild", *more)
    there = {path.name: path.read_bytes() for path in (workspace / "v").iterdir()}
    forget(workspace)
    restored = step("restore", "--fail-on-miss")

    assert (done.code, restored.code) == (0, 0), done.err + restored.err
    assert "the store has lost 1 chunk of" in done.err
    assert "lost" not in again.err
    assert {path.name: path.read_bytes() for path in (workspace / "v").iterdir()} == there


def test_a_rebuild_that_finds_all_chunks_sends_two_requests(cached, step, fake):
    cached("main", FILES)
    settle()
    fake.requests.clear()

    done = step("rebuild")

    assert "nothing changed, nothing sent" in done.err
    assert [seen.name for seen in fake.requests] == ["HeadObject", "ListObjectsV2"]


def test_a_lost_segment_is_stored_again(cached, step, bucket, workspace, small_segments):
    cached("main", {f"v/{number % 9}/{number:04}": b"%d" % number for number in range(40)})
    (head,) = bucket.keys("v1/k/")
    segment = EncodedManifest(bucket.fake.objects["caches"][head].body).segments[0]
    key = chunk_key("", segment.id)
    del bucket.fake.objects["caches"][key]
    settle()

    done = step("rebuild")
    forget(workspace)
    restored = step("restore", "--fail-on-miss")

    assert ("has lost 1 chunk" in done.err, restored.code) == (True, 0), done.err + restored.err


# --- a store with more chunks than a page shows -------------------------------------------------

IDS = [bytes([number]) * 32 for number in range(0, 250, 10)]


class Store:
    """A store with pages of a few keys, and a session before it."""

    def __init__(self, keys, *, per_page: int, status: int = 200) -> None:
        self.keys, self.per_page, self.status = keys, per_page, status
        self.facts: dict[str, object] = {}
        self.headed: list[str] = []
        self.settings = SimpleNamespace(bucket="b")
        self.base, self.names = "p/", SimpleNamespace(title="t")
        self.journal = SimpleNamespace(recall=self.facts.get, remember=self.facts.__setitem__)
        self.output = SimpleNamespace(detail=lambda _: None)
        self.bucket = self
        self.lost = None

    def warn(self, text: str) -> None:
        assert "lost" in text

    def ask(self, request):
        after = dict(pair.split("=") for pair in request.query.split("&"))["start-after"].replace("%2F", "/")
        keys = [key for key in self.keys if key > after]
        page = ListingPage([ListedObject(key, 1, "e", 0.0) for key in keys[: self.per_page]], "")
        token = "more" if len(keys) > self.per_page else ""
        return SimpleNamespace(ok=self.status == 200, status=self.status, document=page._replace(token=token))

    def send(self, request):
        self.headed.append(request.key)
        return 404 if request.key not in self.keys else 200

    def run(self, statuses):
        return [SimpleNamespace(status=status) for status in statuses]

    def looks(self, count: int) -> set[bytes]:
        found: set[bytes] = set()
        for _ in range(count):
            self.lost = None
            lost_chunks.look_for_lost(self, IDS)
            found |= self.lost or set()
        return found


@pytest.mark.parametrize("strangers", [0, 3], ids=["no chunks of others", "many chunks of others"])
@pytest.mark.parametrize("gone", [(), (0,), (24,), (3, 17), range(25)])
def test_as_many_rebuilds_as_there_are_pages_find_each_lost_chunk(monkeypatch, gone, strangers):
    monkeypatch.setattr(lost_chunks, "gather_results", list)
    lost = {IDS[number] for number in gone}
    others = {identity[:-1] + bytes([number + 1]) for identity in IDS for number in range(strangers)}
    keys = sorted(chunk_key("p/", identity) for identity in (set(IDS) - lost) | others)
    store = Store(keys, per_page=7)

    assert store.looks(len(keys) // 7 + 2) == lost
    assert len(store.headed) <= 3 * len(lost)


def test_a_listing_that_is_refused_or_has_no_order_tells_nothing(monkeypatch):
    monkeypatch.setattr(lost_chunks, "gather_results", list)
    keys = [chunk_key("p/", identity) for identity in IDS]

    assert Store(keys, per_page=7, status=403).looks(5) == set()
    assert Store(keys[::-1], per_page=7).looks(5) == set()
