from __future__ import annotations

import json
import pickle

import pytest

from s3batch.base.errors import SettingsError
from s3batch.objects import redirects
from s3batch.objects.redirects import Redirect
from s3batch.settings.table import Settings


def parse(text: str) -> tuple[Redirect, ...]:
    return redirects.parse_redirects(Settings(redirects=text, origins={"redirects": "PLUGIN_REDIRECTS"}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("", (), id="not set"),
        pytest.param("{}", (), id="an empty map"),
        pytest.param("null", (), id="null"),
        pytest.param(
            '{"some/missing/file": "/somewhere/that/actually/exists"}',
            (Redirect("some/missing/file", "/somewhere/that/actually/exists"),),
            id="the example of the docs",
        ),
        pytest.param('{"/old": "https://example.com/?a=b#c"}', (Redirect("old", "https://example.com/?a=b#c"),), id="R1: one leading slash goes, the value is verbatim"),
        pytest.param('{"//old": "/new"}', (Redirect("/old", "/new"),), id="R1: only one slash goes"),
        pytest.param('{"b": "/2", "a": "/1"}', (Redirect("a", "/1"), Redirect("b", "/2")), id="sorted by key"),
    ],
)  # fmt: skip
def test_a_redirect_is_a_key_and_a_location(given: str, expected: tuple[Redirect, ...]) -> None:
    assert parse(given) == expected


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        pytest.param("/old=/new", "write a map of strings", id="V9: text"),
        pytest.param('["/old", "/new"]', "write a map of strings", id="V9: a list"),
        pytest.param('{"old": 1}', "write a map of strings", id="V9: a number"),
        pytest.param('{"old": null}', "write a map of strings", id="V9: null"),
        pytest.param('{"old": {"a": "b"}}', "write a map of strings", id="V9: a map of maps"),
        pytest.param('{"old": "/new"', "write a map of strings", id="V9: broken JSON"),
        pytest.param('{"old": ""}', "needs a key and a location", id="nowhere to lead to"),
        pytest.param('{"/": "/new"}', "needs a key and a location", id="no name"),
        pytest.param('{"a": "/1", "/a": "/2"}', "given twice", id="with and without slash"),
        pytest.param('{"a": "/x\\ny: z"}', "on one line", id="a header inside"),
        pytest.param('{"a": "/ü"}', "in ASCII", id="not ASCII"),
    ],
)
def test_anything_but_a_map_of_strings_is_a_settings_error(given: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=rf"redirects cannot be .*PLUGIN_REDIRECTS.*{hint}"):
        parse(given)


def test_a_redirect_is_protected_with_and_without_its_leading_slash() -> None:
    found = parse(json.dumps({"/old": "/new", "t/inside": "/new"}))

    assert redirects.collect_protected_keys(found) == {"old", "/old", "t/inside", "/t/inside"}


def test_a_redirect_that_is_also_a_file_is_a_settings_error() -> None:
    settings = Settings(redirects='{"t/a": "/new"}')
    found = redirects.parse_redirects(settings)

    redirects.refuse_uploaded(settings, found, iter(["t/b", "a"]))
    redirects.refuse_uploaded(settings, (), iter(["t/a"]))
    with pytest.raises(SettingsError, match="'t/a' is also a file of the source"):
        redirects.refuse_uploaded(settings, found, iter(["t/b", "t/a"]))


@pytest.mark.parametrize(("acl", "more"), [("public-read", {"x-amz-acl": "public-read"}), ("", {})])
def test_a_redirect_is_put_with_its_location_and_acl(acl: str, more: dict[str, str]) -> None:
    assert Redirect("old", "/new").headers(acl) == {
        "content-type": "application/octet-stream",
        "x-amz-website-redirect-location": "/new",
        **more,
    }


def test_a_redirect_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(Redirect("a", "/b"))) == Redirect("a", "/b")
