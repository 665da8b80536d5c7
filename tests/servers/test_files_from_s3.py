"""``--files-from`` of a source in S3: the listed keys alone, each looked at by HEAD, and also after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig import buckets
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Stored

EMPTY = '"d41d8cd98f00b204e9800998ecf8427e"'
MANY = {f"d/{number:03}.txt": b"%d" % number for number in range(120)}


@pytest.fixture
def scene(bucket, run_cli, env, tmp_path):
    """A prefix, a way to sync a list of it in a direction, and what the target holds then."""
    bucket.put("in/a", b"a")
    bucket.put("in/a b", b"y")
    bucket.put("in/d/1.txt", b"1")
    bucket.put("in/other", b"x")

    def run(direction: str, listed: str, *flags: str | Path, command: str = "sync", crash: str = ""):
        (tmp_path / "list").write_text(listed)
        words = [command, bucket.url("in"), target_of(direction, bucket, tmp_path), "--json", *flags]
        named = ["--files-from", tmp_path / "list"] if "\0" not in listed else ["--files-from0", tmp_path / "list"]
        return run_cli([*words, *named], env={**env, "S3BATCH_TEST_CRASH_AT": crash})

    return run, bucket, tmp_path


def target_of(direction: str, bucket: buckets.Bucket, tmp_path: Path) -> str:
    return str(tmp_path / "site") if direction == "download" else bucket.url("out")


def held(direction: str, bucket: buckets.Bucket, tmp_path: Path) -> dict[str, bytes]:
    if direction == "download":
        root = tmp_path / "site"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {key.removeprefix("out/"): body for key, body in bucket.contents("out/").items()}


both = pytest.mark.parametrize("direction", ["download", "transfer"])


@both
def test_only_the_keys_of_the_list_are_taken_and_nothing_is_listed(scene, direction):
    run, bucket, tmp_path = scene

    first = run(direction, "d/1.txt\r\na\n\nd/1.txt\na b\n")
    again = run(direction, "d/1.txt\0a\0a b\0")
    bucket.put("in/a", b"changed")
    changed = run(direction, "a\na b\n")

    done = [each.json["operations"].get(direction, {"done": 0})["done"] for each in (first, again, changed)]
    assert [each.code for each in (first, again, changed)] == [0, 0, 0], first.stderr + again.stderr + changed.stderr
    assert done == [3, 0, 1]
    assert (first.json["files"], again.json["unchanged"]) == (3, 3)
    assert held(direction, bucket, tmp_path) == {"d/1.txt": b"1", "a": b"changed", "a b": b"y"}
    assert not [name for each in (first, again, changed) for name in each.json["requests"] if "List" in name]


@both
def test_a_key_is_taken_as_it_is_written(direction, tmp_path, run_cli, env):
    named = ["a//b", "./x", "e/", "s ", "y/./z"]
    with FakeS3() as fake:
        fake.objects["b"] = {f"in/{name}": Stored(b"", EMPTY) for name in ["a/b", "x", "e", "y/z", *named]}
        (tmp_path / "list").write_text("\n".join(named))
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
        target = str(tmp_path / "site") if direction == "download" else "s3://b/out"

        done = run_cli(["sync", "s3://b/in", target, "--json", "--files-from", tmp_path / "list"], env={**env, **keys})

        found = {key.removeprefix("out/") for key in fake.objects["b"] if key.startswith("out/")}
    if direction == "transfer":
        assert (done.code, found) == (0, set(named)), done.stderr
    else:  # names that are no path are refused for their key alone
        assert done.code == 1
        assert {each["path"] for each in done.json["failures"]} == {"a//b", "./x", "y/./z"}
        assert {path.name for path in (tmp_path / "site").iterdir()} - {".s3batch"} == {"s ", "e"}


@both
def test_a_key_that_is_missing_is_named_and_the_others_go_on(scene, direction):
    run, bucket, tmp_path = scene

    done = run(direction, "gone\nd\na\n")
    hidden = run(direction, "a\na b\n", "--exclude", "* b")
    none = run(direction, "\n", "--fail-on", "empty")

    assert done.code == 1
    words = "it does not exist in the source, and the list names it"
    assert {(each["path"], each["error"]) for each in done.json["failures"]} == {("gone", words), ("d", words)}
    assert held(direction, bucket, tmp_path) == {"a": b"a"}
    assert hidden.json["warnings"] == ["1 path that files_from names is hidden by filters: a b"]
    assert (none.code, none.json["warnings"]) == (1, ["files_from names no file that the job takes"])


@both
def test_a_resume_has_the_list_though_its_file_is_gone(scene, run_cli, direction):
    run, bucket, tmp_path = scene
    for path, body in MANY.items():
        bucket.put(f"in/{path}", body)
    listed = sorted(MANY)[:90]

    killed = run(direction, "\n".join([*listed, "gone"]), "--workers", "1", crash="settled:2")
    (tmp_path / "list").unlink()
    (tmp_path / "elsewhere").mkdir()
    resumed = run_cli(["resume", "--json"], cwd=tmp_path / "elsewhere")

    assert killed.code < 0
    assert (resumed.code, [each["path"] for each in resumed.json["failures"]]) == (1, ["gone"]), resumed.stderr
    assert held(direction, bucket, tmp_path) == {path: MANY[path] for path in listed}


@both
def test_dry_run_and_verify_are_about_the_list_alone(scene, direction):
    run, bucket, tmp_path = scene
    assert run(direction, "a\na b\n").code == 0
    bucket.put("in/a", b"A")

    planned = run(direction, "a\na b\nd/1.txt\n", "--dry-run")
    verified = run(direction, "a\na b\n", command="verify")

    assert {(each["operation"], each["key"].split("/", 1)[1]) for each in planned.json["plan"]} == {
        (direction, "a"), (direction, "d/1.txt"),
    }  # fmt: skip
    assert verified.code == 1
    assert [(each["what"], each["key"].split("/", 1)[1]) for each in verified.json["differences"]] == [
        ("different", "a")
    ]
    assert held(direction, bucket, tmp_path) == {"a": b"a", "a b": b"y"}


@both
def test_a_plan_of_a_list_has_its_keys_only_and_is_carried_out_as_it_is(scene, run_cli, direction):
    run, bucket, tmp_path = scene
    assert run(direction, "a\n").code == 0
    bucket.put("in/a", b"A")
    plan = tmp_path / "release.plan"

    planned = run(direction, "a\na b\nd/1.txt\n", "--plan", plan)
    shown = run_cli(["plan", plan, "--json"])
    (tmp_path / "list").unlink()
    bucket.put("in/d/1.txt", b"theirs")
    applied = run_cli(["apply", plan, "--json"])

    assert planned.code == 0, planned.stderr
    assert sorted((each["operation"], each["key"].split("/", 1)[1], each["reason"]) for each in shown.json["plan"]) == [
        (direction, "a", "content"), (direction, "a b", "missing"), (direction, "d/1.txt", "missing"),
    ]  # fmt: skip
    assert applied.code == 1
    assert [(each["path"], each["code"]) for each in applied.json["failures"]] == [("d/1.txt", "Drifted")]
    assert held(direction, bucket, tmp_path) == {"a": b"A", "a b": b"y"}
    assert not [name for each in (planned, applied) for name in each.json["requests"] if name == "ListObjectsV2"]


@both
@pytest.mark.parametrize(("listed", "flags", "words"), [
    ("a\n", ["--delete"], "delete cannot be 'true' (from --delete)"),
    ("../x\n", [], "write paths relative to the source"),
])  # fmt: skip
def test_bad_input_is_exit_code_2(scene, direction, listed, flags, words):
    run, *_ = scene

    done = run(direction, listed, *flags)

    assert (done.code, words in done.stderr) == (2, True), done.stderr


def test_a_stream_has_no_list(scene, run_cli):
    _, bucket, _ = scene
    refused = run_cli(["sync", bucket.url("in/a"), "-", "--files-from", "list"])
    assert (refused.code, "a stream has no files" in refused.stderr) == (2, True)
