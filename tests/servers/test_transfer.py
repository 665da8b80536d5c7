"""``s3batch sync s3://A s3://B``: on one server, between two, with deletes, changes and kills."""

from __future__ import annotations

import io
import json
import os
from functools import partial
from typing import Any

import pytest

from s3batch.cli import main
from s3batch.coordinator.multipart import COPIES_STAY, TransferSizes
from tests.rig import buckets
from tests.rig.faults import Refuse
from tests.rig.servers import Quirk

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
    folder = {"dir/": b""} if bucket.server.name != "rclone" else {}  # which makes a file of it
    found = {"a.txt": b"a", "sub/b.bin": os.urandom(70_000), "c d/ü&+.txt": b"odd", "empty": b"", **folder}
    for path, body in found.items():
        bucket.put(f"{prefix}{path}", body, ContentType="text/x-odd", Metadata={"colour": "blue"}, Tagging="k=v")
    bucket.put(f"{prefix}.s3batch/manifest", b"not yours")
    return found


def has_attributes(source, target, key: str) -> None:
    """Assert that an object has what :func:`fill` gave its source, as far as the servers keep it."""
    head = target.head(key)
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    assert (head["ContentType"], metadata.get("colour")) == ("text/x-odd", "blue")
    if not (source.server.has(Quirk.TAGS_LOST) or target.server.has(Quirk.TAGS_LOST)):
        tags = target.client.get_object_tagging(Bucket=target.name, Key=key)["TagSet"]
        assert tags == [{"Key": "k", "Value": "v"}]


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
    has_attributes(source, target, "out/sub/b.bin")
    assert first.json["operations"]["transfer"]["done"] == len(tree)
    assert first.json["operations"]["delete"]["done"] == 1
    assert sum(first.json["proved"].values()) == len(tree)
    assert first.json["requests"].get("GetObject", 0) == 0
    assert first.json["requests"]["PutObject"] <= 3  # a worker probes what a copy keeps, and a folder is written
    for run in (again, fresh):
        assert run.code == 0, run.stderr
        assert (run.json["unchanged"], run.json["sent_now"]) == (len(tree), 0)
        assert run.json["requests"].get("CopyObject", 0) == 0
    assert again.json["requests"].get("HeadObject", 0) == 0
    assert again.json["requests"]["ListObjectsV2"] == 2


def test_between_two_servers_objects_are_streamed(run_cli, make_bucket, far_target):
    source, (target, flags) = make_bucket(), far_target
    tree = fill(source) | {"big.bin": os.urandom(12 * MIB)}
    source.put("in/big.bin", tree["big.bin"])
    words = ["sync", source.url("in"), target.url("out"), *flags, "--json", "--delete"]

    first = run_cli([*words, "--multipart-threshold", "8MiB", "--part-size", "5MiB"])
    again = run_cli(words)

    assert first.code == 0, first.stderr
    assert target.contents("out/") == {f"out/{path}": body for path, body in tree.items()}
    has_attributes(source, target, "out/sub/b.bin")
    assert (first.json["requests"]["UploadPart"], first.json["requests"].get("CopyObject", 0)) == (3, 0)
    assert sum(first.json["proved"].values()) == len(tree)
    assert first.json["proved"]["etag"] + first.json["proved"]["checksum"] >= len(tree) - 1
    assert (again.code, again.json["unchanged"], again.json["sent_now"]) == (0, len(tree), 0)


def test_a_dry_run_and_filters(run_cli, two_buckets):
    source, target = two_buckets
    tree = fill(source)
    words = ["sync", source.url("in/"), target.url("out/"), "--exclude", "sub/"]

    plan = run_cli([*words, "--dry-run"])
    before = target.keys()
    run = run_cli(words)

    assert (plan.code, before) == (0, set())
    assert sorted(line.split()[0] for line in plan.stdout.splitlines()) == ["transfer"] * (len(tree) - 1)
    assert run.code == 0, run.stderr
    assert target.keys() == {f"out/{path}" for path in tree if not path.startswith("sub/")}


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


def test_a_source_that_is_one_object_is_told(run_cli, two_buckets):
    source, target = two_buckets
    source.put("in/a", b"1")
    target.put("out/b", b"2")

    ended = run_cli(["sync", source.url("in/a"), target.url("out"), "--delete", "--allow-empty-source"])

    assert (ended.code, target.keys()) == (1, {"out/b"})
    assert f"{source.url('in/a')} is one object" in ended.stderr
    assert f"write the source {source.url('in')} with --files-from, and a in its list" in ended.stderr


def test_an_empty_source_deletes_nothing(run_cli, two_buckets):
    source, target = two_buckets
    target.put("out/kept", b"x")

    run = run_cli(["sync", source.url("in"), target.url("out"), "--delete"])

    assert run.code == 1
    assert "holds no" in run.stderr
    assert target.keys() == {"out/kept"}


@pytest.mark.parametrize("status", [(403, "AccessDenied"), (405, "MethodNotAllowed"), (501, "NotImplemented")], ids=str)
def test_where_copies_are_refused_objects_are_streamed(run_cli, two_buckets, proxy, env, status):
    source, target = two_buckets
    tree = fill(source) | {"big.bin": os.urandom(12 * MIB)}
    source.put("in/big.bin", tree["big.bin"])
    proxy.on("CopyObject", Refuse(*status))
    words = [
        "sync",
        source.url("in"),
        target.url("out"),
        "--json",
        "--part-size",
        "5MiB",
        "--multipart-threshold",
        "8MiB",
    ]

    run = run_cli(words, env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert run.code == 0, run.stderr
    assert target.contents("out/") == {f"out/{path}": body for path, body in tree.items()}
    has_attributes(source, target, "out/a.txt")
    assert (run.json["operations"]["transfer"]["done"], run.json["requests"]["UploadPart"]) == (len(tree), 3)
    assert sum("streamed through s3batch" in each for each in run.json["warnings"]) == 1
    assert (run.json["proved"]["size"], sum("only the size" in each for each in run.json["warnings"])) == (0, 0)


@pytest.mark.parametrize("denied", ["in/1.bin", "in/4.bin"], ids=["first", "last"])
@pytest.mark.parametrize("writable", [True, False], ids=["streamed", "failed"])
def test_a_copy_that_lacks_a_permission_has_the_same_outcome_in_any_order(
    run_cli, two_buckets, proxy, env, denied, writable
):
    source, target = two_buckets
    tree = {f"{number}.bin": os.urandom(2 * MIB) for number in range(1, 5)}
    for path, body in tree.items():
        source.put(f"in/{path}", body)
    name = denied.removeprefix("in/")
    proxy.on("CopyObject", Refuse(403, "AccessDenied"), key=f"^out/{name}")
    if not writable:
        proxy.on("PutObject", Refuse(403, "AccessDenied"), key=f"^out/{name}")
    words = ["sync", source.url("in"), target.url("out"), "--json", "--max-concurrency", "1"]

    run = run_cli(words, env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert run.code == (0 if writable else 1), run.stderr
    come = {path: body for path, body in tree.items() if writable or path != name}
    assert target.contents("out/") == {f"out/{path}": body for path, body in come.items()}
    asked = [
        request.key for request in proxy.requests if request.operation == "CopyObject" and "probe" not in request.key
    ]
    assert sorted(asked) == [f"out/{path}" for path in tree]
    assert sum("where their copies are refused" in each for each in run.json["warnings"]) == 1
    assert [failure["path"] for failure in run.json["failures"]] == ([] if writable else [name])


def test_an_object_that_changes_is_begun_anew_then_given_up(run_cli, two_buckets, proxy, env):
    source, target = two_buckets
    source.put("in/a", b"a")
    env = env | {"AWS_ENDPOINT_URL": proxy.url}
    words = ["sync", source.url("in"), target.url("out"), "--json", "--retries", "3"]
    rule = proxy.on("CopyObject", Refuse(412, "PreconditionFailed"), times=2)

    patient = run_cli(words, env=env)
    source.put("in/b", b"b")
    rule.times, rule.applied = None, 0
    given_up = run_cli(words, env=env)

    assert patient.code == 0, patient.stderr
    assert target.get("out/a") == b"a"
    assert given_up.code == 1
    (failure,) = given_up.json["failures"]
    assert (failure["path"], failure["code"]) == ("b", "Changed")
    assert "3 times" in failure["error"]


def test_large_objects_are_copied_in_parts_that_count_when_resumed(
    clean_env, server, two_buckets, proxy, tmp_path, monkeypatch
):
    """A store that only seems to copy parts gets them streamed, so no part counts before the first failure."""
    source, target = two_buckets
    body = os.urandom(17 * MIB)
    source.put("in/big.bin", body, ContentType="text/x-odd", Tagging="k=v")
    monkeypatch.setattr("s3batch.commands.sync.job.TransferSizes", partial(TransferSizes, copy_limit=5 * MIB))
    env = clean_env | server.environment() | {"AWS_ENDPOINT_URL": proxy.url}
    words = ["sync", source.url("in"), target.url("out"), "--json", "--copy-part-size", "5MiB", "--executor", "inline"]
    rule = proxy.on("UploadPartCopy", Refuse(500, "InternalError"), skip=2)

    broken, _ = run_in_process([*words, "--retries", "2"], env)
    rule.times = 0
    whole, second = run_in_process([*words, "--retries", "2"], env)

    assert target.get("out/big.bin") == body
    if server.has(Quirk.PART_COPY_EMPTY):
        assert (broken, whole) == (0, 0)
        return
    assert (broken, whole) == (1, 0), second
    assert target.head("out/big.bin")["ContentType"] == "text/x-odd"
    tags = target.client.get_object_tagging(Bucket=target.name, Key="out/big.bin")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}]
    assert (second["requests"]["UploadPartCopy"], second["requests"].get("CreateMultipartUpload", 0)) == (2, 0)
    assert target.uploads() == []


def test_objects_in_parts_keep_tags_that_only_a_get_counts(run_cli, server, far_target, make_bucket):
    """ministack tells the number of tags with a GET, which a small object gets, and not with a HEAD."""
    source, (target, flags) = make_bucket(), far_target
    sizes = {"a": 10, "b": 10, "big.bin": 6 * MIB}
    for path, size in sizes.items():
        source.put(f"in/{path}", os.urandom(size), Tagging="k=v")
    words = ["sync", source.url("in"), target.url("out"), *flags, "--workers", "1", "--max-concurrency", "1"]

    run = run_cli([*words, "--part-size", "5MiB", "--multipart-threshold", "5MiB"])

    assert run.code == 0, run.stderr
    for path in sizes:
        tags = target.client.get_object_tagging(Bucket=target.name, Key=f"out/{path}")["TagSet"]
        assert tags == [{"Key": "k", "Value": "v"}], path


def begin_upload_elsewhere(bucket: buckets.Bucket, key: str, parts: list[bytes], **more: str) -> None:
    """Leave an upload that no journal here knows: of a container that is gone."""
    place = {"Bucket": bucket.name, "Key": key}
    upload = bucket.client.create_multipart_upload(**place, **more)["UploadId"]
    for number, body in enumerate(parts, 1):
        bucket.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)


@pytest.mark.parametrize("same_attributes", [True, False])
def test_an_upload_that_only_the_store_knows_is_gone_on_with(run_cli, two_buckets, proxy, env, same_attributes):
    source, target = two_buckets
    body = os.urandom(17 * MIB)
    source.put("in/big.bin", body, ContentType="text/x-odd")
    parts = [body[: 5 * MIB], b"?" * 5 * MIB, body[10 * MIB : 15 * MIB]]
    begin_upload_elsewhere(
        target, "out/big.bin", parts, ContentType="text/x-odd" if same_attributes else "text/x-other"
    )
    proxy.on("CopyObject", Refuse(501, "NotImplemented"))
    words = ["--json", "--part-size", "5MiB", "--multipart-threshold", "8MiB"]

    run = run_cli(["sync", source.url("in"), target.url("out"), *words], env=env | {"AWS_ENDPOINT_URL": proxy.url})

    assert run.code == 0, run.stderr
    assert target.get("out/big.bin") == body
    assert target.head("out/big.bin")["ContentType"] == "text/x-odd"
    assert target.uploads() == []
    sent = (run.json["requests"]["UploadPart"], run.json["requests"].get("CreateMultipartUpload", 0))
    assert sent == ((2, 0) if same_attributes else (6, 1)), "a part that proves equal is not sent again"


def test_an_unknown_upload_of_an_object_that_is_copied_in_parts_stays_with_a_word(
    clean_env, server, two_buckets, monkeypatch
):
    source, target = two_buckets
    body = os.urandom(11 * MIB)
    source.put("in/big.bin", body)
    begin_upload_elsewhere(target, "out/big.bin", [body[: 5 * MIB]])
    monkeypatch.setattr("s3batch.commands.sync.job.TransferSizes", partial(TransferSizes, copy_limit=5 * MIB))
    words = ["sync", source.url("in"), target.url("out"), "--json", "--copy-part-size", "5MiB", "--executor", "inline"]

    code, document = run_in_process(words, clean_env | server.environment())

    assert (code, document["warnings"]) == (0, [COPIES_STAY])
    assert target.get("out/big.bin") == body
    assert len(target.uploads()) == 1


def run_in_process(arguments: list[str], environment: dict[str, str]) -> tuple[int, Any]:
    out, err = io.StringIO(), io.StringIO()
    code = main(arguments, environment, out, err)
    return code, json.loads(out.getvalue())


def test_verify_names_each_difference_and_reads_where_nothing_tells(run_cli, two_buckets):
    source, target = two_buckets
    tree = fill(source)
    body = os.urandom(11 * MIB)
    source.put("in/parts", body)
    send_in_parts(target, "out/parts", body, 5 * MIB)
    words = ["verify", source.url("in"), target.url("out"), "--json"]
    run_cli(["sync", source.url("in"), target.url("out"), "--exclude", "/parts"])

    equal = run_cli(words)
    target.put("out/a.txt", b"b", ContentType="text/x-odd", Metadata={"colour": "blue"}, Tagging="k=v")
    target.put("out/extra", b"")
    target.client.delete_object(Bucket=target.name, Key="out/sub/b.bin")
    send_in_parts(target, "out/parts", body[:-1] + b"!", 5 * MIB)
    differs = run_cli(words)

    assert (equal.code, equal.json["differences"]) == (0, []), equal.stderr
    assert equal.json["files"] == len(tree) + 1
    assert differs.code == 1
    assert {(each["what"], each["key"]) for each in differs.json["differences"]} == {
        ("different", "out/a.txt"), ("extra", "out/extra"), ("missing", "out/sub/b.bin"), ("different", "out/parts"),
    }  # fmt: skip


def send_in_parts(bucket: buckets.Bucket, key: str, body: bytes, size: int) -> None:
    place = {"Bucket": bucket.name, "Key": key}
    upload = bucket.client.create_multipart_upload(**place)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": bucket.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body[at : at + size])[
                "ETag"
            ],
        }
        for number, at in enumerate(range(0, len(body), size), start=1)
    ]
    bucket.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})


def test_doctor_looks_at_the_source_too(run_cli, two_buckets, proxy, env):
    source, target = two_buckets
    source.put("in/a", b"a")
    words = ["doctor", source.url("in"), target.url("out"), "--json"]

    well = run_cli(words)
    proxy.on("CopyObject", Refuse(403, "AccessDenied"))
    refused = run_cli(words, env=env | {"AWS_ENDPOINT_URL": proxy.url})
    missing = run_cli(["doctor", "s3://no-such-bucket-here/in", target.url("out")])

    rows = {row["needed_for"]: row["outcome"] for row in well.json["checks"]}
    assert well.code == 0, well.stderr
    assert {rows[name] for name in ("list the source", "read the source", "copy on the server")} == {"allowed"}
    (row,) = [row for row in refused.json["checks"] if row["needed_for"] == "copy on the server"]
    assert (row["outcome"], row["needed"]) == ("refused", False)
    assert missing.code == 4
    assert target.keys() == set()


def test_an_archived_object_is_named_and_the_others_go_on(run_cli, server_named, clean_env):
    moto = server_named("moto")
    source, target = buckets.make_bucket(moto), buckets.make_bucket(moto)
    source.put("in/cold", b"x", StorageClass="GLACIER")
    source.put("in/warm", b"y")

    run = run_cli(["sync", source.url("in"), target.url("out"), "--json"], env=clean_env | moto.environment())

    (failure,) = run.json["failures"]
    assert run.code == 1
    assert (failure["path"], failure["code"]) == ("cold", "InvalidObjectState")
    assert "archived; restore it first" in failure["error"]
    assert (target.keys(), run.json["warnings"]) == ({"out/warm"}, [])
    for bucket in (source, target):
        buckets.remove_bucket(bucket)
