"""The action of a transfer for one object, found as the transfer finds it, and the reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.commands.explain_action import ObjectState, Verdict
from s3batch.model import TRANSFER, Reason
from s3batch.objects import compare
from s3batch.objects.headers import RemoteAttributes
from s3batch.objects.two_objects import is_same_object_content, merge_attributes
from s3batch.plan.transfer_plan import ListedEntry, decide_transfer
from s3batch.s3.endpoint import is_one_store

if TYPE_CHECKING:
    from s3batch.model import KnownObject
    from s3batch.plan.transfer_spec import TransferSpec
    from s3batch.s3.bucket import Bucket


def explain_transfer(
    wanted: TransferSpec,
    buckets: tuple[Bucket, Bucket],
    path: str,
    states: tuple[ObjectState, ObjectState],
    known: KnownObject | None,
) -> Verdict:
    """Return the action for an object that the job takes; buckets and states are those of the source, then the target."""
    theirs, ours = states
    if theirs.listed is None or theirs.head is None:
        return Verdict("nothing", "HEAD finds no such object in the source")
    entry = ListedEntry(path, theirs.listed.size, theirs.listed.etag, theirs.listed.modified)
    streamed = not is_one_store(buckets[0].endpoint, buckets[1].endpoint)
    way = "; its content goes through s3batch" if streamed else "; the store copies it"
    operation = decide_transfer(
        entry, wanted.key(path), ours.listed, known, wanted.rules.fingerprint(path), stage=wanted.stage(path),
        streamed=streamed,
    )  # fmt: skip
    if operation is None:
        return Verdict("nothing", "both objects are as the journal has them, or size and ETag are equal")
    if operation.kind is TRANSFER and operation.reason is Reason.MISSING:
        return Verdict("transfer", f"the target has no such object{way}")
    if operation.kind is TRANSFER or ours.head is None:
        size = ours.listed.size if ours.listed is not None else 0
        return Verdict("transfer", f"the source has {entry.size} bytes, the target {size}{way}")
    return _compare_objects(wanted, path, theirs, ours, way)


def _compare_objects(wanted: TransferSpec, path: str, theirs: ObjectState, ours: ObjectState, way: str) -> Verdict:
    """Compare content and attributes as a worker does, with the HEADs that were sent already."""
    same = is_same_object_content(theirs.headers, ours.headers)
    if not same:
        why = "the content differs" if same is False else "neither side tells whether the content is the same"
        return Verdict("transfer", why + way)
    remote = RemoteAttributes.from_headers(theirs.headers)
    merged = merge_attributes(wanted.rules.attributes(path), remote)
    found = RemoteAttributes.from_headers(ours.headers)
    changes = [str(each) for each in compare.find_attribute_changes(merged, found)]
    if remote.redirect != found.redirect:
        changes.append("the redirect differs")
    if changes:
        return Verdict("transfer", "; ".join(changes) + way)
    return Verdict("nothing", "content and attributes are equal; ACL and tags are not looked at")
