"""``s3batch doctor`` on the command line: what is wrong with the settings is told before anything is tried."""

from __future__ import annotations

import pytest

NOBODY = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        pytest.param(["--acl", "pubic"], "acl cannot be 'pubic' (from --acl)", id="an ACL"),
        pytest.param(["--redirects", "[1]"], "redirects cannot be '[1]' (from --redirects)", id="redirects"),
        pytest.param(["--metadata", "{}", "--tags", "x"], "tags cannot be 'x' (from --tags)", id="tags"),
        pytest.param(["--max-delete", "ten"], "max_delete cannot be 'ten' (from --max-delete)", id="a limit"),
        pytest.param(["--encryption", "AES256", "--kms-key-id", "k"], "kms_key_id cannot be 'k'", id="encryption"),
        pytest.param(["--target", "../up"], "target is", id="two targets"),
        pytest.param(["--dry-run"], "doctor takes no --dry-run", id="a flag it does not take"),
    ],
)
def test_settings_that_no_job_would_take_are_no_matter_for_the_store(call, flags, sentence):
    answer = call("doctor", "s3://b/site", *flags, env=NOBODY)

    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


def test_a_target_that_leaves_the_bucket_is_refused(call):
    answer = call("doctor", "s3://b/a/../b", env=NOBODY)

    assert answer.code == 2
    assert "write a target without '..'" in answer.err


def test_a_store_that_is_not_there_is_exit_code_4_and_one_document(call):
    answer = call("doctor", "s3://b/site", "--json", env=NOBODY, S3BATCH_RETRIES="1")

    assert (answer.code, answer.json["exit_code"], answer.json["command"]) == (4, 4, "doctor")
    assert "check endpoint_url and the network" in answer.json["error"]
    assert "hunter2" not in answer.out + answer.err


def test_the_source_is_not_looked_at(call):
    assert call("doctor", "s3://b", "--source", "/does/not/exist", env=NOBODY, S3BATCH_RETRIES="1").code == 4


def test_a_step_of_a_ci_is_examined_as_it_stands(call):
    step = {"PLUGIN_MODE": "doctor", "PLUGIN_BUCKET": "b", "PLUGIN_ENDPOINT": "http://127.0.0.1:9"}

    answer = call("plugin", env={**NOBODY, **step, "PLUGIN_SOURCE": "dist", "PLUGIN_RETRIES": "1"})

    assert answer.code == 4
    assert "http://127.0.0.1:9" in answer.err
