"""The selection of files: which paths of the source belong to a job. Each step may overrule those before it.

    .s3batchignore   gitignore files in the tree: they leave files out
    exclude_from     files in gitignore syntax; ``!`` takes back what a step before has left out
    include, exclude as flags in their order, as aws has it; else all of include, then all of exclude

Patterns of a run of excludes are as in gitignore: the last one that matches counts, ``!`` takes a file back, and nothing
comes back from inside an excluded directory. An include takes back what steps before it have left out, there too.
If an include comes first, files that no include matches stay out. Paths are relative to the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.files import bounded
from s3batch.source.gitignore import Patterns, reaches_below, split_ignore_lines
from s3batch.source.ignore_files import IgnoreFiles, is_ignore_file

if TYPE_CHECKING:
    from s3batch.settings.table import Settings

_LARGEST = 16 << 20
"""Bytes of a file that ``exclude_from`` names."""


class FilterRun(NamedTuple):
    """Neighbouring patterns of one kind."""

    includes: bool
    patterns: Patterns


class Selection(NamedTuple):
    """Frozen and picklable. Without patterns it wants everything."""

    runs: tuple[FilterRun, ...] = ()
    only_included: bool = False
    """True if files that no include matches stay out."""
    ignored: IgnoreFiles | None = None
    read: tuple[str, ...] = ()
    """The patterns read from files that settings name."""

    @classmethod
    def from_settings(cls, settings: Settings, root: str = "") -> Selection:
        """Return the selection. Raises SettingsError for a malformed pattern or a file that cannot be read.

        ``root`` is the directory whose ignore files count; without it there are none.
        """
        lines = tuple(line for name in settings.exclude_from for line in read_pattern_file(settings, name))
        runs = (*_parse_lines(settings, lines), *_parse_flags(settings))
        first = next(iter(order_filters(settings)), "")
        only_included = first == "include" and any(run.includes and run.patterns.roots for run in runs)
        return cls(runs, only_included, IgnoreFiles(root) if root else None, lines)

    def wants(self, path: str) -> bool:
        """Return whether this file belongs to the job."""
        left_out = self.ignored is not None and self.ignored.hides(path)  # is_hidden, without a call for each file
        if not self.runs:
            return not left_out
        if left_out and is_ignore_file(path):
            return False
        included = not self.only_included
        for run in self.runs:
            verdict = run.patterns.verdict(path) if run.includes else run.patterns.excludes(path)
            if verdict is None:
                continue
            if run.includes:
                left_out, included = not verdict, verdict
            else:
                left_out = verdict
        return included and not left_out

    def wants_all_in(self, directory: str) -> bool:
        """Return true if every file right in this directory belongs to the job, but for an ignore file."""
        return not self.runs and (self.ignored is None or self.ignored.has_no_rule_in(directory))

    def enters(self, directory: str) -> bool:
        """Return whether anything below this directory can belong to the job."""
        path = directory + "/"
        may_have = not self.only_included and not self.is_hidden(path)
        for run in self.runs:
            if run.includes:
                may_have = may_have or reaches_below(run.patterns.roots, directory)
            elif run.patterns.excludes(path):
                may_have = False
            else:
                may_have = may_have or reaches_below(run.patterns.back, directory)
        return may_have

    def is_hidden(self, path: str) -> bool:
        """Return whether an ignore file leaves this path out. They may change before a resume, settings do not."""
        return self.ignored is not None and self.ignored.hides(path)


def order_filters(settings: Settings) -> tuple[str, ...]:
    """Return ``include`` or ``exclude`` for each pattern, in the order in which they count."""
    usual = ("include",) * len(settings.include) + ("exclude",) * len(settings.exclude)
    return settings.filter_order if sorted(settings.filter_order) == sorted(usual) else usual


def _parse_flags(settings: Settings) -> Iterator[FilterRun]:
    left = {"include": iter(settings.include), "exclude": iter(settings.exclude)}
    ordered = ((name, next(left[name])) for name in order_filters(settings))
    for name, run in groupby(ordered, key=lambda each: each[0]):
        try:
            patterns = Patterns.of((pattern for _, pattern in run), below=name == "include")
        except ValueError as error:
            raise settings.bad(name, str(error)) from None
        yield FilterRun(name == "include", patterns)


def _parse_lines(settings: Settings, lines: Sequence[str]) -> Iterator[FilterRun]:
    try:
        if lines:
            yield FilterRun(includes=False, patterns=Patterns.of_lines(lines))
    except ValueError as error:
        raise settings.bad("exclude_from", f"correct the file: {error}") from None


def read_pattern_file(settings: Settings, name: str) -> list[str]:
    """Return the patterns of a file that ``exclude_from`` names. Raises SettingsError if it cannot be read."""
    try:
        content = bounded.read_regular_file(settings.at_workspace(name), _LARGEST)
    except OSError as error:
        raise settings.bad("exclude_from", f"name a file of patterns: {error.strerror}") from None
    return split_ignore_lines(content.decode("utf-8", "surrogateescape"))
