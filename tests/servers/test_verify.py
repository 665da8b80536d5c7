"""``s3batch verify`` against a real bucket: it names every difference, sees none where there is none, and writes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from s3batch.cli import main
from tests.rig.program import Finished

MIB = 1 << 20
SITE = {"index.html": b"<h1>hello</h1>", "a/b.txt": b"some text", "img/x.png": b"\x89PNG"}


@pytest.fixture
def call(env, tmp_path) -> Callable[..., Finished]:
    """The program in this process and without workers of its own: dozens of runs in the time of a few."""

    def run(command: str, *arguments: str | Path) -> Finished:
        out, err = io.StringIO(), io.StringIO()
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        code = main([command, *map(str, arguments), "--executor", "inline"], {**env, **state}, out, err)
        return Finished(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def verify(call, bucket) -> Callable[..., tuple[int, Any]]:
    """Compare a tree with ``site/``; exit code and JSON document."""

    def run(tree: Path, *flags: str) -> tuple[int, Any]:
        finished = call("verify", tree, bucket.url("site"), "--json", *flags)
        return finished.code, finished.json

    return run


@pytest.fixture
def synced(call, bucket, make_tree) -> Callable[..., Path]:
    """A tree and its copy below ``site/``, made by ``s3batch sync`` with these flags."""

    def run(*flags: str, files: dict[str, bytes] = SITE) -> Path:
        tree = make_tree(files)
        finished = call("sync", tree, bucket.url("site"), *flags)
        assert finished.code == 0, finished.stderr
        return tree

    return run


def said(document: Any) -> list[str]:
    """The differences in short."""
    rows = ((row["what"], row["key"], row["path"], row["reason"]) for row in document["differences"])
    return sorted(" ".join(filter(None, row)) for row in rows)


def state_of(bucket) -> dict[str, Any]:
    """Everything of each object that a write would change."""
    return {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in bucket.listed()}


# --- no difference ------------------------------------------------------------------------------


ALIKE = [
    pytest.param([], id="nothing configured"),
    pytest.param(["--metadata", '{"Origin": "camera", "version": 2}'], id="metadata"),
    pytest.param(["--acl", '{"img/*": "public-read"}'], id="an ACL"),
    pytest.param(["--cache-control", '{".html": "no-cache", "*": "max-age=60"}'], id="cache control"),
    pytest.param(["--gzip", ".html,.txt"], id="compressed on the way"),
    pytest.param(["--redirects", '{"old/page": "/new"}'], id="a redirect outside the target"),
    pytest.param(["--redirects", '{"site/old": "/new"}'], id="a redirect inside the target"),
    pytest.param(["--exclude", "a/"], id="what is excluded"),
    pytest.param(["--include", "*.html"], id="what is not included"),
    pytest.param(["--publish-last", "index.html"], id="something sent last"),
    pytest.param(["--storage-class", "STANDARD_IA"], id="a storage class"),
    pytest.param(["--tags", '{"team": "web"}'], id="tags"),
    pytest.param(["--encryption", "AES256"], id="encryption"),
    pytest.param(["--encryption", "aws:kms", "--kms-key-id", "alias/site"], id="encryption with KMS"),
    pytest.param(["--checksum", "none"], id="no checksum"),
    pytest.param(["--strip-prefix", "a/"], id="another name for some"),
]


@pytest.mark.parametrize("flags", ALIKE)
def test_what_a_sync_stored_does_not_differ_under_the_same_settings(verify, synced, flags):
    tree = synced(*flags)

    code, document = verify(tree, *flags)

    assert (code, said(document), document["failures"], document["warnings"]) == (0, [], [], [])
    assert (document["state"], document["command"]) == ("done", "verify")


def test_a_multipart_object_of_ours_is_compared_by_its_parts(verify, synced, bucket):
    content = bytes(range(256)) * (12 * MIB // 256)
    parts = ["--multipart-threshold", "6MiB", "--part-size", "5MiB"]
    tree = synced(*parts, files={"big.bin": content})
    assert "-3" in bucket.head("site/big.bin")["ETag"]

    assert verify(tree)[0] == 0
    (tree / "big.bin").write_bytes(content[:-1] + b"?")
    assert said(verify(tree)[1]) == ["different site/big.bin big.bin content"]


@pytest.mark.parametrize("sizes", [[5, 5, 2], [7, 5], [5, 6, 1]], ids=["equal parts", "a first one", "uneven parts"])
def test_a_multipart_object_of_another_tool_is_compared_whatever_its_parts_are(verify, bucket, make_tree, sizes):
    content = os.urandom(sum(sizes) * MIB)
    tree = make_tree({"big.bin": content})
    upload(bucket, "site/big.bin", content, sizes)

    assert verify(tree)[0] == 0
    (tree / "big.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert said(verify(tree)[1]) == ["different site/big.bin big.bin content"]


def upload(bucket, key: str, content: bytes, sizes: list[int]) -> None:
    """A multipart upload with parts of so many MiB, and no checksum but what the store makes by itself."""
    place = {"Bucket": bucket.name, "Key": key}
    upload_id = bucket.client.create_multipart_upload(**place, ContentType="application/octet-stream")["UploadId"]
    at, parts = 0, []
    for number, size in enumerate(sizes, start=1):
        body = content[at : at + size * MIB]
        at += size * MIB
        done = bucket.client.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    bucket.client.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": parts})


def test_the_same_text_compressed_by_another_zlib_is_the_same(verify, bucket, make_tree):
    text = b"the same words again and again\n" * 200
    tree = make_tree({"index.html": text})
    bucket.put(
        "site/index.html", gzip.compress(text, 1), ContentEncoding="gzip", ContentType="text/html; charset=utf-8"
    )

    assert verify(tree, "--gzip", "true")[0] == 0


# --- differences --------------------------------------------------------------------------------


def gone(tree, bucket):
    bucket.client.delete_object(Bucket=bucket.name, Key="site/a/b.txt")


def same_size(tree, bucket):
    (tree / "a/b.txt").write_bytes(b"SOME text")


def same_size_and_time(tree, bucket):
    was = (tree / "a/b.txt").stat()
    (tree / "a/b.txt").write_bytes(b"SOME text")
    os.utime(tree / "a/b.txt", ns=(was.st_atime_ns, was.st_mtime_ns))


def other_size(tree, bucket):
    (tree / "a/b.txt").write_bytes(b"longer than it was")


def emptied(tree, bucket):
    (tree / "a/b.txt").write_bytes(b"")


def overwritten(tree, bucket):
    bucket.put("site/a/b.txt", b"SOME text", ContentType="text/plain; charset=utf-8")


def other_type(tree, bucket):
    bucket.put("site/a/b.txt", b"some text", ContentType="image/png")


def more_metadata(tree, bucket):
    bucket.put("site/a/b.txt", b"some text", ContentType="text/plain; charset=utf-8", CacheControl="no-cache")


def one_more(tree, bucket):
    bucket.put("site/more/é & <x>.txt", b"")


def renamed(tree, bucket):
    (tree / "a/b.txt").rename(tree / "a/c.txt")


def everything_gone(tree, bucket):
    for path in SITE:
        (tree / path).unlink()


DIFFERENCES = [
    pytest.param(gone, ["missing site/a/b.txt a/b.txt"], id="no object"),
    pytest.param(same_size, ["different site/a/b.txt a/b.txt content"], id="other content of the same size"),
    pytest.param(
        same_size_and_time, ["different site/a/b.txt a/b.txt content"], id="other content of the same size and time"
    ),
    pytest.param(other_size, ["different site/a/b.txt a/b.txt content"], id="another size"),
    pytest.param(emptied, ["different site/a/b.txt a/b.txt content"], id="an empty file"),
    pytest.param(overwritten, ["different site/a/b.txt a/b.txt content"], id="another object of the same size"),
    pytest.param(other_type, ["different site/a/b.txt a/b.txt metadata"], id="another type"),
    pytest.param(more_metadata, ["different site/a/b.txt a/b.txt metadata"], id="a header nobody wants"),
    pytest.param(one_more, ["extra site/more/é & <x>.txt"], id="an object too many"),
    pytest.param(renamed, ["extra site/a/b.txt", "missing site/a/c.txt a/c.txt"], id="another name"),
    pytest.param(
        everything_gone, ["extra site/a/b.txt", "extra site/img/x.png", "extra site/index.html"], id="an empty source"
    ),
]


@pytest.mark.parametrize(("change", "expected"), DIFFERENCES)
def test_each_difference_is_named_and_nothing_is_written(verify, synced, bucket, change, expected):
    tree = synced()
    change(tree, bucket)
    before = state_of(bucket)

    code, document = verify(tree)

    assert (code, said(document)) == (1, expected)
    assert (document["state"], document["exit_code"]) == ("failed", 1)
    assert state_of(bucket) == before
    assert bucket.uploads() == []


@pytest.mark.parametrize(
    ("flags", "then", "reason"),
    [
        pytest.param(["--metadata", '{"v": "1"}'], ["--metadata", '{"v": "2"}'], "metadata", id="a value"),
        pytest.param(["--metadata", '{"v": "1"}'], ["--metadata", '{"w": "1"}'], "metadata", id="a name"),
        pytest.param([], ["--metadata", '{"v": "1"}'], "metadata", id="none yet"),
        pytest.param([], ["--content-type", "text/x"], "metadata", id="a type"),
        pytest.param([], ["--storage-class", "STANDARD_IA"], "metadata", id="a storage class"),
        pytest.param([], ["--encryption", "aws:kms", "--kms-key-id", "k1"], "metadata", id="encryption"),
        pytest.param([], ["--acl", "public-read"], "acl", id="an ACL"),
        pytest.param([], ["--gzip", "true"], "content", id="compression"),
    ],
)
def test_what_other_settings_would_change_is_a_difference(verify, synced, flags, then, reason):
    tree = synced(*flags, files={"a.txt": b"some text"})

    assert said(verify(tree, *then)[1]) == [f"different site/a.txt a.txt {reason}"]


def test_a_redirect_is_compared_by_where_it_leads(verify, synced, bucket):
    tree = synced("--redirects", '{"site/old": "/new"}')

    assert said(verify(tree, "--redirects", '{"site/old": "/newer"}')[1]) == ["different site/old redirect"]
    assert said(verify(tree, "--redirects", '{"elsewhere": "/new", "site/old": "/new"}')[1]) == ["missing elsewhere"]
    assert said(verify(tree)[1]) == ["extra site/old"]


@pytest.mark.parametrize(
    ("key", "flags"),
    [
        pytest.param("site/.s3batch/doctor-1", [], id="what s3batch keeps there itself"),
        pytest.param("site/", [], id="the folder's own marker"),
        pytest.param("site2/x", [], id="a neighbour"),
        pytest.param("site/private/x", ["--exclude", "private/"], id="what is excluded"),
        pytest.param("site/x.css", ["--include", "*.html", "--include", "*.txt", "--include", "*.png"],
                     id="what is not included"),
    ],
)  # fmt: skip
def test_what_a_sync_would_leave_alone_is_not_extra(verify, synced, bucket, key, flags):
    tree = synced()
    bucket.put(key, b"")

    assert verify(tree, *flags)[0] == 0


def test_every_difference_of_every_kind_is_in_one_report(verify, synced, bucket):
    tree = synced("--publish-last", "index.html")
    (tree / "index.html").write_bytes(b"<h1>other</h1>")
    (tree / "new.txt").write_bytes(b"")
    bucket.put("site/old.txt", b"")

    code, document = verify(tree, "--publish-last", "index.html", "--redirects", '{"site/r": "/x"}')

    assert code == 1
    assert said(document) == [
        "different site/index.html index.html content",
        "extra site/old.txt",
        "missing site/new.txt new.txt",
        "missing site/r",
    ]


# --- what cannot be compared --------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_named_and_everything_else_compared(verify, synced, bucket):
    tree = synced()
    (tree / "a/b.txt").unlink()
    (tree / "a/b.txt").symlink_to("nowhere")
    (tree / "index.html").write_bytes(b"<h1>other</h1>")
    bucket.put("site/old.txt", b"")

    code, document = verify(tree, "--redirects", '{"r": "/x"}', "--publish-last", "index.html")

    assert code == 1
    assert [(failure["key"], failure["code"]) for failure in document["failures"]] == [("site/a/b.txt", "BrokenLink")]
    assert said(document) == ["different site/index.html index.html content", "extra site/old.txt", "missing r"]


def test_content_that_may_not_be_read_is_no_difference_and_no_success(verify, synced, as_nobody):
    tree = synced()
    (tree / "a/b.txt").chmod(0)

    with as_nobody(tree):
        code, document = verify(tree)

    assert (code, said(document)) == (1, [])
    assert [(failure["path"], failure["code"]) for failure in document["failures"]] == [("a/b.txt", "Unreadable")]


@pytest.mark.parametrize("command", [["verify"], ["sync", "--delete"], ["sync", "--plan", "plan"]])
def test_a_source_that_may_not_be_read_is_an_error_of_its_own(call, synced, bucket, as_nobody, command):
    tree = synced()
    before = bucket.keys()
    tree.chmod(0)

    with as_nobody(tree):
        ended = call(*command, tree, bucket.url("site"))

    tree.chmod(0o755)
    assert (ended.code, ended.stdout) == (2, "")
    assert f"source {str(tree)!r} (from argument SOURCE) cannot be read: Permission denied" in ended.stderr
    assert bucket.keys() == before


def test_a_directory_that_may_not_be_read_hides_no_difference_elsewhere(verify, synced, bucket, as_nobody):
    tree = synced()
    (tree / "a").chmod(0)
    bucket.put("site/old.txt", b"")

    with as_nobody(tree):
        code, document = verify(tree)

    (tree / "a").chmod(0o755)
    assert (code, said(document)) == (1, ["extra site/old.txt"])
    assert [(failure["path"], failure["code"]) for failure in document["failures"]] == [("a/", "Unreadable")]


@pytest.fixture
def as_nobody() -> Callable[[Path], AbstractContextManager[None]]:
    """Root reads everything: while this lasts it is somebody who may only enter what leads to the tree."""

    @contextmanager
    def dropped(tree: Path) -> Iterator[None]:
        above = [folder for folder in tree.parents if folder.stat().st_uid == os.geteuid() and folder != Path("/")]
        modes = {folder: folder.stat().st_mode for folder in above}
        root = os.geteuid() == 0
        for folder in above if root else []:
            folder.chmod(modes[folder] | 0o011)
        os.seteuid(65534 if root else os.geteuid())
        try:
            yield
        finally:
            os.seteuid(0 if root else os.geteuid())
            for folder, mode in modes.items() if root else []:
                folder.chmod(mode)

    return dropped


def test_a_warning_is_said_to_people_too(call, synced, bucket):
    tree = synced()
    os.mkfifo(tree / "pipe")

    finished = call("verify", tree, bucket.url("site"))

    assert finished.code == 0
    assert finished.stdout == ""
    assert finished.stderr.splitlines() == [
        "s3batch: warning: skipped pipe: it is a named pipe (FIFO); a key of that name is kept",
        "3 files compared: no difference",
    ]


def test_people_get_a_line_for_each_difference_and_a_count(call, synced, bucket):
    tree = synced()
    (tree / "index.html").write_bytes(b"<h1>other</h1>")

    finished = call("verify", tree, bucket.url("site"))

    assert (finished.code, finished.stdout) == (1, "different site/index.html content\n")
    assert finished.stderr == "3 files compared: 1 difference\n"


def test_one_file_is_compared_with_one_key(call, synced, bucket):
    tree = synced()
    bucket.put("site/index.html2", b"")

    assert call("verify", tree / "index.html", bucket.url("site/index.html")).code == 0
    assert call("verify", tree / "a/b.txt", bucket.url("site/index.html")).code == 1


@pytest.mark.parametrize(
    ("source", "target", "code", "words"),
    [
        pytest.param(
            "gone", "s3://{bucket}/site", 2, "source 'gone' (from argument SOURCE) does not exist", id="no source"
        ),
        pytest.param("tree", "s3://no-such-bucket-0/site", 4, "bucket 'no-such-bucket-0'", id="no bucket"),
    ],
)
def test_nothing_to_compare_is_an_error(call, monkeypatch, synced, bucket, source, target, code, words):
    monkeypatch.chdir(synced().parent)

    finished = call("verify", source, target.format(bucket=bucket.name), "--json")

    assert finished.code == code
    assert words in finished.stderr
    assert finished.json["exit_code"] == code


def test_a_target_with_nothing_in_it_lacks_every_file(verify, make_tree, bucket):
    tree = make_tree(SITE)

    assert [row["what"] for row in verify(tree)[1]["differences"]] == ["missing"] * 3


def test_the_journal_of_the_last_sync_is_not_believed(verify, synced, bucket):
    tree = synced()
    listed = bucket.head("site/a/b.txt")
    assert listed["ETag"].strip('"') == hashlib.md5(b"some text").hexdigest()

    requests = verify(tree)[1]["requests"]

    assert requests == {"HeadObject": 3, "ListObjectsV2": 1}
