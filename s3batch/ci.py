"""What a CI says: settings of a plugin step, and the facts of the build. Pure: a mapping goes in, values come out.

Drone, Woodpecker and Harness hand a step's settings over as ``PLUGIN_*``, each in its own way (docs/plugins.md):
lists come joined by commas or as JSON, maps as JSON, Drone leaves a dash in the name where Woodpecker writes an
underscore. Which plugin is meant follows from the settings: ``mode`` says it outright; ``restore``, ``rebuild``,
``cache`` or ``mount`` mean the cache; anything else means the sync.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from s3batch.build import Build
from s3batch.errors import SettingsError
from s3batch.settings import TABLE, Given, Setting, first_given, names_of, parse, taken_by, unknown, variable_of

NOTHING_TO_DO = ""
"""The command of a cache step that wants neither restore nor rebuild."""

_PREFIX = "PLUGIN_"
_MODES = MappingProxyType(
    {
        "sync": "sync",
        "restore": "cache restore",
        "rebuild": "cache rebuild",
        "clear": "cache clear",
        "flush": "cache clear",
        "resume": "resume",
        "doctor": "doctor",
    }
)
_CACHE_WORDS = ("restore", "rebuild", "cache")
"""Settings of which one makes a step a cache step."""

_OTHERS = MappingProxyType(
    {
        "archive_format": "leave it out: every format is read, and s3batch writes its own",
        "auto_cache": "name the paths with cache",
        "backend": "leave it out: s3batch speaks S3 only",
        "disablessl": "write the endpoint with http://",
        "fail_restore_if_key_not_present": "write fail_on_miss: true",
        "fallback_path": "write restore_keys",
        "filename": "leave it out: the name of a cache is its cache_key",
        "filesystem_cache_root": "leave it out: s3batch speaks S3 only",
        "flush": "write mode: clear",
        "flush_age": "run s3batch cache prune --ttl",
        "flush_path": "write cache_key",
        "folders": "write cache",
        "local_root": "write the paths with cache relative to the workspace",
        "path": "write cache_key",
        "remote_root": "write prefix",
        "root": "write bucket and prefix",
        "skip_symlinks": "write symlinks: skip",
        "strict_key_matching": "leave it out: keys match strictly, unless restore_keys says otherwise",
    }
)
"""Settings of the plugins we stand in for that have another name here, and what to write instead."""

_FACTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "owner": ("DRONE_REPO_OWNER", "DRONE_REPO_NAMESPACE", "CI_REPO_OWNER"),
        "repo": ("DRONE_REPO_NAME", "CI_REPO_NAME"),
        "slug": ("DRONE_REPO", "CI_REPO"),
        "link": ("DRONE_REPO_LINK", "CI_REPO_URL", "CI_REPO_LINK"),
        "remote": ("DRONE_REMOTE_URL", "DRONE_GIT_HTTP_URL", "CI_REPO_CLONE_URL", "CI_REMOTE_URL"),
        "private": ("DRONE_REPO_PRIVATE", "CI_REPO_PRIVATE"),
        "trusted": ("DRONE_REPO_TRUSTED", "CI_REPO_TRUSTED"),
        "avatar": ("DRONE_REPO_AVATAR",),
        "default_branch": ("DRONE_REPO_BRANCH", "CI_REPO_DEFAULT_BRANCH"),
        "branch": ("DRONE_COMMIT_BRANCH", "DRONE_BRANCH", "CI_COMMIT_BRANCH"),
        "source_branch": ("DRONE_SOURCE_BRANCH", "CI_COMMIT_SOURCE_BRANCH"),
        "target_branch": ("DRONE_TARGET_BRANCH", "CI_COMMIT_TARGET_BRANCH"),
        "sha": ("DRONE_COMMIT_SHA", "DRONE_COMMIT", "DRONE_COMMIT_AFTER", "CI_COMMIT_SHA"),
        "before": ("DRONE_COMMIT_BEFORE", "CI_PREV_COMMIT_SHA"),
        "ref": ("DRONE_COMMIT_REF", "CI_COMMIT_REF"),
        "commit_link": ("DRONE_COMMIT_LINK", "CI_PIPELINE_FORGE_URL", "CI_COMMIT_URL"),
        "message": ("DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"),
        "author": ("DRONE_COMMIT_AUTHOR", "CI_COMMIT_AUTHOR"),
        "author_name": ("DRONE_COMMIT_AUTHOR_NAME", "CI_COMMIT_AUTHOR_NAME"),
        "author_email": ("DRONE_COMMIT_AUTHOR_EMAIL", "CI_COMMIT_AUTHOR_EMAIL"),
        "author_avatar": ("DRONE_COMMIT_AUTHOR_AVATAR", "CI_PIPELINE_AVATAR", "CI_COMMIT_AUTHOR_AVATAR"),
        "event": ("DRONE_BUILD_EVENT", "CI_PIPELINE_EVENT", "CI_BUILD_EVENT"),
        "number": ("DRONE_BUILD_NUMBER", "CI_PIPELINE_NUMBER", "CI_BUILD_NUMBER"),
        "parent": ("DRONE_BUILD_PARENT", "CI_PIPELINE_PARENT"),
        "status": ("DRONE_BUILD_STATUS", "CI_BUILD_STATUS"),
        "created": ("DRONE_BUILD_CREATED", "CI_PIPELINE_CREATED"),
        "started": ("DRONE_BUILD_STARTED", "CI_PIPELINE_STARTED"),
        "finished": ("DRONE_BUILD_FINISHED", "CI_BUILD_FINISHED"),
        "deploy": ("DRONE_DEPLOY_TO", "CI_PIPELINE_DEPLOY_TARGET"),
        "build_link": ("DRONE_BUILD_LINK", "CI_PIPELINE_URL", "CI_BUILD_LINK"),
        "pull_request": ("DRONE_PULL_REQUEST", "CI_COMMIT_PULL_REQUEST"),
        "tag": ("DRONE_TAG", "CI_COMMIT_TAG"),
        "workspace": ("DRONE_WORKSPACE", "CI_WORKSPACE"),
        "card_path": ("DRONE_CARD_PATH",),
        "output_path": ("DRONE_OUTPUT",),
        "os": ("DRONE_STAGE_OS",),
        "arch": ("DRONE_STAGE_ARCH",),
    }
)
"""A fact and the variables that may hold it; the first one that is not empty does."""


def from_environment(environ: Mapping[str, str]) -> tuple[str, dict[str, Given]]:
    """What a plugin step is to do: a command, and the settings it was given. SettingsError if it cannot be told.

    The command is :data:`NOTHING_TO_DO` for a cache step that wants neither restore nor rebuild.
    """
    variables = _with_underscores(environ)
    _refuse_unknown(variables)
    command = _command(variables)
    if command != "doctor":  # it examines a step as it stands, whichever it is
        _refuse_other_family(command, variables)
    found = {row.name: first_given(_variables(row, like), variables) for row, like in _rows(command, variables)}
    given = {name: Given(value.text, _spelled(value.origin, environ)) for name, value in found.items() if value}
    if "verbose" in given:
        given["verbose"] = _as_count(given["verbose"])
    if command == "doctor" and "target" not in given and (prefix := _given("prefix", variables)):
        given["target"] = prefix  # where a cache step writes
    return command, given


def _rows(command: str, variables: Mapping[str, str]) -> list[tuple[Setting, str]]:
    """The settings a step takes, each with the command in whose words it is written."""
    if command != "resume":
        return [(row, command) for row in taken_by(command).values()] if command else []
    finished = ("cache restore", "cache rebuild") if _is_cache(variables) else ("sync",)
    own = [(row, command) for row in taken_by(command).values() if command in row.commands]
    words = [(TABLE[name], "plugin") for name in ("restore", "rebuild")]
    return [*own, *words, *((row, like) for like in finished for row in taken_by(like).values())]


def _is_cache(variables: Mapping[str, str]) -> bool:
    """Whether a step that resumes has the settings of a cache step."""
    return any(_given(name, variables) for name in _CACHE_WORDS)


def env_file(environ: Mapping[str, str]) -> Given | None:
    """The file of variables a plugin step names, if it does."""
    row = TABLE["env_file"]
    return first_given((*row.plugin_names, row.variable), _with_underscores(environ))


def build(environ: Mapping[str, str]) -> Build | None:
    """The facts of the build, or ``None`` where no CI speaks."""
    facts = {name: _first(environ, names) for name, names in _FACTS.items()}
    if not any(facts[name] for name in ("slug", "repo", "sha", "event", "message", "number")):
        return None
    slug_owner, _, slug_name = _slug(facts).rpartition("/")
    # CI_REPO_NAME is the whole slug in Drone, and Woodpecker's DRONE_REPO_OWNER may be missing
    facts["repo"] = facts["repo"].rpartition("/")[2] or slug_name
    facts["owner"] = facts["owner"] or slug_owner
    facts["slug"] = "/".join(filter(None, (facts["owner"], facts["repo"])))
    facts["pull_request"] = facts["pull_request"] or _number_of_pull(facts)
    facts |= _platform(facts, environ)
    is_pull = bool(facts["pull_request"]) or facts["event"].startswith("pull_request")
    if not is_pull:  # Drone sets both for every event
        facts["source_branch"] = facts["target_branch"] = ""
    return Build(**facts, system=_system(environ), fork=_is_fork(facts) if is_pull else False)


def _with_underscores(environ: Mapping[str, str]) -> dict[str, str]:
    """Drone upper-cases a key and keeps its dashes: ``cache-key`` arrives as ``PLUGIN_CACHE-KEY``."""
    dashed = {_underscored(name): text for name, text in environ.items() if name.startswith(_PREFIX) and text.strip()}
    return {**dashed, **{name: text for name, text in environ.items() if text.strip()}}


def _underscored(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def _spelled(name: str, environ: Mapping[str, str]) -> str:
    """The variable as the CI wrote it, which is what a user will look for."""
    if environ.get(name, "").strip():
        return name
    return next((written for written in environ if _underscored(written) == name), name)


def _refuse_unknown(variables: Mapping[str, str]) -> None:
    known = {name for row in TABLE.values() for name in _plugin_variables(row)}
    for name in sorted(variables):
        if not name.startswith(_PREFIX) or _underscored(name) != name or name in known:
            continue
        setting = name.removeprefix(_PREFIX).lower()
        if setting in _OTHERS:
            raise SettingsError(f"there is no setting {setting} (from {name})", hint=_OTHERS[setting])
        names = [known_name.removeprefix(_PREFIX).lower() for known_name in known if known_name.startswith(_PREFIX)]
        raise unknown("setting", setting, names, origin=name)


def _command(variables: Mapping[str, str]) -> str:
    words = {name: _given(name, variables) for name in _CACHE_WORDS}
    restore, rebuild = (_is_true(name, words[name]) for name in ("restore", "rebuild"))
    mode = first_given(("PLUGIN_MODE", "S3BATCH_MODE"), variables)
    if mode:
        return _mode(mode, restore=restore, rebuild=rebuild)
    if restore and rebuild:
        raise SettingsError("restore and rebuild are both true", hint="use one step to restore and one to rebuild")
    if restore or rebuild:
        return "cache restore" if restore else "cache rebuild"
    return NOTHING_TO_DO if any(words.values()) else "sync"


def _mode(mode: Given, *, restore: bool, rebuild: bool) -> str:
    word = mode.text.strip().lower()
    if word not in _MODES:
        raise SettingsError(
            f"mode cannot be {mode.text!r} (from {mode.origin})",
            hint="write sync, restore, rebuild, clear, resume or doctor",
        )
    for name, wanted in (("restore", restore), ("rebuild", rebuild)):
        if wanted and word not in {name, "doctor", "resume"}:
            raise SettingsError(
                f"mode is {word} (from {mode.origin}), and {name} is true", hint="leave one of them out"
            )
    return _MODES[word]


def _refuse_other_family(command: str, variables: Mapping[str, str]) -> None:
    """One image serves two plugins, but one step is one of them."""
    family = "cache" if command not in {"sync", "resume"} or (command == "resume" and _is_cache(variables)) else "sync"
    families = {name: _families(name) for name in sorted(variables) if name.startswith(_PREFIX)}
    stray = next((name for name, found in families.items() if found and family not in found), None)
    if stray:
        own = next((name for name, found in families.items() if found == {family}), None)
        here = f"{_setting(own)} one of the {family}" if own else f"this step is for the {family}"
        raise SettingsError(
            f"{_setting(stray)} is a setting of the {min(families[stray])}, and {here}", hint="use one step for each"
        )


def _families(variable: str) -> frozenset[str]:
    """What a variable is a setting of: ``sync``, ``cache``, or both."""
    rows = [row for row in TABLE.values() if variable in _plugin_variables(row)]
    commands = {command.partition(" ")[0] for row in rows for command in row.commands}
    if any(row.name in _CACHE_WORDS for row in rows):
        commands.add("cache")
    return frozenset(commands & {"sync", "cache"})


def _setting(variable: str) -> str:
    return f"{variable.removeprefix(_PREFIX).lower()} (from {variable})"


def _plugin_variables(row: Setting) -> tuple[str, ...]:
    return (*row.plugin_names, *row.plugin_cache)


def _variables(row: Setting, command: str) -> tuple[str, ...]:
    """Where a plugin step may have a setting from, the strongest first."""
    aliases = set(row.aliases) - set(names_of(row, command))
    own = tuple(name for name in row.plugin_names if name not in {f"{_PREFIX}{alias.upper()}" for alias in aliases})
    cache = row.plugin_cache if command.startswith(("cache ", "doctor")) else ()
    return (*own, *cache, *map(variable_of, names_of(row, command)), *row.also)


def _given(name: str, variables: Mapping[str, str]) -> Given | None:
    return first_given((*TABLE[name].plugin_names, TABLE[name].variable), variables)


def _is_true(name: str, given: Given | None) -> bool:
    return bool(given and parse(TABLE[name], given.text, given.origin))


def _as_count(given: Given) -> Given:
    """DEBUG holds whatever its user likes; any text that is no number and no boolean means yes."""
    try:
        parse(TABLE["verbose"], given.text, given.origin)
    except SettingsError:
        return Given("1", given.origin)
    return given


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name, "").strip()), "")


def _slug(facts: Mapping[str, str]) -> str:
    """``owner/repo``; in Drone ``CI_REPO_NAME`` holds it too."""
    return facts["slug"] or (facts["repo"] if "/" in facts["repo"] else "")


def _number_of_pull(facts: Mapping[str, str]) -> str:
    """From ``refs/pull/12/head`` or ``refs/merge-requests/12/head``."""
    found = re.match(r"refs/(?:pull|pull-requests|merge-requests)/(\d+)/", facts["ref"])
    return found[1] if found else ""


def _platform(facts: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Woodpecker says ``linux/amd64`` in one variable."""
    system, _, machine = environ.get("CI_SYSTEM_PLATFORM", "").partition("/")
    return {"os": facts["os"] or system, "arch": facts["arch"] or machine}


def _system(environ: Mapping[str, str]) -> str:
    if environ.get("CI", "").lower() == "woodpecker" or environ.get("CI_SYSTEM_NAME", "").lower() == "woodpecker":
        return "woodpecker"
    if environ.get("HARNESS_BUILD_ID") or environ.get("HARNESS_ACCOUNT_ID"):
        return "harness"
    return "drone" if environ.get("DRONE") or environ.get("DRONE_REPO") else ""


def _is_fork(facts: Mapping[str, str]) -> bool | None:
    """Only where the source branch is written ``owner:branch``; no CI has a variable for it."""
    owner, colon, _ = facts["source_branch"].partition(":")
    return owner != facts["owner"] if colon else None
