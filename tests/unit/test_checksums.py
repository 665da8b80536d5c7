"""Each checksum is the one everybody else reckons, at once and piece by piece."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode

import awscrt.checksums
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3batch.s3 import checksums, native_crc64
from s3batch.s3.checksums import (
    FEW,
    NAMES,
    WHOLE_OBJECT,
    FirstCrc64,
    RunningChecksum,
    checksum_of,
    combine_crc64nvme,
    load_checksum,
)
from s3batch.s3.native_crc64 import find_native_crc64


def reflected(polynomial: int, width: int, body: bytes) -> bytes:
    """A CRC, bit by bit, by its definition."""
    ones = (1 << width) - 1
    register = ones
    for byte in body:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (polynomial if register & 1 else 0)
    return (register ^ ones).to_bytes(width // 8)


JUDGES = {
    "crc64nvme": lambda body: reflected(0x9A6C9329AC4BC9B5, 64, body),
    "crc32c": lambda body: reflected(0x82F63B78, 32, body),
    "crc32": lambda body: zlib.crc32(body).to_bytes(4),
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha1": lambda body: hashlib.sha1(body).digest(),
}
CHECK = b"123456789"
KNOWN = {"crc64nvme": "ae8b14860a799888", "crc32c": "e3069283", "crc32": "cbf43926"}
"""The check values of the catalogue of CRCs."""


def test_every_checksum_has_a_judge():
    assert set(JUDGES) == set(NAMES)
    assert set(WHOLE_OBJECT) <= set(NAMES)


@pytest.mark.parametrize("name", KNOWN)
def test_a_crc_has_its_published_check_value(name):
    assert b64decode(checksum_of(name, CHECK)).hex() == KNOWN[name]


@pytest.mark.parametrize("name", NAMES)
@given(body=st.binary(max_size=200), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_a_checksum_is_as_its_definition_says(name, body, kind):
    assert checksum_of(name, kind(body)) == b64encode(JUDGES[name](body)).decode()


@given(pieces=st.lists(st.binary(max_size=3000), max_size=5))
def test_the_checksum_of_content_follows_from_those_of_its_pieces(pieces):
    told = [(checksum_of("crc64nvme", piece), len(piece)) for piece in pieces]

    assert combine_crc64nvme(told) == checksum_of("crc64nvme", b"".join(pieces))


def test_checksums_of_large_pieces_are_combined_too():
    piece = b"piece" * 1_000_003

    told = [(checksum_of("crc64nvme", piece), len(piece))] * 3

    assert combine_crc64nvme(told) == checksum_of("crc64nvme", piece * 3)


@given(pieces=st.lists(st.integers(0, FEW), min_size=1, max_size=3))
@settings(max_examples=20)
def test_the_first_bytes_of_a_process_have_the_same_checksum_without_awscrt(pieces):
    first, crc, body = FirstCrc64(), 0, b""
    for size in pieces:
        piece = bytes(index * 7 & 0xFF for index in range(size))
        crc, body = first(piece, crc), body + piece

    assert crc == awscrt.checksums.crc64nvme(body)


@given(before=st.integers(0, 2**64 - 1), body=st.binary(max_size=5000))
def test_the_function_of_awscrts_library_is_that_of_awscrt(before, body):
    native = find_native_crc64(awscrt.__version__)

    assert native is not None, f"try awscrt {awscrt.__version__}, and add it to TRIED_RELEASES"
    assert native(memoryview(body), before) == awscrt.checksums.crc64nvme(body, before)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"release": "0.0.1"}, id="another release"),
        pytest.param({"library": "json"}, id="no library"),
        pytest.param({"library": "no_such_module"}, id="no module"),
        pytest.param({"name": "aws_no_such_function"}, id="another build"),
        pytest.param({"check": (b"123456789", 1)}, id="another function"),
    ],
)
def test_the_function_of_another_library_is_not_taken(other):
    assert find_native_crc64(**{"release": awscrt.__version__} | other) is None


def test_another_awscrt_is_imported_as_usual(monkeypatch):
    monkeypatch.setattr(native_crc64, "find_native_crc64", lambda release: None)
    monkeypatch.setitem(checksums._functions, "crc64nvme", FirstCrc64())

    load_checksum("crc64nvme")

    assert checksums._functions["crc64nvme"] is awscrt.checksums.crc64nvme


def test_the_checksum_of_much_content_does_not_initialize_awscrt():
    script = (
        "import sys; from s3batch.s3.checksums import load_checksum, checksum_of; load_checksum('crc64nvme')\n"
        "print(checksum_of('crc64nvme', b'123456789'), '_awscrt' in sys.modules)\n"
        "from awscrt.checksums import crc64nvme; print(crc64nvme(b'123456789') == 0xAE8B14860A799888)"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said == "rosUhgp5mIg= False\nTrue\n"


def test_awscrt_is_imported_for_much_content_only():
    script = (
        "import sys; from s3batch.s3.checksums import FEW, checksum_of\n"
        "for piece in (b'x' * FEW, b'x'): checksum_of('crc64nvme', piece); print('awscrt' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said == "False\nTrue\n"


@pytest.mark.parametrize("name", [*NAMES, "md5"])
@given(pieces=st.lists(st.binary(max_size=50), max_size=5))
def test_piece_by_piece_is_as_at_once(name, pieces):
    running, body = RunningChecksum(name), b"".join(pieces)
    for piece in pieces:
        running.update(piece)

    expected = hashlib.md5(body).digest() if name == "md5" else JUDGES[name](body)

    assert running.digest() == expected
    assert running.base64() == b64encode(expected).decode()
