"""The only door to msgspec: typed values to MessagePack and back, with one error for malformed data."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from s3batch.base.errors import ArchiveError

Value = TypeVar("Value")


class Record(msgspec.Struct):
    """A stored value: a map from field names. Fields a later version added are passed over."""


def encode_message(value: object) -> bytes:
    """Return a value as MessagePack."""
    return msgspec.msgpack.encode(value)


def decode_message(data: bytes | memoryview, kind: type[Value], *, what: str) -> Value:
    """Return a ``kind`` from MessagePack; ``what`` names it in the error."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise ArchiveError(f"{what} is damaged: {error}") from error
