"""The comparison of an object's attributes with those its file should have. Values in, a reason or headers out.

Some attributes are always compared: Content-Type, Content-Encoding, Cache-Control (also if none is wanted and the
object has one), user metadata if any is configured, the ACL if one is. All others (Content-Disposition, Expires,
storage class, encryption...) are compared only where a setting names them. A copy keeps them where none does.

Stores do not return exactly what they were given. A comparison that takes this as a difference would copy the object on
every run. Therefore names of metadata match in any case and with ``_`` for ``-``, an empty value is a missing one, and
``aws-chunked`` is no encoding.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from s3batch.model import Attributes, Known, Listed, LocalFile, Reason, is_same_file
from s3batch.quirks import ACL, TAGS
from s3batch.settings import texts

LISTING_GRAIN = 1.0
"""Seconds. The Date of an answer is cut to whole seconds, a listing's LastModified may show milliseconds."""

_MIB = 1024 * 1024
_USUAL_PARTS = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 250, 256, 500, 512, 1000, 1024)
"""MiB: the defaults of other tools (rclone 5, aws 8, s3cmd 15, s5cmd 50, s3fs 10...) and what people set."""

_META = "x-amz-meta-"
_OURS = {
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_language": "content-language",
    "expires": "expires",
    "storage_class": "x-amz-storage-class",
    "encryption": "x-amz-server-side-encryption",
    "kms_key_id": "x-amz-server-side-encryption-aws-kms-key-id",
}
_THEIRS = {
    **_OURS,
    "bucket_key": "x-amz-server-side-encryption-bucket-key-enabled",
    "redirect": "x-amz-website-redirect-location",
    "tag_count": "x-amz-tagging-count",
}
_KEPT = ("content_disposition", "content_language", "expires", "storage_class", "redirect")
"""Headers that a copy takes over from the object where no setting names them."""

_TAG_COUNT = "number of tags"
_ASPECTS = {"x-amz-acl": ACL, "x-amz-tagging": TAGS, _TAG_COUNT: TAGS}
_GENERIC_TYPES = ("", "binary/octet-stream", "application/octet-stream")
_UNKNOWN_TYPE = "application/octet-stream"

_BOOKKEEPING = re.compile(
    r"""mtime | atime | btime | ctime | mode | uid | gid | rdev | md5chksum     # rclone, s3fs, goofys
      | (?:s3cmd|mc)-attrs | s3b-.* | x-amz-.*
      | file-(?:owner|group|permissions|mtime|atime|acl) | user-agent(?:-id)?   # AWS DataSync, Storage Gateway
    """,
    re.VERBOSE,
)

_GROUPS = "http://acs.amazonaws.com/groups/global/"
_SHAPES = {
    frozenset[str](): "private",
    frozenset({"AllUsers READ"}): "public-read",
    frozenset({"AllUsers READ", "AllUsers WRITE"}): "public-read-write",
    frozenset({"AuthenticatedUsers READ"}): "authenticated-read",
    frozenset({"other READ"}): "bucket-owner-read",
    frozenset({"other FULL_CONTROL"}): "bucket-owner-full-control",
}
"""The grants beside the owner's own, and the canned ACL that makes them."""
_LOOKS_LIKE = {
    # the bucket's owner often is the object's owner, who has every right already
    "bucket-owner-full-control": frozenset({"private", "bucket-owner-full-control"}),
    "bucket-owner-read": frozenset({"private", "bucket-owner-read"}),
    # the grant goes to an account of EC2, which looks like any other account
    "aws-exec-read": frozenset({"private", "bucket-owner-read"}),
    # for buckets; on an object S3 takes it for private
    "log-delivery-write": frozenset({"private"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAttributes:
    """The attributes of an object in HeadObject. Empty: the object has none."""

    content_type: str = ""
    content_encoding: str = ""
    """Without ``aws-chunked``, which some stores keep although it describes only the way of the body."""
    cache_control: str = ""
    content_disposition: str = ""
    content_language: str = ""
    expires: str = ""
    storage_class: str = ""
    encryption: str = ""
    kms_key_id: str = ""
    bucket_key: str = ""
    """``true`` where a bucket key is used with KMS."""
    redirect: str = ""
    """x-amz-website-redirect-location."""
    tag_count: str = ""
    """A number; empty if the object has no tags or they may not be read."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Names in lower case as the store gives them, sorted."""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RemoteAttributes:
        """Return the attributes in the headers of a HEAD, whose names are in lower case."""
        plain = {name: headers.get(header, "").strip() for name, header in _THEIRS.items()}
        plain["content_encoding"] = _without_framing(plain["content_encoding"])
        metadata = [(name[len(_META) :], _decoded(value)) for name, value in headers.items() if name.startswith(_META)]
        return cls(**plain, metadata=tuple(sorted(metadata)))

    @property
    def etag_may_be_md5(self) -> bool:
        """True unless the object is encrypted with KMS: its ETag then has the form of an MD5 but is none."""
        return not self.encryption.startswith("aws:kms")


class Change(NamedTuple):
    """One attribute that is not as wanted."""

    name: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found!r}, not {self.wanted!r}"


def difference(wanted: Attributes, remote: RemoteAttributes, remote_acl: str | None = None) -> Reason | None:
    """Return the reason to copy the object onto itself, or ``None``. ``remote_acl``: from :func:`canned_acl`, if read."""
    if next(changes(wanted, remote), None):
        return Reason.METADATA
    if wanted.acl and not same_acl(wanted.acl, remote_acl or ""):
        return Reason.ACL
    return None


def changes(wanted: Attributes, remote: RemoteAttributes) -> Iterator[Change]:
    """Yield every attribute in which the object is not as wanted, except the ACL."""
    for name, same in _COMPARED.items():
        want, found = getattr(wanted, name), getattr(remote, name)
        if (want or name in _ALWAYS_OURS) and not same(want, found) and not _as_good_as_guessed(wanted, name, found):
            yield Change(_OURS[name], found, want)
    if wanted.metadata is not None:
        yield from _metadata_changes(wanted.metadata, remote.metadata)
    if wanted.tags and remote.tag_count not in ("", str(len(wanted.tags))):
        yield Change(_TAG_COUNT, remote.tag_count, str(len(wanted.tags)))


def unchanged(file: LocalFile, listed: Listed, known: Known, fingerprint: str) -> bool:
    """Return whether nothing needs to be read or requested: file and object are as the journal knows them."""
    return untouched(file, known) and still_ours(listed, known) and fingerprint == known.fingerprint


def untouched(file: LocalFile, known: Known) -> bool:
    """Return whether the file is the one that was sent, by its stamp."""
    return is_same_file(file.stamp, known.local)


def still_ours(listed: Listed, known: Known) -> bool:
    """Return whether the object is the one that the journal's last write made.

    The listing must not show a later write: another one may have left size and ETag as they were.
    """
    same = (listed.etag, listed.size) == (known.etag, known.size)
    return same and listed.modified < known.written + LISTING_GRAIN


def put_headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers for PutObject and CreateMultipartUpload; names in lower case."""
    headers = {header: value for name, header in _OURS.items() if (value := getattr(attributes, name))}
    headers |= _metadata_headers(attributes.metadata or ())
    if attributes.acl:
        headers["x-amz-acl"] = attributes.acl
    return headers | tag_header(attributes.tags)


def tag_header(tags: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the header of all requests that take tags with the object."""
    return {"x-amz-tagging": urlencode(tags, quote_via=quote, safe="")} if tags else {}


def copy_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers for CopyObject onto itself, which drops everything that is not sent again.

    They hold the configured attributes, and others that the object has. Tags stay by themselves. The caller adds the
    source of the copy.
    """
    return {
        **foreign_headers(attributes, remote),
        **put_headers(attributes),
        **({"x-amz-tagging-directive": "REPLACE"} if attributes.tags else {}),
        "x-amz-metadata-directive": "REPLACE",
    }


def foreign_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers of an object that no setting names: a write that does not send them loses them."""
    kept = {name: getattr(remote, name) for name in _KEPT if not getattr(attributes, name, "")}
    if attributes.encryption in ("", remote.encryption) and not attributes.kms_key_id:
        kept |= {name: getattr(remote, name) for name in ("encryption", "kms_key_id", "bucket_key")}
    return {
        **_metadata_headers(_kept_metadata(attributes, remote)),
        **{_THEIRS[name]: value for name, value in kept.items() if value},
    }


def aspect_of(header: str) -> str:
    """Return the attribute that a header sets, as a quirk names it: all user metadata is one."""
    return _META.rstrip("-") if header.startswith(_META) else _ASPECTS.get(header, header)


def canned_acl(acl_xml: bytes) -> str:
    """Return the canned ACL that the grants of a GetObjectAcl response make up.

    ``custom`` if no canned ACL does; empty if this is not such a document.
    """
    try:
        policy = ET.fromstring(acl_xml)  # noqa: S314 - from the store, which is trusted with the data; expat limits entities
    except ET.ParseError:
        return ""
    owner = policy.findtext("{*}Owner/{*}ID")
    granted = {
        f"{_grantee(grant)} {permission.text}"
        for grant in policy.iterfind(".//{*}Grant")
        if grant.findtext("{*}Grantee/{*}ID") in (None, "") or grant.findtext("{*}Grantee/{*}ID") != owner
        for permission in grant.iterfind("{*}Permission")
    }
    return _SHAPES.get(frozenset(granted), "custom")


def same_acl(wanted: str, found: str) -> bool:
    """Return whether an object with the ACL ``wanted`` may show ``found`` (from :func:`canned_acl`) afterwards.

    An ACL that could not be read is no difference, or there would be one on every run.
    """
    return not found or found in _LOOKS_LIKE.get(wanted, {wanted})


def acl_matches(wanted: str, acl_xml: bytes) -> bool:
    """Return whether setting the canned ACL ``wanted`` would change nothing in this GetObjectAcl response."""
    return same_acl(wanted, canned_acl(acl_xml))


def md5_of(etag: str) -> str | None:
    """Return the MD5 in an ETag of that form, in lower case; ``None`` for a multipart or any other ETag."""
    etag = etag.strip('"').lower()
    return etag if re.fullmatch("[0-9a-f]{32}", etag) else None


def multipart_etag(digests: Iterable[bytes]) -> str:
    """Return S3's ETag of an object whose parts have these MD5s, without quotes."""
    parts = list(digests)
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def part_size_candidates(size: int, parts: int, own_part_size: int) -> list[int]:
    """Return part sizes, in bytes, that make so many parts: the own size and its doublings first, then usual ones."""
    if parts < 1:
        return []
    even = -(-size // parts)
    doubled = [own_part_size << n for n in range(12)]  # 5 MiB << 11 is more than S3's largest part, 5 GiB
    usual = [mib * _MIB for mib in _USUAL_PARTS]
    candidates = dict.fromkeys([*doubled, *usual, -(-even // _MIB) * _MIB, even])
    return [candidate for candidate in candidates if candidate and max(1, -(-size // candidate)) == parts]


def _without_framing(encoding: str) -> str:
    """Return a Content-Encoding without the token that describes only the transfer."""
    tokens = (token.strip() for token in encoding.split(","))
    return ", ".join(token for token in tokens if token and token.lower() != "aws-chunked")


def _decoded(value: str) -> str:
    """Return a metadata value as text: S3 returns RFC 2047 words for non-ASCII text, other stores the bytes."""
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    if "=?" in value:
        from email.errors import HeaderParseError  # noqa: PLC0415 - 10 ms, for metadata that is not ASCII
        from email.header import decode_header, make_header  # noqa: PLC0415

        with suppress(HeaderParseError, LookupError, UnicodeError, ValueError):
            value = str(make_header(decode_header(value)))
    return value.strip()


def _encoded(value: str) -> str:
    """Return ASCII unchanged, other text as one RFC 2047 word, the form that S3 documents."""
    return value if value.isascii() else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _metadata_headers(metadata: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {_META + name: _encoded(value) for name, value in metadata}


def _kept_metadata(attributes: Attributes, remote: RemoteAttributes) -> Iterator[tuple[str, str]]:
    """Yield the object's metadata: all if none is configured, else only the keys that tools keep for themselves."""
    if attributes.metadata is None:
        yield from remote.metadata
        return
    ours = {_canonical(name) for name, _ in attributes.metadata}
    for name, value in remote.metadata:
        if _BOOKKEEPING.fullmatch(name) and _canonical(name) not in ours:
            yield name, value


def _metadata_changes(wanted: Iterable[tuple[str, str]], remote: Iterable[tuple[str, str]]) -> Iterator[Change]:
    want = {_canonical(name): value for name, value in wanted if value}
    found = {_canonical(name): value for name, value in remote if value}
    for name in sorted(want.keys() | found.keys()):
        ours = name in want or not _BOOKKEEPING.fullmatch(name)
        if ours and want.get(name) != found.get(name):
            yield Change(_META + name, found.get(name, ""), want.get(name, ""))


def _canonical(name: str) -> str:
    """Return one spelling of a metadata name: stores change to Title-Case, and underscores to hyphens."""
    return name.lower().replace("_", "-")


def _grantee(grant: ET.Element) -> str:
    group = grant.findtext("{*}Grantee/{*}URI")
    return group.removeprefix(_GROUPS) if group else "other"


def _as_good_as_guessed(wanted: Attributes, name: str, found: str) -> bool:
    """Return whether both types are defaults: neither s3batch nor the writer of the object knew the file's type."""
    return (
        name == "content_type"
        and not wanted.content_type_configured
        and wanted.content_type == _UNKNOWN_TYPE
        and found in _GENERIC_TYPES
    )


def _same(want: str, found: str) -> bool:
    return want == found


def _same_ignoring_case(want: str, found: str) -> bool:
    return want.lower() == found.lower()


def _same_type(want: str, found: str) -> bool:
    return _plain_type(want) == _plain_type(found)


def _plain_type(content_type: str) -> list[str]:
    return [piece.strip().replace('"', "") for piece in content_type.lower().split(";")]


def _same_encoding(want: str, found: str) -> bool:
    return _without_framing(want).lower() == found.lower()


def _same_date(want: str, found: str) -> bool:
    return want == found or _date(want) == _date(found) != want


def _date(text: str) -> datetime | str:
    try:
        return texts.parse_http_date(text)
    except ValueError:
        return text


def _same_class(want: str, found: str) -> bool:
    return want == (found or "STANDARD")


def _same_key(want: str, found: str) -> bool:
    """Return whether two KMS keys may be the same. S3 returns the ARN; the key behind an alias is unknown here."""
    return "alias/" in want or found == want or found.endswith(f"/{want}")


_ALWAYS_OURS = ("content_type", "content_encoding", "cache_control")
_COMPARED = {
    "content_type": _same_type,
    "content_encoding": _same_encoding,
    "cache_control": _same,
    "content_disposition": _same,
    "content_language": _same_ignoring_case,
    "expires": _same_date,
    "storage_class": _same_class,
    "encryption": _same,
    "kms_key_id": _same_key,
}
