"""Our own files: what is in their place and not ours is refused, and stays as it is."""

from __future__ import annotations

import ast
import os
import stat
import tempfile
from pathlib import Path

import pytest

import s3batch
from s3batch.base.errors import EXIT_JOURNAL, JournalError, JournalLockedError
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY, SIDE_FILES, PrivateFileError
from s3batch.journal import Journal

PACKAGE = Path(s3batch.__file__).parent
KINDS = ["a link", "a dangling link", "a hard link", "a pipe", "a directory", "writable by all", "writable by a group"]


def plant(path: Path, what: str, elsewhere: Path) -> None:
    """Put something into the place of one of our files."""
    elsewhere.write_bytes(b"precious")
    if what == "a link":
        path.symlink_to(elsewhere)
    elif what == "a dangling link":
        path.symlink_to(elsewhere.with_name("not there"))
    elif what == "a hard link":
        os.link(elsewhere, path)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a directory":
        path.mkdir()
    elif what == "somebody else's":
        path.touch(mode=0o600)
        os.chown(path, 4711, 4711)
    else:
        path.touch()
        path.chmod(0o602 if what == "writable by all" else 0o620)


def picture(path: Path) -> list[tuple[object, ...]]:
    """What is in a directory, with what it is and holds."""
    return sorted(
        (str(each), each.lstat().st_mode, each.lstat().st_ino, each.read_bytes() if each.is_file() else b"")
        for each in path.rglob("*")
    )


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("end", ["", *SIDE_FILES])
def test_a_journal_with_something_in_its_place_or_beside_it_is_refused(tmp_path, what, end):
    (tmp_path / "own").mkdir()
    journal = tmp_path / "own" / "x.db"
    if end:
        Journal.open(str(journal)).close()
    plant(Path(f"{journal}{end}"), what, tmp_path / "elsewhere")
    before = picture(tmp_path)

    with pytest.raises(PrivateFileError, match="so s3batch does not use it") as caught:
        _use(journal)

    assert picture(tmp_path) == before
    assert caught.value.exit_code == EXIT_JOURNAL
    assert f"{journal}{end}" in caught.value.message


@pytest.mark.parametrize("end", SIDE_FILES)
def test_a_link_beside_a_journal_that_is_not_there_yet_is_refused(tmp_path, end):
    plant(tmp_path / f"x.db{end}", "a link", tmp_path / "elsewhere")

    with pytest.raises(PrivateFileError):
        _use(tmp_path / "x.db")

    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def _use(path: Path) -> None:
    with Journal.open(str(path)) as journal:
        journal.lock()


@pytest.mark.parametrize("opening", [Journal.open, Journal.read_only])
def test_a_device_stays_a_device(tmp_path, opening):
    before = os.stat("/dev/null")

    with pytest.raises(JournalError, match="/dev/null is a character device") as caught:
        opening("/dev/null")

    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)
    assert caught.value.exit_code == EXIT_JOURNAL
    assert not [name for name in os.listdir("/dev") if name.startswith("null.")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused_and_one_of_the_workspaces_owner_is_not(tmp_path):
    (tmp_path / "own").mkdir()
    journal = tmp_path / "own" / "x.db"
    Journal.open(str(journal)).close()
    os.chown(journal, 4711, 4711)

    with pytest.raises(PrivateFileError, match="belongs to another user"):
        Journal.open(str(journal))

    os.chown(tmp_path / "own", 4711, 4711)
    Journal.open(str(journal)).close()


@pytest.mark.parametrize("what", ["a link", "a file", "writable by all"])
@pytest.mark.parametrize("name", [OWN_DIRECTORY, f"s3batch-{os.geteuid()}"])
def test_a_directory_of_ours_is_not_followed(tmp_path, what, name):
    (tmp_path / "elsewhere").mkdir()
    own = tmp_path / name
    if what == "a link":
        own.symlink_to(tmp_path / "elsewhere")
    elif what == "a file":
        own.write_text("")
    else:
        own.mkdir()
        own.chmod(0o777)

    for use in (
        lambda: Journal.open(str(own / "x.db")),
        lambda: private.open_private_file(str(own / "x"), os.O_RDWR | os.O_CREAT),
        lambda: private.remove_file(str(own / "x")),
        lambda: private.make_directory(str(own / "folder")),
        lambda: private.list_directory(str(own)),
    ):
        with pytest.raises(PrivateFileError):
            use()
    private.remove_tree(str(own / "folder"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_above_our_directories_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    Journal.open(str(tmp_path / "link" / OWN_DIRECTORY / "x.db")).close()

    assert (tmp_path / "real" / OWN_DIRECTORY / "x.db").is_file()
    assert stat.S_IMODE((tmp_path / "real" / OWN_DIRECTORY).stat().st_mode) == 0o700


def test_what_is_made_is_private_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        with Journal.open(str(tmp_path / "new" / "x.db")) as journal:
            journal.lock()
        with Journal.rehearse(str(tmp_path / "new" / "x.db")) as copy:
            modes = {stat.S_IMODE(os.stat(copy._store.path).st_mode)}
    finally:
        os.umask(old)

    assert modes | {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "new").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_that_is_replaced_while_sqlite_opens_it_is_seen(tmp_path, monkeypatch):
    import sqlite3

    path, other = tmp_path / "x.db", tmp_path / "other.db"
    for each in (path, other):
        Journal.open(str(each)).close()
    connect = sqlite3.connect

    def swapped(*arguments, **more):
        os.rename(path, tmp_path / "kept")
        path.symlink_to(other)
        connection = connect(*arguments, **more)
        path.unlink()
        os.rename(tmp_path / "kept", path)
        return connection

    monkeypatch.setattr(sqlite3, "connect", swapped)
    with pytest.raises(PrivateFileError, match="was replaced while it was opened"):
        Journal.read_only(str(path))


def test_two_names_of_a_dead_runs_scratch_file_do_not_matter(tmp_path):
    path = tmp_path / "x.db"
    (tmp_path / f"x.db.new-{os.getpid()}").symlink_to(tmp_path / "elsewhere")

    Journal.open(str(path)).close()

    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_is_held_is_not_damaged_by_looking(tmp_path):
    path = str(tmp_path / "x.db")
    with Journal.open(path) as holder, Journal.open(path) as other:
        holder.lock()
        with pytest.raises(JournalLockedError, match=f"pid {os.getpid()}"):
            other.lock()
        assert other.holder() is not None


def test_a_file_is_replaced_and_the_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "note").symlink_to(tmp_path / "elsewhere")

    private.write_private_note(str(tmp_path / "note"), "ours")

    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert private.read_private_file(str(tmp_path / "note")) == b"ours"
    assert len(os.listdir(tmp_path)) == 2


def test_a_temporary_directory_that_is_missing_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no"))

    for use in (private.temporary_state_path, private.make_temporary_directory):
        with pytest.raises(JournalError, match="no temporary directory can be written: No such file"):
            use()


# -- nobody else opens files without being listed here

OPENERS = {
    "open", "io.open", "os.open", "os.fdopen", "os.mkdir", "os.makedirs", "os.rename", "os.replace", "os.link",
    "os.symlink", "os.unlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime", "os.mkfifo",
    "shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.copytree", "tarfile.open",
    "sqlite3.connect",
}  # fmt: skip
"""Calls that open, make, move or remove a file by its name."""
METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"}
MODULES = {"tempfile", "fileinput", "shelve", "dbm"}
"""No other module may even import these."""
LISTED = {
    "archive/attributes.py": ("os.chmod", "os.chown", "os.utime"),  # the restored tree
    "archive/s3cache_tar.py": ("os.open", "open", "tarfile.open"),  # cached files, below an open directory
    "archive/dirfd.py": ("os.makedirs", "os.mkdir", "os.open"),  # the cached tree
    "archive/restore_apply.py": ("os.chmod", "os.link", "os.open", "os.symlink", "os.utime"),  # the restored tree
    "cache/hash_pool.py": ("open",),  # a pipe that is open already
    "archive/legacy_tar.py": ("os.link", "os.open", "os.symlink", "os.utime", "tarfile.open"),  # the same
    "archive/pack_chunk.py": ("os.open",),  # cached files
    "archive/portability.py": ("os.link", "os.open", "os.symlink", "os.unlink"),  # in an open directory of ours
    "archive/undo_log.py": (  # the restored tree; our own files only by descriptors of their directory
        "os.chmod", "os.chown", "os.mkdir", "os.rename", "os.rmdir", "os.symlink", "os.unlink", "os.utime",
        "shutil.copyfile",
    ),
    "files/beneath.py": ("os.mkdir", "os.open", "os.unlink"),  # the same and the restored tree
    "files/removal.py": ("os.open", "os.rename", "os.rmdir", "os.unlink"),  # what is to go, from its open parent on
    "files/tree.py": (  # the target of a download, below which no link is followed
        "os.makedirs", "os.mkdir", "os.open", "os.rename", "os.rmdir", "os.unlink", "os.utime",
    ),
    "archive/unpack_chunk.py": ("os.open", "os.symlink", "os.unlink", "os.utime"),  # the restored tree
    "reporting/ci_outputs.py": ("os.open",),  # files that the CI or output_file name
    "cli/main.py": ("os.open",),  # /dev/null
    "files/bounded.py": ("open", "os.open"),  # config files, env_file, what a CI or git wrote
    "source/locate.py": ("os.open",),  # the source, to see whether it may be read
    "source/reader.py": ("os.open",),  # the source
    "files/opener.py": ("open", "os.open"),  # the same
    "base/failpoints.py": ("os.open",),  # a file of the test suite
    "source/walk_ahead.py": ("open",),  # a pipe that is open already
    "executors/dask/target_check.py": ("os.fdopen",),  # what files/tree.py has opened
    "executors/local.py": ("mmap.mmap", "tempfile"),  # memory shared with a worker, in a file without a name
    "executors/worker_process.py": ("mmap.mmap",),  # the same
    "executors/fork.py": ("os.open",),  # /dev/null
    "journal/lock.py": ("os.open",),  # one of ours, only to see whether it is locked: nothing is read
    "s3/credentials.py": ("open",),  # the children of a thread, in /proc
    "journal/database.py": ("sqlite3.connect",),  # the one door to SQLite: checked before and after
    "reporting/console.py": ("open", "os.open", "tempfile"),  # /dev/null, standard streams; a file without a name
    "reporting/ci_files.py": ("open", "os.open"),  # files that the CI names
    "reporting/forms/html_page.py": ("open",),  # a file of this package
    "reporting/report_files.py": ("open", "os.makedirs", "os.open", "os.replace", "os.unlink"),  # what report names
    "commands/plans/plan_file.py": ("open", "os.open", "os.rename", "os.unlink"),  # the file that plan names
    "files/umask.py": ("open",),  # /proc/self/status
    "source/path_list.py": ("open", "tempfile"),  # the file that files_from names; a file without a name
    "reporting/json_stream.py": ("tempfile",),  # rows of a long document, in a file without a name
}  # fmt: skip
"""What other modules open, none of it ours."""


def _calls(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Attribute):
            function = node.func if isinstance(node, ast.Call) else node
            name = ast.unparse(function)
            found |= {name} & OPENERS
            if isinstance(function, ast.Attribute) and function.attr in METHODS:
                found.add(function.attr)
    return found


def _imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
            if node.module in {"os", "shutil", "io", "sqlite3"}:
                names |= {f"{node.module}.{each.name}" for each in node.names} & OPENERS
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_opens_files_but_those_listed(path):
    name = str(path.relative_to(PACKAGE))
    tree = ast.parse(path.read_text())
    if name == "files/private.py":
        return

    assert _calls(tree) <= set(LISTED.get(name, ())), f"{name}: open our own files by files.private; list others above"
    assert not _imports(tree) & (MODULES | OPENERS) - set(LISTED.get(name, ())), name
