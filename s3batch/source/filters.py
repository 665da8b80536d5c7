"""The selection of files: ``include`` and ``exclude``, in gitignore syntax.

    exclude  exactly gitignore: the last matching pattern wins, ``!`` takes a file back, and nothing
             comes back from inside an excluded directory, which is why such a directory is not entered
    include  if given, only its matches are wanted (the file itself, or a directory above it)

A path is wanted when ``include`` lets it in and ``exclude`` does not throw it out. Paths are relative to the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from s3batch.settings.table import Settings
from s3batch.source.gitignore import Patterns


@dataclass(frozen=True, slots=True)
class Selection:
    """Frozen and picklable. Without patterns it wants everything."""

    include: Patterns = field(default_factory=Patterns)
    exclude: Patterns = field(default_factory=Patterns)

    @classmethod
    def from_settings(cls, settings: Settings) -> Selection:
        """Return the selection. Raises SettingsError for a malformed pattern."""
        return cls(
            include=_parse_filter_patterns(settings, "include", below=True),
            exclude=_parse_filter_patterns(settings, "exclude"),
        )

    def wants(self, path: str) -> bool:
        """Return whether this file belongs to the job."""
        return (not self.include.groups or self._is_included(path)) and (
            not self.exclude.groups or not self._is_excluded(path)
        )

    def enters(self, directory: str) -> bool:
        """Return whether anything below this directory can belong to the job."""
        return self._may_include(directory) and (not self.exclude.groups or not self._is_excluded(directory + "/"))

    def _is_included(self, path: str) -> bool:
        says = self.include.verdict(path)
        return not self.include.roots if says is None else says

    def _may_include(self, directory: str) -> bool:
        if not self.include.roots:
            return True
        segments = tuple(directory.split("/"))
        return any(root is None or all(map(str.__eq__, root, segments)) for root in self.include.roots)

    def _is_excluded(self, path: str) -> bool:
        end = path.find("/") + 1
        while 0 < end < len(path):
            if self.exclude.verdict(path[:end]):
                return True
            end = path.find("/", end) + 1
        return bool(self.exclude.verdict(path))


def _parse_filter_patterns(settings: Settings, name: str, *, below: bool = False) -> Patterns:
    try:
        return Patterns.of(getattr(settings, name), below=below)
    except ValueError as error:
        raise settings.bad(name, str(error)) from None
