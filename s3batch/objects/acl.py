"""Canned ACLs: the one that a list of grants amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

_GROUPS = "http://acs.amazonaws.com/groups/global/"
_SHAPES = {
    frozenset[str](): "private",
    frozenset({"AllUsers READ"}): "public-read",
    frozenset({"AllUsers READ", "AllUsers WRITE"}): "public-read-write",
    frozenset({"AuthenticatedUsers READ"}): "authenticated-read",
    frozenset({"other READ"}): "bucket-owner-read",
    frozenset({"other FULL_CONTROL"}): "bucket-owner-full-control",
}
"""The grants beside the owner's own, and the canned ACL that makes them."""
_LOOKS_LIKE = {
    # the bucket's owner often is the object's owner, who has every right already
    "bucket-owner-full-control": frozenset({"private", "bucket-owner-full-control"}),
    "bucket-owner-read": frozenset({"private", "bucket-owner-read"}),
    # the grant goes to an account of EC2, which looks like any other account
    "aws-exec-read": frozenset({"private", "bucket-owner-read"}),
    # for buckets; on an object S3 takes it for private
    "log-delivery-write": frozenset({"private"}),
}


def canned_acl(acl_xml: bytes) -> str:
    """Return the canned ACL that the grants of a GetObjectAcl response make up.

    ``custom`` if no canned ACL does; empty if this is not such a document.
    """
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - few jobs look at ACLs

    try:
        policy = ET.fromstring(acl_xml)  # noqa: S314 - from the store, which is trusted with the data; expat limits entities
    except ET.ParseError:
        return ""
    owner = policy.findtext("{*}Owner/{*}ID")
    granted = {
        f"{_format_grantee(grant)} {permission.text}"
        for grant in policy.iterfind(".//{*}Grant")
        if grant.findtext("{*}Grantee/{*}ID") in (None, "") or grant.findtext("{*}Grantee/{*}ID") != owner
        for permission in grant.iterfind("{*}Permission")
    }
    return _SHAPES.get(frozenset(granted), "custom")


def same_acl(wanted: str, found: str) -> bool:
    """Return whether an object with the ACL ``wanted`` may show ``found`` (from :func:`canned_acl`) afterwards.

    An ACL that could not be read is no difference, or there would be one on every run.
    """
    return not found or found in _LOOKS_LIKE.get(wanted, {wanted})


def acl_matches(wanted: str, acl_xml: bytes) -> bool:
    """Return whether setting the canned ACL ``wanted`` would change nothing in this GetObjectAcl response."""
    return same_acl(wanted, canned_acl(acl_xml))


def _format_grantee(grant: ET.Element) -> str:
    group = grant.findtext("{*}Grantee/{*}URI")
    return group.removeprefix(_GROUPS) if group else "other"
