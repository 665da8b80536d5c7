"""What is known of an object's content, and what follows from it for a local file."""

from __future__ import annotations

import hashlib

import pytest

from s3batch.objects.content_match import ContentEvidence, is_same_content
from s3batch.s3.checksums import checksum_of
from s3batch.s3.etag import multipart_etag

BODY = b"0123456789abcdef" * 700_000
"""11.2 MB: three parts of 5 MiB."""
PART = 5 << 20
MD5 = hashlib.md5(BODY).hexdigest()
OTHER = hashlib.md5(b"other").hexdigest()
PARTS = multipart_etag([hashlib.md5(BODY[at : at + PART]).digest() for at in range(0, len(BODY), PART)])
CRC = checksum_of("crc64nvme", BODY)
SHA = checksum_of("sha256", BODY)


def judge(evidence: ContentEvidence, body: bytes = BODY) -> bool | None:
    return is_same_content(lambda: [body[:1000], body[1000:]], len(body), evidence, PART)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        pytest.param({"etag": f'"{MD5}"'}, True, id="the ETag is the MD5"),
        pytest.param({"etag": f'"{OTHER}"'}, False, id="the ETag is another MD5"),
        pytest.param(
            {"etag": f'"{OTHER}"', "x-amz-server-side-encryption": "AES256"}, False, id="S3's own keys: still an MD5"
        ),
        pytest.param(
            {"etag": f'"{OTHER}"', "x-amz-server-side-encryption": "aws:kms"},
            None,
            id="with KMS it only looks like one",
        ),
        pytest.param(
            {"etag": f'"{OTHER}"', "x-amz-server-side-encryption": "aws:kms", "x-amz-checksum-crc64nvme": CRC},
            True,
            id="KMS and an equal checksum",
        ),
        pytest.param({"etag": '"opaque"', "x-amz-checksum-sha256": SHA}, True, id="an equal SHA-256"),
        pytest.param({"etag": '"opaque"', "x-amz-checksum-crc32": "AAAAAA=="}, False, id="another CRC32"),
        pytest.param(
            {"etag": f'"{PARTS}"', "x-amz-checksum-crc32": "AAAAAA==-3"}, True, id="a checksum of parts is passed by"
        ),
        pytest.param(
            {"etag": f'"{PARTS}"', "x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"},
            True,
            id="one that says it is of parts too",
        ),
        pytest.param({"etag": f'"{OTHER}-3"'}, None, id="other parts, or parts of another size"),
        pytest.param({"etag": '"opaque"'}, None, id="an ETag that says nothing"),
        pytest.param({}, None, id="no ETag at all"),
    ],
)
def test_a_head_tells_of_the_content(headers, verdict) -> None:
    assert judge(ContentEvidence.from_head(headers)) is verdict


@pytest.mark.parametrize(
    ("etag", "checksum", "verdict"),
    [
        pytest.param(MD5, "", True, id="the MD5"),
        pytest.param(OTHER, "", None, id="no MD5 of it: perhaps KMS made the ETag"),
        pytest.param(OTHER, CRC, True, id="the checksum decides"),
        pytest.param(OTHER, checksum_of("crc64nvme", b"x"), False, id="and against it too"),
        pytest.param("opaque", checksum_of("crc32c", BODY), True, id="CRC32C"),
        pytest.param("opaque", checksum_of("crc32", BODY), True, id="CRC32, which is as long"),
        pytest.param("opaque", SHA, True, id="SHA-256"),
        pytest.param("opaque", "odd", None, id="what no algorithm writes"),
        pytest.param(PARTS, "", True, id="an ETag of parts"),
    ],
)
def test_a_record_tells_of_the_content(etag, checksum, verdict) -> None:
    assert judge(ContentEvidence.from_record(etag, checksum)) is verdict
