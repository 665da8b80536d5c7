from __future__ import annotations

import json

import pytest

from s3batch.base.errors import SettingsError
from s3batch.settings import pattern_maps
from s3batch.settings.table import Settings


def given(name: str, text: str) -> Settings:
    return Settings(**{name: text}, origins={name: f"PLUGIN_{name.upper()}"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"*.js": "a", ".css": "b", "": "c"}', {"*.js": "a", ".css": "b", "": "c"}, id="V1: a map"),
        pytest.param("public, max-age: 31536000", {"*": "public, max-age: 31536000"}, id="V2: a string, verbatim"),
        pytest.param('"no-cache"', {"*": '"no-cache"'}, id="V2: quotes stay"),
        pytest.param('["a"]', {"*": '["a"]'}, id="V2: a list stays text"),
        pytest.param("123", {"*": "123"}, id="V2: a number"),
        pytest.param('{"*": "a"', {"*": '{"*": "a"'}, id="V2: broken JSON stays text"),
        pytest.param("null", {}, id="V3: null"),
        pytest.param("", {}, id="V4: empty is not set"),
        pytest.param(" \n", {}, id="V4: blank is not set"),
        pytest.param("{}", {}, id="an empty map is not set"),
        pytest.param('{"*": 1, "*.txt": "a"}', {"*": "1", "*.txt": "a"}, id="V5: numbers become text"),
        pytest.param('{"a": 1.10, "b": 1e6, "c": 007}', {"*": '{"a": 1.10, "b": 1e6, "c": 007}'}, id="V2: 007 is no JSON"),
        pytest.param('{"a": 1.10, "b": 1e6}', {"a": "1.10", "b": "1e6"}, id="V5: numbers keep their digits"),
        pytest.param('{"a": true, "b": false}', {"a": "true", "b": "false"}, id="V5: booleans become text"),
        pytest.param('{"a": null, "b": "x"}', {"b": "x"}, id="V5: null drops its pair"),
        pytest.param('{"a": ""}', {"a": ""}, id="an empty value is one"),
        pytest.param('{"a": " x "}', {"a": "x"}, id="spaces around a value go"),
        pytest.param('{"\\u003cb\\u003e": "\\u0026"}', {"<b>": "&"}, id="Drone's escapes"),
    ],
)  # fmt: skip
def test_a_setting_is_a_string_for_all_files_or_a_map(text: str, expected: dict[str, str]) -> None:
    assert pattern_maps.parse_text_map(given("cache_control", text), "cache_control") == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param('{"*": {"a": "b"}}', r"give '\*' a plain value", id="V5: a map inside"),
        pytest.param('{"*": ["a"]}', r"give '\*' a plain value", id="V5: a list inside"),
        pytest.param("a\r\nx-evil: b", "on one line", id="a second header"),
        pytest.param('{"*": "a\\u0000"}', "control characters", id="a NUL"),
        pytest.param("ü", "in ASCII", id="not ASCII"),
    ],
)
def test_what_no_header_can_carry_is_a_settings_error(text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=rf"cache_control cannot be .* \(from PLUGIN_CACHE_CONTROL\); .*{hint}"):
        pattern_maps.parse_text_map(given("cache_control", text), "cache_control")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="V8: empty is not set"),
        pytest.param("null", {}, id="V3: null is not set"),
        pytest.param("{}", {}, id="an empty map is not set"),
        pytest.param('{"a": null}', {}, id="nothing but null is not set"),
        pytest.param('{"custom-meta": "abc123"}', {"*": (("custom-meta", "abc123"),)}, id="V6: a flat map is for all files"),
        pytest.param('{"*.png": {"CustomMeta": "abc123"}}', {"*.png": (("custommeta", "abc123"),)}, id="V7: a map by pattern; names in lower case"),
        pytest.param('{"b": "2", "a": "1"}', {"*": (("a", "1"), ("b", "2"))}, id="sorted"),
        pytest.param('{"version": 2, "final": true, "old": null}', {"*": (("final", "true"), ("version", "2"))}, id="V8: scalars become text, null drops"),
        pytest.param('{"*.a": {"n": 1.50}, "*.b": null}', {"*.a": (("n", "1.50"),)}, id="V8: also inside"),
        pytest.param('{"*.a": {}}', {"*.a": ()}, id="a pattern with nothing"),
        pytest.param('{"author": "Zoë"}', {"*": (("author", "Zoë"),)}, id="text of any language"),
        pytest.param('{"a": " x "}', {"*": (("a", "x"),)}, id="spaces around a value go"),
    ],
)  # fmt: skip
def test_metadata_is_a_map_or_a_map_of_maps(text: str, expected: dict[str, pattern_maps.Pairs]) -> None:
    assert pattern_maps.parse_metadata_map(given("metadata", text)) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param('{"a": "b", "*.png": {"c": "d"}}', "not both at once", id="V8: mixed"),
        pytest.param("plain", "write a map for all files", id="V8: text"),
        pytest.param("7", "write a map for all files", id="V8: a number"),
        pytest.param('[{"a": "b"}]', "write a map for all files", id="a list"),
        pytest.param('{"*": {"a": {"b": "c"}}}', "give 'a' a plain value", id="too deep"),
        pytest.param('{"a": ["b"]}', "give 'a' a plain value", id="a list inside"),
        pytest.param('{"Key": "1", "key": "2"}', "give each name once", id="twice in different case"),
        pytest.param(
            '{"a_b": "1", "a-b": "2"}', "give each name once", id="twice for a store that knows no underscore"
        ),
        pytest.param('{"a b": "1"}', "'a b' cannot name metadata", id="a name with a space"),
        pytest.param('{"": "1"}', "'' cannot name metadata", id="no name"),
        pytest.param('{"ü": "1"}', "'ü' cannot name metadata", id="a name that is not ASCII"),
        pytest.param('{"a": "b\\nc"}', "on one line", id="two lines"),
        pytest.param('{"*": {"a": "\\udcff"}}', "in UTF-8", id="no text"),
    ],
)
def test_other_metadata_is_a_settings_error(text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=rf"metadata cannot be .* \(from PLUGIN_METADATA\); .*{hint}"):
        pattern_maps.parse_metadata_map(given("metadata", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="not set"),
        pytest.param('{"Team": "web", "n": 1}', {"*": (("Team", "web"), ("n", "1"))}, id="for all; keys keep their case"),
        pytest.param('{"*.png": {"a": ""}}', {"*.png": (("a", ""),)}, id="by pattern; a value may be empty"),
        pytest.param(json.dumps({f"k{n}": "v" for n in range(10)}), {"*": tuple((f"k{n}", "v") for n in range(10))}, id="ten"),
    ],
)  # fmt: skip
def test_tags_are_a_map_or_a_map_of_maps(text: str, expected: dict[str, pattern_maps.Pairs]) -> None:
    assert pattern_maps.parse_tag_map(given("tags", text)) == expected


def test_tags_may_be_text_as_s3_writes_it() -> None:
    assert pattern_maps.parse_tag_map(given("tags", "team=web&cost%20center=1+2&empty=")) == {
        "*": (("cost center", "1 2"), ("empty", ""), ("team", "web"))
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param(json.dumps({f"k{n}": "v" for n in range(11)}), "at most 10 tags", id="eleven"),
        pytest.param("a=1&b", "write a map", id="half a tag"),
        pytest.param(json.dumps({"k" * 129: "v"}), "a key of 1 to 128", id="a long key"),
        pytest.param(json.dumps({"": "v"}), "a key of 1 to 128", id="an empty key"),
        pytest.param(json.dumps({"k": "v" * 257}), "a value of 0 to 256", id="a long value"),
        pytest.param("plain", "write a map", id="text"),
    ],
)
def test_more_than_S3_takes_as_tags_is_a_settings_error(text: str, hint: str) -> None:  # noqa: N802 - S3 is its name
    with pytest.raises(SettingsError, match=f"tags cannot be .*{hint}"):
        pattern_maps.parse_tag_map(given("tags", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="not set"),
        pytest.param("true", {"*": True}, id="all"),
        pytest.param("yes", {"*": True}, id="all, in other words"),
        pytest.param("false", {"*": False}, id="none"),
        pytest.param("1", {"*": True}, id="a number for a boolean"),
        pytest.param(".js,.css", {".js": True, ".css": True}, id="Drone's list"),
        pytest.param("*.html", {"*.html": True}, id="one pattern"),
        pytest.param('[".js", "*.css", ""]', {".js": True, "*.css": True}, id="a JSON list"),
        pytest.param('{"*": true, "*.png": "off", ".gz": 0}', {"*": True, "*.png": False, ".gz": False}, id="a map"),
    ],
)
def test_a_switch_is_a_boolean_a_list_or_a_map_of_booleans(text: str, expected: dict[str, bool]) -> None:
    assert pattern_maps.parse_switch_map(given("gzip", text), "gzip") == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param('{"*.js": "perhaps"}', "write true or false for each pattern", id="no boolean"),
        pytest.param("[true]", "a list of patterns", id="a list of booleans"),
    ],
)
def test_another_switch_is_a_settings_error(text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"gzip cannot be .*{hint}"):
        pattern_maps.parse_switch_map(given("gzip", text), "gzip")
