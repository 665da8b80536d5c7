"""The name of the S3 operation a request is: from its method, path, query and headers.

Only path-style addresses: on 127.0.0.1 there are no bucket host names.
"""

from collections.abc import Mapping

BUCKET_SUBRESOURCES = {
    "acl": "BucketAcl",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "PublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
OBJECT_SUBRESOURCES = {
    "acl": "ObjectAcl",
    "attributes": "ObjectAttributes",
    "retention": "ObjectRetention",
    "tagging": "ObjectTagging",
}
VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}
BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
UPLOAD = {
    "GET": "ListParts",
    "PUT": "UploadPart",
    "POST": "CompleteMultipartUpload",
    "DELETE": "AbortMultipartUpload",
}


def operation_name(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Amazon's name for it; ``headers`` with lower-case names. What nobody knows keeps its method."""
    if path.startswith("/20") and "/distribution/" in path:
        return "CreateInvalidation" if method == "POST" else "GetInvalidation"
    if path == "/":
        return "AssumeRole" if method == "POST" else "ListBuckets"
    bucket, _, key = path[1:].partition("/")
    return _of_object(method, query, headers) if bucket and key else _of_bucket(method, query)


def _of_bucket(method: str, query: Mapping[str, str]) -> str:
    if method == "POST":
        return "DeleteObjects" if "delete" in query else "PostObject"
    if "uploads" in query:
        return "ListMultipartUploads"
    if "versions" in query:
        return "ListObjectVersions"
    if "list-type" in query:
        return "ListObjectsV2"
    return _subresource(method, query, BUCKET_SUBRESOURCES) or BUCKET.get(method, method)


def _of_object(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    if "uploads" in query:
        return "CreateMultipartUpload"
    copies = method == "PUT" and "x-amz-copy-source" in headers
    if "uploadId" in query:
        return "UploadPartCopy" if copies else UPLOAD.get(method, method)
    if copies:
        return "CopyObject"
    return _subresource(method, query, OBJECT_SUBRESOURCES) or OBJECT.get(method, method)


def _subresource(method: str, query: Mapping[str, str], names: Mapping[str, str]) -> str:
    return next((VERBS[method] + name for word, name in names.items() if word in query and method in VERBS), "")
