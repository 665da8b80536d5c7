"""The place of a job's files: the meaning of the setting ``source`` on this disk.

    a path that exists      is what it says, whatever characters it holds
    else one with * ? [     a glob: ``*`` stays inside a segment, ``**`` crosses; only files match it,
                            and keys are relative to the part before the first segment with one of these
    else                    an error, and nothing is deleted

A path that the system does not let this user see is an error of its own: it is not missing.

Paths are relative to the workspace. A plugin looks for ``/abs`` below the workspace first, as drone-s3-sync does.
"""

from __future__ import annotations

import os
import stat

from s3batch.base.errors import JobFailedError, S3BatchError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.table import Settings
from s3batch.source.gitignore import Patterns
from s3batch.source.walk import WalkFilter

_WILD = frozenset("*?[")


class Source(NamedTuple):
    """A directory, a single file, or those files below a directory that a glob matches. Picklable."""

    root: str
    """Absolute: the directory that keys are relative to, or the one file."""
    pattern: str = ""
    """Glob relative to ``root``; empty: everything."""

    @property
    def is_file(self) -> bool:
        """True if it is one file, whose key may be the target itself."""
        return not os.path.isdir(self.root)

    @property
    def base(self) -> str:
        """The directory that every path is relative to."""
        return os.path.dirname(self.root) if self.is_file else self.root

    @property
    def name(self) -> str:
        """The one file's path, relative to :attr:`base`."""
        return os.path.basename(self.root)

    def select(self, selection: WalkFilter) -> WalkFilter:
        """Return ``selection``, narrowed to the matches of the glob."""
        return _Narrowed(selection, Patterns.of([f"/{self.pattern}"]), self.pattern) if self.pattern else selection


class _Narrowed(NamedTuple):
    """A selection of which only the files a glob matches are left."""

    selection: WalkFilter
    matches: Patterns
    pattern: str

    def wants(self, path: str) -> bool:
        return bool(self.matches.verdict(path)) and self.selection.wants(path)

    def wants_all_in(self, directory: str) -> bool:
        return False

    def enters(self, directory: str) -> bool:
        segments = self.pattern.split("/")
        deep_enough = "**" in segments or directory.count("/") + 1 < len(segments)
        return deep_enough and self.selection.enters(directory)

    def is_hidden(self, path: str) -> bool:
        return self.selection.is_hidden(path)


def resolve_source(settings: Settings) -> Source:
    """Return the source that ``settings.source`` means now.

    A missing source is a SettingsError; for a plugin a JobFailedError, since its exit code is 1 there.
    """
    why = ""
    for path in map(settings.at_workspace, _list_source_meanings(settings)):
        mode, problem = _look_at_path(path)
        why = why or problem
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            return Source(path)
        if mode:
            raise settings.bad("source", "give a directory, a file or a glob: this is a device, pipe or socket")
    for glob in _list_source_meanings(settings) if not _WILD.isdisjoint(settings.source) else ():
        fixed, pattern = _split_glob(glob)
        root = settings.at_workspace(fixed)
        mode, problem = _look_at_path(root)
        why = why or problem
        if stat.S_ISDIR(mode):
            return Source(root, pattern)
    raise _describe_unusable_source(settings, why)


def require_listable_source(source: Source, settings: Settings) -> None:
    """Raise the error of a directory that may not be listed: a walk of it would see nothing."""
    if source.is_file:
        return
    try:
        os.close(os.open(source.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise _describe_unusable_source(settings, error.strerror or str(error)) from error


def _look_at_path(path: str) -> tuple[int, str]:
    """Return the mode of what is there, else 0 and the problem, which is empty if nothing is there."""
    try:
        return os.stat(path).st_mode, ""
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no path holds a NUL
        return 0, ""
    except OSError as error:
        return 0, error.strerror or str(error)


def _list_source_meanings(settings: Settings) -> list[str]:
    """Return the possible meanings, the likeliest first."""
    below = [settings.source.lstrip("/")] if settings.plugin else []
    return list(dict.fromkeys([*below, settings.source]))


def _split_glob(glob: str) -> tuple[str, str]:
    """Return the fixed part, which may be empty, and the rest."""
    segments = glob.split("/")
    wild = next(n for n, segment in enumerate(segments) if not _WILD.isdisjoint(segment))
    fixed = "/".join(segments[:wild])
    return (fixed or "/" if glob.startswith("/") else fixed), "/".join(filter(None, segments[wild:]))


def _describe_unusable_source(settings: Settings, why: str) -> S3BatchError:
    """Return the error of a source that is missing, or that cannot be read for the reason ``why``."""
    problem = f"cannot be read: {why}" if why else "does not exist"
    message = f"source {settings.source!r} (from {settings.origin('source')}) {problem}"
    hint = f"give a path relative to {settings.at_workspace('.')}, or an absolute one"
    if why:
        hint = "give a source that this user may read"
    return JobFailedError(message, hint=hint) if settings.plugin else SettingsError(message, hint=hint)
