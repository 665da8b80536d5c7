"""The order of filters: ignore files, files of patterns, then flags as the AWS command line takes them."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.base.errors import SettingsError
from s3batch.cli.loading import settings_of
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection

TREE = ("a.html", "b.css", "d1/x.html", "d1/deep/y.css", "d2/x.html", "d2/deep/y.css")


def flags(*words: str, config: str = "", environ: dict[str, str] | None = None) -> Settings:
    """Return the settings of a sync with these flags: ``+d1`` is an include, ``-d1`` an exclude."""
    argv = [f"--{'include' if word[0] == '+' else 'exclude'}={word[1:]}" for word in words]
    return settings_of("sync", ["tree", "s3://b/p", *argv], {"HOME": "/none", **(environ or {})})


def taken(settings: Settings, root: str = "", tree: tuple[str, ...] = TREE) -> list[str]:
    """Return the files of the tree that a walk with these filters finds."""
    selection = Selection.from_settings(settings, root)

    def is_reached(path: str) -> bool:
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        return all(map(selection.enters, above))

    wanted = [path for path in tree if selection.wants(path)]
    assert all(map(is_reached, wanted)), "a file that is wanted lies in a directory that is not entered"
    return wanted


@pytest.mark.parametrize(
    ("words", "left"),
    [
        pytest.param((), list(TREE), id="none: everything"),
        pytest.param(("-*", "+d1/*"), ["d1/x.html", "d1/deep/y.css"], id="all but one directory, as for aws"),
        pytest.param(("+d1/*",), ["d1/x.html", "d1/deep/y.css"], id="an include first: the others stay out"),
        pytest.param(("+d1/*", "-*"), [], id="the last that matches counts"),
        pytest.param(("+*.html", "-d2/*", "+d2/x.html"), ["a.html", "d1/x.html", "d2/x.html"], id="there and back"),
        pytest.param(("-d1/", "+d1/deep/"), ["a.html", "b.css", "d1/deep/y.css", "d2/x.html", "d2/deep/y.css"],
                     id="an include takes back a path below an excluded directory"),
        pytest.param(("-d1/", "-!d1/x.html"), ["a.html", "b.css", "d2/x.html", "d2/deep/y.css"],
                     id="an exclamation mark does not, as in git"),
        pytest.param(("-*.html", "+!b.css"), ["d1/deep/y.css", "d2/deep/y.css"], id="a negated include leaves out"),
        pytest.param(("-*.css", "-d2/", "+*.css"), ["a.html", "b.css", "d1/x.html", "d1/deep/y.css", "d2/deep/y.css"],
                     id="excludes in a row"),
        pytest.param(("-*.css,*.html",), [], id="two patterns in one flag"),
    ],
)  # fmt: skip
def test_flags_count_in_their_order(words: tuple[str, ...], left: list[str]) -> None:
    assert taken(flags(*words)) == left


def test_an_order_of_flags_goes_through_the_journal() -> None:
    begun = flags("-*", "+d1/*")
    resumed = Settings.from_public(begun.public())

    assert taken(resumed) == taken(begun) == ["d1/x.html", "d1/deep/y.css"]
    assert resumed.plan_digest() == begun.plan_digest() != flags("+d1/*", "-*").plan_digest()


@pytest.mark.parametrize("order", [["include", "source"], "include", [1], {"include": 1}])
def test_an_order_that_no_job_wrote_is_refused(order: object) -> None:
    with pytest.raises(ValueError, match="filter_order"):
        Settings.from_public(flags("-*", "+d1/*").public() | {"filter_order": order})


def test_lists_that_are_no_flags_count_as_ever_include_first() -> None:
    both = {"S3BATCH_EXCLUDE": "*.css,!b.css", "S3BATCH_INCLUDE": "d1/,b.css"}
    one = {"S3BATCH_EXCLUDE": "*.css"}

    assert taken(flags(environ=both)) == ["b.css", "d1/x.html"]
    assert taken(flags("+d1/", environ=one)) == ["d1/x.html"]  # an exclude of the surroundings stands


def test_files_of_patterns_come_before_the_flags(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# a comment\n\n*.css\r\nd2/\nend\\ \n#\n")
    settings = Settings(exclude_from=("list",), workspace=str(tmp_path))
    with_flags = Settings(exclude_from=("list",), workspace=str(tmp_path), exclude=("a.html", "!b.css"))

    assert taken(settings, tree=(*TREE, "end", "end ")) == ["a.html", "d1/x.html", "end"]
    assert taken(with_flags) == ["b.css", "d1/x.html"]


def test_a_file_of_patterns_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("[z-a]\n")

    for name in ("missing", ".", "bad"):
        settings = Settings(exclude_from=(name,), workspace=str(tmp_path), origins={"exclude_from": "--exclude-from"})
        with pytest.raises(SettingsError, match=f"exclude_from cannot be '{name}'.*--exclude-from"):
            Selection.from_settings(settings)


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(["*", "*.html", "d1/*", "/d2/deep/*", "x.html", "*.css"])), max_size=5
    )
)
def test_it_is_what_aws_makes_of_them(filters: list[tuple[bool, str]]) -> None:
    """``aws s3 sync`` begins with everything included; here an include that comes first leaves the others out."""
    settings = Settings(
        include=tuple(pattern for includes, pattern in filters if includes),
        exclude=tuple(pattern for includes, pattern in filters if not includes),
        filter_order=tuple("include" if includes else "exclude" for includes, _ in filters),
    )
    left = []
    for path in TREE:
        included = not (filters and filters[0][0])
        for includes, pattern in filters:
            wild = pattern.lstrip("/") if "/" in pattern else f"*{pattern}"
            name = path if "/" in pattern else path.rpartition("/")[2]
            if fnmatch.fnmatchcase(name, wild if "/" in pattern else pattern):
                included = includes
        if included:
            left.append(path)

    assert taken(settings) == left
