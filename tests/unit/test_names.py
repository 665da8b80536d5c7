"""A name means one thing: no two modules of s3batch define a function or a class of one name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import s3batch

PACKAGE = Path(s3batch.__file__).parent
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def definitions() -> dict[str, set[str]]:
    """Return the modules by the name of what they define, leading underscores apart."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, DEFINITIONS):
                found[node.name.strip("_")].add(str(path.relative_to(PACKAGE)))
    return found


def test_no_two_modules_define_one_name() -> None:
    shared = {name: sorted(modules) for name, modules in definitions().items() if len(modules) > 1}

    assert shared == {}
