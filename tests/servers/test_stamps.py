"""A file's identity, end to end: what is published is the file that was planned, under the job's link policy."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Seen, Stored

MIB = 1024 * 1024
LONG_AGO = 1_600_000_000_000_000_000
SECRET = b"what must never be published"


@dataclass(slots=True)
class Place:
    """A tree beside a secret, and an S3 in this process."""

    tree: Path
    fake: FakeS3
    env: dict[str, str]

    @property
    def outside(self) -> Path:
        return self.tree.parent / "outside"

    def write(self, path: str, content: bytes = b"content") -> Path:
        """Write a file whose mtime is long ago."""
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
        return file

    def sync(self, *more: str, crash_at: str = "") -> program.Finished:
        self.fake.requests.clear()
        env = self.env | ({"S3BATCH_TEST_CRASH_AT": crash_at} if crash_at else {})
        arguments = ["sync", self.tree, "s3://bucket/p", "--journal", self.journal, "--json", *more]
        return program.run(arguments, env, self.tree.parent)

    def resume(self) -> program.Finished:
        self.fake.requests.clear()
        return program.run(["resume", "--journal", self.journal, "--json"], self.env, self.tree.parent)

    @property
    def journal(self) -> Path:
        return self.tree.parent / "state" / "journal.db"

    @property
    def objects(self) -> dict[str, bytes]:
        return {key.removeprefix("p/"): stored.body for key, stored in self.fake.objects.get("bucket", {}).items()}

    def asked(self) -> Counter[str]:
        return Counter(request.name for request in self.fake.requests)

    def grow_old(self) -> None:
        """Let every fact be of a file that was at rest when it was read."""
        with closing(sqlite3.connect(self.journal)) as journal, journal:
            for path in self.tree.rglob("*"):
                key = f"p/{path.relative_to(self.tree)}"
                ctime = (path.stat().st_ctime_ns, key)
                journal.execute("UPDATE object SET local_ctime_ns = ? WHERE key = ?", ctime)


@pytest.fixture
def place(tmp_path, clean_env) -> Iterator[Place]:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    for name in ("victim", "secret"):
        (outside / name).write_bytes(SECRET)
    with FakeS3() as fake:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
        yield Place(tree, fake, clean_env | keys)


# --- numbers that no journal holds ----------------------------------------------------------

YEAR_2300 = 10_413_792_000
YEARS = {"in/1601": -11_644_473_600.0, "in/2264": 9_278_150_400.5, "in/9999": 253_402_300_799.0}


def done(finished: program.Finished) -> int:
    """Return how many operations were done by a run that succeeded."""
    assert finished.code == 0, finished.stderr
    return sum(count["done"] for count in finished.json.get("operations", {}).values())  # a verify has none


def test_a_file_of_the_year_2300_is_sent_fetched_and_then_unchanged(place):
    file = place.write("odd")
    os.utime(file, (0, YEAR_2300))
    assert file.stat().st_mtime == YEAR_2300  # ext4, XFS and tmpfs hold it
    plan = place.tree.parent / "plan"

    assert place.sync("--plan", str(plan)).code == 0
    assert program.run(["apply", plan, "--journal", place.journal], place.env, place.tree.parent).code == 0
    assert place.objects == {"odd": b"content"}
    place.grow_old()
    assert done(place.sync("--preserve", "mtime")) == 1
    place.grow_old()
    assert done(place.sync("--preserve", "mtime")) == 0
    assert place.asked().keys() == {"ListObjectsV2"}

    fetched = place.tree.parent / "fetched"
    fetched.mkdir()
    os.utime(shutil.copy(file, fetched / "odd"), (0, YEAR_2300))
    for words in (["sync"], ["sync", "--delete"], ["verify"]):
        assert done(program.run([*words, "s3://bucket/p", fetched, "--json"], place.env, place.tree.parent)) == 0


def test_objects_of_any_year_are_deleted_copied_and_fetched(place):
    """Such as those of ``rclone serve s3``, which tells the times of its files."""
    for key, modified in YEARS.items():
        place.fake.objects.setdefault("bucket", {})[key] = Stored(key.encode(), f'"etag-{key[3:]}"', modified=modified)
    out = place.tree.parent / "out"
    place.write("kept")
    runs: list[tuple[int, list[str | Path]]] = [
        (3, ["sync", "s3://bucket/in", "s3://bucket/p"]),
        (0, ["verify", "s3://bucket/in", "s3://bucket/p"]),
        (0, ["sync", "s3://bucket/in", "s3://bucket/p"]),
        (3, ["sync", "s3://bucket/in", out]),
        (0, ["verify", "s3://bucket/in", out]),
        (4, ["sync", place.tree, "s3://bucket/in", "--delete"]),
    ]
    for expected, words in runs:
        assert done(program.run([*words, "--json"], place.env, place.tree.parent)) == expected, words

    assert place.fake.objects["bucket"].keys() & YEARS.keys() == set()


# --- between walk and read ------------------------------------------------------------------


def when_first_sent(place: Place, change: Callable[[], None]) -> None:
    """Change the tree once the first file is on its way: all others have been planned and not been read."""
    done: list[bool] = []

    def meddle(request: Seen) -> None:
        if request.name == "PutObject" and not done:
            done.append(True)
            change()

    place.fake.meddle = meddle


def in_its_place(path: Path, make: Callable[[Path], None]) -> Callable[[], None]:
    def change() -> None:
        path.rename(path.with_name("aside")) if path.is_dir() else path.unlink()
        make(path)

    return change


def bind_socket(path: Path) -> None:
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


ONE_BY_ONE = ("--executor", "inline", "--max-concurrency", "1", "--delete")


@pytest.mark.parametrize(
    ("policy", "path", "make", "words"),
    [
        pytest.param("skip", "z/victim", lambda p: p.symlink_to("../../outside/secret"), "a symbolic link (symlinks: skip)", id="skip: link"),
        pytest.param("skip", "z/victim", lambda p: p.symlink_to("nowhere"), "a symbolic link (symlinks: skip)", id="skip: broken link"),
        pytest.param("skip", "z", lambda p: p.symlink_to("../outside"), "a symbolic link (symlinks: skip)", id="skip: link above"),
        pytest.param("inside", "z/victim", lambda p: p.symlink_to("../../outside/secret"), "leads out of the source", id="inside: link"),
        pytest.param("inside", "z", lambda p: p.symlink_to("../outside"), "leads out of the source", id="inside: link above"),
        pytest.param("follow", "z/victim", os.mkfifo, "a named pipe (FIFO)", id="follow: pipe"),
        pytest.param("skip", "z/victim", os.mkfifo, "a named pipe (FIFO)", id="skip: pipe"),
        pytest.param("follow", "z/victim", bind_socket, "a socket", id="follow: socket"),
        pytest.param("skip", "z/victim", bind_socket, "a socket", id="skip: socket"),
    ],
)  # fmt: skip
def test_what_a_file_became_is_skipped_in_the_words_of_the_walk(place: Place, monkeypatch, policy, path, make, words):
    monkeypatch.chdir(place.tree)
    for name in ("a", "z/victim", "zz"):
        place.write(name, SECRET.swapcase())
    place.fake.objects["bucket"] = {}
    when_first_sent(place, in_its_place(place.tree / path, make))

    done = place.sync("--symlinks", policy, *ONE_BY_ONE)

    assert done.code == 0, done.stderr
    assert place.objects == {"a": SECRET.swapcase(), "zz": SECRET.swapcase()}
    (warning,) = done.json["warnings"]
    assert warning.startswith(f"skipped {path}")
    assert words in warning


@pytest.mark.parametrize("policy", ["follow", "inside", "skip"])
@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        pytest.param(lambda path: None, "Vanished", "it is gone", id="gone"),
        pytest.param(Path.mkdir, "Changed", "became a directory", id="directory"),
    ],
)
def test_a_file_that_is_none_any_more_fails_alone(place: Place, policy, make, code, words):
    for name in ("a", "victim", "zz"):
        place.write(name)
    when_first_sent(place, in_its_place(place.tree / "victim", make))

    failed = place.sync("--symlinks", policy, *ONE_BY_ONE)

    assert failed.code == 1
    (failure,) = failed.json["failures"]
    assert (failure["path"], failure["code"]) == ("victim", code)
    assert words in failure["error"]
    assert set(place.objects) == {"a", "zz"}


def test_a_link_that_leads_elsewhere_meanwhile_is_followed_where_links_are(place: Place):
    place.write("a")
    place.write("m", b"m")
    (place.tree / "z").symlink_to("m")

    def change() -> None:
        (place.tree / "z").unlink()
        (place.tree / "z").symlink_to("../outside/secret")

    when_first_sent(place, change)
    done = place.sync(*ONE_BY_ONE)

    assert (done.code, place.objects["z"]) == (0, SECRET)
    assert any("leads out of the source" in warning for warning in done.json["warnings"])


def test_links_that_stay_inside_are_read_through_directories(place: Place):
    place.write("d/deep/x", b"x")
    (place.tree / "to-dir").symlink_to("d")
    (place.tree / "d/up").symlink_to("../d/deep/x")

    done = place.sync("--symlinks", "inside")

    assert done.code == 0, done.stderr
    assert place.objects == dict.fromkeys(["d/deep/x", "d/up", "to-dir/deep/x", "to-dir/up"], b"x")


# --- the same size, time and inode number ---------------------------------------------------


def rebuild(place: Place, content: dict[str, bytes]) -> None:
    """Build the tree anew, with the same mtimes; ext4 gives the inode numbers out again."""
    shutil.rmtree(place.tree)
    for path, body in content.items():
        place.write(path, body)


def test_a_tree_that_was_built_anew_is_read_and_only_what_differs_is_sent(place: Place):
    content = {f"f{number}": b"%05d" % number for number in range(20)}
    rebuild(place, content)
    assert place.sync().code == 0
    place.grow_old()
    assert place.sync().json["unchanged"] == 20
    assert place.asked() == {"ListObjectsV2": 1}

    rebuild(place, content | {"f7": b"other"})
    done = place.sync()

    assert (done.code, place.objects["f7"]) == (0, b"other")
    assert place.asked() == {"ListObjectsV2": 1, "PutObject": 1}
    assert done.json["unchanged"] == 19


@pytest.mark.parametrize("change", ["rename", "in place"])
def test_other_bytes_under_the_same_size_time_and_even_inode_are_seen(place: Place, change: str):
    file = place.write("f", b"old")
    place.sync()
    place.grow_old()

    if change == "rename":
        place.write("g", b"new").rename(file)
    else:
        with file.open("r+b") as opened:
            opened.write(b"new")
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
    done = place.sync()

    assert (done.code, place.objects["f"]) == (0, b"new")


def test_what_was_learned_of_a_young_file_does_not_count_for_the_next_run(place: Place):
    def meddle(request: Seen) -> None:
        if request.name == "ListObjectsV2":
            place.write("f")

    place.fake.meddle = meddle
    place.sync()
    place.fake.meddle = lambda _: None
    with closing(sqlite3.connect(place.journal)) as journal:
        assert journal.execute("SELECT local_ctime_ns FROM object").fetchall() == [(0,)]

    done = place.sync()

    assert place.asked() == {"ListObjectsV2": 1}
    assert done.json["unchanged"] == 1


# --- parts of two files ---------------------------------------------------------------------

IN_PARTS = ("--part-size", "5MiB", "--multipart-threshold", "5MiB", "--workers", "1", "--max-concurrency", "1")


def body(letter: bytes) -> bytes:
    return b"".join(letter * (5 * MIB - 1) + b"%d" % number for number in range(5))


@pytest.mark.parametrize("again", ["resume", "sync", "sync without a journal"])
@pytest.mark.parametrize("change", ["rename", "in place", "the end only", "ctime only"])
def test_an_object_is_never_half_of_one_file_and_half_of_another(place: Place, again: str, change: str):
    file = place.write("big", body(b"a"))
    assert place.sync(*IN_PARTS, crash_at="part-settled:3").code < 0
    new = {"the end only": body(b"a")[: 10 * MIB] + body(b"b")[10 * MIB :], "ctime only": body(b"a")}.get(
        change, body(b"b")
    )

    if change == "rename":
        place.write("other", new).rename(file)
    elif change == "ctime only":
        file.chmod(0o600)
    else:
        with file.open("r+b") as opened:
            opened.write(new)
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
    if again == "sync without a journal":
        shutil.rmtree(place.journal.parent)
    done = place.resume() if again == "resume" else place.sync(*IN_PARTS)

    assert done.code == 0, done.stderr
    assert hashlib.md5(place.objects["big"]).digest() == hashlib.md5(new).digest()
    assert not place.fake.uploads


def test_a_file_that_another_takes_the_place_of_in_the_midst_is_sent_whole(place: Place):
    file = place.write("big", body(b"a"))
    place.write("aside", body(b"b"))
    seen: list[Seen] = []

    def meddle(request: Seen) -> None:
        seen.append(request)
        if request.name == "UploadPart" and sum(each.name == "UploadPart" for each in seen) == 3:
            (place.tree / "aside").rename(file)

    place.fake.meddle = meddle
    done = place.sync("--exclude", "aside", *IN_PARTS)

    assert done.code == 0, done.stderr
    assert place.objects["big"] == body(b"b")
    assert not place.fake.uploads
