"""What ``source`` means on a disk."""

from __future__ import annotations

import os

import pytest

from s3batch.base.errors import JobFailedError, SettingsError
from s3batch.settings.table import Settings
from s3batch.source import locate
from s3batch.source.filters import Selection
from s3batch.source.walk import walk_source

TREE = ["dist/a.js", "dist/b.css", "dist/.dot.js", "dist/sub/c.js", "dist/sub/deep/d.js", "odd[1]/x", "top.txt"]


@pytest.fixture
def tree(tmp_path):
    for name in TREE:
        path = tmp_path / "w" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "w"


def resolved(tree, text, **more):
    return locate.resolve_source(Settings(source=text, workspace=str(tree), origins={"source": "--source"}, **more))


def names(found):
    return sorted(file.path for file in walk_source(found.root, found.select(Selection()), symlinks="follow"))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        pytest.param(".", "", id="the workspace"),
        pytest.param("dist", "dist", id="a directory"),
        pytest.param("./dist/", "dist", id="a directory, written otherwise"),
        pytest.param("top.txt", "top.txt", id="one file"),
        pytest.param("odd[1]", "odd[1]", id="a path that only looks like a glob"),
    ],
)
def test_a_path_that_exists_is_what_it_says(tree, text, root):
    found = resolved(tree, text)

    assert found == locate.Source(os.path.normpath(tree / root))
    assert found.is_file == root.endswith(".txt")


@pytest.mark.parametrize(
    ("text", "root", "paths"),
    [
        pytest.param("dist/*.js", "dist", [".dot.js", "a.js"], id="a star stays in its directory"),
        pytest.param("dist/**/*.js", "dist", [".dot.js", "a.js", "sub/c.js", "sub/deep/d.js"], id="two stars cross"),
        pytest.param("dist/*/*.js", "dist", ["sub/c.js"], id="a star for a directory"),
        pytest.param("*/?.css", "", ["dist/b.css"], id="no fixed part"),
        pytest.param("dist/[ab].*", "dist", ["a.js", "b.css"], id="a set"),
        pytest.param("dist/sub/**", "dist/sub", ["c.js", "deep/d.js"], id="all below"),
        pytest.param("dist/*.none", "dist", [], id="nothing matches"),
        pytest.param("*", "", ["top.txt"], id="a star for files only"),
    ],
)
def test_a_glob_selects_files_and_keys_are_relative_to_its_fixed_part(tree, text, root, paths):
    found = resolved(tree, text)

    assert found.root == os.path.normpath(tree / root)
    assert names(found) == paths


def test_a_glob_may_be_absolute(tree):
    assert names(resolved(tree, f"{tree}/dist/*.css")) == ["b.css"]


def test_a_glob_and_a_selection_narrow_each_other(tree):
    settings = Settings(source="dist/**/*.js", exclude=("sub/deep/",), workspace=str(tree))
    found = locate.resolve_source(settings)

    selection = found.select(Selection.from_settings(settings))

    assert sorted(file.path for file in walk_source(found.root, selection, symlinks="follow")) == [
        ".dot.js",
        "a.js",
        "sub/c.js",
    ]
    assert not selection.enters("sub/deep")


def test_a_plugin_looks_for_an_absolute_path_in_the_workspace_first(tree):
    assert resolved(tree, "/dist", plugin=True).root == str(tree / "dist")
    assert resolved(tree, str(tree / "dist"), plugin=True).root == str(tree / "dist")
    with pytest.raises(SettingsError):
        resolved(tree, "/dist")


@pytest.mark.parametrize(
    ("plugin", "error", "code"),
    [
        pytest.param(False, SettingsError, 2, id="a command"),
        pytest.param(True, JobFailedError, 1, id="a plugin, where it has always been 1"),
    ],
)
@pytest.mark.parametrize("text", ["nowhere", "nowhere/*.js"])
def test_a_missing_source_is_an_error(tree, text, plugin, error, code):
    with pytest.raises(error) as caught:
        resolved(tree, text, plugin=plugin)

    assert caught.value.exit_code == code
    assert str(caught.value) == (
        f"source '{text}' (from --source) does not exist; give a path relative to {tree}, or an absolute one"
    )


@pytest.mark.parametrize(("plugin", "error"), [(False, SettingsError), (True, JobFailedError)])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("loop/dist", "Too many levels of symbolic links", id="a loop of links"),
        pytest.param("loop/*.js", "Too many levels of symbolic links", id="a glob below a loop of links"),
        pytest.param("x" * 300, "File name too long", id="a name that no file can have"),
    ],
)
def test_a_source_that_cannot_be_looked_at_is_not_called_missing(tree, text, why, plugin, error):
    (tree / "loop").symlink_to("loop")

    with pytest.raises(error, match=rf"^source .* \(from --source\) cannot be read: {why}"):
        resolved(tree, text, plugin=plugin)


@pytest.mark.parametrize("text", ["nowhere/x", "top.txt/x", "top.txt/*.js"])
def test_a_source_below_nothing_or_below_a_file_is_missing(tree, text):
    with pytest.raises(SettingsError, match="does not exist"):
        resolved(tree, text)


def test_a_source_that_is_neither_file_nor_directory_is_refused(tree):
    os.mkfifo(tree / "pipe")

    with pytest.raises(SettingsError, match="give a directory, a file or a glob"):
        resolved(tree, "pipe")
