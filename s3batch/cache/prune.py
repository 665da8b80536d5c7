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
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from s3batch.archive.keys import aside_key, parse_chunk_key
from s3batch.cache.catalog import Entry, entries
from s3batch.cache.cleanups import DELETION, Record, write_record
from s3batch.cache.find import etag_of_ours
from s3batch.cache.layout import CHUNKS, CLEANUPS, EVICTED
from s3batch.cache.look import looking
from s3batch.cache.words import plural
from s3batch.errors import EXIT_DONE, EXIT_FAILED, JobFailedError
from s3batch.s3 import calls
from s3batch.s3.faults import CallError, fault_of
from s3batch.s3.responses import etag_of, seconds_of
from s3batch.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.cache.look import Look
    from s3batch.model import Listed
    from s3batch.output import Output
    from s3batch.settings import Settings

_LOCK, _NOTED = "lock", "noted"
_KEEP_RECORDS = 7 * 86400.0
"""Seconds; longer than any build that might still ask for them."""


class Noted(msgspec.Struct, kw_only=True):
    """Chunks earlier runs found unnamed, by id in hex: when each was last written, and when it was first found so."""

    chunks: dict[str, tuple[float, float]]


def run_prune(settings: Settings, output: Output) -> int:
    """Evict, mark, sweep. The exit code."""
    with looking(settings, output) as look:
        if settings.read_only:
            output.info("nothing to do: read_only is set")
            look.document({"evicted": [], "deleted_chunks": 0, "freed": 0, "noted": 0})
            return EXIT_DONE
        if settings.dry_run:
            return Prune(look, time.time()).run()
        with _locked(look):
            return Prune(look, time.time()).run()


@contextmanager
def _locked(look: Look) -> Iterator[None]:
    """One prune at a time, where the store has conditional writes."""
    key = f"{look.base}{CLEANUPS}{_LOCK}"
    held = look.bucket.head(key)
    if held is not None:
        if time.time() - seconds_of(held.headers.get("last-modified", "")) < look.settings.lock_timeout:
            raise JobFailedError(
                f"another prune is at work ({key} is there)", hint="wait for it, or lower lock_timeout"
            )
        look.bucket.delete(key)
    body = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "at": time.time()}).encode()
    call = calls.put_object(key, body, {"if-none-match": "*", "content-md5": calls.md5_header(body)})
    answer = look.bucket.ask(call)
    etag = etag_of_ours(look.bucket, key, body) if answer.status == 412 else etag_of(answer)
    if answer.status == 412 and not etag:
        raise JobFailedError("another prune has just begun", hint="wait for it to end")
    try:
        yield
    finally:
        now = look.bucket.head(key)
        if now is not None and etag_of(now) == etag:  # nobody took it over from us
            look.bucket.delete(key)


@dataclass(slots=True)
class Prune:
    """One run."""

    look: Look
    now: float
    """Seconds since the epoch; one answer for the whole run."""
    evicted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    deleted: int = 0
    freed: int = 0
    noted: int = 0

    def run(self) -> int:
        """All of it. What cannot be read stops the sweep, because nobody knows what it needs."""
        found = [*self._evict(), *self._evicted_entries()]
        self.unreadable = [entry.key for entry in found if entry.error]
        for entry in found:
            if entry.error:
                self.look.warn(f"{entry.key}: {entry.error}")
        if not self.unreadable:
            self._sweep({chunk for entry in found for chunk in entry.chunks})
        return self._report()

    @property
    def _rehearsal(self) -> bool:
        return self.look.settings.dry_run

    # --- manifests --------------------------------------------------------------------------

    def _evict(self) -> list[Entry]:
        """Evict what the policies say; all entries whose chunks are still needed, the evicted ones among them."""
        found = list(entries(self.look.bucket, self.look.base))
        for entry in to_evict(found, self.look.settings, self.now):
            if self._rehearsal or self._move(entry):
                self.evicted.append(entry.name)
        return found

    def _move(self, entry: Entry) -> bool:
        """Move it aside, unless a build has published under its key since it was listed; whether it went."""
        bucket, aside = self.look.bucket, aside_key(self.look.base, entry.key)
        bucket.must(calls.copy_object(aside, bucket.endpoint.bucket, entry.encryption, entry.key))
        held = bucket.head(entry.key)
        if held is None or (entry.etag and etag_of(held) != entry.etag):
            return False
        delete = calls.delete_object(entry.key)
        answer = bucket.ask(delete._replace(headers={"if-match": f'"{etag_of(held)}"'}))
        if answer.status in (400, 405, 501):  # a store without conditional deletes
            bucket.delete(entry.key)
        elif not answer.ok and answer.status not in (404, 412):
            raise CallError(delete.name, entry.key, fault_of(answer))
        return answer.status != 412

    def _evicted_entries(self) -> list[Entry]:
        """The evicted manifests that still hold their chunks; those evicted longer than ``grace`` ago go."""
        held = []
        for entry in list(entries(self.look.bucket, self.look.base, EVICTED)):
            if self.now - entry.modified <= self.look.settings.grace:
                held.append(entry)
            elif not self._rehearsal:
                self.look.bucket.delete(entry.key)
        return held

    # --- chunks -----------------------------------------------------------------------------

    def _sweep(self, marked: set[str]) -> None:
        unnamed = {chunk: each for chunk, each in self._old_chunks() if chunk not in marked}
        noted = self._noted(unnamed)
        due = {chunk: unnamed[chunk] for chunk, at in noted.items() if self.now - at >= self.look.settings.grace / 2}
        if self._rehearsal:
            self.deleted, self.freed = len(due), sum(each.size for each in due.values())
        elif due:
            self._delete(due)
        left = {
            chunk: (each.modified, noted.get(chunk, self.now)) for chunk, each in unnamed.items() if chunk not in due
        }
        self.noted = len(left)
        if not self._rehearsal:
            body = msgspec.json.encode(Noted(chunks=left))
            self.look.bucket.put(f"{self.look.base}{CLEANUPS}{_NOTED}", body, {"content-type": "application/json"})
            self._forget_old_records()

    def _old_chunks(self) -> Iterator[tuple[str, Listed]]:
        """Chunks by id, older than ``grace``. What has another form of name is not ours to delete."""
        for each in self._listed(CHUNKS):
            identity = parse_chunk_key(self.look.base, each.key)
            if identity is not None and self.now - each.modified > self.look.settings.grace:
                yield identity.hex(), each

    def _listed(self, below: str) -> Iterator[Listed]:
        for page in self.look.bucket.list_objects(self.look.base + below):
            yield from page.objects

    def _noted(self, unnamed: dict[str, Listed]) -> dict[str, float]:
        """Since when they are known to be unnamed: those that nobody has written since. A rubbish note is none."""
        answer = self.look.bucket.get(f"{self.look.base}{CLEANUPS}{_NOTED}")
        try:
            held = {} if answer is None else msgspec.json.decode(bytes(answer.body), type=Noted).chunks
        except msgspec.MsgspecError:
            return {}
        return {
            chunk: at for chunk, (modified, at) in held.items()
            if chunk in unnamed and unnamed[chunk].modified == modified
        }  # fmt: skip

    def _delete(self, due: dict[str, Listed]) -> None:
        """Say what will go, look once more who names it, then delete."""
        bucket, record = self.look.bucket, f"{self.look.base}{CLEANUPS}{DELETION}{self.now:.3f}"
        write_record(bucket, record, Record(done=False, ids=sorted(due)))
        try:
            found = list(entries(bucket, self.look.base))
            self.unreadable = [entry.key for entry in found if entry.error]
            named = set(due) if self.unreadable else {chunk for entry in found for chunk in entry.chunks}
            going = [each for chunk, each in sorted(due.items()) if chunk not in named]
            bucket.delete_many([each.key for each in going])
            self.deleted, self.freed = len(going), sum(each.size for each in going)
        finally:
            write_record(bucket, record, Record(done=True, ids=sorted(due)))

    def _forget_old_records(self) -> None:
        for found in list(self._listed(CLEANUPS + DELETION)):
            if self.now - found.modified > _KEEP_RECORDS:
                self.look.bucket.delete(found.key)

    # --- the end ----------------------------------------------------------------------------

    def _report(self) -> int:
        look, would = self.look, "would be " if self._rehearsal else ""
        look.output.info(
            f"{plural(len(self.evicted), 'cache')} {would}evicted, {plural(self.deleted, 'chunk')} "
            f"({format_size(self.freed)}) {would}deleted, {plural(self.noted, 'unnamed chunk')} noted for a later run"
        )
        if not look.settings.json:
            for name in self.evicted:
                look.output.data(f"evict {name}")
        wrong = ""
        if self.unreadable:
            wrong = f"no chunk was removed, because {plural(len(self.unreadable), 'cache')} cannot be read: {self.unreadable[0]}"
            look.output.error(f"{wrong}; evict it by ttl, or delete it")
        code = EXIT_FAILED if wrong else EXIT_DONE
        look.document(
            {"evicted": self.evicted, "deleted_chunks": self.deleted, "freed": self.freed, "noted": self.noted},
            code, wrong,
        )  # fmt: skip
        return code


def to_evict(found: list[Entry], settings: Settings, now: float) -> list[Entry]:
    """Which caches the policies give up: unused for ``ttl``, beyond ``keep_last`` of a branch, beyond ``max_size``."""
    going: dict[str, Entry] = {}
    seen: dict[str, int] = {}
    held: dict[str, int] = {}
    for entry in sorted(found, key=lambda entry: entry.modified, reverse=True):
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
