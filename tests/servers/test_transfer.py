"""``s3batch sync s3://A s3://B``: on one server, between two, with deletes, changes and kills."""

from __future__ import annotations

import os

import pytest

from tests.rig import buckets

MIB = 1 << 20


@pytest.fixture
def two_buckets(make_bucket):
    """A source and a target on the server of this run."""
    return make_bucket(), make_bucket()


@pytest.fixture
def far_target(server_named, server):
    """A bucket on another server, and the flags with which the source is reached from there."""
    other = server_named("moto" if server.name != "moto" else "ministack")
    bucket = buckets.make_bucket(other)
    flags = [
        "--endpoint-url", other.url, "--source-endpoint-url", server.url, "--source-access-key", server.access_key,
        "--source-secret-key", server.secret_key, "--source-region", server.region,
    ]  # fmt: skip
    yield bucket, flags
    buckets.remove_bucket(bucket)


def fill(bucket, prefix: str = "in/") -> dict[str, bytes]:
    """Store a small tree; return its content by path."""
    found = {"a.txt": b"a", "sub/b.bin": os.urandom(70_000), "c d/ü&+.txt": b"odd", "empty": b"", "dir/": b""}
    for path, body in found.items():
        bucket.put(f"{prefix}{path}", body, ContentType="text/x-odd", Metadata={"colour": "blue"}, Tagging="k=v")
    bucket.put(f"{prefix}.s3batch/manifest", b"not yours")
    return found


def test_one_server_copies_what_differs_and_nothing_else(run_cli, two_buckets):
    source, target = two_buckets
    tree = fill(source)
    target.put("out/a.txt", b"b")
    target.put("out/orphan", b"x")
    words = ["sync", source.url("in"), target.url("out"), "--json"]

    first = run_cli([*words, "--delete"])
    again = run_cli([*words, "--delete"])
    fresh = run_cli([*words, "--delete", "--journal", "other.db"])

    assert first.code == 0, first.stderr
    assert target.contents("out/") == {f"out/{path}": body for path, body in tree.items()}
    head = target.head("out/sub/b.bin")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-odd", {"colour": "blue"})
    tags = target.client.get_object_tagging(Bucket=target.name, Key="out/sub/b.bin")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}]
    assert first.json["operations"]["transfer"]["done"] == len(tree)
    assert first.json["operations"]["delete"]["done"] == 1
    assert first.json["requests"].get("GetObject", 0) == first.json["requests"].get("PutObject", 0) == 0
    for run in (again, fresh):
        assert run.code == 0, run.stderr
        assert (run.json["unchanged"], run.json["sent_now"]) == (len(tree), 0)
        assert run.json["requests"].get("CopyObject", 0) == 0
    assert again.json["requests"].get("HeadObject", 0) == 0


def test_between_two_servers_objects_are_streamed(run_cli, make_bucket, far_target):
    source, (target, flags) = make_bucket(), far_target
    tree = fill(source) | {"big.bin": os.urandom(12 * MIB)}
    source.put("in/big.bin", tree["big.bin"])
    words = ["sync", source.url("in"), target.url("out"), *flags, "--json", "--delete"]

    first = run_cli([*words, "--multipart-threshold", "8MiB", "--part-size", "5MiB"])
    again = run_cli(words)

    assert first.code == 0, first.stderr
    assert target.contents("out/") == {f"out/{path}": body for path, body in tree.items()}
    assert target.head("out/sub/b.bin")["Metadata"] == {"colour": "blue"}
    tags = target.client.get_object_tagging(Bucket=target.name, Key="out/sub/b.bin")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}]
    assert (first.json["requests"]["UploadPart"], first.json["requests"].get("CopyObject", 0)) == (3, 0)
    assert (again.code, again.json["unchanged"], again.json["sent_now"]) == (0, len(tree), 0)


def test_a_dry_run_and_filters(run_cli, two_buckets):
    source, target = two_buckets
    fill(source)
    words = ["sync", source.url("in/"), target.url("out/"), "--exclude", "sub/"]

    plan = run_cli([*words, "--dry-run"])
    before = target.keys()
    run = run_cli(words)

    assert (plan.code, before) == (0, set())
    assert sorted(line.split()[0] for line in plan.stdout.splitlines()) == ["transfer"] * 4
    assert run.code == 0, run.stderr
    assert target.keys() == {"out/a.txt", "out/c d/ü&+.txt", "out/empty", "out/dir/"}


@pytest.mark.parametrize(
    ("source", "target", "more", "words"),
    [
        ("s3://b/x", "s3://b/x/", [], "the same place"),
        ("s3://b/x", "s3://b/x/y", [], "inside the source"),
        ("s3://b/x/y", "s3://b/x", ["--delete"], "inside the target"),
        ("s3://b/x", "s3://c/x", ["--gzip", "*.html"], "gzip"),
    ],
)
def test_bad_places_are_refused_before_any_request(run_cli, env, source, target, more, words):
    nowhere = env | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    run = run_cli(["sync", source, target, *more], env=nowhere)

    assert run.code == 2
    assert words in run.stderr


def test_an_empty_source_deletes_nothing(run_cli, two_buckets):
    source, target = two_buckets
    target.put("out/kept", b"x")

    run = run_cli(["sync", source.url("in"), target.url("out"), "--delete"])

    assert run.code == 1
    assert "holds no" in run.stderr
    assert target.keys() == {"out/kept"}
