"""The README says what the program does."""

import re

import pytest

from s3batch.settings import COMMANDS
from scripts import regenerate

README = regenerate.README.read_text()


def test_the_settings_table_is_the_programs_own():
    assert regenerate.with_settings(README) == README, "run scripts/regen"


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_a_link_of_the_readme_leads_somewhere(link):
    assert (regenerate.README.parent / link).exists()


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\./(scripts/[a-z_0-9.-]+|\.ci/[a-z]+)", README))))
def test_a_script_the_readme_names_can_be_run(script):
    assert (regenerate.README.parent / script).stat().st_mode & 0o111


def test_a_command_the_readme_names_is_one():
    named = set(
        re.findall(r"s3batch ((?:jobs |cache )?[a-z]+)\b", " ".join(re.findall(r"`[^`]+`|^ {4}\$.*$", README, re.M)))
    )

    assert named
    assert named <= set(COMMANDS)
