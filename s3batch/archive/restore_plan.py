"""The plan of a restore: changes that make the tree on disk the tree of the manifest. Pure, except the plan file.

    manifest + what is there ─→ plan_restore ─→ RestorePlan ──write──→ plan file ─→ workers: unpack_chunk(recipe)

A file is right if kind, size, mtime, mode and content are (:mod:`.verify`); a right one is not touched, and a chunk no
wrong file needs is not fetched. Files that are not in the manifest stay. An entry in the place of another one is moved
aside first (:mod:`.undo`). So every file is made new, and none is opened for writing in place.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from s3batch.archive.columns import NONE
from s3batch.archive.exclusions import NOTHING, Exclusions
from s3batch.archive.extras import extra_paths
from s3batch.archive.gc_pause import pause_gc
from s3batch.archive.hashing import ID_SIZE
from s3batch.archive.manifest import Manifest
from s3batch.archive.paths import KEEP, is_below, join_path, link_is_wanted, split_path
from s3batch.archive.places import NOWHERE, Places, placed_columns
from s3batch.archive.plan_file import names_columns, write_table
from s3batch.archive.scan import ScannedTree
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK, match_rows, rows_at
from s3batch.archive.validate import selected_rows
from s3batch.model import ChunkSpec

OURS = 0o700
"""The permissions that s3batch needs on a directory while it works in it."""

_ROW_BITS = 32  # chunk number above, row below: one number to sort by
_ROW_MASK = (1 << _ROW_BITS) - 1
PIECE = 1
"""Flag of an item: written into a file that is there already."""


@dataclass(slots=True)
class RestoreItems:
    """Stretches of chunks to be written, in columns, those of one chunk together."""

    rows: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    ats: array[int] = field(default_factory=lambda: array("I"))
    flags: bytearray = field(default_factory=bytearray)
    recipes: list[ChunkSpec] = field(default_factory=list)

    def add(self, row: int, start: int, length: int, at: int, flag: int) -> None:
        """Append one."""
        self.rows.append(row)
        self.starts.append(start)
        self.lengths.append(length)
        self.ats.append(at)
        self.flags.append(flag)

    def cut(self, chunk: int, first: int) -> None:
        """Mark the items from ``first`` on as those of ``chunk``."""
        if first < len(self.rows):
            self.recipes.append(ChunkSpec(chunk, first, len(self.rows)))


@dataclass(slots=True)
class RestorePlan:
    """The differences to repair, by rows of the manifest."""

    manifest: Manifest
    roots: tuple[str, ...]
    """Where it may write: roots the manifest has and the user asked for."""
    matched: array[int]
    """For every row of the manifest the row of the same path in the walk, or -1."""
    chosen: bytearray
    """1 for each row below ``roots``."""
    aside: list[int] = field(default_factory=list)
    """Rows at whose path something else is."""
    small: array[int] = field(default_factory=lambda: array("I"))
    """Files that lie in one chunk."""
    empty: list[int] = field(default_factory=list)
    large: list[int] = field(default_factory=list)
    """Files with extents or holes: made at full size first, filled by pieces, timed last."""
    links: dict[int, int] = field(default_factory=dict)
    """Hard links to make, each to a row that is right by then."""
    symlinks: list[int] = field(default_factory=list)
    dirs: list[int] = field(default_factory=list)
    """Directories that are missing."""
    touched_dirs: list[int] = field(default_factory=list)
    """Directories whose mode or time is to be set at the end."""
    closed_dirs: dict[int, int] = field(default_factory=dict)
    """The directories among them that exist and that this user may not enter, with their modes."""
    left_alone: list[str] = field(default_factory=list)
    """Paths at which there is something that ``exclude`` names, and something else in the manifest."""
    skipped_symlinks: list[int] = field(default_factory=list)
    """Left out by the policy."""
    content: dict[int, int] = field(default_factory=dict)
    """Hard links whose file is not chosen: the row whose bytes and size they get."""
    extra: list[str] = field(default_factory=list)
    """Paths that go because the cache does not have them."""
    items: RestoreItems = field(default_factory=RestoreItems)
    places: Places = NOWHERE
    """Where the roots are that are followed links."""
    owners: bool = False
    """True if new entries are given to the owners in the manifest, except 0:0."""
    unowned: int = 0
    """Entries that could not be given away."""

    def owner(self, row: int) -> tuple[int, int] | None:
        """Return the owner that the entry is to get; ``None`` leaves it to the user of this process."""
        owner = self.manifest.tree.owner(row)
        return owner if self.owners and owner != (0, 0) else None

    def path(self, row: int) -> str:
        """Return the path of the entry on the disk."""
        return self.places.where(self.manifest.tree.path(row))

    def paths_of(self, rows: Iterable[int]) -> Iterator[str]:
        """Yield the paths of many entries on the disk."""
        paths = self.manifest.tree.paths_of(rows)
        return map(self.places.where, paths) if self.places else paths

    @property
    def recipes(self) -> list[ChunkSpec]:
        """The chunks to fetch, largest first; ``recipe.chunk`` is the manifest's number."""
        return self.items.recipes

    def files(self) -> int:
        """Return the number of files to make."""
        return len(self.small) + len(self.empty) + len(self.large)

    def size(self) -> int:
        """Return the bytes to write."""
        return sum(self.items.lengths)

    def held(self) -> tuple[int, int]:
        """Return files and bytes of the whole tree, including those that are right already."""
        rows = zip(self.chosen, self.manifest.tree.kinds, self.manifest.tree.sizes, strict=True)
        sizes = [size for chosen, kind, size in rows if chosen and kind in {FILE, HARDLINK}]
        return len(sizes), sum(sizes)

    def nothing_to_do(self) -> bool:
        """Return whether the tree is right already."""
        return not (
            self.files() or self.links or self.symlinks or self.dirs or self.touched_dirs or self.aside or self.extra
        )

    def made_rows(self) -> Iterator[int]:
        """Yield the rows of everything that will be made, except directories."""
        yield from self.small
        yield from self.empty
        yield from self.large
        yield from self.links
        yield from self.symlinks


@pause_gc()
def plan_restore(
    manifest: Manifest,
    asked: Sequence[str],
    found: ScannedTree,
    *,
    symlinks: str = KEEP,
    wrong: frozenset[int] = frozenset(),
    owners: bool = False,
    exclude: Exclusions = NOTHING,
    exact: bool = False,
) -> RestorePlan:
    """Compare the manifest with a walk. ``found`` walked ``common_roots``; content differs in its rows ``wrong``.

    Entries that ``exclude`` matches are left alone on both sides. With ``exact`` entries that the manifest lacks are
    removed. With ``owners`` an entry of a user other than root is right only if it belongs to that user.
    """
    roots = common_roots(manifest.roots, asked)
    chosen = selected_rows(manifest.tree, roots)
    for row in exclude.rows(manifest.tree) if exclude else ():
        chosen[row] = 0
    matched = match_rows(manifest.tree, found.tree)
    plan = RestorePlan(manifest, roots, matched, chosen, places=found.places, owners=owners)
    _leave_excluded(plan, found)
    if not wrong and _is_all_equal(plan, found) and not (exact and found.special):
        return plan
    _compare_rows(plan, found, wrong)
    _compare_links(plan, found, wrong)
    _apply_policy(plan, symlinks)
    if exact:
        held = (row for row in plan.matched if row >= 0)
        plan.extra = list(extra_paths(found, held, roots, manifest.tree.paths_of(plan.aside)))
    _fill_items(plan)
    _choose_dirs(plan, found)
    return plan


def common_roots(held: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Return the paths that are at or below a root on both sides."""
    ours, theirs = frozenset(asked), frozenset(held)
    mutual = {one for one in held if is_below(one, ours)} | {one for one in asked if is_below(one, theirs)}
    return tuple(sorted(mutual))


@pause_gc()
def write_restore(path: str, plan: RestorePlan, workspace: str) -> None:
    """Write the plan file for ``unpack_chunk``."""
    tree, items, rows = plan.manifest.tree, plan.items, plan.items.rows
    directories, names, paths = placed_columns(plan.places, tree, rows)
    owners = plan.owners and bool(tree.uids)
    columns = {
        "row": rows,
        "dir": directories,
        "mode": array("H", [tree.modes[row] for row in rows]),
        "mtime": array("q", [tree.mtimes[row] for row in rows]),
        "uid": array("I", [(plan.owner(row) or (0, 0))[0] for row in rows] if owners else []),
        "gid": array("I", [(plan.owner(row) or (0, 0))[1] for row in rows] if owners else []),
        "start": items.starts,
        "length": items.lengths,
        "at": items.ats,
        "flags": bytes(items.flags),
        "chunk_ids": bytes(plan.manifest.chunks.ids),
        "chunk_raw": plan.manifest.chunks.raws,
        **names_columns("names", names),
        **names_columns("dirs", paths),
        **names_columns("roots", [workspace, *plan.places.anchored(plan.roots)]),
    }
    write_table(path, columns, {"id_size": ID_SIZE, "owners": int(owners)})


def _leave_excluded(plan: RestorePlan, found: ScannedTree) -> None:
    """Leave out entries whose place is taken by a match of ``exclude``, such as a file in the place of a directory."""
    tree, chosen = plan.manifest.tree, plan.chosen
    left = frozenset(path for path, row in rows_at(tree, found.excluded).items() if chosen[row])
    for directory, first, last in tree.spans() if left else ():
        whole = is_below(directory, left)
        for row in range(first, last):
            if whole or join_path(directory, tree.names[row]) in left:
                chosen[row] = 0
    plan.left_alone = sorted(left)


def _compare_rows(plan: RestorePlan, found: ScannedTree, wrong: frozenset[int]) -> None:
    """Sort every chosen row, except hard links, by the repair that it needs; right ones need none."""
    tree, special = plan.manifest.tree, frozenset(found.special)
    columns = zip(plan.chosen, tree.kinds, plan.matched, plan.manifest.chunk, strict=True)
    for row, (chosen, kind, other, chunk) in enumerate(columns):
        if not chosen or kind == HARDLINK:
            continue
        if other >= 0:
            if other not in wrong and _is_right(plan, found, row, other, row):
                continue
            plan.aside.append(row)
        elif special and tree.path(row) in special:
            plan.aside.append(row)
        if chunk != NONE:
            plan.small.append(row)
        else:
            _sort_in(plan, row, row)


def _is_all_equal(plan: RestorePlan, found: ScannedTree) -> bool:
    """Return whether both sides are equal in every column. This is the usual case, and faster than a look at each row."""
    return 0 not in plan.chosen and bool(plan.manifest.tree == found.tree)


def _is_right(plan: RestorePlan, found: ScannedTree, row: int, other: int, content: int) -> bool:
    tree, there = plan.manifest.tree, found.tree
    kind, other_kind = tree.kinds[content], there.kinds[other]
    if kind != DIR and plan.owner(row) not in {None, there.owner(other)}:
        return False
    if kind == FILE:
        return (
            tree.mtimes[row] == there.mtimes[other]
            and tree.sizes[content] == there.sizes[there.links.get(other, other)]
            and tree.modes[row] == there.modes[other]
            and other_kind in (FILE, HARDLINK)
        )
    if kind == DIR or kind != other_kind:
        return kind == other_kind
    return tree.targets[row] == there.targets[other] and tree.mtimes[row] == there.mtimes[other]


def _sort_in(plan: RestorePlan, row: int, content: int) -> None:
    """Sort a row into the plan. ``content`` is the row with its bytes: another one for a link cut off from its file."""
    tree = plan.manifest.tree
    kind = FILE if content != row else tree.kinds[row]
    if kind == DIR:
        plan.dirs.append(row)
    elif kind == SYMLINK:
        plan.symlinks.append(row)
    elif not tree.sizes[content]:
        plan.empty.append(row)
    elif plan.manifest.chunk[content] == NONE:
        plan.large.append(row)
    else:
        plan.small.append(row)
    if content != row:
        plan.content[row] = content


def _compare_links(plan: RestorePlan, found: ScannedTree, wrong: frozenset[int]) -> None:
    """Compare hard links. One is right if it has the inode of its file, which stays; without that it becomes a file."""
    tree, special = plan.manifest.tree, frozenset(found.special)
    remade = set(plan.made_rows())
    leaders: dict[int, int] = {}
    for row, target in tree.links.items():
        if not plan.chosen[row]:
            continue
        other = plan.matched[row]
        leader = target if plan.chosen[target] else leaders.setdefault(target, row)
        if leader == row:
            right = other >= 0 and other not in wrong and _is_right(plan, found, row, other, target)
        else:
            right = other >= 0 and leader not in remade and _same_inode(found, other, plan.matched[leader])
        if right:
            continue
        if other >= 0 or tree.path(row) in special:
            plan.aside.append(row)
        if leader == row:
            _sort_in(plan, row, target)
            remade.add(row)
        else:
            plan.links[row] = leader


def _same_inode(found: ScannedTree, one: int, other: int) -> bool:
    return other >= 0 and (found.devices[one], found.inodes[one]) == (found.devices[other], found.inodes[other])


def _apply_policy(plan: RestorePlan, symlinks: str) -> None:
    """Leave out the links that the policy does not take; an entry in their place stays."""
    if symlinks == KEEP:
        return
    tree, roots = plan.manifest.tree, plan.roots
    left_out = {
        row
        for row in plan.symlinks
        if not link_is_wanted(symlinks, tree.dirs[tree.directory(row)], tree.targets[row], roots)
    }
    plan.symlinks = [row for row in plan.symlinks if row not in left_out]
    plan.aside = [row for row in plan.aside if row not in left_out]
    plan.skipped_symlinks = sorted(left_out)


def _fill_items(plan: RestorePlan) -> None:
    """Fill in the stretches to write, chunk by chunk, each chunk's in row order."""
    manifest, content, items = plan.manifest, plan.content, plan.items
    chunks = manifest.chunk
    places = [chunks[content.get(row, row) if content else row] << _ROW_BITS | row for row in plan.small]
    pieces = _pieces_by_place(plan)
    places += pieces
    places.sort()
    before, first = NONE, 0
    add, sizes, ats = items.add, manifest.tree.sizes, manifest.at
    for place in places:
        chunk, row = place >> _ROW_BITS, place & _ROW_MASK
        if chunk != before:
            items.cut(before, first)
            before, first = chunk, len(items.rows)
        if place in pieces:
            for n in pieces[place]:
                add(row, manifest.extents.starts[n], manifest.extents.lengths[n], manifest.extents.ats[n], PIECE)
        else:
            source = content.get(row, row) if content else row
            add(row, 0, sizes[source], ats[source], 0)
    items.cut(before, first)
    items.recipes.sort(key=lambda recipe: -manifest.chunks.raws[recipe.chunk])


def _pieces_by_place(plan: RestorePlan) -> dict[int, list[int]]:
    """Return the extents of the files to make, by chunk and row."""
    chunks, spans = plan.manifest.extents.chunks, plan.manifest.extents.spans() if plan.large else {}
    pieces: dict[int, list[int]] = defaultdict(list)
    for row in plan.large:
        for n in range(*spans.get(plan.content.get(row, row), (0, 0))):
            pieces[chunks[n] << _ROW_BITS | row].append(n)
    return dict(pieces)


def _choose_dirs(plan: RestorePlan, found: ScannedTree) -> None:
    """Choose the directories that get mode and time at the end: wrong ones, new ones, and changed ones."""
    tree, there = plan.manifest.tree, found.tree
    directories = tree.directory_of_rows()
    touched = {directories[row] for rows in (plan.made_rows(), plan.dirs, plan.aside) for row in rows}
    changed = {tree.dirs[index] for index in touched} | {split_path(path)[0] for path in plan.extra}
    new = set(plan.dirs)
    for row, path in _chosen_dirs(plan):
        other = plan.matched[row]
        if row in new:
            plan.touched_dirs.append(row)
        elif (
            path in changed
            or tree.modes[row] != there.modes[other]
            or tree.mtimes[row] != there.mtimes[other]
            or plan.owner(row) not in {None, there.owner(other)}
        ):
            plan.touched_dirs.append(row)
            if there.modes[other] & OURS != OURS:
                plan.closed_dirs[row] = there.modes[other]


def _chosen_dirs(plan: RestorePlan) -> Iterator[tuple[int, str]]:
    """Yield rows and paths of the directories that the restore may write to."""
    tree = plan.manifest.tree
    for path, first, last in tree.spans():
        row = tree.kinds.find(DIR, first, last)
        while row >= 0:
            if plan.chosen[row]:
                yield row, join_path(path, tree.names[row])
            row = tree.kinds.find(DIR, row + 1, last)
