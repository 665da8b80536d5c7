"""The action of a download for one object or one local file, found as the download finds it, and the reason in words."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from s3batch.commands.explain_action import ObjectState, Verdict
from s3batch.model import DOWNLOAD, Reason
from s3batch.objects.attributes import AttributeRules
from s3batch.plan.decide_download import decide_download
from s3batch.plan.key_names import find_name_problem
from s3batch.reporting.text import format_date
from s3batch.worker.context import Brief, Tools
from s3batch.worker.fetch import compare_opened_file

if TYPE_CHECKING:
    from s3batch.files.tree import TargetTree
    from s3batch.model import KnownObject, Operation
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.s3.bucket import Bucket

_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def explain_fetch(
    wanted: DownloadSpec, bucket: Bucket, tree: TargetTree, path: str, state: ObjectState, known: KnownObject | None
) -> Verdict:
    """Return the action for an object that the job takes. Raises OSError for a path that cannot be looked at."""
    listed = state.listed
    if listed is None or state.head is None:
        return Verdict("nothing", "HEAD finds no such object")
    if problem := find_name_problem(path.removesuffix("/")):
        return Verdict("nothing", f"it fails: {problem}")
    if path.endswith("/"):
        return Verdict("nothing", "it is the marker of a directory, which is made")
    operation = decide_download(listed, known, path, tree.find(path))
    if operation is None:
        return Verdict("nothing", "file and object are as the journal has them since the last fetch")
    archived = state.headers.get("x-amz-storage-class", "") in _ARCHIVED and not state.headers.get("x-amz-restore")
    more = "; it fails, because the object is archived" * archived
    if operation.kind is DOWNLOAD and operation.reason is Reason.MISSING:
        return Verdict("download", f"the target has no such file{more}")
    if operation.kind is DOWNLOAD:
        return Verdict("download", f"the object has {listed.size} bytes, and the file is not like that{more}")
    return _verdict_of_content(wanted, bucket, tree, operation, state, more)


def _verdict_of_content(
    wanted: DownloadSpec, bucket: Bucket, tree: TargetTree, operation: Operation, state: ObjectState, more: str
) -> Verdict:
    """Compare the content as a worker does, with the HEAD that was sent already."""
    settings = wanted.settings
    brief = Brief(
        endpoint=bucket.endpoint, root=wanted.root, rules=AttributeRules.from_settings(settings, wanted.root),
        part_size=settings.part_size, dry_run=True,
    )  # fmt: skip
    descriptor = tree.open_file(operation.path)
    try:
        found = bucket.run(compare_opened_file(operation, descriptor, state.head, Tools(brief)))  # type: ignore[arg-type]  # there is a HEAD
    finally:
        os.close(descriptor)
    if found.become is not None:
        return Verdict("download", f"the content differs, or nothing proves it equal{more}")
    return Verdict("nothing", "file and object are equal")


def explain_local_orphan(wanted: DownloadSpec, path: str, found: os.stat_result | None) -> Verdict:
    """Return the action for a local path without an object."""
    if found is None:
        return Verdict("nothing", "there is neither an object nor a file")
    if stat.S_ISDIR(found.st_mode):
        return Verdict("nothing", "it is a directory; it goes if --delete leaves nothing in it")
    if wanted.limits and wanted.limits.hides(found.st_size, found.st_mtime):
        return Verdict("nothing", "it is beyond min_size, max_size, min_age or max_age, so it is left alone")
    if not wanted.settings.delete:
        return Verdict("nothing", "no object has this name, and --delete is not set")
    return Verdict("delete", "no object has this name, and --delete is set")


def describe_local_file(found: os.stat_result | None) -> dict[str, Any] | None:
    """Return what is at the path, as JSON; ``None`` for nothing."""
    if found is None:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "special file")
    return {"kind": kind, "size": found.st_size, "modified": format_date(found.st_mtime)}
