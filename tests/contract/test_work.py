"""What workers do with operations, on every S3 and through both lanes: the worker's own coroutines on a real lane."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from s3batch.executors.worker_loop import WorkerLoop
from s3batch.model import Kind, Operation, Part, Reason, RedirectSpec, Result, Step, Work, read_deleted_spans
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.headers import RemoteAttributes
from s3batch.s3 import checked_upload
from s3batch.s3.checksums import checksum_of
from s3batch.settings.table import Settings
from s3batch.worker.context import Brief
from tests.rig.fake_s3 import Manners, Reply, Seen, error
from tests.rig.servers import Quirk
from tests.rig.stamps import stamp_at

MIB = 1 << 20


@pytest.fixture
def workshop(store, tmp_path):
    """A function that has works done, with some settings, and gives their results."""
    made = []

    def do(*works: Work, endpoint=None, **values) -> list[Result]:
        settings = Settings(bucket=store.settings.bucket, **values)
        rules = AttributeRules.from_settings(settings, str(tmp_path))
        brief = Brief(endpoint=endpoint or store.bucket.endpoint, root=str(tmp_path), rules=rules, limit=8)
        made.append(WorkerLoop(brief))
        if endpoint is None:  # a client of boto3's for each would take most of the time
            made[-1].transport.fallback.send = store.bucket.transport.fallback.send
        return finished(made[-1], works)

    yield do
    for runner in made:
        runner.transport.close()


def finished(runner: WorkerLoop, works: tuple[Work, ...]) -> list[Result]:
    runner.results.clear()
    runner.transport.writes.open(math.inf)  # nobody is there who would say so every moment
    runner.take(list(works))
    while runner.busy:
        runner.turn(1.0)
    return sorted(runner.results, key=lambda result: (result.id, result.part))


def planned(store, path: Path, kind: Kind = Kind.UPLOAD, number: int = 1, **more) -> Operation:
    """The operation for a file."""
    found = stamp_at(path)
    return Operation(kind, store.key(path.name), Reason.MISSING, path.name, found.size, found, id=number, **more)


_LONG_AGO = itertools.count(1_700_000_000)


def file(directory: Path, name: str, body: bytes) -> Path:
    """A file that nobody has touched for long, each time with another mtime."""
    path = directory / name
    path.write_bytes(body)
    os.utime(path, (next(_LONG_AGO),) * 2)
    return path


# --- uploads -------------------------------------------------------------------------------


def test_a_file_is_stored_with_all_that_is_to_be_said_of_it(store, workshop, tmp_path):
    path = file(tmp_path, "page.html", b"<p>hello</p>" * 999)

    (result,) = workshop(
        Work(planned(store, path)), cache_control="max-age=60", metadata='{"colour": "blue"}', content_language="en"
    )
    head = store.bucket.head(store.key("page.html"))
    found = RemoteAttributes.from_headers(head.headers)

    assert (result.error, result.sent, result.warning) == ("", 11988, "")
    assert result.etag == head.headers["etag"].strip('"') == hashlib.md5(path.read_bytes()).hexdigest()
    assert bytes(store.bucket.get(store.key("page.html")).body) == path.read_bytes()
    assert (found.content_type, found.cache_control) == ("text/html; charset=utf-8", "max-age=60")
    assert dict(found.metadata)["colour"] == "blue"


def test_many_files_at_once_all_arrive(store, workshop, tmp_path):
    paths = [file(tmp_path, f"f{n:03d}", b"%d" % n * n) for n in range(60)]

    results = workshop(*(Work(planned(store, path, number=n)) for n, path in enumerate(paths)))
    again = [Work(planned(store, paths[result.id], number=result.id)) for result in results if result.retryable]

    assert {result.error for result in workshop(*again)} <= {""}
    assert [result.error for result in results if not result.retryable].count("") == len(results) - len(again)
    assert store.keys() == [path.name for path in paths]


@pytest.mark.parametrize("name", ["empty", "a b+c%20 ü", "new\nline"])
def test_odd_files_arrive_too(store, workshop, tmp_path, name):
    if name == "new\nline" and store.place == "moto":
        pytest.skip("moto cannot hold this key")
    path = file(tmp_path, name, b"" if name == "empty" else b"x")

    (result,) = workshop(Work(planned(store, path)))

    assert result.error == ""
    assert store.keys() == [name]


def test_what_a_dead_run_has_sent_is_not_sent_again(store, workshop, tmp_path):
    operation = planned(store, file(tmp_path, "f", b"content"))
    workshop(Work(operation))

    (same,) = workshop(Work(operation._replace(recheck=True)))
    (other,) = workshop(Work(planned(store, file(tmp_path, "f", b"CONTENT"), recheck=True)))

    assert (same.error, same.already, same.sent) == ("", True, 0)
    assert (other.error, other.already, other.sent) == ("", False, 7)


def test_a_file_that_changed_is_planned_anew(store, workshop, tmp_path):
    operation = planned(store, file(tmp_path, "f", b"content"))
    file(tmp_path, "f", b"longer content")

    (result,) = workshop(Work(operation))

    assert (result.code, result.retryable) == ("Changed", True)
    assert store.bucket.head(store.key("f")) is None


@pytest.mark.parametrize("checksum", ["auto", "crc32", "crc32c", "sha256", "md5", "none"])
def test_each_checksum_is_taken_or_proved_otherwise(store, workshop, tmp_path, checksum):
    path = file(tmp_path, "f", b"content" * 50)
    with_it = store.open(checksum=checksum).endpoint

    (result,) = workshop(Work(planned(store, path)), endpoint=with_it)

    assert (result.error, result.warning) == ("", "")
    assert bytes(store.bucket.get(store.key("f")).body) == path.read_bytes()


# --- comparing, copying --------------------------------------------------------------------


def test_an_object_that_is_right_is_left_alone(store, workshop, tmp_path):
    operation = planned(store, file(tmp_path, "f.css", b"content"))
    values = {"cache_control": "max-age=60", "metadata": '{"a": "1"}'}
    workshop(Work(operation), **values)

    (result,) = workshop(Work(operation._replace(kind=Kind.RECONCILE)), **values)

    assert (result.error, result.already, result.become) == ("", True, None)


def test_an_object_with_other_content_becomes_an_upload(store, workshop, tmp_path):
    workshop(Work(planned(store, file(tmp_path, "f", b"content"))))
    path = file(tmp_path, "f", b"CONTENT")

    (result,) = workshop(Work(planned(store, path, Kind.RECONCILE)))

    assert (result.error, result.become, result.reason) == ("", Kind.UPLOAD, Reason.CONTENT)


def test_an_object_that_is_missing_becomes_an_upload(store, workshop, tmp_path):
    (result,) = workshop(Work(planned(store, file(tmp_path, "f", b"content"), Kind.RECONCILE)))

    assert (result.error, result.become, result.reason) == ("", Kind.UPLOAD, Reason.MISSING)


def test_an_object_with_other_attributes_is_copied_onto_itself(store, workshop, tmp_path):
    operation = planned(store, file(tmp_path, "f.txt", b"content"))
    workshop(Work(operation), cache_control="max-age=1", content_disposition="attachment")

    (result,) = workshop(Work(operation._replace(kind=Kind.RECONCILE)), cache_control="max-age=2")
    head = store.bucket.head(store.key("f.txt"))
    (again,) = workshop(Work(operation._replace(kind=Kind.RECONCILE)), cache_control="max-age=2")

    assert (result.error, result.become, result.reason) == ("", Kind.COPY, Reason.METADATA)
    assert result.etag == head.headers["etag"].strip('"')
    assert (head.headers["cache-control"], head.headers["content-disposition"]) == ("max-age=2", "attachment")
    assert bytes(store.bucket.get(store.key("f.txt")).body) == b"content"
    assert again.already


def test_an_acl_is_applied_and_compared_where_the_store_has_any(store, workshop, tmp_path):
    if (store.place, store.lane) == ("rclone", "reference"):
        pytest.skip("rclone sends the object for its ACL, which botocore takes for an error of the server")
    operation = planned(store, file(tmp_path, "f", b"content"))
    (sent,) = workshop(Work(operation), acl="public-read")

    (result,) = workshop(Work(operation._replace(kind=Kind.RECONCILE)), acl="public-read")

    assert (sent.error, result.error) == ("", "")
    assert (result.become is Kind.COPY) is (store.has(Quirk.ACL_LOST) and not store.has(Quirk.ACL_REFUSED))


def test_a_redirect_is_made_once(store, workshop):
    operation = Operation(Kind.REDIRECT, store.key("old"), Reason.REDIRECT, spec=RedirectSpec("/new"), id=1)

    (made,) = workshop(Work(operation))
    (again,) = workshop(Work(operation))

    assert (made.error, made.already) == ("", False)
    assert (again.error, again.already) == ("", not store.has(Quirk.REDIRECT_LOST))


# --- deletes -------------------------------------------------------------------------------


def test_a_batch_of_deletes_is_told_as_one_result(store, workshop, tmp_path):
    paths = [file(tmp_path, f"d{n}", b"x") for n in range(5)]
    workshop(*(Work(planned(store, path, number=n)) for n, path in enumerate(paths)))
    keys = tuple(store.key(path.name) for path in paths[:4])
    first = Operation(Kind.DELETE, keys[0], Reason.ORPHAN, id=0)

    (result,) = workshop(Work(first, keys=keys, rows=range(4)))

    assert (result.step, result.error, read_deleted_spans(result)) == (Step.DELETED, "", [range(4)])
    assert store.keys() == ["d4"]


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_a_key_that_may_not_be_deleted_fails_alone(places, tmp_path, lane):
    store = places.store("fake", lane)
    keys = (store.key("a"), "locked/b")
    brief = Brief(
        endpoint=store.bucket.endpoint,
        root=str(tmp_path),
        rules=AttributeRules.from_settings(Settings(), str(tmp_path)),
    )
    runner = WorkerLoop(brief)

    good, bad = finished(
        runner, (Work(Operation(Kind.DELETE, keys[0], Reason.ORPHAN, id=1), keys=keys, rows=range(1, 3)),)
    )
    runner.transport.close()

    assert (read_deleted_spans(good), good.error) == ([range(1, 2)], "")
    assert (bad.id, bad.code, bad.retryable) == (2, "AccessDenied", False)


# --- multipart uploads ---------------------------------------------------------------------


def test_a_file_in_parts_is_begun_sent_surveyed_and_finished(store, workshop, tmp_path):
    path = file(tmp_path, "large", bytes(range(256)) * (MIB // 256 * 5) + b"the end")
    operation = planned(store, path)

    (begun,) = workshop(Work(operation, Step.BEGIN))
    operation = operation._replace(upload_id=begun.upload_id)
    parts = [Part(1, 1, 0, 5 * MIB), Part(1, 2, 5 * MIB, 7)]
    sent = workshop(*(Work(operation, Step.PART, (part,)) for part in parts))
    (survey,) = workshop(Work(operation, Step.SURVEY))
    done = tuple(
        part._replace(etag=result.etag, checksum=result.checksum) for part, result in zip(parts, sent, strict=True)
    )
    (finished_one,) = workshop(Work(operation, Step.FINISH, done))
    (compared,) = workshop(Work(operation._replace(kind=Kind.RECONCILE, upload_id="")))
    (again,) = workshop(Work(operation, Step.FINISH, done))

    assert begun.error == ""
    assert [result.error for result in sent] == ["", ""]
    assert [(part.number, part.size, part.etag) for part in survey.parts] == [
        (part.number, part.size, part.etag) for part in done
    ]
    assert finished_one.error == ""
    assert (finished_one.etag == store.bucket.head(store.key("large")).headers["etag"].strip('"')) is (
        store.place != "rclone"
    )
    assert bytes(store.bucket.get(store.key("large")).body) == path.read_bytes()
    assert (compared.error, compared.already) == ("", True)
    assert again.error == ""


def test_a_part_the_store_has_is_not_sent_again(store, workshop, tmp_path):
    path = file(tmp_path, "large", b"p" * (5 * MIB) + b"end")
    operation = planned(store, path)
    operation = operation._replace(upload_id=workshop(Work(operation, Step.BEGIN))[0].upload_id)
    part = Part(1, 1, 0, 5 * MIB)
    (sent,) = workshop(Work(operation, Step.PART, (part,)))

    (again,) = workshop(Work(operation, Step.PART, (part._replace(etag=sent.etag, checksum=sent.checksum),)))
    (aborted,) = workshop(Work(operation, Step.ABORT))

    assert (again.error, again.already, again.sent) == ("", True, 0)
    assert (again.etag, again.checksum) == (sent.etag, sent.checksum)
    assert aborted.error == ""


def test_an_upload_that_is_gone_is_told_as_such(store, workshop, tmp_path):
    path = file(tmp_path, "large", b"p" * 100)
    operation = planned(store, path)
    operation = operation._replace(upload_id=workshop(Work(operation, Step.BEGIN))[0].upload_id)
    workshop(Work(operation, Step.ABORT))

    (survey,) = workshop(Work(operation, Step.SURVEY))
    (twice,) = workshop(Work(operation, Step.ABORT))

    assert (survey.code, twice.error) == ("NoSuchUpload", "")


# --- stores that take other checksums, or none, or spoil what they are given ------------------


@pytest.fixture(params=["lean", "reference"])
def fake_store(request, places, fake):
    """The fake S3 with manners of its own, through each lane."""
    yield places.store("fake", request.param)
    fake.forget()


@pytest.fixture
def at_fake(fake_store, tmp_path):
    """One worker at the fake: what it learns it keeps."""
    rules = AttributeRules.from_settings(Settings(), str(tmp_path))
    runner = WorkerLoop(Brief(endpoint=fake_store.bucket.endpoint, root=str(tmp_path), rules=rules, limit=4))
    yield lambda *works: finished(runner, works)
    runner.transport.close()


REFUSALS = [
    pytest.param((400, "InvalidRequest", "Unsupported checksum algorithm"), id="invalid request"),
    pytest.param((400, "InvalidArgument", "Invalid header x-amz-checksum-crc64nvme"), id="invalid argument"),
    pytest.param((501, "NotImplemented", "A header you provided implies functionality"), id="not implemented"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_does_not_take_a_checksum_is_offered_another_once(fake, fake_store, at_fake, tmp_path, refusal):
    fake.manners = Manners(checksums_refused=frozenset({"crc64nvme"}), refusal=refusal)
    paths = [file(tmp_path, name, b"x") for name in ("a", "b")]

    (first,) = at_fake(Work(planned(fake_store, paths[0])))
    seen = len(fake.requests)
    (second, _) = at_fake(Work(planned(fake_store, paths[1], number=2)), Work(planned(fake_store, paths[1], number=3)))

    assert (first.error, second.error, second.warning) == ("", "", "")
    assert first.warning == f"the store does not accept crc64nvme checksums ({refusal[1]}); uploads carry crc32 instead"
    assert len(fake.requests) == seen + 2
    assert "x-amz-checksum-crc32" in fake.requests[-1].headers


@pytest.mark.parametrize("size", [1, 3 << 20], ids=["small", "read on a thread"])
def test_a_store_that_takes_no_checksum_gets_content_md5(fake, fake_store, at_fake, tmp_path, size):
    """The checksum that was computed with the read of a larger file is of no use then."""
    fake.manners = Manners(checksums_refused=frozenset({"crc64nvme", "crc32"}))
    body = os.urandom(size)
    paths = [file(tmp_path, name, body) for name in ("a", "b")]

    (first,) = at_fake(Work(planned(fake_store, paths[0])))
    (second,) = at_fake(Work(planned(fake_store, paths[1], number=2)))

    assert (first.error, second.error) == ("", "")
    assert fake.requests[-1].headers["content-md5"] == b64encode(hashlib.md5(body).digest()).decode()
    assert all(request.body == body for request in fake.requests)


def test_the_checksum_of_a_larger_file_is_computed_once_for_all_its_requests(fake, fake_store, tmp_path, monkeypatch):
    """The store knows no conditions and the bucket no ACLs, so the file is sent three times."""

    def meddle(request: Seen) -> Reply | None:
        if "if-none-match" in request.headers:
            return Reply(405, {}, error("MethodNotAllowed"))
        return Reply(400, {}, error("AccessControlListNotSupported")) if "x-amz-acl" in request.headers else None

    fake.meddle = meddle
    path, computed = file(tmp_path, "a", os.urandom(3 * MIB)), []
    monkeypatch.setattr(
        checked_upload, "checksum_of", lambda name, body: computed.append(name) or checksum_of(name, body)
    )
    rules = AttributeRules.from_settings(Settings(acl="public-read"), str(tmp_path))
    runner = WorkerLoop(Brief(endpoint=fake_store.bucket.endpoint, root=str(tmp_path), rules=rules, limit=4))

    (result,) = finished(runner, (Work(planned(fake_store, path, recheck=True)),))
    runner.transport.close()

    assert (result.error, result.checksum) == ("", checksum_of("crc64nvme", path.read_bytes()))
    assert [each.method for each in fake.requests] == ["HEAD", "PUT", "PUT", "PUT"]
    assert not computed


def test_files_in_lent_memory_are_sent_each_as_it_is(fake, fake_store, tmp_path, monkeypatch):
    """Some go the short way, some the general one after a refusal. No memory is lent twice, and all of it comes back."""
    rules = AttributeRules.from_settings(Settings(), str(tmp_path))
    runner = WorkerLoop(Brief(endpoint=fake_store.bucket.endpoint, root=str(tmp_path), rules=rules, limit=4))
    bodies = {name: os.urandom(200_000 + number) for number, name in enumerate("abcdefghij")}
    paths = [file(tmp_path, name, body) for name, body in bodies.items()]
    refused = iter([True, False, False, True])
    fake.meddle = lambda request: Reply(500, {}, error("InternalError", "no")) if next(refused, False) else None
    buffers, lent = runner._tools.buffers, []
    take = buffers.take
    monkeypatch.setattr(buffers, "take", lambda size: lent.append(take(size)) or lent[-1])

    first = finished(runner, tuple(Work(planned(fake_store, path, number=at)) for at, path in enumerate(paths, 1)))
    failed = [each.id for each in first if each.error]
    again = finished(runner, tuple(Work(planned(fake_store, paths[at - 1], number=at)) for at in failed))
    runner.transport.close()

    assert (len(failed), [each.error for each in again]) == (2, ["", ""])
    stored = fake.objects[fake_store.bucket.endpoint.bucket]
    assert {name: stored[fake_store.key(name)].body for name in bodies} == bodies
    assert {id(memory) for memory in lent} == {id(memory) for memory in buffers._free} != set()


def test_an_upload_in_parts_falls_back_too(fake, fake_store, at_fake, tmp_path):
    fake.manners = Manners(checksums_refused=frozenset({"crc64nvme"}))
    operation = planned(fake_store, file(tmp_path, "a", b"x" * 100))

    (begun,) = at_fake(Work(operation, Step.BEGIN))
    operation = operation._replace(upload_id=begun.upload_id)
    (sent,) = at_fake(Work(operation, Step.PART, (Part(1, 1, 0, 100),)))

    assert (begun.error, sent.error) == ("", "")
    assert sent.checksum == fake.uploads[begun.upload_id].parts[1].checksum[1] != ""


def test_a_refusal_of_something_else_stays_one(fake, fake_store, at_fake, tmp_path):
    fake.meddle = lambda request: Reply(400, {}, error("InvalidRequest", "no")) if request.method == "PUT" else None

    (result,) = at_fake(Work(planned(fake_store, file(tmp_path, "a", b"x"))))

    assert (result.code, result.warning) == ("InvalidRequest", "")
    assert "x-amz-checksum-crc64nvme" in fake.requests[-1].headers


def test_a_checksum_that_was_chosen_is_not_given_up(fake, fake_store, tmp_path):
    fake.manners = Manners(checksums_refused=frozenset({"crc64nvme"}))
    endpoint = fake_store.open(checksum="crc64nvme").endpoint
    runner = WorkerLoop(
        Brief(endpoint=endpoint, root=str(tmp_path), rules=AttributeRules.from_settings(Settings(), str(tmp_path)))
    )

    (result,) = finished(runner, (Work(planned(fake_store, file(tmp_path, "a", b"x"))),))
    runner.transport.close()

    assert result.code == "InvalidRequest"


def test_a_store_that_ignores_checksums_is_held_to_its_etag(fake, fake_store, at_fake, tmp_path):
    fake.manners = Manners(ignores_checksums=True, spoils=lambda body: body[:-1] + b"?")

    (result,) = at_fake(Work(planned(fake_store, file(tmp_path, "a", b"content"))))

    assert (result.code, result.retryable) == ("ChecksumMismatch", True)


def unproved(fake) -> None:
    """Have the fake prove nothing by its answers."""
    fake.manners = replace(fake.manners, ignores_checksums=True, md5_etags=False)


def sends(fake_store, tmp_path, count: int) -> list[Work]:
    return [
        Work(planned(fake_store, file(tmp_path, f"f{number}", b"x"), number=number)) for number in range(1, count + 1)
    ]


def test_a_store_that_proves_nothing_is_looked_at_until_eight_were_right_then_at_one_in_a_hundred(
    fake, fake_store, at_fake, tmp_path
):
    unproved(fake)
    looks = []

    for work in sends(fake_store, tmp_path, 208):
        (result,) = at_fake(work)
        assert result.error == ""
        looks.append([request.name for request in fake.requests].count("HeadObject"))

    assert looks[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert (looks[98], looks[99], looks[198], looks[199], looks[207]) == (8, 9, 9, 10, 10)


def test_an_object_that_is_not_there_after_all_is_a_failure_each_time(fake, fake_store, at_fake, tmp_path):
    unproved(fake)
    fake.meddle = lambda request: Reply(404, {}, b"") if request.name == "HeadObject" else None

    results = at_fake(*sends(fake_store, tmp_path, 12))

    assert {(result.code, result.retryable, result.fatal) for result in results} == {("NotStored", True, False)}


def test_another_object_than_was_sent_is_a_failure(fake, fake_store, at_fake, tmp_path):
    unproved(fake)
    headers = {"content-length": "1", "etag": '"another"'}
    fake.meddle = lambda request: Reply(200, headers) if request.name == "HeadObject" else None

    (result,) = at_fake(*sends(fake_store, tmp_path, 1))

    assert (result.code, result.retryable) == ("NotStored", True)
    assert "another object" in result.error


REFUSED = Reply(403, {}, error("AccessDenied"))


@pytest.mark.parametrize(("stored", "code"), [(True, ""), (False, "NotStored")])
def test_where_nobody_may_look_the_listing_proves(fake, fake_store, at_fake, tmp_path, stored, code):
    unproved(fake)

    def meddle(request: Seen) -> Reply | None:
        if request.name in ("HeadObject", "GetObject"):
            return REFUSED
        return Reply(200, {"etag": '"lie"'}) if request.name == "PutObject" and not stored else None

    fake.meddle = meddle

    (result,) = at_fake(*sends(fake_store, tmp_path, 1))

    assert result.code == code
    assert [request.name for request in fake.requests].count("ListObjectsV2") == 1


def test_where_nothing_can_be_looked_at_that_is_said_and_the_job_goes_on(fake, fake_store, at_fake, tmp_path):
    unproved(fake)
    fake.meddle = lambda request: None if request.name == "PutObject" else REFUSED

    results = [at_fake(work)[0] for work in sends(fake_store, tmp_path, 3)]

    assert [result.error for result in results] == ["", "", ""]
    assert [bool(result.warning) for result in results] == [True, False, False]
    assert "s3:GetObject" in results[0].warning
    assert "s3:ListBucket" in results[0].warning


def test_a_listing_that_fails_for_the_moment_is_no_refusal(fake, fake_store, at_fake, tmp_path):
    unproved(fake)

    def meddle(request: Seen) -> Reply | None:
        if request.name == "ListObjectsV2":
            return Reply(500, {}, error("InternalError"))
        return None if request.name == "PutObject" else REFUSED

    fake.meddle = meddle

    (result,) = at_fake(*sends(fake_store, tmp_path, 1))

    assert (result.code, result.retryable) == ("InternalError", True)


def test_a_store_that_takes_framing_for_content_is_found_out(fake, fake_store, at_fake, tmp_path):
    fake.manners = Manners(ignores_checksums=True, md5_etags=False, spoils=lambda body: b"1\r\n%s\r\n0\r\n\r\n" % body)

    (result,) = at_fake(Work(planned(fake_store, file(tmp_path, "a", b"x"))))

    assert (result.code, result.fatal) == ("Corrupted", True)
    assert "holds 11 bytes of an object that was sent with 1" in result.error


def test_an_answer_that_confirms_another_checksum_is_no_success(fake, fake_store, at_fake, tmp_path):
    fake.meddle = lambda request: (
        Reply(200, {"etag": '"0"', "x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}) if request.method == "PUT" else None
    )

    (result,) = at_fake(Work(planned(fake_store, file(tmp_path, "a", b"x"))))

    assert (result.code, result.retryable) == ("ChecksumMismatch", True)


# --- answers that are none ------------------------------------------------------------------

PORTAL = Reply(200, {"content-type": "text/html"}, b"<html>Welcome to our hotel")
LATE_ERROR = Reply(200, {}, b'<?xml version="1.0"?>' + b" \n" * 500 + error("InternalError").partition(b"?>")[2])


@pytest.mark.parametrize(
    "answer", [pytest.param(PORTAL, id="a portal's page"), pytest.param(LATE_ERROR, id="an error, late")]
)
def test_an_upload_is_not_finished_by_an_answer_that_says_something_else(fake, fake_store, at_fake, tmp_path, answer):
    """Also where an older object of that key makes HEAD succeed."""
    path = file(tmp_path, "f", b"x" * 100)
    fake_store.bucket.put(fake_store.key("f"), b"an older one")
    operation = planned(fake_store, path)
    operation = operation._replace(upload_id=at_fake(Work(operation, Step.BEGIN))[0].upload_id)
    part = Part(1, 1, 0, 100)
    (sent,) = at_fake(Work(operation, Step.PART, (part,)))
    done = Work(operation, Step.FINISH, (part._replace(etag=sent.etag, checksum=sent.checksum),))
    fake.meddle = lambda request: answer if request.name == "CompleteMultipartUpload" else None

    (first,) = at_fake(done)
    fake.meddle = lambda _: None
    (second,) = at_fake(done)

    assert (bool(first.error), first.retryable) == (True, True)
    assert (second.error, second.already) == ("", False)
    assert bytes(fake_store.bucket.get(fake_store.key("f")).body) == b"x" * 100


@pytest.mark.parametrize("step", [Step.BEGIN, Step.SURVEY])
def test_a_portals_page_is_tried_again(fake, fake_store, at_fake, tmp_path, step):
    fake.meddle = lambda _: PORTAL
    operation = planned(fake_store, file(tmp_path, "f", b"x"), upload_id="" if step is Step.BEGIN else "u")

    (result,) = at_fake(Work(operation, step))

    assert (result.code, result.retryable) == ("MalformedAnswer", True)
