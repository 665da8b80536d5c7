"""``s3batch config`` shows what the profile of the AWS config files gives, and names what s3batch ignores of it."""

from __future__ import annotations

import pytest

from s3batch.cli.foreign_flags import ANSWERS
from s3batch.s3.profile import INSTEAD
from s3batch.settings.schema import flag_of
from s3batch.settings.table import TABLE

PROFILE = """
[profile deploy]
region = eu-central-1
endpoint_url = https://minio.example.com:9000
role_arn = arn:aws:iam::1:role/x
source_profile = base
output = table
s3 =
  addressing_style = path
  max_concurrent_requests = 20
  use_accelerate_endpoint = false
  max_queue_size = 5

[profile base]
aws_access_key_id = AKIA
aws_secret_access_key = hunter2hunter2
"""
IGNORED = [
    "ignored from profile deploy: output; use --json",
    "ignored from profile deploy: max_concurrent_requests; use --max-concurrency",
    "ignored from profile deploy: max_queue_size",
]


@pytest.fixture
def profile(tmp_path, monkeypatch) -> None:
    (tmp_path / "aws").write_text(PROFILE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))


def test_config_shows_what_the_profile_gives_and_ends_with_what_it_ignores(call, profile):
    lines = call("config", "sync", "--profile", "deploy").out.splitlines()

    assert lines[-3:] == IGNORED
    assert lines[-4] == (
        "[s3] of profile deploy: addressing_style = path, max_concurrent_requests = 20, use_accelerate_endpoint = false, "
        "max_queue_size = 5"
    )
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines[:-4]}
    assert rows["region"] == ["eu-central-1", "profile deploy"]
    assert rows["endpoint_url"] == ["https://minio.example.com:9000", "profile deploy"]
    assert rows["path_style"] == ["true", "profile deploy: addressing_style = path"]
    assert "hunter2hunter2" not in "\n".join(lines)


def test_a_flag_wins_over_the_profile(call, profile):
    answer = call("config", "sync", "--json", "--region", "us-east-2", AWS_PROFILE="deploy")

    assert answer.setting("region") == ("us-east-2", "--region")
    assert answer.setting("endpoint_url") == ("https://minio.example.com:9000", "profile deploy")
    assert answer.json["profile"]["ignored"][1] == {"name": "max_concurrent_requests", "use": "--max-concurrency"}


@pytest.mark.parametrize(
    "argv", [["config", "sync"], ["config", "sync", "--profile", "nobody"], ["config", "jobs", "list"]]
)
def test_without_a_profile_nothing_is_ignored(call, argv):
    answer = call(*argv)

    assert (answer.code, "ignored" in answer.out) == (0, False)


FLAGS = {flag_of(name) for row in TABLE.values() for name in row.names}


@pytest.mark.parametrize("flag", sorted(set(INSTEAD.values())))
def test_a_flag_that_config_names_is_one(flag):
    assert flag in FLAGS


@pytest.mark.parametrize("flag", ANSWERS)
def test_a_flag_of_another_tool_is_none_of_s3batch(flag):
    assert f"--{flag}" not in FLAGS
