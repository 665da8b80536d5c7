"""``lookup_only``, ``max_age``, and ``keep_last`` of a rebuild."""

from __future__ import annotations

import os

import pytest

from tests.cli.caches import DRONE, bucket, cached, fake, in_days, shell

__all__ = ["bucket", "cached", "fake", "in_days", "shell"]
MAIN = DRONE | {"DRONE_COMMIT_BRANCH": "main"}
FEATURE = DRONE | {"DRONE_COMMIT_BRANCH": "feature"}


def everything(workspace) -> set[str]:
    return {os.path.join(place, name) for place, dirs, files in os.walk(workspace) for name in (*dirs, *files)}


@pytest.fixture
def looked(shell, workspace, fake, tmp_path):
    """``looked(*flags)``: the document of a look, which wrote nothing and sent two requests at most."""

    def look(*more: str, env: dict[str, str] = MAIN):
        before = everything(workspace)
        fake.requests.clear()
        done = shell("restore", "--cache", "v", "--lookup-only", "--json", *more, env=env)
        assert len(fake.requests) <= 2
        assert {seen.method for seen in fake.requests} <= {"GET", "HEAD"}
        assert everything(workspace) == before
        return done

    return look


def test_one_key_costs_one_request(cached, looked, fake, in_days):
    cached("main", {"v/a": b"12345"})
    in_days(2)

    found = looked().json["cache"]

    assert (found["hit"], found["exact"], found["files"], found["bytes"]) == (True, True, 1, 5)
    assert found["age"] == pytest.approx(2 * 86400, abs=30)
    assert len(fake.requests) == 1


def test_a_fallback_costs_a_listing_and_one_request(cached, looked):
    cached("main", {"v/a": b"12345"})

    found = looked(env=FEATURE).json["cache"]

    assert (found["hit"], found["exact"], found["name"]) == (True, False, "octo/site/main")


def test_the_newest_of_restore_keys_is_told(cached, looked, in_days):
    for day, key in enumerate(("deps-1", "deps-2")):
        in_days(day)
        cached("main", {"v/a": key.encode()}, "--cache-key", key)

    found = looked("--cache-key", "deps-3", "--restore-keys", "deps-").json["cache"]

    assert (found["exact"], found["name"]) == (False, "octo/site/main deps-2")


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--fail-on-miss",), 1)])
def test_a_miss_is_told_as_a_restore_tells_it(looked, more, code):
    done = looked(*more)

    assert (done.code, done.json["cache"]["hit"]) == (code, False)


def test_a_cache_that_is_not_signed_with_the_secret_is_none(cached, looked):
    cached()

    found = looked(env=MAIN | {"S3BATCH_CACHE_SECRET": "another"}).json

    assert found["cache"]["hit"] is False
    assert "not signed with this cache_secret" in found["warnings"][0]


def test_outputs_are_set(cached, looked, tmp_path):
    cached("main", {"v/a": b"12345"})
    (tmp_path / "out").touch()

    looked(env=MAIN | {"DRONE_OUTPUT": str(tmp_path / "out")})

    assert "cache_hit=true\n" in (tmp_path / "out").read_text()


def test_a_cache_that_is_too_old_is_a_miss(shell, cached, workspace, in_days, looked):
    cached("main", {"v/a": b"1"})
    in_days(8)
    (workspace / "v" / "a").unlink()

    young = looked("--max-age", "9d").json["cache"]
    old = looked("--max-age", "7d").json["cache"]
    restored = shell("restore", "--cache", "v", "--max-age", "7d", "--json", env=MAIN).json["cache"]

    assert (young["hit"], old["hit"], restored["hit"]) == (True, False, False)
    assert not (workspace / "v" / "a").exists()


def test_a_right_tree_of_a_cache_that_is_too_old_is_a_miss_too(shell, cached, in_days):
    cached("main", {"v/a": b"1"})
    in_days(8)

    done = shell("restore", "--cache", "v", "--max-age", "7d", "--json", env=MAIN)

    assert done.json["cache"]["hit"] is False


def test_use_makes_no_cache_younger(shell, cached, in_days):
    cached("main", {"v/a": b"1"})
    in_days(5)
    assert shell("restore", "--cache", "v", "--ttl", "6d", env=MAIN).code == 0  # marks it as used
    in_days(8)

    done = shell("restore", "--cache", "v", "--max-age", "7d", "--json", env=MAIN)

    assert done.json["cache"]["hit"] is False


def test_a_rebuild_keeps_the_last_caches_of_its_template(cached, bucket, in_days, workspace):
    lock = '{{ checksum "lock" }}'
    (workspace / "lock").write_text("0")
    cached("main", {"v/a": b"other"}, "--cache-key", "by-hand")
    for day in range(1, 5):
        in_days(day)
        (workspace / "lock").write_text(str(day))
        cached("main", {"v/a": str(day).encode()}, "--cache-key", lock, "--keep-last", "2")

    names = [key.rpartition("/")[2] for key in bucket.keys("v1/k/")]

    assert ("by-hand" in names, len(names)) == (True, 3)
    assert len(bucket.keys("v1/x/")) == 2
    assert len(bucket.keys("v1/c/")) == 5
