"""The record of a walk: everything in the source that is not sent, and whether all of it was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from s3batch.base.named_tuple import NamedTuple

SHOWN = 20
"""Names of one kind that a warning tells."""


class WalkProblem(NamedTuple):
    """A path that should have been sent and cannot be: it makes the job fail."""

    path: str
    """Relative to the source; empty for the source itself."""
    error: str
    code: str
    """``Vanished``, ``BrokenLink``, ``Unreadable`` or ``FileTooLarge``."""
    directory: bool
    """True if an unknown number of files is behind it, instead of one."""


class CountedPaths:
    """The number of paths of one kind, and the first of them."""

    def __init__(self, count: int = 0, first: Iterable[str] = ()) -> None:
        self.count = count
        self.first = list(first)

    def add(self, name: str) -> None:
        """Count a path, and keep its name if it is one of the first; those are counted once.

        A resumed job looks at a path that it had planned, and its walk comes by later.
        """
        if name in self.first:
            return
        self.count += 1
        if self.count <= SHOWN:
            self.first.append(name)

    def __str__(self) -> str:
        return ", ".join(self.first) + ", ..." * (self.count > len(self.first))


class UnreadablePaths:
    """Paths that exist and could not be read: nothing at or below them counts as absent."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self.paths = set(paths)
        """Relative to the source; empty for the source itself."""

    def covers(self, path: str) -> bool:
        """Return whether ``path``, or a directory above it, is one of them."""
        if not self.paths:
            return False
        if path in self.paths or "" in self.paths:
            return True
        return any(path[:at] in self.paths for at, letter in enumerate(path) if letter == "/")


class WalkRecord:
    """The problems, skipped entries and kept paths of one walk, until they are taken."""

    def __init__(self) -> None:
        self.problems: list[WalkProblem] = []
        self.skipped: dict[str, CountedPaths] = {}
        """Entries that cannot be objects, or are not wanted as such, by kind: a warning each, no failure."""
        self.led_out = CountedPaths()
        """Links that lead out of the source and were followed, each with where it leads."""
        self.complete = False
        """True at the very end, and only if every directory could be read to its end: deletes need that."""
        self.troubled = 0
        """Problems in all."""
        self.notes = 0
        """Notes in all, of problems and of entries left out; a path that is looked at twice is noted twice."""
        self.kept = UnreadablePaths()
        self.hidden = 0
        """Files beyond a limit of size or age."""
        self.read_all = True
        """True as long as no directory failed."""

    def take_problems(self) -> list[WalkProblem]:
        """Return the problems since the last call."""
        taken, self.problems = self.problems, []
        return taken

    def take_kept(self) -> set[str]:
        """Return the kept paths since the last call."""
        taken, self.kept = self.kept.paths, UnreadablePaths()
        return taken

    def note_problem(self, problem: WalkProblem) -> None:
        """Note a problem."""
        self.problems.append(problem)
        self.troubled += 1
        self.notes += 1
        self.read_all = self.read_all and not problem.directory

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each kind of entry that was skipped, or followed out of the source."""
        for what, names in self.skipped.items():
            if names.count == 1:
                yield f"skipped {names}: it is {what}; a key of that name is kept"
            else:
                yield f"skipped {names.count:,} paths, each of them {what}; keys of these names are kept: {names}"
        if self.led_out.count:
            links = "symbolic link leads" if self.led_out.count == 1 else "symbolic links lead"
            yield (
                f"{self.led_out.count:,} {links} out of the source; their content was included: {self.led_out}; "
                "symlinks: inside excludes it"
            )

    def skip(self, path: str, what: str, shown: str = "") -> None:
        """Note an entry that is not sent: ``what`` it is, and the name to show for it."""
        self.keep(path)
        self.notes += 1
        self.skipped.setdefault(what, CountedPaths()).add(shown or path)

    def keep(self, path: str) -> None:
        """Keep the key of ``path``, and keys below it from when it was a directory."""
        self.kept.paths.add(path)
