"""Caches the plugins before us wrote, and archives that only pretend to be such."""

import contextlib
import gzip
import io
import os
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from s3batch.archive.legacy_paths import Placement
from s3batch.archive.legacy_tar import archive_kind_of, extract_legacy
from s3batch.archive.paths import is_inside, is_safe_name
from s3batch.archive.s3cache_tar import write_s3cache
from s3batch.archive.scan import scan_tree
from s3batch.archive.undo_log import UndoLog, undo_leftovers
from s3batch.archive.validate import Limits
from s3batch.base.errors import ArchiveError
from s3batch.files.private import OWN_DIRECTORY
from tests.archive.cycle import fill, noise, snapshot

SECOND = 1_500_000_000


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def member(name, content=None, kind=None, link="", mode=0o644, size=None):
    info = tarfile.TarInfo(name)
    info.type = kind or (tarfile.REGTYPE if content is not None else tarfile.DIRTYPE)
    info.size = len(content) if content is not None and size is None else size or 0
    info.mode, info.mtime, info.linkname = mode, SECOND, link
    return info, content


def directory(name, mode=0o755):
    return member(name, mode=mode)


def symlink(name, target):
    return member(name, kind=tarfile.SYMTYPE, link=target)


def hardlink(name, target):
    return member(name, kind=tarfile.LNKTYPE, link=target)


def tar(*members, form=tarfile.GNU_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if content is not None else None)
    return file.getvalue()


PACKED = {"tar": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}


def extract(there, body, roots=("vendor",), **options):
    folder = str(there / OWN_DIRECTORY / "restore")
    undo = UndoLog(folder, str(there), roots, "legacy")
    try:
        done = extract_legacy(io.BytesIO(body), str(there), roots, undo, **options)
    except BaseException:
        undo.close()
        undo_leftovers(folder, str(there))
        raise
    undo.commit()
    return done


@pytest.mark.parametrize("kind", ["tar", "gzip", "zstd"])
@pytest.mark.parametrize(
    "top",
    [
        pytest.param("", id="relative names"),
        pytest.param("./", id="relative names with a dot"),
        pytest.param("/drone/src/", id="absolute names of another workspace"),
    ],
)
def test_old_caches_are_read_whatever_they_are_packed_in(there, kind, top):
    body = tar(
        directory(f"{top}vendor", 0o750),
        member(f"{top}vendor/a", b"A" * 3000, mode=0o755),
        symlink(f"{top}vendor/l", "a"),
        hardlink(f"{top}vendor/h", f"{top}vendor/a"),
        directory(f"{top}vendor/empty"),
    )

    done = extract(there, PACKED[kind](body))

    assert archive_kind_of(PACKED[kind](body)[:512]) == kind
    assert (done.files, done.left_out) == (2, [])
    found = snapshot(there)
    assert {path: facts[1] for path, facts in found.items() if path != b"vendor/l"} == {
        b"vendor": 0o750,
        b"vendor/a": 0o755,
        b"vendor/h": 0o755,
        b"vendor/empty": 0o755,
    }
    assert {facts[2] for facts in found.values()} == {SECOND * 10**9}
    assert found[b"vendor/a"][3] == (b"A" * 3000, b"vendor/a") == found[b"vendor/h"][3]
    assert os.readlink(there / "vendor" / "l") == "a"


def test_several_paths_in_one_archive(there):
    body = tar(directory("a"), member("a/x", b"x"), member("file", b"f"), member("tmp/abs/y", b"y"), member("no", b"n"))
    outside = there.parent / "abs"

    done = extract(there, body.replace(b"tmp/abs/y", b"tmp/abs/y"), roots=("a", "file"))

    assert sorted(snapshot(there)) == [b"a", b"a/x", b"file"]
    assert [problem.path for problem in done.left_out] == ["tmp/abs/y", "no"]
    assert not outside.exists()


def test_an_absolute_path_comes_back_only_if_it_was_listed(there, tmp_path):
    outside = tmp_path / "m2"
    stripped = str(outside).lstrip("/")
    body = tar(directory(stripped), member(f"{stripped}/jar", b"jar"))

    not_asked = extract(there, body)
    asked = extract(there, body, roots=(str(outside),))

    assert (not_asked.files, asked.files) == (0, 1)
    assert (outside / "jar").read_bytes() == b"jar"


PLACES = [
    pytest.param("vendor", "vendor/x", "vendor/x", id="as listed"),
    pytest.param("vendor", "./vendor/x", "vendor/x", id="with a dot"),
    pytest.param("vendor", "vendors/x", None, id="a name that begins alike"),
    pytest.param("vendor", "old/vendor/x", None, id="relative and deeper is something else"),
    pytest.param("vendor", "/old/vendor/x", "vendor/x", id="absolute, elsewhere"),
    pytest.param("vendor", "/old/vendors/x", None, id="absolute, begins alike"),
    pytest.param("vendor", "/here/space/vendor/x", "vendor/x", id="absolute, here"),
    pytest.param("vendor", "here/space/vendor/x", "vendor/x", id="here, first slash cut off"),
    pytest.param("space", "/here/space/space/x", "space/x", id="here, the path's name occurs in the workspace"),
    pytest.param("a/b", "/x/a/b/c", "a/b/c", id="two components"),
    pytest.param("a/b", "/x/a/c/b", None, id="two components, not together"),
    pytest.param("/root/.m2", "/root/.m2/jar", "/root/.m2/jar", id="listed absolute"),
    pytest.param("/root/.m2", "root/.m2/jar", "/root/.m2/jar", id="listed absolute, first slash cut off"),
    pytest.param("/root/.m2", "/other/root/.m2/jar", None, id="listed absolute, elsewhere"),
    pytest.param(".", "x/y", "x/y", id="the whole workspace"),
    pytest.param(".", ".s3batch/state", None, id="our own directory"),
]


@pytest.mark.parametrize(("root", "name", "path"), PLACES)
def test_a_name_is_placed_by_whole_components(root, name, path):
    assert Placement([root], "/here/space").place(name) == path


def test_the_first_member_shows_where_the_old_workspace_was():
    placement = Placement(["vendor"], "/here/space")

    placed = [placement.place(f"/home/vendor/proj/{rest}") for rest in ("vendor", "vendor/a", "vendor/vendor/b")]

    assert placed == ["vendor", "vendor/a", "vendor/vendor/b"]


names = st.lists(st.sampled_from(["vendor", "..", ".", "", "a", "work", "space", ".s3batch"]), max_size=6).map("/".join)


@given(names, st.sampled_from(["", "/"]), st.sampled_from(["vendor", "a/vendor", "/a", "."]))
def test_no_name_is_placed_outside_the_root(name, slash, root):
    try:
        path = Placement([root], "/here/space").place(slash + name)
    except ArchiveError:
        return

    assert path is None or path == root or (is_inside(path, root) and not is_inside(path, OWN_DIRECTORY))
    assert path in (None, ".") or all(is_safe_name(part) for part in path.removeprefix("/").split("/"))


def test_a_shorter_file_leaves_no_tail_of_a_longer_one_and_no_trace_in_its_other_names(there):
    fill(there, {"store": b"much longer content"})
    (there / "vendor").mkdir()
    os.link(there / "store", there / "vendor" / "a")

    extract(there, tar(member("vendor/a", b"short")))

    assert (there / "vendor" / "a").read_bytes() == b"short"
    assert (there / "store").read_bytes() == b"much longer content"


def test_what_is_right_is_not_written_again(there):
    body = tar(directory("vendor"), member("vendor/a", b"A"), symlink("vendor/l", "a"))
    extract(there, body)
    inode = (there / "vendor" / "a").stat().st_ino

    again = extract(there, body)

    assert (again.files, again.right) == (0, 1)
    assert (there / "vendor" / "a").stat().st_ino == inode
    assert os.readlink(there / "vendor" / "l") == "a"


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_other_content_of_the_same_size_time_and_mode_is_put_right(there, size, at):
    content = noise(size)
    extract(there, tar(directory("vendor"), member("vendor/a", content)))
    path, place = there / "vendor" / "a", int(at * (size - 1))
    wrong = bytearray(content)
    wrong[place] ^= 1
    path.write_bytes(wrong)
    os.utime(path, (SECOND, SECOND))

    again = extract(there, tar(directory("vendor"), member("vendor/a", content)))

    assert (again.files, again.right) == (1, 0)
    assert path.read_bytes() == content
    assert path.stat().st_mtime == SECOND


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(there):
    (there / "vendor").mkdir()
    os.mkfifo(there / "vendor" / "a")
    os.utime(there / "vendor" / "a", (SECOND, SECOND))

    extract(there, tar(member("vendor/a", b"", mode=0o644)))

    assert (there / "vendor" / "a").read_bytes() == b""


@pytest.mark.parametrize("obstacle", ["file", "directory", "symlink"])
@pytest.mark.parametrize("wanted", ["file", "dir", "link"])
def test_what_is_in_the_way_gives_way_and_comes_back_on_failure(there, obstacle, wanted):
    fill(there, {"elsewhere/x": b"not yours"})
    (there / "vendor").mkdir()
    match obstacle:
        case "file":
            fill(there, {f"vendor/{wanted}": b"in the way"})
        case "directory":
            fill(there, {f"vendor/{wanted}/x": b"in the way"})
        case "symlink":
            os.symlink("../elsewhere", there / "vendor" / wanted)
    before = {path: facts[3] for path, facts in snapshot(there).items()}
    body = tar(
        member("vendor/file", b"f"), directory("vendor/dir"), member("vendor/dir/x", b"x"), symlink("vendor/link", "a")
    )

    with pytest.raises(ArchiveError):
        extract(there, gzip.compress(body)[:-9])
    undone = {path: facts[3] for path, facts in snapshot(there).items()}
    extract(there, body)

    assert undone == before
    assert (there / "vendor" / "file").read_bytes() == b"f"
    assert (there / "vendor" / "dir" / "x").read_bytes() == b"x"
    assert os.readlink(there / "vendor" / "link") == "a"
    assert (there / "elsewhere" / "x").read_bytes() == b"not yours"


def raw_header(info):
    return info.tobuf(tarfile.GNU_FORMAT)


def long_name_bomb():
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    return raw_header(info) + bytes(4096)


def extended(**headers):
    """An archive of one file with these extended headers; ``_`` stands for a dot."""
    info, content = member("vendor/a", headers.pop("content", b"x"))
    info.pax_headers = {name.replace("_", "."): value for name, value in headers.items()}
    return tar((info, content), form=tarfile.PAX_FORMAT)


def long_sparse_map():
    """A map in the content, as GNU tar 1.0 has it: Python would hold all of its numbers."""
    rows = 3_000_000
    content = b"%d\n" % rows + b"0\n" * (2 * rows)
    return extended(content=content, GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="1")


def endless_sparse_header():
    """The older form: blocks of 21 rows, each of which says that one more follows."""
    info, _ = member("vendor/a", b"x")
    info.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(raw_header(info))
    head[386:410] = b"00000000000\0" * 2
    head[482], head[148:156] = 1, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + (b"00000000000\0" * 42 + b"\1" + bytes(7)) * 40_000


def nested_headers():
    """Extended headers of extended headers, deeper than Python recurses."""
    head = tar(member("vendor/a", b"x"), form=tarfile.PAX_FORMAT)
    info = tarfile.TarInfo("././@PaxHeader")
    info.type = tarfile.XHDTYPE
    return raw_header(info) * 3000 + head


REFUSED = [
    pytest.param(lambda: extended(mtime="nan"), id="a time that is no number"),
    pytest.param(lambda: extended(mtime="1e999"), id="an infinite time"),
    pytest.param(lambda: extended(GNU_sparse_map="x,y", GNU_sparse_size="1"), id="a sparse map of letters"),
    pytest.param(long_sparse_map, id="a sparse map that fills the memory"),
    pytest.param(endless_sparse_header, id="an endless sparse header"),
    pytest.param(nested_headers, id="extended headers in each other"),
    pytest.param(lambda: tar(member("../x", b"x")), id="a name goes up"),
    pytest.param(lambda: tar(member("vendor/../../x", b"x")), id="a name goes up later"),
    pytest.param(lambda: tar(symlink("vendor/l", "x"), member("vendor/l/f", b"f")), id="a link that is a directory"),
    pytest.param(lambda: b"", id="nothing"),
    pytest.param(lambda: b"x" * 5000, id="no archive"),
    pytest.param(lambda: tar(member("vendor/a", noise(5000)))[:2000], id="tar cut short"),
    pytest.param(lambda: gzip.compress(tar(member("vendor/a", noise(5000))))[:2000], id="gzip cut short"),
    pytest.param(lambda: gzip.compress(tar(member("vendor/a", b"x")))[:-8] + bytes(8), id="gzip with a wrong checksum"),
    pytest.param(lambda: zstandard.compress(tar(member("vendor/a", noise(5000))))[:2000], id="zstd cut short"),
    pytest.param(lambda: gzip.compress(b"no tar at all" * 100), id="gzip of no tar"),
    pytest.param(long_name_bomb, id="a name of a tebibyte"),
    pytest.param(lambda: raw_header(member("vendor/a", b"", size=1 << 50)[0]), id="a file of a pebibyte"),
    pytest.param(lambda: gzip.compress(bytes(40 << 20)), id="only zeros"),
]


@pytest.mark.parametrize("body", REFUSED)
def test_a_broken_or_hostile_archive_leaves_nothing(there, body):
    content = body()

    if content[:2] == b"\x1f\x8b" and len(content) > 30_000:
        assert extract(there, content).files == 0  # an empty archive is one
    else:
        with pytest.raises(ArchiveError):
            extract(there, content)

    assert snapshot(there) == {}


def test_a_bomb_stops_at_the_limit(there):
    body = gzip.compress(tar(*(member(f"vendor/{n}", bytes(1 << 20)) for n in range(20))))

    with pytest.raises(ArchiveError, match="over the limit"):
        extract(there, body, limits=Limits(total=10 << 20))

    assert snapshot(there) == {}


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        pytest.param("keep", {"in", "near"}, id="keep"),
        pytest.param("inside", {"in"}, id="inside"),
        pytest.param("skip", set(), id="skip"),
    ],
)
def test_links_that_leave_are_left_out(there, policy, made):
    body = tar(
        directory("vendor"),
        symlink("vendor/absolute", "/etc/passwd"),
        symlink("vendor/up", "../../etc/passwd"),
        symlink("vendor/near", "../beside"),
        symlink("vendor/in", "x"),
    )

    done = extract(there, body, symlinks=policy)

    assert {path.name for path in (there / "vendor").iterdir()} == made
    assert len(done.left_out) == 4 - len(made)


def test_a_link_and_then_a_file_through_it_do_not_leave_the_workspace(there, tmp_path):
    fill(tmp_path / "victim", {"f": b"mine"})
    (there / "vendor").mkdir()
    os.symlink(tmp_path / "victim", there / "vendor" / "l")

    extract(there, tar(member("vendor/l/f", b"theirs")))

    assert (tmp_path / "victim" / "f").read_bytes() == b"mine"
    assert (there / "vendor" / "l" / "f").read_bytes() == b"theirs"


def test_a_link_above_the_listed_path_is_not_followed(there, tmp_path):
    (tmp_path / "victim").mkdir()
    os.symlink(tmp_path / "victim", there / "vendor")

    with pytest.raises(ArchiveError, match="not followed"):
        extract(there, tar(member("vendor/bundle/f", b"theirs")), roots=("vendor/bundle",))

    assert os.listdir(tmp_path / "victim") == []


def test_devices_fifos_and_links_to_strangers_are_left_out(there):
    body = tar(
        member("vendor/null", kind=tarfile.CHRTYPE),
        member("vendor/pipe", kind=tarfile.FIFOTYPE),
        hardlink("vendor/shadow", "/etc/shadow"),
        hardlink("vendor/later", "vendor/x"),
        member("vendor/x", b"x", mode=0o4755),
    )

    done = extract(there, body)

    assert sorted(snapshot(there)) == [b"vendor", b"vendor/x"]
    assert len(done.left_out) == 4
    assert (there / "vendor" / "x").stat().st_mode & 0o7777 == 0o755


def test_the_last_of_several_members_with_one_name_counts(there):
    extract(there, tar(member("vendor/x", b"first"), symlink("vendor/x", "y"), member("vendor/x", b"last")))

    assert (there / "vendor" / "x").read_bytes() == b"last"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 3000), st.integers(0, 255))
def test_any_bytes_are_an_archive_or_an_archive_error(tmp_path_factory, data, position, value):
    there = tmp_path_factory.mktemp("there")
    body = bytearray(tar(directory("vendor"), member("vendor/a", b"A" * 100), hardlink("vendor/h", "vendor/a")))
    body[position % len(body)] = value

    for attempt in (data, bytes(body), gzip.compress(bytes(body))):
        with contextlib.suppress(ArchiveError):
            extract(there, attempt)

    assert set(os.listdir(there)) <= {"vendor", OWN_DIRECTORY}


def compat_archive(here, listed):
    sink = io.BytesIO()
    found = scan_tree(str(here), listed)
    problems = write_s3cache(sink, found, str(here), tuple(listed))
    return sink.getvalue(), problems


def test_the_compatible_archive_holds_all_paths_as_old_readers_want_them(tmp_path, there):
    here = tmp_path / "here"
    fill(here, {"a/x": noise(5000), "b": b"B"}, mtime_ns=SECOND * 10**9)
    os.symlink("x", here / "a" / "l")
    os.link(here / "a" / "x", here / "a" / "z")
    os.utime(here / "a", ns=(SECOND * 10**9,) * 2)

    body, problems = compat_archive(here, ["a", "b"])
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        listed = archive.getnames()
        archive.extractall(there, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))

    assert problems == []
    assert listed == ["a", "b", "a/l", "a/x", "a/z"]
    restored, wanted = snapshot(there), snapshot(here)
    assert restored.pop(b"a/l")[3] == wanted.pop(b"a/l")[3]  # Python's own reader does not set a link's time
    assert restored == wanted
    assert compat_archive(here, ["a", "b"])[0] == body


def test_the_compatible_archive_can_be_restored_by_us(tmp_path, there):
    fill(tmp_path / "here", {"vendor/x": noise(5000)}, mtime_ns=SECOND * 10**9)
    (tmp_path / "here" / "vendor" / "void").mkdir()

    extract(there, compat_archive(tmp_path / "here", ["vendor"])[0])

    assert snapshot(there, times=False) == snapshot(tmp_path / "here", times=False)


def test_a_file_that_changes_while_the_compatible_archive_is_written_stops_it(tmp_path):
    fill(tmp_path / "here", {"a": noise(3_000_000)})
    found = scan_tree(str(tmp_path / "here"), ["a"])

    class Meddler(io.BytesIO):
        def write(self, data):
            if self.tell() > 100_000:
                (tmp_path / "here" / "a").write_bytes(b"short")
            return super().write(data)

    with pytest.raises(ArchiveError, match="a "):
        write_s3cache(Meddler(), found, str(tmp_path / "here"), ("a",))
