from __future__ import annotations

import pickle

import pytest

from s3batch.base.errors import SettingsError
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection


def selection(*, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Selection:
    return Selection.from_settings(Settings(include=include, exclude=exclude))


@pytest.mark.parametrize(
    ("include", "exclude", "path", "wanted"),
    [
        pytest.param((), (), "any/thing", True, id="nothing given: everything"),
        pytest.param((), ("*.map",), "js/a.js.map", False, id="excluded by name"),
        pytest.param((), ("*.map",), "js/a.js", True, id="not excluded"),
        pytest.param((), ("node_modules",), "a/node_modules/b/c", False, id="inside an excluded directory"),
        pytest.param((), ("build/",), "build", True, id="a file with an excluded directory's name"),
        pytest.param((), ("*.map", "!keep.map"), "keep.map", True, id="taken back"),
        pytest.param(
            (), ("build/", "!build/keep"), "build/keep", False, id="nothing comes back from inside, as in git"
        ),
        pytest.param((), ("build/*", "!build/keep"), "build/keep", True, id="the directory itself was not excluded"),
        pytest.param((), ("/*", "!/public"), "public/a", True, id="all but one directory"),
        pytest.param(("*.html",), (), "a/b.html", True, id="included by name"),
        pytest.param(("*.html",), (), "a/b.css", False, id="not included"),
        pytest.param(("public/",), (), "public/a/b", True, id="included by its directory"),
        pytest.param(("public/", "!*.map"), (), "public/a.map", False, id="the last of include wins"),
        pytest.param(("!*.map",), (), "a.js", True, id="an include of exceptions only means all the others"),
        pytest.param(("!*.map",), (), "a.map", False, id="and not the exceptions"),
        pytest.param(("*.html",), ("draft*",), "draft.html", False, id="both must agree"),
    ],
)
def test_a_file_is_wanted_if_include_lets_it_in_and_exclude_leaves_it(
    include: tuple[str, ...], exclude: tuple[str, ...], path: str, wanted: bool
) -> None:
    assert selection(include=include, exclude=exclude).wants(path) is wanted


@pytest.mark.parametrize(
    ("include", "exclude", "directory", "entered"),
    [
        pytest.param((), (), "a/b", True, id="nothing given: everywhere"),
        pytest.param((), ("node_modules/",), "a/node_modules", False, id="excluded"),
        pytest.param((), ("node_modules/",), "a/node_modules/b", False, id="inside an excluded one"),
        pytest.param((), ("build/*", "!build/keep"), "build", True, id="only its content is excluded"),
        pytest.param(("*.html",), (), "a/b", True, id="an include that may match anywhere"),
        pytest.param(("public/**/*.js",), (), "public/deep", True, id="below an include's root"),
        pytest.param(("site/public/*.js",), (), "site", True, id="above an include's root"),
        pytest.param(("public/*.js",), (), "private", False, id="beside an include's root"),
        pytest.param(("/index.html",), (), "css", False, id="one file at the top"),
        pytest.param(("!*.map",), (), "a", True, id="exceptions only"),
        pytest.param(("public/",), ("public/tmp",), "public/tmp", False, id="exclude has its say too"),
    ],
)
def test_a_directory_is_entered_only_if_something_in_it_can_be_wanted(
    include: tuple[str, ...], exclude: tuple[str, ...], directory: str, entered: bool
) -> None:
    assert selection(include=include, exclude=exclude).enters(directory) is entered


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_a_pattern_that_cannot_be_read_is_a_settings_error(name: str) -> None:
    settings = Settings(**{name: ("[z-a]",)}, origins={name: f"--{name}"})

    with pytest.raises(SettingsError, match=f"{name} cannot be .*--{name}.*bad character range"):
        Selection.from_settings(settings)


def test_a_selection_survives_pickling() -> None:
    given = selection(include=("*.html",), exclude=("draft/",))

    assert pickle.loads(pickle.dumps(given)) == given
