"""A second reader, written from docs/cache-format.md alone: if it fails, the page or the program is wrong."""

import os
import struct

import msgspec
import pytest
import zstandard
from blake3 import blake3

from s3batch.archive import manifest_codec, segments, zstd
from tests.archive.cycle import OLD, Store, fill, noise, rebuild

NONE = 4294967295


def planes(data, width, count, *, signed=False):
    assert len(data) == width * count
    values = (bytes(data[plane * count + row] for plane in range(width)) for row in range(count))
    return [int.from_bytes(value, "little", signed=signed) for value in values]


def names(data, count):
    return data.split(b"\0") if count else []


class Reader:
    def __init__(self, stored, chunks):
        self.fields = fields = msgspec.msgpack.decode(zstandard.decompress(stored))
        assert (fields["v"], fields["alg"]) == (1, "b3")
        count, chunk_count, extents = fields["entry_count"], fields["chunk_count"], fields["extent_count"]
        self.count = count
        self.kinds = fields["kinds"]
        self.modes = planes(fields["modes"], 2, count)
        self.sizes = planes(fields["sizes"], 8, count, signed=True)
        self.mtimes = planes(fields["mtimes"], 8, count, signed=True)
        self.chunk = planes(fields["chunk"], 4, count)
        self.gaps = planes(fields["gaps"], 8, count, signed=True)
        self.hashes = [fields["hashes"][16 * row : 16 * row + 16] for row in range(count)]
        self.targets = iter(names(fields["targets"], self.kinds.count(2)))
        self.links = iter(planes(fields["links"], 4, self.kinds.count(3)))
        self.extents = list(
            zip(
                planes(fields["extent_rows"], 4, extents),
                planes(fields["extent_starts"], 8, extents, signed=True),
                planes(fields["extent_lengths"], 4, extents),
                planes(fields["extent_chunks"], 4, extents),
                planes(fields["extent_ats"], 4, extents),
                strict=True,
            )
        )
        self.raw = []
        for number, length in enumerate(planes(fields["chunk_raw"], 4, chunk_count)):
            identity = fields["chunk_ids"][32 * number : 32 * number + 32]
            raw = zstandard.decompress(chunks[identity])
            assert (blake3(raw).digest(), len(raw)) == (identity, length)
            self.raw.append(raw)

    def paths(self):
        dirs = names(self.fields["dirs"], self.fields["dir_count"])
        counts = planes(self.fields["counts"], 4, len(dirs))
        entries = iter(names(self.fields["names"], self.count))
        for directory, count in zip(dirs, counts, strict=True):
            for _ in range(count):
                yield os.path.join(directory, next(entries))

    def entries(self):
        """Path to kind, mode, time and content; a hard link's content is its row."""
        last, end, found = NONE, 0, {}
        for row, path in enumerate(self.paths()):
            content = b""
            if self.chunk[row] != NONE:
                at = self.gaps[row] + (end if self.chunk[row] == last else 0)
                last, end = self.chunk[row], at + self.sizes[row]
                content = self.raw[last][at:end]
            elif self.kinds[row] == 0:
                whole = bytearray(self.sizes[row])
                for _, start, length, chunk, at in (extent for extent in self.extents if extent[0] == row):
                    whole[start : start + length] = self.raw[chunk][at : at + length]
                content = bytes(whole)
            elif self.kinds[row] == 2:
                content = next(self.targets)
            elif self.kinds[row] == 3:
                content = next(self.links)
            if self.kinds[row] == 0:
                assert self.hashes[row] == content_hash(content)
            found[path] = self.kinds[row], self.modes[row], self.mtimes[row], content
        return found

    def tree(self, *, timed=False):
        fields = self.fields
        roots = b"\0".join(fields["roots"])
        order = ["dirs", "names", "targets", "kinds", "hashes", "counts", "modes", "sizes", "links"]
        parts = [roots, *(fields[name] for name in order), *([fields["mtimes"]] if timed else [])]
        return blake3(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).hexdigest()


class SegmentedReader(Reader):
    """The same of a head and its segments: each is read as a manifest of its own, and the rows are joined."""

    def __init__(self, stored, chunks):
        self.fields = head = msgspec.msgpack.decode(zstandard.decompress(stored))
        assert (head["v"], head["alg"]) == (2, "b3")
        self.parts = []
        for number in range(head["segment_count"]):
            identity = head["segment_ids"][32 * number : 32 * number + 32]
            raw = zstandard.decompress(chunks[identity])
            assert blake3(raw).digest() == identity
            assert len(raw) == planes(head["segment_raw"], 4, head["segment_count"])[number]
            self.parts.append(_Part(raw, head, chunks))

    def entries(self):
        found, before = {}, []
        for part in self.parts:
            paths = list(part.paths())
            for row, (path, facts) in enumerate(part.entries().items(), len(before)):
                target = before[row - facts[3]] if facts[0] == 3 and row - facts[3] < len(before) else None
                target = target or (paths[row - facts[3] - len(before)] if facts[0] == 3 else None)
                found[path] = (*facts[:3], target or facts[3])
            before += paths
        assert len(found) == self.fields["entry_count"]
        return found


class _Part(Reader):
    """A segment: a manifest whose chunks are those it names itself."""

    def __init__(self, raw, head, chunks):
        part = dict.fromkeys(COLUMNS, b"") | {"dir_count": 0, "entry_count": 0, "extent_count": 0}
        part |= msgspec.msgpack.decode(raw)
        lengths = planes(head["chunk_raw"], 4, head["chunk_count"])
        sizes = {head["chunk_ids"][32 * at : 32 * at + 32]: length for at, length in enumerate(lengths)}
        mine = [part["chunk_ids"][at : at + 32] for at in range(0, len(part["chunk_ids"]), 32)]
        raws = b"".join(sizes[each].to_bytes(4, "little") for each in mine)
        part |= {"v": 1, "alg": "b3", "chunk_count": len(mine)}
        part["chunk_raw"] = b"".join(raws[plane::4] for plane in range(4))
        super().__init__(zstandard.compress(msgspec.msgpack.encode(part)), chunks)


COLUMNS = [
    "dirs",
    "counts",
    "names",
    "kinds",
    "modes",
    "sizes",
    "mtimes",
    "hashes",
    "chunk",
    "gaps",
    "targets",
    "links",
    "chunk_ids",
    "extent_rows",
    "extent_starts",
    "extent_lengths",
    "extent_chunks",
    "extent_ats",
    "uids",
    "gids",
]


def content_hash(content):
    if len(content) < 8 << 20:
        return blake3(content).digest()[:16]
    windows = (content[start : start + (8 << 20)] for start in range(0, len(content), 8 << 20))
    return blake3(b"".join(blake3(window).digest()[:16] for window in windows)).digest()[:16]


@pytest.fixture
def here(tmp_path):
    top = tmp_path / "here"
    fill(top, {"d/a": b"A" * 10, "d/empty": b"", "d/s/b": noise(70_000), "d/s/copy": noise(70_000), "f": b"file"})
    fill(top, {"d/large": noise((8 << 20) + 77)})
    with open(top / "d" / "holes", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    os.symlink("a", top / "d" / "link")
    os.link(top / "d" / "a", top / "d" / "s" / "again")
    with open(os.fsencode(top) + b"/d/\xff", "wb") as file:
        file.write(b"name")
    return top


def test_the_format_is_as_documented(here):
    store = Store()
    built = rebuild(here, ["d", "f"], store)

    reader = Reader(built.stored, store.chunks)
    entries = reader.entries()

    paths = list(reader.paths())
    assert {path: facts[0] for path, facts in entries.items()} == {
        b"d": 1, b"f": 0, b"d/a": 0, b"d/empty": 0, b"d/holes": 0, b"d/large": 0, b"d/link": 2, b"d/s": 1, b"d/\xff": 0,
        b"d/s/again": 3, b"d/s/b": 0, b"d/s/copy": 0,
    }  # fmt: skip
    assert entries[b"d/link"][3] == b"a"
    assert paths[entries[b"d/s/again"][3]] == b"d/a"
    for path, (kind, mode, mtime_ns, content) in entries.items():
        status = os.lstat(os.path.join(os.fsencode(here), path))
        assert (mode, mtime_ns) == (status.st_mode & 0o777, status.st_mtime_ns)
        if kind == 0:
            with open(os.path.join(os.fsencode(here), path), "rb") as file:
                assert file.read() == content
    assert entries[b"d/a"][2] == OLD


def test_the_tree_ids_are_as_documented(here):
    store = Store()
    built = rebuild(here, ["d", "f"], store)

    reader = Reader(built.stored, store.chunks)

    assert reader.tree() == built.manifest.tree_id()
    assert reader.tree(timed=True) == built.manifest.timed_tree_id()


def test_segments_are_as_documented(here):
    store = Store()
    built = rebuild(here, ["d", "f"], store)
    whole = Reader(built.stored, store.chunks)
    made = manifest_codec.make_segments(built.manifest, 0, segments.SegmentSizes(fewest=2, most=4, mean=2, long=3))
    bodies = {each.id: zstd.compress_frame(each.raw) for each in made}
    named = [segments.Segment(each.id, len(each.raw), len(bodies[each.id])) for each in made]

    reader = SegmentedReader(manifest_codec.encode_manifest(built.manifest, segments=named), {**store.chunks, **bodies})

    assert len(reader.parts) > 2
    paths, entries = list(whole.paths()), whole.entries()
    linked = {path: (*facts[:3], paths[facts[3]]) for path, facts in entries.items() if facts[0] == 3}
    assert linked
    assert reader.entries() == {**entries, **linked}
