"""The umask is read without a moment in which it is another."""

import os

from s3batch.files.umask import read_umask


def test_the_umask_is_read_and_stays(tmp_path):
    before = os.umask(0o027)
    try:
        assert [read_umask(), read_umask(str(tmp_path / "none"))] == [0o027, 0o027]
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
