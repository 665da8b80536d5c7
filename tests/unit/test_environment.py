"""Whatever the AWS configuration of a machine makes boto3 raise is the user's to mend: one sentence, and never a bug."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from s3batch.base.errors import EndpointError, S3BatchError
from s3batch.cli import main
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket
from s3batch.s3.credentials import SIGN_IN_GRACE, connect_to_bucket
from s3batch.settings.table import Settings

KEYS = "[default]\naws_access_key_id = AKIAAKIAAKIA\naws_secret_access_key = secretsecret\n"
SSO = "sso_account_id = 1\nsso_role_name = r\nsso_region = us-east-1\nsso_start_url = https://x.example/start\n"


def process(output: str) -> str:
    return f"[default]\ncredential_process = /bin/echo '{output}'\n"


CONFIGS = {
    "not an ini file": "just words\nand more",
    "control characters": "\x00\x01[default\n",
    "not UTF-8": "[default]\nregion = \udcff\udcfe\n",
    "a profile that is its own source": "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n",
    "a source profile that is not there": "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = gone\n",
    "an odd credential source": "[default]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Moon\n",
    "a process that prints nothing": "[default]\ncredential_process = /bin/true\n",
    "a process that fails": "[default]\ncredential_process = /bin/false\n",
    "a process that is not there": "[default]\ncredential_process = /nowhere/at/all\n",
    "a process that cannot be started": "[default]\ncredential_process = /etc/passwd\n",
    "a process with an open quote": "[default]\ncredential_process = /bin/echo 'x\n",
    "a process that prints garbage": process("garbage {"),
    "a process that prints a list": process("[1, 2]"),
    "a process that prints a number": process("17"),
    "a process that prints null": process("null"),
    "a process that prints a word": process('"word"'),
    "a process of another version": process('{"Version": 9}'),
    "a process without keys": process('{"Version": 1}'),
    "a process with numbers as keys": process('{"Version": 1, "AccessKeyId": 1, "SecretAccessKey": 2}'),
    "a process with an odd date": process(
        '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": "soon"}'
    ),
    "a process with expired keys": process(
        '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", '
        '"Expiration": "2001-01-01T00:00:00Z"}'
    ),
    "a process with a line break in a key": process(
        '{"Version": 1, "AccessKeyId": "a\\\\nb", "SecretAccessKey": "b", "SessionToken": "c"}'
    ),
    "SSO without a session": f"[default]\n{SSO}",
    "an SSO session that is not there": "[default]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = r\n",
    "a web identity whose token is not there": (
        "[default]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /nowhere/token\n"
    ),
    "a web identity whose token is a directory": (
        "[default]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /\n"
    ),
}
CONFIGS_BEYOND_KEYS = {
    "an odd retry mode": "retry_mode = never\n",
    "an odd number of tries": "max_attempts = many\n",
    "an odd addressing style": "s3 =\n    addressing_style = sideways\n",
    "s3 as a word": "s3 = yes\n",
    "a services section that is not there": "services = gone\n",
    "an endpoint that is no URL": "endpoint_url = ://\n",
    "an odd checksum setting": "request_checksum_calculation = perhaps\n",
    "a certificate bundle that is not there": "ca_bundle = /nowhere/bundle.pem\n",
    "an odd dual-stack switch": "use_dualstack_endpoint = perhaps\n",
    "an odd defaults mode": "defaults_mode = odd\n",
    "an odd region": "region = not a region!\n",
    "an odd user agent": "sdk_ua_app_id = " + "x" * 200 + "\n",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without anything of AWS in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def contact(grace: float = SIGN_IN_GRACE, **values: object) -> None:
    """Sign in to an endpoint where nobody listens, and ask once: that is an EndpointError at best."""
    endpoint, login = connect_to_bucket(
        Settings(bucket="b", endpoint_url="http://127.0.0.1:9", timeout=3, **values), "b", grace
    )
    bucket = Bucket(endpoint, login, tries=1)
    try:
        bucket.ask(requests.head_object("k"))
    finally:
        bucket.close()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_credentials_that_cannot_be_found_are_an_endpoint_error(home, config):
    write(home / "config", config)

    with pytest.raises(EndpointError) as refused:
        contact()
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("config", CONFIGS_BEYOND_KEYS.values(), ids=CONFIGS_BEYOND_KEYS.keys())
def test_an_odd_configuration_is_no_bug(home, config):
    write(home / "config", KEYS + config)
    lane = "reference" if "bundle" in config else "lean"  # the lean lane has asked boto3 about all others by then

    with pytest.raises(S3BatchError):
        contact(lane=lane)


@pytest.mark.parametrize("text", ["garbage", "[]", "{}", '{"accessToken": 1, "expiresAt": "soon"}', '{"expiresAt": 1}'])
def test_a_cache_of_sso_that_is_none_is_an_endpoint_error(home, text):
    write(home / "config", f"[default]\n{SSO}")
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    for name in ("5b0b1bba5d4ac5d3d4e3d0a2ca4d8c7a0e5f4b3c", "4d096e8a1dbd5a8f7b6c1c4b9d8a5c3e9b1f3c2a"):
        write(cache / f"{name}.json", text)

    with pytest.raises(EndpointError):
        contact()


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_a_directory_in_the_place_of_a_file_is_no_bug(home, name):
    (home / name).mkdir()

    with pytest.raises(S3BatchError):
        contact()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HTTP_PROXY", "http://[::1"),
        ("http_proxy", "://"),
        ("http_proxy", "socks9://x"),
        ("http_proxy", "http://x:99999999"),
        ("http_proxy", "http://x:port"),
        ("http_proxy", "\x7f"),
        ("http_proxy", "http://us er:p@ss@:1"),
        ("no_proxy", "[::1,,*,\udcff"),
        ("AWS_CA_BUNDLE", "/nowhere"),
        ("AWS_CA_BUNDLE", "/"),
        ("AWS_CA_BUNDLE", "/etc/hostname"),
        ("AWS_MAX_ATTEMPTS", "many"),
        ("AWS_RETRY_MODE", "never"),
        ("AWS_PROFILE", "gone"),
        ("AWS_DEFAULT_REGION", "\u00e9"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "ftp://["),
        ("AWS_METADATA_SERVICE_TIMEOUT", "long"),
        ("AWS_ENDPOINT_URL", "not a url"),
        ("AWS_ENDPOINT_URL_S3", "http://[::1"),
        ("AWS_DATA_PATH", "/etc/passwd"),
        ("AWS_USE_FIPS_ENDPOINT", "perhaps"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "perhaps"),
        ("AWS_SDK_UA_APP_ID", "\u00e9\u00e9"),
    ],
)
def test_an_odd_variable_is_no_bug(home, monkeypatch, name, text):
    lane = "reference" if name.lower().endswith(("_proxy", "bundle")) else "lean"
    monkeypatch.setenv(name, text)
    if name == "AWS_WEB_IDENTITY_TOKEN_FILE":
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    if not name.startswith(("AWS_CON", "AWS_WEB", "AWS_MET")):
        write(home / "config", KEYS)

    with pytest.raises(S3BatchError):
        contact(lane=lane)


def test_a_process_that_hangs_is_not_waited_for_for_long(home):
    write(home / "config", "[default]\ncredential_process = /bin/sleep 60\n")
    begun = time.monotonic()

    with pytest.raises(EndpointError, match="no credentials came within 1 s"):
        contact(grace=-2.0)
    assert time.monotonic() - begun < 30  # the process itself takes 60


@pytest.mark.parametrize(
    "command", ["sync SOURCE", "verify SOURCE", "doctor", "cache list", "cache prune", "cache clear"]
)
def test_each_command_ends_with_4_and_the_words(home, tmp_path, capsys, command):
    code, stderr = run(tmp_path, command, capsys)

    assert code == 4
    assert "s3batch: error: " in stderr
    assert "JSONDecodeError" in stderr


@pytest.mark.parametrize("command", ["cache restore --cache x", "cache rebuild --cache x"])
@pytest.mark.parametrize(("more", "code"), [("", 0), (" --fail-on-error", 4)])
def test_a_cache_step_keeps_its_promise(home, tmp_path, capsys, monkeypatch, command, more, code):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)

    ended, stderr = run(tmp_path, command + more, capsys)

    assert ended == code
    assert "JSONDecodeError" in stderr
    assert ("the build goes on without it" in stderr) is (code == 0)


def run(tmp_path, command, capsys):
    """Run a command whose credentials are garbage, through the arguments and variables of a process."""
    write(tmp_path / "config", process("garbage {"))
    (tmp_path / "source").mkdir(exist_ok=True)
    words = [str(tmp_path / "source") if word == "SOURCE" else word for word in command.split()]
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        "DRONE_REPO_NAME": "r",
        "DRONE_REPO_OWNER": "o",
        "DRONE_COMMIT_BRANCH": "b",
    }
    code = main([*words, "s3://bucket/p", "--endpoint-url", "http://127.0.0.1:9"], {**environ, "HOME": str(tmp_path)})
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.err


@pytest.mark.parametrize("function", ["s3batch.cache.restore.restore_cache", "s3batch.cache.run.own_directory"])
@pytest.mark.parametrize(("more", "code"), [((), 0), (("--fail-on-error",), 1)])
def test_a_mistake_of_ours_breaks_no_build(tmp_path, monkeypatch, capsys, function, more, code):
    def fails(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(function, fails)
    monkeypatch.chdir(tmp_path)
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        "DRONE_REPO_NAME": "r",
        "DRONE_REPO_OWNER": "o",
        "DRONE_COMMIT_BRANCH": "b",
    }
    words = ["cache", "restore", "s3://b", "--cache", "x", "--access-key", "a", "--secret-key", "b", *more]

    ended = main([*words, "--json"], environ)

    captured = capsys.readouterr()
    assert ended == code
    assert json.loads(captured.out)["exit_code"] == code
    assert "this is a bug in s3batch: ZeroDivisionError: of ours; please report it" in captured.err
    assert "Traceback" not in captured.err
    assert ("the build goes on without it" in captured.err) is (code == 0)
