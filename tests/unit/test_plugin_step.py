"""What a CI says to its plugin: the settings of a step."""

from __future__ import annotations

import pytest

from s3batch.base.errors import SettingsError
from s3batch.cli import plugin_step
from s3batch.settings.parsing import GivenText

SEED_SYNC = {
    "PLUGIN_BUCKET": "my-bucket.s3-website-us-east-1.amazonaws.com",
    "PLUGIN_ACCESS_KEY": "a50d28f4dd477bc184fbd10b376de753",
    "PLUGIN_SECRET_KEY": "bc5785d3ece6a9cdefa42eb99b58986f9095ff1c",
    "PLUGIN_REGION": "us-east-1",
    "PLUGIN_SOURCE": "folder/to/archive",
    "PLUGIN_TARGET": "/target/location",
}
SEED_CACHE = {
    "PLUGIN_AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "PLUGIN_AWS_SECRET_ACCESS_KEY": "secretsecret",
    "PLUGIN_REGION": "us-east-1",
    "PLUGIN_BUCKET": "drone-cache",
    "PLUGIN_CACHE": "vendor/bundle",
}


def texts(environ):
    command, given = plugin_step.from_environment(environ)
    return command, {name: one.text for name, one in given.items()}


@pytest.mark.parametrize(
    ("environ", "command", "settings"),
    [
        pytest.param(
            SEED_SYNC,
            "sync",
            {
                "source": "folder/to/archive",
                "bucket": "my-bucket.s3-website-us-east-1.amazonaws.com",
                "target": "/target/location",
                "region": "us-east-1",
                "access_key": "a50d28f4dd477bc184fbd10b376de753",
                "secret_key": "bc5785d3ece6a9cdefa42eb99b58986f9095ff1c",
            },
            id="the example of drone-s3-sync",
        ),
        pytest.param(
            {**SEED_CACHE, "PLUGIN_RESTORE": "true"},
            "cache restore",
            {
                "bucket": "drone-cache",
                "cache": "vendor/bundle",
                "region": "us-east-1",
                "access_key": "AKIAEXAMPLE",
                "secret_key": "secretsecret",
            },
            id="the example of drone-s3cache",
        ),
        pytest.param({"PLUGIN_ACCESS": "a", "PLUGIN_ACL": "b"}, "sync", {"acl": "a"}, id="access beats acl"),
        pytest.param(
            {"PLUGIN_ACCESS": "", "PLUGIN_ACL": "b"}, "sync", {"acl": "b"}, id="empty access does not hide acl"
        ),
        pytest.param({"DRY_RUN": "false", "PLUGIN_DRY_RUN": "true"}, "sync", {"dry_run": "false"}, id="DRY_RUN first"),
        pytest.param(
            {"DRY_RUN": "", "PLUGIN_DRY_RUN": "true"}, "sync", {"dry_run": "true"}, id="empty DRY_RUN is unset"
        ),
        pytest.param({"S3_ENDPOINT": "http://a"}, "sync", {"endpoint_url": "http://a"}, id="S3_ENDPOINT"),
        pytest.param(
            {"S3_SYNC_ENDPOINT": "http://b", "S3_ENDPOINT": "http://a"},
            "sync",
            {"endpoint_url": "http://b"},
            id="S3_SYNC_ENDPOINT before it",
        ),
        pytest.param(
            {"PLUGIN_ENDPOINT": "http://c", "S3_SYNC_ENDPOINT": "http://b"},
            "sync",
            {"endpoint_url": "http://c"},
            id="PLUGIN_ENDPOINT before both",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://d", "AWS_ENDPOINT_URL_S3": "http://e"},
            "sync",
            {"endpoint_url": "http://e"},
            id="AWS_ENDPOINT_URL_S3 before AWS_ENDPOINT_URL",
        ),
        pytest.param(
            {"PLUGIN_ACL": "p", "S3BATCH_ACL": "s"}, "sync", {"acl": "p"}, id="PLUGIN_ names before S3BATCH_ names"
        ),
        pytest.param({"S3BATCH_ACL": "s"}, "sync", {"acl": "s"}, id="S3BATCH_ names count too"),
        pytest.param(
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "x"}, "sync", {"region": "eu-west-1"}, id="AWS_REGION"
        ),
        pytest.param(
            {"PLUGIN_REGION": "r", "AWS_REGION": "eu-west-1"}, "sync", {"region": "r"}, id="region before AWS_REGION"
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"},
            "sync",
            {"access_key": "a", "secret_key": "s"},
            id="AWS keys",
        ),
        pytest.param({"DEBUG": "release"}, "sync", {"verbose": "1"}, id="DEBUG of any text"),
        pytest.param({"DEBUG": "false"}, "sync", {"verbose": "false"}, id="DEBUG switched off"),
        pytest.param({"DEBUG": ""}, "sync", {}, id="DEBUG empty"),
        pytest.param({"PLUGIN_VERBOSE": "2", "DEBUG": "1"}, "sync", {"verbose": "2"}, id="verbose before DEBUG"),
        pytest.param({"PLUGIN_CACHE-CONTROL": "no-store"}, "sync", {"cache_control": "no-store"}, id="a dash of Drone"),
        pytest.param(
            {"PLUGIN_CACHE_CONTROL": "no-store"}, "sync", {"cache_control": "no-store"}, id="Woodpecker's form"
        ),
        pytest.param(
            {"PLUGIN_CACHE-CONTROL": "a", "PLUGIN_CACHE_CONTROL": "b"}, "sync", {"cache_control": "b"}, id="both forms"
        ),
        pytest.param({}, "sync", {}, id="nothing at all"),
        pytest.param(
            {"PLUGIN_REBUILD": "1", "PLUGIN_MOUNT": "a, b"}, "cache rebuild", {"cache": "a, b"}, id="mount is cache"
        ),
        pytest.param(
            {"PLUGIN_RESTORE": "yes", "PLUGIN_CACHE-KEY": "k"}, "cache restore", {"cache_key": "k"}, id="cache-key"
        ),
        pytest.param(
            {"PLUGIN_RESTORE": "false", "PLUGIN_REBUILD": "true"}, "cache rebuild", {}, id="false does not restore"
        ),
        pytest.param(
            {"PLUGIN_REBUILD": "true", "PLUGIN_SYMLINKS": "inside"},
            "cache rebuild",
            {"cache_symlinks": "inside"},
            id="symlinks of the cache",
        ),
        pytest.param({"PLUGIN_SYMLINKS": "skip"}, "sync", {"symlinks": "skip"}, id="symlinks of the sync"),
        pytest.param(
            {"PLUGIN_RESTORE": "true", "PLUGIN_COMPRESSION_LEVEL": "9"},
            "cache restore",
            {},
            id="steps of one cache may share settings",
        ),
        pytest.param({"PLUGIN_RESTORE": "false"}, plugin_step.NOTHING_TO_DO, {}, id="neither restore nor rebuild"),
        pytest.param({"PLUGIN_CACHE": "x"}, plugin_step.NOTHING_TO_DO, {}, id="only paths"),
        pytest.param({"PLUGIN_MODE": "sync", "PLUGIN_BUCKET": "b"}, "sync", {"bucket": "b"}, id="mode sync"),
        pytest.param(
            {"PLUGIN_MODE": "Restore", "PLUGIN_CACHE": "x"}, "cache restore", {"cache": "x"}, id="mode restore"
        ),
        pytest.param({"PLUGIN_MODE": "clear", "PLUGIN_BUCKET": "b"}, "cache clear", {"bucket": "b"}, id="mode clear"),
        pytest.param({"PLUGIN_MODE": "flush"}, "cache clear", {}, id="flush is clear"),
        pytest.param({"PLUGIN_MODE": "resume", "PLUGIN_WORKERS": "2"}, "resume", {"workers": "2"}, id="mode resume"),
        pytest.param(
            {"PLUGIN_MODE": "resume", "PLUGIN_BUCKET": "b", "PLUGIN_SOURCE": "d", "PLUGIN_SYMLINKS": "skip"},
            "resume",
            {"bucket": "b", "source": "d", "symlinks": "skip"},
            id="mode resume with the settings of a sync",
        ),
        pytest.param(
            {"PLUGIN_MODE": "resume", "PLUGIN_RESTORE": "true", "PLUGIN_MOUNT": "d", "PLUGIN_SYMLINKS": "inside"},
            "resume",
            {"restore": "true", "cache": "d", "cache_symlinks": "inside"},
            id="mode resume with the settings of a cache step",
        ),
        pytest.param(
            {"PLUGIN_MODE": "doctor", "PLUGIN_BUCKET": "b", "PLUGIN_TARGET": "/t", "PLUGIN_DELETE": "true"},
            "doctor",
            {"bucket": "b", "target": "/t", "delete": "true"},
            id="the doctor for a step of the sync",
        ),
        pytest.param(
            {
                "PLUGIN_MODE": "doctor",
                "PLUGIN_REBUILD": "true",
                "PLUGIN_CACHE": "x",
                "PLUGIN_PREFIX": "caches",
                "PLUGIN_SERVER": "http://c",
            },
            "doctor",
            {"target": "caches", "endpoint_url": "http://c"},
            id="the doctor for a step of the cache",
        ),
        pytest.param(
            {"PLUGIN_RESTORE": "true", "CACHE_S3_ENDPOINT": "http://c"},
            "cache restore",
            {"endpoint_url": "http://c"},
            id="a name of drone-s3-cache",
        ),
        pytest.param({"CACHE_S3_ENDPOINT": "http://c"}, "sync", {}, id="which the sync does not know"),
    ],
)
def test_a_step_is_told_by_its_variables(environ, command, settings):
    assert texts(environ) == (command, settings)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        pytest.param(
            {"PLUGIN_RESTORE": "true", "PLUGIN_SOURCE": "dist"},
            "source (from PLUGIN_SOURCE) is a setting of the sync, and restore (from PLUGIN_RESTORE) one of the cache; "
            "use one step for each",
            id="both families",
        ),
        pytest.param(
            {"PLUGIN_CACHE": "x", "PLUGIN_ACL": "private"},
            "acl (from PLUGIN_ACL) is a setting of the sync, and cache (from PLUGIN_CACHE) one of the cache; "
            "use one step for each",
            id="both families, without a flag",
        ),
        pytest.param(
            {"PLUGIN_MODE": "sync", "PLUGIN_CACHE": "x"},
            "cache (from PLUGIN_CACHE) is a setting of the cache, and this step is for the sync; use one step for each",
            id="mode says sync",
        ),
        pytest.param(
            {"PLUGIN_TTL": "7", "PLUGIN_SOURCE": "dist"},
            "ttl (from PLUGIN_TTL) is a setting of the cache, and source (from PLUGIN_SOURCE) one of the sync; "
            "use one step for each",
            id="a setting of the cache in a sync",
        ),
        pytest.param(
            {"PLUGIN_RESTORE": "true", "PLUGIN_REBUILD": "true"},
            "restore and rebuild are both true; use one step to restore and one to rebuild",
            id="restore and rebuild",
        ),
        pytest.param(
            {"PLUGIN_MODE": "restore", "PLUGIN_REBUILD": "true"},
            "mode is restore (from PLUGIN_MODE), and rebuild is true; remove one of them",
            id="mode against a flag",
        ),
        pytest.param(
            {"PLUGIN_MODE": "upload"},
            "mode cannot be 'upload' (from PLUGIN_MODE); write sync, restore, rebuild, clear, resume or doctor",
            id="a mode there is not",
        ),
        pytest.param(
            {"PLUGIN_RESTORE": "perhaps"},
            "restore cannot be 'perhaps' (from PLUGIN_RESTORE); write true or false",
            id="a boolean that is none",
        ),
        pytest.param(
            {"PLUGIN_BUKET": "b"}, "there is no setting buket (from PLUGIN_BUKET); did you mean bucket?", id="a typo"
        ),
        pytest.param(
            {"PLUGIN_FOLDERS": "x"},
            "there is no setting folders (from PLUGIN_FOLDERS); write cache",
            id="another's name",
        ),
        pytest.param(
            {"PLUGIN_MODE": "resume", "PLUGIN_DELETE": "true", "PLUGIN_CACHE": "vendor"},
            "delete (from PLUGIN_DELETE) is a setting of the sync, and cache (from PLUGIN_CACHE) one of the cache; "
            "use one step for each",
            id="resume of two plugins",
        ),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_in_one_sentence(environ, sentence):
    with pytest.raises(SettingsError) as caught:
        plugin_step.from_environment(environ)

    assert str(caught.value) == sentence


def test_an_origin_is_the_variable_as_the_ci_wrote_it():
    _, given = plugin_step.from_environment({"PLUGIN_RESTORE": "true", "PLUGIN_CACHE-KEY": "k", "AWS_REGION": "r"})

    assert given == {"cache_key": GivenText("k", "PLUGIN_CACHE-KEY"), "region": GivenText("r", "AWS_REGION")}


def test_an_empty_variable_nobody_knows_is_no_matter():
    assert plugin_step.from_environment({"PLUGIN_WHATEVER": ""}) == ("sync", {})


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        pytest.param({"PLUGIN_ENV_FILE": "a", "S3BATCH_ENV_FILE": "b"}, "a", id="the plugin's setting"),
        pytest.param({"PLUGIN_ENV-FILE": "a"}, "a", id="with a dash"),
        pytest.param({"S3BATCH_ENV_FILE": "b"}, "b", id="our variable"),
    ],
)
def test_an_env_file_is_named_by_the_step(environ, name):
    assert plugin_step.env_file(environ).text == name
