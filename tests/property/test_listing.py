"""A page of the listing is read as botocore reads it, however the store writes names, quotes and times."""

from __future__ import annotations

import datetime
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import RestXMLParser
from hypothesis import given
from hypothesis import strategies as st

from s3batch.s3.document_values import parse_parts, parse_uploads
from s3batch.s3.listing import parse_page

XML_CHAR = st.characters(exclude_categories=["Cs"], min_codepoint=32).filter(
    lambda char: char not in "\x7f\ufffe\uffff"
)
NAME = st.one_of(st.text(XML_CHAR, min_size=1, max_size=20), st.text("ab/+ %&<>\"'~.é", min_size=1, max_size=20))
WHEN = st.integers(631152000 * 10**6, 4102444800 * 10**6).map(
    lambda microseconds: (
        datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=microseconds)
    )
)
ETAG = st.text("0123456789abcdef-", min_size=1, max_size=34)
QUOTES = st.sampled_from(["&quot;", '"', "&#34;", "&#x22;", ""])
ROW = st.tuples(NAME, st.integers(0, 5 << 40), ETAG, QUOTES, WHEN, st.sampled_from([0, 2, 3, 6, 9]))
MODEL = botocore.session.Session().get_service_model("s3")


def page_of(rows, *, encoder, token: str, declared: bool, pretty: bool, owner: bool = True) -> bytes:
    gap = "\n    " if pretty else ""
    told = "<Owner><ID>Key</ID><DisplayName>Size</DisplayName></Owner>" if owner else ""
    checked = (
        "" if owner else "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    )
    contents = "".join(
        f"{gap}<Contents>{gap}<Key>{escape(encoder(name))}</Key>{gap}<LastModified>{iso(when, digits)}</LastModified>"
        f"{gap}<ETag>{quotes}{etag}{quotes}</ETag>{checked}<Size>{size}</Size>"
        f"{told}<StorageClass>STANDARD</StorageClass>{gap}</Contents>"
        for name, size, etag, quotes, when, digits in rows
    )
    more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    encoding = "<EncodingType>url</EncodingType>" if declared else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix>x</Prefix>{encoding}<KeyCount>{len(rows)}</KeyCount>"
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}{contents}{gap}</ListBucketResult>\n"
    ).encode()


def iso(when: datetime.datetime, digits: int) -> str:
    fraction = f".{when.microsecond:06d}000"[: digits + 1] if digits else ""
    return when.strftime("%Y-%m-%dT%H:%M:%S").zfill(19) + fraction + "Z"


def by_botocore(body: bytes) -> tuple[list[tuple[str, int, str, float]], str]:
    shape = MODEL.operation_model("ListObjectsV2").output_shape
    parsed = RestXMLParser().parse({"status_code": 200, "headers": {}, "body": body}, shape)
    if parsed.get("EncodingType") == "url":
        decode_list_object_v2(parsed, {"encoding_type_auto_set": True})
    rows = [
        (row["Key"], row["Size"], row["ETag"].strip('"'), row["LastModified"].timestamp())
        for row in parsed.get("Contents", [])
    ]
    return rows, parsed.get("NextContinuationToken", "")


@pytest.mark.parametrize(
    ("encoder", "declared"),
    [
        pytest.param(lambda name: quote_plus(name, safe="/"), True, id="as Amazon encodes: + for a space"),
        pytest.param(lambda name: quote(name, safe="/"), True, id="as others encode: %20"),
        pytest.param(lambda name: quote(name, safe=""), True, id="slashes too"),
        pytest.param(lambda name: name, False, id="plain, in spite of what was asked for"),
    ],
)
@given(
    rows=st.lists(ROW, max_size=6),
    token=st.one_of(st.just(""), NAME.map(str.strip)),
    pretty=st.booleans(),
    owner=st.booleans(),
)
def test_a_page_is_read_as_botocore_reads_it(encoder, declared, rows, token, pretty, owner):
    body = page_of(rows, encoder=encoder, token=token, declared=declared, pretty=pretty, owner=owner)

    page = parse_page(body)
    expected, expected_token = by_botocore(body)

    assert [(each.key, each.size, each.etag) for each in page.objects] == [row[:3] for row in expected]
    assert [each.modified for each in page.objects] == pytest.approx([row[3] for row in expected], abs=1e-5)
    assert page.token == expected_token


@given(name=st.binary(min_size=1, max_size=20), plus=st.booleans())
def test_a_name_that_is_no_utf8_comes_back_as_its_bytes(name, plus):
    encoded = (quote_plus if plus else quote)(name)
    row = (encoded, 1, "e", "", datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC), 0)
    body = page_of([row], encoder=str, token="", declared=True, pretty=False)

    (found,) = parse_page(body).objects

    assert found.key.encode("utf-8", "surrogateescape") == name


@given(rows=st.lists(ROW, min_size=1, max_size=3), cut=st.integers(1, 200))
def test_a_cut_page_is_no_page(rows, cut):
    body = page_of(rows, encoder=quote, token="", declared=True, pretty=False).rstrip()

    with pytest.raises(ValueError, match="not a whole document"):
        parse_page(body[:-cut])


@given(st.binary(max_size=300))
def test_what_is_no_listing_is_refused(body):
    with pytest.raises(ValueError):
        parse_page(body)


@given(parts=st.lists(st.tuples(st.integers(1, 10000), st.integers(0, 5 << 30), ETAG), max_size=5), more=st.booleans())
def test_parts_are_read_as_they_were_written(parts, more):
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>2026-11-21T20:15:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><ChecksumCRC64NVME>sum=</ChecksumCRC64NVME></Part>"
        for number, size, etag in parts
    )
    last = parts[-1][0] if parts else 7
    body = (
        f"<ListPartsResult xmlns='x'><NextPartNumberMarker>{last}</NextPartNumberMarker>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{rows}</ListPartsResult>"
    )

    found, marker = parse_parts(body.encode())

    assert [(part.number, part.size, part.etag, part.checksum) for part in found] == [(*part, "sum=") for part in parts]
    assert marker == (last if more else 0)


@given(keys=st.lists(NAME, max_size=4), more=st.booleans())
def test_uploads_are_read_as_they_were_written(keys, more):
    rows = "".join(
        f"<Upload><Key>{escape(key)}</Key><UploadId>id&amp;{at}</UploadId>"
        "<Initiated>2026-11-21T20:15:00.000Z</Initiated></Upload>"
        for at, key in enumerate(keys)
    )
    body = (
        f"<ListMultipartUploadsResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        f"<NextKeyMarker>k&amp;</NextKeyMarker>{rows}</ListMultipartUploadsResult>"
    )

    uploads, markers = parse_uploads(body.encode())

    assert [(upload.key, upload.upload_id) for upload in uploads] == [(key, f"id&{at}") for at, key in enumerate(keys)]
    assert markers == (("k&", "") if more else ("", ""))
