"""CloudFront's and STS's responses are judged where S3's are: what is not theirs is tried again, then an error."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from s3batch.base.errors import EndpointError, JobFailedError
from s3batch.commands.sync.cloudfront import connect_cloudfront, invalidate_paths
from s3batch.s3.credentials import connect_to_bucket
from s3batch.settings.table import Settings
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply

HTML = {"content-type": "text/html"}
XML = {"content-type": "text/xml"}
INVALIDATED = b"<Invalidation><Id>I7</Id><Status>InProgress</Status></Invalidation>"
ASSUMED = (
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>K</AccessKeyId><SecretAccessKey>S"
    b"</SecretAccessKey><SessionToken>T</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    b"</AssumeRoleResult></AssumeRoleResponse>"
)
STRANGE = [
    pytest.param(Reply(200, HTML, b"<html><body>Sign in to the hotel<br></body></html>"), id="a web page"),
    pytest.param(Reply(200, XML, b"<html><body><p>as XML</p></body></html>"), id="a web page as XML"),
    pytest.param(Reply(200), id="empty"),
    pytest.param(Reply(204), id="204"),
    pytest.param(Reply(200, XML, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"), id="other"),
    pytest.param(Reply(200, XML, INVALIDATED[:30]), id="cut"),
    pytest.param(Reply(200, XML, ASSUMED[:90]), id="cut too"),
    pytest.param(Reply(200, XML, INVALIDATED.replace(b"I7", b"")), id="no id"),
    pytest.param(Reply(200, XML, ASSUMED.replace(b">S<", b"><")), id="no secret"),
    pytest.param(
        Reply(200, XML, b"<ErrorResponse><Error><Code>X</Code></Error></ErrorResponse>"), id="an error in a 200"
    ),
]


@pytest.fixture
def fake(monkeypatch) -> Iterator[FakeS3]:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with FakeS3() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", running.url)
        yield running


def ask_cloudfront(fake: FakeS3) -> list[str]:
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    return invalidate_paths(connect_cloudfront(session, fake.url), "D", prefix="", job="J", changed=None)


def ask_sts(fake: FakeS3) -> str:
    settings = Settings(
        bucket="b",
        endpoint_url=fake.url,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        assume_role="arn:aws:iam::1:role/r",
    )
    return connect_to_bucket(settings, "b")[1].current().access_key


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize(
    ("ask", "error", "words", "tries"),
    [
        (
            ask_cloudfront,
            JobFailedError,
            r"CreateInvalidation was answered with .*, which is not CloudFront's answer",
            7,
        ),
        (ask_sts, EndpointError, r"cannot sign in: .*AssumeRole was answered with .*, which is not STS's answer", 4),
    ],
    ids=["CloudFront", "STS"],
)
def test_what_is_not_the_services_answer_fails_after_all_tries(fake, strange, ask, error, words, tries):
    fake.meddle = lambda _: strange

    with pytest.raises(error, match=words):
        ask(fake)

    assert len(fake.requests) == tries


@pytest.mark.parametrize("status", [200, 201])
def test_one_strange_answer_is_got_over(fake, status):
    answers = [Reply(200, HTML, b"<html>"), Reply(status, XML, INVALIDATED), Reply(200), Reply(200, XML, ASSUMED)]
    fake.meddle = lambda _: answers.pop(0)

    assert (ask_cloudfront(fake), ask_sts(fake)) == (["I7"], "K")


def test_an_endless_answer_is_cut(fake):
    fake.meddle = lambda _: Reply(200, XML, b"<a>" + b"x" * (65 << 20))

    with pytest.raises(JobFailedError, match="CreateInvalidation was answered with"):
        ask_cloudfront(fake)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_keeps_its_words(fake, status):
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not you</Message></Error></ErrorResponse>"
    fake.meddle = lambda _: Reply(status, XML, body)

    with pytest.raises(JobFailedError, match="AccessDenied: Not you"):
        ask_cloudfront(fake)
    with pytest.raises(EndpointError, match="AccessDenied"):
        ask_sts(fake)
