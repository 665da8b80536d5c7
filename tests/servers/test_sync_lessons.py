"""What other tools get wrong, row by row: the promises that a sync keeps (docs/design.md, lessons from the field)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Seen, Stored, error

BUCKET = "lessons"


@dataclass(slots=True)
class Place:
    """A tree, an S3 in this process, and the program."""

    tree: Path
    fake: FakeS3
    env: dict[str, str]
    before: tuple[str, ...] = ()
    """What the program is started through."""
    options: list[str] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.tree.parent / "state" / "journal.db"

    def write(self, path: str, content: bytes = b"content") -> Path:
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def start(self, *more: str, command: str = "sync", **popen: Any) -> subprocess.Popen[str]:
        words = [self.tree, f"s3://{BUCKET}/p"] if command == "sync" else []
        arguments = [command, *words, "--journal", self.journal, "--workers", "2", *self.options, *more]
        if not self.before:
            return program.start(arguments, self.env, self.tree.parent, **popen)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
        command_line = [*self.before, *program.COMMAND, *map(str, arguments)]
        return subprocess.Popen(command_line, env=self.env, cwd=self.tree.parent, text=True, **pipes)

    def sync(self, *more: str) -> program.Finished:
        self.fake.requests.clear()
        return program.finish(self.start("--json", *more))

    def resume(self) -> program.Finished:
        self.fake.requests.clear()
        return program.finish(self.start("--json", command="resume"))

    def asked(self) -> Counter[str]:
        """How often each operation was asked for in the last run."""
        return Counter(request.name for request in self.fake.requests)

    @property
    def objects(self) -> dict[str, bytes]:
        """Paths below the target with their content."""
        return {key.removeprefix("p/"): stored.body for key, stored in self.fake.objects.get(BUCKET, {}).items()}

    def hold(self, *paths: str, content: bytes = b"content") -> None:
        """Have these in the target."""
        for path in paths:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            self.fake.objects.setdefault(BUCKET, {})[f"p/{path}"] = Stored(content, etag)


@pytest.fixture
def place(tmp_path, clean_env) -> Iterator[Place]:
    """An empty tree, an empty bucket."""
    (tmp_path / "tree").mkdir()
    with FakeS3() as fake:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
        yield Place(tmp_path / "tree", fake, clean_env | keys)


# --- what cannot be read is not deleted -----------------------------------------------------


def test_a_file_that_became_a_dangling_link_is_named_and_its_object_stays(place: Place):
    place.write("a")
    place.write("b").unlink()
    (place.tree / "b").symlink_to("nowhere")
    place.hold("b", "orphan")

    failed = place.sync("--delete")

    assert failed.code == 1
    assert [(each["path"], each["code"]) for each in failed.json["failures"]] == [("b", "BrokenLink")]
    assert "broken symbolic link to 'nowhere'" in failed.json["failures"][0]["error"]
    assert set(place.objects) == {"a", "b", "orphan"}


def test_a_file_that_became_a_fifo_is_warned_of_and_its_object_stays(place: Place):
    place.write("a")
    os.mkfifo(place.tree / "pipe")
    place.hold("pipe", "orphan")

    done = place.sync("--delete")

    assert done.code == 0
    assert any("named pipe" in warning for warning in done.json["warnings"])
    assert set(place.objects) == {"a", "pipe"}


@pytest.fixture
def as_nobody(place: Place) -> Place:
    """The program without root's right to read everything."""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may read everything, and setpriv is not installed")
        place.before = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--")
    return place


@pytest.mark.parametrize("shut", ["shut/inside", "shut"])
def test_what_may_not_be_read_is_named_and_nothing_is_deleted(as_nobody: Place, shut: str):
    place = as_nobody
    place.write("a")
    place.write("shut/inside")
    (place.tree / shut).chmod(0)
    place.hold("shut/inside", "shut/other", "orphan", content=b"old")

    failed = place.sync("--delete")
    (place.tree / shut).chmod(0o755)
    resumed = place.resume()

    assert failed.code == 1
    assert [each["path"].rstrip("/") for each in failed.json["failures"]] == [shut]
    assert "Permission denied" in failed.json["failures"][0]["error"]
    assert resumed.code == 0, resumed.stderr
    assert set(place.objects) == {"a", "shut/inside"}


def test_nothing_is_deleted_for_a_directory_that_could_not_be_read(as_nobody: Place):
    place = as_nobody
    place.write("a")
    place.write("shut/inside")
    (place.tree / "shut").chmod(0)
    place.hold("shut/inside", "orphan")

    failed = place.sync("--delete")
    (place.tree / "shut").chmod(0o755)

    assert failed.code == 1
    assert set(place.objects) == {"a", "shut/inside", "orphan"}
    assert any("nothing was deleted" in warning for warning in failed.json["warnings"])


def test_an_empty_source_deletes_nothing_unless_told_so(place: Place):
    place.hold("a", "b")

    refused = place.sync("--delete")
    kept = set(place.objects)
    allowed = place.sync("--delete", "--allow-empty-source")

    assert refused.code == 1
    assert "holds no file; refusing to delete 2 objects" in refused.stderr
    assert kept == {"a", "b"}
    assert allowed.code == 0
    assert place.objects == {}


def test_an_upload_that_is_refused_withholds_the_deletes(place: Place):
    place.write("good")
    place.write("bad", content=b"nothing in the store has this content, so it is sent")
    place.hold("removed")
    place.fake.meddle = lambda request: refuse(request, "PutObject", "p/bad")

    failed = place.sync("--delete")

    assert failed.code == 1
    assert set(place.objects) == {"good", "removed"}
    assert place.asked()["DeleteObjects"] == 0


def refuse(request: Seen, name: str, key: str) -> Reply | None:
    return Reply(403, body=error("AccessDenied")) if (request.name, request.key) == (name, key) else None


def test_a_file_that_vanishes_before_it_is_sent_is_not_deleted_in_the_same_run(place: Place):
    place.write("a")
    gone = place.write("gone")
    place.hold("gone", content=b"CONTENT")

    def meddle(request: Seen) -> None:
        if request.name == "HeadObject":
            gone.unlink(missing_ok=True)

    place.fake.meddle = meddle
    failed = place.sync("--delete")
    kept = set(place.objects)
    resumed = place.resume()

    assert failed.code == 1
    assert [(each["path"], each["code"]) for each in failed.json["failures"]] == [("gone", "Vanished")]
    assert kept == {"a", "gone"}
    assert resumed.code == 0, resumed.stderr
    assert set(place.objects) == {"a"}


def test_names_that_are_no_utf8_are_sent_as_their_own_bytes(place: Place):
    names = [b"caf\xe9", b"\xff\xfe", b"dir\x80/file", "ünï".encode()]
    for name in names:
        path = os.path.join(os.fsencode(place.tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(name)
    place.hold("orphan")

    first = place.sync("--delete")
    sent = {os.fsencode(path): body for path, body in place.objects.items()}
    again = place.sync("--delete")

    assert first.code == 0, first.stderr
    assert sent == {name: name for name in names}
    assert again.code == 0
    assert place.asked() == {"ListObjectsV2": 1}
    assert len(place.objects) == len(names)


@pytest.mark.parametrize("name", ["new\nline", "tab\t", "\x01control", "<&>\"'", "a//b", " lead", "+%2F?#", "é́"])
def test_every_name_makes_the_round_trip(place: Place, name: str):
    if "//" not in name:
        place.write(name, b"new")
    place.write("z")
    place.hold(f"{name} too much", name)

    first = place.sync("--delete")
    again = place.sync("--delete")

    assert first.code == 0, first.stderr
    assert set(place.objects) == ({name, "z"} if "//" not in name else {"z"})
    assert again.json["operations"]["upload"]["planned"] == 0
    assert again.json["operations"]["delete"]["planned"] == 0


# --- listing --------------------------------------------------------------------------------


def disordered(place: Place, request: Seen) -> Reply | None:
    """The listing in three pages, in no order at all."""
    if request.name != "ListObjectsV2":
        return None
    keys = sorted(place.fake.objects[BUCKET])
    random.Random(5).shuffle(keys)
    page = int(request.query.get("continuation-token", "0"))
    size = -(-len(keys) // 3)
    stored = place.fake.objects[BUCKET]
    rows = "".join(
        f"<Contents><Key>{quote_plus(key)}</Key><LastModified>{time.strftime('%FT%TZ', time.gmtime(stored[key].modified))}"
        f"</LastModified><ETag>{stored[key].etag}</ETag><Size>{len(stored[key].body)}</Size></Contents>"
        for key in keys[page * size : (page + 1) * size]
    )
    more = f"<NextContinuationToken>{page + 1}</NextContinuationToken>" if page < 2 else ""
    return Reply(
        body=f"<?xml version='1.0'?><ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(page < 2).lower()}"
        f"</IsTruncated>{more}{rows}</ListBucketResult>".encode()
    )


@pytest.mark.parametrize("trust", ["--trust-journal", "--no-trust-journal"])
def test_a_listing_in_another_order_changes_nothing(place: Place, trust: str):
    for number in range(40):
        place.write(f"{'ab'[number % 2]}/{number}", b"%d" % number)
    place.sync()
    place.fake.meddle = lambda request: disordered(place, request)

    again = place.sync("--delete", trust)

    assert again.code == 0, again.stderr
    assert place.asked()["PutObject"] == place.asked()["DeleteObjects"] == 0
    assert again.json["unchanged"] == len(place.objects) == 40


def test_a_listing_that_fails_on_its_second_page_deletes_nothing(place: Place):
    place.write("a")
    place.hold(*map(str, range(1500)))

    def second(request: Seen) -> Reply | None:
        later = request.name == "ListObjectsV2" and "continuation-token" in request.query
        return Reply(403, body=error("AccessDenied")) if later else None

    place.fake.meddle = second
    failed = place.sync("--delete")

    assert failed.code == 1
    assert "AccessDenied" in failed.stderr
    assert len(place.objects) == 1500


def test_nothing_to_do_costs_one_request(place: Place):
    for number in range(41):
        place.write(str(number))
    place.sync("--delete")

    again = place.sync("--delete")

    assert again.code == 0
    assert place.asked() == {"ListObjectsV2": 1}
    assert again.json["unchanged"] == 41


# --- comparing ------------------------------------------------------------------------------


def test_a_fresh_checkout_sends_and_asks_nothing(place: Place):
    for number in range(20):
        place.write(str(number), b"content %d" % number)
    place.sync()
    for file in place.tree.iterdir():
        os.utime(file)

    again = place.sync("--delete")

    assert again.code == 0
    assert place.asked() == {"ListObjectsV2": 1}
    assert again.json["unchanged"] == 20


def test_a_fresh_checkout_without_a_journal_sends_nothing(place: Place):
    for number in range(20):
        place.write(str(number), b"content %d" % number)
    place.sync()
    shutil.rmtree(place.journal.parent)
    for file in place.tree.iterdir():
        os.utime(file)

    again = place.sync("--delete")

    assert again.code == 0
    assert place.asked()["PutObject"] == 0
    assert again.json["unchanged"] == 20


@pytest.mark.parametrize("trust", ["--trust-journal", "--no-trust-journal"])
def test_the_same_size_and_an_older_time_do_not_hide_new_content(place: Place, trust: str):
    file = place.write("a", b"old content")
    place.sync()
    before = file.stat()
    file.write_bytes(b"new content")
    os.utime(file, (before.st_atime - 1000, before.st_mtime - 1000))

    again = place.sync(trust)

    assert again.code == 0
    assert place.objects == {"a": b"new content"}


def test_an_object_that_somebody_else_overwrote_is_sent_again(place: Place):
    place.write("a", b"mine")
    place.sync()
    place.hold("a", content=b"them")

    again = place.sync()

    assert again.code == 0
    assert place.objects == {"a": b"mine"}


@pytest.mark.parametrize("size", [300_000, 7 * 1024 * 1024], ids=["in one request", "in parts"])
def test_a_file_rewritten_while_it_is_sent_is_never_torn(place: Place, size: int):
    file = place.write("busy", b"a" * size)
    ended = threading.Event()
    letters = b"abcdefgh"

    def rewrite() -> None:
        with file.open("r+b", buffering=0) as stream:
            for turn in range(10**6):
                if ended.wait(0.002):
                    return
                stream.seek(0)
                stream.write(letters[turn % 8 : turn % 8 + 1] * size)

    seen: list[bytes] = []

    def look(request: Seen) -> None:
        if request.name == "PutObject" and request.key == "p/busy":
            seen.append(request.body)

    place.fake.meddle = look
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        busy = place.sync("--multipart-threshold", "5MiB", "--part-size", "5MiB", "--delete")
    finally:
        ended.set()
        writer.join()
    quiet = place.sync("--multipart-threshold", "5MiB", "--part-size", "5MiB")

    assert busy.code in (0, 1)
    if busy.code == 1:
        assert ", 5 times" in busy.json["failures"][0]["error"]
    assert all(len(set(body)) == 1 for body in seen)
    assert quiet.code == 0, quiet.stderr
    assert place.objects["busy"] == file.read_bytes()
    assert place.fake.uploads == {}


def test_a_file_that_changes_once_while_others_wait_is_planned_again(place: Place):
    """Also when hundreds of operations are still to be leased."""
    for number in range(1500):
        place.write(f"{number:04}", b"x")
    late = place.tree / "1400"
    changed = threading.Event()

    def meddle(request: Seen) -> None:
        if request.name == "PutObject" and not changed.is_set():
            changed.set()
            late.write_bytes(b"changed meanwhile")

    place.fake.meddle = meddle
    done = place.sync()

    assert done.code == 0, done.stderr
    assert place.objects["1400"] == b"changed meanwhile"
    assert len(place.objects) == 1500


# --- predicted = done -----------------------------------------------------------------------


def scenery(place: Place) -> None:
    """Every kind of work."""
    for path in ("new", "changed", "style.css", "same", "later/index.html"):
        place.write(path, path.encode())
    place.hold("same", content=b"same")
    place.hold("changed", content=b"CHANGED")
    place.hold("style.css", content=b"style.css")
    place.hold("orphan/1", "orphan/2")


@pytest.mark.parametrize("journal", ["no journal", "a journal"])
def test_a_dry_run_tells_exactly_what_the_run_then_does(place: Place, journal: str):
    options = ["--delete", "--cache-control", '{"*.css": "max-age=9"}', "--redirects", '{"go": "/p/new"}']
    options += ["--publish-last", "index.html"]
    if journal == "a journal":
        place.write("first")
        place.sync()
    scenery(place)

    foreseen = program.finish(place.start("--dry-run", *options))
    asked = place.asked()
    planned = place.sync("--dry-run", *options).json["plan"]
    done = place.sync(*options)

    told = {tuple(line.split(" ")[:2]) for line in foreseen.stdout.splitlines()}
    assert foreseen.code == done.code == 0
    assert not set(asked) & {"PutObject", "DeleteObjects", "CopyObject"} or journal == "a journal"
    assert told == {(row["operation"], row["key"]) for row in planned} == what_was_done(place)
    assert {kind for kind, _ in told} == {"upload", "copy", "delete", "redirect"}


def what_was_done(place: Place) -> set[tuple[str, str]]:
    """By what the store has seen."""
    done = set()
    for request in place.fake.requests:
        if request.name == "PutObject":
            redirect = "x-amz-website-redirect-location" in request.headers
            done.add(("redirect" if redirect else "upload", request.key))
        elif request.name == "CopyObject":
            done.add(("copy", request.key))
        elif request.name == "DeleteObjects":
            done |= {("delete", key) for key in re.findall("<Key>([^<]*)</Key>", request.body.decode())}
    return done


def test_a_dry_run_leaves_no_trace(place: Place):
    scenery(place)
    before = dict(place.objects)

    place.sync("--dry-run", "--delete")

    assert place.objects == before
    assert list(place.journal.parent.glob("*.db*")) == []


# --- the journal ----------------------------------------------------------------------------


def test_a_second_run_at_the_same_time_is_told_who_is_at_work(place: Place):
    place.write("a")
    begun, may_go = threading.Event(), threading.Event()

    def hold(request: Seen) -> None:
        if request.name == "ListObjectsV2":
            begun.set()
            place.fake._lock.release()
            may_go.wait(60)
            place.fake._lock.acquire()

    place.fake.meddle = hold
    first = place.start("--json")
    assert begun.wait(30)

    second = program.finish(place.start("--json"))
    may_go.set()
    ended = program.finish(first)

    assert second.code == 3
    assert f"in use by pid {first.pid} on host {os.uname().nodename}" in second.stderr
    assert second.json["exit_code"] == 3
    assert ended.code == 0


def test_the_lock_of_a_killed_run_is_taken_over(place: Place):
    place.write("a")
    place.env["S3BATCH_TEST_CRASH_AT"] = "listed"
    killed = place.sync()
    del place.env["S3BATCH_TEST_CRASH_AT"]

    again = place.sync()

    assert killed.code == -signal.SIGKILL
    assert again.code == 0


def test_a_journal_in_the_source_is_neither_sent_nor_deleted(place: Place):
    place.write("a")
    place.options = ["--journal", str(place.tree / ".s3batch" / "sync.db")]
    place.hold(".s3batch/manifest")

    for _ in range(2):
        assert place.sync("--delete").code == 0

    assert set(place.objects) == {"a", ".s3batch/manifest"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("only root may mount a small file system")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.parametrize("files", [10, 4000], ids=["full from the beginning", "fills up"])
def test_a_journal_on_a_full_disk_stops_the_job_in_one_sentence(place: Place, small_disk: Path, files: int):
    for number in range(files):
        place.write(f"some/rather/long/directory/name/{number:05}")
    place.options = ["--journal", str(small_disk / "journal.db")]
    if files == 10:
        filler = small_disk / "filler"
        with filler.open("wb") as stream, pytest.raises(OSError, match="No space left"):
            while True:
                os.write(stream.fileno(), bytes(4096))

    stopped = place.sync("--delete")

    assert stopped.code == 3
    assert "full" in stopped.stderr or "No space left" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert json.loads(stopped.stdout)["exit_code"] == 3
    if files > 10:
        begun = json.loads(stopped.stdout)["job"] is not None  # else the disk was full before anything was planned
        assert ("s3batch resume" in stopped.stderr) == begun
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        resumed = program.finish(place.start("--json", command="resume")) if begun else place.sync("--delete")
        assert resumed.code == 0, resumed.stderr
        assert len(place.objects) == files


# --- memory ---------------------------------------------------------------------------------


def peak_memory(place: Place, *more: str) -> int:
    """KiB, of the coordinator and its workers."""
    process = place.start(*more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.slow
def test_memory_stays_flat(place: Place):
    def grow(first: int, last: int) -> None:
        for number in range(first, last):
            place.write(f"{number % 50}/{number}", b"")

    grow(0, 1000)
    few = peak_memory(place, "--dry-run")
    grow(1000, 40_000)
    many = peak_memory(place, "--dry-run")

    assert many - few < 24 * 1024


def test_a_low_limit_of_open_files_slows_nothing_down_to_failure(place: Place):
    for number in range(300):
        place.write(str(number))
    limit: Callable[[], None] = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))  # noqa: E731

    done = program.finish(place.start("--json", preexec_fn=limit))

    assert done.code == 0, done.stderr
    assert len(place.objects) == 300
