"""The upload id in what stores answer to CreateMultipartUpload."""

import pytest

from s3batch.s3.document_values import parse_upload_id

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        pytest.param("InitiateMultipartUploadResult", NAMESPACE, id="S3"),
        pytest.param("InitiateMultipartUploadResult", "", id="without a namespace"),
        pytest.param("InitiateMultipartUpload", "", id="rclone"),
    ],
)
def test_an_upload_id_is_found_by_whatever_name_the_answer_has(name: str, namespace: str) -> None:
    body = f"<?xml version='1.0'?><{name}{namespace}><Key>k</Key><UploadId>a&amp;b</UploadId></{name}>".encode()

    assert parse_upload_id(body) == "a&b"


@pytest.mark.parametrize("body", [b"<Other/>", b"<InitiateMultipartUploadResult/>", b"no XML"])
def test_an_answer_without_one_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError, SyntaxError)):
        parse_upload_id(body)
