"""What vouches for a manifest: zstd's checksum of all it says."""

import zstandard

from s3batch.archive.manifest_codec import decode_manifest
from s3batch.base.errors import ArchiveError
from tests.archive import cycle


def test_a_manifest_with_any_bit_turned_is_refused_or_read_as_it_was(tmp_path):
    cycle.fill(tmp_path / "d", {f"a{number % 3}/f{number}": b"x%d" % number for number in range(30)})
    body = cycle.rebuild(tmp_path, ["d"], cycle.Store()).stored
    raw = zstandard.decompress(body)
    refused = 0

    for bit in range(len(body) * 8):
        turned = bytearray(body)
        turned[bit // 8] ^= 1 << bit % 8
        try:
            decode_manifest(bytes(turned))
        except ArchiveError:
            refused += 1
        else:
            assert zstandard.decompress(turned) == raw

    assert refused > len(body) * 7
