"""Help, messages, exit codes and the JSON document: what holds for every command."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time

import pytest

import s3batch
from s3batch.cli import main
from s3batch.cli.examples import EXAMPLES
from s3batch.cli.foreign_flags import ANSWERS
from s3batch.cli.help import FLAGLESS
from s3batch.cli.loading import require_needed_settings, settings_of
from s3batch.settings.schema import COMMANDS, flag_of
from s3batch.settings.table import TABLE, taken_by

DOCUMENT = {
    "job", "command", "state", "exit_code", "seconds", "seconds_total", "sent_now", "sent_before", "resumed", "journal", "files", "bytes", "unchanged",
    "operations", "requests", "retries", "failures", "warnings", "error",
    "schema", "version", "source", "target", "endpoint", "started", "ended", "dry_run",
}  # fmt: skip


@pytest.mark.parametrize("argv", [["--version"], ["--version", "x"]])
def test_the_version_is_told(call, argv):
    assert call(*argv).out == f"s3batch {s3batch.__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"], []])
def test_the_overview_names_every_command_on_one_screen(call, argv):
    answer = call(*argv)

    assert answer.code == 0
    assert all(f"\n  {command}" in answer.out for command in COMMANDS)
    assert len(answer.out.splitlines()) <= 36
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "line", ["sync {} s3://b/p", "verify . s3://b/p", "jobs list", "config sync", "plugin", "cache list s3://b", "sync {} s3://b --json"]
)  # fmt: skip
def test_a_working_directory_that_is_gone_is_a_sentence(call, tmp_path, monkeypatch, line):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    answer = call(*line.format(tmp_path).split(), PLUGIN_BUCKET="b")

    assert answer.code == 2
    assert "the working directory cannot be found: No such file or directory; change to" in answer.err
    assert "--json" not in line or json.loads(answer.out)["exit_code"] == 2


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in {"config", "plugin"}])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_whole_help_of_a_command_explains_every_flag_it_takes(call, command, flag):
    answer = call(*command.split(), flag, "all")

    assert answer.code == 0
    for row in taken_by(command).values():
        if command == "resume" and command not in row.commands:  # the job's own settings, which may be repeated
            continue
        assert row.flag in answer.out or f"--no-{row.flag[2:]}" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in FLAGLESS])
def test_the_help_of_a_command_has_three_examples_on_20_lines(call, command):
    answer = call(*command.split(), "--help", COLUMNS="80")

    lines = answer.out.splitlines()
    assert (answer.code, lines[0][:15]) == (0, "usage: s3batch ")
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith(f"  s3batch {command}")]) == 3
    assert lines[-1] == f"s3batch {command} --help all shows every flag."


@pytest.mark.parametrize(
    ("command", "line"), [(name, line) for name, shown in EXAMPLES.items() for line in shown.lines if name != "config"]
)
def test_the_settings_of_an_example_are_valid(call, command, line):
    home = {"HOME": "/nowhere", "GITHUB_ACTIONS": "true"}

    settings = settings_of(command, shlex.split(line), home)

    assert settings.command == command
    if command != "resume":
        require_needed_settings(settings)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_short_help_names_flags_that_the_command_takes(command):
    assert set(EXAMPLES[command].flags) <= set(taken_by(command))


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("9", 60), ("500", 120), ("", 80), ("wide", 80)])
def test_the_help_is_as_wide_as_the_terminal(call, columns, width):
    lines = call("sync", "--help", "all", COLUMNS=columns).out.splitlines()

    assert width - 12 < max(map(len, lines)) <= width


@pytest.mark.parametrize(("argv", "commands"), [
    ("--help all", set(COMMANDS)), ("help all", set(COMMANDS)), ("help sync all", {"sync"}),
    ("cache --help all", {name for name in COMMANDS if name.startswith("cache ")}), ("help jobs list all", {"jobs list"}),
])  # fmt: skip
def test_the_help_of_all_is_that_of_each(call, argv, commands):
    answer = call(*argv.split())

    assert answer.code == 0
    assert all(f"usage: s3batch {command}" in answer.out for command in commands)
    assert answer.out.count("usage: s3batch ") == len(commands)


@pytest.mark.parametrize("family", ["cache", "jobs"])
@pytest.mark.parametrize("argv", ["{} --help", "{} -h", "help {}"])
def test_the_help_of_a_family_lists_its_commands(call, family, argv):
    answer = call(*argv.format(family).split())

    assert answer.code == 0
    assert answer.out.startswith(f"usage: s3batch {family} COMMAND")
    named = {command for command in COMMANDS if f"\n  {command}" in answer.out}
    assert named == {command for command in COMMANDS if command.startswith(f"{family} ")}


@pytest.mark.parametrize("command", ["sync", "cache restore", "jobs show", "plugin"])
def test_help_of_a_command_is_its_flag_help(call, command):
    assert call("help", *command.split()) == call(*command.split(), "--help")


@pytest.mark.parametrize("command", ["config", "plugin"])
def test_the_other_commands_have_help_too(call, command):
    answer = call(command, "--help")

    assert answer.out.startswith(f"usage: s3batch {command}")


@pytest.mark.parametrize(
    ("argv", "env", "sentence"),
    [
        pytest.param(["help", "snyc"], {}, "there is no command snyc; did you mean sync?", id="help for a command with a typo"),
        pytest.param(["--", "--help"], {}, "the command must come before --; write s3batch COMMAND [flags]", id="a dash"),
        pytest.param(["snyc"], {}, "there is no command snyc; did you mean sync?", id="a command with a typo"),
        pytest.param(["--quiet", "sync"], {}, "the command must come before --quiet; write s3batch COMMAND "
                     "[flags]", id="a flag before the command"),
        pytest.param(["jobs"], {}, "jobs needs a command; write s3batch jobs and one of list, show, prune, forget",
                     id="half a command"),
        pytest.param(["cache", "restor"], {}, "cache needs a command; write s3batch cache and one of restore, "
                     "rebuild, clear, list, prune, inspect", id="half a command with a typo"),
        pytest.param(["sync"], {}, "bucket is missing; write s3batch sync SOURCE s3://BUCKET/PREFIX, or give --bucket",
                     id="no bucket"),
        pytest.param(["doctor"], {}, "bucket is missing; write s3batch doctor s3://BUCKET/PREFIX, or give --bucket",
                     id="no bucket for the doctor"),
        pytest.param(["sync", "a", "s3:///p"], {}, "target cannot be 's3:///p' (from argument TARGET); "
                     "write s3://BUCKET/PREFIX", id="a URL without a bucket"),
        pytest.param(["sync", "a", "s3://b", "c"], {}, "sync got an unexpected argument 'c'; see s3batch sync --help",
                     id="a word too many"),
        pytest.param(["sync", "a", "s3://b", "--bucket", "c"], {}, "bucket is 'b' in 's3://b' and 'c' in --bucket; "
                     "give only one", id="two buckets"),
        pytest.param(["sync", "a", "--source", "b", "s3://b"], {}, "source is 'a' and also 'b' (from --source); "
                     "give only one", id="two sources"),
        pytest.param(["sync", "--delte"], {}, "there is no flag --delte; did you mean --delete?", id="a typo"),
        pytest.param(["sync", "--secret-kye=hunter2hunter2"], {}, "there is no flag --secret-kye; did you mean "
                     "--secret-key?", id="a typo, and its value is not shown"),
        pytest.param(["sync", "--no-progress"], {}, "sync takes no --no-progress; write --progress none", id="a flag of the AWS CLI"),
        pytest.param(["sync", "--bwlimit=3M"], {}, "sync takes no --bwlimit; write --bandwidth 10MiB: bytes a second, of "
                     "all workers together", id="a flag of rclone"),
        pytest.param(["sync", "a", "s3://b", "--recursive"], {}, "sync takes no --recursive; leave it out: a directory is "
                     "always sent with everything below it", id="a flag that is not needed"),
        pytest.param(["sync", "-x"], {}, "there is no flag -x; see s3batch --help", id="a letter nobody knows"),
        pytest.param(["sync", "--workers"], {}, "argument --workers: expected one argument; write --workers=VALUE if the value begins with '-', or see s3batch sync --help",
                     id="a flag without its value"),
        pytest.param(["sync", "--workers", "many"], {}, "workers cannot be 'many' (from --workers); write a whole number",
                     id="a wrong value"),
        pytest.param(["sync", "--delete=perhaps"], {}, "delete cannot be 'perhaps' (from --delete); write true or false",
                     id="a wrong boolean"),
        pytest.param(["sync"], {"S3BATCH_DELETE": "perhaps"}, "delete cannot be 'perhaps' (from S3BATCH_DELETE); write "
                     "true or false", id="a wrong variable"),
        pytest.param(["sync"], {"S3BATCH_WORKER": "2"}, "there is no variable S3BATCH_WORKER; did you mean "
                     "S3BATCH_WORKERS?", id="a variable with a typo"),
        pytest.param(["sync", "--ttl", "7"], {}, "sync takes no --ttl; it is a flag of cache prune, cache rebuild, cache "
                     "restore", id="another command's flag"),
        pytest.param(["resume", "--grace", "2h"], {}, "resume uses the settings of its job, so "
                     "--grace cannot be given; remove it, or start a new job", id="resume with a setting"),
        pytest.param(["resume"], {"S3BATCH_DRY_RUN": "true"}, "resume has no dry run, but dry_run is true (from "
                     "S3BATCH_DRY_RUN); remove it", id="a resume that is to do nothing"),
        pytest.param(["plugin"], {"PLUGIN_MODE": "resume", "PLUGIN_WORKERS": "2"}, "mode resume takes the settings of "
                     "the step it finishes, and bucket is missing; repeat them beside mode: resume; the journal in the "
                     "workspace does not decide where files go", id="a plugin that resumes with nothing but speed"),
        pytest.param(["resume", "7", "8"], {}, "resume got an unexpected argument '8'; see s3batch resume --help", id="two jobs"),
        pytest.param(["cache", "rebuild", "--bucket", "b"], {}, "cache is missing; name the directories and files to "
                     "cache with --cache", id="nothing to cache"),
        pytest.param(["sync", "a", "s3://b", "--executor", "dask"], {}, "scheduler is missing; executor dask needs "
                     "--scheduler, such as tcp://host:8786", id="Dask without a scheduler"),
        pytest.param(["sync", "a", "s3://b", "--access-key", "AKIA"], {}, "access_key (from --access-key) is set and "
                     "secret_key is not; give both or none", id="half a pair of keys"),
        pytest.param(["plugin", "--bucket"], {}, "plugin takes no arguments, '--bucket' was given; it reads PLUGIN_ "
                     "variables", id="a plugin with arguments"),
        pytest.param(["plugin"], {}, "Must set 'bucket'; add bucket to the settings of the step", id="a plugin alone"),
        pytest.param(["plugin"], {"PLUGIN_BUCKET": "b", "PLUGIN_DELETE": "maybe"}, "delete cannot be 'maybe' (from "
                     "PLUGIN_DELETE); write true or false", id="a plugin's wrong value"),
        pytest.param(["plugin"], {"PLUGIN_BUKET": "b"}, "there is no setting buket (from PLUGIN_BUKET); did you mean "
                     "bucket?", id="a plugin's typo"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence_and_exit_code_2(call, argv, env, sentence):
    answer = call(*argv, env=env)

    assert (answer.code, answer.out, answer.err) == (2, "", f"s3batch: error: {sentence}\n")


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        pytest.param(["sync", "--json"], {}, id="a flag"),
        pytest.param(["sync", "--delte", "--json"], {}, id="a flag behind a mistake"),
        pytest.param(["sync"], {"S3BATCH_JSON": "true"}, id="a variable"),
        pytest.param(["plugin"], {"PLUGIN_JSON": "yes"}, id="a plugin's setting"),
        pytest.param(["nonsense", "--json"], {}, id="no command"),
    ],
)
def test_with_json_a_failure_is_a_document_too(call, argv, env):
    answer = call(*argv, env=env)

    assert answer.code == 2
    assert set(answer.json) == DOCUMENT
    assert (answer.json["state"], answer.json["exit_code"], answer.json["failures"]) == ("failed", 2, [])
    assert answer.json["error"] in answer.err
    assert answer.json["operations"]["upload"] == {"planned": 0, "done": 0, "failed": 0, "skipped": 0, "bytes": 0}


@pytest.mark.parametrize("argv", [["sync", "--json", "--no-json"], ["sync", "--", "--json"]])
def test_without_json_stdout_stays_empty(call, argv):
    assert call(*argv).out == ""


def test_resume_takes_anew_credentials_speed_journal_and_output_only():
    assert {name for name, row in taken_by("resume").items() if "resume" in row.commands} == {
        "endpoint_url", "region", "path_style", "profile", "access_key", "secret_key", "session_token", "assume_role",
        "assume_role_session_name", "external_id", "user_role_arn", "user_role_external_id", "oidc_token_id",
        "sign_payload", "workers", "max_concurrency", "max_duration", "bandwidth", "retries", "timeout", "executor", "scheduler", "lane",
        "multipart_threshold", "part_size", "journal", "json", "progress", "verbose", "quiet", "log_format", "env_file",
        "cache_secret", "log_level", "all_jobs", "yes", "source_endpoint_url", "source_region", "source_path_style",
        "source_profile", "source_access_key", "source_secret_key", "source_session_token", "sse_c_key", "source_sse_c_key", "no_sign_request",
        "request_payer", "copy_part_size",
        "json_lines", "report", "on_done", "ping",
    }  # fmt: skip


def test_a_cache_step_that_wants_nothing_does_nothing(call):
    answer = call("plugin", PLUGIN_CACHE="vendor", PLUGIN_RESTORE="false", PLUGIN_BUCKET="b")

    assert (answer.code, answer.out) == (0, "")
    assert "neither restore nor rebuild" in answer.err


def test_config_is_a_table_for_people(call):
    answer = call("config", "sync", "dist", "s3://b/p", "--access-key", "AKIAEXAMPLE", "--secret-key", "s3cr3ts3cr3t")

    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[0] == ["setting", "value", "from"]
    assert ["bucket", "b", "argument", "TARGET"] in lines
    assert ["access_key", "***", "--access-key"] in lines
    assert ["part_size", "16MiB", "default"] in lines
    assert "s3cr3t" not in answer.out


def test_config_shows_the_region_of_a_profile(call, tmp_path, monkeypatch):
    (tmp_path / "aws").write_text("[profile build]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))

    answer = call("config", "sync", "dist", "s3://b/p", "--profile", "build")
    wrong = call("config", "sync", "dist", "s3://b/p", "--profile", "no-such")

    assert ["region", "eu-north-1", "profile", "build"] in [line.split() for line in answer.out.splitlines()]
    assert (wrong.code, "us-east-1" in wrong.out) == (0, True)


def test_config_without_a_command_shows_every_setting(call):
    assert set(call("config", "--json").json["settings"]) == set(taken_by("config"))


def test_config_is_one_event_where_events_are_wanted(call):
    (event,) = call("config", "sync", "--json-lines").out.splitlines()

    assert json.loads(event)["event"] == "ended"
    assert json.loads(event)["settings"]["json_lines"] == {"value": True, "from": "--json-lines"}


def test_config_shows_hooks_and_reports_and_carries_none_out(call, workspace):
    words = ["--report", "r.json", "--on-done", "touch done", "--ping", "http://127.0.0.1:9/x"]

    shown = call("config", "sync", *words, "--json", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(workspace / "page"))

    assert (shown.code, shown.err, list(workspace.iterdir())) == (0, "", [])
    assert shown.setting("report") == (["r.json"], "--report")


def test_config_shows_what_a_plugin_step_would_do(call):
    answer = call("config", "plugin", PLUGIN_BUCKET="b", PLUGIN_ACL="private", AWS_DEFAULT_REGION="")

    assert ["acl", "private", "PLUGIN_ACL"] in [line.split() for line in answer.out.splitlines()]
    assert ["region", "us-east-1", "default"] in [line.split() for line in answer.out.splitlines()]


@pytest.mark.parametrize(
    ("env", "region"),
    [
        pytest.param({}, "us-east-1", id="default"),
        pytest.param({"AWS_REGION": "eu-west-1"}, "eu-west-1", id="AWS_REGION"),
        pytest.param({"PLUGIN_REGION": "r", "AWS_REGION": "eu-west-1"}, "r", id="the setting"),
    ],
)
def test_a_plugin_has_a_region_in_any_case(call, env, region):
    out = call("config", "plugin", PLUGIN_BUCKET="b", **env).out

    assert ["region", region] in [line.split()[:2] for line in out.splitlines()]


def test_an_env_file_of_a_plugin_step_counts_and_the_real_environment_wins(call, workspace):
    (workspace / "step.env").write_text("PLUGIN_ACL=private\nPLUGIN_TARGET=file\nexport PLUGIN_BUCKET=b\n")

    out = call("config", "plugin", PLUGIN_ENV_FILE="step.env", PLUGIN_TARGET="real").out

    rows = [line.split() for line in out.splitlines()]
    assert ["acl", "private", "PLUGIN_ACL"] in rows
    assert ["target", "real", "PLUGIN_TARGET"] in rows
    assert ["bucket", "b", "PLUGIN_BUCKET"] in rows


@pytest.mark.parametrize("argv", [["--version"], ["jobs", "list"], ["jobs", "show", "--help"], ["sync", "--nope"]])
@pytest.mark.slow
def test_what_needs_no_server_loads_no_aws_library(tmp_path, argv):
    script = (
        "import sys; from s3batch.cli import main; main();"
        "print([name for name in ('boto3', 'botocore', 'awscrt', 's3transfer', 'tqdm') if name in sys.modules])"
    )
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    ran = subprocess.run([sys.executable, "-c", script, *argv], env=environ, text=True, capture_output=True, check=True)

    assert ran.stdout.splitlines()[-1] == "[]"


def shell(command, tmp_path, **pipes):
    """Run a line of sh, where ``s3batch`` is the program."""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    script = f's3batch() {{ "{sys.executable}" -m s3batch "$@"; }}\n{command}'
    return subprocess.run(["sh", "-c", script], env=environ, text=True, capture_output=True, check=False, **pipes)


TIMES = re.compile(r'  "(?:started|ended)": .*\n')
LOST = "s3batch: error: stdout cannot be written, so its data is lost: "
SAYING_DATA = ["--version", "--help", "sync --help", "config", "config --json", "jobs list --json", "plugin --help"]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", SAYING_DATA)
def test_a_stdout_that_cannot_be_written_is_a_failure_with_one_sentence(tmp_path, arguments):
    full = shell(f"s3batch {arguments} >/dev/full", tmp_path)
    closed = shell(f"s3batch {arguments} >&-", tmp_path)
    mute = shell(f"s3batch {arguments} >&- 2>&- <&-", tmp_path)

    assert (full.returncode, full.stderr) == (1, f"{LOST}No space left on device\n")
    assert (closed.returncode, closed.stderr) == (1, f"{LOST}it is closed\n")
    assert (mute.returncode, mute.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("--version", 0), ("config --json", 0), ("jobs list", 0), ("sync", 2), ("sync --nope", 2), ("snyc", 2)],
)
@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", "<&-"])
def test_a_stderr_that_cannot_be_written_changes_nothing(tmp_path, arguments, code, stream):
    usual = shell(f"s3batch {arguments} 2>/dev/null", tmp_path)
    mute = shell(f"s3batch {arguments} {stream}", tmp_path)

    assert (mute.returncode, TIMES.sub("", mute.stdout)) == (code, TIMES.sub("", usual.stdout))


@pytest.mark.slow
def test_nothing_to_write_is_nothing_lost(tmp_path):
    ran = shell("s3batch jobs list >/dev/full", tmp_path)

    assert (ran.returncode, LOST in ran.stderr) == (0, False)


@pytest.mark.slow
def test_a_reader_that_went_away_is_met_in_silence(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "s3batch", "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()

        assert process.stderr.read() == ""
        assert process.wait(30) == 1


@pytest.mark.slow
def test_a_pipe_that_does_not_block_gets_all_of_it(tmp_path):
    read, write = os.pipe()
    os.set_blocking(write, False)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen([sys.executable, "-m", "s3batch", "config", "--json"], stdout=write) as process:
        os.close(write)
        time.sleep(0.2)
        with open(read, encoding="utf-8") as pipe:
            assert json.load(pipe)["command"] == "config"
        assert process.wait(30) == 0


class Interrupting(io.StringIO):
    """Stands for a person who presses Ctrl-C while we write."""

    pressed = False

    def write(self, text):
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt
        return super().write(text)


def test_an_interrupt_ends_with_130_and_the_document():
    out, err = Interrupting(), io.StringIO()

    code = main(["config", "sync", "--json"], {}, out, err)

    document = json.loads(out.getvalue())
    assert (code, document["state"], document["exit_code"]) == (130, "interrupted", 130)
    assert err.getvalue() == "s3batch: error: interrupted\n"


class Broken(io.StringIO):
    """Stands for a bug: nothing here expects this error."""

    def write(self, text):
        raise ZeroDivisionError("secret-in-a-message")


@pytest.mark.parametrize(
    ("argv", "sentence", "traceback"),
    [
        pytest.param([], "run it again with -vv for the traceback, and report it", False, id="plain"),
        pytest.param(["-vv"], "please report it", True, id="with -vv"),
    ],
)
def test_a_bug_is_one_sentence_and_with_vv_a_traceback(argv, sentence, traceback):
    err = io.StringIO()

    code = main(["config", "sync", *argv], {"AWS_SECRET_ACCESS_KEY": "secret-in-a-message"}, Broken(), err)

    lines = err.getvalue().splitlines()
    assert code == 70
    assert lines[0] == f"s3batch: error: this is a bug in s3batch: ZeroDivisionError: ***; {sentence}"
    assert (len(lines) > 1) is traceback
    assert "secret-in-a-message" not in err.getvalue()


@pytest.mark.parametrize(("flag", "answer"), ANSWERS.items())
def test_a_flag_of_another_tool_is_answered_with_ours(call, flag, answer):
    spelled = f"-{flag}" if len(flag) == 1 else f"--{flag}"
    refused = call("sync", "a", "s3://b", spelled)

    assert (refused.code, refused.err) == (2, f"s3batch: error: sync takes no {spelled}; {answer}\n")
    named = set(re.findall(r"--[a-z][a-z0-9-]+", answer))
    assert named <= {flag_of(name) for row in TABLE.values() for name in row.names}


def test_dryrun_of_the_aws_cli_means_the_same(call):
    assert call("config", "sync", "--dryrun", "--json").setting("dry_run") == (True, "--dry-run")
