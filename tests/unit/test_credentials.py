"""From settings to endpoint and login: equal to what boto3 makes of the same settings, and who we are."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from s3batch.base.errors import EndpointError, SettingsError
from s3batch.s3 import credentials as client
from s3batch.s3.credentials import Login, connect_to_bucket
from s3batch.s3.sigv4 import Credentials
from s3batch.settings.table import Settings
from tests.rig.waiting import wait_until

KEYS = {"access_key": "AKID", "secret_key": "secret"}


def endpoint(bucket: str = "plain-bucket", **values):
    return connect_to_bucket(Settings(bucket=bucket, **KEYS | values), bucket)[0]


class SentError(Exception):
    """Ends a request of boto3's where it would be sent."""


def url_sent(s3, bucket: str, key: str) -> str:
    def stop(request, **_):
        raise SentError(request.url)

    s3.meta.events.register("before-send.s3", stop)
    with pytest.raises(SentError) as sent:
        s3.get_object(Bucket=bucket, Key=key)
    return str(sent.value)


PLAIN = boto3.session.Session()


def by_boto3(bucket: str, key: str, **values) -> str:
    """The URL that boto3 sends a request to."""
    style = {"addressing_style": "path"} if values.get("path_style") else {}
    session = boto3.session.Session(profile_name=values["profile"]) if "profile" in values else PLAIN
    s3 = session.client(
        "s3", region_name=values.get("region"), endpoint_url=values.get("endpoint_url"),
        aws_access_key_id="AKID", aws_secret_access_key="secret", config=Config(s3=style),
    )  # fmt: skip
    return url_sent(s3, bucket, key)


def url_of(found, key: str) -> str:
    return f"{'https' if found.tls else 'http'}://{found.host_header}{found.path(key)}"


def regions() -> list[str]:
    """All of the small partitions, and a few of the large one."""
    found = [PLAIN.get_available_regions("s3", partition) for partition in PLAIN.get_available_partitions()]
    return [name for names in found for name in names[:: 1 + len(names) // 6]]


@pytest.mark.parametrize("region", regions())
def test_every_region_of_amazon_is_found_where_boto3_finds_it(region):
    expected = by_boto3("plain-bucket", "a/b c", region=region)
    if region == "us-east-1":  # there boto3 keeps to the old name of all of S3; ours is the region's own
        expected = expected.replace("s3.amazonaws.com", "s3.us-east-1.amazonaws.com")

    assert url_of(endpoint(region=region), "a/b c") == expected


@pytest.mark.parametrize(
    ("bucket", "values"),
    [
        pytest.param("plain-bucket", {"path_style": True}, id="path style"),
        pytest.param("with.dots", {}, id="dots in the bucket's name, over TLS"),
        pytest.param("UPPER_case", {}, id="no DNS name"),
        pytest.param("abc", {"endpoint_url": "http://127.0.0.1:9000"}, id="a server by address"),
        pytest.param("abc", {"endpoint_url": "https://s3.example.com"}, id="a server by name"),
        pytest.param("abc", {"endpoint_url": "https://s3.example.com:8443/base/path"}, id="with a path"),
        pytest.param("abc", {"endpoint_url": "https://s3.example.com/base/"}, id="with a path and a slash"),
        pytest.param("abc", {"endpoint_url": "http://[::1]:9000"}, id="a server by IPv6 address"),
        pytest.param("with.dots", {"endpoint_url": "http://s3.example.com"}, id="dots, plain HTTP, a server by name"),
        pytest.param("abc", {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"}, id="Amazon's by URL"),
        pytest.param(
            "abc", {"endpoint_url": "https://bucket.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com"}, id="VPC endpoint"
        ),
        pytest.param("ümlaut", {"endpoint_url": "https://s3.example.com"}, id="a bucket nobody can have"),
    ],
)
def test_a_bucket_is_addressed_as_boto3_addresses_it(bucket, values):
    values = {"region": "eu-west-1", **values}

    found = url_of(endpoint(bucket, **values), "k")

    if bucket.isascii():
        assert found == by_boto3(bucket, "k", **values)


def test_a_url_without_a_scheme_is_https():
    found = endpoint(endpoint_url="s3.example.com:9000")

    assert (found.tls, found.host, found.port, found.url) == (
        True,
        "s3.example.com",
        9000,
        "https://s3.example.com:9000",
    )


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "http://", "http://u:p@host", "http://host?x=1", "http://host:99999", "http://host:abc", "http://h#f"],
)
def test_a_url_that_cannot_be_is_refused_before_any_request(url):
    with pytest.raises(SettingsError, match="endpoint_url cannot be"):
        endpoint(endpoint_url=url)


def test_a_name_that_is_not_ascii_is_resolved_and_sent_in_its_ascii_form():
    found = endpoint(endpoint_url="https://bücher.example")

    assert found.host_header == "xn--bcher-kva.example"


# --- the lane ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "values", "environment", "lane"),
    [
        pytest.param("abc", {}, {}, "lean", id="plain"),
        pytest.param("abc", {"lane": "reference"}, {}, "reference", id="by choice"),
        pytest.param("express--use1-az4--x-s3", {}, {}, "reference", id="directory bucket"),
        pytest.param("arn:aws:s3:us-east-1:123456789012:accesspoint/mine", {}, {}, "reference", id="access point"),
        pytest.param("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", {}, {}, "reference", id="many regions"),
        pytest.param("abc", {}, {"HTTPS_PROXY": "http://proxy:3128"}, "reference", id="a proxy"),
        pytest.param("abc", {}, {"https_proxy": "http://proxy:3128"}, "reference", id="a proxy in small letters"),
        pytest.param("abc", {}, {"HTTP_PROXY": "http://proxy:3128"}, "lean", id="a proxy for the other scheme"),
        pytest.param(
            "abc", {}, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".amazonaws.com"}, "lean", id="no proxy for Amazon"
        ),
        pytest.param(
            "abc", {}, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "reference", id="no proxy for others"
        ),
        pytest.param(
            "abc", {"endpoint_url": "http://127.0.0.1:9000"}, {"HTTP_PROXY": "http://p:1"}, "lean", id="this machine"
        ),
        pytest.param("abc", {}, {"AWS_USE_FIPS_ENDPOINT": "true"}, "reference", id="FIPS"),
        pytest.param("abc", {}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "reference", id="dual-stack"),
    ],
)
def test_the_lean_lane_is_taken_where_it_applies(monkeypatch, bucket, values, environment, lane):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert endpoint(bucket, region="us-east-1", **values).lane == lane


def test_the_lean_lane_cannot_be_forced_where_it_leads_nowhere():
    with pytest.raises(SettingsError, match="lane cannot be 'lean'"):
        endpoint("express--use1-az4--x-s3", lane="lean")


@pytest.mark.parametrize(
    ("bucket", "environment", "host"),
    [
        pytest.param(
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", {},
            "mine-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", id="access point",
        ),
        pytest.param("abc", {"AWS_USE_FIPS_ENDPOINT": "true"}, "abc.s3-fips.us-east-1.amazonaws.com", id="FIPS"),
        pytest.param(
            "abc", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "abc.s3.dualstack.us-east-1.amazonaws.com", id="dual-stack"
        ),
    ],
)  # fmt: skip
def test_where_the_reference_lane_goes(monkeypatch, bucket, environment, host):
    from s3batch.s3 import boto

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = endpoint(bucket, region="us-east-1")
    for name in environment:
        monkeypatch.delenv(name)

    s3 = boto.make_client(found)

    assert urlsplit(url_sent(s3, bucket, "k")).netloc == host


# --- the configuration file ----------------------------------------------------------------


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A function that writes the AWS configuration file."""

    def write(text: str, credentials: str = "") -> Path:
        path = tmp_path / "config"
        path.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
        if credentials:
            (tmp_path / "credentials").write_text(credentials)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        return path

    return write


PROFILE = """
[default]
region = ap-south-1
[profile mine]
region = eu-central-1
aws_access_key_id = FROMPROFILE
aws_secret_access_key = from-profile
aws_session_token = token-of-profile
{more}
[services here]
s3 =
  endpoint_url = http://127.0.0.1:9000
  addressing_style = path
"""


def profile(**values):
    settings = Settings(bucket="abc", **{"profile": "mine", **values})
    return connect_to_bucket(settings, "abc")


def test_a_profile_gives_credentials_and_region(configured):
    configured(PROFILE.format(more=""))

    found, login = profile()

    assert login.current() == found.credentials == Credentials("FROMPROFILE", "from-profile", "token-of-profile")
    assert url_of(found, "k") == by_boto3("abc", "k", profile="mine") == "https://abc.s3.eu-central-1.amazonaws.com/k"


def test_settings_win_over_the_profile(configured):
    configured(PROFILE.format(more="endpoint_url = http://other:1"))

    found, login = profile(region="us-west-2", endpoint_url="http://127.0.0.1:9999", **KEYS)

    assert login.current() == Credentials("AKID", "secret", "")
    assert (found.region, found.url) == ("us-west-2", "http://127.0.0.1:9999")


def test_the_default_profile_gives_the_region_to_keys_given_outright(configured):
    configured(PROFILE.format(more=""))

    assert endpoint().region == "ap-south-1"
    assert endpoint(region="sa-east-1").region == "sa-east-1"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("endpoint_url = http://127.0.0.1:9000", id="endpoint_url"),
        pytest.param("services = here", id="a services section"),
        pytest.param("s3 =\n  addressing_style = path", id="path style"),
        pytest.param(
            "s3 =\n  addressing_style = virtual\nendpoint_url = http://s3.example.com:9000", id="virtual style"
        ),
    ],
)
def test_what_a_profile_says_of_s3_counts_as_boto3_reads_it(configured, more):
    configured(PROFILE.format(more=more))

    found, _ = profile()

    assert url_of(found, "k") == by_boto3("abc", "k", profile="mine")


@pytest.mark.parametrize(
    ("more", "variants"),
    [
        pytest.param("s3 =\n  use_accelerate_endpoint = true", ("accelerate",), id="accelerate"),
        pytest.param("s3 =\n  use_dualstack_endpoint = true", ("dualstack",), id="dual-stack"),
        pytest.param("use_fips_endpoint = true", ("fips",), id="FIPS"),
        pytest.param(
            "s3 =\n  use_accelerate_endpoint = true\nendpoint_url = http://x", (), id="not with an own endpoint"
        ),
    ],
)
def test_other_names_of_amazons_s3_are_left_to_boto3(configured, more, variants):
    configured(PROFILE.format(more=more))

    found, _ = profile()

    assert found.variants == variants
    assert found.lane == ("reference" if variants else "lean")


@pytest.mark.parametrize(
    ("variable", "more", "expected"),
    [
        pytest.param("AWS_CA_BUNDLE", "ca_bundle = /profile.pem", "/AWS_CA_BUNDLE.pem", id="the variable"),
        pytest.param("NONE", "ca_bundle = /profile.pem", "/profile.pem", id="the profile"),
        pytest.param(
            "REQUESTS_CA_BUNDLE", "ca_bundle = /profile.pem", "/profile.pem", id="the profile before requests"
        ),
        pytest.param("REQUESTS_CA_BUNDLE", "", "/REQUESTS_CA_BUNDLE.pem", id="the variable of requests"),
    ],
)
def test_certificates_are_looked_for_where_boto3_looks(configured, monkeypatch, variable, more, expected):
    configured(PROFILE.format(more=more))
    monkeypatch.setenv(variable, f"/{variable}.pem")
    monkeypatch.setattr(client, "read_aws_config", _without_the_file(client.read_aws_config))

    assert profile()[0].ca_bundle == expected


def _without_the_file(ask):
    """boto3 itself wants the file to be there as soon as it makes a client."""

    def asked(session, settings):
        bundle = session._session.get_config_variable("ca_bundle") or ""
        session._session.set_config_variable("ca_bundle", None)
        kept = os.environ.pop("REQUESTS_CA_BUNDLE", None)
        try:
            return ask(session, settings)._replace(ca_bundle=bundle)
        finally:
            if kept:
                os.environ["REQUESTS_CA_BUNDLE"] = kept

    return asked


@pytest.mark.parametrize(
    "name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]
)
def test_a_pipe_as_a_file_of_the_aws_tools_is_a_bad_setting(monkeypatch, tmp_path, name):
    """A pipe without a writer holds up its reader, and no signal ends that within OpenSSL."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv(name, str(tmp_path / "pipe"))

    with pytest.raises(SettingsError, match=f"{name} cannot be '{tmp_path}/pipe': it is a pipe or a device"):
        client.refuse_odd_aws_files()
    monkeypatch.setenv(name, os.devnull)
    client.refuse_odd_aws_files()


def test_a_pipe_as_ca_bundle_of_the_profile_is_a_bad_setting(configured, monkeypatch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    configured(PROFILE.format(more=f"ca_bundle = {tmp_path}/pipe"))
    monkeypatch.setattr(client, "read_aws_config", _without_the_file(client.read_aws_config))

    with pytest.raises(SettingsError, match="ca_bundle of the AWS configuration cannot be"):
        profile()


def test_a_profile_that_is_not_there_is_said(configured):
    configured(PROFILE.format(more=""))

    with pytest.raises(EndpointError, match=r"cannot sign in: The config profile \(nobody\) could not be found"):
        profile(profile="nobody")


# --- who we are ----------------------------------------------------------------------------


def test_a_pair_given_outright_needs_no_boto3():
    """Importing it is most of the CPU of a run with nothing to do."""
    code = (
        "import sys; from s3batch.settings.table import Settings; from s3batch.s3.credentials import connect_to_bucket; "
        "found, login = connect_to_bucket(Settings(bucket='b', access_key='a', secret_key='s', session_token='t'), 'b'); "
        "assert login.current().token == 't'; "
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_user_without_a_home_can_be_somebody(monkeypatch):
    """Containers run by a number that /etc/passwd does not know."""
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])

    assert endpoint().credentials == Credentials("AKID", "secret")


def test_nobody_to_be_is_said():
    with pytest.raises(EndpointError, match="no credentials found") as nobody:
        connect_to_bucket(Settings(bucket="b"), "b")

    assert nobody.value.exit_code == 4
    assert "AWS_ACCESS_KEY_ID" in nobody.value.hint


def test_half_a_pair_in_the_environment_is_said(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")

    with pytest.raises(EndpointError, match="cannot sign in: Partial credentials found in env"):
        connect_to_bucket(Settings(bucket="b"), "b")


def test_a_token_of_the_environment_is_not_mixed_with_keys_of_settings(monkeypatch, configured):
    configured("[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other")

    _, login = connect_to_bucket(Settings(bucket="b", **KEYS), "b")

    assert login.current() == Credentials("AKID", "secret", "")


def test_the_chain_of_boto3_reads_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other")

    assert connect_to_bucket(Settings(bucket="b"), "b")[1].current() == Credentials("OTHER", "other", "of-other")


def test_a_process_that_gives_credentials_is_asked_again_when_they_are_refused(configured, tmp_path):
    counter = tmp_path / "count"
    script = tmp_path / "sign-in"
    expiry = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=6)).isoformat()
    script.write_text(
        f"#!{sys.executable}\nimport json, pathlib\np = pathlib.Path({str(counter)!r})\n"
        "n = int(p.read_text()) + 1 if p.exists() else 1\np.write_text(str(n))\n"
        f"print(json.dumps({{'Version': 1, 'AccessKeyId': f'KEY{{n}}', 'SecretAccessKey': 's', 'Expiration': {expiry!r}}}))\n"
    )
    script.chmod(0o755)
    configured(f"[profile mine]\nregion = eu-west-1\ncredential_process = {script}\n")
    _, login = profile()
    before = login.current()

    renewed = login.renewed()

    assert (before.access_key, renewed.access_key, login.current().access_key) == ("KEY1", "KEY2", "KEY2")
    assert login.renewed() is None  # refused at once again: they will not get better


def test_credentials_that_stay_the_same_are_not_renewed(configured):
    configured(PROFILE.format(more=""))
    _, login = profile()

    assert login.renewed() is None


def test_a_pair_given_outright_is_not_renewed():
    assert Login(Credentials("a", "s")).renewed() is None


def test_a_token_needs_a_role():
    with pytest.raises(SettingsError, match=r"oidc_token_id cannot be .*set assume_role too"):
        connect_to_bucket(Settings(bucket="b", oidc_token_id="ey.token.sig"), "b")


def test_secrets_show_in_no_repr():
    found, login = connect_to_bucket(
        Settings(bucket="b", access_key="AKIDAKID", secret_key="hush!", session_token="hush2"), "b"
    )

    shown = repr((found, login, login.current()))

    assert not any(secret in shown for secret in ("AKIDAKID", "hush!", "hush2"))
    assert "hush" not in json.dumps(str(found))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which processes a thread has started")
def test_a_credential_process_that_never_ends_is_ended(configured, tmp_path):
    script = tmp_path / "hangs"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 600 & wait\n")
    script.chmod(0o755)
    configured(f"[profile p]\nregion = eu-west-1\ncredential_process = {script}\n")

    with pytest.raises(EndpointError, match="no credentials came within 1 s"):
        connect_to_bucket(Settings(bucket="b", profile="p", timeout=1), "b", grace=0)

    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists())
