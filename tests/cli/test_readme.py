"""The README names only what there is (its settings table: tests/cli/test_docs.py)."""

import re

import pytest

from s3batch.settings import COMMANDS
from tests.rig.program import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_a_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\./(scripts/[a-z_0-9.-]+|\.ci/[a-z]+)", README))))
def test_a_script_the_readme_names_can_be_run(script):
    assert (ROOT / script).stat().st_mode & 0o111


def test_a_command_the_readme_names_is_one():
    named = set(
        re.findall(r"s3batch ((?:jobs |cache )?[a-z]+)\b", " ".join(re.findall(r"`[^`]+`|^ {4}\$.*$", README, re.M)))
    )

    assert named
    assert named <= set(COMMANDS)
