import os
import stat

import pytest

from s3batch.archive.exclusions import Exclusions
from s3batch.archive.scan import scan_tree
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK
from s3batch.model import clamp_nanoseconds
from tests.archive.cycle import fill

FAR = 12_000_000_000_000_000_000
"""Nanoseconds: a time after 2262."""


@pytest.fixture
def here(tmp_path):
    fill(tmp_path, {f"d/{n % 7}/{n:04}": b"x" * (n % 50) for n in range(1500)})
    for number in range(0, 7, 3):
        place = tmp_path / "d" / str(number)
        os.symlink("elsewhere", place / "0500-link")
        os.link(place / f"{number:04}", place / "0700-again")
        os.mkfifo(place / "0800-pipe")
        (place / "0900-below" / "deep").mkdir(parents=True)
        with open(place / "1000-holes", "wb") as file:
            file.truncate(2 << 20)
        (place / "1100-setuid").write_bytes(b"s")
        (place / "1100-setuid").chmod(0o4755)
        (place / "1200-odd").write_bytes(b"o")
        os.utime(place / "1200-odd", ns=(FAR, FAR))
    return tmp_path


@pytest.mark.parametrize("exclude", [(), ("no-such-name",)], ids=["many at once", "one by one"])
def test_each_column_of_a_walk_tells_what_the_file_system_does(here, exclude):
    found = scan_tree(str(here), ("d",), exclude=Exclusions(exclude), owners=True)
    tree = found.tree
    kinds = {stat.S_IFREG: FILE, stat.S_IFDIR: DIR, stat.S_IFLNK: SYMLINK}

    for row, path in enumerate(tree.paths()):
        status = os.lstat(here / path)
        kind = tree.kinds[row]
        assert (kind if kind != HARDLINK else FILE) == kinds[stat.S_IFMT(status.st_mode)], path
        assert tree.sizes[row] == (status.st_size if kind == FILE else 0), path
        assert (tree.modes[row], tree.mtimes[row]) == (status.st_mode & 0o777, clamp_nanoseconds(status.st_mtime_ns))
        assert (found.ctimes[row], found.inodes[row]) == (status.st_ctime_ns, status.st_ino), path
        assert found.devices[row] == status.st_dev
        assert tree.owner(row) == (status.st_uid, status.st_gid)
    assert len(tree) == len(list(tree.paths())) == len(tree.kinds) == len(found.devices)
    assert [len(rows) for rows in (tree.targets, tree.links, found.sparse, found.special)] == [3, 3, 3, 3]
    assert (found.setuid, found.odd_times) == (3, 3)
