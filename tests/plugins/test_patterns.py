"""A1-A8, T1-T4, decisions 1 and 3: which files a pattern is about, and which type a file has."""

from __future__ import annotations

import pytest

FILES = ["a.txt", "public/a.svg", "public/deep/b.svg", "private/c.svg", "x.js", "x.SVG", "noext", "a.tar.gz", ".bashrc"]
SVG = "image/svg+xml"


@pytest.fixture
def step(step):
    step.settings = {"source": "."}
    step.files(dict.fromkeys(FILES, "x"))
    return step


def given(run, header: str) -> dict[str, str]:
    """The objects that were given this header, and its value."""
    assert run.code == 0, run.err
    found = {request.key: request.headers.get(header) for request in run.of("PutObject")}
    return {key: value for key, value in found.items() if value is not None}


def everywhere(value: str, *but: str) -> dict[str, str]:
    return dict.fromkeys((key for key in FILES if key not in but), value)


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        pytest.param("public/*", ["public/a.svg", "public/deep/b.svg"], id="A1 relative, as the docs have it"),
        pytest.param("*/public/*", ["public/a.svg", "public/deep/b.svg"], id="A1 absolute, as the plugin has it"),
        pytest.param("a.txt", ["a.txt"], id="A1 a relative path"),
        pytest.param("{workspace}/a.txt", ["a.txt"], id="A1 an absolute path"),
        pytest.param("*/a.txt", ["a.txt"], id="A1 below a directory"),
        pytest.param("*src*", FILES, id="A1 the workspace's own name"),
        pytest.param("**", FILES, id="A1 two stars are one"),
        pytest.param("*", FILES, id="A1 a star"),
        pytest.param("?.txt", [], id="A1 a question mark is itself"),
        pytest.param("[a].txt", [], id="A1 brackets are themselves"),
        pytest.param("A.txt", [], id="A1 case counts"),
        pytest.param(".svg", ["public/a.svg", "public/deep/b.svg", "private/c.svg", "x.SVG"], id="A5 an extension"),
        pytest.param("*.svg", ["public/a.svg", "public/deep/b.svg", "private/c.svg"], id="A5 a glob for it"),
        pytest.param(".gz", ["a.tar.gz"], id="A7 the last extension"),
        pytest.param(".tar.gz", ["a.tar.gz"], id="A7 two of them"),
        pytest.param("", ["noext"], id="A7 no extension"),
        pytest.param(".bashrc", [".bashrc"], id="A7 a dotfile is all extension"),
    ],
)
def test_a_pattern_is_about(step, pattern, matched) -> None:
    pattern = pattern.replace("{workspace}", str(step.workspace))

    run = step.run(
        {"cache_control": {pattern: "C"}, "acl": {pattern: "public-read"}, "metadata": {pattern: {"m": "M"}}}
    )

    assert given(run, "cache-control") == dict.fromkeys(matched, "C")
    assert given(run, "x-amz-meta-m") == dict.fromkeys(matched, "M")
    assert given(run, "x-amz-acl") == everywhere("private", *matched) | dict.fromkeys(matched, "public-read")


@pytest.mark.parametrize("setting", ["content_type", "content_encoding", "cache_control"])
def test_the_same_patterns_hold_for_every_setting(step, setting) -> None:
    header = setting.replace("_", "-")

    run = step.run({setting: {".js": "j", "public/*": "p", "": "n"}})

    found = given(run, header)
    assert (found["x.js"], found["public/deep/b.svg"], found["noext"]) == ("j", "p", "n")


@pytest.mark.parametrize(
    ("setting", "header", "value"),
    [
        pytest.param("acl", "x-amz-acl", "public-read", id="A2 acl"),
        pytest.param("content_type", "content-type", "text/x-own", id="A3 content_type"),
        pytest.param("content_encoding", "content-encoding", "br", id="A4 content_encoding"),
        pytest.param("cache_control", "cache-control", "public, max-age: 31536000", id="A5 cache_control"),
        pytest.param("content_disposition", "content-disposition", "inline", id="decision 17 content_disposition"),
        pytest.param("content_language", "content-language", "en", id="decision 17 content_language"),
        pytest.param("expires", "expires", "Wed, 21 Oct 2099 07:28:00 GMT", id="decision 17 expires"),
        pytest.param("storage_class", "x-amz-storage-class", "STANDARD_IA", id="decision 17 storage_class"),
    ],
)
def test_a_plain_text_is_about_all_files(step, setting, header, value) -> None:
    run = step.run({setting: value})

    assert given(run, header) == everywhere(value)
    step.is_settled({setting: value})


def test_a6_metadata_of_one_pattern_only(step) -> None:
    run = step.run({"metadata": {"*.svg": {"one": "1"}, "public/*": {"two": "2"}}})

    assert given(run, "x-amz-meta-one") == {"private/c.svg": "1"}
    assert given(run, "x-amz-meta-two") == {"public/a.svg": "2", "public/deep/b.svg": "2"}


@pytest.mark.parametrize(
    ("patterns", "winner"),
    [
        pytest.param(["*", "*.svg", "public/*", "public/a.svg"], "public/a.svg", id="A8 the path itself"),
        pytest.param(["*", "*.svg", "public/*", ".svg"], "public/*", id="A8 most literal characters"),
        pytest.param(["*", ".svg"], ".svg", id="A8 an extension before the star"),
        pytest.param(["*.svg", ".svg"], "*.svg", id="A8 a glob before an extension"),
        pytest.param(["*a.svg", "*p*svg"], "*a.svg", id="A8 a tie goes by the text"),
    ],
)
def test_of_several_patterns(step, patterns, winner) -> None:
    step.files({"public/a.svg": "x"})
    for order in (patterns, patterns[::-1]):
        step.fresh_runner()
        run = step.run({"target": "-".join(order).replace("*", "s"), "cache_control": {each: each for each in order}})
        assert given(run, "cache-control")[f"{run.requests[0].query['prefix']}public/a.svg"] == winner


def test_a8_nothing_flaps(step) -> None:
    settings = {"cache_control": {"*": "all", "*.txt": "txt", "*a.txt": "atxt"}}

    run = step.run(settings)

    assert given(run, "cache-control") == everywhere("all", "a.txt") | {"a.txt": "atxt"}
    step.is_settled(settings)


# --- T1-T4 --------------------------------------------------------------------------------------------

TYPES = {
    "a.html": "text/html; charset=utf-8",
    "a.htm": "text/html; charset=utf-8",
    "a.HTML": "text/html; charset=utf-8",
    "a.css": "text/css; charset=utf-8",
    "a.js": "text/javascript; charset=utf-8",
    "a.mjs": "text/javascript; charset=utf-8",
    "a.json": "application/json",
    "a.svg": SVG,
    "a.png": "image/png",
    "a.jpg": "image/jpeg",
    "a.jpeg": "image/jpeg",
    "a.gif": "image/gif",
    "a.webp": "image/webp",
    "a.avif": "image/avif",
    "a.pdf": "application/pdf",
    "a.wasm": "application/wasm",
    "a.xml": "text/xml; charset=utf-8",
    "a.txt": "text/plain; charset=utf-8",
    "a.ico": "image/vnd.microsoft.icon",
    "a.woff": "font/woff",
    "a.woff2": "font/woff2",
    "a.ttf": "font/ttf",
    "a.otf": "font/otf",
    "a.csv": "text/csv; charset=utf-8",
    "a.md": "text/markdown; charset=utf-8",
    "a.webmanifest": "application/manifest+json",
    "a.gz": "application/gzip",
    "a.zip": "application/zip",
    "a.tar": "application/x-tar",
    "a.mp4": "video/mp4",
    "a.mp3": "audio/mpeg",
    "a.unheard-of": "application/octet-stream",
    "noext": "application/octet-stream",
}


def test_t1_t2_t4_types_are_those_of_the_image_charset_included(step) -> None:
    step.files({f"types/{name}": "x" for name in TYPES})

    run = step.run({"source": "types"})

    assert given(run, "content-type") == TYPES
    step.is_settled({"source": "types"})


@pytest.mark.parametrize("stored", ["binary/octet-stream", "application/octet-stream"])
def test_t3_an_unknown_type_is_as_good_as_none(step, stored) -> None:
    step.files({"types/a.unheard-of": "x"})
    step.bucket.put("a.unheard-of", b"x", ContentType=stored)

    step.is_settled({"source": "types"})
    assert step.bucket.head("a.unheard-of")["ContentType"] == stored


def test_t3_a_configured_type_is_not(step) -> None:
    step.files({"types/a.unheard-of": "x"})
    step.bucket.put("a.unheard-of", b"x", ContentType="binary/octet-stream")

    run = step.run({"source": "types", "content_type": "application/octet-stream"})

    assert run.changed == [("CopyObject", "a.unheard-of")]
    assert step.bucket.head("a.unheard-of")["ContentType"] == "application/octet-stream"
