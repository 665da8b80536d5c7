"""Requests as values: what each says, and how names travel in it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from s3batch.s3 import requests
from s3batch.s3.requests import Response


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(
            requests.put_object("k", b"b", {"a": "b"}), ("PutObject", "PUT", "k", "", {"a": "b"}, b"b"), id="put"
        ),
        pytest.param(requests.get_object("k"), ("GetObject", "GET", "k", "", {}, b""), id="get"),
        pytest.param(
            requests.get_object("k", 5, 9), ("GetObject", "GET", "k", "", {"range": "bytes=5-9"}, b""), id="range"
        ),
        pytest.param(
            requests.get_object("k", 0, 0), ("GetObject", "GET", "k", "", {"range": "bytes=0-0"}, b""), id="first byte"
        ),
        pytest.param(
            requests.head_object("k"),
            ("HeadObject", "HEAD", "k", "", {"x-amz-checksum-mode": "ENABLED"}, b""),
            id="head",
        ),
        pytest.param(requests.delete_object("k"), ("DeleteObject", "DELETE", "k", "", {}, b""), id="delete"),
        pytest.param(
            requests.upload_part("k", "id/+=", 7, b"b"),
            ("UploadPart", "PUT", "k", "partNumber=7&uploadId=id%2F%2B%3D", {}, b"b"),
            id="part",
        ),
        pytest.param(
            requests.abort_multipart_upload("k", "i"),
            ("AbortMultipartUpload", "DELETE", "k", "uploadId=i", {}, b""),
            id="abort",
        ),
        pytest.param(requests.list_parts("k", "i"), ("ListParts", "GET", "k", "uploadId=i", {}, b""), id="parts"),
        pytest.param(
            requests.list_parts("k", "i", 1000),
            ("ListParts", "GET", "k", "part-number-marker=1000&uploadId=i", {}, b""),
            id="more parts",
        ),
        pytest.param(requests.get_object_acl("k"), ("GetObjectAcl", "GET", "k", "acl=", {}, b""), id="acl"),
        pytest.param(
            requests.list_objects("a b/"),
            ("ListObjectsV2", "GET", "", "encoding-type=url&list-type=2&max-keys=1000&prefix=a%20b%2F", {}, b""),
            id="listing",
        ),
        pytest.param(
            requests.list_multipart_uploads("p/", "k+", "u"),
            ("ListMultipartUploads", "GET", "", "key-marker=k%2B&prefix=p%2F&upload-id-marker=u&uploads=", {}, b""),
            id="uploads",
        ),
    ],
)
def test_a_call_says_what_s3_expects(call, expected):
    assert tuple(call)[:6] == expected


def test_a_listing_goes_on_after_its_token_or_begins_after_a_key():
    assert "continuation-token=t%2F%3D&" in requests.list_objects("", token="t/=", start_after="x").query
    assert "start-after" not in requests.list_objects("", token="t/=", start_after="x").query
    assert requests.list_objects("", start_after="x").query.endswith("&start-after=x")


@pytest.mark.parametrize(
    ("bucket", "key", "source"),
    [
        pytest.param("b", "plain", "/b/plain", id="plain"),
        pytest.param("b", "a b+c%/ü?", "/b/a%20b%2Bc%25/%C3%BC%3F", id="what a URL must not hold"),
        pytest.param("b", "x\udcff", "/b/x%FF", id="no UTF-8"),
        pytest.param(
            "arn:aws:s3:r:1:accesspoint/p", "a b", "arn:aws:s3:r:1:accesspoint/p/object/a%20b", id="access point"
        ),
    ],
)
def test_the_source_of_a_copy_is_encoded_as_s3_decodes_it(bucket, key, source):
    assert requests.copy_object(key, bucket, {}).headers["x-amz-copy-source"] == source


KEYS = ["plain", "a&b", "<tag>", 'q"uote', "line\nfeed", "return\r", "tab\t", " spaces ", "ü🎉", "]]>"]


def test_a_batch_of_deletes_names_each_key_so_that_xml_gives_it_back():
    call = requests.delete_objects(KEYS)

    names = [row.text for row in ET.fromstring(call.body).iter() if row.tag.endswith("Key")]

    assert names == KEYS
    assert call.headers["content-md5"] == requests.md5_header(call.body)
    assert (call.name, call.method, call.query) == ("DeleteObjects", "POST", "delete=")


@pytest.mark.parametrize("key", KEYS)
def test_such_keys_fit_into_xml(key):
    assert requests.fits_xml(key)


@pytest.mark.parametrize("key", ["\x00", "a\x01", "\x1f", "\udcff", "\ufffe", "x\uffff"])
def test_a_key_that_xml_cannot_hold_is_known(key):
    assert not requests.fits_xml(key)


@pytest.mark.parametrize(
    ("name", "tag"), [("crc64nvme", "ChecksumCRC64NVME"), ("crc32c", "ChecksumCRC32C"), ("sha256", "ChecksumSHA256")]
)
def test_an_upload_is_completed_by_its_parts_in_order_with_their_checksums(name, tag):
    call = requests.complete_multipart_upload("k", "i", [(1, '"e1"', "c1="), (2, '"e2"', "")], name, {"h": "v"})

    rows = [{child.tag.rpartition("}")[2]: child.text for child in part} for part in ET.fromstring(call.body)]

    assert rows == [{"ETag": '"e1"', tag: "c1=", "PartNumber": "1"}, {"ETag": '"e2"', "PartNumber": "2"}]
    assert (call.query, call.headers) == ("uploadId=i", {"h": "v"})


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (206, True), (204, True), (304, False), (404, False), (500, False)]
)
def test_an_answer_is_ok_when_the_request_was_carried_out(status, ok):
    assert Response(status, {}).ok is ok
