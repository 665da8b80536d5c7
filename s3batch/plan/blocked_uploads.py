"""A file in the place of a directory, and the other way round, on stores that are file systems.

There an object cannot have others below it: ``docs`` blocks ``docs/index.html`` until it is deleted, but deletes come
last. Therefore such uploads wait until all others have succeeded. Then only the orphans in their way are deleted, and
the uploads are sent. On S3 itself both keys may exist. A probe finds out the kind of the store, and only if a listing
shows such a pair.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.model import Attributes, Kind, Reason, Stage
from s3batch.objects.headers import make_put_headers
from s3batch.objects.own_keys import PROBE
from s3batch.plan.deletes import check_delete_guards, find_deletable_objects, make_delete_operation
from s3batch.plan.quirk_memory import QuirkMemory
from s3batch.quirks import Quirk, QuirkKind
from s3batch.s3 import requests
from s3batch.s3.faults import RequestError, refusal_for_good

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3batch.journal import Journal
    from s3batch.model import Operation
    from s3batch.plan.planner import SourceEnd
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket

_TRIES = 2
"""The tries of the probe: a passing fault is no answer."""


class BlockedUploads:
    """Finds the uploads that an object keeps out, has them wait, and clears their way."""

    def __init__(self, wanted: SyncSpec, journal: Journal, bucket: Callable[[], Bucket]) -> None:
        self.keys: list[str] = []
        """The keys of the uploads that wait."""
        self._wanted = wanted
        self._journal = journal
        self._bucket = bucket
        self._free: set[str] = set()
        """Directories that are no objects."""
        self._no_children: bool | None = None
        self._anything: bool | None = None

    def place(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations, those of blocked uploads in a later stage."""
        if not self._may_be_any():
            return operations
        return [self._place(each) if each.reason is Reason.MISSING else each for each in operations]

    def _place(self, operation: Operation) -> Operation:
        if operation.kind in (Kind.UPLOAD, Kind.TRANSFER) and self.note(operation.key):
            return operation._replace(stage=Stage.PUBLISH_LAST)
        return operation

    def note(self, key: str) -> bool:
        """Return true if an upload of ``key``, which is not listed, has to wait."""
        if not self._may_be_any() or not self._is_blocked(key) or not self._store_minds():
            return False
        self.keys.append(key)
        return True

    def _may_be_any(self) -> bool:
        """Return whether orphans may be deleted and anything is listed. Call it once the listing is complete."""
        if self._anything is None:
            settings = self._wanted.settings
            deletes = settings.delete and not settings.dry_run
            self._anything = deletes and self._journal.objects.has_listed_below(self._wanted.prefix)
        return self._anything

    def _is_blocked(self, key: str) -> bool:
        """Return whether the listing shows an object that is a directory of ``key``, or one below it."""
        above = [
            each for each in _iterate_parents(key) if len(each) > len(self._wanted.prefix) and each not in self._free
        ]
        if above:
            found = {each for each, (listed, _) in self._journal.objects.look_up(above).items() if listed is not None}
            self._free.update(each for each in above if each not in found)
            if found:
                return True
        return self._journal.objects.has_listed_below(f"{key}/")

    def _store_minds(self) -> bool:
        if self._no_children is None:
            memory = QuirkMemory(self._journal)
            self._no_children = memory.quirks.has(QuirkKind.NO_CHILDREN) or refuses_children(
                self._bucket(), self._wanted.prefix, _make_encryption_headers(self._wanted)
            )
            if self._no_children:
                memory.learn([Quirk(QuirkKind.NO_CHILDREN)])
        return self._no_children

    def find_blocking(self, walked: SourceEnd) -> list[Operation]:
        """Return the deletes that clear the way. Raises :class:`JobFailedError` where a guard refuses deletes."""
        waiting = set(self.keys)
        if not waiting or walked.troubled or not walked.complete:
            return []
        directories = {above for key in waiting for above in _iterate_parents(key)}
        check_delete_guards(self._wanted, self._journal)
        return [
            make_delete_operation(orphan)
            for orphan in find_deletable_objects(self._wanted, self._journal)
            if orphan.key in directories or any(above in waiting for above in _iterate_parents(orphan.key))
        ]


def refuses_children(bucket: Bucket, prefix: str, headers: dict[str, str]) -> bool:
    """Return true if the store takes an object, but no other below it. Both are removed again."""
    parent = f"{prefix}{PROBE}{os.urandom(8).hex()}"
    child = f"{parent}/child"
    try:
        if not bucket.ask(_make_probe_request(parent, headers)).ok:
            return False
        refused = not any(_is_taken(bucket, _make_probe_request(child, headers)) for _ in range(_TRIES))
        for key in (child, parent):
            bucket.ask(requests.delete_object(key))
    except RequestError:
        return False
    return refused


def _make_probe_request(key: str, headers: dict[str, str]) -> requests.Request:
    return requests.put_object(key, b"", {**headers, "content-md5": requests.md5_header(b"")})


def _is_taken(bucket: Bucket, call: requests.Request) -> bool:
    """Return whether the store blocks the key, by one request. A missing permission proves nothing."""
    answer = bucket.transport.call(call)
    return answer.ok or refusal_for_good(answer) is not None


def _make_encryption_headers(wanted: SyncSpec) -> dict[str, str]:
    rules = wanted.rules
    return make_put_headers(Attributes(encryption=rules.encryption, kms_key_id=rules.kms_key_id))


def _iterate_parents(key: str) -> Iterator[str]:
    """Yield the names that are directories of ``key`` in a file system."""
    return (key[:at] for at, letter in enumerate(key) if letter == "/" and at)
