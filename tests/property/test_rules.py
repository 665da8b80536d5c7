"""Laws of the per-file settings, beside a plain model of what upstream and its docs say."""

from __future__ import annotations

import json
import os
import random
import re

from hypothesis import given
from hypothesis import strategies as st

from s3batch.objects.attributes import AttributeRules
from s3batch.settings.table import Settings

ROOT = "/src"
PATTERN = st.one_of(
    st.text("ab.*/", max_size=6),
    st.sampled_from(["*", "**", ".a", ".B", ".a.b", "", "a/b.a", "*.a", "a*", "/src/a*", "*/a/*", "*b.a"]),
)
PATH = st.lists(st.text("abB.", min_size=1, max_size=5), min_size=1, max_size=3).map("/".join)
VALUES = st.dictionaries(PATTERN, st.sampled_from(["1", "2", "3"]), max_size=6)


def chosen(values: dict[str, str], path: str, otherwise: str = "none") -> str:
    rules = AttributeRules.from_settings(Settings(content_language=json.dumps(values)), ROOT)
    choice = rules.choices.get("content_language")
    return next(choice.matches(path, f"{ROOT}/{path}"), otherwise) if choice else otherwise


def upstream_glob(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL))


def upstream_globs(values: dict[str, str], path: str) -> set[str]:
    """What acl, cache_control and metadata may come to in the plugin: it takes any match, as Go's map happens to lie."""
    return {value for pattern, value in values.items() if upstream_glob(pattern, f"{ROOT}/{path}")}


def allowed_by_the_docs(values: dict[str, str], path: str) -> set[str]:
    """What only the docs, or the second try, let match."""
    name = os.path.basename(path).lower()
    return {
        value
        for pattern, value in values.items()
        if upstream_glob(pattern, path)
        or (pattern.startswith(".") and name.endswith(pattern.lower()))
        or (pattern == "" and "." not in name)
    }


@given(values=VALUES, path=PATH, seed=st.integers())
def test_the_order_of_the_map_changes_nothing(values: dict[str, str], path: str, seed: int) -> None:
    shuffled = list(values.items())
    random.Random(seed).shuffle(shuffled)

    assert chosen(dict(shuffled), path) == chosen(values, path)


@given(values=VALUES, path=PATH)
def test_the_winner_is_one_that_upstream_or_its_docs_let_match(values: dict[str, str], path: str) -> None:
    possible = upstream_globs(values, path) | allowed_by_the_docs(values, path)

    assert chosen(values, path) in (possible or {"none"})


@given(values=VALUES, path=PATH)
def test_where_upstream_always_does_the_same_and_the_docs_say_no_more_so_do_we(
    values: dict[str, str], path: str
) -> None:
    upstream = upstream_globs(values, path)

    if len(upstream) <= 1 and allowed_by_the_docs(values, path) <= upstream:
        assert {chosen(values, path)} == (upstream or {"none"})


@given(values=st.dictionaries(st.sampled_from([".a", ".b", ".B", ""]), st.sampled_from(["1", "2"])), path=PATH)
def test_by_extension_we_do_what_upstream_does(values: dict[str, str], path: str) -> None:
    extension = "." + path.rpartition(".")[2] if "." in os.path.basename(path) else ""

    if extension in values and path not in values:
        assert chosen(values, path) == values[extension]


@given(values=VALUES, paths=st.lists(PATH, max_size=8))
def test_remembering_changes_no_answer(values: dict[str, str], paths: list[str]) -> None:
    settings = Settings(content_language=json.dumps(values), gzip='[".a"]')
    busy = AttributeRules.from_settings(settings, ROOT)

    assert [busy.attributes(path) for path in paths] == [
        AttributeRules.from_settings(settings, ROOT).attributes(path) for path in paths
    ]
