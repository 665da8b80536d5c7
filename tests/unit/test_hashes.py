"""Our hash functions beside those of ``hashlib``, and when OpenSSL is loaded."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from s3batch.base import hashes

SCRIPT = """
import sys
from s3batch.base import hashes
before = "hashlib" in sys.modules
digests = [hashes.{name}({data}).hexdigest() for _ in range({times})]
print(before, "hashlib" in sys.modules, len(set(digests)), digests[-1])
"""


def told(name: str, data: str, times: int) -> list[str]:
    script = SCRIPT.format(name=name, data=data, times=times)
    return subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True).stdout.split()


@pytest.mark.parametrize("name", ["md5", "sha256", "blake2b"])
def test_a_short_hash_is_that_of_hashlib_without_loading_openssl(name: str) -> None:
    digest = getattr(hashlib, name)(b"text").hexdigest()

    assert told(name, "b'text'", 1) == ["False", "False", "1", digest]


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_openssl_hashes_after_the_first_bytes(name: str) -> None:
    digest = getattr(hashlib, name)(bytes(1024)).hexdigest()
    few = hashes.FEW // 1024

    assert told(name, "bytes(1024)", few) == ["False", "False", "1", digest]
    assert told(name, "bytes(1024)", few + 1) == ["False", "True", "1", digest]


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_openssl_hashes_a_stream(name: str) -> None:
    assert told(name, "", 1)[:2] == ["False", "True"]


@pytest.mark.parametrize("length", [0, 1, 60, 64, 65, 200])
def test_a_key_of_any_length_signs_as_hmac_does(length: int) -> None:
    import hmac

    from s3batch.s3.sigv4 import _begin_hmac

    inner, outer = _begin_hmac(b"k" * length)
    inner.update(b"text")
    outer.update(inner.digest())

    assert outer.digest() == hmac.digest(b"k" * length, b"text", "sha256")
