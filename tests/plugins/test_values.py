"""V1-V9: a setting that is a text or a map, and what each form of it comes to on the wire."""

from __future__ import annotations

import pytest

from tests.plugins.ci import SYSTEMS

BROKEN = '{"*.txt": '
META = "x-amz-meta-"


@pytest.fixture
def step(step):
    step.settings = {"source": "dist"}
    step.files({"dist/a.txt": "hello", "dist/b.js": "js"})
    return step


def sent(run, header: str) -> list[str | None]:
    """What the two objects were given."""
    assert run.code == 0, run.err
    return [run.headers(key).get(header) for key in ("a.txt", "b.js")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param('{"*.txt":"public, max-age=1","*":"private"}', ["public, max-age=1", "private"], id="V1 a map"),
        pytest.param('{"*.txt":"x"}', ["x", None], id="V1 no match: no header"),
        pytest.param("no-store", ["no-store"] * 2, id="V2 a plain text"),
        pytest.param('"no-store"', ["no-store"] * 2, id="V2 a JSON string is that string"),
        pytest.param("[1,2]", ["[1,2]"] * 2, id="V2 a list is a text"),
        pytest.param("123", ["123"] * 2, id="V2 a number is a text"),
        pytest.param(BROKEN, [BROKEN.strip()] * 2, id="V2 broken JSON is a text"),
        pytest.param("null", [None, None], id="V3 null"),
        pytest.param("{}", [None, None], id="V3 an empty map"),
        pytest.param("", [None, None], id="V4 empty"),
        pytest.param('{"*":""}', [None, None], id="V4 an empty value"),
        pytest.param('{"*":1,"*.txt":"x"}', ["x", "1"], id="V5 a number in a map"),
        pytest.param('{"*":true,"*.txt":null}', ["true", "true"], id="V5 a boolean and null in a map"),
    ],
)
def test_a_text_or_a_map(step, text, wanted) -> None:
    assert sent(step.run({}, PLUGIN_CACHE_CONTROL=text), "cache-control") == wanted
    step.is_settled({}, PLUGIN_CACHE_CONTROL=text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param('{"K-One":"v"}', [{"k-one": "v"}] * 2, id="V6 a flat map"),
        pytest.param('{"*.txt":{"k":"v"}}', [{"k": "v"}, {}], id="V7 a map of maps"),
        pytest.param('{"*.txt":{"k":"v"},"*":{"l":"w"}}', [{"k": "v"}, {"l": "w"}], id="V7 one pattern wins, no merging"),
        pytest.param('{"version":2,"f":1.50,"yes":true,"no":null}', [{"version": "2", "f": "1.50", "yes": "true"}] * 2,
                     id="V8 scalars are texts"),
        pytest.param("", [{}, {}], id="V8 empty is unset"),
        pytest.param("null", [{}, {}], id="V8 null is unset"),
        pytest.param("{}", [{}, {}], id="V6 an empty map"),
    ],
)  # fmt: skip
def test_metadata(step, text, wanted) -> None:
    run = step.run({}, PLUGIN_METADATA=text)

    assert run.code == 0, run.err
    found = [run.headers(key) for key in ("a.txt", "b.js")]
    assert [{n.removeprefix(META): v for n, v in each.items() if n.startswith(META)} for each in found] == wanted
    step.is_settled({}, PLUGIN_METADATA=text)


@pytest.mark.parametrize("value", ["Grüße aus 日本", "=?not a word", " inner  blanks "])
def test_any_text_can_be_a_value_of_metadata(step, value) -> None:
    run = step.run({"metadata": {"k": value}})

    assert run.code == 0, run.err
    assert run.headers("a.txt")["x-amz-meta-k"].isascii()
    step.is_settled({"metadata": {"k": value}})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param('{"old":"/new"}', {"old": "/new"}, id="V9 a map"),
        pytest.param("", {}, id="V9 empty is unset"),
        pytest.param("{}", {}, id="V9 an empty map"),
    ],
)
def test_redirects(step, text, wanted) -> None:
    run = step.run({}, PLUGIN_REDIRECTS=text)

    assert run.code == 0, run.err
    found = {request.key: request.headers.get("x-amz-website-redirect-location") for request in run.changes}
    assert {key: location for key, location in found.items() if location} == wanted


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_ci_may_write_it_its_own_way(step, system) -> None:
    step.system = SYSTEMS[system]
    settings = {
        "acl": {"*.js": "public-read", "*": "private"},
        "cache_control": "public, max-age=<60>&more",
        "metadata": {"*": {"build": 7, "ratio": 0.5, "final": True}},
        "exclude": ["*.tmp", "x/"],
        "delete": True,
        "max_concurrency": 20 if system != "drone" else 20.0,
    }
    step.files({"dist/c.tmp": "", "dist/x/y": ""})

    run = step.run(settings)

    assert sent(run, "x-amz-acl") == ["private", "public-read"]
    assert sent(run, "cache-control") == ["public, max-age=<60>&more"] * 2
    assert sent(run, "x-amz-meta-build") == ["7"] * 2
    assert sent(run, "x-amz-meta-ratio") == ["0.5"] * 2
    assert sent(run, "x-amz-meta-final") == ["true"] * 2
    assert step.bucket.keys() == {"a.txt", "b.js"}
    step.is_settled(settings)
