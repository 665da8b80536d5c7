"""What each request does, on every S3 and through both lanes; where an S3 differs, the table of quirks says so."""

from __future__ import annotations

import hashlib
import unicodedata
from base64 import b64encode
from contextlib import suppress

import pytest

from s3batch.base.errors import EndpointError
from s3batch.objects.acl import acl_matches
from s3batch.objects.headers import RemoteAttributes
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket
from s3batch.s3.calls import send_request
from s3batch.s3.checksums import checksum_of
from s3batch.s3.clock import seconds_of
from s3batch.s3.etag import multipart_etag
from s3batch.s3.faults import fault_of
from s3batch.s3.requests import Request
from s3batch.s3.validation import etag_in
from tests.rig.servers import Quirk

LANES = ("lean", "reference")
MIB = 1 << 20
LONG = "long-" + "x" * 900
ODD = [
    "plain", "with space", "plus+sign", "percent%20", "percent%", "hash#", "question?x=1", "amp&", "semi;colon",
    "equals=", "comma,", "at@", "colon:", "dollar$", "quote'", 'double"quote', "back\\slash", "back`tick", "caret^",
    "pipe|", "angle<>", "brace{}", "bracket[]", "tilde~", "star*", "bang!", "paren()", "umlaut-ä-日本-🎉",
    unicodedata.normalize("NFD", "nfd-é"), "a//b", "./dot", "up/../here", "new\nline", "tab\t", "return\r",
    "trailing/", "conf", "conf/sub", "dot./x", LONG, "\x01control", "not-utf8-\udcff",
]  # fmt: skip
ODD_LOST = {
    "fake": set(),
    "ministack": {"not-utf8-\udcff"},
    "moto": {"new\nline", "not-utf8-\udcff"},
    "rclone": {"a//b", "./dot", "up/../here", "trailing/", LONG, "not-utf8-\udcff"},
    "seaweedfs": {"back\\slash", "a//b", "./dot", "up/../here", "trailing/", LONG, "not-utf8-\udcff"},
    "rgw": {"not-utf8-\udcff"},
}
"""Keys that a server refuses, or shows under another name."""


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def put(store, name: str, body: bytes = b"body", **headers: str) -> dict[str, str]:
    call = requests.put_object(store.key(name), body, {"content-md5": requests.md5_header(body), **headers})
    return dict(store.bucket.must(call).headers)


def test_what_was_put_can_be_fetched_and_looked_at(store):
    body = bytes(range(256)) * 300

    said = put(store, "k", body, **{"content-type": "text/x-test; charset=utf-8", "cache-control": "max-age=5"})
    head = store.bucket.head(store.key("k"))
    got = store.bucket.get(store.key("k"))

    assert bytes(got.body) == body
    assert said["etag"].strip('"') == md5(body)
    assert head.headers["etag"].strip('"') == md5(body)
    assert head.headers["content-length"] == str(len(body))
    assert head.headers["content-type"].replace(" ", "") == "text/x-test;charset=utf-8"
    assert head.headers["cache-control"] == "max-age=5"
    assert not head.body


def test_an_empty_object_is_an_object(store):
    put(store, "empty", b"")

    assert bytes(store.bucket.get(store.key("empty")).body) == b""
    assert store.keys() == ["empty"]


def test_a_range_is_just_these_bytes(store):
    put(store, "k", b"0123456789")

    answer = store.bucket.must(requests.get_object(store.key("k"), 2, 5))

    assert bytes(answer.body) == b"2345"
    assert answer.status == (200 if store.place == "rclone" else 206)


def test_metadata_is_kept(store):
    put(store, "k", **{"x-amz-meta-colour": "blue and green", "x-amz-meta-under_score": "1"})

    found = RemoteAttributes.from_headers(store.bucket.head(store.key("k")).headers)

    assert ("colour", "blue and green") in found.metadata
    assert (("under_score", "1") in found.metadata) is not (store.has(Quirk.METADATA_RENAMED) and store.place == "rgw")


def test_expires_is_kept(store):
    put(store, "k", expires="Thu, 01 Jan 2099 00:00:00 GMT")

    assert ("expires" in store.bucket.head(store.key("k")).headers) is not store.has(Quirk.EXPIRES_LOST)


def test_what_is_not_there_is_a_404_of_both_kinds(store):
    missing = store.key("missing")

    got = store.bucket.ask(requests.get_object(missing))

    assert store.bucket.head(missing) is None
    assert store.bucket.get(missing) is None
    assert (got.status, fault_of(got).code) == (404, "NoSuchKey")


def test_deleting_is_done_once_and_again(store):
    put(store, "k")

    store.bucket.delete(store.key("k"))
    store.bucket.delete(store.key("k"))

    assert store.bucket.head(store.key("k")) is None


def test_a_bucket_that_is_not_there_is_said(store):
    if store.place == "fake":
        pytest.skip("makes each bucket that is asked for")
    nowhere = Bucket(store.bucket.endpoint._replace(bucket="no-such-bucket-here"), store.bucket.login)

    with pytest.raises(EndpointError, match=r"bucket 'no-such-bucket-here' at http://.* does not exist"):
        next(nowhere.list_objects(""))
    nowhere.close()


# --- odd keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD, ids=[ascii(name)[:20] for name in ODD])
def test_an_odd_key_is_put_listed_fetched_copied_and_deleted(store, name):
    try:
        lost = _round_trip(store, name)
    finally:
        with suppress(EndpointError):  # moto says of a key with a line break that there is no such page
            store.bucket.ask(requests.delete_object(store.key(name)))

    assert lost is (name in ODD_LOST[store.place])


def _round_trip(store, name: str) -> bool:
    """Whether this S3 cannot hold the key."""
    key, body = store.key(name), name.encode("utf-8", "surrogateescape")
    answer = store.bucket.ask(requests.put_object(key, body, {"content-md5": requests.md5_header(body)}))
    if not answer.ok or store.keys() != [name]:
        return True
    got = store.bucket.get(key)
    copy = store.bucket.ask(requests.copy_object(key, store.settings.bucket, {"x-amz-metadata-directive": "REPLACE"}))
    if got is None or bytes(got.body) != body or not copy.ok:
        return True
    if requests.fits_xml(key):
        deleted = store.bucket.must(requests.delete_objects([key]))
        assert deleted.document == []
    else:
        store.bucket.delete(key)
    return store.keys() != []


# --- listing -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def many(places) -> set[tuple[str, str]]:
    """Where the 2,500 objects are already."""
    return set()


def test_a_listing_of_many_pages_shows_each_key_once(store, many):
    keys = [f"many/{number:04d}" for number in range(2500)]
    at_once = 100
    if store.place not in many:
        many.add(store.place)
        for first in range(0, len(keys), at_once):
            _put_all(store, keys[first : first + at_once])

    pages = list(store.bucket.list_objects("many/"))
    later = list(store.bucket.list_objects("many/", start_after="many/1999"))

    assert len(pages) >= 3
    assert [each.key for page in pages for each in page.objects] == keys
    assert [each.key for page in later for each in page.objects] == keys[2000:]
    assert {each.size for page in pages for each in page.objects} == {1}
    assert {each.etag for page in pages for each in page.objects} == {md5(b"x")}


def _put_all(store, keys: list[str]) -> None:
    transport, answers = store.bucket.transport, []
    for key in keys:
        transport.loop.start(
            send_request(requests.put_object(key, b"x", {"content-md5": requests.md5_header(b"x")})), answers.append
        )
    while len(answers) < len(keys):
        transport.turn(1.0)
    if not all(answer.ok for answer in answers):  # rclone stumbles when it makes a directory for many at once
        _put_all(store, keys)


def test_a_listing_keeps_to_its_prefix(store):
    for name in ("a", "b/1", "b/2", "b2", "c"):
        put(store, name)

    assert store.keys("b/") == ["b/1", "b/2"]
    assert store.keys("b") == ["b/1", "b/2", "b2"]
    assert store.keys("none") == []


def test_a_listing_tells_when_an_object_was_written(store):
    said = put(store, "k")

    (page,) = store.bucket.list_objects(store.key("k"))

    assert page.objects[0].modified == pytest.approx(seconds_of(said["date"]), abs=2)


# --- copies --------------------------------------------------------------------------------


def test_a_copy_onto_itself_changes_the_attributes_and_not_the_content(store):
    put(store, "k", b"content", **{"content-type": "text/plain", "x-amz-meta-old": "1"})
    headers = {"x-amz-metadata-directive": "REPLACE", "content-type": "text/html", "x-amz-meta-new": "2"}

    answer = store.bucket.must(requests.copy_object(store.key("k"), store.settings.bucket, headers))
    head = store.bucket.head(store.key("k"))
    found = RemoteAttributes.from_headers(head.headers)

    assert head.headers["etag"].strip('"') == md5(b"content")
    assert etag_in(answer) == md5(b"content")
    assert found.content_type == "text/html"
    assert [name for name, _ in found.metadata if name in ("old", "new")] == ["new"]
    assert bytes(store.bucket.get(store.key("k")).body) == b"content"


# --- deletes -------------------------------------------------------------------------------


def test_a_batch_of_deletes_names_only_what_was_not_deleted(store):
    for name in ("a&b", "b<c", "stays"):
        put(store, name)
    gone = [store.key(name) for name in ("a&b", "b<c", "never-was")]

    answer = store.bucket.must(requests.delete_objects(gone))

    assert answer.document == []
    assert store.keys() == ["stays"]


def test_a_batch_with_errors_inside_names_the_keys(places):
    store = places.store("fake", "lean")
    put(store, "k")

    answer = store.bucket.must(requests.delete_objects([store.key("k"), "locked/a&b"]))

    assert [error["Key"] for error in answer.document] == ["locked/a&b"]


# --- multipart uploads ---------------------------------------------------------------------


def begin(store, name: str, **headers: str) -> str:
    return store.bucket.must(requests.create_multipart_upload(store.key(name), headers)).document


def test_a_multipart_upload_is_begun_sent_listed_and_completed(store):
    bodies = [b"a" * (5 * MIB), b"the end"]
    upload_id = begin(store, "large", **{"content-type": "text/large"})

    etags = [
        store.bucket.must(requests.upload_part(store.key("large"), upload_id, number, body)).headers["etag"]
        for number, body in enumerate(bodies, start=1)
    ]
    held, more = store.bucket.must(requests.list_parts(store.key("large"), upload_id)).document
    rows = [(part.number, f'"{part.etag}"', "") for part in held]
    completed = store.bucket.must(
        requests.complete_multipart_upload(store.key("large"), upload_id, rows, "crc64nvme", {})
    )
    head = store.bucket.head(store.key("large"))

    assert ([(part.number, part.size) for part in held], more) == ([(1, 5 * MIB), (2, 7)], 0)
    assert [part.etag for part in held] == [etag.strip('"') for etag in etags] == [md5(body) for body in bodies]
    assert int(head.headers["content-length"]) == 5 * MIB + 7
    assert head.headers["content-type"] == "text/large"
    expected = multipart_etag([hashlib.md5(body).digest() for body in bodies])
    assert (etag_in(completed) == head.headers["etag"].strip('"')) is not store.has(Quirk.MULTIPART_ETAG)
    assert (head.headers["etag"].strip('"') == expected) is not store.has(Quirk.MULTIPART_ETAG)


def test_an_upload_in_progress_is_seen_until_it_is_aborted(store):
    upload_id = begin(store, "begun & left")
    before = list(store.bucket.list_uploads(store.prefix))

    store.bucket.abort_multipart_upload(store.key("begun & left"), upload_id)
    store.bucket.abort_multipart_upload(store.key("begun & left"), upload_id)

    assert [(each.key, each.upload_id) for each in before] == [(store.key("begun & left"), upload_id)]
    assert list(store.bucket.list_uploads(store.prefix)) == []


def test_a_part_of_an_aborted_upload_is_refused(store):
    upload_id = begin(store, "k")
    store.bucket.abort_multipart_upload(store.key("k"), upload_id)
    if store.place == "moto":
        pytest.skip("moto answers 500 for ever")

    answer = store.bucket.ask(requests.upload_part(store.key("k"), upload_id, 1, b"late"))

    assert (answer.status, fault_of(answer).code) == (404, "NoSuchUpload")


def test_a_small_part_that_is_not_the_last_is_refused(store):
    upload_id = begin(store, "k")
    etags = [
        store.bucket.must(requests.upload_part(store.key("k"), upload_id, number, b"small")).headers["etag"]
        for number in (1, 2)
    ]

    rows = [(number, etag, "") for number, etag in enumerate(etags, start=1)]
    answer = store.bucket.ask(requests.complete_multipart_upload(store.key("k"), upload_id, rows, "crc32", {}))

    assert answer.ok is store.has(Quirk.SMALL_PARTS)


@pytest.mark.parametrize("lane", LANES)
def test_an_upload_whose_key_breaks_xml_is_seen_too(places, lane):
    store = places.store("fake", lane)
    upload_id = begin(store, "\x01 & more")

    assert [(each.key, each.upload_id) for each in store.bucket.list_uploads(store.prefix)] == [
        (store.key("\x01 & more"), upload_id)
    ]


# --- conditions ----------------------------------------------------------------------------


def test_a_key_that_must_be_new_is_written_once(store):
    fresh = requests.put_object(
        store.key("lock"), b"mine", {"if-none-match": "*", "content-md5": requests.md5_header(b"mine")}
    )
    store.bucket.must(fresh)

    again = store.bucket.ask(fresh)

    assert (again.status == 412) is not store.has(Quirk.CONDITION_IGNORED)


# --- ACLs, tags ----------------------------------------------------------------------------


def test_an_acl_is_applied_and_read(store):
    put(store, "k", **{"x-amz-acl": "public-read"})

    answer = store.bucket.ask(requests.get_object_acl(store.key("k")))

    if store.has(Quirk.ACL_REFUSED):  # rclone answers with the object
        assert not answer.ok
    else:
        assert acl_matches("public-read", bytes(answer.body)) is not store.has(Quirk.ACL_LOST)


def test_tags_are_applied(store):
    put(store, "k", **{"x-amz-tagging": "a=b&c=d%20e"})

    answer = store.bucket.ask(Request("GetObjectTagging", "GET", store.key("k"), "tagging="))

    assert (b"<Value>d e</Value>" in bytes(answer.body)) is not store.has(Quirk.TAGS_LOST)


def test_a_redirect_is_kept(store):
    put(store, "k", b"", **{"x-amz-website-redirect-location": "/elsewhere"})

    head = store.bucket.head(store.key("k"))

    kept = head.headers.get("x-amz-website-redirect-location") == "/elsewhere"
    assert kept is not store.has(Quirk.REDIRECT_LOST)


# --- checksums -----------------------------------------------------------------------------

NAMES = ("crc64nvme", "crc32", "crc32c", "sha256", "sha1")


@pytest.mark.parametrize("name", NAMES)
def test_a_right_checksum_is_taken_and_a_wrong_one_refused(store, name):
    header = f"x-amz-checksum-{name}"
    right = requests.put_object(store.key("k"), b"right", {header: checksum_of(name, b"right")})
    wrong = requests.put_object(store.key("k"), b"wrong", {header: checksum_of(name, b"right")})

    said = store.bucket.must(right).headers.get(header)
    refused = store.bucket.transport.call(wrong)

    assert said in (None, checksum_of(name, b"right"))
    assert (refused.status == 400) is not store.has(Quirk.CHECKSUM_UNVERIFIED)


def test_a_wrong_md5_is_refused(store):
    wrong = requests.put_object(store.key("k"), b"body", {"content-md5": b64encode(bytes(16)).decode()})

    answer = store.bucket.transport.call(wrong)

    assert (answer.status == 400) is not store.has(Quirk.MD5_UNVERIFIED)


# --- who we are ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        pytest.param({"access_key": "NOBODYNOBODYNOBODY00"}, {"InvalidAccessKeyId", "AccessDenied"}, id="unknown key"),
        pytest.param({"secret_key": "wrong"}, {"SignatureDoesNotMatch", "AccessDenied"}, id="wrong secret"),
    ],
)
def test_who_may_not_come_in_is_told(store, changes, codes):
    if store.has(Quirk.SIGNATURE_UNCHECKED):
        pytest.skip("lets everybody in")
    stranger = store.open(**changes)

    with pytest.raises(EndpointError) as refused:
        next(stranger.list_objects(""))
    stranger.close()

    assert refused.value.code in codes
    assert "wrong" not in str(refused.value)
