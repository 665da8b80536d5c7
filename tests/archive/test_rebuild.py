import os

import pytest

from s3batch.archive import change_detection, manifest_codec, pack_chunk, pack_plan, scan
from s3batch.archive.hashing import WINDOW
from s3batch.archive.local_state import load_state, read_state, save_state
from s3batch.archive.plan_file import count_files
from s3batch.model import ChunkSpec
from tests.archive.cycle import OLD, Store, fill, noise, rebuild, restore_tree, settle, snapshot


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def many(count=60, size=300_000):
    return {f"d/{n % 7}/{n:03}": noise(size, n) for n in range(count)}


def test_nothing_changed_reads_no_file_and_sends_nothing(here):
    fill(here, many())
    settle()
    store = Store()
    first = rebuild(here, ["d"], store)

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)

    assert (second.puts, second.hashed) == (0, 0)
    assert second.manifest.timed_tree_id() == first.manifest.timed_tree_id()
    assert second.stored == first.stored


def test_all_times_changed_costs_hashing_but_no_chunk(here):
    fill(here, many())
    store = Store()
    first = rebuild(here, ["d"], store)
    fill(here, many(), mtime_ns=OLD + 10**9)

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)

    assert (second.puts, second.hashed) == (0, 60)
    assert second.manifest.tree_id() == first.manifest.tree_id()
    assert second.manifest.timed_tree_id() != first.manifest.timed_tree_id()


@pytest.mark.parametrize("size", [WINDOW - 1, WINDOW, WINDOW + 1])
def test_copies_of_a_file_of_the_base_are_cached_and_cost_no_chunk(here, size):
    content = noise(size)
    fill(here, {"d/first": content})
    store = Store()
    first = rebuild(here, ["d"], store)
    fill(here, {"d/first": content, "d/second": content, "d/third": content}, mtime_ns=OLD + 10**9)

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)

    assert (second.puts, second.problems) == (0, [])
    assert len({second.manifest.hash(row) for row in range(1, 4)}) == 1


def test_little_changed_sends_little(here, tmp_path):
    fill(here, many())
    store = Store()
    first = rebuild(here, ["d"], store)
    fill(here, {"d/3/new": noise(50_000, 777), "d/1/001": noise(300_000, 778)})

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)
    (tmp_path / "there").mkdir()
    restore_tree(tmp_path / "there", ["d"], second.stored, store)

    assert second.puts == 1
    assert snapshot(tmp_path / "there") == snapshot(here)


def test_two_builds_of_the_same_tree_make_the_same_chunks(here, tmp_path):
    fill(here, many())
    fill(tmp_path / "other", many(), mtime_ns=OLD + 5)
    store = Store()

    first = rebuild(here, ["d"], store)
    second = rebuild(tmp_path / "other", ["d"], store)

    assert list(first.manifest.chunks.all_ids()) == list(second.manifest.chunks.all_ids())


def test_a_file_in_the_middle_changes_few_chunks_even_without_a_base(here):
    fill(here, many(200))
    first = rebuild(here, ["d"], Store())
    fill(here, {"d/3/0000new": noise(100_000, 5)})
    second = rebuild(here, ["d"], Store())

    fresh = set(second.manifest.chunks.all_ids()) - set(first.manifest.chunks.all_ids())

    assert len(fresh) <= 2 < len(first.manifest.chunks)


def test_equal_contents_are_stored_once(here, tmp_path):
    fill(here, {f"d/{n}/copy": noise(200_000) for n in range(200)} | {f"d/{n}/tiny": b"same" for n in range(9)})

    built = rebuild(here, ["d"], store := Store())
    (tmp_path / "there").mkdir()
    restore_tree(tmp_path / "there", ["d"], built.stored, store)

    assert sum(built.manifest.chunks.raws) < 201_000
    assert snapshot(tmp_path / "there") == snapshot(here)


def test_a_renamed_directory_costs_no_chunk(here):
    fill(here, many())
    store = Store()
    first = rebuild(here, ["d"], store)
    (here / "d" / "3").rename(here / "d" / "three")

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)

    assert second.puts == 0


def test_a_file_changed_in_the_moment_it_was_seen_is_not_believed(here):
    fill(here, {"d/f": b"before", "d/g": b"old"})
    settle()
    fill(here, {"d/f": b"middle"})
    store = Store()
    first = rebuild(here, ["d"], store)

    found = scan.scan_tree(str(here), ["d"])
    trusted = [found.tree.path(row) for row, _ in change_detection.unchanged_rows(found, first.state)]

    assert trusted == ["d/g"]


@pytest.mark.parametrize(
    ("trust", "hashed"), [pytest.param(True, 0, id="trusted"), pytest.param(False, 60, id="not trusted")]
)
def test_size_and_time_alone_count_only_when_asked_for(here, trust, hashed):
    fill(here, many())
    store = Store()
    first = rebuild(here, ["d"], store)

    second = rebuild(here, ["d"], store, base=first.manifest, trust_mtime=trust)

    assert second.hashed == hashed


def test_a_chunk_hardly_used_any_more_is_packed_again(here):
    fill(here, many(100))
    store = Store()
    first = rebuild(here, ["d"], store)
    for n in range(100):
        if n % 5:
            (here / "d" / str(n % 7) / f"{n:03}").unlink()

    second = rebuild(here, ["d"], store, state=first.state, base=first.manifest)

    kept = set(first.manifest.chunks.all_ids()) & set(second.manifest.chunks.all_ids())
    assert kept == set()
    assert sum(second.manifest.chunks.raws) == 20 * 300_000


def test_many_small_chunks_become_few(here):
    store, base, state = Store(), None, None
    for n in range(12):
        fill(here, {f"d/{n:02}": noise(20_000, n)})
        built = rebuild(here, ["d"], store, state=state, base=base)
        base, state = built.manifest, built.state

    assert len(built.manifest.chunks) <= 9


def test_the_state_survives_its_file_and_a_damaged_one_is_no_state(here, tmp_path):
    fill(here, many(5))
    built = rebuild(here, ["d"], Store())
    path = str(tmp_path / "state")

    save_state(path, built.state)
    loaded = load_state(path)
    data = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(data[:-5])

    assert loaded is not None
    assert (loaded.ctimes, loaded.inodes, loaded.devices) == (
        built.state.ctimes,
        built.state.inodes,
        built.state.devices,
    )
    assert loaded.stored == built.stored
    assert load_state(path) is None
    assert load_state(str(tmp_path / "none")) is None


def test_what_is_remembered_of_a_walk_is_of_no_other(here, tmp_path):
    fill(here, many(5))
    settle()
    built = rebuild(here, ["d"], Store())
    path = str(tmp_path / "state")
    save_state(path, built.state)
    remembered = read_state(path)
    assert remembered is not None

    same = remembered.is_of(scan.scan_tree(str(here), ("d",)))
    (here / "d" / "new").symlink_to("nowhere")
    other = remembered.is_of(scan.scan_tree(str(here), ("d",)))

    assert (same, other) == (True, False)


def test_a_restore_remembers_the_walk_it_ends_with(here, tmp_path):
    fill(here, many(20))
    os.symlink("0", here / "d" / "link")
    os.link(here / "d" / "1" / "001", here / "d" / "again")
    store, there = Store(), tmp_path / "there"
    there.mkdir()
    restored = restore_tree(there, ["d"], rebuild(here, ["d"], store).stored, store)
    restored.state.taken_ns += 10**9  # as if the last file had been at rest for a second
    save_state(str(tmp_path / "state"), restored.state)
    remembered = read_state(str(tmp_path / "state"))

    def is_same() -> bool:
        return remembered.is_of(scan.scan_tree(str(there), ("d",)))

    assert is_same()
    (there / "d" / "new").write_bytes(b"")
    assert not is_same()
    (there / "d" / "new").unlink()
    os.utime(there / "d", ns=(OLD, there.joinpath("d").stat().st_mtime_ns))
    (there / "d" / "2" / "002").chmod(0o600)
    assert not is_same()


def test_after_a_restore_a_rebuild_reads_nothing(here, tmp_path):
    fill(here, many())
    store = Store()
    built = rebuild(here, ["d"], store)
    there = tmp_path / "there"
    there.mkdir()
    restored = restore_tree(there, ["d"], built.stored, store)
    settled = restored.state
    settled.taken_ns += 60_000_000

    again = rebuild(there, ["d"], store, state=settled, base=settled.manifest)

    assert (again.puts, again.hashed) == (0, 0)
    assert again.manifest.timed_tree_id() == built.manifest.timed_tree_id()


def plan_of(here):
    roots = ("d",)
    surveyed = change_detection.survey_changes(scan.scan_tree(str(here), roots))
    plan = pack_plan.plan_packing(surveyed)
    path = str(here / "plan")
    pack_plan.write_items(path, surveyed, plan.items, str(here), roots)
    return path, plan


@pytest.mark.parametrize(
    ("meddle", "code"),
    [
        pytest.param(lambda path: path.unlink(), "Vanished", id="gone"),
        pytest.param(lambda path: path.write_bytes(b"longer than before"), "Changed", id="another size"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "Unreadable", id="a directory now"),
        pytest.param(lambda path: (path.unlink(), os.symlink("b", path)), "Unreadable", id="a link now"),
        pytest.param(lambda path: (path.unlink(), os.mkfifo(path)), "Unreadable", id="a fifo now"),
    ],
)
def test_a_file_that_is_not_what_was_planned_is_named_and_the_others_are_packed(here, tmp_path, meddle, code):
    fill(here, {"d/a": b"A" * 10, "d/b": b"B" * 20})
    path, plan = plan_of(here)
    meddle(here / "d" / "a")

    built = pack_chunk.build_chunk(path, plan.recipes[0])
    pack_chunk.close_pack_plans()

    assert [(index, found) for index, found, _ in built.packed.problems] == [(0, code)]
    assert built.packed.raw == 20


def test_a_file_touched_since_the_walk_is_stored_with_its_new_time(here):
    fill(here, {"d/a": b"same size"})
    path, plan = plan_of(here)
    fill(here, {"d/a": b"SAME SIZE"}, mtime_ns=OLD + 7)

    built = pack_chunk.build_chunk(path, plan.recipes[0])
    pack_chunk.close_pack_plans()

    assert built.packed.problems == []
    assert int.from_bytes(built.packed.mtimes, "little") == OLD + 7


def test_a_file_whose_copy_changed_since_both_were_found_equal_is_left_out_and_never_mixed_up(
    here, tmp_path, monkeypatch
):
    fill(here, {"d/a": noise(100_000), "d/b": noise(100_000), "d/c": b"C"})
    original = pack_chunk.build_chunk
    change = {"d/a": noise(100_000, 2)}
    monkeypatch.setattr(
        pack_chunk, "build_chunk", lambda *a, **k: (fill(here, change, mtime_ns=OLD + 7), original(*a, **k))[1]
    )

    store = Store()
    built = rebuild(here, ["d"], store)
    (tmp_path / "there").mkdir()
    restore_tree(tmp_path / "there", ["d"], built.stored, store)

    assert [problem.path for problem in built.problems] == ["d/b"]
    (here / "d" / "b").unlink()
    os.utime(here / "d", ns=(OLD, OLD))
    os.utime(tmp_path / "there" / "d", ns=(OLD, OLD))
    assert snapshot(tmp_path / "there") == snapshot(here)


def test_pieces_of_a_large_file_must_be_of_one_moment(here):
    fill(here, {"d/large": noise(2 * WINDOW)})
    path, plan = plan_of(here)
    fill(here, {"d/large": noise(2 * WINDOW, 2)}, mtime_ns=OLD + 7)

    built = pack_chunk.build_chunk(path, plan.recipes[0])
    pack_chunk.close_pack_plans()

    assert [code for _, code, _ in built.packed.problems] == ["Changed"]
    assert built.body == b""


def test_what_could_not_be_read_is_left_out_with_its_links(here, tmp_path, monkeypatch):
    fill(here, {"d/a": b"A" * 10, "d/b": b"B" * 20})
    os.link(here / "d" / "a", here / "d" / "c")
    original = pack_chunk.build_chunk
    monkeypatch.setattr(
        pack_chunk, "build_chunk", lambda *a, **k: ((here / "d" / "a").unlink(missing_ok=True), original(*a, **k))[1]
    )

    store = Store()
    built = rebuild(here, ["d"], store)
    (tmp_path / "there").mkdir()
    restore_tree(tmp_path / "there", ["d"], built.stored, store)

    assert [problem.path for problem in built.problems] == ["d/a", "d/c"]
    assert (tmp_path / "there" / "d" / "b").read_bytes() == b"B" * 20
    assert sorted(os.listdir(tmp_path / "there" / "d")) == ["b"]


def test_no_pack_is_larger_than_its_cap(here):
    fill(here, {f"d/{n}": noise(7 << 20, n) for n in range(9)})

    built = rebuild(here, ["d"], Store())

    assert max(built.manifest.chunks.raws) <= 24 << 20


def test_the_manifest_costs_few_bytes_a_file(here):
    fill(here, {f"d/{n % 50}/file-{n}.js": noise(100, n) for n in range(3000)})

    built = rebuild(here, ["d"], Store())

    assert len(built.stored) < 32 * 3000
    assert manifest_codec.decode_manifest(built.stored).tree_id() == built.manifest.tree_id()


def test_a_link_where_a_directory_above_a_root_should_be_is_not_followed(here):
    fill(here, {"elsewhere/bundle/secret": b"s"})
    os.symlink("elsewhere", here / "vendor")

    built = rebuild(here, ["vendor/bundle"], Store())

    assert len(built.manifest.tree) == 0
    assert [problem.path for problem in built.found.problems] == ["vendor/bundle"]


@pytest.mark.slow
def test_many_tiny_files_make_several_chunks_so_that_all_workers_write_them(here):
    """A file costs a restore something whatever its size: 26,000 files of a byte are no one chunk."""
    for directory in range(26):
        (here / f"d/{directory}").mkdir(parents=True)
        for number in range(1000):
            (here / f"d/{directory}/{number}").write_bytes(bytes([number % 256]))

    first = rebuild(here, ["d"], Store())

    assert first.puts >= 2


def test_a_file_of_many_pieces_is_one_file(here):
    """Progress counts files: a window of a large one is none."""
    rows = [0, 1, 1, 2, 2]
    recipes = [ChunkSpec(0, 0, 2), ChunkSpec(1, 2, 4), ChunkSpec(2, 4, 5)]

    assert count_files(rows, recipes) == [2, 1, 0]
