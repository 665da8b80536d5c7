"""Headers of an object: what an upload sends, what a copy keeps, what a HEAD tells."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import quote, urlencode

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Attributes, KeptAttributes
from s3batch.quirks import ACL, TAGS

METADATA_PREFIX = "x-amz-meta-"
OWN_HEADERS = {
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
REDIRECT_HEADER = "x-amz-website-redirect-location"
_THEIRS = {
    **OWN_HEADERS,
    "bucket_key": "x-amz-server-side-encryption-bucket-key-enabled",
    "redirect": REDIRECT_HEADER,
    "tag_count": "x-amz-tagging-count",
}
_KEPT = ("content_disposition", "content_language", "expires", "storage_class", "redirect")
"""Headers that a copy takes over from the object where no setting names them."""

TAG_COUNT = "number of tags"
_ASPECTS = {"x-amz-acl": ACL, "x-amz-tagging": TAGS, TAG_COUNT: TAGS}

BOOKKEEPING = r"""(?x)mtime | atime | btime | ctime | mode | uid | gid | rdev | md5chksum     # rclone, s3fs, goofys
      | (?:s3cmd|mc)-attrs | s3b-.* | x-amz-.*
      | file-(?:owner|group|permissions|mtime|atime|acl) | user-agent(?:-id)?   # AWS DataSync, Storage Gateway
    """


class RemoteAttributes(NamedTuple):
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
        plain["content_encoding"] = strip_framing_encodings(plain["content_encoding"])
        metadata = [
            (name[len(METADATA_PREFIX) :], _decode_metadata_value(value))
            for name, value in headers.items()
            if name.startswith(METADATA_PREFIX)
        ]
        return cls(**plain, metadata=tuple(sorted(metadata)))

    @property
    def etag_may_be_md5(self) -> bool:
        """True unless the object is encrypted with KMS: its ETag then has the form of an MD5 but is none."""
        return not self.encryption.startswith("aws:kms")


def make_put_headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers for PutObject and CreateMultipartUpload; names in lower case."""
    headers = {header: value for name, header in OWN_HEADERS.items() if (value := getattr(attributes, name))}
    headers |= make_metadata_headers(attributes.preserved) | make_metadata_headers(attributes.metadata or ())
    if attributes.acl:
        headers["x-amz-acl"] = attributes.acl
    return headers | make_tag_header(attributes.tags)


def make_tag_header(tags: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the header of all requests that take tags with the object."""
    return {"x-amz-tagging": urlencode(tags, quote_via=quote, safe="")} if tags else {}


def make_copy_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers for CopyObject onto itself, which drops everything that is not sent again.

    They hold the configured attributes, and others that the object has. Tags stay by themselves. The caller adds the
    source of the copy.
    """
    return {
        **make_foreign_headers(attributes, remote),
        **make_put_headers(attributes),
        **({"x-amz-tagging-directive": "REPLACE"} if attributes.tags else {}),
        "x-amz-metadata-directive": "REPLACE",
    }


def make_foreign_headers(attributes: Attributes, remote: RemoteAttributes) -> dict[str, str]:
    """Return the headers of an object that no setting names: a write that does not send them loses them."""
    kept = {name: getattr(remote, name) for name in _KEPT if not getattr(attributes, name, "")}
    if attributes.encryption in ("", remote.encryption) and not attributes.kms_key_id:
        kept |= {name: getattr(remote, name) for name in ("encryption", "kms_key_id", "bucket_key")}
    return {
        **make_metadata_headers(_select_kept_metadata(attributes, remote)),
        **{_THEIRS[name]: value for name, value in kept.items() if value},
    }


def name_header_aspect(header: str) -> str:
    """Return the attribute that a header sets, as a quirk names it: all user metadata is one."""
    return METADATA_PREFIX.rstrip("-") if header.startswith(METADATA_PREFIX) else _ASPECTS.get(header, header)


def strip_framing_encodings(encoding: str) -> str:
    """Return a Content-Encoding without the token that describes only the transfer."""
    tokens = (token.strip() for token in encoding.split(","))
    return ", ".join(token for token in tokens if token and token.lower() != "aws-chunked")


def _decode_metadata_value(value: str) -> str:
    """Return a metadata value as text: S3 returns RFC 2047 words for non-ASCII text, other stores the bytes."""
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    if "=?" in value:
        from email.errors import HeaderParseError  # noqa: PLC0415 - 10 ms, for metadata that is not ASCII
        from email.header import decode_header, make_header  # noqa: PLC0415

        with suppress(HeaderParseError, LookupError, UnicodeError, ValueError):
            value = str(make_header(decode_header(value)))
    return value.strip()


def _encode_metadata_value(value: str) -> str:
    """Return ASCII unchanged, other text as one RFC 2047 word, the form that S3 documents."""
    return value if value.isascii() else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def make_metadata_headers(metadata: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of user metadata."""
    return {METADATA_PREFIX + name: _encode_metadata_value(value) for name, value in metadata}


def _select_kept_metadata(attributes: Attributes, remote: RemoteAttributes) -> Iterator[tuple[str, str]]:
    """Yield the object's metadata: all if none is configured, else only the keys that tools keep for themselves."""
    ours = {canonical_name(name) for name, _ in (*attributes.preserved, *(attributes.metadata or ()))}
    for name, value in remote.metadata:
        if (attributes.metadata is None or re.fullmatch(BOOKKEEPING, name)) and canonical_name(name) not in ours:
            yield name, value


def canonical_name(name: str) -> str:
    """Return one spelling of a metadata name: stores change to Title-Case, and underscores to hyphens."""
    return name.lower().replace("_", "-")


def make_kept_headers(kept: KeptAttributes, attributes: Attributes) -> dict[str, str]:
    """Return the headers with which a file is sent so that the object keeps all."""
    return {**dict(kept.headers), **make_tag_header(kept.tags), **make_put_headers(attributes)}
