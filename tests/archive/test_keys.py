import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.base.errors import SettingsError
from s3batch.cache import object_keys
from s3batch.cache.object_keys import BuildIdentity, RestoreCandidate, scopes_of_build

HERE = {"owner": "octo", "repo": "hello"}

SCOPES = [
    pytest.param(
        BuildIdentity(**HERE, branch="main", default_branch="main"),
        "octo/hello/main",
        ["octo/hello/main"],
        id="default branch",
    ),
    pytest.param(
        BuildIdentity(**HERE, branch="feat/x", default_branch="main"),
        "octo/hello/feat%2Fx",
        ["octo/hello/feat%2Fx", "octo/hello/main"],
        id="a branch falls back to the default branch",
    ),
    pytest.param(
        BuildIdentity(
            **HERE, event="pull_request", pull_request="12", branch="feat", target_branch="dev", default_branch="main"
        ),
        "octo/hello/~pr-12",
        ["octo/hello/~pr-12", "octo/hello/dev", "octo/hello/main"],
        id="a pull request has its own scope and falls back to its target",
    ),
    pytest.param(
        BuildIdentity(
            **HERE, event="pull_request", pull_request="12", target_branch="dev", default_branch="main", fork=True
        ),
        None,
        ["octo/hello/~pr-12", "octo/hello/dev", "octo/hello/main"],
        id="a fork writes nowhere",
    ),
    pytest.param(
        BuildIdentity(**HERE, event="pull_request", target_branch="main", default_branch="main"),
        None,
        ["octo/hello/main"],
        id="a pull request without a number writes nowhere",
    ),
    pytest.param(
        BuildIdentity(**HERE, branch="main", default_branch="main", read_only=True),
        None,
        ["octo/hello/main"],
        id="read only",
    ),
    pytest.param(
        BuildIdentity(**HERE, event="tag", tag="v1.0", default_branch="main"),
        "octo/hello/~tag-v1.0",
        ["octo/hello/~tag-v1.0", "octo/hello/main"],
        id="a tag has its own scope",
    ),
    pytest.param(BuildIdentity(**HERE), "octo/hello/master", ["octo/hello/master"], id="nothing known"),
]


@pytest.mark.parametrize(("build", "write", "read"), SCOPES)
def test_a_build_writes_to_its_scope_and_reads_towards_the_default_branch(build, write, read):
    assert scopes_of_build(build) == (write, tuple(read))


def test_without_a_repository_there_is_no_cache():
    with pytest.raises(SettingsError, match="names no repository"):
        scopes_of_build(BuildIdentity(owner="", repo="x"))


@pytest.mark.parametrize("branch", ["~pr-12", "pr-12", "../main", "..", ".", "%2E%2E", "main/", "~tag-v1"])
def test_no_branch_can_take_the_place_of_a_pull_request_or_another_branch(branch):
    mine = scopes_of_build(BuildIdentity(**HERE, branch=branch)).write
    other = scopes_of_build(BuildIdentity(**HERE, branch="main")).write
    pull_request = scopes_of_build(BuildIdentity(**HERE, event="pull_request", pull_request="12")).write

    assert mine not in (other, pull_request)
    assert len(mine.split("/")) == 3
    assert mine.split("/")[2] not in (".", "..")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_are_different_components(one, other):
    encoded = [
        object_keys.encode_component(one.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
        for one in (one, other)
    ]

    assert (encoded[0] == encoded[1]) == (one == other)
    assert all("/" not in part and part.isascii() and part not in (".", "..") and len(part) <= 200 for part in encoded)


def test_very_long_branches_stay_apart():
    one, other = object_keys.encode_component("ä" * 300 + "1"), object_keys.encode_component("ä" * 300 + "2")

    assert one != other
    assert max(len(one), len(other)) <= 200


def test_a_restore_tries_the_key_in_every_scope_and_then_the_restore_keys():
    tries = object_keys.plan_lookups("ci/", ("o/r/feat", "o/r/main"), "abc", ["v1-x/y"], ["v1-", "v"])

    assert tries == [
        RestoreCandidate("ci/v1/k/o/r/feat/abc/v1-x%2Fy", False, "o/r/feat", "v1-x/y"),
        RestoreCandidate("ci/v1/k/o/r/main/abc/v1-x%2Fy", False, "o/r/main", "v1-x/y"),
        RestoreCandidate("ci/v1/k/o/r/feat/abc/v1-", True, "o/r/feat", "v1-"),
        RestoreCandidate("ci/v1/k/o/r/main/abc/v1-", True, "o/r/main", "v1-"),
        RestoreCandidate("ci/v1/k/o/r/feat/abc/v", True, "o/r/feat", "v"),
        RestoreCandidate("ci/v1/k/o/r/main/abc/v", True, "o/r/main", "v"),
    ]


@pytest.mark.parametrize(
    ("key", "error"), [pytest.param("", "empty", id="empty"), pytest.param("ö" * 200, "512", id="too long")]
)
def test_a_key_that_is_none_is_a_settings_error(key, error):
    with pytest.raises(SettingsError, match=error):
        object_keys.manifest_key("", "o/r/b", "abc", key)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_manifest_key_can_be_read_back(key):
    name = object_keys.manifest_key("p/", "o/r/feat%2Fx", "abc", key)

    assert object_keys.parse_manifest_key("p/", name) == ("o/r/feat%2Fx", "abc", key)
    assert object_keys.parse_manifest_key("", name) is None


def test_chunks_lie_under_their_first_two_digits():
    identity = bytes(range(32))

    name = object_keys.chunk_key("p/", identity)

    assert name == f"p/v1/c/00/{identity.hex()}"
    assert object_keys.parse_chunk_key("p/", name) == identity
    assert object_keys.parse_chunk_key("", name) is None
    assert object_keys.parse_chunk_key("p/", f"p/v1/c/01/{identity.hex()}") is None
    assert object_keys.parse_chunk_key("p/", "p/v1/c/00/nothex") is None


def test_what_the_clean_up_takes_out_of_use_has_its_own_place():
    assert object_keys.aside_key("p/", "p/v1/k/o/r/main/abc/default") == "p/v1/x/o/r/main/abc/default"


def test_other_paths_or_another_system_are_another_version():
    one = object_keys.paths_version(["a", "b"], "linux/amd64")

    assert one == object_keys.paths_version(["b", "a"], "linux/amd64")
    assert (
        len(
            {one, object_keys.paths_version(["a"], "linux/amd64"), object_keys.paths_version(["a", "b"], "linux/arm64")}
        )
        == 3
    )
    assert len(one) == 12


CLEARED = [
    pytest.param(
        BuildIdentity(**HERE, branch="main"), "ci/", ("ci/v1/k/octo/hello/", "hello/"), id="all of the repository"
    ),
    pytest.param(
        BuildIdentity(**HERE, event="pull_request", pull_request="7"),
        "",
        ("v1/k/octo/hello/~pr-7/",),
        id="a pull request's own",
    ),
    pytest.param(
        BuildIdentity(**HERE, event="pull_request", pull_request="7", fork=True), "", (), id="nothing from a fork"
    ),
    pytest.param(BuildIdentity(**HERE, branch="main", read_only=True), "", (), id="nothing when read only"),
]


@pytest.mark.parametrize(("build", "prefix", "cleared"), CLEARED)
def test_clear_cache_never_reaches_another_repository(build, prefix, cleared):
    assert object_keys.cleared_prefixes(prefix, build) == cleared


@pytest.mark.parametrize(
    ("prefix", "repo", "key", "goes"),
    [
        pytest.param("", "v1", "v1/k/o/v1/main/abc/default", True, id="our own key"),
        pytest.param("", "v1", "v1/k/o/other/main/abc/default", False, id="another repository's key"),
        pytest.param("", "v1", "v1/c/00/0011", False, id="a chunk of everybody's"),
        pytest.param("", "v1", "v1/gc/noted", False, id="a note of the clean-up"),
        pytest.param("", "v1", "v1/v1.tar.gz", True, id="what an old plugin left for a repository of that name"),
        pytest.param("ci/x/", "ci", "ci/x/v1/k/o/other/main/abc/default", False, id="the prefix is named like it"),
        pytest.param("ci/x/", "ci", "ci/ci.tar.gz", True, id="and an old plugin's object there"),
    ],
)
def test_clear_cache_spares_the_cache_of_others_inside_its_own_name(prefix, repo, key, goes):
    cleared = object_keys.cleared_prefixes(prefix, BuildIdentity(owner="o", repo=repo, branch="m"))

    assert key.startswith(cleared)
    assert object_keys.is_cleared(prefix, cleared, key) is goes


def test_old_plugins_objects_are_looked_for_under_their_names():
    branch = hashlib.md5(b"feat/x").hexdigest()

    found = object_keys.legacy_objects(BuildIdentity(**HERE, branch="feat/x"), ["vendor/bundle", "/root/.m2"])

    assert branch == "55726d16c77c349356ed6bf92426a21c"
    assert found == [
        ("hello/hello.tar.gz", ("vendor/bundle", "/root/.m2")),
        ("hello/vendor/bundle.tar.gz", ("vendor/bundle",)),
        (f"hello/{branch}/vendor/bundle", ("vendor/bundle",)),
        (f"hello/{branch}/root/.m2", ("/root/.m2",)),
    ]


def test_old_plugins_objects_with_a_root_and_a_key_of_their_own():
    found = object_keys.legacy_objects(BuildIdentity(**HERE), ["v"], prefix="remote/", key="../up")

    assert [one.key for one in found] == ["hello/hello.tar.gz", "hello/v.tar.gz", "up/v", "up/v"]


def test_a_pull_request_looks_where_drone_cache_kept_its_target_branch():
    build = BuildIdentity(**HERE, event="pull_request", pull_request="7", branch="feat/x", target_branch="main")

    assert object_keys.legacy_objects(build, ["v"])[-1].key == f"hello/{hashlib.md5(b'main').hexdigest()}/v"


def test_without_a_branch_old_keys_are_those_of_master():
    [*_, last] = object_keys.legacy_objects(BuildIdentity(**HERE), ["v"])

    assert last.key == f"hello/{hashlib.md5(b'master').hexdigest()}/v"


def test_a_name_that_is_not_utf_8_has_a_key():
    assert object_keys.encode_component(os.fsdecode(b"caf\xe9")) == "caf%E9"
