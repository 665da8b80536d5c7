"""Whole jobs of the real program against the fake S3 in its worse moods: what it says, and how it ends."""

from __future__ import annotations

import os
import ssl
import time

import pytest

from tests.rig import fake_s3, program
from tests.rig.fake_s3 import FakeS3, Manners, Reply, error
from tests.rig.fake_sts import FakeSts

LONG_AGO = (1_700_000_000,) * 2


@pytest.fixture
def own():
    """A fake S3 of the test's own."""
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def source(make_tree):
    """Forty small files that nobody has touched for long."""
    root = make_tree({f"d{n % 4}/f{n:02d}.txt": b"%d" % n for n in range(40)})
    for directory, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(directory, name), LONG_AGO)
    return root


@pytest.fixture
def sync(clean_env, tmp_path, source):
    """``sync(fake, *arguments, **environment)``: a run of the program."""

    def run(fake: FakeS3, *arguments: str, **environment: str) -> program.Finished:
        here = {
            "AWS_ACCESS_KEY_ID": fake_s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET_KEY,
            "AWS_ENDPOINT_URL": fake.url, "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        variables = {name: value for name, value in (clean_env | here | environment).items() if value}
        return program.run(["sync", source, "s3://bucket/site", "--retries", "3", *arguments], variables, tmp_path)

    return run


def stored(fake: FakeS3) -> set[str]:
    return {key.removeprefix("site/") for key in fake.objects.get("bucket", {})}


ALL = {f"d{n % 4}/f{n:02d}.txt" for n in range(40)}


def by_lean(request) -> bool:
    return request.headers.get("user-agent", "").startswith("s3batch/")


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize(
    "manners",
    [
        pytest.param(Manners(), id="as Amazon"),
        pytest.param(Manners(keeps_connections=False), id="closes each connection"),
        pytest.param(Manners(protocol="HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(Manners(answers_in_chunks=True), id="answers in chunks"),
        pytest.param(Manners(region="eu-south-9"), id="in another region"),
        pytest.param(Manners(clock=-3600), id="an hour late"),
        pytest.param(Manners(ignores_checksums=True), id="ignores checksums"),
    ],
)
def test_a_job_gets_through(own, sync, lane, manners):
    own.manners = manners

    done = sync(own, "--lane", lane)

    assert (done.code, "error" in done.stderr) == (0, False), done.stderr
    assert stored(own) == ALL


def test_a_store_that_refuses_only_the_lean_lane_is_served_by_boto3_from_then_on(own, sync):
    own.meddle = lambda seen: (
        Reply(400, {}, error("InvalidArgument")) if by_lean(seen) and seen.name == "PutObject" else None
    )

    first = sync(own, "--workers", "1")
    refused = sum(by_lean(seen) for seen in own.requests if seen.name == "PutObject")
    own.requests.clear()
    own.objects.clear()
    second = sync(own, "--workers", "1", "--no-trust-journal")

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert stored(own) == ALL
    assert (
        first.stderr.count("refuses requests of the built-in HTTP client and accepts those of boto3 (InvalidArgument)")
        == 1
    )
    assert refused < len(ALL)
    assert not any(by_lean(seen) for seen in own.requests)


def test_a_store_that_wants_another_checksum_is_said_once(own, sync):
    own.manners = Manners(checksums_refused=frozenset({"crc64nvme"}))

    done = sync(own, "--workers", "2")

    assert done.code == 0, done.stderr
    assert stored(own) == ALL
    assert done.stderr.count("does not accept crc64nvme checksums (InvalidRequest); uploads carry crc32") == 1


def test_a_store_that_spoils_what_it_is_given_stops_the_job(own, sync):
    own.manners = Manners(ignores_checksums=True, md5_etags=False, spoils=lambda body: body + b"\r\n")

    done = sync(own, "--workers", "2", "--max-concurrency", "4")

    assert done.code == 4
    assert "bytes of an object that was sent with" in done.stderr
    assert len(stored(own)) < 40


def test_a_token_that_expires_within_the_job_stops_it_resumably(own, sync):
    served = []

    def expire(seen):
        served.append(seen.name)
        return Reply(400, {}, error("ExpiredToken", "The provided token has expired.")) if len(served) > 15 else None

    own.meddle = expire
    done = sync(own, "--workers", "1", "--max-concurrency", "2")
    served.clear()
    own.meddle = lambda _: None
    again = sync(own)

    assert done.code == 1
    assert "ExpiredToken" in done.stderr
    assert "resume" in done.stderr
    assert again.code == 0
    assert stored(own) == ALL
    assert len(own.requests) < 15 + 20 + 40


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_credentials_that_expire_within_the_job_are_renewed_for_all_workers(own, sync, lane):
    sts, asked = FakeSts(own), []

    def meddle(seen):
        asked.append(seen)
        if len(asked) == 20:
            own.expired.add("ASSUMED1")
        return sts(seen)

    own.meddle = meddle
    done = sync(own, "--lane", lane, "--assume-role", "arn:aws:iam::1:role/r", "--max-concurrency", "4")

    assert done.code == 0, done.stderr
    assert stored(own) == ALL
    assert len(sts.asked) == 2
    assert "ASSUMED2" in own.requests[-1].headers["authorization"]


def test_bandwidth_is_that_of_all_workers(own, sync, source):
    for name in ALL:
        (source / name).write_bytes(b"x" * (40 << 10))
        os.utime(source / name, LONG_AGO)
    came = []
    own.meddle = lambda seen: came.append((time.monotonic(), len(seen.body)))

    done = sync(own, "--workers", "2", "--bandwidth", "1MiB")

    puts = [each for each in came if each[1]]
    assert done.code == 0, done.stderr
    rate = sum(size for _, size in puts[1:]) / (puts[-1][0] - puts[0][0])
    assert rate == pytest.approx(1 << 20, rel=0.15)


def test_nobody_to_be_is_exit_code_4(own, sync):
    done = sync(own, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")

    assert done.code == 4
    assert "no credentials found" in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr
    assert "Traceback" not in done.stderr
    assert own.requests == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refuses the credentials", id="wrong secret"),
        pytest.param({"AWS_ACCESS_KEY_ID": "NOBODY"}, "refuses the credentials", id="unknown key"),
        pytest.param({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Connection refused", id="nobody there"),
        pytest.param({"AWS_ENDPOINT_URL": "http://no.such.host.invalid"}, "cannot reach", id="no such host"),
    ],
)
def test_what_keeps_a_job_from_starting_is_one_sentence_and_exit_code_4(own, sync, environment, words):
    done = sync(own, **environment)

    assert done.code == 4
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert stored(own) == set()


def test_a_proxy_is_gone_through_by_boto3(own, sync):
    done = sync(own, AWS_ENDPOINT_URL="http://s3.example.test", HTTP_PROXY=own.url, NO_PROXY="other.test")

    assert done.code == 0, done.stderr
    assert stored(own) == ALL
    assert {seen.headers["host"] for seen in own.requests} == {"s3.example.test"}
    assert not any(by_lean(seen) for seen in own.requests)


def test_where_no_proxy_is_wanted_the_lean_lane_goes_straight(own, sync):
    done = sync(
        own, AWS_ENDPOINT_URL=f"http://localhost:{own.port}", HTTP_PROXY="http://127.0.0.1:1", NO_PROXY="localhost"
    )

    assert done.code == 0, done.stderr
    assert all(by_lean(seen) for seen in own.requests)


@pytest.fixture
def secure(tls_authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeS3(tls=context) as fake:
        yield fake


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_store_with_an_authority_of_its_own_is_trusted_by_a_bundle(secure, sync, ca_bundle, lane, variable):
    done = sync(secure, "--lane", lane, **{variable: str(ca_bundle)})

    assert done.code == 0, done.stderr
    assert stored(secure) == ALL


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_a_store_that_is_not_trusted_is_told_at_once(secure, sync, lane):
    done = sync(secure, "--lane", lane)

    assert done.code == 4
    assert "certificate" in done.stderr.lower()
    assert "AWS_CA_BUNDLE" in done.stderr
    assert "tried" not in done.stderr
    assert stored(secure) == set()


def test_the_session_token_goes_with_the_key_of_the_environment(own, sync):
    sync(own, AWS_SESSION_TOKEN="the-token")

    assert {seen.headers.get("x-amz-security-token") for seen in own.requests} == {"the-token"}


def test_the_session_token_of_the_environment_goes_with_no_other_key(own, sync):
    own.keys["OTHERKEY"] = "other-secret"

    sync(own, AWS_SESSION_TOKEN="the-token", S3BATCH_ACCESS_KEY="OTHERKEY", S3BATCH_SECRET_KEY="other-secret")

    assert {seen.headers.get("x-amz-security-token") for seen in own.requests} == {None}
    assert "OTHERKEY" in own.requests[0].headers["authorization"]
