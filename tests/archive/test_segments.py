"""The manifest in segments: what a small change costs, that nothing is lost, and what is refused."""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3batch.archive import manifest_codec, msgpack, segments, zstd
from s3batch.archive.columns import NONE, filled_column
from s3batch.archive.hashing import chunk_id
from s3batch.archive.local_state import LocalState, load_state, save_state
from s3batch.archive.manifest import Manifest
from s3batch.archive.paths import is_inside, is_safe_name
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK, Tree
from s3batch.archive.validate import Limits
from s3batch.base.errors import ArchiveError

ENTRIES = 83_000
FEWER = 12_000


class Made:
    """A tree of many files being written down, directory after directory."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.tree = Tree()
        self.manifest = Manifest(("d",), self.tree, bytearray(), array("I"), array("I"))
        self.end = 1 << 62
        self.directory("", ["d"])

    def directory(self, path: str, directories: list[str], files: tuple[str, ...] = ()) -> None:
        of_files = frozenset(files)
        for name in sorted((*directories, *files)):
            is_file = name in of_files
            size = self.chance.randrange(1, 20_000) if is_file else 0
            self.row(name, FILE if is_file else DIR, size)
        self.tree.dirs.append(path)
        self.tree.starts.append(len(self.tree))

    def row(self, name: str, kind: int, size: int) -> None:
        tree, manifest = self.tree, self.manifest
        tree.names.append(name)
        tree.kinds.append(kind)
        tree.modes.append(0o644)
        tree.sizes.append(size)
        tree.mtimes.append(self.chance.randrange(10**18, 2 * 10**18))
        manifest.hashes += self.chance.randbytes(16) if kind == FILE else bytes(16)
        if size and self.end + size > 8 << 20:
            manifest.chunks.add(self.chance.randbytes(32), 9 << 20, 3 << 20)
            self.end = 0
        manifest.chunk.append(len(manifest.chunks) - 1 if size else NONE)
        manifest.at.append(self.end if size else 0)
        self.end += size


def many_directories(entries: int = FEWER) -> Manifest:
    made, each = Made(), 20
    names = [f"package-{made.chance.getrandbits(40):010x}" for _ in range(entries // each)]
    made.directory("d", names)
    for name in sorted(names):
        made.directory(f"d/{name}", [], tuple(f"{made.chance.getrandbits(40):010x}.js" for _ in range(each)))
    return made.manifest


def one_directory(entries: int = FEWER) -> Manifest:
    made = Made()
    made.directory("d", [], tuple(f"{made.chance.getrandbits(40):010x}.js" for _ in range(entries)))
    return made.manifest


def encoded(
    manifest: Manifest, known: Mapping[bytes, bytes] = MappingProxyType({}), **limits: Any
) -> tuple[bytes, dict[bytes, bytes]]:
    """The head, and the segments by id."""
    made = manifest_codec.make_segments(manifest, **limits)
    bodies = {each.id: known.get(each.id) or zstd.compress_frame(each.raw) for each in made}
    named = [segments.Segment(each.id, len(each.raw), len(bodies[each.id])) for each in made]
    return manifest_codec.encode_manifest(manifest, segments=named), bodies


def change_one(manifest: Manifest, row: int) -> None:
    """Give a file other content, in a chunk of its own."""
    manifest.tree.mtimes[row] += 12345
    manifest.tree.sizes[row] = 777
    manifest.hashes[row * 16 : row * 16 + 16] = random.Random(row).randbytes(16)
    manifest.chunk[row], manifest.at[row] = manifest.chunks.add(random.Random(row).randbytes(32), 777, 700), 0


def insert_one(manifest: Manifest, row: int) -> None:
    """Put a file before a row of the same directory."""
    tree = manifest.tree
    at = tree.directory(row)
    tree.names.insert(row, f"{tree.names[row]}-before")
    tree.kinds.insert(row, FILE)
    tree.modes.insert(row, 0o644)
    tree.sizes.insert(row, 0)
    tree.mtimes.insert(row, 10**18)
    for later in range(at + 1, len(tree.starts)):
        tree.starts[later] += 1
    manifest.hashes[row * 16 : row * 16] = random.Random(row).randbytes(16)
    manifest.chunk.insert(row, NONE)
    manifest.at.insert(row, 0)


def drop_chunk(manifest: Manifest, row: int) -> None:
    """Move a file to a chunk with the lowest number, so that all other chunks have another one."""
    chunks = manifest.chunks
    ids, raws, sizes = bytes(chunks.ids), list(chunks.raws), list(chunks.stored)
    chunks.ids[:] = random.Random(row).randbytes(32) + ids
    chunks.raws[:], chunks.stored[:] = array("I", [20_000, *raws]), array("I", [700, *sizes])
    manifest.chunk[:] = array("I", [NONE if chunk == NONE else chunk + 1 for chunk in manifest.chunk])
    manifest.chunk[row], manifest.at[row] = 0, 0


@pytest.mark.parametrize("tree", [many_directories, one_directory])
@pytest.mark.parametrize("change", [change_one, insert_one, drop_chunk])
def test_a_small_change_sends_little_of_the_list(tree, change):
    manifest = tree()
    _, known = encoded(manifest)

    for row in random.Random(5).sample(range(FEWER // 2, FEWER), 3):
        change(manifest, row)
        head, bodies = encoded(manifest, known)
        sent = [body for identity, body in bodies.items() if identity not in known]
        known = bodies

        assert len(head) + sum(map(len, sent)) < 100 << 10
        assert 1 <= len(sent) <= 4
    assert manifest_codec.decode_manifest(head, segments=bodies) == manifest


def test_one_file_of_83_000_costs_less_than_100_kib():
    manifest = many_directories(ENTRIES)
    _, known = encoded(manifest)

    change_one(manifest, ENTRIES // 2)
    head, bodies = encoded(manifest, known)

    sent = [body for identity, body in bodies.items() if identity not in known]
    assert len(sent) == 1
    assert len(head) + len(sent[0]) < 100 << 10


def test_a_large_tree_is_the_same_with_segments_and_without():
    manifest = many_directories()

    head, bodies = encoded(manifest)

    whole = manifest_codec.encode_manifest(manifest)
    assert manifest_codec.decode_manifest(head, segments=bodies) == manifest_codec.decode_manifest(whole) == manifest
    assert len(bodies) > 5
    assert len(head) < 16 << 10
    assert manifest_codec.EncodedManifest(head).sums()[:3] == manifest_codec.EncodedManifest(whole).sums()[:3]


def test_a_reader_of_version_1_finds_all_fields_and_then_another_version(good):
    fields = of_head(good[0])

    made = Made()
    made.directory("d", [], ("a",))
    assert set(of_head(manifest_codec.encode_manifest(made.manifest))) <= set(fields)
    assert (fields["v"], fields["dir_count"], fields["names"]) == (2, 0, b"")


def test_a_small_tree_is_stored_in_one_piece():
    made = Made()
    made.directory("d", [], ("a", "b"))

    assert manifest_codec.make_segments(made.manifest) == []
    assert manifest_codec.EncodedManifest(manifest_codec.encode_manifest(made.manifest)).segments == []


@st.composite
def manifests(draw) -> Manifest:
    """Any small tree: links of both kinds, owners here and there, files in pieces."""
    made, count = Made(draw(st.integers(0, 99))), draw(st.integers(1, 9))
    names = [f"n{number}" for number in range(count)]
    made.directory("d", names)
    for name in names:
        files = tuple(f"f{number:02}" for number in range(draw(st.integers(0, 12))))
        if files:
            made.directory(f"d/{name}", [], files)
    manifest, tree = made.manifest, made.tree
    files = [row for row, kind in enumerate(tree.kinds) if kind == FILE]
    for row in files[1:]:
        what = draw(st.sampled_from(["file", "file", "link", "hard link", "pieces", "owned"]))
        if what in ("link", "hard link", "pieces"):
            manifest.chunk[row], manifest.at[row] = NONE, 0
        if what in ("link", "hard link"):
            tree.sizes[row] = 0
            manifest.hashes[row * 16 : row * 16 + 16] = bytes(16)
        if what == "link":
            tree.kinds[row], tree.targets[row] = SYMLINK, f"to-{row}"
        elif what == "hard link":
            tree.kinds[row], tree.links[row] = HARDLINK, files[0]
        elif what == "pieces":
            tree.sizes[row] = 100_000
            for number in range(draw(st.integers(0, 3))):
                manifest.extents.add(row, number * 1000, 900, 0, number * 10)
        elif what == "owned":
            tree.uids = tree.uids or filled_column("I", 0, len(tree))
            tree.gids = tree.gids or filled_column("I", 0, len(tree))
            tree.uids[row] = 1000 + row
    return manifest


TINY: dict[str, Any] = {
    "segmented_from": 0,
    "sizes": segments.SegmentSizes(fewest=2, most=5, mean=2, long=3),
}
"""Segments of two to five rows."""


@settings(max_examples=40, deadline=None)
@given(manifest=manifests())
def test_every_kind_of_entry_comes_back_from_segments(manifest):
    head, bodies = encoded(manifest, **TINY)

    assert manifest_codec.decode_manifest(head, segments=bodies) == manifest
    assert all(len(msgpack.decode_message(zstd.decompress_frame(body, limit=1 << 20), dict, what="")["kinds"]) <= 5 for body in bodies.values())  # fmt: skip


def test_the_state_keeps_the_segments(tmp_path):
    made = Made()
    made.directory("d", [], tuple("abcdefghij"))
    head, bodies = encoded(made.manifest, **TINY)
    state = LocalState(head, made.manifest, "k", "e", 1, segments=bodies)

    save_state(str(tmp_path / "state"), state)
    loaded = load_state(str(tmp_path / "state"))

    assert loaded == state
    assert list(loaded.segments) == [each.id for each in manifest_codec.EncodedManifest(head).segments]


# --- what is refused ---------------------------------------------------------------------------


@pytest.fixture
def good():
    """A head and its segments, of a tree with a link of each kind."""
    made = Made()
    made.directory("d", [], tuple(f"f{number:02}" for number in range(20)))
    tree = made.tree
    for row, kind in ((5, SYMLINK), (9, HARDLINK)):
        tree.kinds[row], tree.sizes[row], made.manifest.chunk[row], made.manifest.at[row] = kind, 0, NONE, 0
        made.manifest.hashes[row * 16 : row * 16 + 16] = bytes(16)
    tree.targets[5], tree.links[9] = "f00", 2
    return encoded(made.manifest, **TINY)


def of_head(head: bytes) -> dict:
    return msgpack.decode_message(zstd.decompress_frame(head, limit=1 << 20), dict, what="the head")


def as_head(fields: dict) -> bytes:
    return zstd.compress_frame(msgpack.encode_message(fields), checksum=True)


def respell(head: bytes, bodies: dict[bytes, bytes], number: int, change) -> tuple[bytes, dict[bytes, bytes]]:
    """Give one segment other fields, under its right new name."""
    fields = of_head(head)
    ids = [each.id for each in manifest_codec.EncodedManifest(head).segments]
    part = msgpack.decode_message(zstd.decompress_frame(bodies[ids[number]], limit=1 << 20), dict, what="a segment")
    change(part)
    raw = msgpack.encode_message(part)
    new = {**{each: bodies[each] for each in ids if each != ids[number]}, chunk_id(raw): zstd.compress_frame(raw)}
    ids[number] = chunk_id(raw)
    raws = [len(zstd.decompress_frame(new[each], limit=1 << 20)) for each in ids]
    fields["segment_ids"] = b"".join(ids)
    fields["segment_raw"] = segments.to_planes(array("I", raws))
    return as_head(fields), new


def test_a_respelled_segment_is_read_as_long_as_it_is_right(good):
    head, bodies = respell(*good, 1, lambda part: None)

    assert manifest_codec.decode_manifest(head, segments=bodies) == manifest_codec.decode_manifest(
        good[0], segments=good[1]
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda part: part.update(entry_count=2**62), id="an absurd count"),
        pytest.param(lambda part: part.update(entry_count=-1), id="a negative count"),
        pytest.param(lambda part: part.update(counts=b"\0" * 4), id="directories that hold nothing"),
        pytest.param(lambda part: part.update(counts=b"\xff" * 4), id="directories that hold more"),
        pytest.param(lambda part: part.update(dirs=b"elsewhere"), id="a directory outside the roots"),
        pytest.param(lambda part: part.update(chunk_ids=b"x" * 32), id="a chunk the head does not name"),
        pytest.param(lambda part: part.update(chunk_ids=b"x" * 33), id="half an id"),
        pytest.param(lambda part: part.update(chunk_ids=b""), id="no chunk for a number"),
        pytest.param(
            lambda part: part.update(kinds=bytes([HARDLINK]) * len(part["kinds"])), id="links without a column"
        ),
        pytest.param(lambda part: part.update(hashes=b""), id="no hashes"),
        pytest.param(
            lambda part: part.update(names=b"same\0" * (part["entry_count"] - 1) + b"same"), id="a name twice"
        ),
        pytest.param(lambda part: part.pop("sizes"), id="no sizes"),
    ],
)
def test_a_hostile_segment_is_refused(good, change):
    head, bodies = respell(*good, 1, change)

    with pytest.raises(ArchiveError):
        manifest_codec.decode_manifest(head, segments=bodies)


def test_a_hard_link_cannot_point_before_the_first_entry(good):
    opened = manifest_codec.EncodedManifest(good[0])
    parts = [
        msgpack.decode_message(zstd.decompress_frame(good[1][each.id], limit=1 << 20), dict, what="")
        for each in opened.segments
    ]
    number = next(number for number, part in enumerate(parts) if part.get("links"))

    head, bodies = respell(*good, number, lambda part: part.update(links=(4_000_000).to_bytes(4, "little")))

    with pytest.raises(ArchiveError, match="before the first entry"):
        manifest_codec.decode_manifest(head, segments=bodies)


@pytest.mark.parametrize(
    ("fields", "limits", "what"),
    [
        pytest.param({"segment_count": 1 << 40}, Limits(), "segments", id="an absurd number of segments"),
        pytest.param({"segment_count": -1}, Limits(), "segments", id="a negative number"),
        pytest.param({"segment_ids": b""}, Limits(), "incomplete", id="no ids"),
        pytest.param({"segment_count": 0}, Limits(), "incomplete", id="fewer than it names"),
        pytest.param({"entry_count": 6_000_000}, Limits(), "entries", id="too many entries"),
        pytest.param({"entry_count": 3}, Limits(), "more entries", id="more than it lists"),
        pytest.param({"entry_count": 300}, Limits(), "fewer entries", id="fewer than it lists"),
        pytest.param({"v": 3}, Limits(), "format 3/b3", id="a later version"),
        pytest.param({}, Limits(manifest_raw=500), "limit of 500", id="large in all"),
        pytest.param({}, Limits(chunk_raw=50), "limit", id="one too large"),
    ],
)
def test_a_hostile_head_is_refused(good, fields, limits, what):
    head = as_head({**of_head(good[0]), **fields})

    with pytest.raises(ArchiveError, match=what):
        manifest_codec.EncodedManifest(head, limits).manifest(good[1])


def test_a_segment_of_other_bytes_is_refused(good):
    head, bodies = good
    ids = list(bodies)

    with pytest.raises(ArchiveError, match=r"limit of|should hold|other bytes"):
        manifest_codec.decode_manifest(head, segments={**bodies, ids[0]: bodies[ids[1]]})
    with pytest.raises(ArchiveError):
        manifest_codec.decode_manifest(head, segments={**bodies, ids[0]: b"rubbish"})
    spoiled = zstd.compress_frame(b"x" * len(zstd.decompress_frame(bodies[ids[0]], limit=1 << 20)))
    with pytest.raises(ArchiveError, match="does not match its hash"):
        manifest_codec.decode_manifest(head, segments={**bodies, ids[0]: spoiled})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_segment_with_any_field_spoiled_is_refused_or_harmless(good, data):
    def spoil(part: dict) -> None:
        name = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[name], bytes):
            part[name] = data.draw(st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=9), st.none()))
            return
        spoiled = bytearray(part[name])
        for _ in range(data.draw(st.integers(1, 3))):
            spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
        part[name] = bytes(spoiled) + data.draw(st.binary(max_size=4))

    number = data.draw(st.integers(0, len(manifest_codec.EncodedManifest(good[0]).segments) - 1))
    try:
        head, bodies = respell(*good, number, spoil)
        manifest = manifest_codec.decode_manifest(head, segments=bodies)
    except ArchiveError:
        return

    for path in manifest.tree.paths():
        assert is_inside(path, "d")
        assert all(is_safe_name(part) for part in path.split("/"))
    assert all(0 <= target < row and manifest.tree.kinds[target] == FILE for row, target in manifest.tree.links.items())


def test_a_manifest_of_the_first_version_is_read_however_large_it_is():
    manifest = replace(many_directories(), created=1.5)

    assert manifest_codec.decode_manifest(manifest_codec.encode_manifest(manifest)) == manifest
