"""``s3batch cache prune``: remove caches by age, number and size, and unused chunks; safe beside builds.

    evict     a manifest goes to v1/x/ first: a build that just took it as its base still finds its chunks
    mark      the chunks of every manifest, evicted ones too
    sweep     an unnamed chunk older than ``grace`` is noted; a run at least half of ``grace`` later that still finds
              it unnamed and untouched deletes it (how that stays clear of builds: gc_protocol.py)

Every age is the store's: its clock has stamped the objects. Requests go side by side, as those of a sync.
"""

from __future__ import annotations

import secrets
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from s3batch.base.errors import EXIT_DONE, EXIT_FAILED
from s3batch.base.units import format_plural, format_size
from s3batch.cache.admin import open_admin_run
from s3batch.cache.gc_protocol import KEEP_RECORDS, PIN_LIFE, PINS, RECORDS, Deletion, LapsedError, Names, read_names
from s3batch.cache.gc_store import BucketStore
from s3batch.cache.list import Catalog, CatalogEntry
from s3batch.cache.object_keys import CHUNKS, CLEANUPS, EVICTED, KEYS, parse_chunk_key
from s3batch.cache.prune_lock import PruneLock, hold_lock
from s3batch.cache.publish import evict_manifest
from s3batch.settings.s3_limits import DELETE_BATCH

if TYPE_CHECKING:
    from s3batch.cache.admin import AdminRun
    from s3batch.model import ListedObject
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_NOTED = f"{CLEANUPS}noted"
_SLICE = 5000
"""Chunks of one record: it is renewed each second, and its size is the cost of that."""


class UnnamedChunks(msgspec.Struct, kw_only=True):
    """Chunks earlier runs found unnamed, by id in hex: when each was last written, and when it was first found so."""

    chunks: dict[str, tuple[float, float]]


def prune_caches(settings: Settings, output: Output) -> int:
    """Evict, mark, sweep. Return the exit code."""
    with open_admin_run(settings, output) as look:
        if settings.read_only:
            output.info("nothing to do: read_only is set")
            look.publish({"evicted": [], "deleted_chunks": 0, "freed": 0, "noted": 0})
            return EXIT_DONE
        store = BucketStore(look.bucket)
        prune = PruneRun(look, store)
        with nullcontext() if settings.dry_run else hold_lock(look, store) as lock:
            prune.run(lock)
        return prune.report()


@dataclass(slots=True)
class PruneRun:
    """One run."""

    look: AdminRun
    store: BucketStore
    catalog: Catalog = field(init=False)
    evicted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lapsed: bool = False
    """True if the store was too slow to delete safely."""
    deleted: int = 0
    freed: int = 0
    noted: int = 0

    def __post_init__(self) -> None:
        self.catalog = Catalog(self.store, self.look.base)

    def run(self, lock: PruneLock | None) -> None:
        """Run the prune. A manifest that cannot be read stops the sweep, because it may name any chunk."""
        work = [self._work(lock)] + ([lock.keep_alive()] if lock is not None else [])
        self.store.run(self.store.gather(work))

    async def _work(self, lock: PruneLock | None) -> None:
        try:
            found = [*await self._evict(), *await self._evicted_entries()]
            self.unreadable = [entry.key for entry in found if entry.error]
            for entry in found:
                if entry.error:
                    self.look.warn(f"{entry.key}: {entry.error}")
            if not self.unreadable:
                await self._sweep({chunk for entry in found for chunk in entry.chunks.names()})
            if not self._rehearsal:
                await self.catalog.save_index()
        finally:
            if lock is not None:
                lock.ended = True

    @property
    def _rehearsal(self) -> bool:
        return self.look.settings.dry_run

    # --- manifests --------------------------------------------------------------------------

    async def _evict(self) -> list[CatalogEntry]:
        """Evict caches by the policies; return all entries whose chunks are still needed, the evicted ones included."""
        found = await self.catalog.entries()
        going = to_evict(found, self.look.settings, self.store.now().low)
        if self._rehearsal:
            self.evicted = [entry.name for entry in going]
        else:
            gone = await self.store.gather(
                evict_manifest(self.store, self.look.base, entry.key, entry.etag, entry.encryption) for entry in going
            )
            self.evicted = [entry.name for entry, went in zip(going, gone, strict=True) if went]
        return found

    async def _evicted_entries(self) -> list[CatalogEntry]:
        """Return the evicted manifests that still hold their chunks; delete those evicted longer than ``grace`` ago."""
        found, now = await self.catalog.entries(EVICTED), self.store.now().low
        over = [entry.key for entry in found if now - entry.modified > self.look.settings.grace]
        if not self._rehearsal:
            await self.store.delete_all(over)
        return [entry for entry in found if entry.key not in set(over)]

    # --- chunks -----------------------------------------------------------------------------

    async def _sweep(self, marked: set[bytes]) -> None:
        unnamed = {identity.hex(): each for identity, each in await self._old_chunks() if identity not in marked}
        noted, now = await self._read_noted(unnamed), self.store.now().low
        due = [chunk for chunk, at in noted.items() if now - at >= self.look.settings.grace / 2]
        gone = set(due if self._rehearsal else await self._delete(due))
        self.deleted, self.freed = len(gone), sum(unnamed[chunk].size for chunk in gone)
        left = {chunk: (each.modified, noted.get(chunk, now)) for chunk, each in unnamed.items() if chunk not in gone}
        self.noted = len(left)
        if not self._rehearsal:
            await self.store.put(self.look.base + _NOTED, msgspec.json.encode(UnnamedChunks(chunks=left)))
            await self._forget(RECORDS, KEEP_RECORDS)
            await self._forget(PINS, 2 * PIN_LIFE)

    async def _old_chunks(self) -> list[tuple[bytes, ListedObject]]:
        """Return chunks by id, older than ``grace``. Keys that do not look like chunks are not deleted."""
        listed, now = await self.store.listed(self.look.base + CHUNKS), self.store.now().low
        old = [each for each in listed if now - each.modified > self.look.settings.grace]
        found = [(parse_chunk_key(self.look.base, each.key), each) for each in old]
        return [(identity, each) for identity, each in found if identity is not None]

    async def _read_noted(self, unnamed: dict[str, ListedObject]) -> dict[str, float]:
        """Return since when chunks are known to be unnamed: those that were not written since."""
        body = await self.store.get(self.look.base + _NOTED)
        try:
            held = {} if body is None else msgspec.json.decode(body, type=UnnamedChunks).chunks
        except msgspec.MsgspecError:
            return {}
        return {
            chunk: at for chunk, (modified, at) in held.items()
            if chunk in unnamed and unnamed[chunk].modified == modified
        }  # fmt: skip

    async def _delete(self, due: list[str]) -> list[str]:
        """Delete the chunks that are due and still unused, a record at a time; return them."""
        gone: list[str] = []
        for at in range(0, len(due), _SLICE):
            ids = due[at : at + _SLICE]
            deletion = Deletion(self.store, self.look.base, f"{self.store.now().low:.0f}-{secrets.token_hex(4)}", ids)
            wanted = frozenset(ids)
            try:
                gone += await deletion.run(partial(self._names, wanted), DELETE_BATCH)
            except LapsedError:
                self.lapsed = True
            if self.lapsed or self.unreadable:
                break
        return gone

    async def _names(self, wanted: frozenset[str]) -> Names:
        """Return those of ``wanted`` that are named now."""

        async def read(listed: ListedObject) -> Names:
            entry = await self.catalog.entry(listed, KEYS)
            if entry is None:
                return frozenset()
            if entry.error:
                self.unreadable.append(entry.key)
                return None
            return wanted.intersection(chunk.hex() for chunk in entry.chunks.names())

        return await read_names(self.store, self.look.base, read)

    async def _forget(self, below: str, life: float) -> None:
        """Delete records and pins that stop or protect nothing any more."""
        since = self.store.now().low - life
        listed = await self.store.listed(self.look.base + below)
        await self.store.delete_all([each.key for each in listed if each.modified < since])

    # --- the end ----------------------------------------------------------------------------

    def report(self) -> int:
        """Report the result; return the exit code."""
        look, would = self.look, "would be " if self._rehearsal else ""
        look.output.info(
            f"{format_plural(len(self.evicted), 'cache')} {would}evicted, {format_plural(self.deleted, 'chunk')} "
            f"({format_size(self.freed)}) {would}deleted, {format_plural(self.noted, 'unused chunk')} noted for a later run"
        )
        if not look.settings.json:
            look.output.data(*(f"evict {name}" for name in self.evicted))
        wrong = ""
        if self.unreadable:
            wrong = f"no chunk was removed, because {format_plural(len(self.unreadable), 'cache')} cannot be read: {self.unreadable[0]}"
            look.output.error(f"{wrong}; evict it with ttl, or delete it")
        elif self.lapsed:
            look.warn("the store answers too slowly to delete chunks safely beside builds; the next prune tries again")
        code = EXIT_FAILED if wrong else EXIT_DONE
        look.publish(
            {"evicted": self.evicted, "deleted_chunks": self.deleted, "freed": self.freed, "noted": self.noted},
            code, wrong,
        )  # fmt: skip
        return code


def to_evict(found: list[CatalogEntry], settings: Settings, now: float) -> list[CatalogEntry]:
    """Return the caches the policies give up: unused for ``ttl``, beyond ``keep_last`` of a branch or ``max_total``."""
    going: dict[str, CatalogEntry] = {}
    seen: dict[str, int] = {}
    held: set[bytes] = set()
    size = 0
    for entry in sorted(found, key=lambda entry: entry.modified, reverse=True):
        seen[entry.scope] = seen.get(entry.scope, 0) + 1
        too_old = settings.ttl and now - entry.modified > settings.ttl
        too_many = settings.keep_last and seen[entry.scope] > settings.keep_last
        if too_old or too_many:
            going[entry.key] = entry
            continue
        if settings.max_total:
            for chunk, stored in zip(entry.chunks.names(), entry.chunks.sizes(), strict=True):
                size += 0 if chunk in held else stored
                held.add(chunk)
            if size > settings.max_total:
                going[entry.key] = entry
    return list(going.values())
