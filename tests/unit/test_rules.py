from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from s3batch.base.errors import SettingsError
from s3batch.model import Attributes
from s3batch.objects.attributes import AttributeRules, list_extensions
from s3batch.settings.table import Settings

ROOT = "/drone/src/dist"


def rules(**settings: Any) -> AttributeRules:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    return AttributeRules.from_settings(Settings(**texts, origins=dict.fromkeys(texts, "PLUGIN_X")), ROOT)


def cache_control(given: Any, path: str) -> str:
    return rules(cache_control=given).attributes(path).cache_control


DOCS = {
    "acl": {"public/*": "public-read", "private/*": "private"},
    "content_type": {".svg": "image/svg+xml"},
    "content_encoding": {".js": "gzip", ".css": "gzip"},
    "cache_control": "public, max-age: 31536000",
}
"""The example of the plugin's documentation."""


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("public/a.svg", "acl", "public-read"),
        ("public/deep/a.svg", "acl", "public-read"),
        ("private/a.svg", "acl", "private"),
        ("other/a.svg", "acl", "private"),
        ("public/a.svg", "content_type", "image/svg+xml"),
        ("public/a.html", "content_type", "text/html; charset=utf-8"),
        ("a.js", "content_encoding", "gzip"),
        ("a.css", "content_encoding", "gzip"),
        ("a.html", "content_encoding", ""),
        ("a.html", "cache_control", "public, max-age: 31536000"),
    ],
)
def test_the_example_of_the_docs_works_as_they_say(path: str, name: str, value: str) -> None:
    assert getattr(rules(**DOCS).attributes(path), name) == value


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        pytest.param("x", "any/thing", "x", id="A2: a plain string is for all"),
        pytest.param({"public/*": "x"}, "public/a", "x", id="A1: a glob on the relative path, as the docs say"),
        pytest.param({"*/public/*": "x"}, "public/a", "x", id="A1: a glob on the absolute path, as the plugin does"),
        pytest.param({f"{ROOT}/a": "x"}, "a", "x", id="A1: an absolute path"),
        pytest.param({f"{ROOT}/a/*": "x"}, "a/b", "x", id="A1: a glob with an absolute path"),
        pytest.param({"src/*": "x"}, "a.txt", "", id="A1: no glob in the middle of a path"),
        pytest.param({"a.txt": "x"}, "b/a.txt", "", id="A1: no bare name"),
        pytest.param({"?.txt": "x"}, "a.txt", "", id="A1: no question mark"),
        pytest.param({"*a.txt": "x"}, "b/a.txt", "x", id="A1: a star crosses slashes"),
        pytest.param({"**": "x"}, "b/a.txt", "x", id="A1: two stars are all"),
        pytest.param({".js": "x"}, "b/a.js", "x", id="A5: an extension, as the docs say"),
        pytest.param({"*.js": "x"}, "b/a.js", "x", id="A5: a glob, as the plugin does"),
        pytest.param({".bashrc": "x"}, ".bashrc", "x", id="A7: a dot file is all extension"),
        pytest.param({".": "x"}, "end.", "x", id="A7: a dot at the end"),
        pytest.param({"": "x"}, "end.", "", id="A7: a dot at the end is not no extension"),
        pytest.param({"": "x"}, "a/noext", "x", id="A7: the empty pattern is no extension"),
        pytest.param({"": "x"}, "dir.d/noext", "x", id="A7: a directory's dot does not count"),
        pytest.param({"": "x"}, "a.txt", "", id="A7: the empty pattern is nothing else"),
        pytest.param({".tar.gz": "x"}, "a.tar.gz", "x", id="A7: a long suffix"),
        pytest.param({".svg": "x"}, "LOGO.SVG", "x", id="A7: the second try ignores case"),
        pytest.param({".SVG": "x"}, "logo.svg", "x", id="A7: in the pattern too"),
        pytest.param({"*.svg": "x"}, "LOGO.SVG", "", id="A7: a glob has no second try"),
        pytest.param({"a.txt": "1", "a*": "2", ".txt": "3", "*": "4"}, "a.txt", "1", id="A8: an exact path first"),
        pytest.param({f"{ROOT}/a.txt": "1", "a.txt": "2"}, "a.txt", "2", id="A8: an exact relative path before an absolute one"),
        pytest.param({f"{ROOT}/a.txt": "1", "*a.txt": "2"}, "a.txt", "1", id="A8: an absolute path is long"),
        pytest.param({"*": "all", "*.txt": "txt", "*a.txt": "atxt"}, "b/a.txt", "atxt", id="A8: then most literal characters"),
        pytest.param({"*.js": "1", ".min.js": "2"}, "a.min.js", "1", id="A8: a glob before an extension"),
        pytest.param({".gz": "1", ".tar.gz": "2", "*": "3"}, "a.tar.gz", "2", id="A8: then the longest suffix"),
        pytest.param({".gz": "1", ".TAR.gz": "2"}, "a.tar.gz", "1", id="A8: the right case before the longer suffix"),
        pytest.param({".SVG": "1", ".sVG": "2"}, "a.svg", "1", id="A8: of two second tries the first by text"),
        pytest.param({".gz": "1", "*": "2"}, "a.zip", "2", id="A8: then all"),
        pytest.param({"**": "1", "*": "2"}, "a", "2", id="A8: of two for all the first by text"),
        pytest.param({"*b": "1", "a*": "2"}, "ab", "1", id="A8: ties go by text"),
        pytest.param({"*.js": "", "*": "x"}, "a.js", "", id="an empty value means no header"),
        pytest.param({"*.js": None, "*": "x"}, "a.js", "x", id="null means no such pattern"),
        pytest.param({"*.[js": "x"}, "a.[js", "x", id="nothing of regular expressions"),
        pytest.param({"a*b": "1", "*": "2"}, "a*b", "1", id="a star in a name"),
    ],
)  # fmt: skip
def test_one_pattern_wins_by_a_fixed_order(given: Any, path: str, value: str) -> None:
    assert cache_control(given, path) == value


@pytest.mark.parametrize(
    "name",
    [
        "content_type",
        "content_encoding",
        "cache_control",
        "content_disposition",
        "content_language",
        "storage_class",
    ],
)
def test_every_setting_takes_a_string_a_glob_and_an_extension(name: str) -> None:
    for given in ("value", {"*/a.x": "value"}, {".x": "value"}, {"b/a.x": "value"}):
        assert getattr(rules(**{name: given}).attributes("b/a.x"), name) == "value"


@pytest.mark.parametrize(
    ("given", "path", "acl"),
    [
        pytest.param("", "a", "", id="not set: no header"),
        pytest.param("public-read", "a", "public-read", id="for all"),
        pytest.param({"public/*": "public-read"}, "a", "private", id="set, but not for this one"),
        pytest.param({"public/*": ""}, "public/a", "", id="an empty value means no header"),
    ],
)
def test_a_file_that_no_acl_pattern_matches_is_private(given: Any, path: str, acl: str) -> None:
    assert rules(acl=given).attributes(path).acl == acl


@pytest.mark.parametrize(
    ("given", "name", "acl"),
    [
        pytest.param("", "old", "public-read", id="not set"),
        pytest.param("private", "old", "private", id="set for all"),
        pytest.param({"private/*": "private"}, "old", "public-read", id="set, but not for this one"),
        pytest.param({"old": "authenticated-read"}, "old", "authenticated-read", id="set for this one"),
    ],
)
def test_a_redirect_is_public_unless_acl_says_otherwise(given: Any, name: str, acl: str) -> None:
    assert rules(acl=given).redirect_acl(name) == acl


@pytest.mark.parametrize(
    ("given", "path", "content_type", "configured"),
    [
        pytest.param("", "a.html", "text/html; charset=utf-8", False, id="guessed"),
        pytest.param("", "a.unknown", "application/octet-stream", False, id="not even guessed"),
        pytest.param("text/x", "a.html", "text/x", True, id="configured"),
        pytest.param({".html": ""}, "a.html", "text/html; charset=utf-8", False, id="an empty one is guessed"),
    ],
)
def test_a_type_that_no_setting_names_is_guessed(given: Any, path: str, content_type: str, configured: bool) -> None:
    found = rules(content_type=given).attributes(path)

    assert (found.content_type, found.content_type_configured) == (content_type, configured)


@pytest.mark.parametrize(
    ("given", "path", "metadata"),
    [
        pytest.param("", "a", None, id="not set: what is there stays"),
        pytest.param({"custom-meta": "abc123"}, "a", (("custom-meta", "abc123"),), id="A6: for all"),
        pytest.param({"*.png": {"CustomMeta": "abc123"}}, "a.png", (("custommeta", "abc123"),), id="A6: by glob"),
        pytest.param({"*.png": {"CustomMeta": "abc123"}}, "a.txt", (), id="A6: set, but not for this one"),
        pytest.param({"*": {"a": "1"}, ".png": {"b": "2"}}, "a.png", (("b", "2"),), id="A6: one pattern, no merging"),
    ],
)
def test_metadata_comes_from_one_pattern(given: Any, path: str, metadata: Any) -> None:
    assert rules(metadata=given).attributes(path).metadata == metadata


def test_tags_come_from_one_pattern() -> None:
    found = rules(tags={"*": {"a": "1"}, ".png": {"b": "2"}})

    assert found.attributes("a.png").tags == (("b", "2"),)
    assert found.attributes("a").tags == (("a", "1"),)
    assert rules().attributes("a").tags == ()


@pytest.mark.parametrize(
    ("gzip", "encoding", "path", "expected"),
    [
        pytest.param("", "", "a.js", (False, ""), id="not set"),
        pytest.param("true", "", "a.js", (True, "gzip"), id="all"),
        pytest.param(".js,.css", "", "a.css", (True, "gzip"), id="a list"),
        pytest.param(".js,.css", "", "a.png", (False, ""), id="not in the list"),
        pytest.param({"*": True, "*.png": False}, "", "a.png", (False, ""), id="a map with an exception"),
        pytest.param("true", "gzip", "a.js", (True, "gzip"), id="the encoding is said twice"),
        pytest.param("true", "br", "a.js", (False, "br"), id="what is compressed already stays"),
    ],
)
def test_gzip_says_which_files_to_compress(gzip: Any, encoding: str, path: str, expected: tuple[bool, str]) -> None:
    found = rules(gzip=gzip, content_encoding=encoding).attributes(path)

    assert (found.gzip, found.content_encoding) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, ("", ""), id="not set"),
        pytest.param({"encryption": "AES256"}, ("AES256", ""), id="S3's keys"),
        pytest.param({"encryption": "aws:kms"}, ("aws:kms", ""), id="KMS, the account's key"),
        pytest.param({"encryption": "aws:kms", "kms_key_id": "k"}, ("aws:kms", "k"), id="KMS, this key"),
        pytest.param({"kms_key_id": "k"}, ("aws:kms", "k"), id="a key alone means KMS"),
    ],
)
def test_encryption_is_for_all_files(given: dict[str, str], expected: tuple[str, str]) -> None:
    found = rules(**given).attributes("a")

    assert (found.encryption, found.kms_key_id) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"acl": "publik"}, r"acl cannot be 'publik' \(from PLUGIN_X\).*'publik' is not a canned ACL of S3", id="an ACL S3 does not have"),
        pytest.param({"acl": '"public-read"'}, "is not a canned ACL of S3", id="V2: an ACL in quotes"),
        pytest.param({"acl": {"*": "public-read", "a": 1}}, "'1' is not a canned ACL of S3", id="V5: an ACL in a map"),
        pytest.param({"metadata": {"a": "b", "c": {"d": "e"}}}, "not both at once", id="V8: mixed metadata"),
        pytest.param({"encryption": "rot13"}, "encryption cannot be 'rot13'.*write one of AES256", id="no such encryption"),
        pytest.param({"encryption": "AES256", "kms_key_id": "k"}, "kms_key_id cannot be 'k'.*aws:kms only", id="a key that is not used"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_a_settings_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        rules(**given)


@pytest.mark.parametrize(
    ("path", "extensions"),
    [
        ("a.b/c.tar.gz", [".tar.gz", ".gz"]),
        (".bashrc", [".bashrc"]),
        ("end.", ["."]),
        ("a..b", ["..b", ".b"]),
        ("a.b/noext", [""]),
        ("", [""]),
    ],
)
def test_extensions_come_longest_first(path: str, extensions: list[str]) -> None:
    assert list_extensions(path) == extensions


@pytest.mark.parametrize("given", [{}, DOCS, {"cache_control": {".tar.gz": "1", ".gz": "2", "b.tar.gz": "3"}}])
def test_what_was_asked_before_changes_no_answer(given: dict[str, Any]) -> None:
    paths = [
        "a.gz",
        "a.tar.gz",
        "b.tar.gz",
        "c.tar.gz",
        "noext",
        "end.",
        "A.GZ",
        "a.js",
        "public/a.js",
        "d.gz",
        "x.tar.js",
    ]
    busy = rules(**given)

    assert [busy.attributes(path) for path in paths * 2] == [rules(**given).attributes(path) for path in paths * 2]


def test_equal_attributes_are_one_object_with_one_fingerprint() -> None:
    found = rules(**DOCS)

    assert found.attributes("public/a.html") is found.attributes("public/b/c.html")
    assert found.fingerprint("public/a.html") == found.attributes("public/a.html").fingerprint()


def test_many_odd_extensions_do_not_fill_the_memory() -> None:
    found = AttributeRules.from_settings(Settings(), ROOT, cache_size=3)

    assert {found.attributes(f"a.{n}") for n in range(10)} == {Attributes(content_type="application/octet-stream")}
    assert len(found._remembered) <= 3


def test_rules_survive_pickling() -> None:
    found = rules(**DOCS, metadata={"*.png": {"a": "1"}}, gzip=".js")
    paths = ["a.png", "public/a.svg", "private/a.js", "a"]
    found.attributes("a.png")

    again = pickle.loads(pickle.dumps(found))

    assert [again.describe(path) for path in paths] == [found.describe(path) for path in paths]
    assert again.attributes("b/a.png") == found.attributes("b/a.png")


def test_a_source_that_is_the_root_has_absolute_paths_too() -> None:
    found = AttributeRules.from_settings(Settings(cache_control='{"/etc/*": "x"}'), "/")

    assert found.attributes("etc/passwd").cache_control == "x"
