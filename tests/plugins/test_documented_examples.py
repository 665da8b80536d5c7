"""Every example of drone-s3-sync's documentation, as Drone hands it over, does what its text says.

Run against moto, which like the documentation's bucket takes whatever keys it is given.
"""

from __future__ import annotations

import pytest

from tests.plugins.pipeline import EXAMPLES, settings_of
from tests.plugins.test_cloudfront import paths
from tests.rig import buckets
from tests.rig.distributions import make_distribution

BELOW = "target/location/"
FILES = {
    "index.html": "<p>", "app.js": "js", "style.css": "css", "logo.svg": "<svg/>", "pic.png": "png", "README": "read me",
    "public/a.html": "<p>", "public/deep/b.js": "js", "private/c.txt": "text",
}  # fmt: skip
KEYS = {BELOW + path for path in FILES}
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
SECRETS = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY",
}


@pytest.fixture
def step(make_step):
    """The workspace of the examples, and the bucket they mean."""
    step = make_step("moto")
    s3 = step.bucket.client
    s3.create_bucket(Bucket="my-bucket", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="my-bucket")
    step.bucket = buckets.Bucket("my-bucket", step.bucket.server, s3)
    step.files({f"folder/to/archive/{path}": content for path, content in FILES.items()})
    yield step
    buckets.remove_bucket(step.bucket)


def run(step, name: str, **others):
    """Run an example; its keys are its own."""
    found = step.run({"access_key": None, "secret_key": None, **settings_of(name, SECRETS), **others})
    assert found.code == 0, found.err
    return found


def settled(step, name: str, **others) -> None:
    step.is_settled({"access_key": None, "secret_key": None, **settings_of(name, SECRETS), **others})


def is_public(step, key: str) -> bool:
    return (EVERYBODY, "READ") in step.bucket.grants(key)


def test_every_example_is_tried_here() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == {
        "simple", "delete", "cloudfront", "attributes", "metadata", "metadata_globs", "redirects", "secrets",
    }  # fmt: skip


def test_simple_usage(step) -> None:
    step.bucket.put("target/location/kept", b"")

    found = run(step, "simple")

    assert step.bucket.keys() == KEYS | {"target/location/kept"}
    assert step.bucket.get(BELOW + "public/deep/b.js") == b"js"
    assert "is the host name of a website; its bucket is my-bucket" in found.err
    assert "x-amz-acl" not in found.headers(BELOW + "README")
    settled(step, "simple")


def test_delete_all_files_that_do_not_exist_on_the_local_files(step) -> None:
    for key in ("target/location/gone", "target/location2/kept", "kept"):
        step.bucket.put(key, b"")

    run(step, "delete")

    assert step.bucket.keys() == KEYS | {"target/location2/kept", "kept"}
    settled(step, "delete")


def test_invalidate_a_specific_cloudfront_distribution(step) -> None:
    others = {
        "cloudfront_distribution": make_distribution(step.bucket.server),
        "cloudfront_endpoint": step.proxy.url,
    }

    found = run(step, "cloudfront", **others)

    assert settings_of("cloudfront")["cloudfront_distribution"] == "9c5785d3ece6a9cdefa4"
    assert paths(found) == ["/target/location/*"]
    settled(step, "cloudfront", **others)


def test_customize_acl_content_type_content_encoding_and_cache_control(step) -> None:
    found = run(step, "attributes")

    public = {BELOW + "public/a.html", BELOW + "public/deep/b.js"}
    assert {key for key in KEYS if is_public(step, key)} == public
    assert {found.headers(key)["x-amz-acl"] for key in KEYS - public} == {"private"}
    assert step.bucket.head(BELOW + "logo.svg")["ContentType"] == "image/svg+xml"
    assert step.bucket.head(BELOW + "index.html")["ContentType"] == "text/html; charset=utf-8"
    encoded = {key for key in KEYS if step.bucket.head(key).get("ContentEncoding") == "gzip"}
    assert encoded == {BELOW + path for path in ("app.js", "style.css", "public/deep/b.js")}
    assert {found.headers(key).get("content-encoding") for key in KEYS - encoded} == {None}
    assert {step.bucket.head(key)["CacheControl"] for key in KEYS} == {"public, max-age: 31536000"}
    settled(step, "attributes")


def test_customize_metadata_for_all_objects(step) -> None:
    run(step, "metadata")

    assert [step.bucket.head(key)["Metadata"] for key in KEYS] == [{"custom-meta": "abc123"}] * len(KEYS)
    settled(step, "metadata")


def test_customize_metadata_based_on_globs(step) -> None:
    run(step, "metadata_globs")

    assert {key: step.bucket.head(key)["Metadata"] for key in KEYS} == {
        key: {"custommeta": "abc123"} if key.endswith(".png") else {} for key in KEYS
    }
    settled(step, "metadata_globs")


def test_define_redirects(step) -> None:
    run(step, "redirects")

    head = step.bucket.head("some/missing/file")
    assert (head["WebsiteRedirectLocation"], head["ContentLength"]) == ("/somewhere/that/actually/exists", 0)
    assert is_public(step, "some/missing/file")
    settled(step, "redirects")


def test_credentials_from_secrets(step) -> None:
    found = run(step, "secrets")

    assert step.bucket.keys() == KEYS
    assert {SECRETS["aws_access_key_id"] in request.headers["authorization"] for request in found.requests} == {True}
    assert SECRETS["aws_secret_access_key"] not in found.said


@pytest.mark.parametrize("name", ["simple", "attributes"])
def test_the_image_itself_does_the_same(step, name) -> None:
    found = step.process({**settings_of(name), "dry_run": False})

    assert (found.code, step.bucket.keys()) == (0, KEYS), found.err
    again = step.process(settings_of(name))
    assert (again.code, again.changes) == (0, []), again.err
