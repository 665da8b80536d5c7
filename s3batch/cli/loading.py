"""From a command line and an environment to :class:`s3batch.settings.table.Settings`.

    flag  >  variable  >  config file  >  default

Variables are ``S3BATCH_FOO_BAR``, then those of the AWS tools (``AWS_REGION``...); for the plugin those of the CI come
first (:mod:`s3batch.cli.plugin_step`). An empty variable or key is unset. Wrong settings are reported before any request.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import SettingsError
from s3batch.cli import parser
from s3batch.cli.positional import assign_words
from s3batch.files import bounded, private
from s3batch.files.private import OWN_DIRECTORY
from s3batch.settings import texts
from s3batch.settings.direction import (
    S3_SCHEME,
    is_in_s3,
    names_store,
    require_two_places,
    settings_of_source,
)
from s3batch.settings.parsing import GivenText, clean_values, first_given, parse_setting, unknown_name_error
from s3batch.settings.schema import variable_of
from s3batch.settings.table import FILTERS, TABLE, Settings, names_of_setting, taken_by

if TYPE_CHECKING:
    from s3batch.settings.ci_build import CIBuild

_CONFIG_VARIABLE = variable_of(parser.CONFIG)
_NOT_OURS_TO_CHECK = "S3BATCH_TEST_"
"""Variables of the test suite, not settings."""
PLUGIN_REGION = "us-east-1"
"""The region that drone-s3-sync uses by default."""
_LARGEST_FILE = 1 << 20
"""Bytes of a config file or an env_file."""
_COMMANDS_OF_ITS_OWN = frozenset({"S3BATCH_ON_DONE", "PLUGIN_ON_DONE"})
"""Variables whose text is run as a command."""
_STEP_FILES = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "DRONE_OUTPUT", "DRONE_CARD_PATH")
"""Variables of the files that a CI reads after a step."""
_KEY_SETTINGS = frozenset({"sse_c_key", "source_sse_c_key"})
_WITH_BUILD = ("cache ", "resume")
"""Commands that look at the build outside a plugin too: their key is made of it."""


def settings_of(command: str, argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings of ``command``. SettingsError says what is wrong, where it came from, what to write."""
    _refuse_unknown_variables(environ)
    said = parser.merge_settings(command, argv, _read_variables(command, environ), _config_file(argv, environ))
    given, facts = assign_words(command, said)
    return _make_settings(command, given, environ, facts=facts, order=said.order)


def settings_of_keywords(
    command: str, argv: Sequence[str], keywords: Mapping[str, GivenText], environ: Mapping[str, str]
) -> Settings:
    """Return the settings of a call of the Python API: its words in ``argv``, its settings in ``keywords``."""
    _refuse_unknown_variables(environ)
    said = parser.merge_settings(command, argv, _read_variables(command, environ), _config_file(argv, environ))
    given, facts = assign_words(command, said)
    return _make_settings(command, {**given, **keywords}, environ, facts=facts, order=said.order)


def plugin_settings(environ: Mapping[str, str]) -> Settings | None:
    """Return the settings of a plugin step; ``None`` if it is a cache step without restore and rebuild."""
    from s3batch.cli import plugin_step  # noqa: PLC0415 - outside a CI plugin it has no use

    _refuse_unknown_variables(environ)
    command, variables = plugin_step.from_environment(environ)
    if command == plugin_step.NOTHING_TO_DO:
        return None
    said = parser.merge_settings(command, [], variables, _config_file([], environ))
    return _make_settings(command, said.given, environ, plugin=True)


def with_env_file(command: str, argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, completed by the file of ``env_file``. Variables that are set and not empty win."""
    named = parser.value_of_flag(argv, "env_file")
    given = GivenText(named, "--env-file") if named else None
    found = given or _env_file_variable(command, environ)
    if not found:
        return _clean_environment(environ)
    from s3batch.cli.env_file import parse_env_file  # noqa: PLC0415 - few runs have such a file

    found = found._replace(text=parse_setting(TABLE["env_file"], found.text, found.origin))
    try:
        text = bounded.read_regular_file(found.text, _LARGEST_FILE).decode("utf-8", "surrogateescape")
        read = parse_env_file(text, found.text)
    except (OSError, ValueError) as error:
        problem = f"env_file {found.text} (from {found.origin}) cannot be read: {_words_of_error(error)}"
        raise SettingsError(problem, hint="give the path of a file of NAME=value lines") from None
    told = {name: text for name, text in environ.items() if text.strip() or name not in read}
    for name in sorted(_COMMANDS_OF_ITS_OWN.intersection(read)):
        if read[name].strip() and not told.get(name):
            hint = "set the variable in the step: a file may come with a checkout, and names no command"
            raise SettingsError(f"env_file {found.text} (from {found.origin}) sets {name}", hint=hint)
    return _clean_environment({**read, **told})


def _clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with clean variables of the AWS tools and of proxies, which libraries read themselves.

    White space at the ends is gone; an empty variable of AWS is left out, because boto3 would take it for a value.
    """
    clean = dict(environ)
    for name, text in environ.items():
        if not name.startswith("AWS_") and not name.upper().endswith("_PROXY"):
            continue
        clean[name] = text.strip()
        if name.startswith("AWS_ENDPOINT_URL") and "@" in clean[name]:
            shown = texts.without_secrets(clean[name])
            hint = "remove user and password; set access_key and secret_key"
            raise SettingsError(f"the variable {name} cannot be {shown!r}", hint=hint)
        if texts.CONTROL.search(clean[name]):
            secret = any(word in name.upper() for word in _SECRET_WORDS)
            shown = "***" if secret else texts.without_userinfo(clean[name])
            raise SettingsError(f"the variable {name} cannot be {shown!r}", hint=texts.CONTROL_HINT)
        if not clean[name] and name.startswith("AWS_"):
            del clean[name]
    return clean


_SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASSWORD")


def _env_file_variable(command: str, environ: Mapping[str, str]) -> GivenText | None:
    if command == "plugin":
        from s3batch.cli.plugin_step import env_file  # noqa: PLC0415 - as above

        return env_file(environ)
    return first_given([TABLE["env_file"].variable], environ)


def require_needed_settings(settings: Settings) -> None:
    """Raise SettingsError if a setting is missing that the command needs."""
    command = settings.command
    if settings.json and settings.json_lines:
        raise SettingsError("json and json_lines are both set", hint="choose one of them")
    if settings.null and not (settings.files_from or settings.files_from0) and settings.origin("null").startswith("-"):
        raise SettingsError("-0 is given without a list of files", hint="write --files-from FILE -0")
    if settings.report:
        from s3batch.reporting.report_files import require_known_forms  # noqa: PLC0415 - as below

        require_known_forms(settings)
    online = "bucket" in taken_by(command) and command != "resume"
    if online and "source" in taken_by(command):
        require_two_places(settings)
    if online and not names_store(settings):
        raise _missing_bucket(settings)
    if command in {"cache restore", "cache rebuild"} and not settings.cache:
        raise SettingsError("cache is missing", hint="name the directories and files to cache with --cache")
    if settings.executor == "dask" and not settings.scheduler:
        raise SettingsError("scheduler is missing", hint="executor dask needs --scheduler, such as tcp://host:8786")
    if online:
        from s3batch.s3 import credentials  # noqa: PLC0415 - `jobs list` needs no store

        credentials.refuse_odd_aws_files()
        if settings.bucket:
            credentials.refuse_endpoint_with_secrets(settings)
        if is_in_s3(settings.source):
            credentials.refuse_endpoint_with_secrets(settings_of_source(settings))
    for side in ("", "source_"):
        _require_key_pair(settings, f"{side}access_key", f"{side}secret_key")


def _require_key_pair(settings: Settings, *names: str) -> None:
    """Raise SettingsError if one of the two settings is set and the other is not."""
    one, other = sorted(names, key=lambda name: not getattr(settings, name))
    if getattr(settings, one) and not getattr(settings, other):
        raise SettingsError(f"{one} (from {settings.origin(one)}) is set and {other} is not", hint="give both or none")


def _missing_bucket(settings: Settings) -> SettingsError:
    if settings.plugin:
        return SettingsError("Must set 'bucket'", hint="add bucket to the settings of the step")
    source = {"sync": "SOURCE ", "verify": "SOURCE ", "explain": "PATH SOURCE "}.get(settings.command, "")
    return SettingsError(
        "bucket is missing", hint=f"write s3batch {settings.command} {source}s3://BUCKET/PREFIX, or give --bucket"
    )


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {variable_of(name) for row in TABLE.values() for name in row.names} | {_CONFIG_VARIABLE}
    for name in sorted(environ):
        ours = name.startswith("S3BATCH_") and not name.startswith(_NOT_OURS_TO_CHECK)
        if ours and name not in known and environ[name].strip():
            raise unknown_name_error("variable", name, known, prefix="S3BATCH_")


def _read_variables(command: str, environ: Mapping[str, str]) -> dict[str, GivenText]:
    found = {
        row.name: first_given([*map(variable_of, names_of_setting(row, command)), *row.also], environ)
        for row in taken_by(command).values()
    }
    return {name: given for name, given in found.items() if given}


def _config_file(argv: Sequence[str], environ: Mapping[str, str]) -> parser.ConfigFile | None:
    named = parser.value_of_flag(argv, parser.CONFIG) or environ.get(_CONFIG_VARIABLE, "").strip()
    directory = "" if named else _config_directory(environ)
    path = os.path.expanduser(named) or os.path.join(directory, "config.toml")
    if not named and not directory:
        return None
    try:
        return parser.ConfigFile(path, bounded.read_regular_file(path, _LARGEST_FILE).decode())
    except FileNotFoundError:
        if not named:
            return None
        raise SettingsError(f"config file {path} does not exist", hint="give another --config, or none") from None
    except (OSError, ValueError) as error:
        if not named and not os.path.exists(path):  # the home of another user, as images have it: no settings
            return None
        raise SettingsError(
            f"config file {path} cannot be read: {_words_of_error(error)}", hint="correct it, or give another --config"
        ) from None


def _words_of_error(error: Exception) -> str:
    """Return the words of an error."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return getattr(error, "strerror", None) or str(error)


_IS_LINUX = sys.platform == "linux"
_ON_LINUX = {"user_config_dir": "~/.config", "user_state_dir": "~/.local/state"}


def _config_directory(environ: Mapping[str, str]) -> str:
    if os.path.isabs(environ.get("XDG_CONFIG_HOME", "")):
        return os.path.join(environ["XDG_CONFIG_HOME"], "s3batch")
    return _user_directory("user_config_dir")


def _find_working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:  # it was removed, or lies on a file server that is gone
        raise SettingsError(
            f"the working directory cannot be found: {error.strerror}", hint="change to a directory that exists"
        ) from error


def _state_directory(environ: Mapping[str, str]) -> str:
    """Return the user's state directory; TMPDIR/s3batch-UID if that cannot be written, or there is no home."""
    base = environ.get("XDG_STATE_HOME", "")
    # the specification says to ignore a relative one
    usual = os.path.join(base, "s3batch") if os.path.isabs(base) else _user_directory("user_state_dir")
    return usual if usual and private.is_directory_writable(usual) else private.temporary_state_path()


def _user_directory(kind: str) -> str:
    """Return a directory of this user, as platformdirs has it; empty where there is no home."""
    if _IS_LINUX:  # platformdirs says the same, and costs 15 ms
        found = os.path.join(os.path.expanduser(_ON_LINUX[kind]), "s3batch")
        return found if os.path.isabs(found) else ""
    import platformdirs  # noqa: PLC0415 - see above

    try:
        found = str(getattr(platformdirs, kind)("s3batch", appauthor=False))
    except RuntimeError:
        return ""
    return found if os.path.isabs(found) else ""  # else "~" stayed as it is: a name in the working directory


def _plugin_state_directory(workspace: str) -> str:
    """Return ``.s3batch`` in the workspace, where a later step finds it; TMPDIR/s3batch-UID if it is not writable.

    Another kind of file in its place is refused when it is opened.
    """
    usual = os.path.join(workspace, OWN_DIRECTORY)
    strange = os.path.lexists(usual) and (os.path.islink(usual) or not os.path.isdir(usual))
    return usual if strange or private.is_directory_writable(usual) else private.temporary_state_path()


def _make_settings(
    command: str,
    given: dict[str, GivenText],
    environ: Mapping[str, str],
    *,
    plugin: bool = False,
    facts: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
) -> Settings:
    given = _own_credentials(_with_url_taken_apart(clean_values(given)), plugin=plugin)
    given = _with_session_token(given, environ)
    values: dict[str, Any] = {
        name: parse_setting(TABLE[name], one.text, one.origin, exact=one.exact) for name, one in given.items()
    }
    if plugin and not values.get("region") and not values.get("profile"):
        values["region"] = PLUGIN_REGION
    if "cache" in values:
        values["cache"] = tuple(_at_home("cache", path, environ) for path in values["cache"])
        values["exclude"] = tuple(_pattern_at_home(pattern, environ) for pattern in values.get("exclude", ()))
    if keys := _KEY_SETTINGS & values.keys():
        from s3batch.cli.customer_key import read_customer_key  # noqa: PLC0415 - few jobs have a key

        values |= {name: read_customer_key(name, given[name]) for name in keys}
    values |= {**_resolve_verbosity(values), **(facts or {})}
    workspace, own = _find_working_directory(), _state_directory(environ)
    return Settings(
        **values,
        command=command,
        plugin=plugin,
        workspace=workspace,
        state_directory=_plugin_state_directory(workspace) if plugin else own,
        user_directory=own,
        build=_find_build_facts(
            command, environ, workspace, is_needed=plugin or _wants_build_number(values.get("newest_wins", ""))
        ),
        origins={name: one.origin for name, one in given.items()},
        filter_order=_select_filter_order(given, order),
    )


def _select_filter_order(given: Mapping[str, GivenText], order: Sequence[str]) -> tuple[str, ...]:
    """Return the order of the patterns of include and exclude, if flags give both: only flags have an order."""
    by_flags = all(name in given and given[name].origin == TABLE[name].flag for name in FILTERS)
    return tuple(name for name in order if name in FILTERS) if by_flags else ()


def _pattern_at_home(pattern: str, environ: Mapping[str, str]) -> str:
    body = pattern.removeprefix("!")
    return pattern.removesuffix(body) + _at_home("exclude", body, environ)


def _at_home(name: str, path: str, environ: Mapping[str, str]) -> str:
    """Return the path with ``~``, ``$HOME`` or ``${HOME}`` at its beginning expanded, as a shell would."""
    first, slash, rest = path.partition("/")
    if first not in {"~", "$HOME", "${HOME}"}:
        return path
    home = environ.get("HOME", "").strip() or os.path.expanduser("~")
    if not home.startswith("/"):
        raise SettingsError(f"{name}: {path} needs HOME, which is not set", hint="set HOME, or write an absolute path")
    return f"{home.rstrip('/')}{slash}{rest}" or "/"


def _resolve_verbosity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return verbose and quiet as ``log_level`` means them; a verbose or quiet that was given adds to it."""
    level = values.get("log_level", "")
    verbose = values.get("verbose") or {"trace": 2, "debug": 1}.get(level, 0)
    quiet = values.get("quiet") or (level in {"warn", "error"} and not verbose)
    return {"verbose": verbose, "quiet": quiet} if level else {}


def _wants_build_number(newest_wins: str) -> bool:
    return newest_wins != "" and not newest_wins.isdigit()


def _find_build_facts(command: str, environ: Mapping[str, str], workspace: str, *, is_needed: bool) -> CIBuild | None:
    """Return the facts of the build where they are needed, for a cache, which git may name too, and for outputs."""
    of_cache = command.startswith(_WITH_BUILD)
    wanted = is_needed or of_cache or any(environ.get(name) for name in _STEP_FILES)
    if not wanted:
        return None
    from s3batch.cli.identity.find import find_build  # noqa: PLC0415 - a plain upload outside a CI has no build

    return find_build(environ, workspace if of_cache else "")


def _with_url_taken_apart(given: dict[str, GivenText]) -> dict[str, GivenText]:
    """Split ``s3://BUCKET/PREFIX`` in a target or prefix into bucket and prefix."""
    if "source" in given and is_in_s3(given["source"].text):
        given = _without_bucket_of_local_target(given)
    for name in ("target", "prefix"):
        if name not in given or not is_in_s3(given[name].text):
            continue
        url, origin, _ = given[name]
        bucket, _, prefix = url.removeprefix(S3_SCHEME).partition("/")
        if not bucket:
            raise SettingsError(f"{name} cannot be {url!r} (from {origin})", hint="write s3://BUCKET/PREFIX")
        other = given.get("bucket")
        if other and other.origin == "--bucket" and other.text != bucket:
            raise SettingsError(f"bucket is {bucket!r} in {url!r} and {other.text!r} in --bucket", hint="give only one")
        given = {**given, "bucket": GivenText(bucket, origin), name: given[name]._replace(text=prefix)}
    return given


def _without_bucket_of_local_target(given: dict[str, GivenText]) -> dict[str, GivenText]:
    """Leave out the bucket beside a source in S3 and a local target: nothing goes to a bucket then."""
    bucket, target = given.get("bucket"), given.get("target")
    if bucket is None or target is None or is_in_s3(target.text):
        return given
    if bucket.origin == "--bucket" or bucket.origin.startswith("PLUGIN_"):
        raise SettingsError(
            f"bucket is {bucket.text!r} (from {bucket.origin}), and target {target.text!r} is local beside a source in S3",
            hint=f"write s3://{bucket.text}/{target.text.strip('/')} as target, or leave out the bucket",
        )
    return {name: one for name, one in given.items() if name != "bucket"}


def _own_credentials(given: dict[str, GivenText], *, plugin: bool) -> dict[str, GivenText]:
    """Leave to boto3 half a pair of AWS variables, and all of them where a profile is named.

    A plugin with only one of the two keys falls back to boto3's chain, as drone-s3-sync does.
    """
    pair = [name for name in ("access_key", "secret_key") if name in given]
    from_aws = [name for name in pair if given[name].origin.startswith("AWS_")]
    half = len(pair) == 1 and (plugin or from_aws)
    dropped = pair if half else from_aws if "profile" in given and len(from_aws) == len(pair) else []
    return {name: one for name, one in given.items() if name not in dropped}


def _with_session_token(given: dict[str, GivenText], environ: Mapping[str, str]) -> dict[str, GivenText]:
    """Add AWS_SESSION_TOKEN to the key of AWS_ACCESS_KEY_ID only, not to a key from another source."""
    if "session_token" in given or "access_key" not in given or given["access_key"].origin != "AWS_ACCESS_KEY_ID":
        return given
    token = first_given(["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"], environ)
    return {**given, "session_token": token} if token else given
