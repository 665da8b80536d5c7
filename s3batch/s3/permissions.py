"""The permissions that a refused request needed. A pure table without requests.

Newer error texts of AWS name the missing action. Otherwise the request itself names it: S3's name of an operation and
IAM's name of its permission are two vocabularies (HeadObject needs ``s3:GetObject``, ListObjectsV2 ``s3:ListBucket``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3batch.settings.table import Settings

DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "Forbidden", "403", "UnauthorizedAccess", "UnauthorizedOperation"}
)
"""Codes that say: the credentials are right, the permission is missing."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "PutObject": ("s3:PutObject",),
    "HeadObject": ("s3:GetObject",),
    "GetObject": ("s3:GetObject",),
    "GetObjectAcl": ("s3:GetObjectAcl",),
    "PutObjectAcl": ("s3:PutObjectAcl",),
    "GetObjectTagging": ("s3:GetObjectTagging",),
    "PutObjectTagging": ("s3:PutObjectTagging",),
    "GetObjectAttributes": ("s3:GetObject", "s3:GetObjectAttributes"),
    "CopyObject": ("s3:GetObject", "s3:PutObject"),
    "DeleteObject": ("s3:DeleteObject",),
    "DeleteObjects": ("s3:DeleteObject",),
    "HeadBucket": ("s3:ListBucket",),
    "ListObjects": ("s3:ListBucket",),
    "ListObjectsV2": ("s3:ListBucket",),
    "GetBucketLocation": ("s3:GetBucketLocation",),
    "CreateMultipartUpload": ("s3:PutObject",),
    "UploadPart": ("s3:PutObject",),
    "UploadPartCopy": ("s3:GetObject", "s3:PutObject"),
    "CompleteMultipartUpload": ("s3:PutObject",),
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "ListParts": ("s3:ListMultipartUploadParts",),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "CreateInvalidation": ("cloudfront:CreateInvalidation",),
    "GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "GetBucketVersioning": ("s3:GetBucketVersioning",),
    "GetObjectLockConfiguration": ("s3:GetBucketObjectLockConfiguration",),
    "ListObjectVersions": ("s3:ListBucketVersions",),
    "GetInvalidation": ("cloudfront:GetInvalidation",),
    "ListInvalidations": ("cloudfront:ListInvalidations",),
    "AssumeRole": ("sts:AssumeRole",),
    "AssumeRoleWithWebIdentity": ("sts:AssumeRoleWithWebIdentity",),
}
"""The IAM actions without which a request is refused, by the API's name of it."""

_WRITES = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})
"""The requests whose headers may ask for more than storing bytes."""

_BY_HEADER = (
    ("x-amz-acl", "s3:PutObjectAcl"),
    ("x-amz-tagging", "s3:PutObjectTagging"),
)

_NAMED = r"(?i)not authorized to perform:? ([a-z0-9-]+:\w+)"
_CALL = r"\b[A-Z]\w+\b"

_CALL_OF_KIND = {
    "upload": "PutObject",
    "redirect": "PutObject",
    "chunk": "PutObject",
    "copy": "CopyObject",
    "delete": "DeleteObject",
    "reconcile": "HeadObject",
    "transfer": "CopyObject",
    "restore": "CopyObject",
}


def missing_permissions(
    call: str, code: str, message: str = "", headers: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the IAM actions a refused ``call`` may lack: one if it is certain, none for other failures.

    ``headers`` are those of the request, by lower-case name: an ACL, tags and a KMS key need actions of their own.
    """
    named = re.search(_NAMED, message)
    if named:
        return (named[1],)
    if code.upper().startswith("KMS."):
        return _kms_actions(call)
    if code not in DENIED:
        return ()
    return NEEDED.get(call, ()) + _of_headers(call, headers or {})


def _of_headers(call: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    if call not in _WRITES:
        return ()
    extra = tuple(action for name, action in _BY_HEADER if headers.get(name))
    return extra + (_kms_actions(call) if headers.get("x-amz-server-side-encryption", "").startswith("aws:kms") else ())


def _kms_actions(call: str) -> tuple[str, ...]:
    """Return the actions on a KMS key: S3 decrypts to read, and to join the parts of a multipart upload."""
    if call in {"GetObject", "HeadObject", "UploadPart", "CompleteMultipartUpload"}:
        return ("kms:Decrypt",)
    return ("kms:GenerateDataKey", "kms:Decrypt") if call != "PutObject" else ("kms:GenerateDataKey",)


def of_failure(operation: str, error: str, code: str, headers: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the actions that a failed operation lacked: its error text may name the request, else its kind does."""
    named = (word for word in re.findall(_CALL, error) if word in NEEDED)
    return missing_permissions(next(named, _CALL_OF_KIND.get(operation, "")), code, error, headers)


def headers_of(settings: Settings) -> dict[str, str]:
    """Return the headers with which a job's uploads need more permissions than storing bytes."""
    return {
        "x-amz-acl": settings.acl,
        "x-amz-tagging": settings.tags,
        "x-amz-server-side-encryption": settings.encryption,
    }


def refusal_words(call: str, code: str, message: str, consequence: str) -> str:
    """Return the warning for an optional request that is permanently refused: its effect, and the permission it needs."""
    said = f"{code}: {message}" if message else code
    actions = missing_permissions(call, code, message) or NEEDED.get(call, ())
    why = "" if code in DENIED else "the store has no such request, or "
    return f"{consequence} ({call}: {said}); {why}the permission {' and '.join(actions)} is missing"


def permission_sentence(actions: tuple[str, ...]) -> str:
    """Return a sentence such as ``needs s3:PutObject``; empty for no actions."""
    return f"needs {' and '.join(actions)}" if actions else ""
