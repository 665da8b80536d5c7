"""The rig's naming of requests: the names are Amazon's, and botocore's own requests prove it."""

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from tests.rig.operations import operation_name
from tests.rig.wire import parse

IN_BUCKET = {"Bucket": "b"}
ON_KEY = IN_BUCKET | {"Key": "a b/ü+.txt"}
OF_UPLOAD = ON_KEY | {"UploadId": "u"}
REQUESTS = {
    "ListBuckets": {},
    "CreateBucket": IN_BUCKET,
    "HeadBucket": IN_BUCKET,
    "DeleteBucket": IN_BUCKET,
    "GetBucketLocation": IN_BUCKET,
    "GetBucketVersioning": IN_BUCKET,
    "ListObjects": IN_BUCKET,
    "ListObjectsV2": IN_BUCKET,
    "ListObjectVersions": IN_BUCKET,
    "ListMultipartUploads": IN_BUCKET,
    "DeleteObjects": IN_BUCKET | {"Delete": {"Objects": [{"Key": "k"}]}},
    "PutObject": ON_KEY,
    "GetObject": ON_KEY,
    "HeadObject": ON_KEY,
    "DeleteObject": ON_KEY,
    "CopyObject": ON_KEY | {"CopySource": "b/k"},
    "GetObjectAcl": ON_KEY,
    "PutObjectAcl": ON_KEY | {"ACL": "private"},
    "GetObjectTagging": ON_KEY,
    "PutObjectTagging": ON_KEY | {"Tagging": {"TagSet": []}},
    "DeleteObjectTagging": ON_KEY,
    "GetObjectAttributes": ON_KEY | {"ObjectAttributes": ["ETag"]},
    "CreateMultipartUpload": ON_KEY,
    "UploadPart": OF_UPLOAD | {"PartNumber": 1},
    "UploadPartCopy": OF_UPLOAD | {"PartNumber": 1, "CopySource": "b/k"},
    "ListParts": OF_UPLOAD,
    "CompleteMultipartUpload": OF_UPLOAD,
    "AbortMultipartUpload": OF_UPLOAD,
}


class CaughtError(Exception):
    """Instead of sending."""


@pytest.fixture(scope="module")
def s3():
    return boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="k",
        aws_secret_access_key="s",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def head_of(s3, operation: str, arguments: dict) -> bytes:
    """The head of the request botocore would send."""

    def catch(request: AWSRequest, **_) -> None:
        raise CaughtError(request)

    s3.meta.events.register("before-send.s3", catch)
    method = next(name for name, api in s3.meta.method_to_api_mapping.items() if api == operation)
    with pytest.raises(CaughtError) as caught:
        getattr(s3, method)(**arguments)
    request = caught.value.args[0]
    lines = [f"{request.method} {request.url.partition(':9')[2]} HTTP/1.1"]
    lines += [
        f"{name}: {value.decode() if isinstance(value, bytes) else value}" for name, value in request.headers.items()
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(("operation", "arguments"), REQUESTS.items(), ids=REQUESTS)
def test_a_request_of_botocore_has_the_name_amazon_gives_it(s3, operation, arguments):
    request = parse(head_of(s3, operation, arguments))

    assert (request.operation, request.bucket, request.key) == (
        operation,
        arguments.get("Bucket", ""),
        arguments.get("Key", ""),
    )


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/2020-05-31/distribution/E1/invalidation", "CreateInvalidation"),
        ("GET", "/2020-05-31/distribution/E1/invalidation/I1", "GetInvalidation"),
        ("POST", "/", "AssumeRole"),
        ("PATCH", "/b/k", "PATCH"),
    ],
)
def test_requests_of_other_services_are_named_too(method, path, name):
    assert operation_name(method, path, {}, {}) == name
