"""``exclude`` against git itself: the same patterns leave out the same entries."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from s3batch.archive.exclusions import Exclusions
from s3batch.archive.scan import scan_tree

NAMES = ["a", "b", "dist", "node_modules", "x.log", "keep.log", "odd[1]", "tmp", "n\nl"]
PATTERNS = [
    "*.log", "!keep.log", "tmp/", "/a", "node_modules", "a/*", "!a/b", "**/dist", "dist/**", "[ab]", "b/x.log", "x*/",
    "!tmp", "*", "!*/", r"\!a", "a/**/b", "?", "/b/",
]  # fmt: skip
pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is the judge")


def make_tree(top: Path, chance: random.Random) -> None:
    for _ in range(40):
        path = top.joinpath(*chance.choices(NAMES, k=chance.randint(1, 4)))
        if not any(above.is_file() for above in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch()


@pytest.mark.parametrize("seed", range(12))
def test_what_git_ignores_is_left_out_and_nothing_else(tmp_path, seed):
    chance = random.Random(seed)
    make_tree(tmp_path, chance)
    patterns = chance.sample(PATTERNS, chance.randint(1, 5))
    every = set(scan_tree(str(tmp_path), ["."]).tree.paths())
    alone = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", "init", "-q", str(tmp_path)], env=alone, check=True)
    (tmp_path / ".git/info/exclude").write_text("\n".join(patterns) + "\n")

    found = scan_tree(str(tmp_path), ["."], own=[".git"], exclude=Exclusions(patterns))

    command = ["git", "-C", str(tmp_path), "check-ignore", "-z", "--no-index", "--stdin"]
    judged = subprocess.run(
        command, input=os.fsencode("\0".join(every)), env=alone, capture_output=True, check=False
    )  # fmt: skip
    ignored = {os.fsdecode(path) for path in judged.stdout.split(b"\0") if path}
    assert set(found.tree.paths()) == every - ignored, patterns
