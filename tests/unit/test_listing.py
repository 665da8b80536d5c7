"""Answers in XML as the servers write them, taken from the wire."""

from __future__ import annotations

import pytest

from s3batch.model import ListedObject
from s3batch.s3 import documents
from s3batch.s3.document_values import (
    parse_completed,
    parse_copied,
    parse_delete_errors,
    parse_parts,
    parse_upload_id,
    parse_uploads,
)
from s3batch.s3.documents import MalformedResponseError, read_document
from s3batch.s3.faults import RequestError
from s3batch.s3.listing import parse_page
from s3batch.s3.requests import Response, list_parts
from s3batch.s3.validation import validate_response

XML = b'<?xml version="1.0" encoding="UTF-8"?>'
MD5 = "9dd4e461268c8034f5c8564e155c67a6"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            b"<Key>a/b</Key><LastModified>2026-11-21T22:31:03.590Z</LastModified><ETag>&quot;%s&quot;</ETag><Size>1</Size>",
            ListedObject("a/b", 1, MD5, 1795300263.59),
            id="Amazon",
        ),
        pytest.param(
            b'<Key>a+b%%2Bc</Key><LastModified>2026-11-21T22:31:03Z</LastModified><ETag>"%s"</ETag><Size>0</Size>',
            ListedObject("a b+c", 0, MD5, 1795300263.0),
            id="ministack, and a time without fraction",
        ),
        pytest.param(
            b"<Key>k</Key><ETag>&#34;%s&#34;</ETag><Size>7</Size><LastModified>2026-11-21T22:31:03.1Z</LastModified>",
            ListedObject("k", 7, MD5, 1795300263.1),
            id="SeaweedFS: quotes by number, another order",
        ),
        pytest.param(
            b"<Key>k</Key><LastModified>2026-11-21T22:31:03.123456789Z</LastModified><ETag>%s</ETag><Size>7</Size>",
            ListedObject("k", 7, MD5, 1795300263.123456789),
            id="bare ETag, nanoseconds",
        ),
        pytest.param(
            b"<Key>%%E6%%97%%A5&amp;%%FF</Key><LastModified>2026-11-21T22:31:03Z</LastModified><Size>7</Size><!--%s-->",
            ListedObject("日&\udcff", 7, "", 1795300263.0),
            id="no ETag, no UTF-8",
        ),
    ],
)
def test_a_row_is_read(row, expected):
    body = (
        XML
        + b"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents>"
        + row % MD5.encode()
        + b"<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"
    )

    page = parse_page(body)

    assert page.token == ""
    (found,) = page.objects
    assert found == expected._replace(modified=pytest.approx(expected.modified))


def test_a_row_without_a_size_is_no_listing():
    body = b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>"

    with pytest.raises(ValueError, match="without Size"):
        parse_page(body)


def test_a_page_that_goes_on_must_say_how():
    with pytest.raises(ValueError, match="has no continuation token"):
        parse_page(b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")


def test_the_token_is_taken_as_it_is_meant():
    body = (
        b"<ListBucketResult><IsTruncated> true </IsTruncated>"
        b"<NextContinuationToken>a&amp;b+c%20=</NextContinuationToken></ListBucketResult>"
    )

    assert parse_page(body).token == "a&b+c%20="


def test_an_upload_id_is_found_in_any_namespace():
    body = (
        b'<InitiateMultipartUploadResult xmlns="http://x"><UploadId>a&amp;b</UploadId></InitiateMultipartUploadResult>'
    )

    assert parse_upload_id(body) == "a&b"


@pytest.mark.parametrize("body", [b"<html>Welcome", b"", b"<Error/>"])
def test_an_answer_without_upload_id_is_refused(body):
    with pytest.raises(MalformedResponseError):
        parse_upload_id(body)


def test_a_completed_upload_says_etag_and_checksum_where_the_store_knows_them():
    body = (
        b'<CompleteMultipartUploadResult><ETag>"x-2"</ETag><ChecksumCRC64NVME>c=</ChecksumCRC64NVME>'
        b"</CompleteMultipartUploadResult>"
    )

    assert parse_completed(body) == {"ETag": '"x-2"', "ChecksumCRC64NVME": "c="}
    assert parse_completed(b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>") == {
        "ETag": ""
    }


def test_parts_go_on_after_the_marker_the_store_gives():
    row = b"<Part><PartNumber>%d</PartNumber><ETag>&quot;e&quot;</ETag><Size>5</Size></Part>"
    body = (
        b"<ListPartsResult><NextPartNumberMarker>1000</NextPartNumberMarker><IsTruncated>true</IsTruncated>"
        + row % 999
        + row % 1000
        + b"</ListPartsResult>"
    )

    parts, marker = parse_parts(body)

    assert [(part.number, part.size, part.etag) for part in parts] == [(999, 5, "e"), (1000, 5, "e")]
    assert marker == 1000


@pytest.mark.parametrize("marker", [7, 6, 10_001], ids=["the same", "in a circle", "beyond the last part"])
def test_a_listing_of_parts_without_an_end_is_malformed(marker):
    body = b"<ListPartsResult><NextPartNumberMarker>%d</NextPartNumberMarker><IsTruncated>true</IsTruncated></ListPartsResult>"

    with pytest.raises(RequestError, match=r"repeats itself|more than 10000 parts"):
        validate_response(list_parts("k", "u", 7), Response(200, {}, body % marker))


def test_uploads_go_on_after_both_markers():
    body = (
        b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
        b"<NextUploadIdMarker>u</NextUploadIdMarker><Upload><Key>k</Key><UploadId>u</UploadId>"
        b"<Initiated>2026-11-21T22:31:03.441Z</Initiated></Upload></ListMultipartUploadsResult>"
    )

    uploads, markers = parse_uploads(body)

    assert [tuple(upload) for upload in uploads] == [("k", "u", 1795300263.441)]
    assert markers == ("k", "u")


def test_the_keys_that_were_not_deleted_are_found():
    body = (
        b"<DeleteResult><Error><Key>a&amp;b</Key><Code>AccessDenied</Code><Message>No</Message></Error></DeleteResult>"
    )

    assert parse_delete_errors(body) == [{"Key": "a&b", "Code": "AccessDenied", "Message": "No"}]


@pytest.mark.parametrize(
    ("body", "etag"),
    [
        (b"<CopyObjectResult><ETag>&quot;x&quot;</ETag></CopyObjectResult>", "x"),
        (b'<CopyObjectResult><ETag>"x-3"</ETag></CopyObjectResult>', "x-3"),
        (b"<CopyObjectResult></CopyObjectResult>", ""),
    ],
)
def test_a_copy_says_its_etag_where_the_store_does(body, etag):
    assert parse_copied(body) == etag


@pytest.mark.parametrize("start", [b"", b"<", b"\xef\xbb\xbf ", b"<A>\x01<"])
def test_a_large_body_of_another_kind_is_refused_by_its_head(start, monkeypatch):
    moved = []
    monkeypatch.setattr(documents, "_move_character", lambda code: moved.append(code) or "?")

    with pytest.raises(MalformedResponseError, match="not a whole document"):
        read_document(start + b"\x00\xff" * 500_000)

    assert len(moved) <= 64 * 1024


@pytest.mark.parametrize("length", range(65_515, 65_540))
def test_a_character_that_xml_cannot_hold_is_read_at_the_end_of_the_head_too(length):
    key = "k" * length + "&#x1;\x02é\x03" + "k" * 9

    assert read_document(f"<A><Key>{key}</Key></A>".encode()).top == {"Key": key.replace("&#x1;", "\x01")}


def test_a_document_that_is_cut_after_its_head_is_malformed():
    with pytest.raises(MalformedResponseError, match="not a whole document"):
        read_document(b"<A>" + b"<B>1</B>" * 20_000)
