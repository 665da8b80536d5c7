"""The comparison of an object's attributes with those its file should have. Values in, a reason or headers out.

Some attributes are always compared: Content-Type, Content-Encoding, Cache-Control (also if none is wanted and the
object has one), user metadata if any is configured, the ACL if one is. All others (Content-Disposition, Expires,
storage class, encryption...) are compared only where a setting names them. A copy keeps them where none does.

Stores do not return exactly what they were given. A comparison that takes this as a difference would copy the object on
every run. Therefore names of metadata match in any case and with ``_`` for ``-``, an empty value is a missing one, and
``aws-chunked`` is no encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Attributes, KnownObject, ListedObject, LocalFile, Reason, is_same_file
from s3batch.objects.acl import same_acl
from s3batch.objects.headers import (
    BOOKKEEPING,
    METADATA_PREFIX,
    OWN_HEADERS,
    TAG_COUNT,
    RemoteAttributes,
    canonical_name,
    strip_framing_encodings,
)
from s3batch.objects.preserved import is_same_preserved
from s3batch.settings import texts

LISTING_GRAIN = 1.0
"""Seconds. The Date of an answer is cut to whole seconds, a listing's LastModified may show milliseconds."""
_GENERIC_TYPES = ("", "binary/octet-stream", "application/octet-stream")
_UNKNOWN_TYPE = "application/octet-stream"


class AttributeChange(NamedTuple):
    """One attribute that is not as wanted."""

    name: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found!r}, not {self.wanted!r}"


def find_copy_reason(wanted: Attributes, remote: RemoteAttributes, remote_acl: str | None = None) -> Reason | None:
    """Return the reason to copy the object onto itself, or ``None``. ``remote_acl``: from :func:`canned_acl`, if read."""
    if next(find_attribute_changes(wanted, remote), None):
        return Reason.METADATA
    if wanted.acl and not same_acl(wanted.acl, remote_acl or ""):
        return Reason.ACL
    return None


def find_attribute_changes(wanted: Attributes, remote: RemoteAttributes) -> Iterator[AttributeChange]:
    """Yield every attribute in which the object is not as wanted, except the ACL."""
    for name, same in _COMPARED.items():
        want, found = getattr(wanted, name), getattr(remote, name)
        if (want or name in _ALWAYS_OURS) and not same(want, found) and not _as_good_as_guessed(wanted, name, found):
            yield AttributeChange(OWN_HEADERS[name], found, want)
    if wanted.metadata is not None:
        yield from _metadata_changes(wanted.metadata, remote.metadata)
    yield from _preserved_changes(wanted, remote)
    if wanted.tags and remote.tag_count not in ("", str(len(wanted.tags))):
        yield AttributeChange(TAG_COUNT, remote.tag_count, str(len(wanted.tags)))


def is_file_unchanged(file: LocalFile, listed: ListedObject, known: KnownObject, fingerprint: str) -> bool:
    """Return whether nothing needs to be read or requested: file and object are as the journal knows them."""
    return is_file_untouched(file, known) and is_own_object(listed, known) and fingerprint == known.fingerprint


def is_file_untouched(file: LocalFile, known: KnownObject) -> bool:
    """Return whether the file is the one that was sent, by its stamp."""
    return is_same_file(file.stamp, known.local)


def is_own_object(listed: ListedObject, known: KnownObject) -> bool:
    """Return whether the object is the one that the journal's last write made.

    The listing must not show a later write: another one may have left size and ETag as they were.
    """
    same = (listed.etag, listed.size) == (known.etag, known.size)
    return same and listed.modified < known.written + LISTING_GRAIN


def _metadata_changes(
    wanted: Iterable[tuple[str, str]], remote: Iterable[tuple[str, str]]
) -> Iterator[AttributeChange]:
    want = {canonical_name(name): value for name, value in wanted if value}
    found = {canonical_name(name): value for name, value in remote if value}
    for name in sorted(want.keys() | found.keys()):
        ours = name in want or not re.fullmatch(BOOKKEEPING, name)
        if ours and want.get(name) != found.get(name):
            yield AttributeChange(METADATA_PREFIX + name, found.get(name, ""), want.get(name, ""))


def _preserved_changes(wanted: Attributes, remote: RemoteAttributes) -> Iterator[AttributeChange]:
    configured, found = dict(wanted.metadata or ()), dict(remote.metadata)
    for name, value in wanted.preserved:
        if name not in configured and not is_same_preserved(name, value, found.get(name, "")):
            yield AttributeChange(METADATA_PREFIX + name, found.get(name, ""), value)


def _as_good_as_guessed(wanted: Attributes, name: str, found: str) -> bool:
    """Return whether both types are defaults: neither s3batch nor the writer of the object knew the file's type.

    An object without a type gives its copy none; the store of the copy then chooses one.
    """
    if name != "content_type" or found not in _GENERIC_TYPES:
        return False
    return not wanted.content_type or (not wanted.content_type_configured and wanted.content_type == _UNKNOWN_TYPE)


def _is_same_text(want: str, found: str) -> bool:
    return want == found


def _is_same_ignoring_case(want: str, found: str) -> bool:
    return want.lower() == found.lower()


def _is_same_type(want: str, found: str) -> bool:
    return _parse_plain_type(want) == _parse_plain_type(found)


def _parse_plain_type(content_type: str) -> list[str]:
    return [piece.strip().replace('"', "") for piece in content_type.lower().split(";")]


def _is_same_encoding(want: str, found: str) -> bool:
    return strip_framing_encodings(want).lower() == found.lower()


def _is_same_date(want: str, found: str) -> bool:
    return want == found or _parse_header_date(want) == _parse_header_date(found) != want


def _parse_header_date(text: str) -> datetime | str:
    try:
        return texts.parse_http_date(text)
    except ValueError:
        return text


def _is_same_storage_class(want: str, found: str) -> bool:
    return want == (found or "STANDARD")


def _is_same_kms_key(want: str, found: str) -> bool:
    """Return whether two KMS keys may be the same. S3 returns the ARN; the key behind an alias is unknown here."""
    return "alias/" in want or found == want or found.endswith(f"/{want}")


_ALWAYS_OURS = ("content_type", "content_encoding", "cache_control")
_COMPARED = {
    "content_type": _is_same_type,
    "content_encoding": _is_same_encoding,
    "cache_control": _is_same_text,
    "content_disposition": _is_same_text,
    "content_language": _is_same_ignoring_case,
    "expires": _is_same_date,
    "storage_class": _is_same_storage_class,
    "encryption": _is_same_text,
    "kms_key_id": _is_same_kms_key,
}
