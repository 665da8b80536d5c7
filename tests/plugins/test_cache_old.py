"""Decision 4: caches that the plugins before us left are found and restored, safely. Ids begin with the decision."""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest

from s3batch.cache.legacy import _BLOCK
from tests.archive.cycle import OLD, noise
from tests.plugins.caching import Pipeline, branch, drone_cache, md5, names, pull_request, s3cache
from tests.rig.faults import Call, Refuse

FILES = {"vendor/bundle/a": "A" * 100, "vendor/bundle/b/c": "C"}
SECOND = 10**9


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step).on(cache=["vendor/bundle"])


def filled(pipeline: Pipeline) -> None:
    """A tree with all that the old plugins kept."""
    pipeline.write(FILES)
    top = pipeline.workspace / "vendor" / "bundle"
    (top / "b" / "c").chmod(0o755)
    (top / "link").symlink_to("a")
    (top / "empty").mkdir()
    os.link(top / "a", top / "hard")
    for path in (top / "b", top / "empty", top):
        os.utime(path, ns=(OLD, OLD))


def in_seconds(tree: dict) -> dict:
    """Old archives keep whole seconds; links and what lies above the cached path have times of their own."""
    return {
        path: (
            kind,
            mode,
            mtime // SECOND if not stat.S_ISLNK(kind) else 0,
            content if content is None else content[:1],
        )
        for path, (kind, mode, mtime, content) in tree.items()
        if path != "vendor"
    }


ARCHIVES = [
    pytest.param(lambda it: ("site/site.tar.gz", s3cache(it.workspace, "vendor/bundle")), id="4 drone-s3cache"),
    pytest.param(lambda it: ("site/vendor/bundle.tar.gz", s3cache(it.workspace, "vendor/bundle")), id="4 its fork"),
    *(
        pytest.param(
            lambda it, packed=packed: (
                f"site/{md5('main')}/vendor/bundle",
                drone_cache(it.workspace, "vendor/bundle", packed=packed, was_at="/drone/other/src"),
            ),
            id=f"4 drone-cache {packed}",
        )
        for packed in ("tar", "gzip", "zstd")
    ),
    pytest.param(
        lambda it: (f"site/{md5('main')}/vendor/bundle", drone_cache(it.workspace, "vendor/bundle")),
        id="4 drone-cache in the same workspace",
    ),
]


@pytest.mark.parametrize("made", ARCHIVES)
def test_a_cache_of_an_older_plugin_is_restored_where_there_is_none_of_ours(pipeline, made):
    filled(pipeline)
    before = in_seconds(pipeline.tree())
    key, body = made(pipeline)
    pipeline.put(key, body)
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, done.changed) == (0, [])
    assert in_seconds(pipeline.tree()) == before
    assert f"found {key} of an older plugin" in done.err
    assert f"restored {key} (of an older plugin): " in done.err
    assert "warning" not in done.err


def test_4_hard_links_that_python_kept_are_hard_links_again(pipeline):
    filled(pipeline)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    pipeline.restore()

    assert (pipeline.workspace / "vendor/bundle/hard").samefile(pipeline.workspace / "vendor/bundle/a")


def test_4_ours_comes_first_and_the_next_rebuild_makes_it(pipeline):
    filled(pipeline)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()
    pipeline.restore()
    pipeline.write({"vendor/bundle/new": "n"})
    pipeline.rebuild()
    pipeline.next_build()

    done = pipeline.restore()

    assert "restored octo/site/main: " in done.err
    assert "vendor/bundle/new" in pipeline.contents()


def test_4_in_place_of_a_damaged_cache_of_ours_an_old_one_is_restored_and_that_is_said(pipeline):
    pipeline.cached(FILES)
    pipeline.put(pipeline.objects("v1/k/")[0], b"rubbish")
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    done = pipeline.restore(fail_on_error=True)

    assert (done.code, sorted(pipeline.contents())) == (0, sorted(FILES))
    assert done.err.count("warning: the cache octo/site/main cannot be used") == done.err.count("warning:") == 1


def test_4_each_path_has_its_own_archive(pipeline):
    pipeline = pipeline.on(cache=["vendor/bundle", "node_modules", "gone"])
    pipeline.write({**FILES, "node_modules/m": "M"})
    for path in ("vendor/bundle", "node_modules"):
        pipeline.put(f"site/{path}.tar.gz", s3cache(pipeline.workspace, path))
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, sorted(pipeline.contents())) == (0, ["node_modules/m", *sorted(FILES)])
    assert "warning: older plugins left no cache of gone" in done.err


def test_4_what_the_archive_of_all_paths_does_not_hold_is_taken_from_the_paths_own(pipeline):
    pipeline = pipeline.on(cache=["vendor/bundle", "node_modules", "gone"])
    pipeline.write({**FILES, "node_modules/m": "M"})
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "node_modules"))  # the last one listed then
    pipeline.put("site/vendor/bundle.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, sorted(pipeline.contents())) == (0, ["node_modules/m", *sorted(FILES)])
    assert done.err.count("warning:") == 1
    assert "warning: older plugins left no cache of gone" in done.err


def test_4_a_branch_of_drone_cache_is_its_own_and_a_pull_requests_is_its_target(pipeline):
    pipeline.write(FILES)
    pipeline.put(f"site/{md5('dev')}/vendor/bundle", drone_cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    main = pipeline.restore()
    dev = pipeline.on(pull_request(7, target="dev")).restore()

    assert "no cache for octo/site/main" in main.err
    assert f"restored site/{md5('dev')}/vendor/bundle" in dev.err


def test_4_drone_caches_own_root_and_key_are_looked_below(pipeline):
    pipeline.write(FILES)
    pipeline.put("remote/root/v1-site/vendor/bundle", drone_cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    done = pipeline.restore(prefix="remote/root", cache_key="v1-{{ .Repo.Name }}")

    assert (done.code, sorted(pipeline.contents())) == (0, sorted(FILES))


def test_4_files_that_are_right_are_not_written_again(pipeline):
    pipeline.write(FILES)
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()
    pipeline.restore()
    first = {path: (pipeline.workspace / path).stat().st_ino for path in FILES}
    pipeline.write({"vendor/bundle/a": "wrong"})

    done = pipeline.restore()

    assert "1 file made" in done.err
    again = {path: (pipeline.workspace / path).stat().st_ino for path in FILES}
    assert again["vendor/bundle/b/c"] == first["vendor/bundle/b/c"]
    assert pipeline.contents()["vendor/bundle/a"] == b"A" * 100


def archive(*members: tuple[tarfile.TarInfo, bytes | None]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for info, content in members:
            packed.addfile(info, io.BytesIO(content) if content is not None else None)
    return file.getvalue()


def member(
    name: str, content: bytes | None = b"x", *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(content) if content is not None and kind == tarfile.REGTYPE else 0
    return info, content if kind == tarfile.REGTYPE else None


HOSTILE = [
    pytest.param([member("vendor/bundle/../../../evil")], id="4 a name that goes up"),
    pytest.param([member("vendor/bundle/d", kind=tarfile.CHRTYPE), member("vendor/bundle/../evil")], id="4 up, later"),
]


@pytest.mark.parametrize("members", HOSTILE)
def test_an_unsafe_archive_is_refused_as_a_whole(pipeline, members):
    pipeline.put("site/site.tar.gz", archive(member("vendor/bundle/good"), *members))

    done = pipeline.restore()

    assert (done.code, pipeline.tree()) == (0, {})
    assert "warning: the cache was not restored: site/site.tar.gz: " in done.err


LEFT_OUT = [
    pytest.param(member("etc/passwd"), id="4 outside the listed paths"),
    pytest.param(member("/etc/passwd"), id="4 absolute and outside"),
    pytest.param(member("vendor/bundler/x"), id="4 a name that begins alike"),
    pytest.param(member("vendor/bundle/pipe", kind=tarfile.FIFOTYPE), id="4 a pipe"),
    pytest.param(member("vendor/bundle/null", kind=tarfile.CHRTYPE), id="4 a device"),
    pytest.param(member(".s3batch/journal.db"), id="4 our own files"),
]


@pytest.mark.parametrize("odd", LEFT_OUT)
def test_what_has_no_place_here_is_left_out_and_named(pipeline, odd):
    pipeline.put("site/site.tar.gz", archive(odd, member("vendor/bundle/good")))

    done = pipeline.restore()

    assert (done.code, list(pipeline.contents())) == (0, ["vendor/bundle/good"])
    assert done.err.count("warning: ") == 1
    assert " is not restored: " in done.err


def test_4_setuid_is_not_restored_and_nothing_is_written_through_a_link(pipeline, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    pipeline.put(
        "site/site.tar.gz",
        archive(
            member("vendor/bundle/su", mode=0o4755),
            member("vendor/bundle/way", kind=tarfile.SYMTYPE, link="in"),
            member("vendor/bundle/in/x"),
        ),
    )
    (pipeline.workspace / "vendor" / "bundle").mkdir(parents=True)
    (pipeline.workspace / "vendor" / "bundle" / "in").symlink_to(outside)

    done = pipeline.restore()

    assert (done.code, list(outside.iterdir())) == (0, [])
    assert not (pipeline.workspace / "vendor" / "bundle" / "in").is_symlink()
    assert stat.S_IMODE((pipeline.workspace / "vendor" / "bundle" / "su").stat().st_mode) == 0o755
    assert os.readlink(pipeline.workspace / "vendor" / "bundle" / "way") == "in"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="4 empty"),
        pytest.param(b"no archive at all", id="4 no archive"),
        pytest.param(b"\x1f\x8b" + b"rubbish" * 100, id="4 no gzip"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"rubbish" * 100, id="4 no zstd"),
    ],
)
def test_an_object_that_is_no_archive_is_a_warning(pipeline, body):
    pipeline.put("site/site.tar.gz", body)

    lenient, strict = pipeline.restore(), pipeline.restore(fail_on_error=True)

    assert (lenient.code, strict.code, pipeline.tree()) == (0, 1, {})
    assert "warning: the cache was not restored: site/site.tar.gz: " in lenient.err


@pytest.mark.parametrize("left", [0.1, 0.5, 0.99])
def test_4_a_truncated_archive_leaves_the_tree_as_it_was(pipeline, left):
    pipeline.write({f"vendor/bundle/{n}": noise(9000, seed=n) for n in range(9)})
    body = s3cache(pipeline.workspace, "vendor/bundle")
    pipeline.next_build()
    pipeline.write({"vendor/bundle/1": "mine"})
    before = pipeline.tree()
    pipeline.put("site/site.tar.gz", body[: int(len(body) * left)])

    done = pipeline.restore()

    after = pipeline.tree()
    assert (done.code, after) == (0, before)
    assert "not a readable archive" in done.err


def test_4_a_second_archive_that_is_damaged_takes_back_the_first(pipeline):
    pipeline = pipeline.on(cache=["node_modules", "vendor/bundle"])
    pipeline.write({**FILES, "node_modules/m": "M"})
    pipeline.put("site/node_modules.tar.gz", s3cache(pipeline.workspace, "node_modules"))
    pipeline.put("site/vendor/bundle.tar.gz", b"\x1f\x8brubbish")
    pipeline.next_build()

    done = pipeline.restore()

    assert (done.code, pipeline.tree()) == (0, {})
    assert "vendor/bundle.tar.gz" in done.err


def test_4_a_bomb_is_stopped_at_max_size(pipeline):
    pipeline.put("site/site.tar.gz", archive(member("vendor/bundle/zeros", bytes(50_000_000))))

    done = pipeline.restore(max_size="1MiB")

    assert (done.code, pipeline.tree()) == (0, {})
    assert "raise max_size" in done.err


def test_4_a_large_archive_is_read_piece_by_piece(pipeline):
    large = noise(2 * _BLOCK + 12345)
    pipeline.write({"vendor/bundle/large": large})
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()

    done = pipeline.restore()

    ranges = [request.headers.get("range") for request in done.of("GetObject", "site/site.tar.gz")]
    assert len(ranges) == 3
    assert (done.code, pipeline.contents()["vendor/bundle/large"] == large) == (0, True)


def test_4_an_archive_that_is_replaced_while_it_is_read_is_no_mixture(pipeline):

    pipeline.write({"vendor/bundle/large": noise(_BLOCK + 12345)})
    body = s3cache(pipeline.workspace, "vendor/bundle")
    pipeline.put("site/site.tar.gz", body)
    pipeline.next_build()
    other = Call(lambda _: pipeline.put("site/site.tar.gz", body[:-1] + b"x"))
    pipeline.step.proxy.on("GetObject", other, key="site.tar.gz", skip=1)

    done = pipeline.restore()

    assert (done.code, pipeline.tree()) == (0, {})
    assert "site/site.tar.gz changed while it was read" in done.err


def test_4_where_old_keys_may_not_be_read_ours_still_may_be_missing(pipeline):

    pipeline.step.proxy.on("GetObject", Refuse(403, "AccessDenied"), key="^site/")

    done = pipeline.restore(fail_on_error=True)

    assert (done.code, names(done, "PutObject")) == (0, [])
    assert "no cache for octo/site/main" in done.err


def test_4_on_a_branch_without_a_cache_the_fallbacks_come_before_the_old_ones(pipeline):
    pipeline.write({"vendor/bundle/from": "old"})
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, "vendor/bundle"))
    pipeline.next_build()
    pipeline.cached({"vendor/bundle/from": "main"})

    pipeline.on(branch("feat")).restore()

    assert pipeline.contents() == {"vendor/bundle/from": b"main"}
