"""Texts of settings from every source: spaces, quotes, control characters, placeholders; no secret is kept or shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3batch.base.errors import SettingsError
from s3batch.cli import loading
from s3batch.settings.schema import Form
from s3batch.settings.table import TABLE
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

TEXTS = [
    row
    for row in TABLE.values()
    if row.form is Form.TEXT and not row.choices and "sync" in row.commands and row.name != "env_file"
]


def sources(name: str, text: str, folder: Path):
    """Every way to give a setting to a sync: arguments and environment."""
    row = TABLE[name]
    quoted = "".join(f"\\u{ord(letter):04x}" if ord(letter) < 32 else letter for letter in text)
    (folder / "c.toml").write_text(f'[s3batch]\n{name} = "{quoted}"\n')
    escaped = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    (folder / "vars").write_text(f'S3BATCH_{name.upper()}="{escaped}"\n')
    ways = {
        row.flag: ([f"{row.flag}={text}"], {}),
        row.variable: ([], {row.variable: text}),
        "config file": (["--config", str(folder / "c.toml")], {}),
        "env_file": (["--env-file", str(folder / "vars")], {}),
    }
    return ways | {variable: ([], {variable: text}) for variable in row.also}


def loaded(argv, environ, folder):
    homes = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "none"), "XDG_STATE_HOME": str(folder)}
    environ = loading.with_env_file("sync", argv, homes | environ)
    return loading.settings_of("sync", argv, environ)


@pytest.mark.parametrize(
    "name", [row.name for row in TEXTS if not row.name.endswith("sse_c_key")]
)  # which names a file
def test_white_space_at_the_ends_does_not_count_wherever_it_comes_from(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    partner = {"access_key": "secret_key", "secret_key": "access_key"}.get(name)
    for argv, environ in sources(name, " \t\r\nvalue\n ", tmp_path).values():
        more = {TABLE[partner].also[0]: "partner"} if partner else {}
        if "env-file" not in " ".join(argv):
            assert getattr(loaded(argv, environ | more, tmp_path), name) == "value", argv
    if name != "on_done":  # an env_file may not set it
        assert getattr(loaded(*sources(name, "\nvalue\r\n", tmp_path)["env_file"], tmp_path), name) == "value"


@pytest.mark.parametrize("name", [row.name for row in TEXTS])
@pytest.mark.parametrize("letter", ["\n"])
def test_a_control_character_inside_is_refused_and_a_secret_not_shown(tmp_path, monkeypatch, name, letter):
    monkeypatch.chdir(tmp_path)
    for source, (argv, environ) in sources(name, f"CANARY1{letter}CANARY2", tmp_path).items():
        if (name, source) == ("on_done", "env_file"):
            continue  # it may not set it at all
        with pytest.raises(SettingsError) as refused:
            loaded(argv, environ, tmp_path)
        sentence = str(refused.value)
        assert name in sentence or any(variable in sentence for variable in TABLE[name].also)
        assert ("CANARY" in sentence) is not TABLE[name].secret
        assert letter not in sentence


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("acl", '{"*.html": "public-read\\n\\r"}', id="a value of a map"),
        pytest.param("metadata", '{"a\\tb": "c"}', id="a name of a map"),
        pytest.param("redirects", '{"a": "b\\u0000c"}', id="a redirect"),
        pytest.param("include", '["a\\nb"]', id="an item of a list"),
        pytest.param("endpoint_url", "http://a\x7fb", id="an address"),
        pytest.param("workers", "1\x002", id="a number"),
    ],
)
def test_a_control_character_is_refused_in_every_form(tmp_path, monkeypatch, name, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=f"^{name} "):
        loaded([f"{TABLE[name].flag}={text}"], {}, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        pytest.param("region", "x\udcff", "write it in UTF-8", id="a region"),
        pytest.param("endpoint_url", "http://x\udcff", "write it in UTF-8", id="an endpoint"),
        pytest.param("bucket", "x\udcff", "write it in UTF-8", id="a bucket"),
        pytest.param("access_key", "x\udcff", "write it in UTF-8", id="a key"),
        pytest.param("backup", "s3://b/x\udcff", "write it in UTF-8", id="a place for backups"),
        pytest.param("cloudfront_distribution", "x\udcff", "write it in UTF-8", id="a distribution"),
        pytest.param("journal", '"\\ud800"', "write it in UTF-8", id="half a character, which no file system has"),
        pytest.param("exclude", '["a", "\\ud800"]', "write it in UTF-8", id="half a character in a list"),
        pytest.param("redirects", '{"\\ud800": "/"}', "write it in UTF-8", id="half a character in a map"),
    ],
)
def test_what_is_no_text_is_refused_where_a_service_gets_it(tmp_path, monkeypatch, name, text, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=f"^{name} cannot be .* {hint}"):
        try:
            loaded([f"{TABLE[name].flag}={text}"], {}, tmp_path)
        except SettingsError as error:
            raise SettingsError(f"{error} {error.hint}") from None


@pytest.mark.parametrize("name", ["source", "journal", "exclude", "files_from", "report", "redirects", "on_done"])
def test_a_path_may_have_any_bytes(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    found = getattr(loaded([f"{TABLE[name].flag}=x\udcff.json"], {}, tmp_path), name)
    assert "x\udcff.json" in ([found] if isinstance(found, str) else found)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("acl", '"public-read"', "public-read"),
        ("endpoint_url", '"http://a:1"', "http://a:1"),
        ("retries", '"3"', 3),
        ("delete", '"true"', True),
        ("checksum", '"MD5"', "md5"),
        ("include", '"a,b"', ("a", "b")),
        ("include", "a\r\nb\r\n", ("a", "b")),
        ("include", "a,\n\nb\n", ("a", "b")),
        ("acl", '{\n "*": "private"\n}\n', '{\n "*": "private"\n}'),
    ],
)
def test_a_json_string_is_that_string_and_lines_are_a_list(tmp_path, monkeypatch, name, text, value):
    monkeypatch.chdir(tmp_path)
    assert getattr(loaded([], {TABLE[name].variable: text}, tmp_path), name) == value


@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token", "region", "bucket", "endpoint_url"])
@pytest.mark.parametrize("text", ["${MY_VALUE}", "x-$(MY_VALUE)", "<+MY_VALUE>"])
def test_a_placeholder_is_refused_naming_setting_and_variable(tmp_path, monkeypatch, name, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as refused:
        loaded([f"{TABLE[name].flag}=CANARY{text}"], {}, tmp_path)

    assert str(refused.value).startswith(f"{name} still holds ")
    assert "MY_VALUE" in str(refused.value)
    assert "CANARY" not in str(refused.value)


def test_a_placeholder_in_the_bucket_of_a_place_is_refused_and_other_texts_may_hold_a_dollar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="bucket still holds"):
        loaded([".", "s3://${BUCKET}/x"], {}, tmp_path)

    with pytest.raises(SettingsError, match="source still holds"):
        loaded(["s3://$(BUCKET)/x", "there"], {}, tmp_path)
    with pytest.raises(SettingsError, match="backup still holds"):
        loaded([".", "s3://b/x", "--backup", "s3://<+BUCKET>/x"], {}, tmp_path)

    assert loaded(["s3://b/$(x)", "there"], {}, tmp_path).source == "s3://b/$(x)"
    assert loaded([".", "s3://b/${x}", "--cache-control", "${y}"], {}, tmp_path).target == "${x}"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CA_BUNDLE", "HTTPS_PROXY", "no_proxy"])
def test_variables_that_libraries_read_are_cleaned_too(tmp_path, variable):
    environ = loading.with_env_file("sync", [], {variable: " value\n", "AWS_EMPTY": " "})

    assert environ == {variable: "value"}
    with pytest.raises(SettingsError, match=f"the variable {variable} cannot be 'a.nb'"):
        loading.with_env_file("sync", [], {variable: "a\nb"})


def test_a_variable_that_holds_a_secret_is_not_shown():
    with pytest.raises(SettingsError) as refused:
        loading.with_env_file("sync", [], {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "CANARY\nx"})

    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "verbose", "quiet"),
    [
        ({"log_level": "trace"}, 2, False),
        ({"log_level": "DEBUG"}, 1, False),
        ({"log_level": "info"}, 0, False),
        ({"log_level": "warn"}, 0, True),
        ({"log_level": '"error"'}, 0, True),
        ({"log_level": "warn", "verbose": "1"}, 1, False),
        ({"log_level": "debug", "verbose": "false"}, 1, False),
        ({"log_level": "info", "quiet": "true"}, 0, True),
    ],
)
@pytest.mark.parametrize("prefix", ["PLUGIN_", "S3BATCH_"])
def test_log_level_is_verbosity(tmp_path, monkeypatch, prefix, given, verbose, quiet):
    monkeypatch.chdir(tmp_path)
    environ = {f"{prefix}{name.upper()}": text for name, text in given.items()} | {"HOME": str(tmp_path)}
    plugin = loading.plugin_settings({"PLUGIN_BUCKET": "b", **environ})

    assert (plugin.verbose, plugin.quiet) == (verbose, quiet)


def test_log_level_error_says_no_warning(call, fake_bucket):
    said = {
        level: call("sync", ".", "s3://b", "--log-level", level, env=fake_bucket).err for level in ("warn", "error")
    }

    assert "warning: there is no file" in said["warn"] or said["warn"]
    assert "warning:" not in said["error"]


@pytest.fixture
def fake_bucket(workspace):
    """A bucket, and what makes a sync of the working directory warn."""
    (workspace / "dangling").symlink_to("nowhere")
    with FakeS3() as fake:
        yield {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("~", "/home/me"),
        ("~/.npm", "/home/me/.npm"),
        ("$HOME/.npm", "/home/me/.npm"),
        ("${HOME}/.cache/go", "/home/me/.cache/go"),
        ("$HOMER/x", "$HOMER/x"),
        ("~user/x", "~user/x"),
        ("./~", "./~"),
        ("a/$HOME", "a/$HOME"),
    ],
)
@pytest.mark.parametrize("block", ["{}\r\nb\r\n", "{},b", '["{}", "b"]', "{}\n\nb\n"])
def test_cache_paths_know_the_home_and_may_be_a_block(tmp_path, monkeypatch, path, place, block):
    monkeypatch.chdir(tmp_path)
    environ = {"PLUGIN_RESTORE": "true", "PLUGIN_CACHE": block.format(path.replace("{", "{")), "HOME": "/home/me"}

    assert loading.plugin_settings(environ).cache == (place, "b")


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "S3BATCH_ENDPOINT_URL", "S3BATCH_CLOUDFRONT_ENDPOINT"])
@pytest.mark.parametrize(
    "url",
    [
        "http://me:CANARY@127.0.0.1:9",
        "me:CANARY@127.0.0.1:9",
        "http://CANARY@h/",
        "http://h?k=CANARY",
        "http://m:CAN/ARY@h",
    ],
)
def test_an_endpoint_with_a_password_is_refused_before_any_journal(call, workspace, variable, url):
    done = call("sync", ".", "s3://b", env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", variable: url})

    assert done.code == 2
    assert "CAN" not in done.out + done.err
    assert not list(workspace.parent.rglob("*.db"))


@pytest.mark.parametrize("file", ["config", "credentials"])
@pytest.mark.parametrize("words", [("sync", "."), ("cache", "list"), ("doctor",)], ids=" ".join)
def test_an_endpoint_of_the_aws_configuration_with_a_password_is_refused_before_any_journal(tmp_path, words, file):
    (tmp_path / "work").mkdir()
    aws = tmp_path / file
    aws.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://me:CANARY@127.0.0.1:9\n")
    variable = {"config": "AWS_CONFIG_FILE", "credentials": "AWS_SHARED_CREDENTIALS_FILE"}[file]
    environ = program.clean_environment(tmp_path / "home") | {variable: str(aws)}
    environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    done = program.run([*words, "s3://b"], environ, tmp_path / "work")

    assert (done.code, done.stdout) == (2, "")
    assert "endpoint_url cannot be 'http://***@127.0.0.1:9' (from the AWS configuration)" in done.stderr
    assert "CANARY" not in done.stderr
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO"])
def test_no_variable_of_an_endpoint_may_hold_a_password(variable):
    with pytest.raises(SettingsError, match=f"the variable {variable} cannot be 'http://...@h'"):
        loading.with_env_file("sync", [], {variable: "http://me:CANARY@h"})


SECRETS = [row.name for row in TABLE.values() if row.secret]


@pytest.mark.parametrize("reach", ["store", "nowhere", "proxy"])
def test_no_secret_gets_into_any_file_or_onto_any_stream(tmp_path, reach):
    """Every secret setting is a canary, and so are the passwords of the proxies."""
    canaries = {name: f"CANARY{number:02d}{name}" for number, name in enumerate(SECRETS)}
    canaries["sse_c_key"] = "CANARY of SSE-C: a key of 32 byte"[:32]
    canaries["source_sse_c_key"] = "CANARY of a source: key of 32 bytes"[:32]
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a.txt").write_text("a")
    with FakeS3() as fake:
        fake.keys = {canaries["access_key"]: canaries["secret_key"]}
        proxy = "http://CANARYuser:CANARY%21pw@127.0.0.1:9"
        environ = program.clean_environment(tmp_path / "home") | {"TMPDIR": str(tmp_path), "S3BATCH_RETRIES": "1"}
        environ |= {f"S3BATCH_{name.upper()}": text for name, text in canaries.items()}
        environ |= {"AWS_ENDPOINT_URL": fake.url if reach == "store" else "http://127.0.0.1:9"}
        environ |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "no_proxy": "" if reach == "proxy" else "127.0.0.1"}
        if reach == "proxy":
            environ["AWS_ENDPOINT_URL"] = "http://store.invalid"
        del environ["S3BATCH_OIDC_TOKEN_ID"]
        (tmp_path / "home").mkdir(exist_ok=True)

        runs = [
            program.run([*words, "-vv", "--json"], environ, tmp_path / "work")
            for words in (["sync", ".", "s3://bucket/x"], ["jobs", "list"], ["resume"], ["config", "sync"],
                          ["cache", "rebuild", "--cache-key", "k", "--cache", "a.txt", "s3://bucket"])
        ]  # fmt: skip

    if reach == "store":
        assert runs[0].code == 0, runs[0].stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for content in [*(path.read_bytes() for path in files), *((run.stdout + run.stderr).encode() for run in runs)]:
        assert b"CANARY" not in content
