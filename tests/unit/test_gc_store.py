"""The requests of a clean-up, and that a delete has no effect after its time."""

from __future__ import annotations

import time

import pytest

from s3batch.cache.gc_protocol import LapsedError
from s3batch.cache.gc_store import BucketStore
from s3batch.s3.bucket import Bucket
from s3batch.s3.credentials import Login
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.faults import RequestError
from s3batch.s3.sigv4 import Credentials
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Reply


@pytest.fixture
def fake():
    with FakeS3() as running:
        yield running


@pytest.fixture(params=["", "a-session-token"])
def store(request, fake):
    host, port, tls, _ = split_url(fake.url)
    credentials = Credentials(ACCESS_KEY, SECRET_KEY, request.param)
    endpoint = Endpoint(
        bucket="bucket", region="us-east-1", host=host, port=port, tls=tls, path_style=True, url=fake.url,
        credentials=credentials, timeout=5.0,
    )  # fmt: skip
    bucket = Bucket(endpoint, Login(credentials), tries=2)
    store = BucketStore(bucket)
    for key in ("a", "b & c", "d"):
        store.run(store.put(key, b"x"))
    yield store
    bucket.close()


def test_a_delete_in_time_deletes(fake, store):
    store.run(store.delete(["a", "b & c"], store.now().high + 5))

    assert set(fake.objects["bucket"]) == {"d"}


def test_the_store_refuses_a_delete_that_arrives_late(fake, store):
    """The deadline travels with the request: nothing that holds the request up can make it dangerous."""
    fake.manners = Manners(clock=60.0)

    with pytest.raises(LapsedError):
        store.run(store.delete(["a"], store.now().high + 5))

    assert "a" in fake.objects["bucket"]


def test_no_delete_is_sent_when_its_time_is_over(fake, store):
    fake.forget()

    with pytest.raises(LapsedError):
        store.run(store.delete(["a"], store.now().high + 0.5))

    assert fake.requests == []


def test_a_store_without_batches_is_asked_key_by_key_with_the_same_deadline(fake, store):
    fake.meddle = lambda request: Reply(501) if request.name == "DeleteObjects" else None
    store.run(store.delete(["a", "d"], store.now().high + 5))

    assert set(fake.objects["bucket"]) == {"b & c"}
    assert all("X-Amz-Expires" in seen.query for seen in fake.requests if seen.name == "DeleteObject")


def test_what_changed_since_it_was_listed_stays(fake, store):
    (listed,) = store.run(store.listed("d"))
    store.run(store.put("d", b"another"))

    assert store.run(store.delete_if_unchanged("d", listed.etag)) is False
    assert "d" in fake.objects["bucket"]


def test_a_refused_delete_is_an_error(fake, store):
    fake.meddle = lambda request: Reply(403) if request.name == "DeleteObjects" else None

    with pytest.raises(RequestError):
        store.run(store.delete(["a", "d"], store.now().high + 5))


def test_the_time_is_the_stores(fake, store):
    fake.manners = Manners(clock=600.0)
    store.run(store.has("a"))

    assert store.now().low > time.time() + 500


def test_a_store_that_cannot_copy_is_sent_the_object(fake, store):
    fake.meddle = lambda request: Reply(501) if request.name == "CopyObject" else None

    store.run(store.copy("a", "aside", {}))

    assert fake.objects["bucket"]["aside"].body == b"x"
    assert fake.objects["bucket"]["aside"].headers["content-type"] == "application/json"
