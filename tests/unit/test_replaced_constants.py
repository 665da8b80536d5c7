"""A test passes a limit as an argument. It replaces no constant of a module, which would depend on who reads it when."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CONSTANT = re.compile(r"(?:.*\.)?_?[A-Z][A-Z0-9_]{2,}")
LEFT = {
    ("simulation/job.py", "_TICK_NS"): "the reader waits with the simulated clock for a tick of the real file system",
    ("simulation/job.py", "PART_MINIMUM"): "it is S3's limit, and the simulated parts are a few bytes",
    ("simulation/job.py", "_CLOCK"): "it chooses a clock of the kernel, and the simulation has one of its own",
}
"""The constants that tests still replace, each with the reason."""


def replaced_constants(source: str) -> Iterator[str]:
    """Yield the names of constants that ``source`` replaces with ``monkeypatch.setattr`` or ``mock.patch``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".setattr", "patch", "patch.object")):
            for argument in node.args[:2]:
                name = argument.value if isinstance(argument, ast.Constant) else None
                if isinstance(name, str) and CONSTANT.fullmatch(name):
                    yield name.rpartition(".")[2]


@pytest.mark.parametrize(
    "statement",
    [
        'monkeypatch.setattr(module, "LIMIT", 3)',
        'monkeypatch.setattr("package.module._LIMIT", 3)',
        'patch.object(module, "LIMIT_2", 3)',
        'mock.patch("package.module.LIMIT")',
    ],
)
def test_a_replaced_constant_is_found(statement: str) -> None:
    assert len(list(replaced_constants(statement))) == 1


@pytest.mark.parametrize(
    "statement",
    [
        'monkeypatch.setattr(module, "Name", 3)',
        'monkeypatch.setattr(os, "fsync", f)',
        'monkeypatch.setenv("NAME", "3")',
    ],
)
def test_a_class_a_function_and_a_variable_are_none(statement: str) -> None:
    assert list(replaced_constants(statement)) == []


def test_no_test_replaces_a_constant_of_a_module() -> None:
    found = {
        (str(path.relative_to(TESTS)), name)
        for path in TESTS.rglob("*.py")
        for name in replaced_constants(path.read_text(encoding="utf-8"))
    }

    assert found == LEFT.keys()
