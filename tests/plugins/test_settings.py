"""P1-P8 and decision 12: how a step's settings are read, and what a wrong one is answered with."""

from __future__ import annotations

import re

import pytest

from tests.rig import buckets

NOTHING_SENT = 2


@pytest.fixture
def step(step):
    step.settings = {"source": "dist"}
    step.files({"dist/a.txt": "hello"})
    return step


# --- P1: which of several names counts ---------------------------------------------------------


def test_p1_an_empty_name_does_not_hide_the_next(step) -> None:
    run = step.run({"endpoint": ""}, S3_SYNC_ENDPOINT="", S3_ENDPOINT=step.proxy.url)

    assert (run.code, run.counts["PutObject"]) == (0, 1), run.err


def test_p1_the_first_name_that_is_set_wins(step) -> None:
    nowhere = {"S3_SYNC_ENDPOINT": "http://127.0.0.1:9", "S3_ENDPOINT": "http://127.0.0.1:9"}

    assert step.run({}, **nowhere).code == 0
    run = step.run({"endpoint": None}, S3_SYNC_ENDPOINT=step.proxy.url, S3_ENDPOINT="http://127.0.0.1:9")
    assert run.code == 0, run.err


def test_p1_dry_run_beats_plugin_dry_run(step) -> None:
    assert step.run({"dry_run": True}, DRY_RUN="").changes == []
    assert step.run({}, DRY_RUN="true").changes == []
    assert step.run({"dry_run": True}, DRY_RUN="false").counts["PutObject"] == 1


def test_p1_access_beats_acl(step) -> None:
    run = step.run({"access": "public-read", "acl": "private"})

    assert run.headers("a.txt")["x-amz-acl"] == "public-read"


def test_p1_there_is_no_s3_bucket(step) -> None:
    run = step.run({"bucket": None}, S3_BUCKET="b")

    assert (run.code, run.requests) == (NOTHING_SENT, [])


@pytest.mark.parametrize(
    ("settings", "variables", "region"),
    [
        pytest.param({}, {}, "us-east-1", id="P1 none: us-east-1"),
        pytest.param({"region": "eu-west-1"}, {}, "eu-west-1", id="P1 PLUGIN_REGION"),
        pytest.param({"region": "eu-west-1"}, {"AWS_REGION": "eu-north-1"}, "eu-west-1", id="P1 before AWS_REGION"),
    ],
)
def test_region(step, settings, variables, region) -> None:
    run = step.run(settings, **variables)

    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", run.requests[0].headers["authorization"])
    assert scope[1] == region


# --- P2, P3: booleans and numbers ----------------------------------------------------------------

TRUE = ["1", "t", "T", "TRUE", "true", "True", "yes", "on", "Yes", "ON"]
FALSE = ["0", "f", "F", "FALSE", "false", "False", "no", "off", ""]


@pytest.mark.parametrize("text", TRUE, ids=lambda text: f"P2 {text} is true")
def test_a_true(step, text) -> None:
    assert step.run({}, PLUGIN_DRY_RUN=text).changes == []


@pytest.mark.parametrize("text", FALSE, ids=lambda text: f"P2 {text!r} is false")
def test_a_false(step, text) -> None:
    assert step.run({}, PLUGIN_DRY_RUN=text).counts["PutObject"] == 1


@pytest.mark.parametrize(
    "text", ["0x10", "010", "1_0", "16", "1e+06", "0", "-5", ""], ids=lambda text: f"P3 {text!r} is a number"
)
def test_a_number(step, text) -> None:
    run = step.run({}, PLUGIN_MAX_CONCURRENCY=text)

    assert (run.code, run.counts["PutObject"]) == (0, 1), run.err


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        pytest.param("PLUGIN_DELETE", "perhaps", "delete cannot be 'perhaps'", id="P2 no boolean"),
        pytest.param("DRY_RUN", "2", "dry_run cannot be '2'", id="P2 a number is no boolean"),
        pytest.param("PLUGIN_MAX_CONCURRENCY", "abc", "max_concurrency cannot be 'abc'", id="P3 no number"),
        pytest.param("PLUGIN_ACL", '"public"', "acl cannot be 'public'", id="V2 an ACL in quotes"),
        pytest.param("PLUGIN_ACL", '{"*.txt": "public"}', "acl cannot be", id="decision 12 no canned ACL"),
        pytest.param("PLUGIN_METADATA", "plain", "metadata cannot be 'plain'", id="V8 plain text"),
        pytest.param("PLUGIN_METADATA", '{"a":{"b":"c"},"d":"e"}', "metadata cannot be", id="V8 flat and nested"),
        pytest.param("PLUGIN_REDIRECTS", '["a"]', "redirects cannot be", id="V9 a list"),
        pytest.param("PLUGIN_REDIRECTS", '{"a":1}', "redirects cannot be", id="V9 a number"),
        pytest.param("PLUGIN_REDIRECTS", "x", "redirects cannot be 'x'", id="V9 plain text"),
        pytest.param("PLUGIN_TARGET", "a/../b", "target cannot be 'a/../b'", id="F9 a target that goes up"),
        pytest.param("PLUGIN_BUCKET", "a/b", "bucket cannot be 'a/b'", id="decision 12 no bucket's name"),
        pytest.param("PLUGIN_ENDPOINT", "ftp://x", "endpoint_url cannot be 'ftp://x'", id="P8 another scheme"),
        pytest.param("PLUGIN_MAX_DELETE", "lots", "max_delete cannot be 'lots'", id="decision 12 no limit"),
        pytest.param("PLUGIN_FAIL_ON", "rain", "fail_on cannot be", id="decision 12 no such choice"),
        pytest.param("PLUGIN_PUBLISH_LAST", "[z-a]", "publish_last cannot be '[z-a]'", id="decision 12 no pattern"),
        pytest.param("PLUGIN_SOURECE", "x", "there is no setting sourece", id="decision 12 a typo"),
        pytest.param("PLUGIN_CACHE", "node_modules", "cache", id="decision 12 settings of both plugins"),
    ],
)
def test_a_bad_value_is_told_before_any_request(step, variable, value, says) -> None:
    run = step.run({}, **{variable: value})

    assert (run.code, run.requests, run.out) == (NOTHING_SENT, [], ""), run.err
    assert says in run.err
    assert f"(from {variable})" in run.err
    assert len(run.err.strip().splitlines()) == 1


# --- P4-P6: the rest of the command line ----------------------------------------------------------


def test_p4_the_plugin_takes_no_arguments(run_cli) -> None:
    finished = run_cli(["plugin", "--bucket=b"])

    assert (finished.code, finished.stdout) == (NOTHING_SENT, "")
    assert "plugin takes no arguments" in finished.stderr


def test_p4_it_has_a_version(run_cli) -> None:
    finished = run_cli(["--version"])

    assert finished.code == 0
    assert re.fullmatch(r"s3batch \S+\n", finished.stdout)


def test_p5_the_env_file_comes_first_and_the_environment_wins(step) -> None:
    step.files({"vars": "PLUGIN_TARGET=from-file\nPLUGIN_ACL=public-read\nexport PLUGIN_CACHE_CONTROL='no-store'\n"})

    run = step.run({"env_file": "vars", "target": "real", "acl": ""})

    assert run.code == 0, run.err
    headers = run.headers("real/a.txt")
    assert (headers["x-amz-acl"], headers["cache-control"]) == ("public-read", "no-store")


def test_p6_talk_goes_to_stderr_and_nothing_to_stdout(step) -> None:
    good, bad = step.run(), step.run({"delete": "perhaps"})

    assert (good.out, bad.out) == ("", "")
    assert good.err
    assert bad.err


# --- P7, decision 16: who signs -------------------------------------------------------------------


def test_p7_an_sts_token_is_sent_with_its_key(step) -> None:
    keys = {"access_key": None, "secret_key": None}
    server = step.bucket.server

    run = step.run(
        keys, AWS_ACCESS_KEY_ID=server.access_key, AWS_SECRET_ACCESS_KEY=server.secret_key, AWS_SESSION_TOKEN="TOKEN-1"
    )

    assert {request.headers.get("x-amz-security-token") for request in run.requests} == {"TOKEN-1"}


def test_p7_a_token_of_the_environment_is_not_mixed_with_keys_of_the_step(step) -> None:
    run = step.run({}, AWS_ACCESS_KEY_ID="OTHER", AWS_SESSION_TOKEN="TOKEN-1")

    assert run.code == 0, run.err
    assert {request.headers.get("x-amz-security-token") for request in run.requests} == {None}


def test_p7_a_token_may_be_a_setting(step) -> None:
    run = step.run({"session_token": "TOKEN-2"})

    assert {request.headers.get("x-amz-security-token") for request in run.requests} == {"TOKEN-2"}


@pytest.mark.parametrize("left", ["access_key", "secret_key"])
def test_p7_one_key_alone_leaves_it_to_the_default_chain(step, left, monkeypatch) -> None:
    server = step.bucket.server
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)

    run = step.run({left: None})

    assert run.code == 0, run.err


def test_p7_without_any_credentials_the_answer_says_what_to_set(step) -> None:
    run = step.run({"access_key": None, "secret_key": None})

    assert (run.code, run.requests) == (4, [])
    assert "no credentials" in run.err
    assert "access_key and secret_key" in run.err


@pytest.fixture
def roles(server):
    """Two roles that may use S3, the second one from the first."""
    iam = buckets.client(server, "iam")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:*"}]}'
    allow = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sts:*"],"Resource":"*"}]}'
    arns = []
    for name in ("deployer", "publisher"):
        try:
            made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        except iam.exceptions.EntityAlreadyExistsException:
            made = iam.get_role(RoleName=name)
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=allow)
        arns.append(made["Role"]["Arn"])
    return arns


def test_decision_16_a_role_is_assumed(step, roles, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", step.proxy.url)

    run = step.run({"assume_role": roles[0], "assume_role_session_name": "build-7", "external_id": "EXTERNAL"})

    assert run.code == 0, run.err
    (asked,) = run.of("AssumeRole")
    assert b"RoleSessionName=build-7" in asked.body
    assert b"ExternalId=EXTERNAL" in asked.body
    assert run.headers("a.txt")["x-amz-security-token"]
    assert "EXTERNAL" not in run.said


def test_p7_a_second_role_is_assumed_from_the_first(step, roles, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", step.proxy.url)

    run = step.run({"assume_role": roles[0], "user_role_arn": roles[1], "user_role_external_id": "SECOND"})

    assert run.code == 0, run.err
    first, second = run.of("AssumeRole")
    assert b"deployer" in first.body
    assert b"publisher" in second.body
    assert b"ExternalId=SECOND" in second.body
    assert second.headers["x-amz-security-token"]


def test_decision_16_an_oidc_token_assumes_the_role(step, roles, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", step.proxy.url)
    keys = {"access_key": None, "secret_key": None}

    run = step.run({**keys, "assume_role": roles[0], "oidc_token_id": "eyJhbGciOiJub25lIn0.e30.SIGNATURE"})

    assert run.code == 0, run.err
    (asked,) = run.of("AssumeRole")
    assert b"AssumeRoleWithWebIdentity" in asked.body
    assert "SIGNATURE" not in run.said


def test_decision_16_no_secret_is_ever_shown(step, proxy) -> None:
    settings = {"secret_key": "s3cr3t-very-s3cr3t", "session_token": "t0ken-very-t0ken", "json": True, "verbose": 2}

    run = step.run(settings)
    kept = b"".join(path.read_bytes() for path in (step.workspace / ".s3batch").iterdir())

    for secret in ("s3cr3t-very-s3cr3t", "t0ken-very-t0ken"):
        assert secret not in run.said
        assert secret.encode() not in kept


# --- P8: endpoints ---------------------------------------------------------------------------------


def test_p8_an_endpoint_without_a_scheme_is_https(step, tls_proxy, ca_bundle, monkeypatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca_bundle))

    run = step.run({"endpoint": tls_proxy.url.removeprefix("https://")})

    assert run.code == 0, run.err
    assert tls_proxy.counts()["PutObject"] == 1


@pytest.mark.parametrize("path_style", [True, False])
def test_p8_a_server_of_its_own_is_asked_by_path(step, path_style) -> None:
    run = step.run({"path_style": path_style})

    assert {request.bucket for request in run.requests} == {step.bucket.name}


def test_p8_the_endpoint_is_not_cloudfronts(step) -> None:
    run = step.run({"cloudfront_distribution": "E1"}, AWS_ENDPOINT_URL_CLOUDFRONT="http://127.0.0.1:9")

    assert (run.code, run.of("CreateInvalidation")) == (1, [])
    assert "cannot invalidate /* of CloudFront distribution E1" in run.err
