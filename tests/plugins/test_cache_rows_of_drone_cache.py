"""One test for each row of docs/cache.md about drone-cache (K) and drone-s3-cache (S); test_cache_rows.py has the others."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest

from tests.archive.cycle import OLD
from tests.plugins.caching import Pipeline, branch, drone_cache, md5, names

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


# --- drone-cache -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["./vendor", "vendor/", "vendor/../vendor", " vendor "])
def test_k1_all_spellings_of_a_path_are_one_and_no_key_leaves_its_place(pipeline, spelled):
    pipeline.cached()

    assert pipeline.restore(cache=[spelled]).err.count("restored octo/site/main") == 1
    pipeline.rebuild(cache_key="../../up")
    assert [key for key in pipeline.objects() if not key.startswith("v1/")] == [".s3batch/cache"]
    assert "octo/site/main/..%2F..%2Fup" in pipeline.manifests()


def test_k2_a_cache_under_drone_caches_default_key_is_found(pipeline):
    pipeline.write(FILES)
    pipeline.put(f"site/{md5('feat/x')}/vendor", drone_cache(pipeline.workspace, "vendor"))
    pipeline.next_build()

    done = pipeline.on(branch("feat/x")).restore()

    assert "restored site/55726d16c77c349356ed6bf92426a21c/vendor" in done.err


def name_of(pipeline: Pipeline, template: str, **facts: str) -> str:
    pipeline.write(FILES)
    document = json.loads(pipeline.on(facts).rebuild(cache_key=template, json=True).out)
    return document["cache"]["name"].removeprefix("octo/site/main ")


def test_k3_templates_know_the_fields_of_the_build(pipeline):
    fields = ("Repo.Branch", "Build.Number", "Commit.Branch", "Commit.Sha", "Commit.Author.Name", "Build.Status")
    template = "|".join(f"{{{{ .{field} }}}}" for field in fields)

    assert name_of(pipeline, template, DRONE_COMMIT_AUTHOR_NAME="mona") == "main|7|main|8e5f3a1|mona|success"


def test_k4_templates_have_the_five_functions(pipeline):
    pipeline.write({"f": "F"})
    raw = hashlib.sha256(hashlib.sha256(b"F").digest()).hexdigest()

    found = name_of(pipeline, '{{ checksum "f" }}|{{ hashFiles "f" }}|{{ os }}|{{ epoch }}').split("|")

    assert found[:3] == [md5("F"), raw, "linux"]
    assert found[3].isdigit()


def test_k5_commit_ref_is_the_ref_and_not_the_commit(pipeline):
    assert name_of(pipeline, "{{ .Commit.Ref }}") == "refs/heads/main"


@pytest.mark.parametrize("template", ["{{ .No.Such }}", "{{ printf 1 }}", "{{ .Repo.Name"])
def test_k6_a_template_that_is_wrong_is_a_settings_error_and_no_other_key(pipeline, template):
    done = pipeline.rebuild(cache_key=template)

    assert (done.code, done.requests) == (2, [])
    assert "cache_key: " in done.err


def test_k7_restore_and_rebuild_at_once_is_an_error(pipeline):
    assert pipeline.run(restore=True, rebuild=True).code == 2


def test_k8_a_failure_is_told_and_breaks_the_build_only_when_asked(pipeline):
    pipeline.put(f"site/{md5('main')}/vendor", b"rubbish")

    lenient, strict = pipeline.restore(), pipeline.restore(exit_code=True)

    assert (lenient.code, strict.code) == (0, 1)
    assert lenient.err.count("warning: ") == 1


def test_k9_a_missing_path_does_not_keep_the_others_from_being_cached(pipeline):
    pipeline.write(FILES)

    assert pipeline.rebuild(cache=["gone", "vendor"]).code == 0
    assert pipeline.manifests() == ["octo/site/main/default"]


def test_k10_override_false_asks_once_and_skips(pipeline):
    pipeline.cached()

    assert dict(pipeline.rebuild(override=False).counts) == {"HeadObject": 1}


def test_k11_a_cache_is_restored_in_whatever_workspace_the_build_has(pipeline, tmp_path, monkeypatch):
    pipeline.write(FILES)
    pipeline.put(f"site/{md5('main')}/vendor", drone_cache(pipeline.workspace, "vendor"))
    pipeline.next_build()
    other = tmp_path / "other" / "workspace"
    other.mkdir(parents=True)
    monkeypatch.chdir(other)

    done = pipeline.restore()

    assert (done.code, pipeline.tree()) == (0, {})
    assert (other / "vendor" / "b" / "c").read_text() == "C"


@pytest.mark.parametrize("made_by", ["us", "drone-cache"])
def test_k12_a_shorter_file_leaves_no_tail_of_a_longer_one(pipeline, made_by):
    pipeline.write({"vendor/f": "short"})
    if made_by == "us":
        pipeline.rebuild()
    else:
        pipeline.put(f"site/{md5('main')}/vendor", drone_cache(pipeline.workspace, "vendor"))
    pipeline.next_build()
    pipeline.write({"vendor/f": "much longer content"})
    held = (pipeline.workspace / "vendor" / "f").open("rb")

    pipeline.restore()

    assert pipeline.contents() == {"vendor/f": b"short"}
    assert held.read() == b"much longer content"  # replaced, not written into
    held.close()


@pytest.mark.parametrize("made_by", ["us", "drone-cache"])
def test_k13_a_symbolic_link_replaces_what_is_there(pipeline, made_by):
    pipeline.write({"vendor/a": "A", "vendor/z": "Z"})
    (pipeline.workspace / "vendor" / "l").symlink_to("a")
    if made_by == "us":
        pipeline.rebuild()
    else:
        pipeline.put(f"site/{md5('main')}/vendor", drone_cache(pipeline.workspace, "vendor"))
    (pipeline.workspace / "vendor" / "l").unlink()
    (pipeline.workspace / "vendor" / "l").symlink_to("z")
    (pipeline.workspace / "vendor" / "z").unlink()

    done = pipeline.restore()

    assert (done.code, os.readlink(pipeline.workspace / "vendor" / "l")) == (0, "a")
    assert pipeline.contents() == {"vendor/a": b"A", "vendor/z": b"Z"}


def test_k14_hard_links_and_times_of_directories_come_back_and_a_pipe_is_no_file(pipeline):
    pipeline.write(FILES)
    vendor = pipeline.workspace / "vendor"
    os.link(vendor / "a", vendor / "h")
    os.mkfifo(vendor / "pipe")
    for path in (vendor / "b", vendor):
        os.utime(path, ns=(OLD, OLD))

    done = pipeline.rebuild()
    pipeline.next_build()
    pipeline.restore()

    assert "warning: not cached: 1 special file, such as vendor/pipe" in done.err
    assert (vendor / "a").samefile(vendor / "h")
    assert {(vendor / name).stat().st_mtime_ns for name in ("b", ".")} == {OLD}
    assert not (vendor / "pipe").exists()


def test_k15_every_format_is_read_and_none_needs_to_be_named(pipeline):
    pipeline.write(FILES)
    pipeline.put(f"site/{md5('main')}/vendor", drone_cache(pipeline.workspace, "vendor", packed="zstd"))
    pipeline.next_build()

    named, read = pipeline.restore(archive_format="tar"), pipeline.restore()

    assert (named.code, named.requests) == (2, [])
    assert "remove it: s3batch reads every format" in named.err
    assert (read.code, sorted(pipeline.contents())) == (0, ["vendor/a", "vendor/b/c"])


def test_k16_what_a_pattern_matched_is_restored_where_nothing_is_yet(pipeline):
    pipeline.write({**FILES, "a/node_modules/m": "M"})
    pipeline.rebuild(cache=["**/node_modules", "vendor"])
    pipeline.next_build()

    done = pipeline.restore(cache=["**/node_modules", "vendor"])

    assert done.code == 0
    assert set(pipeline.contents()) == {*FILES, "a/node_modules/m"}


def test_k17_a_cache_can_be_cleared(pipeline):
    pipeline.cached()

    assert pipeline.run(mode="flush", cache=None).code == 0
    assert pipeline.manifests() == []


# --- drone-s3-cache ----------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "left"), [("restore", 1), ("rebuild", 1), ("flush", 0)])
def test_s1_mode_says_what_to_do(pipeline, mode, left):
    pipeline.cached()
    pipeline.write(FILES)

    done = pipeline.run(mode=mode)

    assert (done.code, len(pipeline.manifests())) == (0, left)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("filename", "its cache_key"),
        ("path", "write cache_key"),
        ("fallback_path", "write restore_keys"),
        ("flush_path", "write cache_key"),
        ("flush_age", "s3batch cache prune --ttl"),
        ("root", "write bucket and prefix"),
    ],
)
def test_s2_settings_with_another_name_here_say_which(pipeline, name, hint):
    done = pipeline.restore(**{name: "x"})

    assert (done.code, done.requests) == (2, [])
    assert hint in done.err


@pytest.mark.parametrize("name", ["PLUGIN_SERVER", "CACHE_S3_ENDPOINT", "CACHE_S3_SERVER", "S3_ENDPOINT"])
def test_s3_the_endpoint_has_all_the_names_it_had(pipeline, name):
    pipeline.write(FILES)

    done = pipeline.on({name: pipeline.step.proxy.url}).rebuild(endpoint=None)

    assert (done.code, pipeline.manifests()) == (0, ["octo/site/main/default"])


def test_s4_the_default_branch_is_the_fallback_and_its_failure_is_a_warning(pipeline):
    pipeline.cached({"vendor/from": "main"})

    done = pipeline.on(branch("feat")).restore()

    assert "found octo/site/main (a fallback)" in done.err
    assert (done.code, pipeline.contents()) == (0, {"vendor/from": b"main"})


def test_s5_an_existing_link_is_no_error_and_bucket_names_are_taken_as_they_are(pipeline):
    pipeline.cached()
    (pipeline.workspace / "vendor").mkdir()
    (pipeline.workspace / "vendor/b").symlink_to("elsewhere")

    done = pipeline.restore()

    assert (done.code, sorted(pipeline.contents())) == (0, ["vendor/a", "vendor/b/c"])
    assert not stat.S_ISLNK((pipeline.workspace / "vendor/b").lstat().st_mode)
    assert names(pipeline.restore(bucket="UPPER"), "GetObject") != []
