from __future__ import annotations

import pytest

from s3batch.objects.content_types import _TABLE, UNKNOWN, guess_content_type

TEXT = "; charset=utf-8"


@pytest.mark.parametrize(
    ("names", "content_type"),
    [
        # T1: certain in every build of the plugin
        ("index.html index.htm", "text/html" + TEXT),
        ("a.css", "text/css" + TEXT),
        ("a.js a.mjs", "text/javascript" + TEXT),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.jpg a.jpeg", "image/jpeg"),
        ("a.gif", "image/gif"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.pdf", "application/pdf"),
        ("a.wasm", "application/wasm"),
        ("a.xml", "text/xml" + TEXT),
        # T2: with the tables of the host
        ("a.txt", "text/plain" + TEXT),
        ("a.ico", "image/vnd.microsoft.icon"),
        ("a.woff", "font/woff"),
        ("a.woff2", "font/woff2"),
        ("a.ttf", "font/ttf"),
        ("a.otf", "font/otf"),
        ("a.csv", "text/csv" + TEXT),
        ("a.md", "text/markdown" + TEXT),
        ("a.webmanifest", "application/manifest+json"),
        ("a.gz a.tar.gz a.tgz", "application/gzip"),
        ("a.zip", "application/zip"),
        ("a.tar", "application/x-tar"),
        ("a.mp4", "video/mp4"),
        ("a.mp3", "audio/mpeg"),
        ("a.bin", "application/octet-stream"),
        ("a.xhtml", "application/xhtml+xml"),
        # what else a site or a build holds
        ("a.js.map", "application/json"),
        ("a.yaml a.yml", "application/yaml"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.ts", "video/mp2t"),
        ("a.tsx", "text/typescript" + TEXT),
        ("a.py", "text/x-python" + TEXT),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.apk", "application/vnd.android.package-archive"),
        ("a.deb", "application/vnd.debian.binary-package"),
        ("a.zst", "application/zstd"),
        ("a.7z", "application/x-7z-compressed"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.log .gitignore", "text/plain" + TEXT),
    ],
)
def test_known_extensions_have_their_type(names: str, content_type: str) -> None:
    assert {name: guess_content_type(name) for name in names.split()} == dict.fromkeys(names.split(), content_type)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("LICENSE", id="no extension"),
        pytest.param("html", id="a name that is an extension"),
        pytest.param("end.", id="an empty extension"),
        pytest.param("a.qqq", id="nobody knows it"),
        pytest.param("site.html/LICENSE", id="a directory's dot does not count"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_the_table_does_not_know_is_bytes(name: str) -> None:
    assert guess_content_type(name) == UNKNOWN == "application/octet-stream"


def test_case_and_directories_do_not_matter() -> None:
    assert guess_content_type("a.b/LOGO.SVG") == "image/svg+xml"


def test_every_text_type_and_no_other_says_utf_8() -> None:
    extensions = [extension for line in _TABLE.split("\n") for extension in line.split()[1:]]

    assert len(extensions) > 800
    assert {
        guess_content_type(f"a.{extension}").partition("/")[0]
        for extension in extensions
        if guess_content_type(f"a.{extension}").endswith(TEXT)
    } == {"text"}
    assert not [
        extension
        for extension in extensions
        if guess_content_type(f"a.{extension}").startswith("text/")
        and not guess_content_type(f"a.{extension}").endswith(TEXT)
    ]


def test_no_extension_is_in_the_table_twice_or_out_of_reach() -> None:
    extensions = [extension for line in _TABLE.split("\n") for extension in line.split()[1:]]

    assert sorted(set(extensions)) == sorted(extensions)
    assert not [extension for extension in extensions if extension != extension.lower() or "." in extension]
