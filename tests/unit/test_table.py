"""The table of settings, and what a Settings knows about itself."""

from __future__ import annotations

import json
import os
import pickle

import pytest

from s3batch.base.errors import SettingsError
from s3batch.settings.ci_build import CIBuild
from s3batch.settings.parsing import (
    GivenText,
    first_given,
    join_keys,
    parse_setting,
    split_keys,
    split_list,
    unknown_name_error,
)
from s3batch.settings.schema import COMMANDS, DEFAULT, JOURNAL, Form
from s3batch.settings.table import TABLE, Settings, names_of_setting, spellings_of, taken_by

MIB = 1 << 20


def test_a_row_has_the_name_and_the_default_of_its_field():
    assert {name: row.name for name, row in TABLE.items()} == {name: name for name in TABLE}
    assert {name: row.default for name, row in TABLE.items()} == {name: getattr(Settings(), name) for name in TABLE}
    assert list(TABLE)[-1] == "env_file"


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_every_setting_says_what_it_is(row):
    assert row.help.endswith(".")
    assert row.commands <= set(COMMANDS)
    assert row.commands
    assert row.default == getattr(Settings(), row.name)
    assert (row.flag, row.variable) == ("--" + row.name.replace("_", "-"), "S3BATCH_" + row.name.upper())


@pytest.mark.parametrize("command", COMMANDS)
def test_no_two_settings_of_a_command_share_a_name(command):
    rows = taken_by(command)

    for row in rows.values():
        assert names_of_setting(row, command)[0] == row.name
        assert all(spellings_of(command)[name] is row for name in names_of_setting(row, command))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("delete", "yes", True, id="a boolean"),
        pytest.param("workers", "0x10", 16, id="a number"),
        pytest.param("max_concurrency", "1e+02", 100, id="a number as Drone writes it"),
        pytest.param("max_concurrency", "0", None, id="no concurrency is the default"),
        pytest.param("max_concurrency", "-5", None, id="negative concurrency is the default"),
        pytest.param("max_concurrency", "  ", None, id="empty concurrency is the default"),
        pytest.param("bandwidth", "50MiB", 50 * MIB, id="a rate"),
        pytest.param("part_size", "5MiB", 5 * MIB, id="a size at its minimum"),
        pytest.param("timeout", "1m", 60.0, id="a duration"),
        pytest.param("ttl", "7", 604_800.0, id="plain days"),
        pytest.param("ttl", "36h", 129_600.0, id="hours"),
        pytest.param("ttl", "0", 0.0, id="for ever"),
        pytest.param("max_delete", " 10% ", "10%", id="a limit stays text"),
        pytest.param("exclude", "a, b ,,c", ("a", "b", "c"), id="words between commas"),
        pytest.param("cache", '["a,b", 1, true, null]', ("a,b", "1", "true"), id="a JSON list"),
        pytest.param("include", "[ab].txt,x", ("[ab].txt", "x"), id="a bracket that is no JSON"),
        pytest.param("acl", '{"*":"private"}', '{"*":"private"}', id="a map stays text"),
        pytest.param("cache_control", "public, max-age: 31536000", "public, max-age: 31536000", id="text verbatim"),
        pytest.param("encryption", "aes256", "AES256", id="a choice in other letters"),
        pytest.param("endpoint_url", "minio:9000", "https://minio:9000", id="an endpoint without a scheme"),
        pytest.param("endpoint_url", "http://127.0.0.1:9000/", "http://127.0.0.1:9000", id="an endpoint with one"),
        pytest.param("verbose", "true", 1, id="verbose as a boolean"),
        pytest.param("verbose", "2", 2, id="verbose as a number"),
        pytest.param("source", "", ".", id="empty is the default"),
        pytest.param("deadline", "91250d", 7_884_000_000.0, id="the longest time that a timer takes"),
        pytest.param("max_age", "999999d", 86_399_913_600.0, id="an age, which no timer waits for"),
    ],
)
def test_a_value_is_read_from_text(name, text, value):
    assert parse_setting(TABLE[name], text, "--x") == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        pytest.param("delete", "maybe", "delete cannot be 'maybe' (from PLUGIN_X); write true or false", id="boolean"),
        pytest.param("workers", "many", "workers cannot be 'many' (from PLUGIN_X); write a whole number", id="number"),
        pytest.param("retries", "0", "retries cannot be '0' (from PLUGIN_X); write at least 1", id="too small"),
        pytest.param(
            "part_size",
            "1M",
            "part_size cannot be '1M' (from PLUGIN_X); write at least 5 MiB and at most 5 GiB",
            id="a size too small",
        ),
        pytest.param(
            "lane", "fast", "lane cannot be 'fast' (from PLUGIN_X); write auto, lean or reference", id="choice"
        ),
        pytest.param(
            "compat", "x", "compat cannot be 'x' (from PLUGIN_X); write s3cache", id="the only choice there is"
        ),
        pytest.param(
            "ttl",
            "a week",
            "ttl cannot be 'a week' (from PLUGIN_X); write a number with s, m, h, d or w, such as 90s, 36h or 7d",
            id="duration",
        ),
        *(
            pytest.param(
                name,
                "999999999d",
                f"{name} cannot be '999999999d' (from PLUGIN_X); write at most 91250d",
                id=f"{name}: longer than a timer takes",
            )
            for name in ("max_duration", "deadline", "timeout")
        ),
        pytest.param(
            "max_delete",
            "some",
            "max_delete cannot be 'some' (from PLUGIN_X); write a number or a percentage, such as 100 or 10%",
            id="limit",
        ),
        pytest.param(
            "endpoint_url",
            "ftp://x",
            "endpoint_url cannot be 'ftp://x' (from PLUGIN_X); write an address such as https://s3.example.com:9000",
            id="address",
        ),
        pytest.param(
            "fail_on",
            "warnings,errors",
            "fail_on cannot be 'warnings,errors' (from PLUGIN_X); write warnings, changes, nothing or empty",
            id="a list of choices",
        ),
    ],
)
def test_a_wrong_value_names_itself_its_origin_and_what_to_write(name, text, sentence):
    with pytest.raises(SettingsError) as caught:
        parse_setting(TABLE[name], text, "PLUGIN_X")

    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


def test_a_wrong_secret_is_not_shown():
    settings = Settings(access_key="AKIAEXAMPLE", origins={"access_key": "--access-key"})

    assert (
        str(settings.bad("access_key", "write a key")) == "access_key cannot be '***' (from --access-key); write a key"
    )


def test_a_later_check_can_say_where_a_value_came_from():
    settings = Settings(acl="open", exclude=("a", "b"), origins={"acl": "PLUGIN_ACL", "exclude": "--exclude"})

    assert str(settings.bad("acl", "write private")) == "acl cannot be 'open' (from PLUGIN_ACL); write private"
    assert str(settings.bad("exclude", "mend it")) == "exclude cannot be 'a, b' (from --exclude); mend it"
    assert settings.origin("source") == DEFAULT


def test_repr_shows_no_secret():
    settings = Settings(bucket="b", secret_key="wJalrXUtnFEMI", session_token="FwoGZXIvYXdzE", cache_secret="pepper!")

    shown = repr(settings)

    assert "bucket='b'" in shown
    assert not any(secret in shown for secret in ("wJalrXUtnFEMI", "FwoGZXIvYXdzE", "pepper!"))
    assert set(settings.secrets()) == {"wJalrXUtnFEMI", "FwoGZXIvYXdzE", "pepper!"}


def test_settings_travel_to_another_process():
    settings = Settings(bucket="b", include=("x",), build=CIBuild(repo="r"), origins={"bucket": "--bucket"})

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_journal_gets_the_job_and_no_secret():
    settings = Settings(bucket="b", access_key="AKIAEXAMPLE", secret_key="secretsecret", json=True, workspace="/w")

    public = settings.public()

    assert "secretsecret" not in json.dumps(public)
    assert public["bucket"] == "b"
    assert not {"access_key", "secret_key", "json", "verbose", "journal", "origins"} & set(public)


def test_a_resumed_job_has_its_own_settings_and_the_new_credentials_speed_and_output():
    begun = Settings(
        bucket="b", target="t", exclude=("x", "y"), delete=True, workers=2, retries=4, workspace="/w", plugin=True,
        build=CIBuild(repo="r", fork=False), origins={"workers": "--workers"},
    )  # fmt: skip
    now = Settings(
        command="resume", job="7", workers=8, json=True, secret_key="new", state_directory="/s", workspace="/elsewhere",
        origins={"workers": "--workers", "secret_key": "AWS_SECRET_ACCESS_KEY", "json": "--json"},
    )  # fmt: skip

    resumed = Settings.from_public(json.loads(json.dumps(begun.public())), now)

    assert (resumed.bucket, resumed.target, resumed.exclude, resumed.delete) == ("b", "t", ("x", "y"), True)
    assert (resumed.workers, resumed.retries, resumed.json, resumed.secret_key) == (8, 4, True, "new")
    assert (resumed.command, resumed.workspace, resumed.plugin, resumed.job) == ("sync", "/w", True, "7")
    assert resumed.build == begun.build
    assert (resumed.origin("workers"), resumed.origin("bucket"), resumed.origin("lane")) == (
        "--workers", JOURNAL, DEFAULT,
    )  # fmt: skip


def test_a_job_of_a_later_version_is_read_as_far_as_it_is_known():
    public = {**Settings(bucket="b").public(), "warp": 9}

    assert Settings.from_public(public).bucket == "b"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param({"source": "a"}, {"source": "b"}, True, id="the source does not count: a target has one history"),
        pytest.param({"endpoint_url": "http://a"}, {"endpoint_url": "http://b"}, False, id="another endpoint"),
        pytest.param({"workers": 1}, {"workers": 2}, True, id="speed does not count"),
        pytest.param({"command": "cache rebuild"}, {"command": "cache restore"}, False, id="another command"),
    ],
)
def test_the_same_target_finds_the_same_journal(one, other, same):
    first = Settings(bucket="b", workspace="/w", state_directory="/s", **one).journal_path("b/site/")
    second = Settings(bucket="b", workspace="/w", state_directory="/s", **other).journal_path("b/site/")

    assert (first == second) is same
    assert first != Settings(bucket="b", workspace="/w", state_directory="/s", **one).journal_path("b/other/") or (
        "command" in one
    )


def test_a_journal_is_named_after_its_command_below_the_state_directory():
    path = Settings(bucket="b", workspace="/w", state_directory="/s").journal_path()

    directory, name = os.path.split(path)
    assert directory == "/s"
    assert name.startswith("sync-")
    assert len(name) == len("sync-") + 12 + len(".db")


def test_a_journal_that_was_given_is_relative_to_the_workspace():
    assert Settings(journal="j.db", workspace="/w").journal_path() == "/w/j.db"
    assert Settings(workspace="/w").journal_directory() == "/w/.s3batch"


@pytest.mark.parametrize(
    ("text", "items"),
    [
        pytest.param("a,b", ("a", "b"), id="commas"),
        pytest.param(" a , b ", ("a", "b"), id="spaces around"),
        pytest.param("", (), id="nothing"),
        pytest.param(",,", (), id="empty ones"),
        pytest.param('["x y", "a,b"]', ("x y", "a,b"), id="JSON"),
        pytest.param('["a"', ('["a"',), id="broken JSON is a word"),
        pytest.param("[1, 2.5, false]", ("1", "2.5", "false"), id="JSON scalars"),
    ],
)
def test_a_list_is_words_between_commas_or_json(text, items):
    assert split_list(text) == items


KEY_LISTS = [
    ("a", ("a",)),
    ("a, b,,c ", ("a", "b", "c")),
    (r"a\,b,c", ("a,b", "c")),
    ("a\nb", ("a", "b")),
    (r'["a,b", " c ", null]', ("a,b", "c")),
    ('v-{{ hashFiles "a,b" "c" }},latest', ('v-{{ hashFiles "a,b" "c" }}', "latest")),
    (r"C:\dir", (r"C:\dir",)),
    ("[not json, b", ("[not json", "b")),
    (" , ", ()),
]


@pytest.mark.parametrize(("text", "items"), KEY_LISTS)
def test_keys_are_split_at_commas_but_for_escaped_ones_and_those_in_a_template(text, items):
    assert split_keys(text) == items
    assert split_keys(join_keys(items)) == items


def test_a_journal_that_has_one_cache_key_as_text_is_read():
    public = Settings(command="cache rebuild", cache=("v",), cache_key=("a,b",)).public()

    old = Settings.from_public({**public, "cache_key": "a,b"})

    assert old.cache_key == ("a,b",)
    assert Settings.from_public({**public, "cache_key": ""}).cache_key == ()
    assert Settings.from_public(public).cache_key == ("a,b",)


def test_an_empty_variable_does_not_hide_the_next():
    environ = {"A": "", "B": "  ", "C": "c", "D": "d"}

    assert first_given(["A", "B", "C", "D"], environ) == GivenText("c", "C")
    assert first_given(["A", "X"], environ) is None


def test_an_unknown_name_is_answered_with_the_nearest():
    assert str(unknown_name_error("flag", "--delte", ["--delete", "--acl"], prefix="--")) == (
        "there is no flag --delte; did you mean --delete?"
    )
    assert (
        str(unknown_name_error("flag", "--zzz", ["--delete"], prefix="--"))
        == "there is no flag --zzz; see s3batch --help"
    )


def test_only_settings_with_a_fixed_unit_take_plain_numbers():
    sized = {name for name, row in TABLE.items() if row.form is Form.SIZE}

    sizes_of_parts = {"part_size", "copy_part_size", "multipart_threshold"}
    assert sized == {*sizes_of_parts, "max_size", "min_size", "max_total", "local_max"}
