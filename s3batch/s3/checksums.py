"""The checksum each PUT and part carries, which the store verifies; the only door to awscrt.

CRC64NVME is S3's own default and the cheapest here (14 GB/s a core); AWS keeps it as a checksum of the
whole object also for multipart uploads, so that a later run can compare without reading anything back.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from binascii import b2a_base64
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable

    from s3batch.s3.requests import Body

NAMES = ("crc64nvme", "crc32", "crc32c", "sha256", "sha1")
WHOLE_OBJECT = ("crc64nvme", "crc32", "crc32c")
"""The checksums of parts that S3 can combine into one of the whole object."""


FEW = 32 * 1024
"""Bytes whose CRC64NVME Python computes before awscrt's library is loaded: 5 ms at most, where that takes 3 to 45."""
_POLYNOMIAL = 0x9A6C9329AC4BC9B5
"""CRC64NVME's, reflected: NVM Express NVM Command Set Specification 1.0, section 5.2.1.3.4."""
_ONES = 2**64 - 1  # CRC-64/NVME begins with ones and inverts the result; the polynomial is reflected


def load_checksum(name: str) -> None:
    """Import the code of that checksum before processes are forked that would each import it."""
    if name == "crc64nvme":
        _load_crc64()
    elif name == "crc32c":
        _load_crc32c()


def checksum_of(name: str, body: Body) -> str:
    """Return the checksum of ``body`` in base64, the form of S3's headers."""
    if name in ("sha256", "sha1"):
        return b64encode(_make_hash(name, body).digest()).decode()
    return b2a_base64(_functions[name](body, 0).to_bytes(_WIDTHS[name], "big"), newline=False).decode()


def _make_hash(name: str, body: Body = b"") -> hashlib._Hash:
    import hashlib  # noqa: PLC0415 - a job with the default checksum need not load it

    return hashlib.new(name, body)


def _load_crc64() -> None:
    import awscrt  # noqa: PLC0415 - a run of little content does not pay for it

    from s3batch.s3.native_crc64 import find_native_crc64  # noqa: PLC0415 - as above

    function = find_native_crc64(awscrt.__version__)
    if function is None:
        from awscrt import checksums  # noqa: PLC0415 - 28 to 45 ms

        function = checksums.crc64nvme
    _functions["crc64nvme"] = function


def _load_crc32c() -> None:
    from awscrt import checksums  # noqa: PLC0415 - as above

    _functions["crc32c"] = checksums.crc32c


def _first_crc32c(piece: Body, before: int) -> int:
    _load_crc32c()
    return _functions["crc32c"](piece, before)


class FirstCrc64:
    """CRC64NVME of the first bytes of a process, without awscrt."""

    def __init__(self) -> None:
        self._left = FEW

    def __call__(self, piece: Body, before: int) -> int:
        """Return the checksum of content with the checksum ``before``, followed by ``piece``."""
        self._left -= memoryview(piece).nbytes
        if self._left < 0:
            _load_crc64()
            return _functions["crc64nvme"](piece, before)
        table, crc = _make_crc_table(), before ^ _ONES
        for byte in memoryview(piece).cast("B"):
            crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        return crc ^ _ONES


@cache
def _make_crc_table() -> tuple[int, ...]:
    """Return the checksum's remainder for each byte."""
    remainders = list(range(256))
    for _ in range(8):
        remainders = [each >> 1 ^ (_POLYNOMIAL if each & 1 else 0) for each in remainders]
    return tuple(remainders)


def combine_crc64nvme(pieces: Iterable[tuple[str, int]]) -> str:
    """Return the CRC64NVME of content in base64. Each of its pieces, in order, is given as its own one, and its bytes.

    To append n bytes to a polynomial is to multiply it by x^(8n). Releases of awscrt before 2026 do not combine.
    """
    whole = 0
    for checksum, size in pieces:
        whole = _multiply(_power_of_x(8 * size), whole) ^ int.from_bytes(b64decode(checksum), "big")
    return b64encode(whole.to_bytes(8, "big")).decode()


_X_TO_0, _X_TO_1 = 1 << 63, 1 << 62  # reflected: the lowest power of x is the highest bit


def _multiply(first: int, second: int) -> int:
    """Return the product of two polynomials modulo that of CRC64NVME."""
    product, power = 0, _X_TO_0
    while power:
        if first & power:
            product ^= second
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
        power >>= 1
    return product


@cache
def _power_of_x(exponent: int) -> int:
    """Return x to that power, modulo the polynomial."""
    if exponent < 2:
        return _X_TO_1 if exponent else _X_TO_0
    half = _power_of_x(exponent // 2)
    square = _multiply(half, half)
    return _multiply(square, _X_TO_1) if exponent % 2 else square


_functions: dict[str, Callable[[Body, int], int]] = {
    "crc64nvme": FirstCrc64(), "crc32": zlib.crc32, "crc32c": _first_crc32c,
}  # fmt: skip
_WIDTHS = {"crc64nvme": 8, "crc32": 4, "crc32c": 4}
"""Bytes of each checksum."""


class RunningChecksum:
    """A checksum fed piece by piece."""

    def __init__(self, name: str) -> None:
        self._hash = _make_hash(name) if name in ("sha256", "sha1", "md5") else None
        self._name = name
        self._crc = 0

    def update(self, piece: Body) -> None:
        """Take the next piece."""
        if self._hash is not None:
            self._hash.update(piece)
        else:
            self._crc = _functions[self._name](piece, self._crc)

    def base64(self) -> str:
        """Return the checksum so far in base64, the form of S3's headers."""
        return b64encode(self.digest()).decode()

    def digest(self) -> bytes:
        """Return the checksum so far, in bytes."""
        if self._hash is not None:
            return self._hash.digest()
        return self._crc.to_bytes(_WIDTHS[self._name], "big")
