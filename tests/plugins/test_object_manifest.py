"""``object_manifest: true``: a runner without a journal needs the listing, one GET, and its own files."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections import Counter

import pytest

from s3batch.commands.sync import manifest_format
from s3batch.journal.facts import make_known_object
from tests.rig.faults import Refuse

KEY = "site/.s3batch/manifest"
FILES = {"dist/index.html": "<p>1", "dist/app.js": "let a", "dist/img/ä b.svg": "<svg/>", "dist/empty": ""}


@pytest.fixture
def step(step):
    step.settings = {"source": "dist", "target": "site", "object_manifest": True, "cache_control": {".js": "no-store"}}
    step.files(FILES)
    return step


def fresh_checkout(step) -> None:
    """Another machine: no journal, the same content in new files with new times."""
    step.fresh_runner()
    shutil.copytree(step.workspace / "dist", step.workspace / "copy")
    shutil.rmtree(step.workspace / "dist")
    (step.workspace / "copy").rename(step.workspace / "dist")
    for path in FILES:
        if (step.workspace / path).exists():
            os.utime(step.workspace / path, (1_700_000_000, 1_700_000_000))


def lines(step) -> list:
    return [json.loads(line) for line in gzip.decompress(step.bucket.get(KEY)).splitlines()]


def test_a_fresh_runner_lists_fetches_and_reads_its_own_files(step) -> None:
    first = step.run()
    fresh_checkout(step)

    run = step.run()

    assert first.requests[-1].key == KEY
    assert run.code == 0, run.err
    assert run.counts == Counter({"ListObjectsV2": 1, "GetObject": 1})
    assert "4 unchanged" in run.err


def test_a_journal_makes_even_the_get_needless(step) -> None:
    step.run()

    assert step.run().counts == Counter({"ListObjectsV2": 1})


def test_only_what_changed_in_the_checkout_is_sent(step) -> None:
    step.run()
    fresh_checkout(step)
    step.files({"dist/app.js": "let b", "dist/index.html": "longer"})

    run = step.run()

    assert run.changed == [("PutObject", KEY), ("PutObject", "site/app.js"), ("PutObject", "site/index.html")]
    assert run.of("HeadObject") == []


def test_other_attributes_are_compared_with_the_object(step) -> None:
    step.run()
    fresh_checkout(step)

    run = step.run({"cache_control": {".js": "no-cache"}})

    # the first copy of a job is looked at before and after: a store may drop tags
    assert [(each.operation, each.key) for each in run.requests[2:]] == [
        ("HeadObject", "site/app.js"), ("GetObjectTagging", "site/app.js"), ("CopyObject", "site/app.js"),
        ("HeadObject", "site/app.js"), ("PutObject", KEY),
    ]  # fmt: skip
    assert run.counts["GetObject"] == 1


def test_an_object_that_somebody_else_wrote_is_not_believed(step) -> None:
    step.run()
    fresh_checkout(step)
    step.bucket.put("site/app.js", b"let x", CacheControl="no-store")

    run = step.run()

    assert step.bucket.get("site/app.js") == b"let a"
    assert ("PutObject", "site/app.js") in run.changed


def test_it_is_written_only_when_it_would_say_something_else(step) -> None:
    step.run()
    etag = step.bucket.head(KEY)["ETag"]
    for _ in range(2):
        fresh_checkout(step)
        assert step.run().changed == []

    assert step.bucket.head(KEY)["ETag"] == etag


def test_it_is_no_orphan_no_file_of_the_source_and_private(step) -> None:
    step.run({"delete": True, "acl": "public-read"})
    step.remove("dist/empty")
    run = step.run({"delete": True, "acl": "public-read"})

    assert ("DeleteObjects", "") in run.changed
    assert KEY in set(step.bucket.keys())
    assert "x-amz-acl" not in run.headers(KEY)
    assert [row[0] for row in lines(step)[1:-1]] == ["app.js", "img/ä b.svg", "index.html"]


def test_an_object_that_was_lost_is_sent_and_noted_again(step) -> None:
    step.run()
    step.bucket.client.delete_object(Bucket=step.bucket.name, Key="site/empty")
    fresh_checkout(step)

    run = step.run()

    assert run.changes[0].key == "site/empty"
    assert [row[0] for row in lines(step)[1:-1]] == ["app.js", "empty", "img/ä b.svg", "index.html"]


def damaged(kind: str, body: bytes) -> bytes:
    text = gzip.decompress(body)
    match kind:
        case "cut":
            return body[: len(body) // 2]
        case "no gzip":
            return b"<html>not found</html>"
        case "a value changed":
            return gzip.compress(text.replace(b'"app.js"', b'"app.jx"'))
        case "its end missing":
            return gzip.compress(b"\n".join(text.splitlines()[:-1]) + b"\n")
        case "another target":
            return gzip.compress(text.replace(b"/site/", b"/other/", 1))
        case "a later version":
            return gzip.compress(text.replace(b'"version":1', b'"version":2'))
        case "a row of another shape":
            return gzip.compress(text.replace(b'["app.js",', b'[["app.js"],'))
        case "a size beyond 64 bits":
            return gzip.compress(re.sub(rb'(\["app\.js","[^"]*",)', rb"\g<1>9223372036854775808", text))
    return b""


@pytest.mark.parametrize(
    "kind",
    [
        "cut", "no gzip", "empty", "a value changed", "its end missing", "another target", "a later version",
        "a row of another shape", "a size beyond 64 bits",
    ],
)  # fmt: skip
def test_one_that_cannot_be_read_is_a_warning_and_no_more(step, kind) -> None:
    step.run()
    step.bucket.put(KEY, damaged(kind, step.bucket.get(KEY)))
    fresh_checkout(step)

    run = step.run()

    assert run.code == 0, run.err
    assert f"the object manifest {KEY} is not used: it" in run.err
    assert run.counts["HeadObject"] == len(FILES)
    assert run.changed == [("PutObject", KEY)]


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_one_that_may_not_be_read_or_written_is_a_warning_too(step, proxy, operation) -> None:
    step.run()
    fresh_checkout(step)
    step.files({"dist/app.js": "let b"})
    proxy.on(operation, Refuse(403, "AccessDenied"), key="manifest")

    run = step.run()

    assert (run.code, step.bucket.get("site/app.js")) == (0, b"let b")
    assert f"{operation} '{KEY}': AccessDenied" in run.err


def test_it_is_not_written_when_something_failed(step, proxy) -> None:
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="app")

    run = step.run()

    assert (run.code, run.of("PutObject", KEY)) == (1, [])
    proxy.rules.clear()
    resumed = step.run({"mode": "resume"})
    assert [request.key for request in resumed.changes] == ["site/app.js", KEY], resumed.err


def test_a_dry_run_reads_and_does_not_write_it(step) -> None:
    step.run()
    fresh_checkout(step)
    step.files({"dist/app.js": "let b"})

    run = step.run({"dry_run": True})

    assert (run.out, run.changed) == ("upload site/app.js content\n", [])
    assert run.counts["HeadObject"] == 0


def test_trust_journal_false_believes_neither_journal_nor_manifest(step) -> None:
    step.run()
    run = step.run({"trust_journal": False})

    assert (run.counts["HeadObject"], run.counts["GetObject"], run.changed) == (len(FILES), 0, [])


def test_the_same_facts_are_the_same_bytes(step) -> None:
    step.run()
    body = step.bucket.get(KEY)
    header = lines(step)[0]
    facts: manifest_format.Facts = []
    for block in manifest_format.read_rows(body, header):
        facts += [(row[0], make_known_object(row)) for row in manifest_format.parse_fact_rows(block, "site/")]

    assert manifest_format.encode_object_manifest([facts], header, "site/")[0] == body


def test_compressed_large_and_encrypted_objects_are_known_by_their_content_too(step, kms_key) -> None:
    step.files({"dist/big": os.urandom(7 << 20), "dist/plain.css": "p{}" * 500})
    settings = {"multipart_threshold": "6MiB", "part_size": "5MiB", "gzip": "*.css", "kms_key_id": kms_key}
    first = step.run(settings)
    fresh_checkout(step)

    run = step.run(settings)

    assert (first.code, run.code) == (0, 0), first.err + run.err
    assert run.counts == Counter({"ListObjectsV2": 1, "GetObject": 1})


def test_a_fresh_runner_is_told_what_the_manifest_would_have_saved(step) -> None:
    files = {f"dist/{n:03}.txt": str(n) for n in range(100)}
    step.settings = {"source": "dist", "target": "site"}
    step.files(files)
    step.run()
    step.fresh_runner()

    run = step.run()

    assert (run.code, run.counts["HeadObject"]) == (0, 100 + len(FILES)), run.err
    assert "object_manifest: true would have saved 104 of the requests" in run.err
