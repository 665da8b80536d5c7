"""Patterns of per-file settings that match no file."""

from __future__ import annotations

import pytest

from s3batch.objects.attributes import AttributeRules
from s3batch.objects.unmatched import UnmatchedPatterns
from s3batch.settings.table import Settings


def left(paths: list[str], **settings: str) -> str:
    unmatched = UnmatchedPatterns(AttributeRules.from_settings(Settings(**settings), "/src"))
    for path in paths:
        unmatched.see([path])
    return unmatched.warning()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({}, "", id="no setting"),
        pytest.param({"acl": "public-read"}, "", id="one value for all"),
        pytest.param({"acl": '{"a/*": "private", "*": "public-read"}'}, "", id="all match"),
        pytest.param({"acl": '{"/src/a/b.html": "private"}'}, "", id="an absolute path"),
        pytest.param({"content_type": '{".HTML": "x/y"}'}, "", id="an extension in another case"),
        pytest.param({"cache_control": '{"": "no-cache"}'}, "", id="no extension"),
        pytest.param({"cache_control": '{"*.html": "a", "*": "b", "a/b.html": "c"}'}, "", id="one that never wins"),
        pytest.param(
            {"acl": '{"assets/*": "private"}'}, "no file matches this pattern: acl 'assets/*'", id="one does not"
        ),
        pytest.param(
            {"acl": '{"x": "private", "a/*": "private"}', "metadata": '{".png": {"a": "b"}, "*": {"c": "d"}}'},
            "no file matches these patterns: acl 'x', metadata '.png'",
            id="of two settings",
        ),
    ],
)
def test_patterns_without_a_file_are_named(settings: dict[str, str], words: str) -> None:
    assert left(["a/b.html", "c"], **settings) == words


def test_a_redirect_counts_for_the_acl_alone() -> None:
    pattern = '{"old/*": "private"}'
    rules = AttributeRules.from_settings(Settings(acl=pattern, cache_control=pattern), "/src")
    unmatched = UnmatchedPatterns(rules)

    unmatched.see(["old/page"], only="acl")

    assert unmatched.warning() == "no file matches this pattern: cache_control 'old/*'"


def test_the_warning_is_short_whatever_there_is() -> None:
    many = ", ".join(f'"p{number}": "private"' for number in range(25))

    assert left(["a"], acl=f"{{{many}}}").endswith("acl 'p19' and 5 more")
