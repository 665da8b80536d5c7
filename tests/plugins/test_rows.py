"""docs/plugins.md and these tests are about the same rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "plugins.md"


def rows() -> list[str]:
    """The ids in the first column of the page's tables; ``D1-D3`` is three of them."""
    found: list[str] = []
    for cell in re.findall(r"^\| ((?:rule )?[A-Z]?\d[^|]*?) \|", PAGE.read_text(), re.MULTILINE):
        for item in cell.split(", "):
            first, _, last = item.partition("-")
            letter, number = re.fullmatch(r"(rule |[A-Z])(\d+)", first).groups()
            end = int(last[1:]) if last else int(number)
            found += [f"{letter}{each}" for each in range(int(number), end + 1)]
    return found


def text_of_all_others() -> str:
    return "\n".join(path.read_text() for path in FOLDER.glob("test_*.py") if path.name != Path(__file__).name)


@pytest.mark.parametrize("row", rows())
def test_a_row_has_a_test_that_names_it(row) -> None:
    name = row.replace(" ", "_").lower()

    assert re.search(rf'id="{row}\b|id=.*\b{row}\b|f"{row} |_{name}_', text_of_all_others()), f"no test names {row}"
