"""What a CI says: plugin settings and facts of the build."""

from __future__ import annotations

import pytest

from s3batch import ci
from s3batch.errors import SettingsError
from s3batch.settings import Given

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
    command, given = ci.from_environment(environ)
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
        pytest.param({"PLUGIN_RESTORE": "false"}, ci.NOTHING_TO_DO, {}, id="neither restore nor rebuild"),
        pytest.param({"PLUGIN_CACHE": "x"}, ci.NOTHING_TO_DO, {}, id="only paths"),
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
            "mode is restore (from PLUGIN_MODE), and rebuild is true; leave one of them out",
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
        ci.from_environment(environ)

    assert str(caught.value) == sentence


def test_an_origin_is_the_variable_as_the_ci_wrote_it():
    _, given = ci.from_environment({"PLUGIN_RESTORE": "true", "PLUGIN_CACHE-KEY": "k", "AWS_REGION": "r"})

    assert given == {"cache_key": Given("k", "PLUGIN_CACHE-KEY"), "region": Given("r", "AWS_REGION")}


def test_an_empty_variable_nobody_knows_is_no_matter():
    assert ci.from_environment({"PLUGIN_WHATEVER": ""}) == ("sync", {})


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        pytest.param({"PLUGIN_ENV_FILE": "a", "S3BATCH_ENV_FILE": "b"}, "a", id="the plugin's setting"),
        pytest.param({"PLUGIN_ENV-FILE": "a"}, "a", id="with a dash"),
        pytest.param({"S3BATCH_ENV_FILE": "b"}, "b", id="our variable"),
    ],
)
def test_an_env_file_is_named_by_the_step(environ, name):
    assert ci.env_file(environ).text == name


DRONE = {
    "CI": "true",
    "DRONE": "true",
    "DRONE_REPO": "octo/hello",
    "CI_REPO": "octo/hello",
    "DRONE_REPO_OWNER": "octo",
    "DRONE_REPO_NAMESPACE": "octo",
    "DRONE_REPO_NAME": "hello",
    "CI_REPO_NAME": "octo/hello",
    "DRONE_REPO_BRANCH": "main",
    "DRONE_REPO_LINK": "https://git/octo/hello",
    "DRONE_BRANCH": "feat/x",
    "DRONE_COMMIT_BRANCH": "feat/x",
    "DRONE_SOURCE_BRANCH": "feat/x",
    "DRONE_TARGET_BRANCH": "feat/x",
    "DRONE_COMMIT": "c0ffee",
    "DRONE_COMMIT_SHA": "c0ffee",
    "DRONE_COMMIT_REF": "refs/heads/feat/x",
    "DRONE_COMMIT_MESSAGE": "One\n\n[NO CACHE]",
    "DRONE_COMMIT_AUTHOR": "octocat",
    "DRONE_COMMIT_AUTHOR_EMAIL": "octo@cat",
    "DRONE_BUILD_NUMBER": "42",
    "DRONE_BUILD_EVENT": "push",
    "DRONE_BUILD_LINK": "https://ci/42",
    "DRONE_STAGE_OS": "linux",
    "DRONE_STAGE_ARCH": "amd64",
    "DRONE_WORKSPACE": "/drone/src",
    "DRONE_CARD_PATH": "/dev/stdout",
}
WOODPECKER = {
    "CI": "woodpecker",
    "CI_REPO": "octo/hello",
    "CI_REPO_OWNER": "octo",
    "CI_REPO_NAME": "hello",
    "CI_REPO_DEFAULT_BRANCH": "main",
    "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_SOURCE_BRANCH": "feat/x",
    "CI_COMMIT_TARGET_BRANCH": "main",
    "CI_COMMIT_SHA": "c0ffee",
    "CI_COMMIT_REF": "refs/pull/7/head",
    "CI_COMMIT_MESSAGE": "Two",
    "CI_COMMIT_PULL_REQUEST": "7",
    "CI_PIPELINE_NUMBER": "43",
    "CI_PIPELINE_EVENT": "pull_request",
    "CI_PIPELINE_URL": "https://ci/43",
    "CI_SYSTEM_PLATFORM": "linux/arm64",
    "CI_WORKSPACE": "/woodpecker/src",
    "DRONE_REPO": "octo/hello",
    "DRONE_REPO_NAME": "hello",
}


def facts(build, *names):
    return tuple(getattr(build, name) for name in names)


def test_a_push_in_drone():
    build = ci.build(DRONE)

    assert facts(build, "system", "owner", "repo", "slug") == ("drone", "octo", "hello", "octo/hello")
    assert facts(build, "branch", "default_branch", "source_branch", "target_branch") == ("feat/x", "main", "", "")
    assert facts(build, "sha", "ref", "number", "event") == ("c0ffee", "refs/heads/feat/x", "42", "push")
    assert facts(build, "os", "arch", "workspace", "card_path") == ("linux", "amd64", "/drone/src", "/dev/stdout")
    assert facts(build, "pull_request", "is_pull_request", "fork") == ("", False, False)
    assert build.message == "One\n\n[NO CACHE]"


def test_a_pull_request_in_woodpecker():
    build = ci.build(WOODPECKER)

    assert facts(build, "system", "owner", "repo", "slug") == ("woodpecker", "octo", "hello", "octo/hello")
    assert facts(build, "source_branch", "target_branch", "pull_request") == ("feat/x", "main", "7")
    assert facts(build, "os", "arch", "number", "build_link") == ("linux", "arm64", "43", "https://ci/43")
    assert facts(build, "is_pull_request", "fork") == (True, None)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"DRONE_REPO": "o/r"}, ("o", "r", "o/r"), id="only the slug"),
        pytest.param({"CI_REPO_NAME": "o/r"}, ("o", "r", "o/r"), id="the slug in CI_REPO_NAME, as in Drone"),
        pytest.param({"DRONE_REPO_NAME": "r"}, ("", "r", "r"), id="only a name, as in drone-s3cache"),
        pytest.param({"DRONE_REPO": "g/sub/r"}, ("g/sub", "r", "g/sub/r"), id="groups within groups"),
        pytest.param(
            {"DRONE_REPO_NAMESPACE": "o", "DRONE_REPO_NAME": "r"}, ("o", "r", "o/r"), id="namespace instead of owner"
        ),
    ],
)
def test_owner_and_name_of_a_repository_are_found_wherever_they_are(environ, expected):
    assert facts(ci.build(environ), "owner", "repo", "slug") == expected


@pytest.mark.parametrize(
    ("more", "fork"),
    [
        pytest.param({"DRONE_SOURCE_BRANCH": "mallory:feat"}, True, id="another owner's branch"),
        pytest.param({"DRONE_SOURCE_BRANCH": "octo:feat"}, False, id="an own branch"),
        pytest.param({"DRONE_SOURCE_BRANCH": "feat"}, None, id="it cannot be told"),
    ],
)
def test_a_fork_is_told_where_the_source_branch_names_its_owner(more, fork):
    build = ci.build({**DRONE, "DRONE_BUILD_EVENT": "pull_request", "DRONE_PULL_REQUEST": "3", **more})

    assert build.fork is fork


@pytest.mark.parametrize("ref", ["refs/pull/12/head", "refs/merge-requests/12/head", "refs/pull-requests/12/from"])
def test_the_number_of_a_pull_request_is_in_its_ref_too(ref):
    assert ci.build({"DRONE_BUILD_EVENT": "pull_request", "DRONE_COMMIT_REF": ref}).pull_request == "12"


def test_the_message_is_the_first_that_is_not_empty():
    assert ci.build({"DRONE_COMMIT_MESSAGE": "", "CI_COMMIT_MESSAGE": "x"}).message == "x"


def test_harness_is_known_by_its_own_variables():
    assert ci.build({"HARNESS_BUILD_ID": "1", "DRONE_REPO": "o/r", "DRONE": "true"}).system == "harness"


def test_where_no_ci_speaks_there_is_no_build():
    assert ci.build({"PATH": "/bin", "CI": "true"}) is None


def test_a_build_comes_back_from_the_journal_as_it_was():
    build = ci.build(WOODPECKER)

    assert type(build).from_public({**build.public(), "unknown": 1}) == build
