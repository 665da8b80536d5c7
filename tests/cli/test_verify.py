"""``s3batch verify`` on the command line: nothing is compared with settings that make no sense."""

from __future__ import annotations

import pytest

NOBODY = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["gone", "s3://b"], "source 'gone' (from argument SOURCE) does not exist", id="no source"),
        pytest.param(["."], "bucket is missing; write s3batch verify SOURCE s3://BUCKET/PREFIX", id="no bucket"),
        pytest.param([".", "s3://b", "--dry-run"], "verify takes no --dry-run", id="a flag that means nothing here"),
        pytest.param([".", "s3://b", "--acl", "pubic"], "acl cannot be 'pubic' (from --acl)", id="a wrong value"),
    ],
)
def test_bad_input_is_exit_code_2(call, arguments, sentence):
    answer = call("verify", *arguments, env=NOBODY)

    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


def test_a_store_that_is_not_there_is_exit_code_4_and_no_difference(call, workspace):
    (workspace / "a").write_text("x")

    answer = call("verify", ".", "s3://b", "--json", env=NOBODY, S3BATCH_RETRIES="1")

    assert (answer.code, answer.json["exit_code"], answer.json["command"]) == (4, 4, "verify")
    assert answer.json.get("differences", []) == []


def test_it_leaves_no_journal_behind(call, workspace, tmp_path):
    (workspace / "a").write_text("x")

    call("verify", ".", "s3://b", env=NOBODY, S3BATCH_RETRIES="1")

    assert not list((tmp_path / "state").rglob("*.db"))
    assert sorted(path.name for path in workspace.iterdir()) == ["a"]
