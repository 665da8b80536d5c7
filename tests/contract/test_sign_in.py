"""Signing in by roles, against a fake STS that says what it was asked, and against the two emulators that have one."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from s3batch.base.errors import EndpointError
from s3batch.s3 import requests as calls
from s3batch.s3.bucket import Bucket
from s3batch.s3.credentials import connect_to_bucket
from s3batch.settings.table import Settings
from tests.rig import buckets, fake_s3
from tests.rig.fake_s3 import FakeS3
from tests.rig.fake_sts import FakeSts

ROLE, SECOND = "arn:aws:iam::000000000000:role/deploy", "arn:aws:iam::111111111111:role/customer"
KEYS = {"access_key": fake_s3.ACCESS_KEY, "secret_key": fake_s3.SECRET_KEY}


@pytest.fixture
def sts(monkeypatch):
    with FakeS3() as fake:
        fake.meddle = made = FakeSts(fake)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", fake.url)
        yield made


def signed_in(sts: FakeSts, **values) -> Bucket:
    settings = Settings(bucket="bucket", endpoint_url=sts.fake.url, region="us-east-1", **values)
    return Bucket(*connect_to_bucket(settings, "bucket"), tries=3)


def parameters(asked: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if name not in ("Version", "Action")}


def test_a_role_is_assumed_with_the_keys_given(sts):
    bucket = signed_in(sts, **KEYS, assume_role=ROLE, assume_role_session_name="build-7", external_id="ext")

    assert bucket.head("missing") is None
    ((asked, by),) = sts.asked
    assert asked["Action"] == "AssumeRole"
    assert parameters(asked) == {"RoleArn": ROLE, "RoleSessionName": "build-7", "ExternalId": "ext"}
    assert by == fake_s3.ACCESS_KEY
    assert sts.fake.requests[-1].headers["x-amz-security-token"] == "token of ASSUMED1"


def test_a_second_role_is_assumed_by_the_first(sts):
    bucket = signed_in(
        sts, **KEYS, assume_role=ROLE, user_role_arn=SECOND, user_role_external_id="customer-7", external_id="ext"
    )

    first, (second, by) = sts.asked
    assert first[0]["RoleArn"] == ROLE
    assert parameters(second) == {"RoleArn": SECOND, "RoleSessionName": "s3batch", "ExternalId": "customer-7"}
    assert by == "ASSUMED1"
    assert bucket.login.current().access_key == "ASSUMED2"


def test_a_second_role_needs_no_first(sts):
    signed_in(sts, **KEYS, user_role_arn=SECOND)

    assert [(parameters(asked)["RoleArn"], by) for asked, by in sts.asked] == [(SECOND, fake_s3.ACCESS_KEY)]


@pytest.mark.parametrize("keys", [pytest.param({}, id="no keys"), pytest.param(KEYS, id="keys that are not needed")])
def test_a_web_identity_needs_no_keys(sts, keys):
    signed_in(sts, **keys, assume_role=ROLE, oidc_token_id="header.body.signature", external_id="not taken here")

    ((asked, by),) = sts.asked
    assert asked["Action"] == "AssumeRoleWithWebIdentity"
    assert parameters(asked) == {
        "RoleArn": ROLE, "RoleSessionName": "s3batch", "WebIdentityToken": "header.body.signature",
    }  # fmt: skip
    assert by == ""


def test_a_role_of_the_environment_is_assumed_by_boto3_itself(sts, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("header.body.signature")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)

    assert signed_in(sts).login.current().access_key == "ASSUMED1"


def test_credentials_that_run_out_are_renewed_in_time(sts):
    sts.lasts = timedelta(minutes=1)
    bucket = signed_in(sts, **KEYS, assume_role=ROLE)
    before = bucket.login.current()

    after = bucket.login.current()

    assert after.access_key != before.access_key
    assert bucket.login.current().token.startswith("token of ASSUMED")


def test_credentials_refused_before_their_time_are_renewed_once(sts):
    bucket = signed_in(sts, **KEYS, assume_role=ROLE)
    sts.fake.expired.add("ASSUMED1")

    assert bucket.head("missing") is None
    assert bucket.login.current().access_key == "ASSUMED2"

    sts.fake.expired.add("ASSUMED2")
    with pytest.raises(EndpointError, match=r"refuses the credentials .*ExpiredToken"):
        bucket.head("missing")
    assert len(sts.asked) == 2


def test_a_role_that_may_not_be_assumed_is_said(sts):
    sts.refuses = "AccessDenied"

    with pytest.raises(EndpointError, match=r"cannot sign in: .*AccessDenied.* when calling the AssumeRole") as refused:
        signed_in(sts, **KEYS, assume_role=ROLE)

    assert refused.value.exit_code == 4


def test_a_renewal_that_fails_is_said(sts):
    sts.lasts = timedelta(minutes=-1)
    with pytest.raises(EndpointError, match="cannot sign in"):
        signed_in(sts, **KEYS, assume_role=ROLE)


# --- against the emulators -----------------------------------------------------------------

ANYBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}]}


@pytest.fixture(params=["ministack", "moto"])
def emulator(request, server_named, monkeypatch):
    server = server_named(request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    return server


def make_role(server, name: str) -> str:
    iam = buckets.client(server, "iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(ALL))
    return arn


def test_a_chain_of_roles_leads_into_the_bucket(emulator):
    made = buckets.make_bucket(emulator)
    arns = [make_role(emulator, f"{made.name}-{number}") for number in (1, 2)]
    settings = Settings(
        bucket=made.name, endpoint_url=emulator.url, region="us-east-1", access_key=emulator.access_key,
        secret_key=emulator.secret_key, assume_role=arns[0], user_role_arn=arns[1],
    )  # fmt: skip

    bucket = Bucket.from_settings(settings, made.name)
    bucket.put("key", b"by a role")

    assert bucket.login.current().token
    assert bucket.login.current().access_key != emulator.access_key
    assert made.get("key") == b"by a role"
    assert bucket.must(calls.head_object("key")).ok
    buckets.remove_bucket(made)
