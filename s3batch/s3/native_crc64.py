"""The CRC64NVME of awscrt's library, without its initialization: that collects entropy for TLS, which takes 28 ms.

The function needs none of it. It is a part of the library that awscrt itself calls, so it is only taken from releases in
which that was tried; with any other one the caller imports awscrt as usual. A call costs 0.1 us less, too.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TRIED_RELEASES = frozenset({"0.38.1"})
"""Releases of awscrt. Before one is added, tests/unit/test_checksums.py has to pass with it."""
_LIBRARY, _NAME = "_awscrt", "aws_py_checksums_crc64nvme"
_METH_VARARGS = 1
_CHECK = (b"123456789", 0xAE8B14860A799888)
"""Content and its checksum, as the catalogue of CRCs has them."""


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_kept: list[_MethodDef] = []
"""A function refers to its definition as long as it lives."""


def find_native_crc64(
    release: str, library: str = _LIBRARY, name: str = _NAME, check: tuple[bytes, int] = _CHECK
) -> Callable[[Any, int], int] | None:
    """Return the function of the installed awscrt, which is of this release; ``None`` where it cannot be had so."""
    found = find_spec(library) if release in TRIED_RELEASES else None
    if found is None or found.origin is None:
        return None
    try:
        address = ctypes.cast(getattr(ctypes.PyDLL(found.origin), name), ctypes.c_void_p)
        make = ctypes.pythonapi.PyCFunction_NewEx
    except (OSError, AttributeError):  # another build of the library, or another Python
        return None
    definition = _MethodDef(b"crc64nvme", address, _METH_VARARGS, None)
    _kept.append(definition)
    make.restype, make.argtypes = ctypes.py_object, (ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p)
    function: Callable[[Any, int], int] = make(ctypes.byref(definition), None, None)
    content, checksum = check
    return function if function(content, 0) == checksum else None
