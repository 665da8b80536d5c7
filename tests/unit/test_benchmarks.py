"""The benchmarks: the page is made from the stored results, and every row can be judged."""

from __future__ import annotations

import base64
import hashlib
import shutil
import urllib.request
from contextlib import nullcontext

import pytest
from awscrt import checksums

from scripts.benchmarks import sinks
from scripts.benchmarks.__main__ import BENCHES, PAGE
from scripts.benchmarks.calibration import calibrate, describe
from scripts.benchmarks.hashes import describe as describe_hashes
from scripts.benchmarks.judging import Goal, judge_goal, render_sides
from scripts.benchmarks.page import find_unexplained, make_page
from scripts.benchmarks.results import describe_python, load_results
from scripts.benchmarks.row import Row
from scripts.benchmarks.rows import ROWS
from scripts.benchmarks.scene import Place, Side
from scripts.benchmarks.trees import make_content, make_sink_environment, make_tree
from tests.rig.faults import Request

RESULTS = load_results()


def run(wall, cpu=1.0, memory=50 << 20):
    return {"wall": wall, "cpu": cpu, "memory": memory}


def data(*sides, files=1000):
    """Return what a row measured, from the runs of each side."""
    return {
        "files": files,
        "sides": {
            f"side {n}": {"proves": "", "missing": "not installed", "runs": runs} for n, runs in enumerate(sides)
        },
    }


def test_the_page_is_made_from_the_stored_results():
    assert PAGE.read_text() == make_page(BENCHES, RESULTS)


def test_every_row_has_a_goal_or_a_reason_and_a_name_of_its_own():
    assert len({bench.name for bench in BENCHES}) == len(BENCHES)
    assert [row.name for row in ROWS if bool(row.goals) == bool(row.reason)] == []


def test_every_side_tells_what_it_proves_or_is_an_upload_that_is_watched():
    watched = {row.name for row in ROWS for side in row.sides if not side.proves}

    assert watched == {"runner-one", "small", "latency", "tls", "medium", "large", "million-new"}


def test_every_stored_result_belongs_to_a_row_and_every_missed_goal_is_explained():
    assert RESULTS.keys() <= {bench.name for bench in BENCHES}
    assert find_unexplained(BENCHES, RESULTS) == []


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_a_quick_round_is_smaller(bench):
    assert bench.divide(10) != bench or bench.files == bench.size == 1


RATIOS = [
    # the medians of 0.2, 0.5 and 0.3: ratios are of one round, not of medians
    (Goal("wall", 0.3), [[run(2), run(5), run(3)], [run(10), run(10), run(10)]], "wall / peer 0.30, goal ≤ 0.30", True),
    (Goal("cpu", 0.3), [[run(1, 4)], [run(1, 10)]], "CPU / peer 0.40, goal ≤ 0.30", False),
    (Goal("memory ratio", 1.2), [[run(1)], [run(1)]], "memory / peer 1.00, goal ≤ 1.20", True),
    (Goal("speed-up", 7), [[run(10)], [run(69)]], "times as fast 6.9, goal ≥ 7.0", False),
    (Goal("cpu seconds", 0.2), [[run(1, 0.19)], []], "CPU s 0.19, goal ≤ 0.20", True),
    (Goal("memory", 60), [[run(1), run(1, memory=61 << 20)]], "MiB 61, goal ≤ 60", False),
    (Goal("cores", 1.5), [[run(10, 16)]], "cores busy 1.60, goal ≥ 1.50", True),
    (Goal("wall", 0.3), [[run(1)], []], "wall / peer ≤ 0.30", None),
]


@pytest.mark.parametrize(("goal", "sides", "text", "is_met"), RATIOS)
def test_a_goal_is_judged_by_the_rounds(goal, sides, text, is_met):
    verdict = judge_goal(goal, data(*sides))

    assert (verdict.text, verdict.is_met) == (text, is_met)


def test_a_missing_peer_is_named_and_every_line_has_the_columns_of_the_head():
    lines = render_sides(data([run(2)], []))

    assert {line.count("|") for line in lines} == {9}
    assert "not installed" in lines[-1]
    assert {line.count("|") for line in render_sides(data([run(2)]))} == {7}


def test_a_row_without_a_reason_for_its_gap_is_found():
    [row] = [row for row in ROWS if row.name == "small"]
    missed = {"data": data([run(9)], [run(1)])}

    assert find_unexplained([row], {"small": missed}) == ["small"]
    assert find_unexplained([row], {"small": missed | {"note": "The disk is slow."}}) == []
    assert find_unexplained([row], {"small": {"data": data([run(9)], [])}}) == []


@pytest.mark.parametrize(
    ("configured", "text"),
    [
        ("'--enable-optimizations' '--with-lto'", "with PGO and with LTO"),
        ("'--enable-shared'", "without PGO and without LTO"),
    ],
)
def test_the_build_of_python_is_named(configured, text):
    assert describe_python("3.11.2", configured) == f"Python 3.11.2, configured {text}"


def test_the_fixed_loops_tell_of_load():
    assert calibrate(steps=10, mebibytes=1).keys() == {"Python", "SHA-256"}
    assert describe({"Python": [1.0, 0.5]}, {"Python": [3.0, 0.5]}) == (
        "Fixed loops before and after: Python 0.50 and 0.50 s of CPU, wall 4.0 times as long."
    )


def test_hashes_are_those_seen_in_requests():
    headers = {"x-amz-content-sha256": "ab" * 32, "content-md5": "x", "x-amz-checksum-crc64nvme": "y"}

    assert describe_hashes([Request("PutObject", "PUT", "b", "k", {}, headers)]) == "SHA-256 signed + MD5 + CRC64NVME"


def test_files_that_are_alike_are_what_the_null_server_gives(tmp_path):
    tree = make_tree(3, 100, tmp_path, is_alike=True)
    told = make_sink_environment(100, tmp_path)

    assert [file.read_bytes() for file in sorted(tree.glob("*/*"))] == [make_content(100)] * 3
    assert (tmp_path / "content").read_bytes() == make_content(100)
    assert told["SYN_ETAG"] == hashlib.md5(make_content(100)).hexdigest()
    assert make_tree(3, 100, tmp_path, is_alike=True) == tree


def words(*command):
    return lambda scene: [*command, str(scene.directory)]


def test_programs_take_turns_each_in_an_empty_directory_and_a_missing_one_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "run_null_server", lambda directory, **_: nullcontext(sinks.Sink("http://127.0.0.1:1")))
    log = tmp_path / "log"
    note = 'test -z "$(ls "$2" | grep left)" && echo "$0" >>"$1" && touch "$2/left"'
    row = Row(
        name="turns", section="", title="{files} files", files=2, size=3, goals=(Goal("wall", 1),),
        sides=(
            Side("first", words("/bin/sh", "-c", note, "first", str(log)), "all"),
            Side("absent", words(""), "none"),
            Side("last", words("/bin/sh", "-c", note, "last", str(log)), "some"),
        ),
    )  # fmt: skip

    (tmp_path / "scratch").mkdir()
    found = row.measure(2, Place(tmp_path / "trees", tmp_path / "scratch"))

    assert log.read_text().split() == ["first", "last", "last", "first"]
    assert [len(side["runs"]) for side in found["sides"].values()] == [2, 0, 2]
    assert found["sides"]["absent"]["missing"] == "not installed"
    assert [verdict.is_met for verdict in row.judge(found)] == [None]
    assert row.make_title(found) == "2 files"


def test_a_program_that_fails_ends_the_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "run_null_server", lambda directory, **_: nullcontext(sinks.Sink("http://127.0.0.1:1")))
    row = Row(name="fails", section="", title="", files=1, size=1, sides=(Side("one", words("/bin/false"), "none"),))

    with pytest.raises(SystemExit, match="fails: one failed with exit code 1"):
        row.measure(1, Place(tmp_path / "trees", tmp_path))


@pytest.mark.skipif(not shutil.which("gcc"), reason="the null server is compiled with gcc")
def test_the_null_server_gives_what_it_lists_with_a_checksum_that_proves_it(tmp_path):
    size = 40 << 20  # more than the period of its content
    with sinks.run_null_server(tmp_path, content=make_sink_environment(size, tmp_path)) as sink:
        listing = urllib.request.urlopen(f"{sink.url}/syn-3-{size}?list-type=2").read().decode()
        asked = urllib.request.Request(
            f"{sink.url}/syn-3-{size}/d000/f0000001", headers={"x-amz-checksum-mode": "ENABLED"}
        )
        with urllib.request.urlopen(asked) as answer:
            body, told = answer.read(), answer.headers
        asked.add_header("range", f"bytes={(32 << 20) - 5}-{(32 << 20) + 4}")
        across = urllib.request.urlopen(asked).read()
        uploads = urllib.request.urlopen(f"{sink.url}/bench?uploads").read().decode()
        kept = urllib.request.Request(f"{sink.url}/bench/a/.s3batch/x", data=b"kept", method="PUT")
        urllib.request.urlopen(kept).read()
        same, other = (
            urllib.request.urlopen(f"{sink.url}/bench?list-type=2&prefix={prefix}").read() for prefix in ("a/", "b/")
        )

    md5 = hashlib.md5(body).hexdigest()
    assert len(body) == size
    assert listing.count(f"&quot;{md5}&quot;") == 3
    assert told["ETag"] == f'"{md5}"'
    assert base64.b64decode(told["x-amz-checksum-crc64nvme"]) == checksums.crc64nvme(body).to_bytes(8, "big")
    assert across == body[(32 << 20) - 5 : (32 << 20) + 5]
    assert "<ListMultipartUploadsResult" in uploads
    assert (same.count(b"<Key>"), other.count(b"<Key>")) == (1, 0)
