"""Archives made to do harm: each breaks one rule, and nothing may come of it."""

import os
from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3batch.archive import manifest_codec, msgpack, zstd
from s3batch.archive.dirfd import Directories
from s3batch.archive.paths import is_inside, is_safe_name, parse_roots
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK
from s3batch.archive.validate import Limits
from s3batch.base.errors import ArchiveError, SettingsError
from s3batch.cache.signature import is_signed, sign_manifest
from s3batch.files.private import OWN_DIRECTORY
from tests.archive.cycle import Store, fill, noise, rebuild, restore_tree, snapshot


@pytest.fixture
def good(tmp_path):
    top = tmp_path / "good"
    fill(top, {"d/a": b"A" * 100, "d/b": b"B" * 200, "d/s/c": b"C" * 300, "d/large": noise((8 << 20) + 1)})
    os.symlink("a", top / "d" / "y")
    os.link(top / "d" / "a", top / "d" / "z")
    store = Store()
    return rebuild(top, ["d"], store).manifest, store


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def row_of(manifest, path):
    return list(manifest.tree.paths()).index(path)


def rename(path, name):
    def change(manifest):
        manifest.tree.names[row_of(manifest, path)] = name

    return change


def setting(column, path, value):
    def change(manifest):
        place = manifest.tree if hasattr(manifest.tree, column) else manifest
        getattr(place, column)[row_of(manifest, path)] = value

    return change


def extent(column, value, index=0):
    def change(manifest):
        getattr(manifest.extents, column)[index] = value

    return change


def directory(old, new):
    def change(manifest):
        manifest.tree.dirs[manifest.tree.dirs.index(old)] = new

    return change


def roots(*new):
    def change(manifest):
        manifest.roots = new

    return change


def swap_directories(manifest):
    """``d/s`` is listed before ``d``, where it is an entry."""
    tree = manifest.tree
    tree.dirs[1], tree.dirs[2] = tree.dirs[2], tree.dirs[1]


def link_to(path, target):
    def change(manifest):
        row = row_of(manifest, path)
        manifest.tree.links = {row: row_of(manifest, target)} if isinstance(target, str) else {row: target}

    return change


HOSTILE = [
    pytest.param(rename("d/a", ".."), id="a name goes up"),
    pytest.param(rename("d/a", "."), id="a name is the directory itself"),
    pytest.param(rename("d/a", ""), id="a name is empty"),
    pytest.param(rename("d/a", "../../etc/passwd"), id="a name is a path"),
    pytest.param(rename("d/a", "/etc/passwd"), id="a name is an absolute path"),
    pytest.param(rename("d/a", "x\0y"), id="a name holds NUL"),
    pytest.param(rename("d/a", "b"), id="a name occurs twice"),
    pytest.param(rename("d", OWN_DIRECTORY), id="it claims our own directory"),
    pytest.param(rename("d", "e"), id="a root is not the one declared"),
    pytest.param(directory("d/s", "d/../.."), id="a directory goes up"),
    pytest.param(directory("d/s", "/etc"), id="a directory is absolute"),
    pytest.param(directory("d/s", "e"), id="a directory lies outside the roots"),
    pytest.param(directory("d/s", "d"), id="a directory occurs twice"),
    pytest.param(directory("d/s", "d/y"), id="a directory is a symbolic link"),
    pytest.param(directory("d/s", "d/b"), id="a directory is a file"),
    pytest.param(directory("d/s", "d/t"), id="a directory is no entry"),
    pytest.param(directory("d/s", "d//s"), id="a directory has an empty component"),
    pytest.param(swap_directories, id="a directory comes before it is made"),
    pytest.param(roots(".."), id="a root goes up"),
    pytest.param(roots("/"), id="the root is everything"),
    pytest.param(roots("d", "d"), id="a root occurs twice"),
    pytest.param(roots("d", "d/s"), id="roots nest"),
    pytest.param(roots("d", OWN_DIRECTORY), id="a root is our own directory"),
    pytest.param(roots(), id="no root at all"),
    pytest.param(setting("kinds", "d/a", 4), id="an unknown kind"),
    pytest.param(setting("kinds", "d/a", DIR), id="a directory with a size"),
    pytest.param(setting("kinds", "d/a", SYMLINK), id="a link with a size and no target"),
    pytest.param(setting("kinds", "d/a", HARDLINK), id="a hard link with a size"),
    pytest.param(setting("sizes", "d/a", -1), id="a negative size"),
    pytest.param(setting("sizes", "d/a", 10_000_000), id="a file beyond its chunk"),
    pytest.param(setting("sizes", "d/a", 0), id="an empty file with a place in a chunk"),
    pytest.param(setting("sizes", "d/y", 1), id="a symbolic link with a size"),
    pytest.param(setting("at", "d/a", 10_000_000), id="a place beyond its chunk"),
    pytest.param(setting("at", "d/b", 50), id="two files overlap"),
    pytest.param(setting("at", "d/b", 0), id="two files of other length at one place"),
    pytest.param(setting("chunk", "d/a", 77), id="a chunk that is not there"),
    pytest.param(link_to("d/z", "d/y"), id="a hard link to a symbolic link"),
    pytest.param(link_to("d/z", "d/s"), id="a hard link to a directory"),
    pytest.param(link_to("d/z", "d/z"), id="a hard link to itself"),
    pytest.param(link_to("d/z", "d/s/c"), id="a hard link to a later file"),
    pytest.param(link_to("d/z", 4_000_000), id="a hard link beyond the end"),
    pytest.param(lambda manifest: manifest.tree.targets.update({row_of(manifest, "d/y"): ""}), id="an empty target"),
    pytest.param(extent("rows", 4_000_000), id="an extent of no row"),
    pytest.param(extent("rows", 0), id="an extent of a directory"),
    pytest.param(extent("starts", -1), id="an extent before its file"),
    pytest.param(extent("starts", 1), id="extents overlap"),
    pytest.param(extent("starts", 1 << 40, 1), id="an extent beyond its file"),
    pytest.param(extent("lengths", 0), id="an extent of nothing"),
    pytest.param(extent("lengths", 1 << 31, 1), id="an extent longer than its file"),
    pytest.param(extent("chunks", 99), id="an extent in no chunk"),
    pytest.param(extent("ats", 1 << 30), id="an extent beyond its chunk"),
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_manifest_that_breaks_a_rule_is_refused_as_a_whole(good, there, change):
    manifest, store = good
    change(manifest)

    with pytest.raises(ArchiveError):
        restore_tree(there, ["d", "e"], manifest_codec.encode_manifest(manifest), store)

    assert snapshot(there) == {}
    assert not (there / OWN_DIRECTORY / "restore").exists()


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        pytest.param(Limits(manifest_stored=100), "manifest has", id="stored manifest"),
        pytest.param(Limits(manifest_raw=100), "limit of 100", id="raw manifest"),
        pytest.param(Limits(entries=5), "entries", id="entries"),
        pytest.param(Limits(chunk_raw=1 << 20), "chunk", id="chunk"),
        pytest.param(Limits(total=1 << 20), "over the limit", id="sum of sizes"),
    ],
)
def test_an_archive_over_a_limit_is_refused(good, limits, what):
    body = manifest_codec.encode_manifest(good[0])

    with pytest.raises(ArchiveError, match=what):
        manifest_codec.decode_manifest(body, limits)


def test_a_small_frame_that_says_it_is_huge_costs_no_memory():
    bomb = zstd.compress_frame(bytes(64 << 20))

    with pytest.raises(ArchiveError, match="over the limit"):
        zstd.decompress_frame(bomb, limit=1 << 20)


def test_a_frame_that_wants_a_huge_window_is_refused():
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=30, source_size=0)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = writer.compress(b"x") + writer.flush()

    with pytest.raises(ArchiveError):
        zstd.decompress_frame(frame, limit=1 << 20)


def test_setuid_setgid_and_sticky_of_a_hostile_manifest_are_stripped(good, there):
    manifest, store = good
    manifest.tree.modes[row_of(manifest, "d/a")] = 0o6755

    restore_tree(there, ["d"], manifest_codec.encode_manifest(manifest), store)

    assert (there / "d" / "a").stat().st_mode & 0o7777 == 0o755


def test_nothing_is_written_outside_what_was_asked_for(good, there):
    manifest, store = good

    restore_tree(there, ["d/s"], manifest_codec.encode_manifest(manifest), store)

    assert sorted(snapshot(there)) == [b"d", b"d/s", b"d/s/c"]


def test_an_absolute_root_is_only_written_if_it_was_asked_for(tmp_path, there):
    fill(tmp_path / "outside", {"x": b"x"})
    store = Store()
    built = rebuild(tmp_path, [str(tmp_path / "outside")], store)
    absolute = str(tmp_path / "outside")
    built.manifest.roots = (absolute,)
    built.manifest.tree.dirs = [str(tmp_path), absolute]
    (tmp_path / "outside" / "x").unlink()

    restore_tree(there, ["outside", "."], manifest_codec.encode_manifest(built.manifest), store)

    assert not (tmp_path / "outside" / "x").exists()
    assert snapshot(there) == {}


@pytest.mark.parametrize("place", ["vendor", "vendor/bundle"])
def test_a_link_in_the_workspace_does_not_lead_a_restore_elsewhere(tmp_path, there, place):
    fill(tmp_path / "good", {"vendor/bundle/gem/f": b"f"})
    fill(tmp_path / "victim", {"bundle/gem/f": b"mine", "gem/f": b"mine"})
    store = Store()
    built = rebuild(tmp_path / "good", ["vendor/bundle/gem"], store)
    (there / place).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(tmp_path / "victim", there / place)
    before = snapshot(tmp_path / "victim")

    with pytest.raises(ArchiveError, match="not followed"):
        restore_tree(there, ["vendor/bundle/gem"], built.stored, store)

    assert snapshot(tmp_path / "victim") == before


def test_a_link_below_a_root_is_replaced_and_what_it_points_to_untouched(tmp_path, there):
    fill(tmp_path / "good", {"d/s/f": b"f"})
    fill(tmp_path / "victim", {"f": b"mine"})
    store = Store()
    built = rebuild(tmp_path / "good", ["d"], store)
    (there / "d").mkdir()
    os.symlink(tmp_path / "victim", there / "d" / "s")

    restore_tree(there, ["d"], built.stored, store)

    assert (tmp_path / "victim" / "f").read_bytes() == b"mine"
    assert (there / "d" / "s" / "f").read_bytes() == b"f"


def test_a_link_of_the_archive_itself_is_made_last_and_written_through_by_nobody(tmp_path, there):
    """Restored twice: the link is there the second time, and a changed archive wants a directory in its place."""
    fill(tmp_path / "victim", {"f": b"mine"})
    (tmp_path / "one" / "d").mkdir(parents=True)
    os.symlink(tmp_path / "victim", tmp_path / "one" / "d" / "s")
    fill(tmp_path / "two", {"d/s/f": b"theirs"})
    store = Store()
    first, second = rebuild(tmp_path / "one", ["d"], store), rebuild(tmp_path / "two", ["d"], store)

    restore_tree(there, ["d"], first.stored, store)
    restore_tree(there, ["d"], second.stored, store)

    assert (tmp_path / "victim" / "f").read_bytes() == b"mine"
    assert (there / "d" / "s" / "f").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        pytest.param("keep", {b"absolute", b"up", b"within", b"dangling"}, id="all"),
        pytest.param("inside", {b"within", b"dangling"}, id="those that stay inside"),
        pytest.param("skip", set(), id="none"),
    ],
)
def test_the_symlink_policy_decides_which_links_are_made(tmp_path, there, policy, made):
    fill(tmp_path / "good", {"d/s/f": b"f"})
    for name, target in [("absolute", "/etc/passwd"), ("up", "../../x"), ("within", "../d/s/f"), ("dangling", "nope")]:
        os.symlink(target, tmp_path / "good" / "d" / name)
    store = Store()
    built = rebuild(tmp_path / "good", ["d"], store)

    restored = restore_tree(there, ["d"], built.stored, store, symlinks=policy)

    assert {os.fsencode(path.name) for path in (there / "d").iterdir() if path.is_symlink()} == made
    assert len(restored.plan.skipped_symlinks) == 4 - len(made)


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        pytest.param("..", "leaves the workspace", id="up"),
        pytest.param("a/../../b", "leaves the workspace", id="up by the back door"),
        pytest.param("/", "whole file system", id="everything"),
        pytest.param(".s3batch", "own files", id="ours"),
        pytest.param("./.s3batch/state", "own files", id="below ours"),
        pytest.param("a\0b", "is not a path", id="NUL"),
    ],
)
def test_a_listed_path_that_cannot_be_cached_is_a_settings_error(listed, error):
    with pytest.raises(SettingsError, match=error):
        parse_roots([listed], "/drone/src")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param([" vendor/bundle ", "", "  "], ("vendor/bundle",), id="spaces and empty ones"),
        pytest.param(["./a/", "a//", "a/./"], ("a",), id="one spelling"),
        pytest.param(["a/b", "a", "ab"], ("a", "ab"), id="nested ones are stored once"),
        pytest.param(["/drone/src/x", "/drone/srcs/x"], ("/drone/srcs/x", "x"), id="absolute ones in the workspace"),
        pytest.param([".", "a"], (".",), id="the whole workspace"),
        pytest.param(["/drone", "a", "/drones"], ("/drone", "/drones"), id="what holds the workspace"),
        pytest.param(["/drone", "."], ("/drone",), id="what holds the workspace, and all of that"),
        pytest.param(["/root/.m2/../.m2"], ("/root/.m2",), id="absolute and tidy"),
    ],
)
def test_listed_paths_become_roots(listed, expected):
    assert parse_roots(listed, "/drone/src") == expected


@given(st.text(), st.text())
def test_inside_goes_by_whole_components(path, root):
    if root and not root.endswith("/") and root != ".":
        assert is_inside(path, root) == (path == root or path.startswith(root + "/"))


@given(st.text(max_size=5), st.sampled_from(["a", "a/b", "/x/y"]))
def test_no_name_that_is_safe_leads_out_of_its_directory(name, base):
    if is_safe_name(name):
        assert os.path.dirname(os.path.normpath(os.path.join("/top", base, name))) == os.path.join("/top", base)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_directories_never_lead_out_of_the_workspace(tmp_path_factory, data):
    top = tmp_path_factory.mktemp("walk")
    (top / "work" / "d").mkdir(parents=True)
    (top / "victim").mkdir()
    os.symlink(top / "victim", top / "work" / "d" / "link")
    os.symlink("..", top / "work" / "d" / "up")
    parts = data.draw(st.lists(st.sampled_from(["d", "link", "up", "..", ".", "victim", "new", ""]), max_size=5))
    path = data.draw(st.sampled_from(["", "/"])) + "/".join(parts)

    with Directories(str(top / "work"), ["d"]) as directories:
        try:
            reached = os.readlink(f"/proc/self/fd/{directories.open(path, make=True)}")
        except (ArchiveError, OSError):
            reached = None

    assert reached is None or is_inside(reached, str(top / "work"))
    assert os.listdir(top / "victim") == []


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_manifest_or_an_archive_error(data):
    for body in (data, zstd.compress_frame(data, checksum=True)):
        with pytest.raises(ArchiveError):
            manifest_codec.decode_manifest(body)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_any_field_spoiled_is_refused_or_harmless(fields, data):
    name = data.draw(st.sampled_from(sorted(fields)))
    old = fields[name]
    if isinstance(old, bytes):
        spoiled = bytearray(old)
        for _ in range(data.draw(st.integers(1, 3))):
            if spoiled:
                spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
        new = bytes(spoiled) + data.draw(st.binary(max_size=4))
    else:
        new = data.draw(st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=9), st.none(), st.floats()))

    try:
        manifest = manifest_codec.decode_manifest(
            zstd.compress_frame(msgpack.encode_message({**fields, name: new}), checksum=True)
        )
    except ArchiveError:
        return

    for path in manifest.tree.paths():
        assert is_inside(path, "d")
        assert all(is_safe_name(part) for part in path.split("/"))
    assert all(manifest.tree.kinds[target] == FILE for target in manifest.tree.links.values())
    assert max(manifest.tree.modes) <= 0o777


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    top = tmp_path_factory.mktemp("fields")
    fill(top, {"d/a": b"A" * 10, "d/b": b"", "d/s/c": b"C" * 30, "d/large": bytes((8 << 20) + 1)})
    os.symlink("a", top / "d" / "y")
    os.link(top / "d" / "a", top / "d" / "z")
    body = rebuild(top, ["d"], Store()).stored
    return msgpack.decode_message(zstd.decompress_frame(body, limit=1 << 20), dict, what="the manifest")


def test_the_spoiled_fields_are_those_of_a_good_manifest(fields):
    assert manifest_codec.decode_manifest(zstd.compress_frame(msgpack.encode_message(fields), checksum=True)).roots == (
        "d",
    )


@pytest.mark.parametrize(
    ("secret", "key", "body"),
    [
        pytest.param("other", "v1/k/o/r/main/p/default", b"manifest", id="another secret"),
        pytest.param("secret", "v1/k/o/r/pr-1/p/default", b"manifest", id="another key"),
        pytest.param("secret", "v1/k/o/r/main/p/defaul", b"tmanifest", id="key and body shifted"),
        pytest.param("secret", "v1/k/o/r/main/p/default", b"manifesT", id="another manifest"),
    ],
)
def test_a_signature_is_for_one_secret_one_key_and_one_manifest(secret, key, body):
    signature = sign_manifest("secret", "v1/k/o/r/main/p/default", b"manifest")

    assert is_signed("secret", "v1/k/o/r/main/p/default", b"manifest", signature)
    assert not is_signed(secret, key, body, signature)
    assert not is_signed("secret", "v1/k/o/r/main/p/default", b"manifest", "")
    assert not is_signed("secret", "v1/k/o/r/main/p/default", b"manifest", "é")


def test_columns_that_do_not_fit_each_other_are_refused():
    from s3batch.archive.columns import from_planes, to_planes

    planes = to_planes(array("I", [1, 2, 3]))

    assert from_planes("I", planes, 3) == array("I", [1, 2, 3])
    with pytest.raises(ArchiveError):
        from_planes("I", planes, 4)
    with pytest.raises(ArchiveError):
        from_planes("q", planes, 3)
