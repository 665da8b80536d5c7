"""A refused request names the permission it lacked."""

from __future__ import annotations

import pytest

from s3batch.s3.permissions import missing_permissions, of_failure, permission_sentence

AWS_TEXT = (
    "User: arn:aws:iam::1:user/ci is not authorized to perform: {} on resource: "
    '"arn:aws:s3:::b/k" because no identity-based policy allows the {} action'
)


@pytest.mark.parametrize(
    ("call", "headers", "expected"),
    [
        ("PutObject", {}, "s3:PutObject"),
        ("PutObject", {"x-amz-acl": "public-read"}, "s3:PutObject s3:PutObjectAcl"),
        ("PutObject", {"x-amz-tagging": "a=1"}, "s3:PutObject s3:PutObjectTagging"),
        ("PutObject", {"x-amz-server-side-encryption": "AES256"}, "s3:PutObject"),
        ("PutObject", {"x-amz-server-side-encryption": "aws:kms"}, "s3:PutObject kms:GenerateDataKey"),
        (
            "CreateMultipartUpload",
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-acl": "private"},
            "s3:PutObject s3:PutObjectAcl kms:GenerateDataKey kms:Decrypt",
        ),
        ("UploadPart", {"x-amz-acl": "private"}, "s3:PutObject"),
        ("CompleteMultipartUpload", {}, "s3:PutObject"),
        ("AbortMultipartUpload", {}, "s3:AbortMultipartUpload"),
        ("ListParts", {}, "s3:ListMultipartUploadParts"),
        ("ListMultipartUploads", {}, "s3:ListBucketMultipartUploads"),
        ("HeadObject", {}, "s3:GetObject"),
        ("GetObjectAcl", {}, "s3:GetObjectAcl"),
        ("ListObjectsV2", {}, "s3:ListBucket"),
        ("CopyObject", {}, "s3:GetObject s3:PutObject"),
        ("DeleteObject", {}, "s3:DeleteObject"),
        ("DeleteObjects", {}, "s3:DeleteObject"),
        ("CreateInvalidation", {}, "cloudfront:CreateInvalidation"),
        ("AssumeRole", {}, "sts:AssumeRole"),
        ("Unheard", {}, ""),
    ],
)
def test_each_call_has_its_permissions(call: str, headers: dict[str, str], expected: str) -> None:
    assert " ".join(missing_permissions(call, "AccessDenied", headers=headers)) == expected


@pytest.mark.parametrize("code", ["SlowDown", "NoSuchBucket", "ExpiredToken", "SignatureDoesNotMatch", "", "NotFound"])
def test_other_codes_are_not_about_permissions(code: str) -> None:
    assert missing_permissions("PutObject", code, "whatever") == ()


@pytest.mark.parametrize("action", ["s3:PutObjectAcl", "kms:GenerateDataKey", "s3-object-lambda:GetObject"])
def test_the_action_that_aws_names_is_the_answer(action: str) -> None:
    assert missing_permissions("PutObject", "AccessDenied", AWS_TEXT.format(action, action)) == (action,)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("PutObject", ("kms:GenerateDataKey",)),
        ("GetObject", ("kms:Decrypt",)),
        ("CopyObject", ("kms:GenerateDataKey", "kms:Decrypt")),
    ],
)
def test_a_refusal_by_kms_is_about_the_key(call: str, expected: tuple[str, ...]) -> None:
    assert missing_permissions(call, "KMS.AccessDeniedException") == expected


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        pytest.param("upload", "AccessDenied: Access Denied", ("s3:PutObject",), id="by the kind"),
        pytest.param("upload", "ListParts 'k': AccessDenied", ("s3:ListMultipartUploadParts",), id="by the text"),
        pytest.param("copy", "AccessDenied", ("s3:GetObject", "s3:PutObject"), id="a copy reads and writes"),
        pytest.param("reconcile", "AccessDenied", ("s3:GetObject",), id="a look is a HEAD"),
        pytest.param("odd", "AccessDenied", (), id="unknown kinds claim nothing"),
    ],
)
def test_a_failed_operation_names_its_permission(operation: str, error: str, expected: tuple[str, ...]) -> None:
    assert of_failure(operation, error, "AccessDenied") == expected


def test_the_sentence_joins_actions_and_is_empty_without_any() -> None:
    assert permission_sentence(("s3:GetObject", "s3:PutObject")) == "needs s3:GetObject and s3:PutObject"
    assert permission_sentence(()) == ""
