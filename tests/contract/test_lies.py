"""Whole jobs against what is not honest: nothing is called done that the store did not do, and nothing is deleted then."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.rig import fake_s3, program
from tests.rig.fake_s3 import FakeS3, Manners, Reply, Seen, error

LANES = pytest.mark.parametrize("lane", ["lean", "reference"])
PAGE = Reply(200, {"content-type": "text/html"}, b"<html><body>Please sign in</body></html>")
EMPTY = Reply(200, {}, b"")
LIES = pytest.mark.parametrize("lie", [pytest.param(PAGE, id="a page"), pytest.param(EMPTY, id="nothing")])
FILES = {f"f{n:02d}.txt" for n in range(20)}
ORPHANS = {"old-1", "old-2", "old-3"}


@pytest.fixture
def own() -> Iterator[FakeS3]:
    """A fake S3 that holds three objects no file answers to."""
    with FakeS3() as fake:
        fake.objects["bucket"] = {
            f"site/{name}": fake_s3.Stored(b"old", '"e"', modified=1_700_000_000.0) for name in ORPHANS
        }
        yield fake


@pytest.fixture
def sync(clean_env, tmp_path, make_tree) -> Callable[..., program.Finished]:
    """``sync(fake, *arguments)``: a run of ``sync --delete``."""
    root = make_tree({name: name.encode() for name in FILES})
    for name in FILES:
        os.utime(os.path.join(root, name), (1_700_000_000, 1_700_000_000))

    def run(fake: FakeS3, *arguments: str) -> program.Finished:
        here = {
            "AWS_ACCESS_KEY_ID": fake_s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET_KEY,
            "AWS_ENDPOINT_URL": fake.url, "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        most = ("--retries", "2", "--workers", "1", "--delete", "--max-delete", "100%")
        return program.run(["sync", root, "s3://bucket/site", *most, *arguments], clean_env | here, tmp_path)

    return run


def stored(fake: FakeS3) -> set[str]:
    return {key.removeprefix("site/") for key in fake.objects.get("bucket", {})}


def to(*names: str, reply: Reply) -> Callable[[Seen], Reply | None]:
    return lambda seen: reply if seen.name in names else None


@LANES
@LIES
def test_a_proxy_that_answers_everything_is_no_store(own, sync, lane, lie):
    own.meddle = lambda _: lie

    done = sync(own, "--lane", lane)

    assert done.code == 4
    assert "does not speak S3: ListObjectsV2 was answered with 200" in done.stderr
    assert stored(own) == ORPHANS


@LANES
@LIES
def test_what_no_put_stored_is_not_uploaded_and_nothing_is_deleted(own, sync, lane, lie):
    own.meddle = to("PutObject", reply=lie)

    done = sync(own, "--lane", lane)

    assert done.code in (1, 4)
    assert "PutObject was answered with 200" in done.stderr
    assert "which is not S3's answer" in done.stderr
    assert stored(own) == ORPHANS


@LANES
@LIES
def test_what_no_delete_deleted_is_a_failure(own, sync, lane, lie):
    own.meddle = to("DeleteObjects", reply=lie)

    done = sync(own, "--lane", lane)

    assert done.code == 1
    assert "DeleteObjects was answered with 200" in done.stderr
    assert stored(own) == ORPHANS | FILES


def test_the_first_page_may_fail_for_a_moment(own, sync):
    lies = itertools.chain(
        [PAGE, Reply(200, {}, b"<ListBucketResult><Name>"), Reply(502, {}, b"")], itertools.repeat(None)
    )
    own.meddle = lambda seen: next(lies) if seen.name == "ListObjectsV2" else None

    done = sync(own, "--retries", "6")

    assert done.code == 0, done.stderr
    assert stored(own) == FILES


TRUNCATED = "<ListBucketResult><IsTruncated>true</IsTruncated>{}</ListBucketResult>"


@LANES
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(TRUNCATED.format("<NextContinuationToken></NextContinuationToken>"), id="an empty token"),
        pytest.param(TRUNCATED.format(""), id="no token"),
        pytest.param(TRUNCATED.format("<NextContinuationToken>same</NextContinuationToken>"), id="the same token"),
        pytest.param("<ListBucketResult><IsTruncated>false</IsTruncated><Contents>", id="cut"),
        pytest.param("<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>", id="perhaps"),
    ],
)
def test_a_listing_that_is_not_whole_deletes_nothing(own, sync, lane, body):
    own.meddle = to("ListObjectsV2", reply=Reply(200, {"content-type": "application/xml"}, body.encode()))

    done = sync(own, "--lane", lane)

    assert done.code != 0
    assert "Traceback" not in done.stderr
    assert stored(own) >= ORPHANS


@LANES
def test_a_throttled_job_slows_down_and_ends(own, sync, lane):
    """40 % of all requests are refused."""
    numbers = itertools.count()
    busy = Reply(429, {"retry-after": "1"}, error("TooManyRequests"))
    own.meddle = lambda _: busy if next(numbers) % 5 in (1, 3) else None

    done = sync(own, "--lane", lane)

    assert done.code == 0, done.stderr
    assert stored(own) == FILES


def test_a_key_that_the_store_cannot_serve_fails_alone(own, sync):
    broken = Reply(500, {}, error("InternalError"))
    own.meddle = lambda seen: broken if seen.name == "PutObject" and seen.key.endswith("f07.txt") else None

    done = sync(own)

    assert done.code == 1
    assert "f07.txt" in done.stderr
    assert "the endpoint is gone" not in done.stderr
    assert stored(own) == ORPHANS | FILES - {"f07.txt"}


@LANES
def test_a_clock_that_stays_wrong_is_named_with_its_seconds(own, sync, lane):
    skewed = Reply(403, {"date": "Sun, 29 Nov 2099 10:00:00 GMT"}, error("RequestTimeTooSkewed", "Too different."))
    own.meddle = lambda _: skewed

    done = sync(own, "--lane", lane)

    assert done.code == 4
    assert "this machine's clock is" in done.stderr
    assert "s behind the store's" in done.stderr


@LANES
def test_valid_xml_is_read_however_it_is_written(own, sync, lane):
    """Another prefix, a comment, CDATA: the listing says that all is there but one file."""
    own.manners = Manners()
    sync(own, "--lane", lane)
    rows = "".join(
        f"<a:Contents><a:Key><![CDATA[{key}]]></a:Key><a:LastModified>2023-11-14T22:13:20.000Z</a:LastModified>"
        f"<!-- of {key} --><a:ETag>{held.etag.replace(chr(34), '&quot;')}</a:ETag><a:Size>{len(held.body)}</a:Size>"
        "</a:Contents>"
        for key, held in sorted(own.objects["bucket"].items())
        if "f03" not in key
    )
    body = (
        '<?xml version="1.0"?><a:ListBucketResult xmlns:a="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<a:IsTruncated>false</a:IsTruncated>{rows}</a:ListBucketResult>"
    )
    own.requests.clear()
    own.meddle = to("ListObjectsV2", reply=Reply(200, {"content-type": "application/xml"}, body.encode()))

    done = sync(own, "--lane", lane)

    assert done.code == 0, done.stderr
    assert [seen.key for seen in own.requests if seen.name == "PutObject"] == ["site/f03.txt"]
