"""Decision 17: the settings that drone-s3-sync does not have, from the step's settings to the object."""

from __future__ import annotations

import gzip
import os
from base64 import b64decode

import pytest

from tests.rig.faults import Delay, Refuse

SITE = {
    "dist/index.html": "<p>index",
    "dist/sub/index.html": "<p>sub",
    "dist/app.js": "let a = 1;" * 50,
    "dist/style.css": "p {}" * 50,
    "dist/pic.png": os.urandom(500),
}
EXPIRES = "Wed, 21 Oct 2099 07:28:00 GMT"


@pytest.fixture
def step(step):
    step.settings = {"source": "dist"}
    step.files(SITE)
    return step


# --- which, where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        pytest.param({"include": ["*.html"]}, {"index.html", "sub/index.html"}, id="include"),
        pytest.param({"include": "sub/"}, {"sub/index.html"}, id="include a directory"),
        pytest.param({"exclude": ["*.html", "*.png"]}, {"app.js", "style.css"}, id="exclude"),
        pytest.param({"exclude": ["*", "!*.css"]}, {"style.css"}, id="exclude all but"),
        pytest.param({"include": "*.html", "exclude": "sub/"}, {"index.html"}, id="both"),
    ],
)
def test_include_and_exclude(step, settings, keys) -> None:
    run = step.run(settings)

    assert (run.code, step.bucket.keys()) == (0, keys), run.err
    step.is_settled(settings)


@pytest.mark.parametrize(
    ("strip", "keys"),
    [
        pytest.param("dist", {"t/index.html", "t/x.txt"}, id="a directory"),
        pytest.param("./dist/", {"t/index.html", "t/x.txt"}, id="written otherwise"),
        pytest.param("d*/", {"t/index.html", "t/x.txt"}, id="a glob"),
        pytest.param("other", {"t/dist/index.html", "t/x.txt"}, id="none of them"),
    ],
)
def test_strip_prefix(step, strip, keys) -> None:
    step.files({"tree/dist/index.html": "i", "tree/x.txt": "x"})
    settings = {"source": "tree", "target": "t", "strip_prefix": strip, "delete": True}

    run = step.run(settings)

    assert (run.code, step.bucket.keys()) == (0, keys), run.err
    step.is_settled(settings)


# --- in which order ------------------------------------------------------------------------------------------


def test_publish_last_sends_the_page_after_what_it_needs(step, proxy) -> None:
    step.bucket.put("gone.js", b"")
    proxy.on("PutObject", Delay(0.3), key="app.js")

    run = step.run({"publish_last": ["index.html"], "delete": True, "redirects": {"old": "/"}})

    order = [request.key or request.operation for request in run.changes]
    assert set(order[:3]) == {"app.js", "style.css", "pic.png"}
    assert set(order[3:5]) == {"index.html", "sub/index.html"}
    assert order[5:] == ["old", "DeleteObjects"]


@pytest.mark.parametrize("failing", ["app.js", "^index.html"])
def test_nothing_later_is_sent_when_something_earlier_failed(step, proxy, failing) -> None:
    step.bucket.put("gone.js", b"")
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key=failing)

    run = step.run({"publish_last": ["/index.html"], "delete": True, "redirects": {"old": "/"}})

    sent = step.bucket.keys()
    assert run.code == 1
    assert "index.html" not in sent
    assert "old" not in sent
    assert "gone.js" in sent


def test_resume_goes_on_with_the_later_stages(step, proxy) -> None:
    step.bucket.put("gone.js", b"")
    proxy.on("PutObject", Refuse(403, "AccessDenied"), key="app.js")
    settings = {"publish_last": "index.html", "delete": True, "redirects": {"old": "/"}}
    step.run(settings)
    proxy.rules.clear()

    run = step.run({"mode": "resume", **settings})

    order = [request.key or request.operation for request in run.changes]
    assert run.code == 0, run.err
    assert (order[0], order[-2:]) == ("app.js", ["old", "DeleteObjects"])
    assert "warning" not in run.err
    assert step.bucket.keys() == {key.removeprefix("dist/") for key in SITE} | {"old"}


# --- attributes --------------------------------------------------------------------------------------------------


def test_attributes_by_pattern(step, kms_key) -> None:
    settings = {
        "storage_class": {"*.png": "STANDARD_IA"},
        "content_disposition": {"*.png": "attachment"},
        "content_language": {"sub/*": "de", "*.html": "en"},
        "expires": {".css": EXPIRES},
        "tags": {"*.js": {"team": "web", "kind of": "ä/b"}},
        "kms_key_id": kms_key,
    }

    run = step.run(settings)

    assert run.code == 0, run.err
    heads = {key: step.bucket.head(key) for key in set(step.bucket.keys())}
    assert {key for key, head in heads.items() if head.get("StorageClass") == "STANDARD_IA"} == {"pic.png"}
    assert {key for key, head in heads.items() if head.get("ContentDisposition") == "attachment"} == {"pic.png"}
    assert {key: head.get("ContentLanguage") for key, head in heads.items() if key.endswith("html")} == {
        "index.html": "en", "sub/index.html": "en",
    }  # fmt: skip
    assert {head["SSEKMSKeyId"] for head in heads.values()} == {kms_key}
    assert heads["style.css"]["ResponseMetadata"]["HTTPHeaders"]["expires"] == EXPIRES
    tags = step.bucket.client.get_object_tagging(Bucket=step.bucket.name, Key="app.js")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("kind of", "ä/b"), ("team", "web")]
    step.is_settled(settings)


def test_tags_that_are_not_the_wanted_ones_are_replaced(step) -> None:
    step.run({"tags": {"a": "1", "b": "2"}})

    run = step.run({"tags": {"a": "1", "b": "3"}})

    tags = step.bucket.client.get_object_tagging(Bucket=step.bucket.name, Key="app.js")["TagSet"]
    assert (run.counts["CopyObject"], len(tags)) == (5, 2), run.err
    assert {"Key": "b", "Value": "3"} in tags
    step.is_settled({"tags": {"a": "1", "b": "3"}})


@pytest.mark.parametrize("text", ["a=1&kind%20of=x%2Fy", '{"a":1,"kind of":"x/y"}', '{"*":{"a":"1","kind of":"x/y"}}'])
def test_tags_are_written_as_s3_does_or_as_a_map(step, text) -> None:
    run = step.run({}, PLUGIN_TAGS=text)

    assert run.code == 0, run.err
    assert run.headers("app.js")["x-amz-tagging"] == "a=1&kind%20of=x%2Fy"


@pytest.mark.parametrize("patterns", ["*.js,*.css", ["*.js", "*.css"], {"*.js": True, "*.css": "yes"}])
def test_gzip_compresses_on_the_way(step, patterns) -> None:
    run = step.run({"gzip": patterns})

    assert run.code == 0, run.err
    for name in ("app.js", "style.css"):
        assert gzip.decompress(step.bucket.get(name)).decode() == SITE[f"dist/{name}"]
        assert step.bucket.head(name)["ContentEncoding"] == "gzip"
    assert step.bucket.get("pic.png") == SITE["dist/pic.png"]
    step.is_settled({"gzip": patterns})


def test_gzip_notices_other_content_of_the_same_size(step) -> None:
    step.run({"gzip": True})
    step.files({"dist/app.js": "let b = 1;" * 50})
    step.fresh_runner()

    run = step.run({"gzip": True})

    assert run.changed == [("PutObject", "app.js")]
    assert gzip.decompress(step.bucket.get("app.js")) == b"let b = 1;" * 50


def test_gzip_that_is_no_longer_wanted_sends_the_file_itself(step) -> None:
    step.run({"gzip": "*.js"})

    run = step.run()

    assert run.changed == [("PutObject", "app.js")]
    assert step.bucket.get("app.js").decode() == SITE["dist/app.js"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("auto", "x-amz-checksum-crc64nvme"),
        ("crc64nvme", "x-amz-checksum-crc64nvme"),
        ("crc32", "x-amz-checksum-crc32"),
        ("crc32c", "x-amz-checksum-crc32c"),
        ("sha256", "x-amz-checksum-sha256"),
        ("md5", "content-md5"),
        ("none", None),
    ],
)
def test_checksum_chooses_how_s3_verifies_what_it_gets(step, name, header) -> None:
    run = step.run({"checksum": name})

    assert run.code == 0, run.err
    found = run.headers("app.js")
    sent = {each for each in found if each.startswith("x-amz-checksum-") or each == "content-md5"}
    assert sent == ({header} if header else set())
    assert not header or b64decode(found[header])
    step.is_settled({"checksum": name})


@pytest.mark.parametrize(("name", "header"), [("auto", "x-amz-checksum-crc64nvme"), ("md5", "content-md5")])
def test_parts_are_verified_too(step, name, header) -> None:
    step.files({"dist/big": os.urandom(7 << 20)})
    settings = {"checksum": name, "multipart_threshold": "6MiB", "part_size": "5MiB"}

    run = step.run(settings)

    assert (run.code, step.bucket.get("big")) == (0, (step.workspace / "dist/big").read_bytes()), run.err
    assert [header in request.headers for request in run.of("UploadPart")] == [True, True]
    step.is_settled(settings)


# --- speed and the journal ---------------------------------------------------------------------------------------


def test_journal_and_workers_are_settings_of_a_step(step) -> None:
    run = step.process({"journal": "kept/here.db", "workers": 2, "max_concurrency": 4, "bandwidth": "1GiB"})

    assert run.code == 0, run.err
    assert (step.workspace / "kept" / "here.db").exists()
    # only the lock of the target is in the workspace: two steps to one target exclude each other whatever the journal
    assert [path.suffix for path in (step.workspace / ".s3batch").iterdir()] == [".lock"]
    assert step.process({"journal": "kept/here.db"}).changes == []


def test_a_journal_inside_the_source_is_not_sent(step) -> None:
    run = step.run({"journal": "dist/journal.db"})

    assert step.bucket.keys() == {key.removeprefix("dist/") for key in SITE}
    assert step.run({"journal": "dist/journal.db", "delete": True}).changed == [], run.err
