"""Who wins: flag, then variable, then config file, then default. Looked at through ``s3batch config --json``."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("argv", "env", "toml", "value", "origin"),
    [
        pytest.param([], {}, "", None, "default", id="nobody says anything"),
        pytest.param([], {}, "workers = 2", 2, "config file", id="a config file"),
        pytest.param([], {"S3BATCH_WORKERS": "3"}, "workers = 2", 3, "S3BATCH_WORKERS", id="a variable beats the file"),
        pytest.param(
            ["--workers", "4"], {"S3BATCH_WORKERS": "3"}, "workers = 2", 4, "--workers", id="a flag beats both"
        ),
        pytest.param(["--workers=4"], {}, "workers = 2", 4, "--workers", id="a flag with an equals sign"),
        pytest.param([], {"S3BATCH_WORKERS": ""}, "workers = 2", 2, "config file", id="an empty variable is unset"),
        pytest.param([], {"S3BATCH_WORKERS": " "}, "workers = 2", 2, "config file", id="a blank variable is unset"),
        pytest.param(["--workers="], {"S3BATCH_WORKERS": "3"}, "", 3, "S3BATCH_WORKERS", id="an empty flag is unset"),
        pytest.param(["--workers", ""], {"S3BATCH_WORKERS": "3"}, "", 3, "S3BATCH_WORKERS", id="and so, as two words"),
        pytest.param([], {}, 'workers = ""', None, "default", id="an empty key is unset"),
    ],
)
def test_a_number_comes_from_the_strongest_source(call, config_file, argv, env, toml, value, origin):
    config_file(f"[s3batch]\n{toml}\n")

    found = call("config", "sync", "--json", *argv, env=env).setting("workers")

    assert found[0] == value
    assert found[1].startswith(origin)


@pytest.mark.parametrize(
    ("argv", "env", "toml", "value"),
    [
        pytest.param([], {}, "", False, id="default"),
        pytest.param([], {}, "delete = true", True, id="file"),
        pytest.param([], {"S3BATCH_DELETE": "no"}, "delete = true", False, id="a variable says no"),
        pytest.param(["--no-delete"], {"S3BATCH_DELETE": "yes"}, "", False, id="a flag says no"),
        pytest.param(["--delete=off"], {"S3BATCH_DELETE": "yes"}, "", False, id="a flag with a value says no"),
        pytest.param(["--delete"], {"S3BATCH_DELETE": "0"}, "delete = false", True, id="a flag says yes"),
        pytest.param(["--delete", "--no-delete"], {}, "", False, id="the last flag counts"),
        pytest.param(["--delete="], {"S3BATCH_DELETE": "1"}, "", True, id="an empty flag is unset"),
    ],
)
def test_a_boolean_can_be_taken_back_by_a_stronger_source(call, config_file, argv, env, toml, value):
    config_file(f"[s3batch]\n{toml}\n")

    assert call("config", "sync", "--json", *argv, env=env).setting("delete")[0] is value


@pytest.mark.parametrize(
    ("argv", "env", "toml", "value"),
    [
        pytest.param(["--exclude", "a", "--exclude", "b,c"], {}, "", ["a", "b", "c"], id="several flags"),
        pytest.param(["--exclude", '["a,b"]', "--exclude", "c"], {}, "", ["a,b", "c"], id="a JSON list among them"),
        pytest.param([], {"S3BATCH_EXCLUDE": "a, b"}, "", ["a", "b"], id="a variable with commas"),
        pytest.param([], {"S3BATCH_EXCLUDE": '["a,b"]'}, "", ["a,b"], id="a variable with JSON"),
        pytest.param([], {}, 'exclude = ["a,b", "c"]', ["a,b", "c"], id="a TOML list"),
        pytest.param([], {}, 'exclude = "a,b"', ["a", "b"], id="TOML text with commas"),
        pytest.param(["--exclude", "x"], {"S3BATCH_EXCLUDE": "y"}, 'exclude = ["z"]', ["x"], id="nothing is added up"),
    ],
)
def test_a_list_can_be_written_in_every_source(call, config_file, argv, env, toml, value):
    config_file(f"[s3batch]\n{toml}\n")

    assert call("config", "sync", "--json", *argv, env=env).setting("exclude")[0] == value


@pytest.mark.parametrize(
    ("toml", "name", "value"),
    [
        pytest.param('[s3batch]\nmetadata = {a = "b", n = 2}', "metadata", '{"a": "b", "n": 2}', id="a map is JSON"),
        pytest.param('[s3batch]\nacl = "private"', "acl", "private", id="text instead of a map"),
        pytest.param("[s3batch]\ngzip = true", "gzip", "true", id="a boolean where text may be"),
        pytest.param('[s3batch]\nbandwidth = "5MB"', "bandwidth", 5_000_000, id="a size"),
        pytest.param("[s3batch]\ntimeout = 1.5", "timeout", 1.5, id="a float"),
        pytest.param("[s3batch]\nexpires = 2030-01-01T00:00:00Z", "expires", "2030-01-01 00:00:00+00:00", id="a time"),
        pytest.param('[s3batch]\nregion = "a"\n[s3batch.sync]\nregion = "b"', "region", "b", id="the own table wins"),
        pytest.param('[s3batch]\nregion = "a"\n[s3batch.cache]\nregion = "b"', "region", "a", id="another's does not"),
        pytest.param("[s3batch]\nttl = 7", "region", "", id="a shared setting this command does not take"),
        pytest.param("[s3batch]\nendpoint = 'http://x'", "endpoint_url", "http://x", id="another name for it"),
        pytest.param("[s3batch]\nstorage-class = 'GLACIER'", "storage_class", "GLACIER", id="a dash"),
    ],
)
def test_a_config_file_is_toml_with_a_table_for_each_command(call, config_file, toml, name, value):
    config_file(toml)

    assert call("config", "sync", "--json").setting(name)[0] == value


def test_tables_of_the_cache_commands_add_up(call, config_file):
    config_file(
        '[s3batch]\nregion = "a"\n[s3batch.cache]\ncache = ["x"]\nregion = "b"\n[s3batch.cache.rebuild]\nregion = "c"\n'
    )

    rebuild, restore = (call("config", "cache", word, "--json") for word in ("rebuild", "restore"))

    assert (rebuild.setting("region")[0], restore.setting("region")[0]) == ("c", "b")
    assert rebuild.setting("cache")[0] == ["x"]


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        pytest.param("[s3batch]\nworker = 2", "there is no setting worker (from [s3batch] of config file PATH); "
                     "did you mean workers?", id="a typo"),
        pytest.param("[s3batch.sync]\nttl = 2", "sync takes no ttl (from [s3batch.sync] of config file PATH); "
                     "put it in the table of its own command", id="another command's setting"),
        pytest.param("[s3batch.cache.rebuild]\nkee = 2", "there is no setting kee (from [s3batch.cache.rebuild] of "
                     "config file PATH); see s3batch --help", id="a typo in another command's table"),
        pytest.param("[s3batch]\nenv_file = 'x'", "env_file cannot be set in a config file (from [s3batch] of config "
                     "file PATH); use --env-file", id="what is read earlier"),
        pytest.param("bucket = 'b'", "config file PATH has bucket outside [s3batch]; put it below [s3batch]",
                     id="outside the table"),
        pytest.param("[s3batch]\nbucket = {a = 1}", "bucket cannot be a table (from config file PATH); write a text",
                     id="a table for text"),
        pytest.param("[s3batch]\nbucket = ['a']", "bucket cannot be a list (from config file PATH); write a text",
                     id="a list for text"),
        pytest.param("[s3batch]\nworkers = 'many'", "workers cannot be 'many' (from config file PATH); "
                     "write a whole number", id="a wrong value"),
        pytest.param("[s3batch]\ndelete = 'perhaps'", "delete cannot be 'perhaps' (from config file PATH); "
                     "write true or false", id="a wrong boolean"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_config_file_is_named_with_its_place(call, config_file, toml, sentence):
    path = config_file(toml)

    answer = call("config", "sync")

    assert answer.code == 2
    assert answer.err == f"s3batch: error: {sentence.replace('PATH', str(path))}\n"


def test_what_is_no_toml_is_said_with_the_line(call, config_file):
    config_file("[s3batch]\nworkers = = 2\n")

    answer = call("config", "sync")

    assert answer.code == 2
    assert "is not valid TOML" in answer.err
    assert "line 2" in answer.err


def test_a_named_config_file_is_read_instead_of_the_users(call, config_file, tmp_path):
    config_file("[s3batch]\nworkers = 2\n")
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("[s3batch]\nretries = 3\n")
    other.write_text("[s3batch]\nretries = 4\n")

    by_flag = call("config", "sync", "--json", "--config", named, S3BATCH_CONFIG=str(other))
    by_variable = call("config", "sync", "--json", S3BATCH_CONFIG=str(other))

    assert (by_flag.setting("retries")[0], by_flag.setting("workers")[0]) == (3, None)
    assert by_variable.setting("retries") == (4, f"config file {other}")


def test_a_named_config_file_must_be_there(call):
    answer = call("config", "sync", "--config", "nowhere.toml")

    assert (answer.code, answer.err) == (
        2, "s3batch: error: config file nowhere.toml does not exist; give another --config, or none\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("env", "name", "expected"),
    [
        pytest.param({"AWS_REGION": "r"}, "region", ("r", "AWS_REGION"), id="AWS_REGION"),
        pytest.param({"AWS_DEFAULT_REGION": "r"}, "region", ("r", "AWS_DEFAULT_REGION"), id="AWS_DEFAULT_REGION"),
        pytest.param({"AWS_REGION": "r", "S3BATCH_REGION": "s"}, "region", ("s", "S3BATCH_REGION"), id="ours first"),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"},
            "endpoint_url",
            ("http://b", "AWS_ENDPOINT_URL_S3"),
            id="the special endpoint first",
        ),
        pytest.param({"AWS_PROFILE": "p"}, "profile", ("p", "AWS_PROFILE"), id="a profile is shown"),
        pytest.param({"S3BATCH_ENDPOINT": "x"}, "endpoint_url", ("https://x", "S3BATCH_ENDPOINT"), id="an alias"),
        pytest.param(
            {"S3BATCH_REGION": "", "AWS_REGION": "r"}, "region", ("r", "AWS_REGION"), id="empty hides nothing"
        ),
    ],
)
def test_variables_of_the_aws_tools_count(call, env, name, expected):
    assert call("config", "sync", "--json", env=env).setting(name) == expected


KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "envsecret", "AWS_SESSION_TOKEN": "envtoken"}
OWN = {"S3BATCH_ACCESS_KEY": "AKIAOWN", "S3BATCH_SECRET_KEY": "ownsecret"}


@pytest.mark.parametrize(
    ("argv", "env", "origins"),
    [
        pytest.param([], {}, ("default", "default", "default"), id="none"),
        pytest.param(
            [], KEYS, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), id="AWS keys and their token"
        ),
        pytest.param(
            [],
            KEYS | OWN,
            ("S3BATCH_ACCESS_KEY", "S3BATCH_SECRET_KEY", "default"),
            id="own keys without a foreign token",
        ),
        pytest.param(
            ["--session-token", "own"],
            KEYS | OWN,
            ("S3BATCH_ACCESS_KEY", "S3BATCH_SECRET_KEY", "--session-token"),
            id="own keys with their own token",
        ),
        pytest.param(["--profile", "p"], KEYS, ("default", "default", "default"), id="a profile beats AWS keys"),
        pytest.param(
            [], {"AWS_ACCESS_KEY_ID": "half"}, ("default", "default", "default"), id="half a pair is left to boto3"
        ),
    ],
)
def test_a_session_token_belongs_to_the_key_it_came_with(call, argv, env, origins):
    answer = call("config", "sync", "--json", *argv, env=env)

    assert tuple(answer.setting(name)[1] for name in ("access_key", "secret_key", "session_token")) == origins
    assert not any(secret in answer.out for secret in ("AKIA", "envsecret", "ownsecret", "envtoken"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["src", "s3://b/p/q"], ("src", "b", "p/q"), id="source and URL"),
        pytest.param(["--source", "x", "s3://b/p"], ("x", "b", "p"), id="a URL beside a source"),
        pytest.param([" s ", "s3://b/p "], (" s ", "b", "p "), id="blanks are part of a name"),
        pytest.param(['"s"', 's3://b/"p"'], ('"s"', "b", '"p"'), id="and so are quotes"),
        pytest.param(["--source", " s ", "s3://b/p"], ("s", "b", "p"), id="those around a value are not"),
        pytest.param(["src", "s3://b"], ("src", "b", "/"), id="a bucket alone"),
        pytest.param(["--delete", "src", "--gzip", "true", "s3://b/p"], ("src", "b", "p"), id="flags between"),
        pytest.param(["src", "/p", "--bucket", "b"], ("src", "b", "/p"), id="a target without a bucket"),
        pytest.param(["--source", "src", "--target", "s3://b/p"], ("src", "b", "p"), id="flags instead of words"),
        pytest.param(["--", "-src", "s3://b/p"], ("-src", "b", "p"), id="a source that looks like a flag"),
        pytest.param(["src", "s3://b/p", "--bucket", "b"], ("src", "b", "p"), id="the bucket twice, and the same"),
    ],
)
def test_words_fill_source_bucket_and_target(call, argv, expected):
    answer = call("config", "sync", "--json", *argv)

    assert tuple(answer.setting(name)[0] for name in ("source", "bucket", "target")) == expected


def test_a_url_on_the_command_line_beats_a_bucket_from_elsewhere(call):
    answer = call("config", "sync", "--json", "src", "s3://b/p", S3BATCH_BUCKET="other", S3BATCH_TARGET="t")

    assert (answer.setting("bucket")[0], answer.setting("target")[0]) == ("b", "p")


def test_a_cache_may_be_named_by_a_url(call):
    answer = call("config", "cache", "prune", "--json", "s3://b/caches")

    assert (answer.setting("bucket")[0], answer.setting("prefix")[0]) == ("b", "caches")


@pytest.mark.parametrize(
    ("argv", "env", "count"),
    [
        pytest.param(["-v"], {}, 1, id="once"),
        pytest.param(["-vv"], {}, 2, id="twice in one word"),
        pytest.param(["-v", "--verbose"], {}, 2, id="twice"),
        pytest.param(["-qv"], {}, 1, id="with another letter"),
        pytest.param([], {"S3BATCH_VERBOSE": "2"}, 2, id="a variable"),
        pytest.param([], {"S3BATCH_VERBOSE": "true"}, 1, id="a variable that is a boolean"),
        pytest.param(["-v"], {"S3BATCH_VERBOSE": "2"}, 1, id="a flag beats the variable"),
        pytest.param([], {"S3BATCH_VERBOSE": "1000000000000000"}, 2, id="a variable that means more than there is"),
        pytest.param(["--verbose=1000000000000000"], {}, 2, id="a flag that means more than there is"),
    ],
)
def test_verbose_counts(call, argv, env, count):
    assert call("config", "sync", "--json", *argv, env=env).setting("verbose")[0] == count


def test_an_env_file_completes_the_environment_and_does_not_beat_it(call, workspace):
    (workspace / ".env").write_text("S3BATCH_REGION=file\nS3BATCH_BUCKET='from file'\nS3BATCH_TARGET=t\n")

    answer = call("config", "sync", "--json", "--env-file", ".env", S3BATCH_REGION="real", S3BATCH_TARGET="")

    assert answer.setting("region")[0] == "real"
    assert answer.setting("bucket") == ("from file", "S3BATCH_BUCKET")
    assert answer.setting("target")[0] == "t"


@pytest.mark.parametrize("name", ["S3BATCH_ON_DONE", "PLUGIN_ON_DONE"])
def test_an_env_file_names_no_command_to_run(call, workspace, name):
    """It may be a file of a checkout, and the step has secrets."""
    (workspace / "vars").write_text(f"{name}=curl evil.example\n")

    refused = call("config", "sync", env={"S3BATCH_ENV_FILE": "vars"})

    assert (refused.code, f"env_file vars (from S3BATCH_ENV_FILE) sets {name}" in refused.err) == (2, True)
    assert call("config", "sync", env={"S3BATCH_ENV_FILE": "vars", name: "true"}).code == 0


def test_an_env_file_must_be_there(call):
    answer = call("config", "sync", S3BATCH_ENV_FILE="nowhere")

    assert answer.code == 2
    assert "env_file nowhere (from S3BATCH_ENV_FILE) cannot be read" in answer.err
