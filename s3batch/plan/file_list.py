"""``files_from``: the job is about the files of a list, which is kept in the journal, so that a resume has it too.

    read and check the list ─> settings with its digest ─> job ─> rows of the journal ─> files, without walk or listing

The list is read before the job begins, so a wrong path is exit code 2. A resumed job has the digest from the journal.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from s3batch.base.errors import JobFailedError
from s3batch.plan.spec import KEPT
from s3batch.s3.faults import RequestError
from s3batch.settings.direction import is_in_s3

# ruff: noqa: PLC0415 - few jobs have a list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.journal import Journal
    from s3batch.plan.download_spec import DownloadSpec
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.listing import ListingPage
    from s3batch.settings.table import Settings
    from s3batch.source.listed_walk import ListedWalk
    from s3batch.source.path_list import PathList


def open_file_list(settings: Settings) -> tuple[Settings, PathList | None]:
    """Read the list that the settings name. Return the settings with its digest, and the list.

    ``None``: there is none, or the journal has it. Raises SettingsError.
    """
    name = "files_from0" if settings.files_from0 else "files_from"
    file = getattr(settings, name)
    if not file:
        return settings, None
    _refuse_other_settings(settings, name)
    if settings.list_digest:
        return settings, None
    from s3batch.source.path_list import read_path_list

    try:
        paths = read_path_list(
            file if file == "-" else settings.at_workspace(file), nul=settings.null or name == "files_from0",
            keys=is_in_s3(settings.source),
        )  # fmt: skip
    except OSError as error:
        raise settings.bad(name, f"name a file of paths: {error.strerror}") from None
    except ValueError as error:
        raise settings.bad(name, str(error)) from None
    return settings._replace(list_digest=paths.digest), paths


def _refuse_other_settings(settings: Settings, name: str) -> None:
    if settings.files_from and settings.files_from0:
        raise settings.bad("files_from0", "give files_from or files_from0, not both")
    if settings.delete:
        raise settings.bad("delete", f"leave it out: {name} names the only files that the job is about")
    source = settings.at_workspace(settings.source)
    if not os.path.isdir(source) and os.path.exists(source):
        raise settings.bad("source", f"give a directory: the paths of {name} are relative to it")


def contact_without_listing(
    wanted: SyncSpec | DownloadSpec, paths: PathList | None, journal: Journal, bucket: Bucket
) -> None:
    """Put the list into the journal, and check the sign-in with its first key.

    Raises JobFailedError if a resumed job has lost its list.
    """
    digest = wanted.settings.list_digest
    if paths is not None:
        journal.file_lists.store(paths.digest, paths.pages())
    elif not journal.file_lists.has(digest):
        raise JobFailedError("the journal has lost the list of files_from", hint="begin a new sync with the list")
    first = next(journal.file_lists.pages(digest), [])
    for path in first[:1]:
        check_sign_in(bucket, wanted.key(path))


def check_sign_in(bucket: Bucket, key: str) -> None:
    """Check sign-in and bucket by a HEAD of any key. Raises EndpointError if the store refuses one, or has no such bucket."""
    with suppress(RequestError):  # a refusal of one key is that operation's matter
        if bucket.head(key) is None:
            bucket.require_bucket(key)


def check_sign_in_of_plan(wanted: SyncSpec | DownloadSpec, bucket: Bucket, pages: Iterator[ListingPage]) -> None:
    """Check the sign-in of a job that is planned, with a request that it needs a permission for anyway.

    That is the first of ``pages``, a listing; the plan of a list was made without one.
    """
    if wanted.settings.list_digest:
        check_sign_in(bucket, wanted.key(KEPT))
    else:
        next(pages, None)


def walk_file_list(wanted: SyncSpec, journal: Journal) -> ListedWalk:
    """Return the files of the job's list."""
    from s3batch.source.listed_walk import ListedWalk

    return ListedWalk(
        wanted.source.root, wanted.selection, journal.file_lists.pages(wanted.settings.list_digest),
        symlinks=wanted.settings.symlinks, journal=journal.path, own=wanted.settings.state_directories(),
        plan=wanted.settings.plan_path, limits=wanted.limits,
    )  # fmt: skip
