"""The file of a saved plan: private, without a secret, and complete only with its last line.

    {"s3batch": "plan", "version": 1, "made": ..., "source": ..., "target": ..., "endpoint": ..., "settings": {...}}
    [kind, key, reason, path, size, stamp, stage, ETag, LastModified, spec]                                a line each
    {"operations": N, "files": N, "bytes": N, "unchanged": N, "blake2b": "..."}      over all lines before, in hex

ETag and LastModified are those of the object under the key, as it was listed. The spec is the target of a redirect, or of a
transfer the object that it reads. A download's delete has the state of the local file in the place of the ETag. Stamps are
kind, size, mtime, ctime, device and inode. Texts are ASCII: a byte that is not UTF-8 is a lone surrogate.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import JobFailedError, JournalError, SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import PrivateFileError, open_private_file
from s3batch.journal.specs import decode_spec, encode_spec
from s3batch.model import (
    NO_STAMP,
    SIGNED_LIMIT,
    Kind,
    Operation,
    PlannedObject,
    Reason,
    RedirectSpec,
    SourceObject,
    Stamp,
)
from s3batch.worker.delete_check import modified_ns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import BinaryIO, Self

    from s3batch.model import ListedObject, OperationSpec

VERSION = 1
_KINDS = frozenset({Kind.UPLOAD, Kind.COPY, Kind.REDIRECT, Kind.DELETE, Kind.DOWNLOAD, Kind.TRANSFER})
_STAGES = range(4)
_LONGEST_LINE = 1 << 20
"""Characters of a line: a key and a path of 4,096 bytes each, six characters a byte, and the settings."""

_COUNTS = ("files", "bytes", "unchanged")
"""What the last line counts beside the operations."""


class PlanWriter:
    """Writes a plan under another name; :meth:`finish` completes it and gives it its own."""

    def __init__(self, path: str) -> None:
        """Create the file. Raises SettingsError if that is not possible."""
        self._path = path
        self._scratch = f"{path}.new-{os.getpid()}"
        self._digest = hashlib.blake2b(digest_size=32)
        self._count = 0
        self._finished = False
        if not self._is_replaceable():
            raise SettingsError(
                f"the plan {path} cannot be written: it is no regular file", hint="name another file with --plan"
            )
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._scratch)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = open(os.open(self._scratch, flags, 0o600), "wb")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise SettingsError(
                f"the plan {path} cannot be written: {error.strerror}", hint="name another file with --plan"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._file.close()
        if not self._finished:
            with suppress(OSError):
                os.unlink(self._scratch)

    def begin(self, header: dict[str, Any]) -> None:
        """Write the first line."""
        self._write({"s3batch": "plan", "version": VERSION, **header})

    def add(self, operation: Operation, listed: ListedObject | None) -> None:
        """Write one operation, and the object of its key as it was listed."""
        spec = encode_spec(operation.spec) if isinstance(operation.spec, RedirectSpec | SourceObject) else ""
        self._write(
            [
                operation.kind.value, operation.key, operation.reason.value, operation.path, operation.size,
                list(operation.stamp), operation.stage, operation.etag if listed is None else listed.etag,
                0 if listed is None else modified_ns(listed.modified), spec,
            ]
        )  # fmt: skip
        self._count += 1

    def finish(self, facts: dict[str, int]) -> None:
        """Write the last line, without which the plan is nothing, and give the file its name."""
        self._write({"operations": self._count, **facts, "blake2b": self._digest.hexdigest()})
        with self._telling():
            self._file.flush()
            os.fsync(self._file.fileno())
            if not self._is_replaceable():
                raise JobFailedError(f"the plan {self._path} cannot be written: it is no regular file any more")
            os.rename(self._scratch, self._path)
        self._finished = True

    def _is_replaceable(self) -> bool:
        """Return whether there is nothing at the path, or a regular file: a rename would replace a device, too."""
        try:
            return stat.S_ISREG(os.lstat(self._path).st_mode)
        except OSError:
            return True  # opening the file tells more

    def _write(self, value: Any) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        with self._telling():
            self._file.write(line)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JobFailedError(f"the plan {self._path} cannot be written: {error.strerror}") from error


class SavedPlan(NamedTuple):
    """A complete plan."""

    path: str
    header: dict[str, Any]
    facts: dict[str, Any]
    """The last line."""
    is_private: bool = False
    """True if the file has to be one that nobody else could have written."""

    @property
    def digest(self) -> str:
        """The digest of the whole plan, which names it."""
        return str(self.facts["blake2b"])

    def operations(self) -> Iterator[Operation]:
        """Yield the operations. Raises SettingsError if the file is another one by now."""
        with _open_plan(self.path, private=self.is_private) as file:
            file.readline()
            for _ in range(self.facts["operations"]):
                yield _parse_operation(file.readline(_LONGEST_LINE), self.path)


def read_plan(path: str, *, private: bool = False) -> SavedPlan:
    """Return a plan that is complete and unchanged. Raises SettingsError for any other file.

    With ``private`` it also has to be private, as a journal has to be. Raises JournalError for a plan that may be planted.
    """
    digest, count = hashlib.blake2b(digest_size=32), 0
    with _open_plan(path, private=private) as file:
        first = line = file.readline(_LONGEST_LINE)
        header = _parse_header(first, path)
        while True:
            digest.update(line)
            line = file.readline(_LONGEST_LINE)
            if not line.startswith(b"["):
                break
            _parse_operation(line, path)
            count += 1
        facts = _parse_map(line, path)
        rest = file.read(1)
    if (
        rest
        or not line.endswith(b"\n")
        or facts.get("blake2b") != digest.hexdigest()
        or facts.get("operations") != count
        or not all(_is_count(facts.get(name)) for name in _COUNTS)
    ):
        raise _damaged_plan(path, "its last line is missing or does not match")
    return SavedPlan(path, header, facts, private)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < SIGNED_LIMIT


def _open_plan(path: str, *, private: bool) -> BinaryIO:
    flags, is_file = os.O_RDONLY | os.O_NONBLOCK, os.path.isfile(path)  # a FIFO must not hang
    try:
        descriptor = open_private_file(path, flags) if private and is_file else os.open(path, flags)
        file = open(descriptor, "rb")  # noqa: SIM115 - the caller closes it
    except PrivateFileError as error:
        raise JournalError(
            f"the plan {error.message}",
            hint="make a new plan, or look at this one with s3batch plan and make a copy of it",
        ) from error
    except OSError as error:
        raise SettingsError(f"the plan {path} cannot be read: {error.strerror}", hint="name a plan file") from error
    if not is_file:
        file.close()
        raise SettingsError(f"the plan {path} is no file", hint="name a plan file")
    return file


def _parse_header(line: bytes, path: str) -> dict[str, Any]:
    header = _parse_map(line, path)
    if header.get("s3batch") != "plan":
        raise _damaged_plan(path, "it is no plan of s3batch")
    if header.get("version") != VERSION:
        raise SettingsError(
            f"the plan {path} is of version {header.get('version')}, this s3batch reads version {VERSION}",
            hint="make a new plan",
        )
    texts = all(isinstance(header.get(name), str) for name in ("made", "source", "target", "endpoint"))
    if not texts or not isinstance(header.get("settings"), dict):
        raise _damaged_plan(path, "its first line is not whole")
    return header


def _parse_map(line: bytes, path: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged_plan(path, "it ends too early" if not line.endswith(b"\n") else "a line is no JSON") from error
    if not isinstance(found, dict):
        raise _damaged_plan(path, "a line is of another kind")
    return found


def _parse_operation(line: bytes, path: str) -> Operation:
    try:
        kind, key, reason, name, size, stamp, stage, etag, seen_ns, told = json.loads(line)
        if not all(isinstance(text, str) for text in (key, name, etag, told)):
            raise TypeError(line)
        numbers = [*map(int, stamp), int(size), int(seen_ns)]
        if Kind(kind) not in _KINDS or stage not in _STAGES or len(stamp) != len(NO_STAMP):
            raise ValueError(line)
        if min(numbers[0], numbers[4], numbers[6]) < 0 or not all(
            -SIGNED_LIMIT <= each < SIGNED_LIMIT for each in numbers
        ):
            raise ValueError(line)  # times before 1970 are negative, and so are inodes from 2**63 on
        if kind == Kind.DELETE:
            seen = Stamp(mtime_ns=int(seen_ns))
            return Operation(Kind.DELETE, key, Reason(reason), name, int(size), seen, stage, etag)
        spec = _parse_spec(Kind(kind), int(seen_ns), told)
        return Operation(Kind(kind), key, Reason(reason), name, int(size), Stamp(*map(int, stamp)), stage, etag, spec)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged_plan(path, "a line is no operation") from error


def _parse_spec(kind: Kind, seen_ns: int, told: str) -> OperationSpec | None:
    """Return the spec of an operation. Raises TypeError for a transfer without a source."""
    if kind is Kind.DOWNLOAD:
        return None  # the ETag says it all
    if kind is Kind.REDIRECT:
        return RedirectSpec(told)
    if kind is not Kind.TRANSFER:
        return PlannedObject(seen_ns)
    spec = decode_spec(kind, told)
    if not isinstance(spec, SourceObject):
        raise TypeError(told)
    return spec._replace(proof="", target_ns=seen_ns)


def _damaged_plan(path: str, why: str) -> SettingsError:
    return SettingsError(
        f"the plan {path} is damaged: {why}; nothing was sent", hint="make a new plan with sync --plan"
    )
