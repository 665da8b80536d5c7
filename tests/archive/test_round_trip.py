import os
import random
import time
from array import array
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3batch.archive import pack_chunk
from s3batch.archive.hashing import WINDOW
from s3batch.archive.local_state import LocalState, is_settled
from tests.archive.cycle import OLD, Store, fill, noise, rebuild, restore_tree, snapshot


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def test_everything_a_tree_has_comes_back(here, there):
    fill(here / "d", {"a": b"A", "empty": b"", "sub/b": b"B" * 5000, "sub/deep/c": noise(100_000)})
    (here / "d" / "void").mkdir()
    (here / "d" / "void").chmod(0o500)
    os.symlink("sub/b", here / "d" / "link")
    os.symlink("/nowhere/at all", here / "d" / "dangling")
    os.link(here / "d" / "a", here / "d" / "sub" / "same")
    (here / "d" / "sub" / "b").chmod(0o640)
    (here / "d" / "a").chmod(0o444)
    with open(os.fsencode(here / "d") + b"/not utf-8 \xff\xfe", "wb") as file:
        file.write(b"name")
    with open(here / "d" / "new\nline \U0001f600", "wb") as file:
        file.write(b"name")
    os.utime(here / "d" / "sub", ns=(OLD, OLD + 5))
    store = Store()

    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there) == snapshot(here)
    assert built.problems == []


def test_setuid_setgid_and_sticky_do_not_come_back(here, there):
    fill(here, {"d/tool": b"#!"})
    (here / "d" / "tool").chmod(0o6755)
    (here / "d").chmod(0o1777)
    store = Store()

    restore_tree(there, ["d"], rebuild(here, ["d"], store).stored, store)

    assert (there / "d" / "tool").stat().st_mode & 0o7777 == 0o755
    assert (there / "d").stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(WINDOW - 1, id="just below a window"),
        pytest.param(WINDOW, id="one window"),
        pytest.param(WINDOW + 1, id="one byte more"),
        pytest.param(3 * WINDOW, id="three windows"),
    ],
)
def test_large_files_come_back_in_pieces(here, there, size):
    fill(here, {"d/large": noise(1 << 20) * (size >> 20) + noise(size & 0xFFFFF), "d/small": b"s"})
    (here / "d" / "large").chmod(0o555)
    store = Store()

    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there) == snapshot(here)
    assert max(built.manifest.chunks.raws) <= 24 << 20


@pytest.mark.parametrize("size", [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW])
def test_a_right_file_of_any_size_is_right_when_it_is_read_again(here, there, size):
    fill(here, {"d/f": noise(size)})
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)

    read_again = restore_tree(there, ["d"], built.stored, store)

    assert (read_again.gets, read_again.plan.files()) == (0, 0)


def test_a_file_that_grew_at_its_end_costs_only_its_new_pieces(here):
    content = noise(2 * WINDOW + 1000)
    fill(here, {"d/log": content})
    store = Store()
    first = rebuild(here, ["d"], store)
    fill(here, {"d/log": content + b"more" * 100})

    second = rebuild(here, ["d"], store, base=first.manifest)

    assert second.puts == 1


def test_holes_stay_holes(here, there):
    with open(here / "disk", "wb") as file:
        file.truncate(20 << 20)
        file.seek(9 << 20)
        file.write(noise(100_000))
        file.seek((20 << 20) - 3)
        file.write(b"end")
    with open(here / "hole", "wb") as file:
        file.truncate(12 << 20)
    store = Store()

    built = rebuild(here, ["disk", "hole"], store)
    restore_tree(there, ["disk", "hole"], built.stored, store)

    assert snapshot(there) == snapshot(here)
    assert (there / "disk").stat().st_blocks * 512 < 2 << 20
    assert (there / "hole").stat().st_blocks * 512 < 1 << 20
    assert sum(built.manifest.chunks.raws) < 1 << 20


def test_all_listed_paths_are_kept_files_and_missing_ones_too(here, there):
    fill(here, {"vendor/bundle/gem": b"g", "file.txt": b"f", "other/skipped": b"o"})
    store = Store()

    built = rebuild(here, [" vendor/bundle ", "file.txt", "gone", "vendor/bundle/gem"], store)
    restore_tree(there, ["vendor/bundle", "file.txt"], built.stored, store)

    assert built.found.missing == ["gone"]
    assert sorted(snapshot(there)) == [b"file.txt", b"vendor", b"vendor/bundle", b"vendor/bundle/gem"]


def test_an_absolute_root_comes_back_where_it_was(here, there, tmp_path):
    outside = tmp_path / "outside"
    fill(outside, {"m2/jar": b"jar"})
    store = Store()
    built = rebuild(here, [str(outside / "m2")], store)
    before = snapshot(outside)
    (outside / "m2" / "jar").unlink()
    (outside / "m2").rmdir()
    outside.rmdir()

    restore_tree(there, [str(outside / "m2")], built.stored, store)

    assert snapshot(outside) == before
    assert snapshot(there) == {}


def test_our_own_directory_is_never_cached(here):
    fill(here, {"a": b"a", ".s3batch/journal.db": b"j", "sub/.s3batch": b"not ours"})
    store = Store()

    built = rebuild(here, ["."], store)

    assert sorted(built.manifest.tree.paths()) == ["a", "sub", "sub/.s3batch"]


def test_sockets_fifos_and_devices_are_counted_and_left_out(here):
    fill(here, {"d/a": b"a"})
    os.mkfifo(here / "d" / "pipe")

    built = rebuild(here, ["d"], Store())

    assert built.found.special == ["d/pipe"]
    assert sorted(built.manifest.tree.paths()) == ["d", "d/a"]


def test_a_right_tree_is_not_touched_and_no_chunk_is_fetched(here, there):
    fill(here, {f"d/{n}/f": noise(n, n) for n in range(50)})
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    inodes = {path: path.stat().st_ino for path in there.rglob("f")}

    again = restore_tree(there, ["d"], built.stored, store)

    assert again.plan.nothing_to_do()
    assert again.gets == 0
    assert {path: path.stat().st_ino for path in there.rglob("f")} == inodes


def test_only_chunks_with_wrong_files_are_fetched(here, there):
    fill(here, {f"d/{n:02}": noise(1 << 20, n) for n in range(40)})
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    (there / "d" / "07").write_bytes(b"changed")

    again = restore_tree(there, ["d"], built.stored, store)

    assert (again.gets, again.plan.files()) == (1, 1)
    assert len(built.manifest.chunks) > 2
    assert snapshot(there) == snapshot(here)


def test_a_wrong_file_is_made_new_and_never_written_in_place(here, there):
    fill(here, {"d/f": b"right"})
    store = Store()
    built = rebuild(here, ["d"], store)
    fill(there, {"store/f": b"wrong and longer"})
    (there / "d").mkdir()
    os.link(there / "store" / "f", there / "d" / "f")

    restore_tree(there, ["d"], built.stored, store)

    assert (there / "d" / "f").read_bytes() == b"right"
    assert (there / "store" / "f").read_bytes() == b"wrong and longer"


@pytest.mark.parametrize("obstacle", ["file", "directory", "symlink", "fifo"])
@pytest.mark.parametrize("wanted", ["d/file", "d/dir", "d/link"])
def test_whatever_lies_in_the_way_gives_way(here, there, obstacle, wanted):
    fill(here, {"d/file": b"f", "d/dir/x": b"x"})
    os.symlink("file", here / "d" / "link")
    store = Store()
    built = rebuild(here, ["d"], store)
    fill(there, {"elsewhere/x": b"not yours"})
    (there / "d").mkdir()
    match obstacle:
        case "file":
            fill(there, {wanted: b"in the way"})
        case "directory":
            fill(there, {f"{wanted}/x": b"in the way"})
        case "symlink":
            os.symlink("../elsewhere", there / wanted)
        case "fifo":
            os.mkfifo(there / wanted)

    restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there / "d", times=False).keys() >= snapshot(here / "d").keys()
    assert (there / "d" / "file").read_bytes() == b"f"
    assert (there / "d" / "dir" / "x").read_bytes() == b"x"
    assert os.readlink(there / "d" / "link") == "file"
    assert (there / "elsewhere" / "x").read_bytes() == b"not yours"


def test_what_is_not_in_the_cache_stays(here, there):
    fill(here, {"d/f": b"f"})
    store = Store()
    built = rebuild(here, ["d"], store)
    fill(there, {"d/extra": b"mine", "beside": b"mine too"})

    restore_tree(there, ["d"], built.stored, store)

    assert (there / "d" / "extra").read_bytes() == (there / "beside").read_bytes()[:4] == b"mine"


def test_what_size_and_time_hide_is_put_right(here, there):
    fill(here, {"d/f": b"right", "d/g": b"other", "d/large": noise(WINDOW + 5)})
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    fill(there, {"d/f": b"wrong", "d/large": noise(WINDOW) + b"12345"})

    again = restore_tree(there, ["d"], built.stored, store)

    assert again.plan.files() == 2
    assert snapshot(there) == snapshot(here)


def at_rest(state: LocalState) -> LocalState:
    """Return the state as if its stamps had been taken later."""
    return replace(state, taken_ns=state.taken_ns + 3_000_000_000)


def test_only_files_are_read_whose_stamp_is_not_remembered(here, there, monkeypatch):
    fill(here, {"d/empty": b"", "d/f": b"right", "d/g": b"other", "d/large": noise(WINDOW + 5), "d/named": b"twice"})
    os.link(here / "d/named", here / "d/again")
    store = Store()
    built = rebuild(here, ["d"], store)
    state = at_rest(restore_tree(there, ["d"], built.stored, store).state)
    time.sleep(0.06)  # what changed within 50 ms before a walk is not believed
    hashed = []
    monkeypatch.setattr(pack_chunk, "hash_items", lambda plan, recipe: hashed.append(recipe) or real(plan, recipe))

    right = restore_tree(there, ["d"], built.stored, store, state=state)
    assert (right.plan.nothing_to_do(), hashed) == (True, [])

    (there / "d/f").write_bytes(b"wrong")
    os.utime(there / "d/f", ns=(OLD, OLD))
    mended = restore_tree(there, ["d"], built.stored, store, state=at_rest(right.state))

    assert sum(recipe.last - recipe.first for recipe in hashed) == 1
    assert mended.plan.files() == 1
    assert snapshot(there) == snapshot(here)


real = pack_chunk.hash_items


def test_a_file_the_state_knows_with_other_content_is_restored(here, there):
    """Two releases with pinned times: the state is of the one, the cache of the other."""
    store = Store()
    fill(here, {"d/index.js": b"VERSION = '4.17.20'", "d/same.js": b"same"})
    old = rebuild(here, ["d"], store)
    fill(there, {"d/index.js": b"VERSION = '4.17.20'", "d/same.js": b"same"})
    known = at_rest(rebuild(there, ["d"], store).state)
    fill(here, {"d/index.js": b"VERSION = '4.17.21'"})
    new = rebuild(here, ["d"], store, base=old.manifest)

    done = restore_tree(there, ["d"], new.stored, store, state=known)

    assert done.plan.files() == 1
    assert (there / "d/index.js").read_bytes() == b"VERSION = '4.17.21'"


def test_a_young_file_is_read_again(here, there):
    fill(here, {"d/f": b"right"})
    store = Store()
    built = rebuild(here, ["d"], store)
    state = restore_tree(there, ["d"], built.stored, store).state
    (there / "d/f").write_bytes(b"wrong")
    os.utime(there / "d/f", ns=(OLD, OLD))
    racy = replace(state, ctimes=array("q", [(there / path).stat().st_ctime_ns for path in ("d", "d/f")]))

    done = restore_tree(there, ["d"], built.stored, store, state=racy)

    assert done.plan.files() == 1
    assert (there / "d/f").read_bytes() == b"right"


@pytest.mark.parametrize(
    ("ctime_ns", "settled"),
    [
        pytest.param(0, False, id="not known"),
        pytest.param(999_000_000_001, True, id="a second ago"),
        pytest.param(999_960_000_001, False, id="40 ms ago"),
        pytest.param(999_000_000_000, False, id="a second ago, on a clock that ticks by seconds"),
        pytest.param(997_000_000_000, True, id="three seconds ago, on such a clock"),
        pytest.param(1_001_000_000_001, False, id="later"),
    ],
)
def test_a_stamp_counts_once_its_file_is_at_rest(ctime_ns, settled):
    assert is_settled(ctime_ns, 1_000_000_000_000) is settled


def test_verify_looks_at_a_file_under_all_its_names(here, there):
    fill(here, {"d/a": b"right", "d/b": b"right", "d/c": b"other"})
    store = Store()
    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    for name in ("b", "c"):
        (there / "d" / name).unlink()
    fill(there, {"d/a": b"wrong", "d/0": b"wrong"})
    os.link(there / "d" / "a", there / "d" / "b")
    os.link(there / "d" / "0", there / "d" / "c")

    restore_tree(there, ["d"], built.stored, store, check=True)

    assert {name: (there / "d" / name).read_bytes() for name in "abc"} == {"a": b"right", "b": b"right", "c": b"other"}
    assert (there / "d" / "0").read_bytes() == b"wrong"


def test_a_link_with_another_time_gets_the_caches_so_that_a_rebuild_has_nothing_to_send(here, there):
    for top in (here, there):
        (top / "d").mkdir()
        os.symlink("x", top / "d" / "link")
    os.utime(here / "d" / "link", ns=(OLD, OLD), follow_symlinks=False)
    store = Store()
    built = rebuild(here, ["d"], store)

    restore_tree(there, ["d"], built.stored, store)
    again = restore_tree(there, ["d"], built.stored, store)

    assert snapshot(there) == snapshot(here)
    assert again.plan.nothing_to_do()


CENTURIES = [
    pytest.param(-5_000_000_000, id="1811"),
    pytest.param(-1, id="1969"),
    pytest.param(9_300_000_000, id="2264"),
]


@pytest.mark.parametrize("seconds", CENTURIES)
def test_times_of_any_century_come_back_as_near_as_a_column_holds_them(here, there, seconds):
    mtime_ns = seconds * 10**9 + 123
    fill(here, {"d/f": b"F", "d/large": noise(WINDOW + 1), "d/empty": b""}, mtime_ns=mtime_ns)
    os.utime(here / "d", ns=(mtime_ns, mtime_ns))
    known = (here / "d" / "f").stat().st_mtime_ns  # what this file system made of it
    store = Store()

    built = rebuild(here, ["d"], store)
    restore_tree(there, ["d"], built.stored, store)
    again = restore_tree(there, ["d"], built.stored, store)
    settled = rebuild(here, ["d"], store, base=built.manifest)

    assert (there / "d" / "f").stat().st_mtime_ns == min(known, 2**63 - 1)
    assert snapshot(there, times=False) == snapshot(here, times=False)
    assert again.plan.nothing_to_do()
    assert (built.problems, settled.puts) == ([], 0)
    assert settled.manifest.timed_tree_id() == built.manifest.timed_tree_id()


def test_part_of_a_cache_can_be_restored_hard_links_cut_off_become_files(here, there):
    fill(here, {"d/a/f": b"content", "d/big/w": noise(WINDOW + 1)})
    (here / "d" / "b").mkdir()
    for name in ("one", "two"):
        os.link(here / "d" / "a" / "f", here / "d" / "b" / name)
    os.link(here / "d" / "big" / "w", here / "d" / "b" / "w")
    store = Store()
    built = rebuild(here, ["d"], store)

    restore_tree(there, ["d/b"], built.stored, store)
    again = restore_tree(there, ["d/b"], built.stored, store)

    assert sorted(snapshot(there)) == [b"d", b"d/b", b"d/b/one", b"d/b/two", b"d/b/w"]
    assert (there / "d/b/one").read_bytes() == b"content"
    assert (there / "d/b/one").stat().st_ino == (there / "d/b/two").stat().st_ino
    assert (there / "d/b/w").read_bytes() == (here / "d/big/w").read_bytes()
    assert again.plan.nothing_to_do()


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200
)
contents = st.one_of(st.binary(max_size=50), st.builds(noise, st.integers(0, 300_000), st.integers(0, 3)))
trees = st.recursive(contents, lambda below: st.dictionaries(names, below, max_size=5), max_leaves=20).filter(
    lambda tree: isinstance(tree, dict)
)


def plant(top, tree, mtimes):
    top.mkdir()
    for name, below in tree.items():
        if isinstance(below, dict):
            plant(top / name, below, mtimes)
        else:
            (top / name).write_bytes(below)
            moment = next(mtimes)
            os.utime(top / name, ns=(moment, moment))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, other=trees, seed=st.integers(0, 1 << 30))
def test_any_tree_comes_back_over_any_other(tmp_path_factory, tree, other, seed):
    top = tmp_path_factory.mktemp("trees")
    clock = random.Random(seed)
    mtimes = iter(lambda: clock.randrange(10**9, 2 * 10**18), None)
    for place in ("here", "there"):
        (top / place).mkdir()
    plant(top / "here" / "d", tree, mtimes)
    plant(top / "there" / "d", other, mtimes)
    store = Store()
    built = rebuild(top / "here", ["d"], store)
    rebuilt = rebuild(top / "there", ["d"], store, base=built.manifest)

    restore_tree(top / "there", ["d"], built.stored, store)
    restored = snapshot(top / "there")
    (top / "fresh").mkdir()
    restore_tree(top / "fresh", ["d"], rebuilt.stored, store)

    wanted = snapshot(top / "here")
    assert {path: restored[path] for path in wanted} == wanted
