"""What each local server is known to do differently from Amazon S3, checked against the server itself.

The other tests lean on the table of quirks in tests/rig/servers.py; a new version of a server that
behaves differently shows up here, and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tests.rig import buckets, servers
from tests.rig.buckets import Bucket
from tests.rig.servers import Quirk

ODD_KEYS = ["a b", "plus+and%20", "ünï/ñ", "a//b", "./dot", "up/../here", "new\nline", "trailing/", "back\\slash"]
PART = b"p" * (5 << 20)


@pytest.fixture(params=servers.NAMES)
def server(request, server_named):
    """Each server in turn."""
    return server_named(request.param)


def refused(call: Callable, **arguments: object) -> bool:
    """Whether S3 says no."""
    try:
        call(**arguments)
    except ClientError:
        return True
    return False


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()


def loses_acl(bucket: Bucket) -> bool:
    if refuses_acl(bucket):
        return True
    bucket.put("k", b"v", ACL="public-read")
    return not any("AllUsers" in grantee for grantee, _ in bucket.grants("k"))


def refuses_acl(bucket: Bucket) -> bool:
    bucket.put("k", b"v")
    return refused(bucket.client.get_object_acl, Bucket=bucket.name, Key="k")


def loses_checksum(bucket: Bucket) -> bool:
    bucket.put("k", b"v", ChecksumCRC32=crc32(b"v"))
    return "ChecksumCRC32" not in bucket.client.head_object(Bucket=bucket.name, Key="k", ChecksumMode="ENABLED")


def stores_wrong_checksum(bucket: Bucket) -> bool:
    return not refused(bucket.put, key="k", body=b"v", ChecksumCRC32=crc32(b"w"))


def stores_wrong_md5(bucket: Bucket) -> bool:
    return not refused(bucket.put, key="k", body=b"v", ContentMD5=base64.b64encode(bytes(16)).decode())


def completes_once(bucket: Bucket) -> bool:
    complete = begin_upload(bucket, [PART, b"end"])
    bucket.client.complete_multipart_upload(**complete)
    return refused(bucket.client.complete_multipart_upload, **complete)


def lists_untrue_times(bucket: Bucket) -> bool:
    begin_upload(bucket, [PART])
    (upload,) = bucket.uploads()
    return abs(upload["Initiated"].timestamp() - time.time()) > 60


def ignores_condition(bucket: Bucket) -> bool:
    bucket.put("k", b"v")
    return not refused(bucket.put, key="k", body=b"w", IfNoneMatch="*")


def ignores_delete_condition(bucket: Bucket) -> bool:
    bucket.put("k", b"v")
    return not refused(bucket.client.delete_object, Bucket=bucket.name, Key="k", IfMatch='"0123"')


def loses_expires(bucket: Bucket) -> bool:
    bucket.put("k", b"v", Expires="Thu, 01 Jan 2099 00:00:00 GMT")
    return "ExpiresString" not in bucket.head("k")


def refuses_keys(bucket: Bucket) -> bool:
    for key in ODD_KEYS:
        refused(bucket.put, key=key, body=b"v")
    return bucket.keys() != set(ODD_KEYS)


def sends_whole_checksum_with_range(bucket: Bucket) -> bool:
    bucket.put("k", b"0123456789", ChecksumCRC32=crc32(b"0123456789"))
    got = bucket.client.get_object(Bucket=bucket.name, Key="k", Range="bytes=2-4", ChecksumMode="ENABLED")
    return "ChecksumCRC32" in got


def renames_metadata(bucket: Bucket) -> bool:
    bucket.put("k", b"v", Metadata={"under_score": "1", "lower": "2"})
    return bucket.head("k")["Metadata"] != {"under_score": "1", "lower": "2"}


def has_own_multipart_etag(bucket: Bucket) -> bool:
    bucket.client.complete_multipart_upload(**begin_upload(bucket, [PART, b"end"]))
    digests = hashlib.md5(PART).digest() + hashlib.md5(b"end").digest()
    return bucket.head("k")["ETag"] != f'"{hashlib.md5(digests).hexdigest()}-2"'


def loses_redirect(bucket: Bucket) -> bool:
    bucket.put("k", b"", WebsiteRedirectLocation="/elsewhere")
    return "WebsiteRedirectLocation" not in bucket.head("k")


def accepts_wrong_secret(bucket: Bucket) -> bool:
    return not refused(buckets.client(replace(bucket.server, secret_key="wrong")).list_buckets)


def accepts_small_parts(bucket: Bucket) -> bool:
    return not refused(bucket.client.complete_multipart_upload, **begin_upload(bucket, [b"small", b"end"]))


def accepts_any_class(bucket: Bucket) -> bool:
    return not refused(bucket.put, key="k", body=b"v", StorageClass="NONSENSE")


def loses_tags(bucket: Bucket) -> bool:
    bucket.put("k", b"v", Tagging="a=b")
    try:
        return bucket.client.get_object_tagging(Bucket=bucket.name, Key="k")["TagSet"] != [{"Key": "a", "Value": "b"}]
    except ClientError:
        return True


def begin_upload(bucket: Bucket, parts: list[bytes]) -> dict:
    """Send the parts; the arguments that complete the upload."""
    place = {"Bucket": bucket.name, "Key": "k"}
    place["UploadId"] = bucket.client.create_multipart_upload(**place)["UploadId"]
    etags = [
        bucket.client.upload_part(**place, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, start=1)
    ]
    listed = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    return place | {"MultipartUpload": {"Parts": listed}}


CHECKS = {
    Quirk.ACL_LOST: loses_acl,
    Quirk.ACL_REFUSED: refuses_acl,
    Quirk.CHECKSUM_LOST: loses_checksum,
    Quirk.CHECKSUM_UNVERIFIED: stores_wrong_checksum,
    Quirk.COMPLETE_ONCE: completes_once,
    Quirk.CONDITION_IGNORED: ignores_condition,
    Quirk.DELETE_CONDITION_IGNORED: ignores_delete_condition,
    Quirk.EXPIRES_LOST: loses_expires,
    Quirk.KEYS_REFUSED: refuses_keys,
    Quirk.RANGE_CHECKSUM: sends_whole_checksum_with_range,
    Quirk.MD5_UNVERIFIED: stores_wrong_md5,
    Quirk.METADATA_RENAMED: renames_metadata,
    Quirk.MULTIPART_ETAG: has_own_multipart_etag,
    Quirk.REDIRECT_LOST: loses_redirect,
    Quirk.SIGNATURE_UNCHECKED: accepts_wrong_secret,
    Quirk.SMALL_PARTS: accepts_small_parts,
    Quirk.STORAGE_CLASS_UNCHECKED: accepts_any_class,
    Quirk.TAGS_LOST: loses_tags,
    Quirk.UPLOAD_TIMES_UNTRUE: lists_untrue_times,
}


@pytest.mark.parametrize("quirk", [pytest.param(quirk, id=quirk.name.lower()) for quirk in CHECKS])
def test_a_server_differs_from_amazon_exactly_where_the_table_says(bucket, quirk):
    assert CHECKS[quirk](bucket) is bucket.server.has(quirk)


def test_a_checksum_in_a_trailer_is_refused_where_the_table_says(bucket, tls_proxy, ca_bundle):
    """The AWS libraries send it so over TLS, unless told otherwise."""
    behind = replace(bucket.server, url=tls_proxy.url)
    s3 = buckets.client(behind, verify=str(ca_bundle), request_checksum_calculation="when_supported")

    was_refused = refused(s3.put_object, Bucket=bucket.name, Key="k", Body=io.BytesIO(b"v"))

    assert "x-amz-trailer" in tls_proxy.requests[0].headers
    assert was_refused is bucket.server.has(Quirk.TRAILER_REFUSED)
