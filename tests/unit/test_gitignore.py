from __future__ import annotations

import pickle

import pytest

from s3batch.objects.star_glob import compile_star_glob, count_literals
from s3batch.source.gitignore import Patterns


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        pytest.param("public/*", "public/a.svg", True, id="a star at the end"),
        pytest.param("public/*", "public/deep/a.svg", True, id="a star crosses slashes"),
        pytest.param("public/*", "public/", True, id="a star may be nothing"),
        pytest.param("public/*", "a/public/b", False, id="the whole text has to match"),
        pytest.param("*/a.txt", "/drone/src/a.txt", True, id="a star at the front"),
        pytest.param("*a.txt", "/drone/src/a.txt", True, id="a star without a slash"),
        pytest.param("*src*", "/drone/src/a.txt", True, id="stars around"),
        pytest.param("**", "/drone/src/a.txt", True, id="two stars are one"),
        pytest.param("a**b", "a/x/b", True, id="two stars in the middle are one"),
        pytest.param("a*b*c", "a-b-b-c", True, id="a piece may occur more often"),
        pytest.param("a*b*bc", "a-bc", False, id="a piece is used once"),
        pytest.param("a*ab", "ab", False, id="head and tail do not share a character"),
        pytest.param("?.txt", "a.txt", False, id="no question mark"),
        pytest.param("*[a].txt", "a.txt", False, id="no sets"),
        pytest.param("*.{js,css}", "a.js", False, id="no braces"),
        pytest.param("!*", "a", False, id="no negation"),
        pytest.param("a.txt", "aXtxt", False, id="a dot is a dot"),
        pytest.param("a.txt", "a.txt", True, id="without a star: equality"),
        pytest.param("A.txt", "a.txt", False, id="case counts"),
        pytest.param("", "", True, id="nothing matches nothing"),
        pytest.param("", "a", False, id="nothing matches only nothing"),
        pytest.param("a*", "a\nb", True, id="a star takes a newline too"),
        pytest.param("a", "a\n", False, id="a newline at the end counts"),
    ],
)
def test_a_star_glob_knows_only_the_star(pattern: str, text: str, matches: bool) -> None:
    assert bool(compile_star_glob(pattern).fullmatch(text)) is matches


def test_a_glob_with_many_stars_takes_no_time() -> None:
    assert not compile_star_glob("*a" * 50 + "*b").fullmatch("a" * 5_000)


@pytest.mark.parametrize(("pattern", "count"), [("*", 0), ("**", 0), ("*.js", 3), ("a*b", 2), ("", 0)])
def test_only_literal_characters_make_a_glob_specific(pattern: str, count: int) -> None:
    assert count_literals(pattern) == count


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("a.txt", "a.txt", True, id="a name at the top"),
        pytest.param("a.txt", "deep/down/a.txt", True, id="a name anywhere"),
        pytest.param("a.txt", "xa.txt", False, id="not a part of a name"),
        pytest.param("/a.txt", "a.txt", True, id="anchored by a leading slash"),
        pytest.param("/a.txt", "deep/a.txt", False, id="anchored means here only"),
        pytest.param("deep/a.txt", "deep/a.txt", True, id="anchored by a slash inside"),
        pytest.param("deep/a.txt", "x/deep/a.txt", False, id="a slash inside anchors"),
        pytest.param("*.map", "js/app.js.map", True, id="a star in a name"),
        pytest.param("js/*.map", "js/deep/app.map", False, id="a star stays inside its segment"),
        pytest.param("js/**/*.map", "js/app.map", True, id="two stars may be no directory"),
        pytest.param("js/**/*.map", "js/a/b/app.map", True, id="two stars may be many"),
        pytest.param("**/tmp", "a/b/tmp", True, id="two stars in front"),
        pytest.param("**/tmp", "tmp", True, id="two stars in front may be nothing"),
        pytest.param("tmp/**", "tmp/a/b", True, id="two stars at the end: all inside"),
        pytest.param("tmp/**", "tmp/", False, id="two stars at the end: not itself"),
        pytest.param("a**b", "axb", True, id="two stars in a segment are one"),
        pytest.param("a**b", "a/b", False, id="two stars in a segment stay in it"),
        pytest.param("?.txt", "a.txt", True, id="one character"),
        pytest.param("a?b", "a/b", False, id="but no slash"),
        pytest.param("[ab].txt", "b.txt", True, id="one of a set"),
        pytest.param("[!ab].txt", "b.txt", False, id="none of a set"),
        pytest.param("[^ab].txt", "c.txt", True, id="none of a set, the other way"),
        pytest.param("a[!x]b", "a/b", False, id="a set never takes a slash"),
        pytest.param("[a-c]", "b", True, id="a range"),
        pytest.param("[]]", "]", True, id="a bracket in a set"),
        pytest.param("[a&&b]", "&", True, id="no set algebra"),
        pytest.param("[ab", "[ab", True, id="an open bracket is a bracket"),
        pytest.param(r"\*.txt", "*.txt", True, id="a quoted star"),
        pytest.param(r"\*.txt", "a.txt", False, id="a quoted star is only a star"),
        pytest.param(r"\!a", "!a", True, id="a quoted exclamation mark"),
        pytest.param("#a", "#a", True, id="no comments in a list"),
        pytest.param("build/", "build/", True, id="a directory"),
        pytest.param("build/", "build", False, id="no file of that name"),
        pytest.param("build", "build/", True, id="files and directories"),
        pytest.param("a//b", "a/b", True, id="empty segments do not count"),
        pytest.param(" a ", "a", True, id="spaces around do not count"),
        pytest.param("a", "a\n", False, id="a newline counts"),
        pytest.param("a+b(c)|d", "a+b(c)|d", True, id="nothing of regular expressions"),
    ],
)
def test_a_gitignore_pattern_matches_as_git_does(pattern: str, path: str, matches: bool) -> None:
    assert (Patterns.of([pattern]).verdict(path) is True) is matches


@pytest.mark.parametrize(
    ("patterns", "path", "verdict"),
    [
        pytest.param([], "a", None, id="no pattern says nothing"),
        pytest.param(["", " ", "/", "!"], "a/", None, id="empty patterns say nothing"),
        pytest.param(["b"], "a", None, id="no match says nothing"),
        pytest.param(["*.js", "!keep.js"], "keep.js", False, id="the last one wins: taken back"),
        pytest.param(["!keep.js", "*.js"], "keep.js", True, id="the last one wins: thrown out again"),
        pytest.param(["*.js", "*.css", "!keep.*", "*.tmp"], "keep.css", False, id="runs of neighbours"),
    ],
)
def test_the_last_matching_pattern_wins(patterns: list[str], path: str, verdict: bool | None) -> None:
    assert Patterns.of(patterns).verdict(path) is verdict


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("public", "public/a/b", True, id="what is below a match"),
        pytest.param("public/", "public/a", True, id="what is below a directory"),
        pytest.param("public/", "public", False, id="a file of that name is none"),
        pytest.param("public", "public", True, id="the match itself"),
        pytest.param("public", "publicity", False, id="not what begins with it"),
        pytest.param("public", "public\nx", False, id="a newline is no slash"),
    ],
)
def test_below_means_everything_under_a_match_too(pattern: str, path: str, matches: bool) -> None:
    assert (Patterns.of([pattern], below=True).verdict(path) is True) is matches


def test_a_range_that_runs_backwards_is_named() -> None:
    with pytest.raises(ValueError, match="bad character range z-a"):
        Patterns.of(["[z-a]"])


def test_patterns_survive_pickling() -> None:
    patterns = Patterns.of(["*.js", "!keep.js", "/build/"])

    assert pickle.loads(pickle.dumps(patterns)) == patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 22 + "*b",
        "*[a]" * 15 + "b",
        "?*" * 18 + "x",
        "**/a/" * 9 + "b",
        "**/*a*/" * 6 + "b",
        "*a*a/**/" * 6 + "*b*c",
    ],
    ids=["stars", "sets", "question marks", "double stars", "double stars with stars", "an anchor"],
)
@pytest.mark.parametrize(
    "path", ["a" * 250, "/".join("a" * 60), "/".join(["a" * 60] * 30)], ids=["long", "deep", "both"]
)
def test_a_pattern_of_many_stars_is_decided(pattern: str, path: str) -> None:
    """Backtracking would take years: a tree may bring such a pattern."""
    assert Patterns.of([pattern]).verdict(path) is None
