"""Deduplication: bytes of the base archive that a new one uses again, and chunks that are not worth keeping. Pure."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from s3batch.archive.change_detection import Survey
from s3batch.archive.columns import NONE
from s3batch.archive.hashing import HASH_SIZE, WINDOW
from s3batch.archive.manifest import Manifest
from s3batch.archive.tree import FILE

LIVE_PART = 0.6
"""A chunk of which less is still used is packed again."""
WASTE = 0.25
"""If more than this of all kept chunks is unused, the worst are packed again too."""
_SMALL = 1 << 20
_FEW = 8
_CROWDED = 2
"""Chunks smaller than ``_SMALL`` are merged if there are more than ``_FEW`` of them and, in all, more than
``_CROWDED`` times as many chunks as the bytes need."""


@dataclass(slots=True)
class Reuse:
    """Where the bytes of the files that are not new come from."""

    rows: array[int]
    """For every row the row of the base whose bytes it uses, or -1."""
    same: dict[int, int] = field(default_factory=dict)
    """Rows with the same content as an earlier row that is to be packed."""
    kept: list[int] = field(default_factory=list)
    """Numbers of the base's chunks that stay in use, in order."""


def choose_reuse(survey: Survey) -> Reuse:
    """Match contents by hash and size: first with the same path in the base, then anywhere in it, then here."""
    reuse = Reuse(array("q", [-1]) * len(survey.found.tree))
    strangers = _by_path(survey, reuse)
    if survey.base:
        strangers = _by_content(survey, survey.base, strangers, reuse)
        used = _Usage(survey.base, reuse.rows)
        lost = {number for number, identity in enumerate(survey.base.chunks.all_ids()) if identity in survey.lost}
        dropped = used.not_worth_keeping() | lost
        strangers = sorted([*strangers, *_release_chunks(survey.base, reuse.rows, dropped)])
        reuse.kept = sorted(used.chunks() - dropped)
    _by_each_other(survey, strangers, reuse)
    return reuse


def _known_files(survey: Survey) -> Iterator[tuple[int, int]]:
    tree = survey.found.tree
    for row, (kind, size, known) in enumerate(zip(tree.kinds, tree.sizes, survey.known, strict=True)):
        if kind == FILE and size and known:
            yield row, survey.base_rows[row]


def _by_path(survey: Survey, reuse: Reuse) -> list[int]:
    """Reuse the files that the base has under the same path; return the rows of the others."""
    strangers, base, sizes = [], survey.base, survey.found.tree.sizes
    hashes = survey.hashes
    for row, other in _known_files(survey):
        if base is not None and other >= 0 and base.tree.kinds[other] == FILE and sizes[row] == base.tree.sizes[other]:
            mine = hashes[row * HASH_SIZE : (row + 1) * HASH_SIZE]
            if mine == base.hashes[other * HASH_SIZE : (other + 1) * HASH_SIZE]:
                reuse.rows[row] = other
                continue
        strangers.append(row)
    return strangers


def _by_content(survey: Survey, base: Manifest, strangers: list[int], reuse: Reuse) -> list[int]:
    """Reuse the files whose content the base has elsewhere; return the rows of the others."""
    if not strangers:
        return []
    wanted = {(survey.hash(row), survey.found.tree.sizes[row]) for row in strangers}
    there: dict[tuple[bytes, int], int] = {}
    for row, (kind, size) in enumerate(zip(base.tree.kinds, base.tree.sizes, strict=True)):
        if kind == FILE and size and (key := (base.hash(row), size)) in wanted:
            there.setdefault(key, row)
    others = []
    for row in strangers:
        found = there.get((survey.hash(row), survey.found.tree.sizes[row]), -1)
        reuse.rows[row] = found
        if found < 0:
            others.append(row)
    return others


def _by_each_other(survey: Survey, strangers: Iterable[int], reuse: Reuse) -> None:
    """Reuse the content of files that are known to equal an earlier one of those to be packed."""
    first: dict[tuple[bytes, int], int] = {}
    for row in strangers:
        if not survey.known[row]:
            continue
        earlier = first.setdefault((survey.hash(row), survey.found.tree.sizes[row]), row)
        if earlier != row:
            reuse.same[row] = earlier


class _Usage:
    """The bytes of each chunk of the base that are still used."""

    def __init__(self, base: Manifest, rows: array[int]) -> None:
        self._raws = base.chunks.raws
        self._live: dict[int, int] = defaultdict(int)
        used = {row for row in rows if row >= 0}
        seen: set[int] = set()
        for row in used:
            if base.chunk[row] != NONE:
                self._count(base.chunk[row], base.at[row], base.tree.sizes[row], seen)
        extents = base.extents
        for row, length, chunk, at in zip(extents.rows, extents.lengths, extents.chunks, extents.ats, strict=True):
            if row in used:
                self._count(chunk, at, length, seen)

    def _count(self, chunk: int, at: int, length: int, seen: set[int]) -> None:
        place = chunk << 32 | at
        if place not in seen:
            seen.add(place)
            self._live[chunk] += length

    def chunks(self) -> set[int]:
        """Return the chunks of which something is used."""
        return set(self._live)

    def not_worth_keeping(self) -> set[int]:
        """Return the chunks whose live files are to be packed again."""
        parts = {chunk: live / self._raws[chunk] for chunk, live in self._live.items()}
        dropped = {chunk for chunk, part in parts.items() if part < LIVE_PART}
        kept = sorted(self._live.keys() - dropped, key=parts.__getitem__, reverse=True)
        raw, live = sum(self._raws[chunk] for chunk in kept), sum(self._live[chunk] for chunk in kept)
        while kept and live < (1 - WASTE) * raw:
            worst = kept.pop()
            raw, live = raw - self._raws[worst], live - self._live[worst]
            dropped.add(worst)
        small = [chunk for chunk in kept if self._raws[chunk] < _SMALL]
        if len(small) > _FEW and len(kept) > _CROWDED * (-(-live // WINDOW)):
            dropped.update(small)
        return dropped


def _release_chunks(base: Manifest, rows: array[int], dropped: set[int]) -> list[int]:
    """Take back the reuse of ``dropped`` chunks; return the rows that must be packed again."""
    if not dropped:
        return []
    large = {row for row, chunk in zip(base.extents.rows, base.extents.chunks, strict=True) if chunk in dropped}
    released = []
    for row, other in enumerate(rows):
        if other >= 0 and (base.chunk[other] in dropped or other in large):
            rows[row] = -1
            released.append(row)
    return released
