"""The protocol between a build that publishes and a clean-up that deletes.

    build    pin ──> records of deletions? ──> wait for those at work ──> look up what they name ──> publish ──> unpin
    prune    record, with a deadline ──> pins? manifests? ──> delete before the deadline ──> record is done

A build writes a *pin* before it publishes: the ids of all chunks that its manifest is going to name. A clean-up writes
a *record* before it looks for names the last time: the ids of all chunks that it is going to delete. So one of the two
sees the other:

    the pin came first       the clean-up sees the pin, or the manifest that took its place, and spares the chunks
    the record came first    the build sees the record, waits until no delete can land any more, and looks its chunks up

No delete lands after the deadline of its record: a clean-up sends none later, and each request that deletes is signed
to expire then. The record is renewed while the clean-up works. A clean-up that was killed leaves a record whose
deadline passes within seconds. Every time is the store's (:mod:`s3batch.s3.store_clock`).

The coroutines here know the store by :class:`GCStore`, so the tests run them against every order of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from s3batch.cache.object_keys import CLEANUPS, EVICTED, KEYS, chunk_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from s3batch.model import ListedObject
    from s3batch.s3.store_clock import TimeBounds

RECORDS, PINS = f"{CLEANUPS}d-", f"{CLEANUPS}b-"
"""Prefixes of the keys of records and pins, below the prefix of the cache."""
RECORD_LIFE = 4.0
"""Seconds from a renewal to the deadline it sets. A build waits no longer for a clean-up that was killed."""
PIN_LIFE = 3600.0
"""Seconds after which a pin protects no more: its build was killed."""
KEEP_RECORDS = 7 * 86400.0
"""Seconds a record stays, so that a build that began before it can see it."""
_RENEW_EVERY = 1.0  # four renewals in the life of a record
_LOOK_AGAIN = 0.25
_MARGIN = 1.0
"""Seconds before the deadline in which no delete is begun."""
_OLD_RECORD_LIFE = 120.0
"""Seconds; s3batch before 0.1 wrote records without a deadline, and its builds waited so long."""


Names = frozenset[str] | None
"""Ids of chunks in hex; ``None`` where something cannot be read, so that any chunk may be named."""


class LapsedError(Exception):
    """The record's deadline has passed, or comes too soon: nothing more may be deleted under it."""


class GCStore(Protocol):
    """The requests that the protocol sends. Each method raises the exceptions of the store's client."""

    def now(self) -> TimeBounds:
        """Return the bounds of the store's time."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return an object's content; ``None`` if it does not exist."""
        ...

    async def listed(self, prefix: str) -> Sequence[ListedObject]:
        """Return every object below ``prefix``."""
        ...

    async def has(self, key: str) -> bool:
        """Return True if there is such an object."""
        ...

    async def delete(self, keys: Sequence[str], until: float) -> None:
        """Delete objects by one request that has no effect after ``until``. Raise :class:`LapsedError` if it had none."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...

    async def gather(self, coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run ``coroutines`` side by side; return their results in order, or raise the first error."""
        ...


class DeletionRecord(msgspec.Struct, kw_only=True):
    """A deletion: ids of chunks in hex."""

    done: bool
    """True after the last answer: no delete of it is under way any more."""
    ids: list[str]
    deadline: float = 0.0
    """The store's time after which no delete of it has an effect; 0 where an old version wrote it."""


class Pin(msgspec.Struct, kw_only=True):
    """The chunks that a build is about to name: their ids in hex."""

    ids: list[str]


def decode_record(body: bytes) -> DeletionRecord | None:
    """Return the record; ``None`` if it cannot be read."""
    try:
        return msgspec.json.decode(body, type=DeletionRecord)
    except msgspec.MsgspecError:
        return None


def decode_pin(body: bytes) -> Pin | None:
    """Return the pin; ``None`` if it cannot be read."""
    try:
        return msgspec.json.decode(body, type=Pin)
    except msgspec.MsgspecError:
        return None


# --- the build's side -----------------------------------------------------------------------


class Protection:
    """Keeps the chunks that a build is about to name from being deleted, until it has published."""

    def __init__(self, store: GCStore, base: str, name: str, since: float) -> None:
        """Take the time of the build's first request as ``since``: no earlier deletion concerns it."""
        self._store = store
        self._base = base
        self._pin = f"{base}{PINS}{name}"
        self._since = since - RECORD_LIFE - _MARGIN
        self._pinned = float("-inf")

    async def protect(self, ids: frozenset[str]) -> frozenset[str]:
        """Return the chunks that are gone; if there are none, the manifest may be published while :attr:`is_fresh`."""
        self._pinned = self._store.now().low
        await self._store.put(self._pin, msgspec.json.encode(Pin(ids=sorted(ids))))
        records = [each for each in await self._store.listed(self._base + RECORDS) if each.modified >= self._since]
        named = await self._store.gather(self._wait_for(each, ids) for each in records)
        endangered = sorted(frozenset().union(*named))
        there = await self._store.gather(self._store.has(_chunk_key_of_id(self._base, each)) for each in endangered)
        return frozenset(each for each, is_there in zip(endangered, there, strict=True) if not is_there)

    @property
    def is_fresh(self) -> bool:
        """True while the pin is sure to be heeded."""
        return self._store.now().high < self._pinned + PIN_LIFE / 2

    async def release(self) -> None:
        """Remove the pin: the manifest protects its chunks from now on, or there will be none."""
        if self._pinned > float("-inf"):
            await self._store.delete([self._pin], float("inf"))

    async def _wait_for(self, listed: ListedObject, ids: frozenset[str]) -> frozenset[str]:
        """Wait until no delete of a record can land any more; return those of ``ids`` that it names."""
        while True:
            body = await self._store.get(listed.key)
            record = decode_record(body) if body is not None else None
            if record is None:
                return ids  # it cannot be read, so it may have named anything
            named = ids.intersection(record.ids)
            deadline = record.deadline or listed.modified + _OLD_RECORD_LIFE
            if not named or record.done or self._store.now().low > deadline:
                return named
            await self._store.pause(_LOOK_AGAIN)


# --- the clean-up's side --------------------------------------------------------------------


class Deletion:
    """One record and the deletes under it."""

    def __init__(self, store: GCStore, base: str, name: str, ids: Iterable[str]) -> None:
        self._store = store
        self._base = base
        self._key = f"{base}{RECORDS}{name}"
        self._ids = sorted(ids)
        self._deadline: float | None = None
        """The deadline that the last renewal set in time; ``None`` before the first one."""
        self._ended = False

    async def run(self, named: Callable[[], Awaitable[Names]], batch: int) -> list[str]:
        """Delete the chunks that ``named`` does not return; return their ids.

        ``named`` reads pins and manifests again; it returns ``None`` if it cannot, and then
        nothing is deleted. Raises :class:`LapsedError` when the store is too slow for the deadline.
        """
        await self._renew()
        deleted, _ = await self._store.gather([self._work(named, batch), self._keep_alive()])
        await self._store.put(self._key, msgspec.json.encode(DeletionRecord(done=True, ids=self._ids)))
        ids: list[str] = deleted
        return ids

    async def _work(self, named: Callable[[], Awaitable[Names]], batch: int) -> list[str]:
        try:
            spared = await named()
            going = [] if spared is None else [each for each in self._ids if each not in spared]
            for at in range(0, len(going), batch):
                deadline = self._deadline or 0.0
                if self._store.now().high + _MARGIN > deadline:
                    raise LapsedError
                await self._store.delete(
                    [_chunk_key_of_id(self._base, each) for each in going[at : at + batch]], deadline
                )
            return going
        finally:
            self._ended = True

    async def _renew(self) -> None:
        deadline = self._store.now().low + RECORD_LIFE
        record = DeletionRecord(done=False, ids=self._ids, deadline=deadline)
        await self._store.put(self._key, msgspec.json.encode(record))
        # A build may have seen the old deadline pass before this renewal landed. Then the record is dead.
        if self._deadline is None or self._store.now().high <= self._deadline:
            self._deadline = deadline

    async def _keep_alive(self) -> None:
        while not self._ended:
            await self._store.pause(_RENEW_EVERY)
            if not self._ended:
                await self._renew()


async def read_names(store: GCStore, base: str, read: Callable[[ListedObject], Coroutine[Any, Any, Names]]) -> Names:
    """Return the ids that pins, manifests and evicted manifests name.

    ``read`` returns the chunks that one listed manifest names; none, if it has gone since. The order matters. A pin
    goes after its manifest was published, and a manifest goes after its copy was put aside. So an object that is gone
    in one place is there in the next one.
    """
    found = await _read_pins(store, base)
    for place in (KEYS, EVICTED):
        listed = await store.listed(base + place)
        for names in await store.gather(read(each) for each in listed):
            found = None if found is None or names is None else found | names
    return found


async def _read_pins(store: GCStore, base: str) -> Names:
    since = store.now().low - PIN_LIFE
    listed = [each for each in await store.listed(base + PINS) if each.modified >= since]
    bodies = await store.gather(store.get(each.key) for each in listed)
    pins = [decode_pin(body) for body in bodies if body is not None]
    if any(pin is None for pin in pins):
        return None
    return frozenset(each for pin in pins if pin is not None for each in pin.ids)


def _chunk_key_of_id(base: str, identity: str) -> str:
    return chunk_key(base, bytes.fromhex(identity))
