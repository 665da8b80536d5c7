"""The private files and directories of s3batch. No other module opens them; a test checks that.

    journal, its side files, lock      --journal, the state directory, or .s3batch in the workspace
    state, plans, notes, undo records  .s3batch in the workspace, or TMPDIR/s3batch-UID

Another user who can write to the workspace can put something in their place. So no link is followed in any private
component. An opened file must be regular, have one link, belong to this user, to root or to the owner of the directory
that holds it, and not be writable by others. Anything else stays as it is, and is a :class:`PrivateFileError`.

SQLite opens a journal by its name. It is checked before, and afterwards it is checked that SQLite has opened that
very file. It is not opened here: closing a second descriptor would drop SQLite's locks (POSIX advisory locks).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom

from s3batch.base.errors import JournalError
from s3batch.base.named_tuple import NamedTuple

OWN_DIRECTORY = ".s3batch"
"""The name of s3batch's directory in a workspace; never uploaded, cached, restored or deleted."""
SIDE_FILES = ("-wal", "-shm", "-journal", ".lock")
"""The ends of the names of the files beside a journal: SQLite's and the lock."""
BESIDE_JOURNAL = rf"|{'|'.join(map(re.escape, SIDE_FILES))}|\.(?:new|damaged)-.*"
"""The pattern of suffixes of the names beside a journal, including those of a new one and one set aside."""
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}  # fmt: skip
_HINT = "it was left as it is; move it away, or name another file with --journal"


class PrivateFileError(JournalError):
    """Something of another user or of another kind is in the place of a private file or directory."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} {what}, so s3batch does not use it", hint=_HINT)


class FileIdentity(NamedTuple):
    """The identity of the file behind a name."""

    device: int
    inode: int


class ListedFile(NamedTuple):
    """A file as its directory lists it."""

    name: str
    size: int
    touched_ns: int
    """When it was last written, or marked as used."""


class _Parent(NamedTuple):
    """The open directory of a private file."""

    descriptor: int
    name: str
    owners: frozenset[int]


# -- files


def open_private_file(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a private file and return its descriptor; with O_CREAT its directory is made too.

    Raises PrivateFileError if it is not as the module says, before anything in it changes, else any OSError.
    """
    truncate = flags & os.O_TRUNC
    with _open_parent(path, make=bool(flags & os.O_CREAT)) as parent:
        status = _stat_in_parent(parent)
        if status is not None:
            _check_file(status, path, parent.owners)
        try:
            file = os.open(parent.name, flags & ~os.O_TRUNC | _FILE, mode, dir_fd=parent.descriptor)
        except OSError as error:
            if error.errno in _LINK_ERRORS:
                raise PrivateFileError(path, "is a symbolic link") from error
            raise
        try:
            _check_file(os.fstat(file), path, parent.owners)
            if truncate:
                os.ftruncate(file, 0)
        except BaseException:
            os.close(file)
            raise
    return file


def read_private_file(path: str, longest: int = -1) -> bytes:
    """Return the content of a private file; of one longer than ``longest`` bytes that many and one more."""
    with open(open_private_file(path, os.O_RDONLY), "rb") as file:
        return file.read(longest + 1 if longest >= 0 else -1)


@contextmanager
def replace_file(path: str) -> Iterator[BufferedRandom]:
    """Write a private file under another name, and rename it at the end of the block."""
    scratch = f"{path}.new-{os.getpid()}"
    try:
        with create_file(scratch) as file:
            yield file
        rename_file(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError, PrivateFileError):
            remove_file(scratch)
        raise


def create_file(path: str) -> BufferedRandom:
    """Make a new private file to read and write. A file of the same name is removed, a link is not followed."""
    with contextlib.suppress(FileNotFoundError):
        remove_file(path)
    return open(open_private_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")


def write_private_note(path: str, text: str) -> None:
    """Write a short text into a private file."""
    with replace_file(path) as file:
        file.write(text.encode())


def file_exists(path: str) -> bool:
    """Return whether a private file exists. Raises PrivateFileError if something else is in its place."""
    return identify_file(path) is not None


def file_has_content(path: str) -> bool:
    """Return whether a private file exists and is not empty."""
    status = _stat_checked(path)
    return status is not None and status.st_size > 0


def identify_file(path: str) -> FileIdentity | None:
    """Check a private file without opening it; return its identity, or ``None`` if it does not exist."""
    status = _stat_checked(path)
    return None if status is None else FileIdentity(status.st_dev, status.st_ino)


def check_journal(path: str) -> FileIdentity | None:
    """Check a journal and all files beside it; return its identity, or ``None`` if it does not exist."""
    for end in SIDE_FILES:
        identify_file(path + end)
    return identify_file(path)


def remove_file(path: str) -> None:
    """Remove the name of a private file; a link is removed, not followed."""
    with _open_parent(path) as parent:
        os.unlink(parent.name, dir_fd=parent.descriptor)


def rename_file(path: str, new: str) -> None:
    """Rename a private file within its directory; a file of the new name is replaced."""
    with _open_parent(path) as parent:
        descriptor = parent.descriptor
        os.rename(parent.name, os.path.basename(new), src_dir_fd=descriptor, dst_dir_fd=descriptor)


@contextmanager
def locked_directory(path: str) -> Iterator[None]:
    """Lock the directory of this file against other s3batch processes that create names, with a kernel lock.

    Where a file system has no locks for directories, nothing is locked.
    """
    with _open_parent(path, flags=os.O_RDONLY) as parent:
        with contextlib.suppress(OSError):
            fcntl.flock(parent.descriptor, fcntl.LOCK_EX)
        yield


def set_file_times(path: str, mtime_ns: int) -> None:
    """Set the modification time of a private file."""
    file = open_private_file(path, os.O_RDONLY)
    try:
        os.utime(file, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(file)


def require_opened(path: str, expected: FileIdentity) -> None:
    """Raise PrivateFileError unless this process has that very file open: its name may stand for another by now."""
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        opened = {identify_file(path)}  # the directory does not exist: take the next one
    else:
        opened = {_read_identity(descriptor) for descriptor in descriptors}
    if expected not in opened:
        raise PrivateFileError(path, "was replaced while it was opened")


def _read_identity(descriptor: int) -> FileIdentity | None:
    try:
        status = os.fstat(descriptor)
    except OSError:  # the one that listed them
        return None
    return FileIdentity(status.st_dev, status.st_ino)


# -- directories


def make_directory(path: str) -> None:
    """Make a private directory if it is missing, and check it. Raises PrivateFileError or OSError."""
    os.close(open_directory(path, make=True))


def require_directory(path: str) -> None:
    """Make and check the directory of journals without a name. Raises JournalError."""
    try:
        make_directory(path)
    except OSError as error:
        raise JournalError(
            f"cannot make the directory {path} for journals: {error.strerror}", hint="name a journal with --journal"
        ) from error


def open_directory(path: str, *, make: bool = False) -> int:
    """Open a private directory without following a link, and return its descriptor."""
    with _open_parent(path, make=make) as parent:
        return _enter_directory(parent.descriptor, parent.name, path, parent.owners, make=make)


def list_directory(path: str) -> list[str]:
    """Return the sorted names in a private directory; none if it does not exist."""
    try:
        with _open_parent(path) as parent:
            descriptor = _enter_directory(
                parent.descriptor, parent.name, path, parent.owners, make=False, flags=os.O_RDONLY
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def list_files(path: str) -> list[ListedFile]:
    """Return the regular files in a private directory, with size and time. Links are not followed."""
    with _open_parent(path) as parent:
        descriptor = _enter_directory(
            parent.descriptor, parent.name, path, parent.owners, make=False, flags=os.O_RDONLY
        )
    found = []
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append(ListedFile(entry.name, status.st_size, status.st_mtime_ns))
    finally:
        os.close(descriptor)
    return found


def check_entries(path: str) -> None:
    """Raise PrivateFileError if an entry of a private directory is not private. Directories in it are not entered."""
    for name in list_directory(path):
        entry = os.path.join(path, name)
        with _open_parent(entry) as parent:
            status = _stat_in_parent(parent)
            if status is not None and stat.S_ISDIR(status.st_mode):
                _check_directory(status, entry, parent.owners)
            elif status is not None:
                _check_file(status, entry, parent.owners)


def is_directory(path: str) -> bool:
    """Return whether a private directory exists. Raises PrivateFileError if something else is in its place."""
    try:
        os.close(open_directory(path))
    except FileNotFoundError:
        return False
    return True


def is_directory_writable(path: str) -> bool:
    """Return whether files can be made in this directory, or the directory itself where it is missing."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)


def remove_tree(path: str) -> None:
    """Remove a private directory with all it holds; entries that cannot be removed stay."""
    from s3batch.files.removal import remove_directory  # noqa: PLC0415 - this module is loaded by every command

    with contextlib.suppress(OSError, PrivateFileError), _open_parent(path) as parent:
        remove_directory(parent.name, parent.descriptor)


def temporary_state_path() -> str:
    """Return the path of TMPDIR/s3batch-UID, for a user who can write nowhere else; it may not be there yet."""
    return os.path.join(_find_temporary_parent(), f"s3batch-{os.geteuid()}")


def make_temporary_directory() -> str:
    """Make a new directory that only this process knows; :func:`remove_tree` removes it."""
    import tempfile  # noqa: PLC0415 - as above

    try:
        return tempfile.mkdtemp(prefix="s3batch-", dir=_find_temporary_parent())
    except OSError as error:
        raise _describe_missing_temporary(error) from error


@contextmanager
def make_scratch_directory() -> Iterator[str]:
    """Yield a new directory that only this process knows; it is gone at the end of the block."""
    path = make_temporary_directory()
    try:
        yield path
    finally:
        remove_tree(path)


def _find_temporary_parent() -> str:
    import tempfile  # noqa: PLC0415 - as above

    try:
        return os.path.realpath(tempfile.gettempdir(), strict=True)
    except OSError as error:
        raise _describe_missing_temporary(error) from error


def _describe_missing_temporary(error: OSError) -> JournalError:
    return JournalError(
        f"no temporary directory can be written: {error.strerror}",
        hint="set TMPDIR to one that can, or name the journal with --journal",
    )


# -- checks


@contextmanager
def _open_parent(path: str, *, make: bool = False, flags: int = _PASSAGE) -> Iterator[_Parent]:
    """Yield the directory of ``path``, entered component by component from the first private one."""
    directory, name = os.path.split(os.path.abspath(path))
    base, own = _split_private_path(directory)
    if make:
        os.makedirs(base, mode=0o700, exist_ok=True)
    descriptor = os.open(base, (flags if not own else _PASSAGE) | os.O_DIRECTORY | os.O_CLOEXEC)
    owners = frozenset({os.geteuid(), 0, os.fstat(descriptor).st_uid})
    try:
        for component in own:
            base = os.path.join(base, component)
            inner = _enter_directory(descriptor, component, base, owners, make=make, flags=flags)
            os.close(descriptor)
            descriptor = inner
        yield _Parent(descriptor, name, owners)
    finally:
        os.close(descriptor)


def _split_private_path(directory: str) -> tuple[str, list[str]]:
    """Return the part above the private directories, whose links are followed, and the private components."""
    components = directory.split("/")
    first = next((at for at, name in enumerate(components) if _is_private_name(name)), len(components))
    return "/".join(components[:first]) or "/", components[first:]


def _is_private_name(name: str) -> bool:
    return name in {OWN_DIRECTORY, f"s3batch-{os.geteuid()}"}


def _enter_directory(
    parent: int, name: str, path: str, owners: frozenset[int], *, make: bool, flags: int = _PASSAGE
) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    try:
        descriptor = os.open(name, flags | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if error.errno in _LINK_ERRORS:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            raise PrivateFileError(path, f"is {_name_file_kind(status)}, not a directory") from error
        raise
    try:
        _check_directory(os.fstat(descriptor), path, owners)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_directory(status: os.stat_result, path: str, owners: frozenset[int]) -> None:
    if os.path.basename(path) == f"s3batch-{os.geteuid()}":
        owners = frozenset({os.geteuid()})  # the directory above is shared, such as /tmp
    _check_owner(status, path, owners)


def _check_file(status: os.stat_result, path: str, owners: frozenset[int]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PrivateFileError(path, f"is {_name_file_kind(status)}, not a regular file")
    if status.st_nlink != 1:
        raise PrivateFileError(path, f"has {status.st_nlink} hard links")
    _check_owner(status, path, owners)


def _check_owner(status: os.stat_result, path: str, owners: frozenset[int]) -> None:
    if status.st_uid not in owners:
        raise PrivateFileError(path, f"belongs to another user (uid {status.st_uid})")
    if status.st_mode & _OTHERS_WRITE:
        raise PrivateFileError(path, f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")


def _name_file_kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a regular file")


def _stat_in_parent(parent: _Parent) -> os.stat_result | None:
    try:
        return os.stat(parent.name, dir_fd=parent.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stat_checked(path: str) -> os.stat_result | None:
    try:
        with _open_parent(path) as parent:
            status = _stat_in_parent(parent)
            if status is not None:
                _check_file(status, path, parent.owners)
            return status
    except FileNotFoundError:
        return None
