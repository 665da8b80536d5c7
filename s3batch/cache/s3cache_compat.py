"""``compat: s3cache``: one tar.gz of all paths where drone-s3cache looks for it, for pipelines with old readers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from s3batch.archive.s3cache_tar import write_s3cache
from s3batch.archive.tree import files_of
from s3batch.base.units import format_size
from s3batch.cache.completeness import require_all_mounted, unread_error, warn_of_unread
from s3batch.cache.lookup import head_of
from s3batch.cache.naming import compat_key
from s3batch.cache.run import CacheOutcome
from s3batch.files import private
from s3batch.model import Stage
from s3batch.reporting.text import format_amount
from s3batch.s3.responses import etag_of
from s3batch.settings.table import Settings

if TYPE_CHECKING:
    from s3batch.archive.scan import ScannedTree
    from s3batch.cache.session import CacheSession

_MD5 = "x-amz-meta-s3b-md5"
_TIME_DIGITS = 15
"""Digits of the MD5 that are taken as nanoseconds: as many as file systems hold."""


def rebuild_old(session: CacheSession, found: ScannedTree) -> CacheOutcome:
    """Write the archive, and send it if it is not the one that is there: the same tree makes the same bytes."""
    key, path = compat_key(session.settings), f"{session.files.plan_path}.tar.gz"
    try:
        digest = _write_archive(session, found, path)
        size = os.path.getsize(path)
        sent = not _has_archive(session, key, digest)
        if sent and not session.settings.dry_run:
            _send_archive(session, path, key, digest)
    finally:
        with contextlib.suppress(FileNotFoundError):
            private.remove_file(path)
    return _stored_outcome(session, found, key, size if sent else 0)


def _write_archive(session: CacheSession, found: ScannedTree, path: str) -> str:
    """Write the archive to ``path``; return its MD5 in hex."""
    with private.create_file(path) as file:
        problems = write_s3cache(file, found, session.workspace, found.roots)
        file.seek(0)
        digest = hashlib.file_digest(file, "md5").hexdigest()
    # parts that a killed run sent are known again by size and time: the same content has the same time, no other has
    mtime_ns = int(digest[:_TIME_DIGITS], 16)
    private.set_file_times(path, mtime_ns)
    warn_of_unread(session, problems)
    require_all_mounted(session, found)
    unread = [*found.problems, *problems]
    if unread and head_of(session.bucket, compat_key(session.settings)) is not None:
        raise unread_error(unread[0].path)
    return digest


def _has_archive(session: CacheSession, key: str, digest: str) -> bool:
    head = head_of(session.bucket, key)
    return head is not None and (digest in (etag_of(head), head.headers.get(_MD5, "")) or not session.settings.override)


def _send_archive(session: CacheSession, path: str, key: str, digest: str) -> None:
    settings = session.settings
    attributes = Settings(
        content_type="application/gzip", metadata=f'{{"{_MD5.removeprefix("x-amz-meta-")}": "{digest}"}}',
        encryption=settings.encryption, kms_key_id=settings.kms_key_id,
    )  # fmt: skip
    session.workers.upload(path, key, attributes)
    if session.journal.outcomes.count_failed(Stage.DELETE):
        raise session.workers.failure(f"{key} cannot be stored")


def _stored_outcome(session: CacheSession, found: ScannedTree, key: str, size: int) -> CacheOutcome:
    files, raw = files_of(found.tree), sum(found.tree.sizes)
    session.journal.jobs.add_tally(files=files, bytes=raw)
    if session.settings.dry_run:
        how = f"would send {format_size(size)}" if size else "would send nothing"
    else:
        how = f"{format_size(size)} sent" if size else "nothing changed, nothing sent"
    sent = 0 if session.settings.dry_run else size
    return CacheOutcome(
        words=f"cached {key}: {format_amount(files, raw)}: {how}",
        cache={
            "key": key, "name": key, "files": files, "bytes": raw, "chunks": 0, "sent": sent, "published": sent > 0,
        },
        changed=size > 0,
    )  # fmt: skip
