"""Does an object already carry what its file wants? Values in, a reason or headers out.

What is ours is compared always: Content-Type, Content-Encoding, Cache-Control (also when we want none and the
object has one), user metadata if any is configured, the ACL if one is. All else (Content-Disposition, Expires,
storage class, encryption...) is compared only where a setting names it, and survives a copy where none does.

Stores do not give back exactly what they were given, and a comparison that takes that for a difference would
copy the object on every run. So names of metadata match in any case and with ``_`` for ``-``, an empty value is
a missing one, and ``aws-chunked`` is no encoding.
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

from s3batch import texts
from s3batch.model import Attributes, Known, Listed, LocalFile, Reason, is_same_file
from s3batch.quirks import ACL, TAGS

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
"""What a copy takes over from the object where no setting names it."""

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
"""What is granted beside the owner's own right, and the canned ACL that grants it."""
_LOOKS_LIKE = {
    # the bucket's owner often is the object's owner, who has every right already
    "bucket-owner-full-control": frozenset({"private", "bucket-owner-full-control"}),
    "bucket-owner-read": frozenset({"private", "bucket-owner-read"}),
    # the grant goes to an account of EC2's, which nothing tells from another account
    "aws-exec-read": frozenset({"private", "bucket-owner-read"}),
    # for buckets; on an object S3 takes it for private
    "log-delivery-write": frozenset({"private"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAttributes:
    """What HeadObject shows of an object beside its content. Empty means: it has none."""

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
    """A number; empty where there are none or we may not know."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Names in lower case as the store gives them, sorted."""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RemoteAttributes:
        """From the headers of a HEAD, their names in lower case."""
        plain = {name: headers.get(header, "").strip() for name, header in _THEIRS.items()}
        plain["content_encoding"] = _without_framing(plain["content_encoding"])
        metadata = [(name[len(_META) :], _decoded(value)) for name, value in headers.items() if name.startswith(_META)]
        return cls(**plain, metadata=tuple(sorted(metadata)))

    @property
    def etag_may_be_md5(self) -> bool:
        """With KMS an ETag has the form of an MD5 and is none."""
        return not self.encryption.startswith("aws:kms")


class Change(NamedTuple):
    """One attribute that is not as wanted."""

    name: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found!r}, not {self.wanted!r}"


def difference(wanted: Attributes, remote: RemoteAttributes, remote_acl: str | None = None) -> Reason | None:
    """Why the object must be copied onto itself, or ``None``. ``remote_acl``: from :func:`canned_acl`, if it was read."""
    if next(changes(wanted, remote), None):
        return Reason.METADATA
    if wanted.acl and not same_acl(wanted.acl, remote_acl or ""):
        return Reason.ACL
    return None


def changes(wanted: Attributes, remote: RemoteAttributes) -> Iterator[Change]:
    """Every attribute in which the object is not as wanted, except the ACL."""
    for name, same in _COMPARED.items():
        want, found = getattr(wanted, name), getattr(remote, name)
        if (want or name in _ALWAYS_OURS) and not same(want, found) and not _as_good_as_guessed(wanted, name, found):
            yield Change(_OURS[name], found, want)
    if wanted.metadata is not None:
        yield from _metadata_changes(wanted.metadata, remote.metadata)
    if wanted.tags and remote.tag_count not in ("", str(len(wanted.tags))):
        yield Change(_TAG_COUNT, remote.tag_count, str(len(wanted.tags)))


def unchanged(file: LocalFile, listed: Listed, known: Known, fingerprint: str) -> bool:
    """Whether nothing needs to be read, hashed or asked: the file is the one we sent, the object the one we wrote."""
    return untouched(file, known) and still_ours(listed, known) and fingerprint == known.fingerprint


def untouched(file: LocalFile, known: Known) -> bool:
    """Return whether the file is the one we sent, by its stamp."""
    return is_same_file(file.stamp, known.local)


def still_ours(listed: Listed, known: Known) -> bool:
    """Whether the object is the one we wrote.

    The listing must not show a later write than ours: another one may have left size and ETag as they were.
    """
    same = (listed.etag, listed.size) == (known.etag, known.size)
    return same and listed.modified < known.written + LISTING_GRAIN


def put_headers(attributes: Attributes) -> dict[str, str]:
    """For PutObject and CreateMultipartUpload; names in lower case."""
    headers = {header: value for name, header in _OURS.items() if (value := getattr(attributes, name))}
    headers |= _metadata_headers(attributes.metadata or ())
    if attributes.acl:
        headers["x-amz-acl"] = attributes.acl
    return headers | tag_header(attributes.tags)


def tag_header(tags: Sequence[tuple[str, str]]) -> dict[str, str]:
    """For all requests that take tags with the object."""
    return {"x-amz-tagging": urlencode(tags, quote_via=quote, safe="")} if tags else {}


def copy_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """For CopyObject onto itself, which drops whatever is not sent again: what is ours, and what is not but was there.

    Tags stay by themselves. The copy's source is the caller's to add.
    """
    return {
        **foreign_headers(attributes, remote),
        **put_headers(attributes),
        **({"x-amz-tagging-directive": "REPLACE"} if attributes.tags else {}),
        "x-amz-metadata-directive": "REPLACE",
    }


def foreign_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """The headers of what an object has and no setting names: a write that does not send them loses it."""
    kept = {name: getattr(remote, name) for name in _KEPT if not getattr(attributes, name, "")}
    if attributes.encryption in ("", remote.encryption) and not attributes.kms_key_id:
        kept |= {name: getattr(remote, name) for name in ("encryption", "kms_key_id", "bucket_key")}
    return {
        **_metadata_headers(_kept_metadata(attributes, remote)),
        **{_THEIRS[name]: value for name, value in kept.items() if value},
    }


def aspect_of(header: str) -> str:
    """What a header is about, as a quirk names it: all user metadata is one."""
    return _META.rstrip("-") if header.startswith(_META) else _ASPECTS.get(header, header)


def canned_acl(acl_xml: bytes) -> str:
    """The canned ACL that the grants of a GetObjectAcl answer amount to.

    ``custom`` if none does; empty if this is no such document.
    """
    try:
        policy = ET.fromstring(acl_xml)  # noqa: S314 - from the store we trust with the data; expat limits entities
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
    """Whether an object that was given ``wanted`` may look like ``found`` (from :func:`canned_acl`) afterwards.

    What could not be read is no difference: it would be one on every run.
    """
    return not found or found in _LOOKS_LIKE.get(wanted, {wanted})


def acl_matches(wanted: str, acl_xml: bytes) -> bool:
    """Whether setting the canned ACL ``wanted`` would change nothing in this GetObjectAcl answer."""
    return same_acl(wanted, canned_acl(acl_xml))


def md5_of(etag: str) -> str | None:
    """The MD5 an ETag has the form of, in lower case; ``None`` for a multipart or any other ETag."""
    etag = etag.strip('"').lower()
    return etag if re.fullmatch("[0-9a-f]{32}", etag) else None


def multipart_etag(digests: Iterable[bytes]) -> str:
    """What S3 calls an object of parts with these MD5s, without quotes."""
    parts = list(digests)
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def part_size_candidates(size: int, parts: int, own_part_size: int) -> list[int]:
    """Part sizes, in bytes, with which ``size`` bytes make so many parts: ours and its doublings first, then others' habits."""
    if parts < 1:
        return []
    even = -(-size // parts)
    doubled = [own_part_size << n for n in range(12)]
    usual = [mib * _MIB for mib in _USUAL_PARTS]
    candidates = dict.fromkeys([*doubled, *usual, -(-even // _MIB) * _MIB, even])
    return [candidate for candidate in candidates if candidate and max(1, -(-size // candidate)) == parts]


def _without_framing(encoding: str) -> str:
    """A Content-Encoding without the token that describes only how the body travelled."""
    tokens = (token.strip() for token in encoding.split(","))
    return ", ".join(token for token in tokens if token and token.lower() != "aws-chunked")


def _decoded(value: str) -> str:
    """A metadata value as text: S3 gives back RFC 2047 words for what is not ASCII, others the bytes as they came."""
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    if "=?" in value:
        from email.errors import HeaderParseError  # noqa: PLC0415 - 10 ms, for metadata that is not ASCII
        from email.header import decode_header, make_header  # noqa: PLC0415

        with suppress(HeaderParseError, LookupError, UnicodeError, ValueError):
            value = str(make_header(decode_header(value)))
    return value.strip()


def _encoded(value: str) -> str:
    """ASCII stays; all else becomes one RFC 2047 word, the form S3 documents."""
    return value if value.isascii() else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _metadata_headers(metadata: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {_META + name: _encoded(value) for name, value in metadata}


def _kept_metadata(attributes: Attributes, remote: RemoteAttributes) -> Iterator[tuple[str, str]]:
    """All of it where none is configured, else only what tools keep for themselves."""
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
    """One spelling for what stores do to names of metadata: Title-Case, and hyphens for underscores."""
    return name.lower().replace("_", "-")


def _grantee(grant: ET.Element) -> str:
    group = grant.findtext("{*}Grantee/{*}URI")
    return group.removeprefix(_GROUPS) if group else "other"


def _as_good_as_guessed(wanted: Attributes, name: str, found: str) -> bool:
    """We do not know the file's type, and neither did who wrote the object."""
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
    """S3 answers with the key's ARN, whatever named it; what an alias stands for cannot be told from here."""
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
