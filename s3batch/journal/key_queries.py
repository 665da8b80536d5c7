"""Queries of the table ``object`` for many keys, or for all keys below a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.journal.database import make_all_bindable, make_bindable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEYS_AT_ONCE = 500
"""Keys of one query: its text is constant, so SQLite prepares it once."""
KEYS = ", ".join(["CAST(? AS TEXT)"] * _KEYS_AT_ONCE)
"""The keys of a query, as :func:`batch_keys` yields them."""
BELOW = "key >= CAST(? AS TEXT) AND key < CAST(? AS TEXT)"
"""The keys below a prefix, between the two that :func:`compute_key_range` returns."""
PAGE = 1000
"""Rows that are read at once."""
_BEYOND_ALL = b"\xff" * 1025
"""Sorts after every key: S3's keys have at most 1,024 bytes."""


def batch_keys(keys: Sequence[str]) -> Iterator[list[str | bytes]]:
    """Yield the keys in lists of the size of a query; the last list is filled up with its last key."""
    plain = make_all_bindable(keys)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        batch: list[str | bytes] = list(keys[start : start + _KEYS_AT_ONCE])
        batch += batch[-1:] * (_KEYS_AT_ONCE - len(batch))
        yield batch if plain else [make_bindable(key) if isinstance(key, str) else key for key in batch]


def compute_key_range(prefix: str) -> tuple[str | bytes, bytes]:
    """Return the lowest key that starts with ``prefix``, and the lowest beyond them all."""
    stem = prefix.encode("utf-8", "surrogateescape").rstrip(b"\xff")
    beyond = stem[:-1] + bytes([stem[-1] + 1]) if stem else _BEYOND_ALL
    return make_bindable(prefix), beyond
