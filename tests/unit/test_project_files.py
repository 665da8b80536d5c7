"""The files around the code: workflows, forms, the version of a checkout, what the package says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.version import Version

import s3batch
from tests.rig.program import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = {path.name: path.read_text() for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_uses_actions_of_one_version(name):
    used = re.findall(r"uses: (\S+)", WORKFLOWS[name])

    assert used
    assert [each for each in used if not re.fullmatch(r"\./\S+|[\w/-]+@v\d+\.\d+\.\d+", each)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs_scripts_that_are_there_and_may_only_read(name):
    scripts = re.findall(r"run: \./(\S+)", WORKFLOWS[name])

    assert all((ROOT / script).stat().st_mode & 0o111 for script in scripts)
    assert re.search(r"^permissions:\n  contents: read$", WORKFLOWS[name], re.MULTILINE)


def test_continuous_integration_runs_all_tests_on_every_python_that_the_package_names():
    text = WORKFLOWS["test.yml"]
    named = {each.rpartition(" ")[2] for each in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", each)}

    assert "run: ./scripts/test\n" in text
    assert set(re.findall(r'"(3\.\d+)"', text)) == named


def test_a_release_is_tested_and_built_before_it_is_published_without_a_token():
    before, publish = WORKFLOWS["release.yml"].split("  publish:\n")

    assert "uses: ./.github/workflows/test.yml" in before
    assert before.index("  test:\n") < before.index("    needs: test\n") < before.index("s3batch --version")
    assert ("needs: build" in publish, "id-token: write" in publish, "id-token" in before) == (True, True, False)
    assert "secrets." not in before + publish


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something_and_names_its_fields_once(form):
    text = form.read_text()
    ids = re.findall(r"^    id: (\w+)$", text, re.MULTILINE)

    assert all(re.search(rf"^{key}: .+$", text, re.MULTILINE) for key in ("name", "description"))
    assert ids
    assert len(set(ids)) == len(ids)
    assert "required: true" in text


def test_the_version_without_git_is_the_same_for_a_build_and_a_checkout():
    fallback = PROJECT["tool"]["hatch"]["version"]["fallback-version"]

    assert f'_version = "{fallback}"' in (ROOT / "s3batch/__init__.py").read_text()


def test_the_version_is_one_that_package_indexes_take():
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "s3batch", "--version"], capture_output=True, text=True, check=True
    )

    assert ran.stdout == f"s3batch {s3batch.__version__}\n"
    assert str(Version(s3batch.__version__)) == s3batch.__version__
    assert "importlib.metadata" not in ran.stderr


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "s3batch/py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
