import os
import shutil

import pytest

from s3batch.archive.mounts import find_replaced
from s3batch.archive.scan import scan_tree


def replace(path):
    path.rename(path.with_name("moved"))
    path.mkdir()


@pytest.fixture
def here(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_bytes(b"f")
    (tmp_path / "file").write_bytes(b"x")
    os.utime(tmp_path / "d", ns=(1, 1))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda here: None, [], id="nothing"),
        pytest.param(lambda here: (here / "d" / "new").write_bytes(b""), [], id="an entry more"),
        pytest.param(lambda here: shutil.rmtree(here / "d" / "e"), [], id="a directory inside is gone"),
        pytest.param(lambda here: (here / "file").unlink(), [], id="a listed file is gone"),
        pytest.param(lambda here: shutil.rmtree(here / "d"), ["d"], id="the listed directory is gone"),
        pytest.param(lambda here: replace(here / "d"), ["d"], id="another directory is there"),
    ],
)
def test_a_listed_directory_that_is_not_the_one_that_was_walked_is_found(here, change, expected):
    found = scan_tree(str(here), ("d", "file"))
    change(here)

    assert find_replaced(found, str(here)) == expected


def test_a_mount_point_inside_a_listed_directory_is_found(here):
    found = scan_tree(str(here), ("d", "file"))
    row = found.tree.names.index("e")
    for below in range(row, len(found.tree)):  # as if d/e were a mount that is gone by now
        found.devices[below] += found.tree.names[below] in ("e", "f")

    assert find_replaced(found, str(here)) == ["d/e"]
