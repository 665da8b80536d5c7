"""One test for each row of docs/cache.md: what the old cache plugins do, and what we do in their place.

C is drone-s3cache, W drone-volume-cache, K drone-cache, S drone-s3-cache.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from s3batch.cli.loading import plugin_settings
from tests.plugins import ci
from tests.plugins.caching import Pipeline, branch, md5, s3cache

FILES = {"vendor/a": "A" * 100, "vendor/b/c": "C"}
PAGE = Path(__file__).parents[2] / "docs" / "cache.md"


@pytest.fixture
def pipeline(step) -> Pipeline:
    return Pipeline(step)


def rows() -> list[str]:
    return re.findall(r"^\| ([CWKS]\d+) \|", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("row", rows())
def test_a_row_of_the_page_has_a_test(row):
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_cache_rows*.py"))
    assert f"def test_{row.lower()}_" in tests


# --- drone-s3cache -----------------------------------------------------------------------------


def test_c1_region_is_used_and_only_the_repositorys_name_is_needed(pipeline):
    pipeline.build = {"DRONE_REPO_NAME": "site"}
    pipeline.step.system = lambda settings: {
        name: text for name, text in ci.drone(settings).items() if not name.startswith("DRONE")
    }
    pipeline.write(FILES)

    done = pipeline.rebuild(region="eu-west-3")

    assert (done.code, pipeline.manifests()) == (0, ["~/site/master/default"])
    assert "/eu-west-3/s3/aws4_request" in done.requests[0].headers["authorization"]


def test_c2_spaces_around_the_names_of_paths_do_not_count(pipeline):
    pipeline.write({"d/1": "1", "e/2": "2"})

    pipeline.rebuild(cache="d, e ,")
    pipeline.next_build()
    pipeline.restore(cache=["e", "d"])

    assert sorted(pipeline.contents()) == ["d/1", "e/2"]


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
def test_c3_restore_false_does_not_restore(pipeline, text):
    pipeline.cached()

    done = pipeline.run(restore=text, rebuild=text)

    assert (done.code, done.requests, pipeline.tree()) == (0, [], {})


def test_c4_no_cache_in_the_message_makes_no_request(pipeline):
    done = pipeline.on({"DRONE_COMMIT_MESSAGE": "x [NO CACHE]"}).restore()

    assert (done.code, done.requests) == (0, [])


def test_c5_clear_cache_removes_what_lies_below_the_name_and_nothing_that_begins_alike(pipeline):
    for key in ("site/site.tar.gz", "site2/site2.tar.gz", "site-notes.txt"):
        pipeline.put(key, b"x")

    done = pipeline.on({"DRONE_COMMIT_MESSAGE": "[CLEAR CACHE]"}).restore()

    assert (done.code, pipeline.objects()) == (0, ["site-notes.txt", "site2/site2.tar.gz"])


def test_c6_repositories_of_two_owners_do_not_collide_nor_do_branches(pipeline):
    for facts in ({"DRONE_REPO_OWNER": "octo"}, {"DRONE_REPO_OWNER": "mona"}, branch("dev")):
        pipeline.on(facts).cached()

    assert pipeline.manifests() == ["mona/site/main/default", "octo/site/dev/default", "octo/site/main/default"]


def test_c7_every_path_survives_and_no_archive_stays_in_the_workspace(pipeline):
    pipeline.write({**FILES, "node_modules/m": "M"})

    pipeline.rebuild(cache=["vendor", "node_modules"])
    left = sorted(path.name for path in pipeline.workspace.iterdir())
    pipeline.next_build()
    pipeline.restore(cache=["vendor", "node_modules"])

    assert left == [".s3batch", "node_modules", "vendor"]
    assert sorted(pipeline.contents()) == ["node_modules/m", "vendor/a", "vendor/b/c"]


def test_c8_an_absolute_path_comes_back_to_where_it_was_also_from_an_old_archive(pipeline, tmp_path):
    home = tmp_path / "home-cache"
    (home / "x").mkdir(parents=True)
    (home / "x" / "f").write_text("F")
    pipeline.put("site/site.tar.gz", s3cache(pipeline.workspace, str(home)))
    for path in (home / "x" / "f", home / "x", home):
        path.unlink() if path.is_file() else path.rmdir()

    done = pipeline.restore(cache=[str(home)])

    assert (done.code, (home / "x" / "f").read_text(), pipeline.tree()) == (0, "F", {})


def test_c9_a_cached_file_is_restored_and_a_miss_stops_nobody(pipeline):
    pipeline.write({"one.txt": "1", "b/2": "2"})
    for path in ("one.txt", "b"):
        pipeline.put(f"site/{path}.tar.gz", s3cache(pipeline.workspace, path))
    pipeline.next_build()

    done = pipeline.restore(cache=["a-miss", "one.txt", "b"])

    assert (done.code, pipeline.contents()) == (0, {"one.txt": b"1", "b/2": b"2"})
    assert not (pipeline.workspace / "a-miss").exists()


def test_c10_the_output_says_what_was_done_in_a_line(pipeline):
    pipeline.write(FILES)

    rebuilt = pipeline.rebuild().err
    pipeline.next_build()
    restored = pipeline.restore().err

    assert re.fullmatch(r"cached octo/site/main: 2 files, 101 B: 1 chunk \(\d+ B\) sent\n", rebuilt)
    assert re.fullmatch(
        r"found octo/site/main: 2 files, 101 B, made .* ago\n"
        r"restored octo/site/main: 2 files, 101 B: 1 chunk \(\d+ B\) fetched for 2 files\n",
        restored,
    )


# --- drone-volume-cache ------------------------------------------------------------------------


def test_w1_no_path_at_all_is_a_settings_error(pipeline):
    done = pipeline.restore(cache=None, mount="")

    assert (done.code, done.requests) == (2, [])
    assert "cache is missing" in done.err


def test_w2_no_cache_comes_before_anything_else(pipeline):
    done = pipeline.on({"DRONE_COMMIT_MESSAGE": "[NO CACHE] [CLEAR CACHE]"}).restore()

    assert (done.code, done.requests) == (0, [])


def test_w3_the_number_of_a_matrix_job_is_no_part_of_the_key_unless_asked(pipeline):
    pipeline.on({"DRONE_JOB_NUMBER": "1"}).cached()

    assert "restored octo/site/main" in pipeline.on({"DRONE_JOB_NUMBER": "2"}).restore().err


def test_w4_cache_key_is_text_and_names_of_variables_are_written_as_templates(pipeline):
    pipeline.write(FILES)

    literal = json.loads(pipeline.rebuild(cache_key="DRONE_BUILD_EVENT", json=True).out)
    meant = json.loads(pipeline.rebuild(cache_key="{{ .Build.Event }}", json=True).out)

    assert literal["cache"]["name"] == "octo/site/main DRONE_BUILD_EVENT"
    assert meant["cache"]["name"] == "octo/site/main push"


def test_w5_a_file_named_cache_key_is_not_read_but_its_checksum_can_be_the_key(pipeline):
    pipeline.write({**FILES, ".cache_key": "secret name\n"})

    plain = json.loads(pipeline.rebuild(json=True).out)
    asked = json.loads(pipeline.rebuild(cache_key='{{ checksum ".cache_key" }}', json=True).out)

    assert plain["cache"]["name"] == "octo/site/main"
    assert asked["cache"]["name"] == f"octo/site/main {md5('secret name' + chr(10))}"


def test_w6_both_flags_are_an_error_and_neither_is_a_message(pipeline):
    both, neither = pipeline.run(restore=True, rebuild=True), pipeline.run()

    assert (both.code, neither.code, both.requests + neither.requests) == (2, 0, [])
    assert "neither restore nor rebuild is true: nothing to do" in neither.err


def test_w7_what_is_gone_from_the_workspace_is_gone_from_the_next_cache(pipeline):
    pipeline = pipeline.on(cache=["vendor", "tmp"])
    pipeline.write({**FILES, "tmp/t": "T"})
    pipeline.rebuild()
    (pipeline.workspace / "tmp" / "t").unlink()
    (pipeline.workspace / "tmp").rmdir()
    (pipeline.workspace / "vendor" / "a").unlink()

    done = pipeline.rebuild()
    pipeline.next_build()
    pipeline.restore()

    assert "warning: tmp does not exist: it is not cached" in done.err
    assert list(pipeline.contents()) == ["vendor/b/c"]


def test_w8_clear_cache_clears_every_key_of_the_repository(pipeline):
    for key in ("one", "two"):
        pipeline.on(cache_key=key).cached()

    pipeline.on({"DRONE_COMMIT_MESSAGE": "[CLEAR CACHE]"}, cache_key="one").restore()

    assert pipeline.manifests() == []


@pytest.mark.parametrize(
    ("text", "days"), [("7", 7), ("7d", 7), ("36h", 1.5), ("0", 0), ("1w", 7)], ids=lambda value: f"{value}"
)
def test_w9_ttl_counts_days_and_knows_other_units(pipeline, text, days):
    environment = pipeline.step.environment(pipeline.settings | {"rebuild": True, "ttl": text}, **pipeline.build)
    assert plugin_settings(environment).ttl == days * 86400


def test_w10_files_that_are_in_no_cache_stay(pipeline):
    pipeline.cached()
    pipeline.write({"vendor/mine": "m", "vendor/a": "changed"})

    pipeline.restore()

    assert pipeline.contents() == {"vendor/a": b"A", "vendor/b/c": b"C", "vendor/mine": b"m"}
