"""Owners: kept and given back by root, to everybody but root; what no cache keeps is said."""

from __future__ import annotations

import os

import pytest

from s3batch.archive import manifest_codec
from tests.plugins.test_cache_failures import as_nobody, foreign, pipeline

__all__ = ["foreign", "pipeline"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C", "vendor/b/empty": "", "vendor/roots": "mine"}
OWNERS = {
    "vendor": (1000, 1001), "vendor/a": (1000, 1000), "vendor/b": (1002, 0), "vendor/b/c": (0, 1003),
    "vendor/b/empty": (1000, 1000), "vendor/roots": (0, 0), "vendor/link": (1004, 1004), "vendor/hard": (1000, 1000),
    "vendor/large": (1005, 1005),
}  # fmt: skip


@pytest.fixture
def owned(pipeline):
    """A cache of files of several users: small, empty and large ones, both kinds of links, directories."""
    pipeline.write({**FILES, "vendor/large": os.urandom(9 << 20)})
    (pipeline.workspace / "vendor/link").symlink_to("a")
    os.link(pipeline.workspace / "vendor/a", pipeline.workspace / "vendor/hard")
    for path, owner in OWNERS.items():
        os.chown(pipeline.workspace / path, *owner, follow_symlinks=False)
    done = pipeline.rebuild()
    assert (done.code, "warning" in done.err) == (0, False), done.err
    return pipeline


def owners(pipeline) -> dict[str, tuple[int, int]]:
    found = {path: (pipeline.workspace / path).lstat() for path in OWNERS}
    return {path: (status.st_uid, status.st_gid) for path, status in found.items()}


def test_root_gives_everything_back_to_its_owner_the_listed_path_included(owned):
    owned.next_build()

    done, again = owned.restore(), owned.rebuild()

    assert (done.code, "warning" in done.err) == (0, False), done.err
    assert owners(owned) == OWNERS
    assert (again.changed, "nothing changed, nothing sent" in again.err) == ([], True)


def test_an_owner_that_is_wrong_is_put_right_and_what_belongs_to_root_is_left_alone(owned):
    for path in ("vendor", "vendor/a", "vendor/link", "vendor/b/c"):
        os.chown(owned.workspace / path, 7, 7, follow_symlinks=False)
    os.chown(owned.workspace / "vendor/roots", 8, 8)

    done = owned.restore()

    assert done.code == 0, done.err
    assert owners(owned) == OWNERS | {"vendor/roots": (8, 8)}
    assert "all files were up to date" in owned.restore().err


def test_another_owner_is_a_change_that_is_published_without_a_chunk(owned):
    os.chown(owned.workspace / "vendor/a", 2000, 2000)

    done = owned.rebuild()
    owned.next_build()
    owned.restore()

    assert "only the list of files sent" in done.err
    assert owners(owned)["vendor/a"] == (2000, 2000)


@pytest.mark.parametrize("when", ["rebuild", "restore"])
def test_owner_none_keeps_and_gives_back_none(owned, when):
    if when == "rebuild":
        owned.rebuild(owner="none")
    owned.next_build()
    done = owned.restore(**({"owner": "none"} if when == "restore" else {}))

    assert done.code == 0, done.err
    assert set(owners(owned).values()) == {(0, 0)}


def test_a_tree_of_root_makes_the_same_cache_as_before_owners_were_kept(pipeline):
    pipeline.cached(FILES)
    (key,) = pipeline.objects("v1/k/")

    manifest = manifest_codec.decode_manifest(pipeline.step.bucket.get(key))

    assert not manifest.tree.uids
    assert pipeline.rebuild(owner="none").code == 0


def test_who_is_not_root_restores_such_a_cache_as_his_own(foreign):
    foreign.write(FILES)
    for path in OWNERS.keys() & FILES.keys():
        os.chown(foreign.workspace / path, *OWNERS[path])
    foreign.rebuild()
    foreign.next_build()
    os.chown(foreign.workspace, 65534, 65534)

    done, again = as_nobody(foreign, restore=True), as_nobody(foreign, rebuild=True)

    assert (done.code, again.code, "warning" in done.stderr) == (0, 0, False), done.stderr
    assert {(foreign.workspace / path).stat().st_uid for path in FILES} == {65534}


def test_an_owner_that_cannot_be_is_one_warning(owned, monkeypatch):
    owned.next_build()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "chown", refuse)
    done = owned.restore(fail_on_error=True)

    assert done.code == 0
    assert "8 restored entries" not in done.err
    (warning,) = [line for line in done.err.splitlines() if "cannot set the owner of" in line]
    assert warning.startswith("s3batch: warning: cannot set the owner of 7 restored entries")


def test_a_time_that_no_cache_holds_is_a_warning(pipeline):
    pipeline.write(FILES)
    os.utime(pipeline.workspace / "vendor/a", (0, 10_413_792_000))  # the year 2300

    done = pipeline.rebuild()

    assert done.code == 0
    assert "times from 1677 to 2262: 1 entry will be restored with the nearest of these" in done.err


def test_what_no_cache_keeps_is_one_warning_with_counts(pipeline):
    pipeline.write(FILES)
    (pipeline.workspace / "vendor/a").chmod(0o4755)
    (pipeline.workspace / "vendor/b/c").chmod(0o2755)
    try:
        os.setxattr(pipeline.workspace / "vendor/a", "user.note", b"x")
    except OSError:
        pytest.skip("there are no extended attributes here")

    done = pipeline.rebuild()

    assert done.code == 0
    assert done.err.count("warning:") == 1
    assert "the cache does not keep setuid bits of 2 files, extended attributes of 1 file" in done.err
