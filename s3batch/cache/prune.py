"""``s3batch cache prune``: remove caches by age, number and size, and chunks nobody names; safe beside builds.

    evict     a manifest goes to v1/x/ first: a build that just took it as its base still finds its chunks
    mark      the chunks of every manifest, evicted ones too
    sweep     an unnamed chunk older than ``grace`` is noted; a run at least half of ``grace`` later that still finds
              it unnamed and untouched deletes it (how that stays clear of builds: cleanups.py)

One prune at a time, by a lock object where the store has conditional writes; elsewhere see to it yourself.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from s3batch.cache.catalog import Entry, UnreadableError, listed, read
from s3batch.cache.cleanups import Record, write_record
from s3batch.cache.layout import CHUNKS, CLEANUPS, EVICTED, KEYS, base_of
from s3batch.errors import EXIT_DONE, EXIT_FAILED, JobFailedError
from s3batch.s3 import calls
from s3batch.s3.bucket import Bucket
from s3batch.units import format_count, format_size

if TYPE_CHECKING:
    from s3batch.model import Listed
    from s3batch.output import Output
    from s3batch.settings import Settings

_LOCK, _NOTED, _DELETION = "lock", "noted", "d-"
_KEEP_RECORDS = 7 * 86400.0
"""Seconds; longer than any build that might still ask for them."""


class Noted(msgspec.Struct, kw_only=True):
    """Chunks an earlier run found unnamed: when each was last written, by id in hex."""

    at: float
    chunks: dict[str, float]


def run_prune(settings: Settings, output: Output) -> int:
    """Evict, mark, sweep. The exit code."""
    base = base_of(settings.prefix)
    bucket = Bucket.from_settings(settings, settings.bucket)
    prune = Prune(settings, output, bucket, base)
    if settings.read_only:
        output.info("nothing to do: read_only")
        return EXIT_DONE
    if settings.dry_run:
        return prune.run()
    _lock(settings, bucket, base)
    try:
        return prune.run()
    finally:
        bucket.delete(base + CLEANUPS + _LOCK)


def _lock(settings: Settings, bucket: Bucket, base: str) -> None:
    key = base + CLEANUPS + _LOCK
    held = bucket.head(key)
    if held is not None:
        from s3batch.worker import seconds_of  # noqa: PLC0415 - the rare case

        if time.time() - seconds_of(held.headers.get("last-modified", "")) < settings.lock_timeout:
            raise JobFailedError(
                f"another prune is at work ({key} is there)", hint="wait for it, or lower lock_timeout"
            )
        bucket.delete(key)
    body = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "at": time.time()}).encode()
    answer = bucket.ask(calls.put_object(key, body, {"if-none-match": "*", "content-md5": calls.md5_header(body)}))
    if answer.status == 412:
        raise JobFailedError("another prune has just begun", hint="wait for it to end")


@dataclass(slots=True)
class Prune:
    """One run."""

    settings: Settings
    output: Output
    bucket: Bucket
    base: str
    now: float = field(default_factory=time.time)
    evicted: list[str] = field(default_factory=list)
    deleted: int = 0
    freed: int = 0
    noted: int = 0

    def run(self) -> int:
        """All of it; what cannot be read stops the sweep, because nobody knows what it needs."""
        try:
            kept = self._evict(self._entries(KEYS))
            marked = {chunk for entry in (*kept, *self._evicted_entries()) for chunk in entry.chunks}
            self._sweep(marked)
        except UnreadableError as error:
            self.output.error(f"no chunk was removed, because a cache cannot be read: {error}")
            return self._report(EXIT_FAILED)
        return self._report(EXIT_DONE)

    # --- manifests --------------------------------------------------------------------------

    def _entries(self, below: str) -> list[Entry]:
        found = (read(self.bucket, self.base, each, below) for each in listed(self.bucket, self.base, below))
        return [entry for entry in found if entry is not None]

    def _evict(self, entries: list[Entry]) -> list[Entry]:
        """Evict what the policies say; all entries whose chunks are still needed, the evicted ones among them."""
        for entry in _to_evict(entries, self.settings, self.now):
            self.evicted.append(entry.name)
            if not self.settings.dry_run:
                self._move(entry)
        return entries

    def _move(self, entry: Entry) -> None:
        call = calls.copy_object(f"{self.base}{EVICTED}{entry.name}", self.bucket.endpoint.bucket, {}, entry.key)
        self.bucket.must(call)
        self.bucket.delete(entry.key)

    def _evicted_entries(self) -> list[Entry]:
        """The evicted manifests that still hold their chunks; those evicted longer than ``grace`` ago go."""
        entries = []
        for found in list(listed(self.bucket, self.base, EVICTED)):
            if self.now - found.modified > self.settings.grace:
                if not self.settings.dry_run:
                    self.bucket.delete(found.key)
            elif entry := read(self.bucket, self.base, found, EVICTED):
                entries.append(entry)
        return entries

    # --- chunks -----------------------------------------------------------------------------

    def _sweep(self, marked: set[str]) -> None:
        unnamed = {
            _id_of(each): each
            for each in listed(self.bucket, self.base, CHUNKS)
            if _id_of(each) not in marked and self.now - each.modified > self.settings.grace
        }
        due = self._due(unnamed)
        if due and not self.settings.dry_run:
            self._delete(due)
        left = {chunk: each.modified for chunk, each in unnamed.items() if chunk not in due}
        self.noted = len(left)
        if not self.settings.dry_run:
            body = msgspec.json.encode(Noted(at=self.now, chunks=left))
            self.bucket.put(self.base + CLEANUPS + _NOTED, body, {"content-type": "application/json"})
            self._forget_old_records()

    def _due(self, unnamed: dict[str, Listed]) -> dict[str, Listed]:
        """What an earlier run noted, long enough ago, and nobody has written since."""
        answer = self.bucket.get(self.base + CLEANUPS + _NOTED)
        if answer is None:
            return {}
        noted = msgspec.json.decode(bytes(answer.body), type=Noted)
        if self.now - noted.at < self.settings.grace / 2:
            return {}
        return {chunk: each for chunk, each in unnamed.items() if noted.chunks.get(chunk) == each.modified}

    def _delete(self, due: dict[str, Listed]) -> None:
        """Say what will go, look once more who names it, then delete."""
        record = f"{self.base}{CLEANUPS}{_DELETION}{self.now:.3f}"
        write_record(self.bucket, record, Record(done=False, ids=sorted(due)))
        try:
            named = {chunk for entry in self._entries(KEYS) for chunk in entry.chunks}
            going = [each for chunk, each in sorted(due.items()) if chunk not in named]
            self.bucket.delete_many([each.key for each in going])
            self.deleted, self.freed = len(going), sum(each.size for each in going)
        finally:
            write_record(self.bucket, record, Record(done=True, ids=sorted(due)))

    def _forget_old_records(self) -> None:
        for found in list(listed(self.bucket, self.base, CLEANUPS + _DELETION)):
            if self.now - found.modified > _KEEP_RECORDS:
                self.bucket.delete(found.key)

    def _report(self, code: int) -> int:
        words = "would be evicted" if self.settings.dry_run else "evicted"
        self.output.info(
            f"{format_count(len(self.evicted))} caches {words}, {format_count(self.deleted)} chunks "
            f"({format_size(self.freed)}) deleted, {format_count(self.noted)} unnamed chunks noted for a later run"
        )
        document: dict[str, Any] = {
            "command": "cache prune", "state": "failed" if code else "done", "exit_code": code,
            "evicted": self.evicted, "deleted_chunks": self.deleted, "freed": self.freed, "noted": self.noted,
        }  # fmt: skip
        if self.settings.json:
            self.output.document(document)
        else:
            for name in self.evicted:
                self.output.data(f"evict {name}")
        return code


def _id_of(found: Listed) -> str:
    return found.key.rpartition("/")[2]


def _to_evict(entries: list[Entry], settings: Settings, now: float) -> list[Entry]:
    """Which caches the policies give up: unused for ``ttl``, beyond ``keep_last`` of a branch, beyond ``max_size``."""
    going: dict[str, Entry] = {}
    newest = sorted(entries, key=lambda entry: entry.modified, reverse=True)
    seen: dict[str, int] = {}
    held: dict[str, int] = {}
    for entry in newest:
        seen[entry.scope] = seen.get(entry.scope, 0) + 1
        too_old = settings.ttl and now - entry.modified > settings.ttl
        too_many = settings.keep_last and seen[entry.scope] > settings.keep_last
        if too_old or too_many:
            going[entry.key] = entry
            continue
        held |= entry.chunks
        if settings.max_size and sum(held.values()) > settings.max_size:
            going[entry.key] = entry
    return list(going.values())
