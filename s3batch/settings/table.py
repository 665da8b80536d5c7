"""The table of settings: every setting is a field of :class:`Settings`.

A setting has one name in four spellings: the flag ``--foo-bar``, the variable ``S3BATCH_FOO_BAR``, the key ``foo_bar``
in a config file, and ``PLUGIN_FOO_BAR`` in a CI plugin. The flags, the variables, ``s3batch config``, the help and
docs/settings.md are generated from the metadata here. A new field is a new setting in all of them.

Sizes are bytes and durations are seconds, unless a name or a help text says otherwise. An empty value is unset, in
every source. This module reads no environment and no file: :mod:`s3batch.cli` fills a ``Settings`` and records where
each value came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple, Self

from s3batch import units
from s3batch.errors import SettingsError
from s3batch.files.private import OWN_DIRECTORY
from s3batch.settings import texts
from s3batch.settings.ci_build import Build

DEFAULT = "default"
"""The origin of a value that was not set."""
JOURNAL = "journal"
"""The origin of a value that a resumed job already had."""
_LONGEST_SHOWN = 200
"""Characters of a wrong value that an error shows; a map may be pages long."""

COMMANDS: dict[str, str] = {
    "sync": "make an S3 prefix match a directory",
    "cache restore": "restore the paths that an earlier build cached",
    "cache rebuild": "cache paths for later builds",
    "cache clear": "remove the caches of this repository",
    "cache list": "list the caches with age, size and last use",
    "cache prune": "remove old caches by age, number or size",
    "cache inspect": "list the content of one cache",
    "resume": "finish the unfinished job, or the one named",
    "jobs list": "list the jobs with their state and what is left to do",
    "jobs show": "show one job: what is left to do, what failed and why",
    "jobs prune": "delete finished jobs from the journals, abort the multipart uploads of dead jobs",
    "jobs forget": "delete one job from its journal, abort its multipart uploads",
    "verify": "compare a directory with an S3 prefix, change nothing",
    "doctor": "test each permission and store feature that the settings need",
    "config": "show every setting in force and where it came from",
    "plugin": "run as a CI plugin: read all settings from the environment",
}

_CACHE = frozenset(name for name in COMMANDS if name.startswith("cache "))
_SYNC = frozenset({"sync", "verify", "doctor"})
_ARCHIVE = frozenset({"cache restore", "cache rebuild"})
_KEYED = _ARCHIVE | {"cache inspect"}
_ONLINE = _SYNC | _CACHE | {"resume", "jobs prune", "jobs forget"}
_WORKING = frozenset({"sync", "verify", "resume"}) | _ARCHIVE
_JOURNALLED = _WORKING | {"doctor", "jobs list", "jobs show", "jobs prune", "jobs forget"}
_EVERY = frozenset(COMMANDS) - {"config"}
RESUMABLE = frozenset({"sync", "cache restore", "cache rebuild"})
"""Commands whose jobs ``resume`` finishes. It accepts their settings too, if they are equal to the job's."""
_PLUGIN = frozenset({"plugin"})


class Form(StrEnum):
    """The type of a setting, which decides how its text is parsed."""

    TEXT = "text"
    URL = "url"
    """``https://`` is added where the scheme is missing."""
    BOOLEAN = "true or false"
    COUNT = "count"
    """The number of times a flag was given; ``true`` is 1."""
    INTEGER = "number"
    SIZE = "size"
    """Bytes, see :func:`s3batch.units.parse_size`."""
    DURATION = "duration"
    """Seconds, see :func:`s3batch.units.parse_duration`."""
    DAYS = "duration, plain numbers are days"
    LIMIT = "N or N%"
    """Kept as text; :func:`s3batch.units.parse_limit` parses it."""
    LIST = "list"
    """Items between commas, a JSON list, or the flag several times."""
    KEYS = "list, a comma in an item is written as \\,"
    """As :attr:`LIST`, but ``\\,`` is a comma, and a comma between ``{{`` and ``}}`` separates nothing."""
    RULES = "text, or map from pattern to text"
    """Kept as text or JSON; :mod:`s3batch.objects.attributes` parses it."""
    MAP = "map"
    """Kept as JSON."""


LISTS = frozenset({Form.LIST, Form.KEYS})
"""Forms whose flag may be given several times."""


class Topic(StrEnum):
    """The heading below which the help and docs/settings.md show a setting."""

    WHAT = "Source and target"
    ATTRIBUTES = "Attributes of objects"
    SAFETY = "Deleting and safety"
    CLOUDFRONT = "CloudFront"
    CACHE = "Cache"
    ACCESS = "Endpoint and credentials"
    SPEED = "Speed"
    JOURNAL = "Journal"
    OUTPUT = "Output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table: a setting with its default, form, help and names."""

    name: str = ""
    default: Any = ""
    form: Form = Form.TEXT
    help: str = ""
    topic: Topic = Topic.WHAT
    commands: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    """Other names, valid wherever the name is."""
    plugin: tuple[str, ...] = ()
    """Variables of a CI plugin, the strongest first; empty: ``PLUGIN_`` and each of its names."""
    plugin_cache: tuple[str, ...] = ()
    """Weaker variables, which only cache plugins read."""
    also: tuple[str, ...] = ()
    """Variables of the AWS tools, weaker than ``S3BATCH_`` ones, read by every command."""
    short: str = ""
    """The one-letter flag, such as ``-v``."""
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    zero_is_unset: bool = False
    """True if 0 and negative numbers mean the default."""
    shown_default: str = ""
    """The default in words, where it is found at run time."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)

    @property
    def flag(self) -> str:
        """The flag, such as ``--foo-bar``."""
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        """The environment variable, such as ``S3BATCH_FOO_BAR``."""
        return variable_of(self.name)

    @property
    def plugin_names(self) -> tuple[str, ...]:
        """The variables of a CI plugin, the strongest first."""
        return self.plugin or tuple(f"PLUGIN_{name.upper()}" for name in self.names)


def flag_of(name: str) -> str:
    """Return the flag of a setting: ``--foo-bar`` for ``foo_bar``."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: ``S3BATCH_FOO_BAR`` for ``foo_bar``."""
    return "S3BATCH_" + name.upper()


def setting(
    default: Any, sentence: str, topic: Topic, commands: frozenset[str], form: Form = Form.TEXT, **more: Any
) -> Any:
    """Make a field of :class:`Settings`; ``more`` are fields of :class:`Setting`."""
    row = Setting(default=default, help=sentence, topic=topic, commands=commands, form=form, **more)
    return field(default=default, metadata={"setting": row})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The effective settings of one run. Immutable and picklable; ``repr`` shows no secret.

    The fields up to ``env_file`` are the table of settings. Those after it are facts of the run, not settings.
    """

    # -- source and target -------------------------------------------------------------------------------------
    source: str = setting(
        ".", "Directory, file or glob to upload, relative to the working directory.", Topic.WHAT, _SYNC
    )
    bucket: str = setting("", "Name of the bucket.", Topic.WHAT, _SYNC | _CACHE)
    target: str = setting("/", "Prefix in the bucket, or s3://BUCKET/PREFIX.", Topic.WHAT, _SYNC)
    include: tuple[str, ...] = setting(
        (),
        "Patterns of the files to upload, in gitignore syntax, relative to the source; all other files are left out.",
        Topic.WHAT, _SYNC, Form.LIST,
    )  # fmt: skip
    exclude: tuple[str, ...] = setting(
        (),
        "Patterns of files to leave out, in gitignore syntax, relative to the source; for a cache, relative to the workspace.",
        Topic.WHAT, _SYNC | _ARCHIVE, Form.LIST,
    )  # fmt: skip
    strip_prefix: str = setting("", "Path prefix to strip from keys.", Topic.WHAT, _SYNC)
    symlinks: str = setting(
        "follow", "Symbolic links: follow all, follow those that stay inside the source, or skip all.",
        Topic.WHAT, _SYNC,
        choices=("follow", "inside", "skip"),
    )  # fmt: skip
    redirects: str = setting(
        "", "Website redirects: map from key to the location it redirects to.", Topic.WHAT, _SYNC, Form.MAP
    )
    publish_last: tuple[str, ...] = setting(
        (), "Patterns of files to upload after all others, such as index.html.", Topic.WHAT, _SYNC, Form.LIST
    )

    # -- attributes of objects ---------------------------------------------------------------------------------
    acl: str = setting(
        "", "Canned ACL, such as public-read; without it no ACL is sent.", Topic.ATTRIBUTES, _SYNC, Form.RULES,
        aliases=("access",), plugin=("PLUGIN_ACCESS", "PLUGIN_ACL"),
    )  # fmt: skip
    content_type: str = setting(
        "", "Content-Type header.", Topic.ATTRIBUTES, _SYNC, Form.RULES, shown_default="by file name"
    )
    content_encoding: str = setting("", "Content-Encoding header.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    cache_control: str = setting("", "Cache-Control header.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    content_disposition: str = setting("", "Content-Disposition header.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    content_language: str = setting("", "Content-Language header.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    expires: str = setting("", "Expires header: an HTTP date or an ISO 8601 time.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    metadata: str = setting(
        "", "User metadata: map from name to value, or from pattern to such a map.", Topic.ATTRIBUTES, _SYNC, Form.MAP
    )
    tags: str = setting(
        "",
        "Object tags: a=1&b=2, a map from name to value, or a map from pattern to either.",
        Topic.ATTRIBUTES,
        _SYNC,
        Form.RULES,
    )
    storage_class: str = setting("", "Storage class, such as STANDARD_IA.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    encryption: str = setting(
        "", "Server-side encryption.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE, choices=("AES256", "aws:kms", "aws:kms:dsse")
    )
    kms_key_id: str = setting(
        "", "Id or ARN of the KMS key, for encryption aws:kms.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE
    )
    gzip: str = setting(
        "", "Patterns of files to compress with gzip while they are uploaded, or true for all; sets Content-Encoding.",
        Topic.ATTRIBUTES, _SYNC, Form.RULES,
    )  # fmt: skip
    checksum: str = setting(
        "auto", "Checksum algorithm with which the store verifies each upload.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE,
        choices=("auto", "crc64nvme", "crc32", "crc32c", "sha256", "md5", "none"),
    )  # fmt: skip

    # -- deleting and safety -----------------------------------------------------------------------------------
    delete: bool = setting(False, "Delete remote objects that have no local file.", Topic.SAFETY, _SYNC, Form.BOOLEAN)
    max_delete: str = setting(
        "",
        "Maximum number or percentage of objects to delete; if there are more, none is deleted and the job fails.",
        Topic.SAFETY,
        _SYNC,
        Form.LIMIT,
    )
    allow_empty_source: bool = setting(
        False, "Let --delete remove all objects if the source holds no file.", Topic.SAFETY, _SYNC, Form.BOOLEAN
    )
    allow_file_source: bool = setting(
        False, "Let --delete go on if the source was a directory in the last run and is a single file now.",
        Topic.SAFETY, _SYNC,
        Form.BOOLEAN,
    )  # fmt: skip
    dry_run: bool = setting(
        False, "Change nothing, print what would be done.",
        Topic.SAFETY, frozenset({"sync", "cache restore", "cache rebuild", "cache clear", "cache prune", "jobs prune"}),
        Form.BOOLEAN, plugin=("DRY_RUN", "PLUGIN_DRY_RUN"),
    )  # fmt: skip
    fail_on: tuple[str, ...] = setting(
        (), "Also exit with code 1 after warnings, after changes, or if nothing had to be done.",
        Topic.SAFETY, _SYNC | _ARCHIVE, Form.LIST, choices=("warnings", "changes", "nothing"),
    )  # fmt: skip
    object_manifest: bool = setting(
        False,
        "Keep a list of the uploaded objects in the bucket, so that a run without a journal need not check them again.",
        Topic.SAFETY, _SYNC, Form.BOOLEAN,
    )  # fmt: skip

    # -- CloudFront --------------------------------------------------------------------------------------------
    cloudfront_distribution: str = setting(
        "", "Id of the distribution to invalidate after all operations succeeded.", Topic.CLOUDFRONT, _SYNC
    )
    cloudfront_always: bool = setting(
        False, "Invalidate even if nothing changed.", Topic.CLOUDFRONT, _SYNC, Form.BOOLEAN
    )
    cloudfront_paths: str = setting(
        "all", "Paths to invalidate: the whole target, or the changed keys only.", Topic.CLOUDFRONT, _SYNC,
        choices=("all", "changed"),
    )  # fmt: skip
    cloudfront_endpoint: str = setting(
        "", "URL of the CloudFront API.", Topic.CLOUDFRONT, _SYNC, Form.URL, also=("AWS_ENDPOINT_URL_CLOUDFRONT",)
    )

    # -- cache -------------------------------------------------------------------------------------------------
    mode: str = setting(
        "", "Command that the plugin runs, if the other settings do not name it.", Topic.CACHE, _PLUGIN,
        choices=("sync", "restore", "rebuild", "clear", "resume", "doctor"),
    )  # fmt: skip
    restore: bool = setting(False, "Restore the cache.", Topic.CACHE, _PLUGIN, Form.BOOLEAN)
    rebuild: bool = setting(False, "Rebuild the cache.", Topic.CACHE, _PLUGIN, Form.BOOLEAN)
    cache: tuple[str, ...] = setting(
        (),
        "Directories and files to cache, or patterns such as **/node_modules.",
        Topic.CACHE,
        _ARCHIVE,
        Form.LIST,
        aliases=("mount",),
    )
    prefix: str = setting("", "Prefix in the bucket for all caches.", Topic.CACHE, _CACHE)
    cache_key: tuple[str, ...] = setting(
        (),
        'Name of the cache, or several names. Templates such as {{ .Repo.Name }}/{{ checksum "go.sum" }} are expanded.',
        Topic.CACHE, _KEYED, Form.KEYS, shown_default="owner/repo/branch",
    )  # fmt: skip
    restore_keys: tuple[str, ...] = setting(
        (), "Prefixes of cache keys to try if no cache has the key; of several caches the newest is restored.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.LIST,
    )  # fmt: skip
    override: bool = setting(
        True,
        "Replace an existing cache of the same key.",
        Topic.CACHE,
        frozenset({"cache rebuild"}),
        Form.BOOLEAN,
    )
    ttl: float = setting(
        0.0,
        "Prune removes caches that were not used for this long; 0 keeps them. With it, restore and rebuild record the use.",
        Topic.CACHE, _ARCHIVE | {"cache prune"}, Form.DAYS, minimum=0,
    )  # fmt: skip
    keep_last: int | None = setting(
        None,
        "Number of newest caches to keep for each branch; for a rebuild, of those with the same cache_key template.",
        Topic.CACHE, frozenset({"cache prune", "cache rebuild"}), Form.INTEGER, minimum=1,
    )  # fmt: skip
    max_age: float = setting(
        0.0, "Maximum age of a cache to restore; an older one is a miss. 0 means any age.",
        Topic.CACHE, frozenset({"cache restore"}), Form.DAYS, minimum=0,
    )  # fmt: skip
    lookup_only: bool = setting(
        False, "Report which cache would be restored, its age and its size; restore nothing.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    max_size: int | None = setting(
        None, "Maximum total size of the files in one cache.", Topic.CACHE, _ARCHIVE, Form.SIZE, minimum=1,
    )  # fmt: skip
    max_total: int | None = setting(
        None, "Maximum stored size of all caches together; the least recently used ones are removed.",
        Topic.CACHE, frozenset({"cache prune"}), Form.SIZE, aliases=("max_size",), minimum=1,
    )  # fmt: skip
    local_dir: str = setting(
        "",
        "Directory that outlives the workspace, such as a volume of the runner. Chunks are kept there and not fetched again.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}),
    )  # fmt: skip
    local_max: int = setting(
        10 << 30, "Maximum size of local_dir; the least recently used chunks are removed.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.SIZE, minimum=1,
    )  # fmt: skip
    grace: float = setting(
        86400.0, "Never prune anything younger than this. Set it above your longest build time.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=0,
    )  # fmt: skip
    lock_timeout: float = setting(
        3600.0, "Age at which the lock of a dead prune may be taken over.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=1,
    )  # fmt: skip
    compression_level: int = setting(
        3,
        "Compression level of zstd, from -7 (fastest) to 22 (smallest).",
        Topic.CACHE,
        frozenset({"cache rebuild"}),
        Form.INTEGER,
        minimum=-7,
        maximum=22,
    )
    read_only: bool = setting(
        False, "Never write to the cache.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild", "cache clear", "cache prune"}), Form.BOOLEAN,
    )  # fmt: skip
    fail_on_error: bool = setting(
        False, "Fail the step if a cache cannot be read or written.",
        Topic.CACHE, _ARCHIVE | {"cache clear"}, Form.BOOLEAN, plugin=("PLUGIN_FAIL_ON_ERROR",),
        plugin_cache=("PLUGIN_EXIT_CODE",),
    )  # fmt: skip
    fail_on_miss: bool = setting(
        False, "Fail the step if there is no cache to restore.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    output_file: str = setting(
        "", "File to append the outputs of this step to, one name=value line each.",
        Topic.OUTPUT, frozenset({"sync", "cache restore"}),
    )  # fmt: skip
    deadline: float | None = setting(
        None,
        "Maximum time for the step; then it gives up and the build goes on. 0 means no limit. Default: 10m, rebuild 20m.",
        Topic.CACHE, _ARCHIVE, Form.DURATION, minimum=0,
    )  # fmt: skip
    compat: str = setting(
        "", "Format for another plugin; s3cache: rebuild writes REPO/REPO.tar.gz for drone-s3cache.",
        Topic.CACHE, _ARCHIVE,
        choices=("s3cache",),
    )  # fmt: skip
    cache_symlinks: str = setting(
        "keep",
        "Symbolic links inside the cached paths: keep all, keep those that point inside the cached paths, or skip all.",
        Topic.CACHE, _ARCHIVE, aliases=("symlinks",), choices=("keep", "inside", "skip"),
    )  # fmt: skip
    cross_os: bool = setting(
        False, "Share one cache between all operating systems and processors.", Topic.CACHE, _ARCHIVE, Form.BOOLEAN
    )
    root_symlinks: str = setting(
        "inside",
        "Cached paths that are symbolic links: follow those that stay inside the workspace, follow all, or keep the links.",
        Topic.CACHE, _ARCHIVE, choices=("inside", "follow", "keep"),
    )  # fmt: skip
    verify: bool = setting(
        False, "Read every existing file, also those that did not change since the last step.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    exact: bool = setting(
        False, "Also remove files below the cached paths that are not in the cache; excluded files stay.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    trust_mtime: bool = setting(
        False, "Detect changed files by size and mtime alone. Unsafe with tools that reset mtimes.",
        Topic.CACHE, frozenset({"cache rebuild"}), Form.BOOLEAN,
    )  # fmt: skip
    owner: str = setting(
        "", "Owners of files: keep and restore them (as root only), or none.", Topic.CACHE, _ARCHIVE,
        choices=("keep", "none"), shown_default="keep as root, else none",
    )  # fmt: skip
    cache_secret: str = setting(
        "",
        "Secret that signs caches; with it a cache without a valid signature is a miss.",
        Topic.CACHE,
        _CACHE | {"resume"},
        secret=True,
    )

    # -- endpoint and credentials ------------------------------------------------------------------------------
    endpoint_url: str = setting(
        "", "URL of an S3-compatible server.", Topic.ACCESS, _ONLINE, Form.URL, aliases=("endpoint",),
        plugin=("PLUGIN_ENDPOINT", "PLUGIN_ENDPOINT_URL", "S3_SYNC_ENDPOINT", "S3_ENDPOINT"),
        plugin_cache=("PLUGIN_SERVER", "CACHE_S3_ENDPOINT", "CACHE_S3_SERVER"),
        also=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), shown_default="AWS",
    )  # fmt: skip
    region: str = setting(
        "", "Region of the bucket.", Topic.ACCESS, _ONLINE, also=("AWS_REGION", "AWS_DEFAULT_REGION"),
        plugin_cache=("S3_REGION",), shown_default="the profile's, else us-east-1",
    )  # fmt: skip
    path_style: bool = setting(
        False, "Put the bucket in the path of the URL instead of the host name.", Topic.ACCESS, _ONLINE, Form.BOOLEAN,
        plugin_cache=("AWS_PLUGIN_PATH_STYLE",),
    )  # fmt: skip
    profile: str = setting("", "Profile of the AWS config files.", Topic.ACCESS, _ONLINE)
    access_key: str = setting(
        "", "Access key id; without it the default credential chain of boto3 is used.",
        Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_access_key_id",), also=("AWS_ACCESS_KEY_ID",),
        plugin_cache=("CACHE_S3_ACCESS_KEY", "CACHE_AWS_ACCESS_KEY_ID"),
    )  # fmt: skip
    secret_key: str = setting(
        "", "Secret access key.", Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_secret_access_key",), also=("AWS_SECRET_ACCESS_KEY",),
        plugin_cache=("CACHE_S3_SECRET_KEY", "CACHE_AWS_SECRET_ACCESS_KEY"),
    )  # fmt: skip
    session_token: str = setting(
        "", "Session token of the access key.", Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_session_token",),
    )  # fmt: skip
    assume_role: str = setting("", "ARN of a role to assume.", Topic.ACCESS, _ONLINE, aliases=("assume_role_arn",))
    assume_role_session_name: str = setting("s3batch", "Session name of the assumed role.", Topic.ACCESS, _ONLINE)
    external_id: str = setting("", "External id of the assumed role.", Topic.ACCESS, _ONLINE, secret=True)
    user_role_arn: str = setting(
        "", "ARN of a second role, assumed with the first one's credentials.", Topic.ACCESS, _ONLINE
    )
    user_role_external_id: str = setting("", "External id of the second role.", Topic.ACCESS, _ONLINE, secret=True)
    oidc_token_id: str = setting(
        "", "OIDC token to assume the role with, instead of access keys.", Topic.ACCESS, _ONLINE, secret=True
    )
    sign_payload: str = setting(
        "auto", "Sign the body of requests too; auto signs small ones over plain HTTP.", Topic.ACCESS, _ONLINE,
        choices=("auto", "always", "never"),
    )  # fmt: skip

    # -- speed -------------------------------------------------------------------------------------------------
    workers: int | None = setting(
        None, "Number of worker processes.", Topic.SPEED, _WORKING, Form.INTEGER, zero_is_unset=True,
        shown_default="the CPUs this process may use",
    )  # fmt: skip
    max_concurrency: int | None = setting(
        None, "Maximum number of requests in flight over all workers.",
        Topic.SPEED, _WORKING, Form.INTEGER, zero_is_unset=True,
        shown_default="set by the number of workers",
    )  # fmt: skip
    bandwidth: int | None = setting(
        None, "Maximum bytes per second over all workers.", Topic.SPEED, _WORKING, Form.SIZE, zero_is_unset=True,
        shown_default="unlimited",
    )  # fmt: skip
    retries: int = setting(10, "Maximum attempts per operation.", Topic.SPEED, _ONLINE, Form.INTEGER, minimum=1)
    timeout: float = setting(
        60.0, "Maximum time to wait for the server to send or accept data.",
        Topic.SPEED, _ONLINE, Form.DURATION, minimum=0.001,
        plugin_cache=("PLUGIN_BACKEND_OPERATION_TIMEOUT", "BACKEND_OPERATION_TIMEOUT"),
    )  # fmt: skip
    executor: str = setting(
        "local", "Where the workers run: processes on this machine, a Dask cluster, or this process (inline).",
        Topic.SPEED, _WORKING,
        choices=("local", "dask", "inline"),
    )  # fmt: skip
    scheduler: str = setting("", "Address of the Dask scheduler, such as tcp://host:8786.", Topic.SPEED, _WORKING)
    lane: str = setting(
        "auto", "HTTP client: built-in (lean) or boto3 (reference); auto takes boto3 only where it is needed.",
        Topic.SPEED, _ONLINE,
        choices=("auto", "lean", "reference"),
    )  # fmt: skip
    multipart_threshold: int = setting(
        32 << 20,
        "Minimum size of files that are uploaded in parts.",
        Topic.SPEED,
        _SYNC | {"resume"},
        Form.SIZE,
        minimum=1,
    )
    part_size: int = setting(
        16 << 20, "Size of a part; doubled until 10,000 parts hold the file.",
        Topic.SPEED, _SYNC | {"resume"}, Form.SIZE,
        minimum=5 << 20, maximum=5 << 30,
    )  # fmt: skip

    # -- journal -----------------------------------------------------------------------------------------------
    journal: str = setting(
        "", "Journal file, which records each operation of a job and its state.", Topic.JOURNAL, _JOURNALLED,
        shown_default="one per target, in the state directory",
    )  # fmt: skip
    all_jobs: bool = setting(
        False, "Finish all unfinished jobs, the oldest first.", Topic.JOURNAL, frozenset({"resume"}), Form.BOOLEAN,
        aliases=("all",),
    )  # fmt: skip
    older_than: float = setting(
        0.0, "Delete only jobs that ended longer ago than this.", Topic.JOURNAL, frozenset({"jobs prune"}), Form.DAYS,
        minimum=0,
    )  # fmt: skip
    trust_journal: bool = setting(
        True, "Trust the journal about files and objects that did not change since the last run.",
        Topic.JOURNAL, frozenset({"sync", "verify"}), Form.BOOLEAN,
    )  # fmt: skip

    # -- output ------------------------------------------------------------------------------------------------
    json: bool = setting(
        False, "Print one JSON document on stdout at the end, also after a failure.", Topic.OUTPUT, _EVERY, Form.BOOLEAN
    )
    progress: str = setting(
        "auto", "Progress on stderr: bars, a line every 10 s (plain), or none; auto shows bars on a terminal.",
        Topic.OUTPUT, _WORKING,
        choices=("auto", "bar", "plain", "none"),
    )  # fmt: skip
    verbose: int = setting(
        0, "Print more details; given twice, also tracebacks.", Topic.OUTPUT, _EVERY, Form.COUNT, short="-v",
        plugin=("PLUGIN_VERBOSE", "PLUGIN_DEBUG", "DEBUG"),
    )  # fmt: skip
    log_level: str = setting(
        "", "Level of messages: trace is -vv, debug is -v, warn is --quiet, error prints errors only.",
        Topic.OUTPUT, _EVERY, choices=("trace", "debug", "info", "warn", "error"), shown_default="info",
    )  # fmt: skip
    quiet: bool = setting(False, "Print only warnings and errors.", Topic.OUTPUT, _EVERY, Form.BOOLEAN, short="-q")
    log_format: str = setting("text", "Format of the lines on stderr.", Topic.OUTPUT, _EVERY, choices=("text", "json"))
    env_file: str = setting(
        "",
        "File of NAME=value lines to add to the environment; variables that are already set win.",
        Topic.OUTPUT,
        _EVERY,
    )

    # -- facts of the run --------------------------------------------------------------------------------------
    command: str = "sync"
    """A key of :data:`COMMANDS`."""
    job: str = ""
    """The job that ``resume`` and ``jobs show`` take; empty: the newest."""
    plugin: bool = False
    """True if a CI runs s3batch as its plugin, with the defaults of the plugins that it replaces."""
    workspace: str = ""
    """Absolute path; relative paths of settings start here."""
    state_directory: str = ""
    """Absolute path of the directory for journals that ``journal`` does not name."""
    user_directory: str = ""
    """Absolute path of the user's state directory, which holds the locks of targets; empty: as ``state_directory``."""
    build: Build | None = None
    origins: dict[str, str] = field(default_factory=dict)
    """The origin of each value that is not the default: ``--acl``, ``PLUGIN_ACL``, ``config file X``."""

    def origin(self, name: str) -> str:
        """Return the origin of a setting's value."""
        return self.origins.get(name, DEFAULT)

    def bad(self, name: str, instead: str) -> SettingsError:
        """Return the error for a value that turns out wrong; ``instead`` says what to write."""
        return wrong(TABLE[name], getattr(self, name), self.origin(name), instead)

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no output may contain."""
        return tuple(getattr(self, name) for name, row in TABLE.items() if row.secret and getattr(self, name))

    def at_workspace(self, path: str) -> str:
        """Return the absolute form of ``path``, which is relative to the workspace."""
        return os.path.abspath(os.path.join(self.workspace or os.getcwd(), path))

    def journal_directory(self) -> str:
        """Return the directory of journals that ``journal`` does not name."""
        return self.state_directory or self.at_workspace(OWN_DIRECTORY)

    def lock_directories(self) -> tuple[str, ...]:
        """Return the directories for the lock of a target: the user's, and for a plugin the workspace's too."""
        return tuple(dict.fromkeys([self.user_directory or self.journal_directory(), self.journal_directory()]))

    def journal_path(self, target: str = "") -> str:
        """Return the path of the journal: one file for each target and endpoint of a sync, one for each cache."""
        if self.journal:
            return self.at_workspace(self.journal)
        if self.command in _CACHE:
            place = (self.bucket, self.prefix, join_keys(self.cache_key), self.endpoint_url)
            return self._journal_of(self.command.replace(" ", "-"), self.at_workspace("."), *self.cache, *place)
        return self._journal_of("sync", target, self.endpoint_url)

    def old_journal_path(self) -> str:
        """Return where older versions kept this sync's journal, one per source; empty if ``journal`` names one."""
        place = (self.at_workspace(self.source), f"{self.bucket}/{self.target.strip('/')}", self.endpoint_url)
        return "" if self.journal else self._journal_of("sync", *place)

    def _journal_of(self, kind: str, *identity: str) -> str:
        # 48 bits tell the few journals of a user apart
        digest = hashlib.blake2b("\0".join(identity).encode("utf-8", "surrogateescape"), digest_size=6)
        return os.path.join(self.journal_directory(), f"{kind}-{digest.hexdigest()}.db")

    def plan_digest(self) -> str:
        """Return a digest of the settings that decide a sync's plan.

        A run may take over planned operations of a run with an equal digest.
        """
        decisive = {name for name, row in TABLE.items() if row.topic in {Topic.WHAT, Topic.ATTRIBUTES}}
        decisive |= {"delete", "max_delete", "allow_empty_source", "plugin"}
        values = [f"{name}={getattr(self, name)!r}" for name in sorted(decisive - {"source"})]
        text = "\0".join([self.at_workspace(self.source), *values])
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def public(self) -> dict[str, Any]:
        """Return the job's settings for the journal, JSON-able and without secrets.

        They suffice to resume the job from another directory.
        """
        values = {name: _plain(getattr(self, name)) for name, row in TABLE.items() if _is_of_the_job(row)}
        facts = {"command": self.command, "plugin": self.plugin, "workspace": self.workspace or os.getcwd()}
        return {**values, **facts, "build": self.build.public() if self.build else None}

    @classmethod
    def from_public(cls, public: Mapping[str, Any], overrides: Settings | None = None) -> Self:
        """Return the settings that a job began with; ``overrides`` gives credentials, speed and output.

        Raises ValueError if ``public`` holds a value that its setting cannot have.
        """
        given = overrides or cls()
        values = {name: public[name] for name, row in TABLE.items() if name in public and _is_of_the_job(row)}
        if isinstance(values.get("cache_key"), str):  # as journals of old versions have it
            values["cache_key"] = [values["cache_key"]] if values["cache_key"] else []
        wrong_one = next((name for name, value in values.items() if not _fits(TABLE[name], value)), None)
        workspace = public.get("workspace", "")
        if wrong_one or not isinstance(workspace, str):
            raise ValueError(f"{wrong_one or 'workspace'} is not of its kind")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        origins = dict.fromkeys((name for name, value in values.items() if value != TABLE[name].default), JOURNAL)
        values |= {name: getattr(given, name) for name, row in TABLE.items() if _overrides(row, given)}
        return cls(
            **values,
            origins=origins | given.origins,
            command=public.get("command", "sync"),
            plugin=public.get("plugin", False),
            workspace=workspace,
            build=Build.from_public(public["build"]) if public.get("build") else None,
            state_directory=given.state_directory,
            user_directory=given.user_directory,
            job=given.job,
        )

    def __repr__(self) -> str:
        shown = [
            f"{name}={'***' if row.secret else getattr(self, name)!r}"
            for name, row in TABLE.items()
            if getattr(self, name) != row.default
        ]
        return f"Settings({', '.join([f'command={self.command!r}', *shown])})"


def _rows() -> dict[str, Setting]:
    rows = ((entry.name, entry.metadata.get("setting")) for entry in fields(Settings))
    return {name: _named(row, name) for name, row in rows if row is not None}


def _named(row: Setting, name: str) -> Setting:
    values = {entry.name: getattr(row, entry.name) for entry in fields(Setting)}
    return Setting(**{**values, "name": name})


TABLE: dict[str, Setting] = _rows()
"""Every setting by name, in the order of the help."""


def taken_by(command: str) -> dict[str, Setting]:
    """Return the settings that a command takes; ``config`` and ``plugin`` take all."""
    everything = command in {"config", "plugin"}
    commands = RESUMABLE | {command} if command == "resume" else {command}
    return {name: row for name, row in TABLE.items() if everything or not row.commands.isdisjoint(commands)}


def spellings(command: str) -> dict[str, Setting]:
    """Return every name and alias that a command knows, with its setting. A name wins over an equal alias."""
    rows = taken_by(command)
    aliases = {alias: row for row in rows.values() for alias in row.aliases}
    return {**aliases, **rows}


def names_of(row: Setting, command: str) -> tuple[str, ...]:
    """Return the name and those aliases that mean this setting for ``command``."""
    known = spellings(command)
    return tuple(name for name in row.names if known[name].name == row.name)


class Given(NamedTuple):
    """The text of a value and its origin: a variable, a flag or a config file."""

    text: str
    origin: str


def first_given(names: Iterable[str], environ: Mapping[str, str]) -> Given | None:
    """Return the first of these variables that is not empty."""
    return next((Given(environ[name], name) for name in names if environ.get(name, "").strip()), None)


def unknown(what: str, name: str, known: Iterable[str], *, prefix: str = "", origin: str = "") -> SettingsError:
    """Return the error for an unknown name, with the nearest known name as its hint.

    All names begin with ``prefix``; the comparison leaves it out.
    """
    import difflib  # noqa: PLC0415 - only needed to complain

    bare = sorted(each.removeprefix(prefix) for each in known)
    near = difflib.get_close_matches(name.removeprefix(prefix), bare, n=1)
    where = f" (from {origin})" if origin else ""
    hint = f"did you mean {prefix}{near[0]}?" if near else "see s3batch --help"
    return SettingsError(f"there is no {what} {name}{where}", hint=hint)


def parse(row: Setting, text: str, origin: str) -> Any:
    """Parse the text of a setting. Empty text is the default.

    Raises SettingsError, which names the setting, the value, its origin and what to write instead.
    """
    text = texts.plain(text)
    if not text:
        return row.default
    _refuse_placeholder(row, text, origin)
    try:
        if row.form not in LISTS and texts.has_control(text):
            raise ValueError(texts.CONTROL_HINT)
        value = _read(row, text)
    except ValueError as error:
        raise wrong(row, text, origin, str(error)) from None
    return row.default if row.zero_is_unset and value <= 0 else value


def cleaned(given: Mapping[str, Given]) -> dict[str, Given]:
    """Strip white space and quotes from values, and leave out those that are empty then."""
    plain = {name: one._replace(text=texts.plain(one.text)) for name, one in given.items()}
    return {name: one for name, one in plain.items() if one.text}


def _refuse_placeholder(row: Setting, text: str, origin: str) -> None:
    """Raise SettingsError for a placeholder such as ``${NAME}`` that the CI did not replace."""
    found = texts.find_placeholder(text) if row.topic is Topic.ACCESS or row.name in _LITERAL else None
    if found:
        raise SettingsError(
            f"{row.name} still holds {found[0]!r} (from {origin}): {found[1] or 'it'} has no value",
            hint=f"set the variable or secret {found[1]}, or write the value itself" if found[1] else "write the value",
        )


_KEY_PIECE = re.compile(r"\{\{.*?\}\}|\\,|.", re.DOTALL)
_LITERAL = frozenset({"bucket", "cloudfront_endpoint"})
"""Settings outside Topic.ACCESS whose value cannot contain ``${NAME}``."""


def wrong(row: Setting, value: object, origin: str, instead: str) -> SettingsError:
    """Return the error for a wrong value. It never shows a secret."""
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    text = texts.without_secrets(text) if row.form is Form.URL else texts.without_userinfo(text)
    shown = "***" if row.secret else text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return SettingsError(f"{row.name} cannot be {shown!r} (from {origin})", hint=instead)


def _read(row: Setting, text: str) -> Any:
    match row.form:
        case Form.BOOLEAN:
            return units.parse_boolean(text)
        case Form.COUNT:
            return _count(text)
        case Form.INTEGER | Form.SIZE | Form.DURATION | Form.DAYS:
            return _within(row, _number(row.form, text))
        case Form.LIMIT:
            units.parse_limit(text)
            return text.strip()
        case Form.LIST:
            return tuple(_chosen(row, _without_control(item)) for item in split_list(text))
        case Form.KEYS:
            return tuple(_without_control(item) for item in split_keys(text))
        case Form.URL:
            return _url(text.strip())
        case Form.RULES | Form.MAP:
            return text
    return _chosen(row, text)


def _without_control(item: str) -> str:
    if texts.CONTROL.search(item):
        raise ValueError(texts.CONTROL_HINT)
    return item


def _number(form: Form, text: str) -> float:
    match form:
        case Form.SIZE:
            return units.parse_size(text)
        case Form.DURATION:
            return units.parse_duration(text)
        case Form.DAYS:
            return units.parse_duration(text, default_unit="d")
    return units.parse_integer(text)


def _within(row: Setting, number: float) -> float:
    if row.zero_is_unset or (
        (row.minimum is None or number >= row.minimum) and (row.maximum is None or number <= row.maximum)
    ):
        return number
    limits = [f"at least {_amount(row, row.minimum)}" if row.minimum is not None else ""]
    limits.append(f"at most {_amount(row, row.maximum)}" if row.maximum is not None else "")
    raise ValueError("write " + " and ".join(filter(None, limits)))


def _amount(row: Setting, number: float) -> str:
    return units.format_size(number) if row.form is Form.SIZE else f"{number:g}"


def _chosen(row: Setting, text: str) -> str:
    if not row.choices:
        return text
    for choice in row.choices:
        if choice.lower() == text.strip().lower():
            return choice
    raise ValueError("write " + _any_of(row.choices))


def _any_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _count(text: str) -> int:
    try:
        return int(units.parse_boolean(text))
    except ValueError:
        return max(units.parse_integer(text), 0)


def _url(text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        raise ValueError("remove user and password; set access_key and secret_key")
    if "?" in rest or "#" in rest:
        raise ValueError("remove everything from ? or # on")
    if scheme.lower() not in {"http", "https"} or not rest.strip("/") or any(letter.isspace() for letter in url):
        raise ValueError("write an address such as https://s3.example.com:9000")
    host, slash, path = rest.partition("/")
    usual_port = ":443" if scheme.lower() == "https" else ":80"
    return f"{scheme.lower()}://{host.lower().removesuffix(usual_port)}{slash}{path}".rstrip("/")


def split_list(text: str) -> tuple[str, ...]:
    """Split a JSON list, or items between commas and line breaks. Spaces around items and empty items are dropped."""
    items: list[Any] = re.split(r"[,\n\r]", text)
    if text.strip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            items = json.loads(text)
    return tuple(word for word in (_word(item).strip() for item in items) if word)


def split_keys(text: str) -> tuple[str, ...]:
    r"""Split a list of cache keys: as :func:`split_list`, but ``\,`` is a comma, and ``{{...}}`` is never split."""
    if text.strip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return tuple(word for word in (_word(item).strip() for item in json.loads(text)) if word)
    items = [""]
    for piece in _KEY_PIECE.findall(text):
        if piece in {",", "\n", "\r"}:
            items.append("")
        else:
            items[-1] += "," if piece == "\\," else piece
    return tuple(item.strip() for item in items if item.strip())


def join_keys(keys: Iterable[str]) -> str:
    """Join keys so that :func:`split_keys` splits them again. No key may hold a line break."""
    return ",".join(_KEY_PIECE.sub(lambda piece: "\\," if piece[0] == "," else piece[0], key) for key in keys)


def _word(item: object) -> str:
    """Return a JSON value as a CI writes it: booleans in lower case, null as empty text."""
    if item is None:
        return ""
    return item if isinstance(item, str) else json.dumps(item)


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_of_the_job(row: Setting) -> bool:
    """Return whether a resumed job keeps its value. Secrets, output and the journal's path may differ."""
    return not row.secret and row.topic is not Topic.OUTPUT and row.name != "journal"


def _overrides(row: Setting, given: Settings) -> bool:
    """Return whether a value given to resume replaces the job's: credentials, speed and output do."""
    return not _is_of_the_job(row) or ("resume" in row.commands and row.name in given.origins)


def _fits(row: Setting, value: object) -> bool:
    """Return whether a value from a journal is valid for this setting."""
    match row.form:
        case Form.BOOLEAN:
            return isinstance(value, bool)
        case Form.LIST | Form.KEYS:
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case Form.COUNT | Form.INTEGER | Form.SIZE | Form.DURATION | Form.DAYS:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number or (value is None and row.default is None)
    return isinstance(value, str) and (not row.choices or value in (*row.choices, row.default))
