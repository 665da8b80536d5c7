"""The texts of the column ``detail``: the spec of an operation is written and read here only.

    redirect                  its target
    restore                   [LastModified, bucket, key, ACL, ETag, since, refused, and three version ids]
    chunk                     three numbers: chunk, first row, last row
    upload, copy, reconcile   "content-known", "attributes-changed", "attributes-known CHECKSUM", "tags [...]", "[{...}, ...]"
    reconcile                 "whole-known DATE", "moved [[key, ETag, checksum], ...]"
    upload, copy              "planned N"
    transfer, reconcile       "copied ETAG", "streamed ETAG": the object that is the source; done: "copied:PROOF ETAG", or
                              as before where the object has this ETag; of a saved plan "copied@N ETAG"

A text that is none of these comes back as :class:`UnreadableSpec`: the check of inherited rows decides about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from s3batch.model import (
    AttributesChanged,
    ChunkSpec,
    KeptAttributes,
    KeptTags,
    Kind,
    KnownAttributes,
    KnownContent,
    KnownWhole,
    MovedObject,
    OperationSpec,
    PlannedObject,
    RedirectSpec,
    RestoreSpec,
    SourceObject,
    UnreadableSpec,
)

_CONTENT_KNOWN = "content-known"
_ATTRIBUTES_CHANGED = "attributes-changed"
_ATTRIBUTES_KNOWN = "attributes-known"
_PLANNED = "planned"
_WHOLE_KNOWN = "whole-known"
_MOVED = "moved"
_TAGS = "tags "
_KEPT = "[{"
_COPIED, _STREAMED = "copied", "streamed"
_MOST_TAGS = 50
"""S3 takes 10; some stores take more."""
_OF_FILES = frozenset({Kind.UPLOAD, Kind.COPY, Kind.RECONCILE, Kind.TRANSFER})


def encode_spec(spec: OperationSpec | None) -> str:
    """Return the text of a spec; empty for none."""
    match spec:
        case SourceObject():  # a transfer has as many as objects
            return _encode_source(spec)
        case None:
            return ""
        case RedirectSpec(location=text) | UnreadableSpec(text=text):
            return text
        case RestoreSpec():
            return json.dumps([getattr(spec, name) for name in RestoreSpec._fields])
        case ChunkSpec():
            return f"{spec.chunk} {spec.first} {spec.last}"
        case KnownContent() | AttributesChanged():
            return _CONTENT_KNOWN if isinstance(spec, KnownContent) else _ATTRIBUTES_CHANGED
        case KnownAttributes():
            return f"{_ATTRIBUTES_KNOWN} {spec.checksum}".rstrip()
        case PlannedObject():
            return f"{_PLANNED} {spec.modified_ns}"
        case MovedObject():
            return f"{_MOVED} {json.dumps(spec.origins)}"
        case KnownWhole():
            return f"{_WHOLE_KNOWN} {spec.written!r}"
        case KeptTags():
            return _TAGS + json.dumps([spec.tags, spec.modified, encode_spec(spec.before)])
        case KeptAttributes():
            return json.dumps([dict(spec.headers), spec.tags, spec.lost])


def _encode_source(spec: SourceObject) -> str:
    way = _STREAMED if spec.streamed else _COPIED
    if spec.target_ns:
        way += f"@{spec.target_ns}"
    return f"{way}:{spec.proof} {spec.etag}" if spec.proof else f"{way} {spec.etag}"


def decode_spec(kind: Kind, text: str) -> OperationSpec | None:
    """Return the spec of an operation of this kind. Raises TypeError if ``text`` is no text."""
    if not text:
        return None
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    try:
        if kind is Kind.REDIRECT:
            return RedirectSpec(text)
        if kind is Kind.RESTORE:
            modified_ns, bucket, key, acl, etag, since, *texts = json.loads(text)
            return RestoreSpec(
                int(modified_ns), _read_text(bucket), _read_text(key), _read_text(acl), _read_text(etag), float(since),
                *map(_read_text, texts),
            )  # fmt: skip
        if kind is Kind.CHUNK:
            return ChunkSpec(*map(int, text.split()))
        return _decode_file_spec(text) if kind in _OF_FILES else UnreadableSpec(text)
    except (ValueError, TypeError, RecursionError):
        return UnreadableSpec(text)


def _decode_file_spec(text: str) -> OperationSpec:
    """Return the spec of an operation with a file. Raises ValueError, TypeError or RecursionError for another text."""
    if text == _CONTENT_KNOWN:
        return KnownContent()
    if text == _ATTRIBUTES_CHANGED:
        return AttributesChanged()
    known, _, checksum = text.partition(" ")
    if known == _ATTRIBUTES_KNOWN:
        return KnownAttributes(checksum)
    told, _, proof = known.partition(":")
    way, _, target_ns = told.partition("@")
    if way in (_COPIED, _STREAMED):
        return SourceObject(checksum, way == _STREAMED, proof, int(target_ns or 0))
    if known == _PLANNED:
        return PlannedObject(int(checksum))
    if known == _MOVED:
        origins = [(_read_text(key), _read_text(etag), _read_text(value)) for key, etag, value in json.loads(checksum)]
        return MovedObject(tuple(origins))
    if known == _WHOLE_KNOWN:
        return KnownWhole(float(checksum))
    if text.startswith(_TAGS):
        tags, modified, before = json.loads(text.removeprefix(_TAGS))
        if len(tags) > _MOST_TAGS:
            raise ValueError(text)
        return KeptTags(_read_pairs(tags), _read_text(modified), decode_spec(Kind.RECONCILE, _read_text(before)))
    if text.startswith(_KEPT):
        headers, tags, lost = json.loads(text)
        return KeptAttributes(_read_pairs(headers.items()), _read_pairs(tags), tuple(map(_read_text, lost)))
    return UnreadableSpec(text)


def _read_pairs(pairs: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(pairs, Iterable):
        raise TypeError(pairs)
    return tuple((_read_text(name), _read_text(value)) for name, value in pairs)


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
