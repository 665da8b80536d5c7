"""The key of SSE-C: read from a file, or given as text by a variable."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode

from s3batch.base.errors import SettingsError
from s3batch.files import bounded
from s3batch.settings.direction import NO_KEY
from s3batch.settings.parsing import GivenText
from s3batch.settings.schema import flag_of

_KEY_BYTES = 32
_LARGEST_KEY_FILE = 1 << 10
_HINT = "give 32 bytes, or their base64: openssl rand -base64 32"


def read_customer_key(name: str, given: GivenText) -> str:
    """Return the key of a setting in base64. The flag names a file; a variable holds the key itself or names a file.

    The word ``none`` for the source stays as it is. Raises SettingsError, which never shows a key.
    """
    flag = flag_of(name)
    if name == "source_sse_c_key" and given.text == NO_KEY:
        return NO_KEY
    if given.origin != flag and (key := _decode_key(os.fsencode(given.text))):
        return key
    try:
        content = bounded.read_regular_file(given.text, _LARGEST_KEY_FILE)
    except (OSError, ValueError) as error:
        what = "its file" if given.origin == flag else "it is no key, and as a file it"
        why = getattr(error, "strerror", None) or "it is no path"
        raise SettingsError(f"{name} (from {given.origin}): {what} cannot be read: {why}", hint=_HINT) from None
    key = _decode_key(content)
    if not key:
        raise SettingsError(f"{name} (from {given.origin}): its file holds no key of 32 bytes", hint=_HINT)
    return key


def _decode_key(content: bytes) -> str:
    """Return the base64 of a key of 32 bytes, or of its base64; empty for anything else."""
    if len(content) == _KEY_BYTES:
        return b64encode(content).decode()
    try:
        key = b64decode(content.strip(), validate=True)
    except ValueError:
        return ""
    return b64encode(key).decode() if len(key) == _KEY_BYTES else ""
