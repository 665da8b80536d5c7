"""The coordinator's own requests: retried while that can help, and told in one sentence when it cannot."""

from __future__ import annotations

import socket
import threading

import pytest

from s3batch.base.errors import EndpointError
from s3batch.s3 import requests as calls
from s3batch.s3 import retrying_sender as module
from s3batch.s3.bucket import Bucket
from s3batch.s3.credentials import Login
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.faults import RequestError
from s3batch.s3.listing_progress import ListingProgress
from s3batch.s3.sigv4 import Credentials
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Reply, Seen, Stored, error
from tests.rig.scripted import CLOSE_UNREAD, Scripted


@pytest.fixture(scope="module")
def fake():
    with FakeS3() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(fake, monkeypatch):
    """No waiting here; what would have been waited for is kept."""
    fake.forget()
    waited = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module, "sleep", pause)
    return waited


def bucket_at(url: str, tries: int = 5) -> Bucket:
    host, port, tls, _ = split_url(url)
    credentials = Credentials(ACCESS_KEY, SECRET_KEY)
    endpoint = Endpoint(
        bucket="bucket", region="us-east-1", host=host, port=port, tls=tls, path_style=True, url=url,
        credentials=credentials, timeout=5.0,
    )  # fmt: skip
    return Bucket(endpoint, Login(credentials), tries=tries)


@pytest.fixture
def bucket(fake):
    made = bucket_at(fake.url)
    yield made
    made.close()


def failing(times: int, reply: Reply):
    left = [reply] * times
    return lambda _: left.pop() if left else None


@pytest.mark.parametrize(
    ("begun", "fresh", "sent"),
    [
        pytest.param("p/", 5.0, 1, id="the page that was asked for"),
        pytest.param("q/", 5.0, 2, id="another page"),
        pytest.param("p/", 0.0, 2, id="a page that was asked for too long ago"),
    ],
)
def test_a_listing_that_was_begun_waits_for_the_response_only(fake, bucket, begun, fresh, sent):
    bucket.begin_listing(begun, fresh)

    pages = list(bucket.list_objects("p/"))
    asked = bucket.transport.requests["ListObjectsV2"]
    again = list(bucket.list_objects("p/"))

    assert pages == again
    assert (asked, bucket.transport.requests["ListObjectsV2"]) == (sent, sent + 1)
    assert bucket.store_date > 0


@pytest.mark.parametrize("times", [1, 99])
def test_a_listing_that_was_begun_is_tried_again_and_its_error_told_as_any(fake, bucket, times):
    fake.meddle = failing(times, Reply(500, {}, error("InternalError")))
    bucket.begin_listing("p/")

    if times == 1:
        assert len(list(bucket.list_objects("p/"))) == 1
    else:
        with pytest.raises(EndpointError, match="cannot be listed"):
            next(bucket.list_objects("p/"))
    assert bucket.transport.requests["ListObjectsV2"] == min(times + 1, 5)


BUSY = Reply(503, {}, error("SlowDown"))


def test_a_passing_fault_is_tried_again_with_growing_patience(fake, bucket, waits):
    fake.meddle = failing(3, BUSY)

    bucket.put("key", b"body")

    assert bytes(bucket.get("key").body) == b"body"
    assert bucket.retries == 3
    assert len(waits) == 3
    assert all(0 <= seconds <= 0.1 * 2**attempt for attempt, seconds in enumerate(waits, start=1))


def test_a_fault_that_does_not_pass_is_the_answer_in_the_end(fake, bucket):
    fake.meddle = failing(99, BUSY)

    with pytest.raises(RequestError, match="PutObject 'key': SlowDown"):
        bucket.put("key", b"body")

    assert len(fake.requests) == 5 + 5, "what the store asks to be patient with is tried longer"


def test_a_hidden_error_is_one(fake, bucket):
    fake.meddle = failing(1, Reply(200, {}, error("InternalError")))
    bucket.put("key", b"body")

    assert bucket.retries == 1


def test_what_is_not_there_is_none_and_a_refusal_is_raised(fake, bucket):
    assert bucket.head("key") is None
    assert bucket.get("key") is None

    fake.meddle = failing(99, Reply(403, {}, error("AccessDenied")))
    for ask in (bucket.head, bucket.get, bucket.delete):
        with pytest.raises(RequestError, match="AccessDenied"):
            ask("key")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(Reply(403, {}, error("InvalidAccessKeyId")), "refuses the credentials", id="nobody"),
        pytest.param(Reply(400, {}, error("ExpiredToken")), "refuses the credentials", id="expired"),
        pytest.param(Reply(403, {}, error("SignatureDoesNotMatch")), "refuses the credentials", id="wrong secret"),
    ],
)
def test_a_refused_sign_in_is_told_as_such(fake, bucket, reply, words):
    fake.meddle = failing(99, reply)

    with pytest.raises(EndpointError, match=words) as refused:
        bucket.head("key")

    assert refused.value.exit_code == 4
    assert refused.value.hint


def test_a_signature_refused_after_others_were_taken_is_of_that_key_alone(fake, bucket):
    bucket.put("key", b"")
    fake.meddle = lambda seen: Reply(403, {}, error("SignatureDoesNotMatch")) if seen.key == "odd" else None

    with pytest.raises(RequestError, match="SignatureDoesNotMatch"):
        bucket.put("odd", b"")


def test_an_endpoint_that_never_answers_is_given_up_soon():
    with Scripted([[CLOSE_UNREAD]]) as server:
        bucket = bucket_at(server.url, tries=10)
        with pytest.raises(EndpointError, match=r"HeadObject: .*\(tried 4 times\)") as lost:
            bucket.head("key")
        bucket.close()

    assert lost.value.hint == "check endpoint_url and the network"


def test_an_endpoint_that_says_nothing_is_given_up_sooner(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bucket = bucket_at(f"http://127.0.0.1:{listener.getsockname()[1]}", tries=10)
        bucket.transport.use(bucket.endpoint._replace(timeout=0.1))
        with pytest.raises(EndpointError, match=r"no data for 0\.1 s \(tried 2 times\)"):
            bucket.head("key")
        bucket.close()


def test_an_endpoint_that_has_answered_is_given_all_tries(fake, bucket):
    bucket.put("key", b"")
    fake.manners = Manners(keeps_connections=False)
    bucket.head("key")
    replies = iter([1, 2, 3, 4])
    fake.meddle = lambda _: BUSY if next(replies, 0) else None

    assert bucket.head("key") is not None
    assert bucket.retries == 4


# --- listing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "words", "hint"),
    [
        pytest.param(Reply(404, {}, error("NoSuchBucket")), "does not exist", "create it", id="no bucket"),
        pytest.param(Reply(403, {}, error("AccessDenied")), "cannot be listed", "s3:ListBucket", id="no permission"),
        pytest.param(Reply(200, {}, b"<html>Welcome"), "does not speak S3", "check endpoint_url", id="a web site"),
        pytest.param(
            Reply(404, {}, b"<html>Oops"), "does not speak S3", "check endpoint_url", id="a web site of another form"
        ),
    ],
)
def test_a_bucket_that_cannot_be_listed_is_told_with_what_to_do(fake, bucket, reply, words, hint):
    fake.meddle = failing(99, reply)

    with pytest.raises(EndpointError, match=words) as refused:
        list(bucket.list_objects(""))

    assert hint in refused.value.hint


def filled(bucket: Bucket, count: int) -> list[str]:
    keys = [f"k{number:05d}" for number in range(count)]
    for key in keys:
        bucket.put(key, b"")
    return keys


def pages_of(bucket: Bucket, limit: int, monkeypatch) -> list[list[str]]:
    real = calls.list_objects
    monkeypatch.setattr(calls, "list_objects", lambda *args, **more: real(*args, **more | {"limit": limit}))
    return [[each.key for each in page.objects] for page in bucket.list_objects("")]


def test_a_caller_with_else_to_do_is_told_that_a_page_is_on_its_way(fake, bucket, monkeypatch):
    keys, real = filled(bucket, 3), calls.list_objects
    monkeypatch.setattr(calls, "list_objects", lambda *args, **more: real(*args, **more | {"limit": 2}))
    is_asked_for = threading.Event()
    answer = fake.answer

    def answer_late(request: Seen) -> Reply:
        if "continuation-token" in request.query:
            assert is_asked_for.wait(60)
        return answer(request)

    monkeypatch.setattr(fake, "answer", answer_late)
    pages = bucket.list_beside("")
    first, meanwhile = next(pages), next(pages)
    is_asked_for.set()
    rest = [page for page in pages if page is not None]

    assert meanwhile is None
    assert [each.key for page in (first, *rest) for each in page.objects] == keys


def test_pages_come_one_after_the_other(fake, bucket, monkeypatch):
    keys = filled(bucket, 7)

    assert pages_of(bucket, 3, monkeypatch) == [keys[:3], keys[3:6], keys[6:]]


def test_a_page_that_fails_for_a_while_is_asked_for_again(fake, bucket, monkeypatch):
    keys, asked = filled(bucket, 7), []

    def trouble(seen):
        asked.append(seen)
        return BUSY if len(asked) in (2, 3) else None

    fake.meddle = trouble

    assert [key for page in pages_of(bucket, 3, monkeypatch) for key in page] == keys


def test_a_page_that_fails_for_good_fails_the_listing(fake, bucket, monkeypatch):
    filled(bucket, 7)
    fake.meddle = lambda seen: BUSY if "continuation-token" in seen.query else None

    with pytest.raises(EndpointError, match=r"cannot be listed .*SlowDown"):
        pages_of(bucket, 3, monkeypatch)


def test_a_listing_that_turns_in_a_circle_is_ended(fake, bucket):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        b"</ListBucketResult>"
    )
    fake.meddle = lambda _: Reply(200, {}, page)

    with pytest.raises(EndpointError, match="repeats the same page of the listing"):
        list(bucket.list_objects(""))


def test_a_listing_whose_pages_come_again_under_new_tokens_is_ended(fake, bucket):
    row = b"<Contents><Key>k</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>"
        b"%s</ListBucketResult>"
    )
    fake.meddle = lambda _: Reply(200, {}, page % (len(fake.requests), row))

    with pytest.raises(EndpointError, match="repeats the same page of the listing"):
        list(bucket.list_objects(""))


def test_a_listing_of_empty_pages_is_ended():
    progress = ListingProgress("here", empty_pages=3)
    for token in "ab":
        progress.check(token, [])
    progress.check("c", [("k", 1)])
    for token in "de":
        progress.check(token, [])

    with pytest.raises(EndpointError, match="here sends 3 listing pages in a row without an object"):
        progress.check("f", [])


def test_the_region_learned_by_listing_is_the_endpoints_from_then_on(fake, bucket):
    fake.manners = Manners(region="eu-south-9")

    list(bucket.list_objects(""))

    assert bucket.endpoint.region == "eu-south-9"


# --- deletes, uploads ----------------------------------------------------------------------


def test_many_keys_are_deleted_in_batches_and_those_xml_cannot_hold_one_by_one(fake, bucket):
    keys = [*filled(bucket, 3), "\x01", "no-utf8-\udcff"]
    for key in keys[3:]:
        bucket.put(key, b"")

    bucket.delete_many(keys)

    assert not fake.objects["bucket"]
    assert [seen.name for seen in fake.requests[-3:]] == ["DeleteObject", "DeleteObject", "DeleteObjects"]


def test_a_store_without_batches_is_asked_key_by_key(fake, bucket):
    keys = filled(bucket, 3)
    fake.meddle = lambda seen: Reply(501, {}, error("NotImplemented")) if seen.name == "DeleteObjects" else None
    bucket.transport.fallback._make_send = lambda _: lambda _: pytest.fail("boto3 need not be asked")
    bucket.transport.fallback._agreed["NotImplemented"] = 3

    bucket.delete_many(keys)

    assert not fake.objects["bucket"]


def test_the_key_that_stays_is_named(fake, bucket):
    with pytest.raises(RequestError, match="DeleteObjects 'locked/k': AccessDenied"):
        bucket.delete_many(["locked/k"])


def test_an_upload_that_is_gone_is_aborted_already(fake, bucket):
    bucket.abort_multipart_upload("key", "no-such-upload")


def test_where_uploads_cannot_be_listed_there_are_none(fake, bucket):
    fake.meddle = lambda _: Reply(403, {}, error("AccessDenied"))

    assert list(bucket.list_uploads("")) == []


MANY = [f"site/{number:05}" for number in range(6000)]


@pytest.mark.parametrize(
    ("there", "asked", "pages"),
    [
        pytest.param([], [], 0, id="none asked for"),
        pytest.param([], MANY[:4000], 1, id="an empty bucket"),
        pytest.param(MANY, MANY[:1], 1, id="one key"),
        pytest.param(MANY, MANY[1000:5000], 4, id="a cut batch of neighbours"),
        pytest.param(MANY[::2], MANY[:4000], 3, id="every other one is there"),
        pytest.param(MANY, MANY[::1500], 4, id="far apart"),
        pytest.param(MANY, [*MANY[:900], *MANY[5000:5900]], 2, id="two groups"),
        pytest.param(MANY, ["site/00000", "site/00000/below", "site/~"], 2, id="some that are not there"),
        pytest.param(MANY[:10], ["site/00003", "site/00003"], 1, id="one asked for twice"),
        pytest.param(["site/a\udcff", "site/a\udcff\udcfe"], ["site/a\udcff", "site/a\udcff\udcfe"], 1, id="no UTF-8"),
    ],
)
def test_keys_are_looked_up_with_few_pages(fake, bucket, there, asked, pages):
    fake.objects["bucket"] = {key: Stored(b"", '"etag"') for key in (*there, "other/1")}

    found = bucket.look_up(asked, "site/")

    assert sorted(each.key for each in found) == sorted(set(asked) & set(there))
    assert [each.name for each in fake.requests] == ["ListObjectsV2"] * pages


def test_keys_are_looked_up_one_by_one_where_a_listing_begins_at_its_beginning(fake, bucket):
    fake.objects["bucket"] = {key: Stored(b"", '"etag"') for key in MANY}

    def forget_where(request) -> None:
        request.query.pop("start-after", None)

    fake.meddle = forget_where

    found = bucket.look_up(MANY[2000:2010], "site/")

    assert [each.key for each in found] == MANY[2000:2010]
    assert len(fake.requests) == 11
