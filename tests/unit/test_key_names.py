"""Which keys can be paths, and which two cannot be there together."""

from __future__ import annotations

import random

import pytest

from s3batch.model import ListedObject
from s3batch.plan.key_names import DirectoryKeys, FoldedNames, are_plain_paths, find_name_problem


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a", ""), ("a/b", ""), ("a..b", ""), ("...", ""), (".hidden", ""), ("a b/ü+%", ""), ("line\nbreak", ""),
        ("x" * 255, ""), ("ü" * 127, ""), ("d/" * 1000 + "f", ""),
        ("..", "'..'"), ("../a", "'..'"), ("a/../b", "'..'"), ("a/..", "'..'"),
        (".", "'.'"), ("a/./b", "'.'"), ("/a", "an empty component"), ("a//b", "an empty component"),
        ("nul\0", "a NUL byte"), ("x" * 256, "too long"), ("ü" * 128, "too long"), ("d/" * 2100 + "f", "too long"),
        ("\udce9" * 256, "too long"), ("\udce9", ""),
    ],
)  # fmt: skip
def test_a_name_that_can_be_no_path_is_told(path, words):
    problem = find_name_problem(path)

    assert words in problem
    assert bool(problem) == bool(words)


@pytest.mark.parametrize("odd", [
    "a", "a/b", "...", ".hidden", "x/.hidden", "..a/b..", "x" * 255, "ü" * 127, "", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a",
    "a/./b", "a/../b", "a/.", "a/..", "nul\0", "x" * 256, "ü" * 128, "d/" * 2100 + "f", "\udce9",
])  # fmt: skip
def test_many_names_are_plain_if_none_of_them_has_a_problem(odd):
    problem = find_name_problem(odd.removesuffix("/")) or not odd or odd.endswith("/")

    assert are_plain_paths(["first/one", odd, "last/one"]) == (not problem)
    assert are_plain_paths([odd]) == (not problem)


def test_a_name_with_a_line_break_is_looked_at_alone():
    assert not are_plain_paths(["a", "line\nbreak"])
    assert are_plain_paths([])


def decided(pages: list[list[str]]) -> dict[str, bool]:
    names, found = DirectoryKeys(), []
    for page in pages:
        found += names.feed([ListedObject(key, 0, "", 0.0) for key in page])
    found += names.end()
    assert len(found) == sum(map(len, pages)), "each object is decided once"
    return {each.key: is_directory for each, is_directory in found}


@pytest.mark.parametrize(
    ("pages", "directories"),
    [
        pytest.param([["a", "b"]], set(), id="plain"),
        pytest.param([["a", "a/b"]], {"a"}, id="a key and one below it"),
        pytest.param([["a", "a-b", "a.c"], ["a/b"]], {"a"}, id="with others between, and on another page"),
        pytest.param([["a", "a-b", "a-b/c", "ab"]], {"a-b"}, id="only the one that has keys below it"),
        pytest.param([["a", "a/b", "a/b/c"]], {"a", "a/b"}, id="two levels"),
        pytest.param([["a"], ["a/"]], {"a"}, id="a marker needs the directory too"),
        pytest.param([["a/", "a/b"]], {"a/"}, id="a marker is a directory anyway"),
        pytest.param([["a"], ["a!"], ["a0"]], set(), id="names that begin alike"),
    ],
)
def test_a_key_that_others_need_as_a_directory_is_found_in_a_listing(pages, directories):
    assert {key for key, is_directory in decided(pages).items() if is_directory} == directories


def test_the_same_is_found_in_any_listing():
    chance = random.Random(4)
    for _ in range(200):
        keys = {"".join(chance.choice("ab/-") for _ in range(chance.randint(1, 6))) for _ in range(30)}
        ordered = sorted(keys, key=str.encode)
        at = chance.randint(0, len(ordered))

        found = decided([ordered[:at], ordered[at:]])

        expected = {key for key in keys if not key.endswith("/") and any(each.startswith(f"{key}/") for each in keys)}
        assert {key for key, is_directory in found.items() if is_directory and not key.endswith("/")} == expected


def test_a_page_of_unrelated_keys_is_taken_as_it_would_be_one_by_one():
    chance = random.Random(5)
    for _ in range(300):
        keys = sorted(
            {"".join(chance.choice("abcd/-") for _ in range(chance.randint(2, 6))) for _ in range(6)}, key=str.encode
        )
        objects, at = [ListedObject(key, 0, "", 0.0) for key in keys], chance.randint(0, len(keys))
        names, found = DirectoryKeys(), []
        for page in (objects[:at], objects[at:]):
            taken = names.take_unrelated(page)
            found += names.feed(page) if taken is None else [(each, False) for each in taken]
        found += names.end()

        assert dict(found) == {each: decided([keys])[each.key] for each in objects}
        assert len(found) == len(objects)


def test_names_that_differ_only_in_case_or_composition_are_one_there():
    names = FoldedNames()

    assert [names.take(each) for each in ("Readme", "README", "caf\u00e9", "cafe\u0301", "other")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    assert names.holds("OTHER")
    assert not names.holds("none")
