"""Every setting there is, in one table: the fields of :class:`Settings`.

A setting has one name in four spellings: the flag ``--foo-bar``, the variable ``S3BATCH_FOO_BAR``, the key ``foo_bar``
in a config file, and ``PLUGIN_FOO_BAR`` where a CI runs us as its plugin. All of them, ``s3batch config``, the help
and the table of the README are made from the metadata here; adding a field adds the setting everywhere.

Sizes are bytes, durations seconds, unless a name or a help text says otherwise. Empty means unset, whatever the
source. This module reads no environment and no file: :mod:`s3batch.cli` fills a ``Settings`` and says where each
value came from.
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

from s3batch import texts, units
from s3batch.build import Build
from s3batch.errors import SettingsError
from s3batch.private_files import OWN_DIRECTORY

DEFAULT = "default"
"""The origin of a value nobody gave."""
JOURNAL = "journal"
"""The origin of a value a resumed job was begun with."""
_LONGEST_SHOWN = 200
"""Characters of a wrong value; a map may be pages long."""

COMMANDS: dict[str, str] = {
    "sync": "make an S3 prefix hold what a directory holds",
    "cache restore": "fetch cached paths of an earlier build",
    "cache rebuild": "store paths for the next builds",
    "cache clear": "remove what this repository cached",
    "cache list": "show cache keys, their age, size and last use",
    "cache prune": "remove old caches by age, number or size",
    "cache inspect": "print what one cache key holds",
    "resume": "finish the newest unfinished job, or the one named",
    "jobs list": "show what ran and what is left",
    "jobs show": "show one job: what is left, what failed and why",
    "jobs prune": "forget finished jobs, abort uploads that dead ones left",
    "jobs forget": "forget one job, abort the uploads it left",
    "verify": "compare a directory with an S3 prefix, write nothing",
    "doctor": "try each permission and capability that is needed",
    "config": "show every effective setting and where it came from",
    "plugin": "run as a CI plugin: everything from the environment",
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
"""Commands whose jobs ``resume`` finishes. It takes their settings too: those must be as the job has them."""
_PLUGIN = frozenset({"plugin"})


class Form(StrEnum):
    """How the text of a value is read."""

    TEXT = "text"
    URL = "url"
    """Without a scheme it gets ``https://``."""
    BOOLEAN = "true or false"
    COUNT = "count"
    """A flag given once or several times; true is 1."""
    INTEGER = "number"
    SIZE = "size"
    """Bytes, see :func:`s3batch.units.parse_size`."""
    DURATION = "duration"
    """Seconds, see :func:`s3batch.units.parse_duration`."""
    DAYS = "duration, plain numbers are days"
    LIMIT = "N or N%"
    """Kept as text; :func:`s3batch.units.parse_limit` reads it."""
    LIST = "list"
    """Separated by commas, or a JSON list, or the flag several times."""
    KEYS = "list, a comma in an item is written as \\,"
    """As :attr:`LIST`, but ``\\,`` is a comma, and one between ``{{`` and ``}}`` separates nothing."""
    RULES = "text, or map from pattern to text"
    """Kept as text or JSON; :mod:`s3batch.rules` reads it."""
    MAP = "map"
    """Kept as JSON."""


LISTS = frozenset({Form.LIST, Form.KEYS})
"""Forms whose flag may come several times."""


class Topic(StrEnum):
    """Under which heading help and README show a setting."""

    WHAT = "What goes where"
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
    """A row of the table."""

    name: str = ""
    default: Any = ""
    form: Form = Form.TEXT
    help: str = ""
    topic: Topic = Topic.WHAT
    commands: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    """Other names for it, everywhere a name is written."""
    plugin: tuple[str, ...] = ()
    """Variables by which a CI sets it, in order of precedence; empty: ``PLUGIN_`` and its names."""
    plugin_cache: tuple[str, ...] = ()
    """Further ones that only cache plugins know, after those."""
    also: tuple[str, ...] = ()
    """Variables of the AWS tools, read after ``S3BATCH_``, in every mode."""
    short: str = ""
    """Its flag of one letter, such as ``-v``."""
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    zero_is_unset: bool = False
    """0 and less mean the default, as upstream's users write it."""
    shown_default: str = ""
    """For people, where the default is found out at run time."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then its aliases."""
        return (self.name, *self.aliases)

    @property
    def flag(self) -> str:
        """``--foo-bar``."""
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        """``S3BATCH_FOO_BAR``."""
        return variable_of(self.name)

    @property
    def plugin_names(self) -> tuple[str, ...]:
        """Variables by which a CI sets it, the strongest first."""
        return self.plugin or tuple(f"PLUGIN_{name.upper()}" for name in self.names)


def flag_of(name: str) -> str:
    """The spelling of a setting's name on the command line."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The spelling of a setting's name in the environment."""
    return "S3BATCH_" + name.upper()


def setting(
    default: Any, sentence: str, topic: Topic, commands: frozenset[str], form: Form = Form.TEXT, **more: Any
) -> Any:
    """A field of :class:`Settings`; ``more`` are fields of :class:`Setting`."""
    row = Setting(default=default, help=sentence, topic=topic, commands=commands, form=form, **more)
    return field(default=default, metadata={"setting": row})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The effective settings of one run. Immutable and picklable; ``repr`` shows no secret.

    The fields up to ``log_format`` are the table; those after it are facts of the run that no user sets by name.
    """

    # -- what goes where ---------------------------------------------------------------------------------------
    source: str = setting(".", "Directory, file or glob to send, relative to the working directory.", Topic.WHAT, _SYNC)
    bucket: str = setting("", "Name of the bucket.", Topic.WHAT, _SYNC | _CACHE)
    target: str = setting("/", "Prefix in the bucket, or s3://BUCKET/PREFIX.", Topic.WHAT, _SYNC)
    include: tuple[str, ...] = setting(
        (), "Only files that one of these gitignore-like patterns matches, relative to the source.",
        Topic.WHAT, _SYNC, Form.LIST,
    )  # fmt: skip
    exclude: tuple[str, ...] = setting(
        (), "No files that one of these gitignore-like patterns matches, relative to the source; of a cache, to the workspace.",
        Topic.WHAT, _SYNC | _ARCHIVE, Form.LIST,
    )  # fmt: skip
    strip_prefix: str = setting("", "Leading part of each relative path that its key does not get.", Topic.WHAT, _SYNC)
    symlinks: str = setting(
        "follow", "Follow symbolic links, only those that stay inside the source, or none.", Topic.WHAT, _SYNC,
        choices=("follow", "inside", "skip"),
    )  # fmt: skip
    redirects: str = setting(
        "", "Map from key to the location a website visitor of that key is sent to.", Topic.WHAT, _SYNC, Form.MAP
    )
    publish_last: tuple[str, ...] = setting(
        (), "Patterns of files to send after all others, such as index.html.", Topic.WHAT, _SYNC, Form.LIST
    )

    # -- attributes of objects ---------------------------------------------------------------------------------
    acl: str = setting(
        "", "Canned ACL; none is sent unless this is set.", Topic.ATTRIBUTES, _SYNC, Form.RULES,
        aliases=("access",), plugin=("PLUGIN_ACCESS", "PLUGIN_ACL"),
    )  # fmt: skip
    content_type: str = setting("", "Content-Type.", Topic.ATTRIBUTES, _SYNC, Form.RULES, shown_default="by file name")
    content_encoding: str = setting("", "Content-Encoding.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    cache_control: str = setting("", "Cache-Control.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    content_disposition: str = setting("", "Content-Disposition.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    content_language: str = setting("", "Content-Language.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    expires: str = setting("", "Expires.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    metadata: str = setting(
        "", "Map from name to value, or from pattern to such a map.", Topic.ATTRIBUTES, _SYNC, Form.MAP
    )
    tags: str = setting(
        "", "Object tags: a=1&b=2 or a map, or a map from pattern to such a map.", Topic.ATTRIBUTES, _SYNC, Form.RULES
    )
    storage_class: str = setting("", "Storage class, such as STANDARD_IA.", Topic.ATTRIBUTES, _SYNC, Form.RULES)
    encryption: str = setting(
        "", "Server-side encryption.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE, choices=("AES256", "aws:kms", "aws:kms:dsse")
    )
    kms_key_id: str = setting("", "KMS key for encryption aws:kms.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE)
    gzip: str = setting(
        "", "Patterns of files to compress on the way, or true for all; Content-Encoding is set.",
        Topic.ATTRIBUTES, _SYNC, Form.RULES,
    )  # fmt: skip
    checksum: str = setting(
        "auto", "Checksum S3 verifies each upload with.", Topic.ATTRIBUTES, _SYNC | _ARCHIVE,
        choices=("auto", "crc64nvme", "crc32", "crc32c", "sha256", "md5", "none"),
    )  # fmt: skip

    # -- deleting and safety -----------------------------------------------------------------------------------
    delete: bool = setting(
        False, "Delete objects below the target that no file answers to.", Topic.SAFETY, _SYNC, Form.BOOLEAN
    )
    max_delete: str = setting(
        "", "Stop before the first delete if more objects than this would go.", Topic.SAFETY, _SYNC, Form.LIMIT
    )
    allow_empty_source: bool = setting(
        False, "Let --delete remove everything when the source holds no file.", Topic.SAFETY, _SYNC, Form.BOOLEAN
    )
    allow_file_source: bool = setting(
        False, "Let --delete go on where the source was a directory and is one file now.", Topic.SAFETY, _SYNC,
        Form.BOOLEAN,
    )  # fmt: skip
    dry_run: bool = setting(
        False, "Send nothing that changes the bucket, print what would be done.",
        Topic.SAFETY, frozenset({"sync", "cache restore", "cache rebuild", "cache clear", "cache prune", "jobs prune"}),
        Form.BOOLEAN, plugin=("DRY_RUN", "PLUGIN_DRY_RUN"),
    )  # fmt: skip
    fail_on: tuple[str, ...] = setting(
        (), "What else ends with exit code 1: warnings, changes (something was done), nothing (nothing was).",
        Topic.SAFETY, _SYNC | _ARCHIVE, Form.LIST, choices=("warnings", "changes", "nothing"),
    )  # fmt: skip
    object_manifest: bool = setting(
        False, "Keep a list of what the prefix holds in the bucket, for runs that have no journal.",
        Topic.SAFETY, _SYNC, Form.BOOLEAN,
    )  # fmt: skip

    # -- CloudFront --------------------------------------------------------------------------------------------
    cloudfront_distribution: str = setting(
        "", "Distribution to invalidate after everything else succeeded.", Topic.CLOUDFRONT, _SYNC
    )
    cloudfront_always: bool = setting(
        False, "Invalidate even if nothing changed.", Topic.CLOUDFRONT, _SYNC, Form.BOOLEAN
    )
    cloudfront_paths: str = setting(
        "all", "Invalidate the whole target, or just the changed keys.", Topic.CLOUDFRONT, _SYNC,
        choices=("all", "changed"),
    )  # fmt: skip
    cloudfront_endpoint: str = setting(
        "", "URL of the CloudFront API.", Topic.CLOUDFRONT, _SYNC, Form.URL, also=("AWS_ENDPOINT_URL_CLOUDFRONT",)
    )

    # -- cache -------------------------------------------------------------------------------------------------
    mode: str = setting(
        "", "What the plugin does, where the other settings leave it open.", Topic.CACHE, _PLUGIN,
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
    prefix: str = setting("", "Prefix in the bucket below which all caches are.", Topic.CACHE, _CACHE)
    cache_key: tuple[str, ...] = setting(
        (), 'Name of the cache, or several; a template such as {{ .Repo.Name }}/{{ checksum "go.sum" }} may be given.',
        Topic.CACHE, _KEYED, Form.KEYS, shown_default="owner/repo/branch",
    )  # fmt: skip
    restore_keys: tuple[str, ...] = setting(
        (), "Prefixes of keys to try when the key has no cache; the newest one wins.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.LIST,
    )  # fmt: skip
    override: bool = setting(
        True,
        "Replace a cache that is there under the same key.",
        Topic.CACHE,
        frozenset({"cache rebuild"}),
        Form.BOOLEAN,
    )
    ttl: float = setting(
        0.0, "Caches not used for so long are removed; 0 keeps them for ever.",
        Topic.CACHE, _ARCHIVE | {"cache prune"}, Form.DAYS, minimum=0,
    )  # fmt: skip
    keep_last: int | None = setting(
        None, "Caches to keep for each branch, the newest first; of a rebuild: those of the same cache_key template.",
        Topic.CACHE, frozenset({"cache prune", "cache rebuild"}), Form.INTEGER, minimum=1,
    )  # fmt: skip
    max_age: float = setting(
        0.0, "A cache that was published longer ago is a miss; 0: any age will do.",
        Topic.CACHE, frozenset({"cache restore"}), Form.DAYS, minimum=0,
    )  # fmt: skip
    lookup_only: bool = setting(
        False, "Only tell whether there is a cache, which, how old and how large; restore nothing.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    max_size: int | None = setting(
        None, "Maximum size of the files of one cache.", Topic.CACHE, _ARCHIVE, Form.SIZE, minimum=1,
    )  # fmt: skip
    max_total: int | None = setting(
        None, "Maximum stored size of all caches together; a prune gives up the least recently used.",
        Topic.CACHE, frozenset({"cache prune"}), Form.SIZE, aliases=("max_size",), minimum=1,
    )  # fmt: skip
    local_dir: str = setting(
        "", "Directory of the runner that outlives the workspace: chunks are kept there too, and not fetched again.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}),
    )  # fmt: skip
    local_max: int = setting(
        10 << 30, "Most bytes in local_dir; what was used longest ago goes.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.SIZE, minimum=1,
    )  # fmt: skip
    grace: float = setting(
        86400.0, "What is younger than this is never pruned; longer than the longest build.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=0,
    )  # fmt: skip
    lock_timeout: float = setting(
        3600.0, "After so long another prune may take over the lock of one that died.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=1,
    )  # fmt: skip
    compression_level: int = setting(
        3, "Level of zstd.", Topic.CACHE, frozenset({"cache rebuild"}), Form.INTEGER, minimum=-7, maximum=22
    )
    read_only: bool = setting(
        False, "Never write to the cache, whatever the build says.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild", "cache clear", "cache prune"}), Form.BOOLEAN,
    )  # fmt: skip
    fail_on_error: bool = setting(
        False, "Let a cache that cannot be read or written break the build.",
        Topic.CACHE, _ARCHIVE | {"cache clear"}, Form.BOOLEAN, plugin=("PLUGIN_FAIL_ON_ERROR",),
        plugin_cache=("PLUGIN_EXIT_CODE",),
    )  # fmt: skip
    fail_on_miss: bool = setting(
        False, "Let a cache that is not there break the build.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    output_file: str = setting(
        "", "File to append this step's outputs to, a name=value line each, for later steps.",
        Topic.OUTPUT, frozenset({"sync", "cache restore"}),
    )  # fmt: skip
    deadline: float | None = setting(
        None, "Time the step may take, its end included; then the build goes on. 0: no limit. Default: 10m, rebuild 20m.",
        Topic.CACHE, _ARCHIVE, Form.DURATION, minimum=0,
    )  # fmt: skip
    compat: str = setting(
        "", "s3cache: rebuild writes REPO/REPO.tar.gz, which drone-s3cache reads.", Topic.CACHE, _ARCHIVE,
        choices=("s3cache",),
    )  # fmt: skip
    cache_symlinks: str = setting(
        "keep", "Cache all symbolic links, only those that point inside the cached paths, or none.",
        Topic.CACHE, _ARCHIVE, aliases=("symlinks",), choices=("keep", "inside", "skip"),
    )  # fmt: skip
    cross_os: bool = setting(
        False, "Use one cache for all operating systems and processors.", Topic.CACHE, _ARCHIVE, Form.BOOLEAN
    )
    root_symlinks: str = setting(
        "inside", "Listed paths that are links: follow those that stay in the workspace, follow all, or keep them as links.",
        Topic.CACHE, _ARCHIVE, choices=("inside", "follow", "keep"),
    )  # fmt: skip
    verify: bool = setting(
        False, "Read every file that is already there instead of believing its size and time.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    exact: bool = setting(
        False, "Also remove what lies below the cached paths and is not in the cache; what exclude names stays.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    trust_mtime: bool = setting(
        False, "Believe size and mtime alone; unsafe with tools that set mtimes back.",
        Topic.CACHE, frozenset({"cache rebuild"}), Form.BOOLEAN,
    )  # fmt: skip
    owner: str = setting(
        "", "As root: keep the owners of what is cached and give it back to them, or none.", Topic.CACHE, _ARCHIVE,
        choices=("keep", "none"), shown_default="keep as root, else none",
    )  # fmt: skip
    cache_secret: str = setting(
        "", "Signs caches; with it an unsigned one is a miss.", Topic.CACHE, _CACHE | {"resume"}, secret=True
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
        False, "Put the bucket in the path instead of the host name.", Topic.ACCESS, _ONLINE, Form.BOOLEAN,
        plugin_cache=("AWS_PLUGIN_PATH_STYLE",),
    )  # fmt: skip
    profile: str = setting("", "Profile of the AWS config files.", Topic.ACCESS, _ONLINE)
    access_key: str = setting(
        "", "Access key id; else boto3's own chain.", Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_access_key_id",), also=("AWS_ACCESS_KEY_ID",),
        plugin_cache=("CACHE_S3_ACCESS_KEY", "CACHE_AWS_ACCESS_KEY_ID"),
    )  # fmt: skip
    secret_key: str = setting(
        "", "Secret access key.", Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_secret_access_key",), also=("AWS_SECRET_ACCESS_KEY",),
        plugin_cache=("CACHE_S3_SECRET_KEY", "CACHE_AWS_SECRET_ACCESS_KEY"),
    )  # fmt: skip
    session_token: str = setting(
        "", "Session token that belongs to the access key.", Topic.ACCESS, _ONLINE, secret=True,
        aliases=("aws_session_token",),
    )  # fmt: skip
    assume_role: str = setting("", "ARN of a role to assume.", Topic.ACCESS, _ONLINE, aliases=("assume_role_arn",))
    assume_role_session_name: str = setting("s3batch", "Name of that role's session.", Topic.ACCESS, _ONLINE)
    external_id: str = setting("", "External id for assuming the role.", Topic.ACCESS, _ONLINE, secret=True)
    user_role_arn: str = setting("", "ARN of a second role, assumed from the first.", Topic.ACCESS, _ONLINE)
    user_role_external_id: str = setting(
        "", "External id for assuming the second role.", Topic.ACCESS, _ONLINE, secret=True
    )
    oidc_token_id: str = setting(
        "", "OIDC token to assume the role with, instead of keys.", Topic.ACCESS, _ONLINE, secret=True
    )
    sign_payload: str = setting(
        "auto", "Sign the content of requests too; auto does over plain HTTP.", Topic.ACCESS, _ONLINE,
        choices=("auto", "always", "never"),
    )  # fmt: skip

    # -- speed -------------------------------------------------------------------------------------------------
    workers: int | None = setting(
        None, "Processes.", Topic.SPEED, _WORKING, Form.INTEGER, zero_is_unset=True,
        shown_default="the CPUs this process may use",
    )  # fmt: skip
    max_concurrency: int | None = setting(
        None, "Requests in flight over all workers.", Topic.SPEED, _WORKING, Form.INTEGER, zero_is_unset=True,
        shown_default="chosen by the number of workers",
    )  # fmt: skip
    bandwidth: int | None = setting(
        None, "Most bytes per second over all workers.", Topic.SPEED, _WORKING, Form.SIZE, zero_is_unset=True,
        shown_default="unlimited",
    )  # fmt: skip
    retries: int = setting(10, "Times an operation is tried.", Topic.SPEED, _ONLINE, Form.INTEGER, minimum=1)
    timeout: float = setting(
        60.0, "Longest silence of the server, seconds.", Topic.SPEED, _ONLINE, Form.DURATION, minimum=0.001,
        plugin_cache=("PLUGIN_BACKEND_OPERATION_TIMEOUT", "BACKEND_OPERATION_TIMEOUT"),
    )  # fmt: skip
    executor: str = setting(
        "local", "Where workers run: on this machine or on a Dask cluster.", Topic.SPEED, _WORKING,
        choices=("local", "dask", "inline"),
    )  # fmt: skip
    scheduler: str = setting("", "Address of the Dask scheduler, such as tcp://host:8786.", Topic.SPEED, _WORKING)
    lane: str = setting(
        "auto", "How requests are made: by our own HTTP client (lean) or by boto3 (reference).", Topic.SPEED, _ONLINE,
        choices=("auto", "lean", "reference"),
    )  # fmt: skip
    multipart_threshold: int = setting(
        32 << 20, "Files of at least this size go in parts.", Topic.SPEED, _SYNC | {"resume"}, Form.SIZE, minimum=1
    )
    part_size: int = setting(
        16 << 20, "Bytes in a part; doubled until 10,000 parts are enough.", Topic.SPEED, _SYNC | {"resume"}, Form.SIZE,
        minimum=5 << 20, maximum=5 << 30,
    )  # fmt: skip

    # -- journal -----------------------------------------------------------------------------------------------
    journal: str = setting(
        "", "File that remembers what is done and what is left.", Topic.JOURNAL, _JOURNALLED,
        shown_default="one per target, in the state directory",
    )  # fmt: skip
    all_jobs: bool = setting(
        False, "Finish every unfinished job, the oldest first.", Topic.JOURNAL, frozenset({"resume"}), Form.BOOLEAN,
        aliases=("all",),
    )  # fmt: skip
    older_than: float = setting(
        0.0, "Forget only jobs that ended longer ago than this.", Topic.JOURNAL, frozenset({"jobs prune"}), Form.DAYS,
        minimum=0,
    )  # fmt: skip
    trust_journal: bool = setting(
        True, "Believe the journal about files and objects that have not changed since.",
        Topic.JOURNAL, frozenset({"sync", "verify"}), Form.BOOLEAN,
    )  # fmt: skip

    # -- output ------------------------------------------------------------------------------------------------
    json: bool = setting(
        False, "Print one JSON document at the end, also on failure.", Topic.OUTPUT, _EVERY, Form.BOOLEAN
    )
    progress: str = setting(
        "auto", "Progress on stderr: bars, a plain line each 10 s, or none.", Topic.OUTPUT, _WORKING,
        choices=("auto", "bar", "plain", "none"),
    )  # fmt: skip
    verbose: int = setting(
        0, "Say more; twice: tracebacks too.", Topic.OUTPUT, _EVERY, Form.COUNT, short="-v",
        plugin=("PLUGIN_VERBOSE", "PLUGIN_DEBUG", "DEBUG"),
    )  # fmt: skip
    log_level: str = setting(
        "", "How much is said: trace and debug are --verbose twice and once, warn is --quiet, error says errors only.",
        Topic.OUTPUT, _EVERY, choices=("trace", "debug", "info", "warn", "error"), shown_default="info",
    )  # fmt: skip
    quiet: bool = setting(False, "Say only warnings and errors.", Topic.OUTPUT, _EVERY, Form.BOOLEAN, short="-q")
    log_format: str = setting("text", "How lines on stderr look.", Topic.OUTPUT, _EVERY, choices=("text", "json"))
    env_file: str = setting(
        "", "File of NAME=value lines to read first; the real environment wins.", Topic.OUTPUT, _EVERY
    )

    # -- facts of the run --------------------------------------------------------------------------------------
    command: str = "sync"
    """A key of :data:`COMMANDS`."""
    job: str = ""
    """The job that ``resume`` and ``jobs show`` are about; empty: the newest."""
    plugin: bool = False
    """Whether a CI runs us as its plugin; then the plugins' habits hold."""
    workspace: str = ""
    """Absolute: what relative paths are relative to."""
    state_directory: str = ""
    """Absolute: where journals go that were not given a name."""
    user_directory: str = ""
    """Absolute: the user's own state directory, where the locks of targets are; empty: as ``state_directory``."""
    build: Build | None = None
    origins: dict[str, str] = field(default_factory=dict)
    """Where each value came from that is not the default: ``--acl``, ``PLUGIN_ACL``, ``config file X``."""

    def origin(self, name: str) -> str:
        """Where the value of a setting came from."""
        return self.origins.get(name, DEFAULT)

    def bad(self, name: str, instead: str) -> SettingsError:
        """The error to raise for a value that turns out wrong; ``instead`` says what to write."""
        return wrong(TABLE[name], getattr(self, name), self.origin(name), instead)

    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear anywhere."""
        return tuple(getattr(self, name) for name, row in TABLE.items() if row.secret and getattr(self, name))

    def at_workspace(self, path: str) -> str:
        """``path`` as an absolute one."""
        return os.path.abspath(os.path.join(self.workspace or os.getcwd(), path))

    def journal_directory(self) -> str:
        """Where journals are that were not given a name."""
        return self.state_directory or self.at_workspace(OWN_DIRECTORY)

    def lock_directories(self) -> tuple[str, ...]:
        """Where a job to a target holds the lock of it: in the user's state directory, a plugin in the workspace too."""
        return tuple(dict.fromkeys([self.user_directory or self.journal_directory(), self.journal_directory()]))

    def journal_path(self, target: str = "") -> str:
        """The journal of a sync's ``target`` at this endpoint, or of a cache: the same ones give the same file."""
        if self.journal:
            return self.at_workspace(self.journal)
        if self.command in _CACHE:
            place = (self.bucket, self.prefix, join_keys(self.cache_key), self.endpoint_url)
            return self._journal_of(self.command.replace(" ", "-"), self.at_workspace("."), *self.cache, *place)
        return self._journal_of("sync", target, self.endpoint_url)

    def old_journal_path(self) -> str:
        """The journal of this sync as it was called when each source had one of its own; empty where one is named."""
        place = (self.at_workspace(self.source), f"{self.bucket}/{self.target.strip('/')}", self.endpoint_url)
        return "" if self.journal else self._journal_of("sync", *place)

    def _journal_of(self, kind: str, *identity: str) -> str:
        digest = hashlib.blake2b("\0".join(identity).encode("utf-8", "surrogateescape"), digest_size=6)
        return os.path.join(self.journal_directory(), f"{kind}-{digest.hexdigest()}.db")

    def plan_digest(self) -> str:
        """Digest of what decides which operations a sync plans: two runs with the same one may share them."""
        decisive = {name for name, row in TABLE.items() if row.topic in {Topic.WHAT, Topic.ATTRIBUTES}}
        decisive |= {"delete", "max_delete", "allow_empty_source", "plugin"}
        values = [f"{name}={getattr(self, name)!r}" for name in sorted(decisive - {"source"})]
        text = "\0".join([self.at_workspace(self.source), *values])
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def public(self) -> dict[str, Any]:
        """JSON-able and without secrets, for the journal: enough to go on with the job from another directory."""
        values = {name: _plain(getattr(self, name)) for name, row in TABLE.items() if _is_of_the_job(row)}
        facts = {"command": self.command, "plugin": self.plugin, "workspace": self.workspace or os.getcwd()}
        return {**values, **facts, "build": self.build.public() if self.build else None}

    @classmethod
    def from_public(cls, public: Mapping[str, Any], overrides: Settings | None = None) -> Self:
        """The settings of a job as it was begun; ``overrides`` gives credentials, speed and output.

        ``ValueError`` where ``public`` holds what no setting can have.
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
"""Every setting by its name, in the order people are shown."""


def taken_by(command: str) -> dict[str, Setting]:
    """The settings a command takes; ``config`` and ``plugin`` take all."""
    everything = command in {"config", "plugin"}
    commands = RESUMABLE | {command} if command == "resume" else {command}
    return {name: row for name, row in TABLE.items() if everything or not row.commands.isdisjoint(commands)}


def spellings(command: str) -> dict[str, Setting]:
    """Every name and alias a command knows, each with the setting it means. A name is never another's alias."""
    rows = taken_by(command)
    aliases = {alias: row for row in rows.values() for alias in row.aliases}
    return {**aliases, **rows}


def names_of(row: Setting, command: str) -> tuple[str, ...]:
    """The name and those aliases that mean this setting for ``command``."""
    known = spellings(command)
    return tuple(name for name in row.names if known[name].name == row.name)


class Given(NamedTuple):
    """A value as somebody wrote it, and where: a variable's name, a flag, a config file."""

    text: str
    origin: str


def first_given(names: Iterable[str], environ: Mapping[str, str]) -> Given | None:
    """The first of these variables that is not empty."""
    return next((Given(environ[name], name) for name in names if environ.get(name, "").strip()), None)


def unknown(what: str, name: str, known: Iterable[str], *, prefix: str = "", origin: str = "") -> SettingsError:
    """The one sentence about a name nobody knows, with the nearest that somebody does.

    ``prefix`` is what all of them begin with, and no likeness.
    """
    import difflib  # noqa: PLC0415 - only needed to complain

    bare = sorted(each.removeprefix(prefix) for each in known)
    near = difflib.get_close_matches(name.removeprefix(prefix), bare, n=1)
    where = f" (from {origin})" if origin else ""
    hint = f"did you mean {prefix}{near[0]}?" if near else "see s3batch --help"
    return SettingsError(f"there is no {what} {name}{where}", hint=hint)


def parse(row: Setting, text: str, origin: str) -> Any:
    """The value that ``text`` means for a setting. Empty text is the default.

    SettingsError names the setting, the value, where it came from and what to write instead.
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
    """Return what was given without white space and quotes around it; what is empty then is left out."""
    plain = {name: one._replace(text=texts.plain(one.text)) for name, one in given.items()}
    return {name: one for name, one in plain.items() if one.text}


def _refuse_placeholder(row: Setting, text: str, origin: str) -> None:
    """Raise SettingsError for ``${NAME}`` where only the value itself can be meant: a CI put nothing in its place."""
    found = texts.find_placeholder(text) if row.topic is Topic.ACCESS or row.name in _LITERAL else None
    if found:
        raise SettingsError(
            f"{row.name} still holds {found[0]!r} (from {origin}): nothing gave {found[1] or 'it'} a value",
            hint=f"set the variable or secret {found[1]}, or write the value itself" if found[1] else "write the value",
        )


_KEY_PIECE = re.compile(r"\{\{.*?\}\}|\\,|.", re.DOTALL)
_LITERAL = frozenset({"bucket", "cloudfront_endpoint"})
"""Settings outside of Topic.ACCESS in which ``${NAME}`` is never part of the value."""


def wrong(row: Setting, value: object, origin: str, instead: str) -> SettingsError:
    """The one sentence about a value that cannot be; a secret's value is not in it."""
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
        raise ValueError("leave out user and password; give access_key and secret_key")
    if "?" in rest or "#" in rest:
        raise ValueError("leave out what follows ? or #")
    if scheme.lower() not in {"http", "https"} or not rest.strip("/") or any(letter.isspace() for letter in url):
        raise ValueError("write an address such as https://s3.example.com:9000")
    host, slash, path = rest.partition("/")
    usual_port = ":443" if scheme.lower() == "https" else ":80"
    return f"{scheme.lower()}://{host.lower().removesuffix(usual_port)}{slash}{path}".rstrip("/")


def split_list(text: str) -> tuple[str, ...]:
    """A JSON list, or words between commas or on lines; spaces around them and empty ones do not count."""
    items: list[Any] = re.split(r"[,\n\r]", text)
    if text.strip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            items = json.loads(text)
    return tuple(word for word in (_word(item).strip() for item in items) if word)


def split_keys(text: str) -> tuple[str, ...]:
    r"""As :func:`split_list`, but ``\,`` is a comma, and what stands between ``{{`` and ``}}`` is left as it is."""
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
    """Return a text that :func:`split_keys` splits into these keys, if none of them holds a line break."""
    return ",".join(_KEY_PIECE.sub(lambda piece: "\\," if piece[0] == "," else piece[0], key) for key in keys)


def _word(item: object) -> str:
    """As a CI writes it: booleans in lower case, null as nothing."""
    if item is None:
        return ""
    return item if isinstance(item, str) else json.dumps(item)


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_of_the_job(row: Setting) -> bool:
    """Whether a resumed job must have it as it was; how we talk and with which keys may change."""
    return not row.secret and row.topic is not Topic.OUTPUT and row.name != "journal"


def _overrides(row: Setting, given: Settings) -> bool:
    """Whether a value given now counts, and not the job's: credentials, speed, output. Others are only compared."""
    return not _is_of_the_job(row) or ("resume" in row.commands and row.name in given.origins)


def _fits(row: Setting, value: object) -> bool:
    """Whether a journal's value is one that this setting can have."""
    match row.form:
        case Form.BOOLEAN:
            return isinstance(value, bool)
        case Form.LIST | Form.KEYS:
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case Form.COUNT | Form.INTEGER | Form.SIZE | Form.DURATION | Form.DAYS:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number or (value is None and row.default is None)
    return isinstance(value, str) and (not row.choices or value in (*row.choices, row.default))
