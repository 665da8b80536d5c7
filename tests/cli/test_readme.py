"""The README is short and names only what there is. tests/plugins/test_readme.py runs its examples."""

import json
import re

import pytest

from s3batch.settings.schema import COMMANDS
from scripts.benchmarks.judging import MEASURES
from tests.rig.program import ROOT

README = (ROOT / "README.md").read_text()


def test_the_readme_is_read_in_three_minutes():
    assert len(README.split()) <= 600


def test_its_figures_are_those_of_the_benchmarks():
    sides = json.loads((ROOT / "docs" / "benchmarks.json").read_text())["small"]["data"]["sides"]
    ours, peers = (sides[name]["runs"] for name in ("s3batch", "s5cmd cp"))
    cpu, wall = map(float, re.findall(r"([\d.]+) times", README))

    assert MEASURES["cpu"].compute(ours, peers) < cpu
    assert MEASURES["wall"].compute(ours, peers) < wall


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_the_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", (ROOT / page).read_text())

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\./(scripts/[a-z_0-9.-]+|\.ci/[a-z]+)", README))))
def test_a_script_the_readme_names_can_be_run(script):
    assert (ROOT / script).stat().st_mode & 0o111


def test_a_command_the_readme_names_is_one():
    named = set(
        re.findall(r"s3batch ((?:jobs |cache )?[a-z]+)\b", " ".join(re.findall(r"`[^`]+`|^ {4}\$.*$", README, re.M)))
    )

    assert named
    assert named <= set(COMMANDS)
