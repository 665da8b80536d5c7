"""The lock of a target: one coordinator at a time, with every source and every journal.

STATE/target-DIGEST.lock is the lock file, of endpoint, bucket and prefix, however the endpoint is spelled. A plugin holds the same one in its workspace
too. The file stays and names the last job that began, so that a job of another journal is known to be superseded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from s3batch.base import hashes
from s3batch.base.errors import JournalLockedError, S3BatchError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files import private
from s3batch.files.private import PrivateFileError
from s3batch.journal.lock import JournalLock, is_lock_held
from s3batch.settings.direction import format_place
from s3batch.settings.endpoint_names import name_endpoint

_REMEMBERED = 100
"""Jobs whose order a lock keeps."""
_NAME = r"target-[0-9a-f]{16}\.lock"


class LastJob(NamedTuple):
    """The job that began last at a target."""

    id: str
    target: str
    journal: str
    began: float
    """Seconds since the epoch, by this machine's clock."""
    earlier: tuple[str, ...] = ()
    """Ids of jobs that began before it, in their order: no clock tells that for sure."""


class TargetLock:
    """The lock of one target, in each of some directories."""

    def __init__(self, directories: Iterable[str], endpoint: str, target: str) -> None:
        """``target`` is the bucket and the prefix below it, as :class:`s3batch.objects.target.Target` has them."""
        self._directories = list(dict.fromkeys(directories))
        self._endpoint, self._target = name_endpoint(endpoint), target
        digest = hashes.blake2b(f"{self._endpoint}\0{target}".encode("utf-8", "surrogateescape"), digest_size=8)
        self._name = f"target-{digest.hexdigest()}"
        self._locks = [
            JournalLock(os.path.join(directory, self._name), f"the target {format_place(target)}")
            for directory in self._directories
        ]

    def take(self) -> None:
        """Take the lock. Raises JournalLockedError naming who has it; JournalError if no directory can hold it."""
        troubles: list[S3BatchError] = []
        for lock in self._locks:
            try:
                lock.take(endpoint=self._endpoint, target=self._target)
            except (JournalLockedError, PrivateFileError):
                self.release()
                raise
            except S3BatchError as error:
                troubles.append(error)
        if len(troubles) == len(self._locks):
            raise troubles[0]

    def release(self) -> None:
        """Let go of the lock, if held."""
        for lock in self._locks:
            lock.release(keep=True)

    def note(self, job: str, journal: str, began: float) -> None:
        """Record the job that begins."""
        last = self.last()
        earlier = [*last.earlier, last.id][-_REMEMBERED:] if last is not None else []
        facts = {"endpoint": self._endpoint, "target": self._target, "job": job, "journal": journal, "began": began}
        for lock in self._locks:
            lock.note(**facts, earlier=earlier)

    def last(self) -> LastJob | None:
        """Return the job that began last, in any journal; ``None`` if none is known."""
        found = [
            last for each in self._directories if (last := _read_last_job(os.path.join(each, f"{self._name}.lock")))
        ]
        return max(found, key=lambda last: (sum(each.id in last.earlier for each in found), last.began), default=None)

    def overlapping(self) -> list[LastJob]:
        """Return the running jobs whose target lies in this one, or this one in theirs."""
        return [
            last
            for directory in self._directories
            for name in private.list_directory(directory)
            if re.fullmatch(_NAME, name)
            and name != f"{self._name}.lock"
            and is_lock_held(os.path.join(directory, name))  # a home keeps the locks of thousands of targets
            and (last := _read_last_job(os.path.join(directory, name), self._endpoint))
            and _do_targets_overlap(self._target, last.target)
        ]


def _do_targets_overlap(one: str, other: str) -> bool:
    """Return true if one of two targets, each a bucket and a prefix, lies below the other."""
    first, second = sorted((f"{one.rstrip('/')}/", f"{other.rstrip('/')}/"), key=len)
    return second.startswith(first)


def _read_last_job(path: str, endpoint: str | None = None) -> LastJob | None:
    """Return the last job in the lock file of a target, if it is at this endpoint."""
    try:
        text: dict[str, Any] = json.loads(private.read_private_file(path))
        earlier = tuple(map(str, text.get("earlier", ())))
        last = LastJob(str(text["job"]), str(text["target"]), str(text["journal"]), float(text["began"]), earlier)
        return last if endpoint in {None, text["endpoint"]} else None
    except (OSError, S3BatchError, ValueError, KeyError, TypeError, RecursionError):
        return None
