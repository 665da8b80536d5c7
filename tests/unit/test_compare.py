from __future__ import annotations

import hashlib
import pickle
from typing import Any

import pytest

from s3batch.model import Attributes, KnownObject, ListedObject, LocalFile, Reason
from s3batch.objects.acl import acl_matches, canned_acl
from s3batch.objects.compare import find_attribute_changes, find_copy_reason, is_file_unchanged
from s3batch.objects.headers import RemoteAttributes, make_copy_headers, make_put_headers
from s3batch.s3.etag import md5_of_etag, multipart_etag, part_size_candidates
from tests.rig.stamps import local_file

MIB = 1024 * 1024
HTML = "text/html; charset=utf-8"


def wanted(**given: Any) -> Attributes:
    return Attributes(**{"content_type": HTML, **given})


def remote(**headers: str) -> RemoteAttributes:
    """Headers of a HEAD, with ``_`` for ``-``; two of them for a ``_``."""
    given = {name.replace("__", "\0").replace("_", "-").replace("\0", "_"): value for name, value in headers.items()}
    return RemoteAttributes.from_headers({"content-type": HTML, **given})


@pytest.mark.parametrize(
    ("want", "head", "reason"),
    [
        pytest.param({}, {}, None, id="equal"),
        # Content-Type
        pytest.param({}, {"content_type": ""}, Reason.METADATA, id="D1: remote unset"),
        pytest.param({}, {"content_type": "text/plain"}, Reason.METADATA, id="D1: both set and unequal"),
        pytest.param({}, {"content_type": "Text/HTML;charset=UTF-8"}, None, id="D1: case and spaces do not count"),
        pytest.param({}, {"content_type": 'text/html; charset="utf-8"'}, None, id="D1: quotes do not count"),
        pytest.param({}, {"content_type": "text/html"}, Reason.METADATA, id="D1: the charset counts"),
        pytest.param({}, {"content_type": "binary/octet-stream"}, Reason.METADATA, id="T3: a known type replaces a generic one"),
        pytest.param({"content_type": "application/octet-stream"}, {"content_type": "binary/octet-stream"}, None, id="T3: unknown here and there"),
        pytest.param({"content_type": "application/octet-stream"}, {"content_type": ""}, None, id="T3: unknown here, none there"),
        pytest.param({"content_type": "application/octet-stream"}, {"content_type": "image/png"}, Reason.METADATA, id="T3: another type is no generic one"),
        pytest.param({"content_type": ""}, {"content_type": "binary/octet-stream"}, None, id="T3: the source has none, the store chose one"),
        pytest.param({"content_type": ""}, {"content_type": "image/png"}, Reason.METADATA, id="T3: the source has none, a writer chose one"),
        pytest.param({"content_type": "application/octet-stream", "content_type_configured": True}, {"content_type": "binary/octet-stream"}, Reason.METADATA, id="T3: configured is configured"),
        # Content-Encoding
        pytest.param({"content_encoding": "gzip"}, {}, Reason.METADATA, id="D2: remote unset"),
        pytest.param({"content_encoding": "gzip"}, {"content_encoding": "gzip"}, None, id="D2: equal"),
        pytest.param({}, {"content_encoding": "gzip"}, Reason.METADATA, id="D2: not wanted: a copy removes it"),
        pytest.param({}, {"content_encoding": "aws-chunked"}, None, id="D2: aws-chunked is no encoding"),
        pytest.param({"content_encoding": "gzip"}, {"content_encoding": "gzip,aws-chunked"}, None, id="D2: aws-chunked behind an encoding"),
        pytest.param({"content_encoding": "gzip"}, {"content_encoding": "AWS-chunked, GZIP"}, None, id="D2: aws-chunked before an encoding"),
        # Cache-Control
        pytest.param({"cache_control": "no-cache"}, {}, Reason.METADATA, id="D3: remote unset"),
        pytest.param({"cache_control": "no-cache"}, {"cache_control": "no-cache"}, None, id="D3: equal"),
        pytest.param({"cache_control": "no-cache"}, {"cache_control": "no-store"}, Reason.METADATA, id="D3: unequal"),
        pytest.param({}, {"cache_control": "no-cache"}, Reason.METADATA, id="D3: not wanted: a copy removes it"),
        # metadata
        pytest.param({}, {"x_amz_meta_any": "1"}, None, id="D4: foreign metadata stays where none is configured"),
        pytest.param({"metadata": ()}, {"x_amz_meta_any": "1"}, Reason.METADATA, id="D4: and goes where some is"),
        pytest.param({"metadata": ()}, {"x_amz_meta_mtime": "1", "x_amz_meta_s3cmd_attrs": "md5:1", "x_amz_meta_md5chksum": "x"}, None, id="D4: but not what tools keep for themselves"),
        pytest.param({"metadata": ()}, {"x_amz_meta_s3b_digest": "x", "x_amz_meta_file_permissions": "0644"}, None, id="D4: nor what we keep"),
        pytest.param({"metadata": (("mtime", "2"),)}, {"x_amz_meta_mtime": "1"}, Reason.METADATA, id="D4: unless it is configured"),
        pytest.param({"metadata": (("a", "1"),)}, {}, Reason.METADATA, id="D5: missing"),
        pytest.param({"metadata": (("a", "1"),)}, {"x_amz_meta_a": "1"}, None, id="D5: equal"),
        pytest.param({"metadata": (("a", "1"),)}, {"x_amz_meta_a": "2"}, Reason.METADATA, id="D5: another value"),
        pytest.param({"metadata": (("a", "1"),)}, {"x_amz_meta_b": "1"}, Reason.METADATA, id="D5: another name, as many"),
        pytest.param({"metadata": (("custommeta", "1"),)}, {"x_amz_meta_CustomMeta": "1"}, None, id="D5: names have no case"),
        pytest.param({"metadata": (("under_score", "1"),)}, {"x_amz_meta_under_score": "1"}, None, id="RGW: a hyphen for an underscore"),
        pytest.param({"metadata": (("a-b", "1"),)}, {"x_amz_meta_a__b": "1"}, None, id="and the other way"),
        pytest.param({"metadata": (("a", ""),)}, {}, None, id="SeaweedFS: an empty value is none"),
        pytest.param({"metadata": ()}, {"x_amz_meta_a": ""}, None, id="in both directions"),
        pytest.param({"metadata": (("who", "Zoë"),)}, {"x_amz_meta_who": "=?UTF-8?B?Wm/Dqw==?="}, None, id="S3: RFC 2047"),
        pytest.param({"metadata": (("who", "Zoë"),)}, {"x_amz_meta_who": "=?UTF-8?Q?Zo=C3=AB?="}, None, id="S3: the other RFC 2047"),
        pytest.param({"metadata": (("who", "Zoë"),)}, {"x_amz_meta_who": "Zoë".encode().decode("latin-1")}, None, id="others: bytes as they came"),
        pytest.param({"metadata": (("who", "Zoë"),)}, {"x_amz_meta_who": "Zoë"}, None, id="or text"),
        pytest.param({"metadata": (("who", "=?x?B?!?="),)}, {"x_amz_meta_who": "=?x?B?!?="}, None, id="what only looks like RFC 2047"),
        # compared only where configured
        pytest.param({}, {"content_disposition": "inline"}, None, id="Content-Disposition: not ours"),
        pytest.param({"content_disposition": "attachment"}, {"content_disposition": "inline"}, Reason.METADATA, id="Content-Disposition: ours"),
        pytest.param({}, {"content_language": "de"}, None, id="Content-Language: not ours"),
        pytest.param({"content_language": "de-DE"}, {"content_language": "de-de"}, None, id="Content-Language: has no case"),
        pytest.param({"content_language": "de"}, {}, Reason.METADATA, id="Content-Language: ours"),
        pytest.param({}, {"expires": "Thu, 01 Dec 2030 16:00:00 GMT"}, None, id="Expires: not ours"),
        pytest.param({"expires": "Thu, 01 Dec 2030 16:00:00 GMT"}, {"expires": "Thu, 1 Dec 2030 16:00:00 +0000"}, None, id="Expires: a date is a date"),
        pytest.param({"expires": "Thu, 01 Dec 2030 16:00:00 GMT"}, {"expires": "Thu, 01 Dec 2031 16:00:00 GMT"}, Reason.METADATA, id="Expires: another date"),
        pytest.param({"expires": "0"}, {"expires": "-1"}, Reason.METADATA, id="Expires: no dates"),
        pytest.param({"expires": "0"}, {"expires": "0"}, None, id="Expires: no date, but equal"),
        pytest.param({}, {"x_amz_storage_class": "GLACIER"}, None, id="storage class: not ours"),
        pytest.param({"storage_class": "STANDARD"}, {}, None, id="storage class: none is STANDARD"),
        pytest.param({"storage_class": "STANDARD_IA"}, {}, Reason.METADATA, id="storage class: ours"),
        pytest.param({}, {"x_amz_server_side_encryption": "AES256"}, None, id="encryption: not ours"),
        pytest.param({"encryption": "AES256"}, {}, Reason.METADATA, id="encryption: missing"),
        pytest.param({"encryption": "AES256"}, {"x_amz_server_side_encryption": "AES256"}, None, id="encryption: equal"),
        pytest.param({"encryption": "aws:kms", "kms_key_id": "k1"}, {"x_amz_server_side_encryption": "aws:kms", "x_amz_server_side_encryption_aws_kms_key_id": "arn:aws:kms:eu-west-1:1:key/k1"}, None, id="KMS: S3 answers with the ARN"),
        pytest.param({"encryption": "aws:kms", "kms_key_id": "k1"}, {"x_amz_server_side_encryption": "aws:kms", "x_amz_server_side_encryption_aws_kms_key_id": "arn:aws:kms:eu-west-1:1:key/k2"}, Reason.METADATA, id="KMS: another key"),
        pytest.param({"encryption": "aws:kms", "kms_key_id": "alias/x"}, {"x_amz_server_side_encryption": "aws:kms", "x_amz_server_side_encryption_aws_kms_key_id": "arn:aws:kms:eu-west-1:1:key/k2"}, None, id="KMS: an alias can be any key"),
        pytest.param({}, {"x_amz_website_redirect_location": "/x"}, None, id="a redirect is not ours"),
        # tags: only their number shows
        pytest.param({"tags": (("a", "1"),)}, {"x_amz_tagging_count": "2"}, Reason.METADATA, id="tags: another number"),
        pytest.param({"tags": (("a", "1"),)}, {"x_amz_tagging_count": "1"}, None, id="tags: as many"),
        pytest.param({"tags": (("a", "1"),)}, {}, None, id="tags: not shown"),
        pytest.param({}, {"x_amz_tagging_count": "2"}, None, id="tags: not ours"),
    ],
)  # fmt: skip
def test_an_object_is_copied_only_for_what_is_ours(
    want: dict[str, Any], head: dict[str, str], reason: Reason | None
) -> None:
    assert find_copy_reason(wanted(**want), remote(**head)) is reason


@pytest.mark.parametrize(
    ("want", "found", "reason"),
    [
        pytest.param("", "public-read", None, id="none configured: never looked at"),
        pytest.param("private", None, None, id="not read"),
        pytest.param("private", "", None, id="could not be read"),
        pytest.param("private", "private", None, id="D6: equal"),
        pytest.param("private", "public-read", Reason.ACL, id="D6: too much is granted"),
        pytest.param("public-read", "private", Reason.ACL, id="D6: too little is granted"),
        pytest.param("public-read", "custom", Reason.ACL, id="D6: something of its own"),
    ],
)
def test_the_acl_is_compared_last_and_only_if_configured(want: str, found: str | None, reason: Reason | None) -> None:
    assert find_copy_reason(wanted(acl=want), remote(), found) is reason


def test_metadata_goes_before_the_acl() -> None:
    assert find_copy_reason(wanted(acl="private"), remote(content_type="x/y"), "public-read") is Reason.METADATA


def test_a_change_says_what_is_found_and_what_is_wanted() -> None:
    found = find_attribute_changes(
        wanted(cache_control="no-cache", metadata=(("a", "1"),), tags=(("t", "1"),)),
        remote(cache_control="no-store", content_encoding="br", x_amz_meta_b="2", x_amz_tagging_count="3"),
    )

    assert [str(change) for change in found] == [
        "content-encoding is 'br', not ''",
        "cache-control is 'no-store', not 'no-cache'",
        "x-amz-meta-a is '', not '1'",
        "x-amz-meta-b is '2', not ''",
        "number of tags is '3', not '1'",
    ]


ALL_WANTED = Attributes(
    content_type=HTML,
    content_encoding="gzip",
    cache_control="no-cache",
    content_disposition="inline",
    content_language="de",
    expires="Thu, 01 Dec 2030 16:00:00 GMT",
    acl="public-read",
    metadata=(("a", "1"), ("who", "Zoë")),
    storage_class="STANDARD_IA",
    encryption="aws:kms",
    kms_key_id="k1",
    tags=(("a&b", "c d"), ("e", "")),
    gzip=True,
)
ALL_HEADERS = {
    "content-type": HTML,
    "content-encoding": "gzip",
    "cache-control": "no-cache",
    "content-disposition": "inline",
    "content-language": "de",
    "expires": "Thu, 01 Dec 2030 16:00:00 GMT",
    "x-amz-acl": "public-read",
    "x-amz-meta-a": "1",
    "x-amz-meta-who": "=?UTF-8?B?Wm/Dqw==?=",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "k1",
    "x-amz-tagging": "a%26b=c%20d&e=",
}


@pytest.mark.parametrize(
    ("attributes", "headers"),
    [
        pytest.param(wanted(), {"content-type": HTML}, id="nothing but the type"),
        pytest.param(wanted(metadata=()), {"content-type": HTML}, id="no metadata"),
        pytest.param(ALL_WANTED, ALL_HEADERS, id="everything"),
    ],
)
def test_a_put_carries_what_is_set(attributes: Attributes, headers: dict[str, str]) -> None:
    assert make_put_headers(attributes) == headers


REPLACE = {"x-amz-metadata-directive": "REPLACE", "content-type": HTML}
THEIRS = {
    "content-disposition": "inline",
    "content-language": "de",
    "expires": "Thu, 01 Dec 2030 16:00:00 GMT",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-website-redirect-location": "/x",
}
KMS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:k1",
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}


@pytest.mark.parametrize(
    ("attributes", "head", "headers"),
    [
        pytest.param(wanted(), {}, REPLACE, id="ours only"),
        pytest.param(wanted(), {"content-encoding": "gzip", "cache-control": "no-cache"}, REPLACE, id="D2, D3: what is ours and not wanted goes"),
        pytest.param(wanted(), THEIRS, REPLACE | THEIRS, id="what is not ours stays"),
        pytest.param(wanted(content_language="fr", storage_class="STANDARD"), THEIRS, REPLACE | THEIRS | {"content-language": "fr", "x-amz-storage-class": "STANDARD"}, id="unless a setting names it"),
        pytest.param(wanted(), {"x-amz-server-side-encryption": "AES256"}, REPLACE | {"x-amz-server-side-encryption": "AES256"}, id="encryption stays"),
        pytest.param(wanted(), KMS, REPLACE | KMS, id="with its key"),
        pytest.param(wanted(encryption="aws:kms"), KMS, REPLACE | KMS, id="also where KMS is wanted but no key named"),
        pytest.param(wanted(encryption="aws:kms", kms_key_id="k2"), KMS, REPLACE | {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k2"}, id="unless another key is wanted"),
        pytest.param(wanted(encryption="AES256"), KMS, REPLACE | {"x-amz-server-side-encryption": "AES256"}, id="or another encryption"),
        pytest.param(wanted(), {"x-amz-meta-any": "1", "x-amz-meta-mtime": "2"}, REPLACE | {"x-amz-meta-any": "1", "x-amz-meta-mtime": "2"}, id="foreign metadata stays where none is configured"),
        pytest.param(wanted(metadata=(("a", "1"),)), {"x-amz-meta-any": "1", "x-amz-meta-a": "0"}, REPLACE | {"x-amz-meta-a": "1"}, id="and is replaced where some is"),
        pytest.param(wanted(metadata=(("a", "1"),)), {"x-amz-meta-mtime": "2"}, REPLACE | {"x-amz-meta-a": "1", "x-amz-meta-mtime": "2"}, id="except what tools keep for themselves"),
        pytest.param(wanted(metadata=(("mtime", "1"),)), {"x-amz-meta-Mtime": "2"}, REPLACE | {"x-amz-meta-mtime": "1"}, id="unless it is configured"),
        pytest.param(wanted(), {"x-amz-meta-who": "=?UTF-8?Q?Zo=C3=AB?="}, REPLACE | {"x-amz-meta-who": "=?UTF-8?B?Wm/Dqw==?="}, id="foreign metadata that is not ASCII"),
        pytest.param(wanted(acl="public-read"), {}, REPLACE | {"x-amz-acl": "public-read"}, id="the ACL is sent again"),
        pytest.param(wanted(), {"x-amz-tagging-count": "2"}, REPLACE, id="tags stay by themselves"),
        pytest.param(wanted(tags=(("a", "1"),)), {}, REPLACE | {"x-amz-tagging": "a=1", "x-amz-tagging-directive": "REPLACE"}, id="unless they are configured"),
        pytest.param(ALL_WANTED, THEIRS | KMS, ALL_HEADERS | {"x-amz-metadata-directive": "REPLACE", "x-amz-tagging-directive": "REPLACE", "x-amz-website-redirect-location": "/x"}, id="everything is ours"),
    ],
)  # fmt: skip
def test_a_copy_keeps_what_is_not_ours(attributes: Attributes, head: dict[str, str], headers: dict[str, str]) -> None:
    assert make_copy_headers(attributes, RemoteAttributes.from_headers(head)) == headers


@pytest.mark.parametrize("encryption", [{}, KMS])
def test_after_a_copy_there_is_no_difference(encryption: dict[str, str]) -> None:
    head = THEIRS | encryption | {"x-amz-meta-mtime": "2", "x-amz-meta-foreign": "x", "content-encoding": "br"}
    for attributes in (wanted(), wanted(metadata=()), wanted(metadata=(("a_b", "1"), ("empty", ""))), ALL_WANTED):
        copied = make_copy_headers(attributes, RemoteAttributes.from_headers(head))

        assert find_copy_reason(attributes, RemoteAttributes.from_headers(copied)) is None


@pytest.mark.parametrize(
    ("head", "may"), [({}, True), ({"x-amz-server-side-encryption": "AES256"}, True), (KMS, False)]
)
def test_with_kms_an_etag_is_no_md5(head: dict[str, str], may: bool) -> None:
    assert RemoteAttributes.from_headers(head).etag_may_be_md5 is may


OWNER = '<Grant><Grantee xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>'


def grant(who: str, *permissions: str) -> str:
    grantee = f"<URI>http://acs.amazonaws.com/groups/global/{who}</URI>" if who[0].isupper() else f"<ID>{who}</ID>"
    rights = "".join(f"<Permission>{permission}</Permission>" for permission in permissions)
    return f"<Grant><Grantee>{grantee}</Grantee>{rights}</Grant>"


def policy(*grants: str, namespace: str = "http://s3.amazonaws.com/doc/2006-03-01/") -> bytes:
    xmlns = f' xmlns="{namespace}"' if namespace else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><AccessControlPolicy{xmlns} '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Owner><ID>me</ID><DisplayName>x</DisplayName></Owner>'
        f"<AccessControlList>{''.join(grants)}</AccessControlList></AccessControlPolicy>"
    ).encode()


PRIVATE = policy(OWNER)
PUBLIC_READ = policy(OWNER, grant("AllUsers", "READ"))
PUBLIC_WRITE = policy(grant("AllUsers", "WRITE"), OWNER, grant("AllUsers", "READ"))
AUTHENTICATED = policy(OWNER, grant("AuthenticatedUsers", "READ"))
OTHER_READ = policy(OWNER, grant("them", "READ"))
OTHER_FULL = policy(grant("them", "FULL_CONTROL"), OWNER)


@pytest.mark.parametrize(
    ("document", "canned"),
    [
        pytest.param(PRIVATE, "private", id="private"),
        pytest.param(policy(), "private", id="nothing granted"),
        pytest.param(policy(OWNER, namespace=""), "private", id="no namespace"),
        pytest.param(PUBLIC_READ, "public-read", id="public-read"),
        pytest.param(PUBLIC_WRITE, "public-read-write", id="public-read-write in moto's order"),
        pytest.param(
            policy(OWNER, grant("AllUsers", "READ", "WRITE")), "public-read-write", id="public-read-write in RGW's form"
        ),
        pytest.param(AUTHENTICATED, "authenticated-read", id="authenticated-read"),
        pytest.param(OTHER_READ, "bucket-owner-read", id="bucket-owner-read"),
        pytest.param(OTHER_FULL, "bucket-owner-full-control", id="bucket-owner-full-control"),
        pytest.param(policy(OWNER, grant("AllUsers", "READ_ACP")), "custom", id="nothing canned"),
        pytest.param(policy(OWNER, grant("AllUsers", "READ"), grant("them", "READ")), "custom", id="two canned ones"),
        pytest.param(b"", "", id="no document"),
        pytest.param(b"<html><p>", "", id="another document"),
    ],
)
def test_grants_amount_to_a_canned_acl(document: bytes, canned: str) -> None:
    assert canned_acl(document) == canned


@pytest.mark.parametrize(
    ("want", "documents"),
    [
        pytest.param("private", [PRIVATE], id="private"),
        pytest.param("public-read", [PUBLIC_READ], id="public-read"),
        pytest.param("public-read-write", [PUBLIC_WRITE], id="public-read-write"),
        pytest.param("authenticated-read", [AUTHENTICATED], id="authenticated-read"),
        pytest.param("bucket-owner-read", [PRIVATE, OTHER_READ], id="bucket-owner-read, or the bucket is ours"),
        pytest.param("bucket-owner-full-control", [PRIVATE, OTHER_FULL], id="bucket-owner-full-control, or the bucket is ours"),
        pytest.param("aws-exec-read", [PRIVATE, OTHER_READ], id="aws-exec-read"),
        pytest.param("log-delivery-write", [PRIVATE], id="log-delivery-write"),
    ],
)  # fmt: skip
def test_an_acl_that_was_set_is_found_again_and_no_other(want: str, documents: list[bytes]) -> None:
    every = [PRIVATE, PUBLIC_READ, PUBLIC_WRITE, AUTHENTICATED, OTHER_READ, OTHER_FULL]

    assert [document for document in every if acl_matches(want, document)] == documents


def test_an_answer_that_cannot_be_read_is_no_reason_to_copy_on_every_run() -> None:
    assert acl_matches("private", b"not implemented")


FILE = local_file("a", 10)
LOCAL = FILE.stamp
LISTED = ListedObject("a", 10, "etag", 1_700_000_100.0)
KNOWN = KnownObject("etag", 10, LOCAL, 1_700_000_100.0, "print", "")


@pytest.mark.parametrize(
    ("file", "listed", "known", "fingerprint", "expected"),
    [
        pytest.param(FILE, LISTED, KNOWN, "print", True, id="nothing changed"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(size=11)), LISTED, KNOWN, "print", False, id="another size here"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(mtime_ns=LOCAL.mtime_ns + 1)), LISTED, KNOWN, "print", False, id="another time, by a nanosecond"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(ctime_ns=LOCAL.ctime_ns + 1)), LISTED, KNOWN, "print", False, id="another ctime, and all else alike"),
        pytest.param(FILE, LISTED, KNOWN._replace(local=LOCAL._replace(ctime_ns=0)), "print", False, id="a ctime that is not known"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(device=99)), LISTED, KNOWN, "print", True, id="the same file system, mounted again"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(inode=78)), LISTED, KNOWN, "print", False, id="another file in its place"),
        pytest.param(FILE, LISTED._replace(size=11), KNOWN, "print", False, id="another size there"),
        pytest.param(FILE, LISTED._replace(etag="other"), KNOWN, "print", False, id="another ETag"),
        pytest.param(FILE, LISTED._replace(modified=LISTED.modified + 0.999), KNOWN, "print", True, id="written within our second"),
        pytest.param(FILE, LISTED._replace(modified=LISTED.modified + 1.0), KNOWN, "print", False, id="written in the second after ours"),
        pytest.param(FILE, LISTED._replace(modified=LISTED.modified + 1.001), KNOWN, "print", False, id="written after us"),
        pytest.param(FILE, LISTED._replace(modified=0.0), KNOWN, "print", True, id="a clock that is behind"),
        pytest.param(FILE, LISTED, KNOWN, "other", False, id="other attributes are wanted"),
        pytest.param(FILE._replace(stamp=LOCAL._replace(size=5)), LISTED, KNOWN._replace(local=LOCAL._replace(size=5)), "print", True, id="compressed on the way"),
    ],
)  # fmt: skip
def test_unchanged_means_our_file_and_our_own_last_write(
    file: LocalFile, listed: ListedObject, known: KnownObject, fingerprint: str, expected: bool
) -> None:
    assert is_file_unchanged(file, listed, known, fingerprint) is expected


@pytest.mark.parametrize(
    ("etag", "md5"),
    [
        pytest.param('"D41D8CD98F00B204E9800998ECF8427E"', "d41d8cd98f00b204e9800998ecf8427e", id="quoted, upper case"),
        pytest.param("d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e", id="plain"),
        pytest.param('"d41d8cd98f00b204e9800998ecf8427e-2"', None, id="multipart"),
        pytest.param("0x8D4BCC2E4835CD0", None, id="something else"),
        pytest.param("", None, id="none"),
    ],
)
def test_an_etag_is_an_md5_only_if_it_has_its_form(etag: str, md5: str | None) -> None:
    assert md5_of_etag(etag) == md5


def test_a_multipart_etag_is_the_md5_of_the_md5s() -> None:
    digests = [hashlib.md5(part).digest() for part in (b"a" * 5, b"b")]

    assert multipart_etag(iter(digests)) == hashlib.md5(b"".join(digests)).hexdigest() + "-2"


@pytest.mark.parametrize(
    ("size", "parts", "own", "expected"),
    [
        pytest.param(100 * MIB, 7, 16 * MIB, [16 * MIB, 15 * MIB, -(-100 * MIB // 7)], id="ours first, then others'"),
        pytest.param(100 * MIB, 13, 16 * MIB, [8 * MIB, -(-100 * MIB // 13)], id="aws s3 cp"),
        pytest.param(100 * MIB, 2, 16 * MIB, [64 * MIB, 50 * MIB], id="s5cmd; ours doubled"),
        pytest.param(300 * 1024 * MIB, 9600, 16 * MIB, [32 * MIB], id="ours, doubled to fit 10,000 parts"),
        pytest.param(17 * MIB, 3, 16 * MIB, [8 * MIB, 6 * MIB, -(-17 * MIB // 3)], id="an even split"),
        pytest.param(0, 1, 16 * MIB, [16 * MIB], id="empty, in one part"),
        pytest.param(10, 0, 16 * MIB, [], id="no parts"),
        pytest.param(10, 11, 16 * MIB, [], id="more parts than bytes"),
    ],
)
def test_part_sizes_are_those_that_make_so_many_parts(size: int, parts: int, own: int, expected: list[int]) -> None:
    found = part_size_candidates(size, parts, own)

    assert [candidate for candidate in found if candidate in expected] == expected
    assert all(max(1, -(-size // candidate)) == parts for candidate in found)


def test_what_is_compared_survives_pickling() -> None:
    head = remote(x_amz_meta_a="1")

    assert pickle.loads(pickle.dumps(head)) == head
