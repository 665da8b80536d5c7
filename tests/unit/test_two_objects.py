"""Two objects side by side: what their HEADs say of content and attributes."""

from __future__ import annotations

import pytest

from s3batch.model import Attributes
from s3batch.objects.headers import RemoteAttributes
from s3batch.objects.two_objects import (
    is_same_object_content,
    make_transfer_headers,
    merge_attributes,
    needs_source_head,
)

MD5, OTHER_MD5 = "0" * 32, "1" * 32
CRC, OTHER_CRC = "AAAAAAAAAAA=", "AAAAAAAAAAE="
KMS = {"x-amz-server-side-encryption": "aws:kms"}
COMPOSITE = {"x-amz-checksum-type": "COMPOSITE"}


def head(etag: str = MD5, length: str = "5", crc: str = "", **more: str) -> dict[str, str]:
    checksum = {"x-amz-checksum-crc64nvme": crc} if crc else {}
    return {"content-length": length, "etag": f'"{etag}"', **checksum, **more}


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        pytest.param(head(), head(), True, id="the same MD5"),
        pytest.param(head(), head(OTHER_MD5), False, id="other MD5s"),
        pytest.param(head(), head(length="6"), False, id="another size"),
        pytest.param(head(OTHER_MD5, "0"), head(length="0", **KMS), True, id="both empty"),
        pytest.param(head(), head(OTHER_MD5, **KMS), None, id="KMS: the ETag is no MD5"),
        pytest.param(head(crc=CRC), head(OTHER_MD5, crc=CRC, **KMS), True, id="KMS, but the same checksum"),
        pytest.param(head(crc=CRC), head(crc=OTHER_CRC), False, id="other checksums"),
        pytest.param(head(f"{MD5}-2"), head(f"{MD5}-2"), True, id="the same ETag of parts"),
        pytest.param(head(f"{MD5}-2"), head(f"{OTHER_MD5}-3"), None, id="other parts"),
        pytest.param(head(f"{MD5}-2"), head(), None, id="parts here, a whole there"),
        pytest.param(
            head(f"{MD5}-2", crc=CRC, **COMPOSITE), head(f"{OTHER_MD5}-3", crc=OTHER_CRC, **COMPOSITE), None,
            id="checksums of other parts",
        ),
        pytest.param(
            head(f"{MD5}-2", crc=CRC), head(f"{OTHER_MD5}-3", crc=CRC), True, id="other parts, but the same checksum"
        ),
        pytest.param(head(""), head(""), None, id="no ETag at all"),
    ],
)  # fmt: skip
def test_content(source, target, same):
    assert is_same_object_content(source, target) is same
    assert is_same_object_content(target, source) is same


@pytest.mark.parametrize(
    ("configured", "size", "needed"),
    [
        (Attributes(), 5, False),
        (Attributes(acl="private", storage_class="STANDARD_IA", tags=(("a", "b"),), encryption="AES256"), 5, False),
        (Attributes(cache_control="no-store"), 5, True),
        (Attributes(metadata=()), 5, True),
        (Attributes(), 0, True),
    ],
)
def test_a_copy_asks_the_source_only_where_it_names_what_that_has(configured, size, needed):
    assert needs_source_head(configured, size) is needed


def test_configured_attributes_replace_those_of_the_source_one_by_one():
    source = RemoteAttributes(
        content_type="text/html", cache_control="no-store", storage_class="GLACIER", encryption="aws:kms",
        redirect="/there", metadata=(("colour", "blue"), ("mtime", "1")),
    )  # fmt: skip
    merged = merge_attributes(Attributes(cache_control="public", metadata=(("Colour", "red"),)), source)

    assert make_transfer_headers(merged, source) == {
        "content-type": "text/html",
        "cache-control": "public",
        "x-amz-meta-Colour": "red",
        "x-amz-meta-mtime": "1",
        "x-amz-website-redirect-location": "/there",
    }
