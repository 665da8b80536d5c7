"""The form of a row: one errand, the programs that take turns at it, and the goals of the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from scripts.benchmarks.judging import Goal, Verdict, judge_goal, render_sides
from scripts.benchmarks.running import run_row
from scripts.benchmarks.scene import Place, Side


class Bench(Protocol):
    """One part of the page, measured by itself. What ``measure`` returns is JSON."""

    @property
    def name(self) -> str: ...
    @property
    def section(self) -> str: ...
    @property
    def reason(self) -> str:
        """Why there is no goal; empty where there is one."""

    def shrink(self, files: int) -> Bench: ...
    def divide(self, by: int) -> Bench: ...
    def measure(self, rounds: int, place: Place) -> dict[str, Any]: ...
    def make_title(self, data: Mapping[str, Any]) -> str: ...
    def judge(self, data: Mapping[str, Any]) -> list[Verdict]: ...
    def render(self, data: Mapping[str, Any]) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Programs side by side at one errand. The first is s3batch, the second its peer."""

    name: str
    section: str
    title: str
    """``{files}`` stands for their number."""
    files: int
    size: int
    sides: tuple[Side, ...]
    goals: tuple[Goal, ...] = ()
    reason: str = ""
    has_tls: bool = False
    delay_ms: int = 0
    """The answer to each request comes so much later."""
    is_alike: bool = False
    """All files have the same content, and the null server lists and gives an object for each of them."""
    has_tree: bool = True
    """The programs read a tree of files."""
    is_prepared: bool = False
    """Each program runs once before it is measured."""
    is_kept: bool = False
    """What a program has written, such as its journal, is there in the next run; else each run begins without."""
    workers: tuple[int, ...] = ()
    """Sizes of the Dask clusters."""

    def shrink(self, files: int) -> Row:
        """Return the row with so many files."""
        return replace(self, files=files)

    def divide(self, by: int) -> Row:
        """Return a part of the row: fewer files, or smaller ones where there are few."""
        return replace(self, files=self.files // by) if self.files >= by else replace(self, size=-(-self.size // by))

    def measure(self, rounds: int, place: Place) -> dict[str, Any]:
        """Return the runs of all programs."""
        return run_row(self, rounds, place)

    def make_title(self, data: Mapping[str, Any]) -> str:
        """Return the title with the number of files that were measured."""
        number = int(data.get("files", self.files))
        return self.title.format(files=f"{number:,}") + ("" if number == self.files else f" (planned: {self.files:,})")

    def judge(self, data: Mapping[str, Any]) -> list[Verdict]:
        """Return a verdict for each goal."""
        return [judge_goal(goal, data) for goal in self.goals]

    def render(self, data: Mapping[str, Any]) -> list[str]:
        """Return the table of the row."""
        return render_sides(data)
