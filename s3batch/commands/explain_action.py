"""The action of a sync for one key, found as the sync finds it, and the reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import UPLOAD, KnownContent, Operation, Reason
from s3batch.objects import compare
from s3batch.objects.content_match import ContentEvidence
from s3batch.objects.headers import RemoteAttributes
from s3batch.objects.own_keys import OwnMarks
from s3batch.plan.decide import decide_operation
from s3batch.reporting.text import format_date
from s3batch.s3.responses import etag_of
from s3batch.source.reader import ContentError
from s3batch.worker.context import Brief, Tools
from s3batch.worker.reconcile import is_equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.model import KnownObject, ListedObject, LocalFile
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Response


class Verdict(NamedTuple):
    """What a sync would do, and why."""

    action: str
    """``upload``, ``copy``, ``redirect``, ``delete`` or ``nothing``."""
    reason: str


class ObjectState(NamedTuple):
    """The object as listing and HEAD show it."""

    listed: ListedObject | None
    head: Response | None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the HEAD; empty without an object."""
        return self.head.headers if self.head is not None else {}

    def document(self) -> dict[str, Any] | None:
        """Return it as JSON; ``None`` without an object."""
        if self.listed is None:
            return None
        remote = RemoteAttributes.from_headers(self.headers)
        shown = {name: getattr(remote, name) for name in RemoteAttributes._fields if name != "metadata"}
        return {
            "size": self.listed.size,
            "etag": self.listed.etag,
            "modified": format_date(self.listed.modified),
            **{name: value for name, value in shown.items() if value},
            "metadata": dict(remote.metadata),
        }


def explain_file(
    wanted: SyncSpec, bucket: Bucket, key: str, file: LocalFile, state: ObjectState, known: KnownObject | None
) -> Verdict:
    """Return the action for a file that the job takes."""
    attributes, fingerprint = wanted.rules.describe(file.path)
    operation = decide_operation(
        file, key, state.listed, known, fingerprint, stage=wanted.stage(file.path), gzip=attributes.gzip,
        preserves=bool(attributes.preserve),
    )  # fmt: skip
    if operation is None:
        return Verdict("nothing", "file, object and attributes are as the journal has them since the last write")
    if operation.kind is UPLOAD and operation.reason is Reason.MISSING:
        return Verdict("upload", "the target has no such object")
    if operation.kind is UPLOAD and state.listed is not None:
        return Verdict("upload", f"the file has {file.size} bytes, the object {state.listed.size}")
    return _compare(wanted, bucket, operation, state)


def _compare(wanted: SyncSpec, bucket: Bucket, operation: Operation, state: ObjectState) -> Verdict:
    """Compare content and attributes as a worker does, with the HEAD that was sent already."""
    brief = Brief(
        endpoint=bucket.endpoint, root=wanted.source.root, rules=wanted.rules, part_size=wanted.settings.part_size,
        symlinks=wanted.settings.symlinks,
    )  # fmt: skip
    tools, head = Tools(brief), state.head
    if head is None:
        return Verdict("upload", "HEAD finds no such object")
    try:
        attributes = tools.attributes(operation)
        size = int(head.headers.get("content-length", -2))
        vouched = isinstance(operation.spec, KnownContent) and etag_of(head) == operation.etag
        evidence = ContentEvidence.from_head(head.headers)
        equal = vouched or bucket.run(is_equal(operation, attributes, evidence, size, tools))
    except ContentError as error:
        return Verdict("upload", f"the file cannot be read now: {error}")
    if not equal:
        proof = "the content differs" if equal is False else "nothing proves that the object holds this content"
        return Verdict("upload", proof)
    changes = [
        str(each) for each in compare.find_attribute_changes(attributes, RemoteAttributes.from_headers(head.headers))
    ]
    if changes:
        return Verdict("copy", "; ".join(changes))
    unseen = [name for name in ("acl", "tags") if getattr(attributes, name)]
    return Verdict(
        "nothing", "content and attributes are equal" + (f"; {' and '.join(unseen)} not looked at" * bool(unseen))
    )


def explain_orphan(wanted: SyncSpec, listed: ListedObject, *, is_left_out: bool, why: str) -> Verdict:
    """Return the action for an object that no file of the job has; ``is_left_out``: there is a file, for ``why``."""
    key, marks = listed.key, OwnMarks()
    below = key[len(wanted.prefix) :]
    if wanted.is_one_key or not key.startswith(wanted.prefix):
        return Verdict("nothing", "it is not below the target")
    if not below:
        return Verdict("nothing", "it is the folder marker of the target, which stays")
    if marks.owns(key):
        return Verdict("nothing", "it belongs to s3batch, which never deletes its own objects as orphans")
    if is_left_out:
        return Verdict("nothing", f"{why}, so its object stays as it is")
    if not wanted.selects(key):
        return Verdict("nothing", "the filters leave its path out, so it is no orphan")
    if wanted.limits and wanted.limits.hides(listed.size, listed.modified):
        return Verdict("nothing", "it is beyond a limit of size or age, so it is left alone")
    if listed.size == 0 and wanted.key_paths.has_directory(key):
        return Verdict("nothing", "it is the folder marker of a directory that exists")
    if not wanted.settings.delete:
        return Verdict("nothing", "no file has this key, and --delete is not set")
    return Verdict("delete", "no file has this key, and --delete is set")
