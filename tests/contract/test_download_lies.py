"""A download from a store that lies, changes in the midst or keeps objects back, and into a tree that is changed meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s3batch.s3.checksums import checksum_of
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Reply, Seen, Stored, error

MIB = 1024 * 1024
RANGES = ("--multipart-threshold", "5MiB", "--part-size", "5MiB")


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


def stored(body: bytes, **more) -> Stored:
    return Stored(body, f'"{hashlib.md5(body).hexdigest()}"', **{"modified": 1_500_000_000.0, **more})


@pytest.fixture
def download(fake, clean_env, tmp_path) -> Callable[..., program.Finished]:
    """``download("--delete")``: the program's run from ``s3://b/p`` into ``site``."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}

    def run(*flags: str) -> program.Finished:
        arguments = ["sync", "s3://b/p", "site", "--json", "--retries", "2", "--timeout", "2", "--workers", "1", *flags]
        return program.run(arguments, clean_env | keys, tmp_path)

    return run


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def changed(fake: FakeS3, change: Callable[[Reply], Reply], key: str = "p/bad") -> Callable[[Seen], Reply | None]:
    """Answers GETs of one key otherwise."""

    def meddle(request: Seen) -> Reply | None:
        honest = request.name != "GetObject" or request.key != key
        return None if honest else change(fake._answer(request))

    return meddle


LIES = {
    "other bytes": lambda reply: replace(reply, body=b"X" * len(reply.body)),
    "a short body": lambda reply: replace(reply, body=reply.body[:-1]),
    "a long body": lambda reply: replace(reply, body=reply.body + b"more"),
    "an empty body": lambda reply: replace(reply, body=b""),
    "a body that ends early": lambda reply: replace(reply, headers={**reply.headers, "content-length": "4000"}),
    "no length, and no end": lambda reply: replace(
        reply, headers={**reply.headers, "transfer-encoding": "chunked"}, body=reply.body * 100
    ),
    "another ETag each time": lambda reply: replace(reply, headers={**reply.headers, "etag": f'"{os.urandom(16).hex()}"'}),
    "a page of a portal": lambda reply: Reply(200, {"content-type": "text/html"}, b"<html>" * 500),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("size", [3000, 6 * MIB], ids=["whole", "in ranges"])
def test_bytes_that_are_not_the_objects_become_no_file(download, fake, tmp_path, lie, size):
    fake.objects["b"] = {"p/bad": stored(os.urandom(size)), "p/good": stored(b"good")}
    fake.meddle = changed(fake, lie)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "orphan").write_bytes(b"kept")

    ended = download("--delete", *RANGES)

    assert ended.code == 1, ended.stderr
    assert content(tmp_path / "site") == {"good": b"good", "orphan": b"kept"} | _unfinished(tmp_path / "site")
    assert [failure["key"] for failure in ended.json["failures"]] == ["p/bad"]


def crc64nvme(body: bytes) -> tuple[str, str]:
    return "crc64nvme", checksum_of("crc64nvme", body)


def test_ranges_with_other_bytes_than_the_checksum_of_the_whole_become_no_file(download, fake, tmp_path):
    fake.objects["b"] = {"p/bad": stored(body := os.urandom(6 * MIB), checksum=crc64nvme(body))}
    fake.meddle = changed(fake, LIES["other bytes"])

    ended = download(*RANGES)

    assert ended.code == 1, ended.stderr
    assert content(tmp_path / "site") == _unfinished(tmp_path / "site")
    assert "does not match its CRC64NVME checksum" in ended.json["failures"][0]["error"]


@pytest.fixture
def unproved(fake) -> bytes:
    """The content of ``p/f``, of which only the size is known. The second range comes with the bytes of the first.

    It comes once without a Content-Range.
    """
    body, wrong = os.urandom(20 * MIB), []

    def meddle(request: Seen) -> Reply | None:
        if request.name != "GetObject" or request.headers.get("range", "").startswith("bytes=0-") or wrong:
            return None
        wrong.append(reply := fake._answer(request))
        headers = {name: value for name, value in reply.headers.items() if name != "content-range"}
        return replace(reply, headers=headers, body=body[: len(reply.body)])

    fake.objects["b"] = {"p/f": Stored(body, f'"{"0" * 32}-4"', modified=1.5e9)}
    fake.meddle = meddle
    return body


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_a_range_that_does_not_say_which_it_is_comes_again(download, unproved, tmp_path, lane):
    ended = download(*RANGES, "--lane", lane)

    assert ended.code == 0, ended.stderr
    assert content(tmp_path / "site") == {"f": unproved}


def test_a_range_that_does_not_say_which_it_is_is_not_written_to_stdout(fake, unproved, clean_env, tmp_path):
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
    with (tmp_path / "out").open("wb") as out:
        ended = program.finish(program.start(["sync", "s3://b/p/f", "-"], clean_env | keys, tmp_path, stdout=out))

    assert ended.code == 0, ended.stderr
    assert (tmp_path / "out").read_bytes() == unproved


def test_ranges_are_proved_as_they_come_and_not_read_back(download, fake, tmp_path):
    fake.objects["b"] = {"p/f": stored(body := os.urandom(6 * MIB), checksum=crc64nvme(body))}

    ended = download(*RANGES)

    assert ended.code == 0, ended.stderr
    assert content(tmp_path / "site") == {"f": body}
    assert ended.json["proved"] == {"checksum": 1, "etag": 0, "parts": 0, "size": 0}


def test_what_was_damaged_between_two_runs_comes_again(download, fake, tmp_path):
    body = os.urandom(6 * MIB)
    fake.objects["b"] = {"p/f": stored(body, checksum=crc64nvme(body))}
    fake.meddle = lambda request: (
        Reply(500, {}, error("InternalError", "no")) if request.headers.get("range", "").startswith("bytes=5") else None
    )
    download(*RANGES, "--journal", "journal.db")
    [left] = (tmp_path / "site" / ".s3batch" / "tmp").iterdir()
    with left.open("r+b") as file:
        file.write(b"damaged")
    fake.meddle = lambda _: None

    ended = download(*RANGES, "--journal", "journal.db")

    assert ended.code == 0, ended.stderr
    assert content(tmp_path / "site") == {"f": body}


def _unfinished(site: Path) -> dict[str, bytes]:
    """What a resume may go on with: it is in s3batch's own directory only."""
    return {path: body for path, body in content(site).items() if path.startswith(".s3batch/tmp/")}


@pytest.mark.parametrize("size", [3000, 12 * MIB], ids=["whole", "in ranges"])
def test_an_object_that_changes_in_the_midst_begins_anew_and_is_never_a_mix(download, fake, tmp_path, size):
    old, new = b"o" * size, b"n" * size
    fake.objects["b"] = {"p/f": stored(old)}
    seen = []

    def meddle(request: Seen) -> None:
        if request.name == "GetObject":
            seen.append(request)
            if len(seen) == min(2, 1 + size // (10 * MIB)):
                fake.objects["b"]["p/f"] = stored(new, modified=1_600_000_000.0)

    fake.meddle = meddle

    ended = download(*RANGES, "--max-concurrency", "1")

    assert ended.code == 0, ended.stderr
    assert content(tmp_path / "site") == {"f": new}
    assert os.stat(tmp_path / "site" / "f").st_mtime == 1_600_000_000


def test_an_object_that_keeps_changing_is_given_up_and_named(download, fake, tmp_path):
    fake.objects["b"] = {"p/f": stored(b"0"), "p/good": stored(b"good")}

    def meddle(request: Seen) -> None:
        if request.name == "GetObject" and request.key == "p/f":
            fake.objects["b"]["p/f"] = stored(os.urandom(8))

    fake.meddle = meddle

    ended = download()

    assert ended.code == 1
    assert content(tmp_path / "site") == {"good": b"good"}
    assert "the object changed after it was listed, 2 times" in ended.json["failures"][0]["error"]


def test_archived_objects_are_named_and_the_others_go_on(download, fake, tmp_path):
    fake.objects["b"] = {f"p/cold{number}": stored(b"cold") for number in range(60)} | {"p/warm": stored(b"warm")}

    def meddle(request: Seen) -> Reply | None:
        if request.name == "GetObject" and "cold" in request.key:
            return Reply(403, {"content-type": "application/xml"}, error("InvalidObjectState", "not valid"))
        return None

    fake.meddle = meddle

    ended = download()

    assert ended.code == 1, ended.stderr
    assert content(tmp_path / "site") == {"warm": b"warm"}
    assert {failure["error"] for failure in ended.json["failures"]} == {"archived; restore it first"}
    assert len(ended.json["failures"]) == 60


def test_an_archived_object_is_not_written_to_stdout_and_named(fake, clean_env, tmp_path):
    fake.objects["b"] = {"p/cold": stored(b"cold")}
    fake.meddle = lambda seen: Reply(403, body=error("InvalidObjectState")) if seen.name == "GetObject" else None
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}

    ended = program.run(["sync", "s3://b/p/cold", "-"], clean_env | keys, tmp_path)

    assert (ended.code, ended.stdout) == (1, "")
    assert "p/cold is archived; restore it first" in ended.stderr


def test_an_object_that_is_gone_by_now_is_named(download, fake, tmp_path):
    fake.objects["b"] = {"p/gone": stored(b"x"), "p/good": stored(b"good")}
    fake.meddle = lambda request: (
        fake.objects["b"].pop("p/gone", None) and None if request.name == "GetObject" else None
    )

    ended = download()

    assert ended.code == 1
    assert content(tmp_path / "site") == {"good": b"good"}
    assert "deleted after it was listed" in ended.json["failures"][0]["error"]


def test_what_nothing_proves_but_its_size_is_said(download, fake, tmp_path):
    fake.manners = Manners(md5_etags=False)
    fake.objects["b"] = {f"p/{number}": Stored(b"body", '"no-digest"', modified=1.5e9) for number in range(25)}

    ended = download()

    assert ended.code == 0, ended.stderr
    assert ended.json["proved"] == {"checksum": 0, "etag": 0, "parts": 0, "size": 25}
    [warning] = ended.json["warnings"]
    assert warning.startswith("size only: nothing but the size proves the content of 25 objects: p/")
    assert warning.endswith(" and 5 more")


def test_a_link_that_is_planted_while_it_runs_leads_nowhere(download, fake, tmp_path):
    fake.objects["b"] = {f"p/dir/deep/{number}": stored(b"new") for number in range(40)}
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    site = tmp_path / "site"
    gets = []

    def plant(request: Seen) -> None:
        if request.name != "GetObject":
            return
        gets.append(request)
        if (site / "dir").is_symlink():
            time.sleep(0.05)  # the others come after the half second for which an open directory is trusted
        elif len(gets) >= 5:
            site.mkdir(exist_ok=True)
            if (site / "dir").exists():
                (site / "dir").rename(site / "moved")
            (site / "dir").symlink_to(outside)

    fake.meddle = plant

    ended = download("--max-concurrency", "2")

    assert ended.code == 1, ended.stderr
    assert content(outside) == {}, "nothing is written through the link"
    assert all("is not followed" in failure["error"] for failure in ended.json["failures"])
    assert ended.json["failures"]


def test_a_planted_directory_of_unfinished_files_is_refused(download, fake, tmp_path):
    fake.objects["b"] = {"p/f": stored(b"new")}
    (tmp_path / "outside").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / ".s3batch").symlink_to(tmp_path / "outside")

    ended = download()

    assert ended.code in (1, 3), ended.stderr
    assert ".s3batch" in ended.stderr
    assert content(tmp_path / "outside") == {}
    assert content(tmp_path / "site") == {}


def test_keys_of_s3batch_itself_are_no_files(download, fake, tmp_path):
    fake.objects["b"] = {"p/.s3batch/tmp/1.2": stored(b"x"), "p/a/.s3batch/b": stored(b"x"), "p/f": stored(b"f")}

    assert download().code == 0
    assert content(tmp_path / "site") == {"f": b"f"}


def test_a_source_that_is_one_object_is_told(download, fake, tmp_path):
    fake.objects["b"] = {"p": stored(b"one object")}

    ended = download("--delete")

    assert ended.code == 1
    assert "s3://b/p is one object" in ended.json["error"]


@pytest.mark.parametrize("hidden", ["p/came", "p/d/came"])
def test_a_file_whose_object_the_listing_did_not_show_stays(download, fake, tmp_path, hidden):
    (tmp_path / "site" / "d").mkdir(parents=True)
    for name in (hidden[2:], "orphan"):
        (tmp_path / "site" / name).write_bytes(b"mine")
    fake.objects["b"] = {"p/f": stored(b"f")}

    def meddle(request: Seen) -> None:
        if request.query.get("start-after"):  # the look right before the deletes
            fake.objects["b"][hidden] = stored(b"theirs")

    fake.meddle = meddle
    ended = download("--delete")

    assert (ended.code, ended.json["operations"]["delete"]["done"], ended.json["operations"]["delete"]["skipped"]) == (
        0,
        1,
        1,
    )
    assert content(tmp_path / "site") == {"f": b"f", hidden[2:]: b"mine"}
    assert [each.name for each in fake.requests] == ["ListObjectsV2", "GetObject", "ListObjectsV2"]


def test_no_file_goes_where_the_store_does_not_tell_whether_it_has_an_object(download, fake, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "orphan").write_bytes(b"mine")
    fake.objects["b"] = {"p/f": stored(b"f")}
    fake.meddle = lambda request: Reply(200, body=b"<html>") if request.query.get("start-after") else None

    ended = download("--delete")

    assert (ended.code, content(tmp_path / "site")) == (1, {"f": b"f", "orphan": b"mine"})


def test_a_file_that_changes_after_its_delete_was_planned_stays(download, fake, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for number in range(3):
        (site / f"orphan{number}").write_bytes(b"old")
    fake.objects["b"] = {"p/f": stored(b"f")}

    def meddle(request: Seen) -> None:
        if request.query.get("start-after"):
            (site / "orphan0").write_bytes(b"new")
            (site / "orphan2").unlink()

    fake.meddle = meddle
    ended = download("--delete")

    assert (ended.code, ended.json["operations"]["delete"]["skipped"]) == (0, 1)
    assert content(site) == {"f": b"f", "orphan0": b"new"}


def test_a_file_whose_path_is_longer_than_any_key_goes_without_a_look(download, fake, tmp_path):
    long = tmp_path.joinpath("site", *["d" * 250] * 5)
    long.mkdir(parents=True)
    (long / "orphan").write_bytes(b"mine")
    fake.objects["b"] = {"p/f": stored(b"f")}
    refused = Reply(400, body=error("KeyTooLongError"))
    fake.meddle = lambda request: refused if len(request.query.get("start-after", "")) > 1024 else None

    assert download("--delete").code == 0
    assert content(tmp_path / "site") == {"f": b"f"}


def test_an_object_that_is_larger_than_head_told_is_not_whole_on_stdout(fake, clean_env, tmp_path):
    fake.objects["b"] = {"k": replace(stored(b"x" * 3000), etag='"opaque"')}  # nothing but the size proves it

    def meddle(request: Seen) -> Reply | None:
        honest = fake._answer(request)
        return (
            replace(honest, headers={**honest.headers, "content-length": "100"}) if request.method == "HEAD" else None
        )

    fake.meddle = meddle
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
    ended = program.run(["sync", "s3://b/k", "-"], clean_env | keys, tmp_path)

    assert ended.code == 1
    assert "k has 3000 bytes, and HEAD told 100: what was written is not whole" in ended.stderr
