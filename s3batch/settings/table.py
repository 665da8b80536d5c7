"""The table of settings: every setting is a field of :class:`Settings`.

A setting has one name in four spellings: the flag ``--foo-bar``, the variable ``S3BATCH_FOO_BAR``, the key ``foo_bar``
in a config file, and ``PLUGIN_FOO_BAR`` in a CI plugin. The flags, the variables, ``s3batch config``, the help and
docs/settings.md are generated from the metadata here. A new field is a new setting in all of them.

Sizes are bytes and durations are seconds, unless a name or a help text says otherwise. An empty value is unset, in
every source; as a flag, those of :data:`GUARDS` refuse one. This module reads no environment and no file: :mod:`s3batch.cli` fills a ``Settings`` and records where
each value came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from s3batch.base import hashes
from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY
from s3batch.settings.parsing import as_plain_value, join_keys, wrong_value_error
from s3batch.settings.s3_limits import PART_MAXIMUM, PART_MINIMUM
from s3batch.settings.schema import (
    ARCHIVE_COMMANDS,
    CACHE_COMMANDS,
    DEFAULT,
    DEFINED,
    EVERY_COMMAND,
    JOURNAL,
    JOURNAL_COMMANDS,
    KEYED_COMMANDS,
    ONLINE_COMMANDS,
    PLUGIN_ONLY,
    REPORTING_COMMANDS,
    RESUMABLE,
    SOURCE_COMMANDS,
    SYNC_COMMANDS,
    WORKING_COMMANDS,
    Form,
    Setting,
    Topic,
    define_setting,
)
from s3batch.settings.texts import secrets_of_url

if TYPE_CHECKING:
    from s3batch.settings.ci_build import CIBuild


class Settings(NamedTuple):
    """The effective settings of one run. Immutable and picklable; ``repr`` shows no secret.

    The fields up to ``env_file`` are the table of settings. Those after it are facts of the run, not settings.
    """

    # -- source and target -------------------------------------------------------------------------------------
    source: str = define_setting(
        ".",
        "Directory, file or glob to upload, relative to the working directory; or s3://BUCKET/PREFIX to read from.",
        Topic.WHAT,
        SYNC_COMMANDS,
    )
    bucket: str = define_setting(
        "", "Name of the bucket.", Topic.WHAT, SYNC_COMMANDS | CACHE_COMMANDS | {"backup prune"}
    )
    target: str = define_setting(
        "/",
        "Prefix in the bucket, or s3://BUCKET/PREFIX; of a source in S3 also a local directory.",
        Topic.WHAT,
        SYNC_COMMANDS | {"backup prune"},
    )
    include: tuple[str, ...] = define_setting(
        (),
        "Patterns of the files to upload, in gitignore syntax, relative to the source. All other files stay out, unless "
        "an --exclude comes first.",
        Topic.WHAT, SYNC_COMMANDS, Form.LIST,
    )  # fmt: skip
    exclude: tuple[str, ...] = define_setting(
        (),
        "Patterns of files to leave out, in gitignore syntax, relative to the source; for a cache, relative to the workspace.",
        Topic.WHAT, SYNC_COMMANDS | ARCHIVE_COMMANDS, Form.LIST,
    )  # fmt: skip
    exclude_from: tuple[str, ...] = define_setting(
        (), "Files of patterns to leave out, in gitignore syntax. They count before include and exclude.",
        Topic.WHAT, SYNC_COMMANDS, Form.LIST,
    )  # fmt: skip
    files_from: str = define_setting(
        "", "File with the paths of the only files or keys to sync, one a line, relative to the source; - is stdin.",
        Topic.WHAT, frozenset({"sync", "verify"}),
    )  # fmt: skip
    files_from0: str = define_setting(
        "",
        "The same, with a NUL behind each path, as find -print0 writes them.",
        Topic.WHAT,
        frozenset({"sync", "verify"}),
    )
    null: bool = define_setting(
        False, "Paths in files_from end with NUL.", Topic.WHAT, frozenset({"sync", "verify"}), Form.BOOLEAN, short="-0"
    )
    min_size: int = define_setting(
        0, "Minimum size of a file. Smaller files and objects are left alone.", Topic.WHAT, SYNC_COMMANDS, Form.SIZE,
        minimum=0,
    )  # fmt: skip
    max_size: int | None = define_setting(
        None, "Maximum size of a file. Larger files and objects are left alone. For a cache: of all its files together.",
        Topic.WHAT, SYNC_COMMANDS | ARCHIVE_COMMANDS, Form.SIZE, minimum=1,
    )  # fmt: skip
    min_age: float = define_setting(
        0.0, "Minimum age of a file. Younger files and objects are left alone.", Topic.WHAT, SYNC_COMMANDS, Form.DAYS,
        minimum=0,
    )  # fmt: skip
    max_age: float = define_setting(
        0.0, "Maximum age of a file. Older files and objects are left alone. For a cache: an older one is a miss. 0: no limit.",
        Topic.WHAT, SYNC_COMMANDS | {"cache restore"}, Form.DAYS, minimum=0,
    )  # fmt: skip
    strip_prefix: str = define_setting("", "Path prefix to strip from keys.", Topic.WHAT, SYNC_COMMANDS)
    symlinks: str = define_setting(
        "follow", "Symbolic links: follow all, follow those that stay inside the source, or skip all.",
        Topic.WHAT, SYNC_COMMANDS,
        choices=("follow", "inside", "skip"),
    )  # fmt: skip
    redirects: str = define_setting(
        "", "Website redirects: map from key to the location it redirects to.", Topic.WHAT, SYNC_COMMANDS, Form.MAP
    )
    publish_last: tuple[str, ...] = define_setting(
        (), "Patterns of files to upload after all others, such as index.html.", Topic.WHAT, SYNC_COMMANDS, Form.LIST
    )

    # -- attributes of objects ---------------------------------------------------------------------------------
    acl: str = define_setting(
        "", "Canned ACL, such as public-read; without it no ACL is sent.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES,
        aliases=("access",), plugin=("PLUGIN_ACCESS", "PLUGIN_ACL"),
    )  # fmt: skip
    content_type: str = define_setting(
        "", "Content-Type header.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES, shown_default="by file name"
    )
    content_encoding: str = define_setting("", "Content-Encoding header.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES)
    cache_control: str = define_setting("", "Cache-Control header.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES)
    content_disposition: str = define_setting(
        "", "Content-Disposition header.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES
    )
    content_language: str = define_setting("", "Content-Language header.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES)
    expires: str = define_setting(
        "", "Expires header: an HTTP date or an ISO 8601 time.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES
    )
    metadata: str = define_setting(
        "",
        "User metadata: map from name to value, or from pattern to such a map.",
        Topic.ATTRIBUTES,
        SYNC_COMMANDS,
        Form.MAP,
    )
    preserve: tuple[str, ...] = define_setting(
        (), "Attributes of files to keep in user metadata, under the names of rclone: mtime, mode, owner.",
        Topic.ATTRIBUTES, SYNC_COMMANDS, Form.LIST, choices=("mtime", "mode", "owner"),
    )  # fmt: skip
    tags: str = define_setting(
        "",
        "Object tags: a=1&b=2, a map from name to value, or a map from pattern to either.",
        Topic.ATTRIBUTES,
        SYNC_COMMANDS,
        Form.RULES,
    )
    storage_class: str = define_setting(
        "", "Storage class, such as STANDARD_IA.", Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES
    )
    encryption: str = define_setting(
        "",
        "Server-side encryption.",
        Topic.ATTRIBUTES,
        SYNC_COMMANDS | ARCHIVE_COMMANDS,
        choices=("AES256", "aws:kms", "aws:kms:dsse"),
    )
    kms_key_id: str = define_setting(
        "", "Id or ARN of the KMS key, for encryption aws:kms.", Topic.ATTRIBUTES, SYNC_COMMANDS | ARCHIVE_COMMANDS
    )
    gzip: str = define_setting(
        "", "Patterns of files to compress with gzip while they are uploaded, or true for all; sets Content-Encoding.",
        Topic.ATTRIBUTES, SYNC_COMMANDS, Form.RULES,
    )  # fmt: skip
    checksum: str = define_setting(
        "auto", "Checksum algorithm with which the store verifies each upload.", Topic.ATTRIBUTES, SYNC_COMMANDS | ARCHIVE_COMMANDS,
        choices=("auto", "crc64nvme", "crc32", "crc32c", "sha256", "md5", "none"),
    )  # fmt: skip

    # -- deleting and safety -----------------------------------------------------------------------------------
    delete: bool = define_setting(
        False, "Delete remote objects that have no local file.", Topic.SAFETY, SYNC_COMMANDS, Form.BOOLEAN
    )
    max_delete: str = define_setting(
        "",
        "Maximum number or percentage of objects to delete; if there are more, none is deleted and the job fails.",
        Topic.SAFETY,
        SYNC_COMMANDS,
        Form.LIMIT,
    )
    allow_empty_source: bool = define_setting(
        False, "Let --delete remove all objects if the source holds no file.", Topic.SAFETY, SYNC_COMMANDS, Form.BOOLEAN
    )
    allow_file_source: bool = define_setting(
        False, "Let --delete go on if the source was a directory in the last run and is a single file now.",
        Topic.SAFETY, SYNC_COMMANDS,
        Form.BOOLEAN,
    )  # fmt: skip
    dry_run: bool = define_setting(
        False, "Change nothing, print what would be done.",
        Topic.SAFETY, frozenset({"sync", "apply", "undo", "backup prune", "cache restore", "cache rebuild", "cache clear", "cache prune", "jobs prune"}),
        Form.BOOLEAN, aliases=("dryrun",), plugin=("DRY_RUN", "PLUGIN_DRY_RUN"),
    )  # fmt: skip
    fail_on: tuple[str, ...] = define_setting(
        (), "Also exit with code 1 after warnings, after changes, if nothing had to be done, or if the filters left no file.",
        Topic.SAFETY, SYNC_COMMANDS | ARCHIVE_COMMANDS, Form.LIST, choices=("warnings", "changes", "nothing", "empty"),
    )  # fmt: skip
    backup: str = define_setting(
        "", "Prefix s3://BUCKET/PREFIX to which an object is copied, under the job's id, before it is overwritten or deleted.",
        Topic.SAFETY, SYNC_COMMANDS,
    )  # fmt: skip
    newest_wins: str = define_setting(
        "", "Number of this run, such as a build number: a run with a lower number than one that has begun sends nothing. "
        "In a CI true takes the number of the build.",
        Topic.SAFETY, SYNC_COMMANDS,
    )  # fmt: skip
    object_manifest: bool = define_setting(
        False,
        "Keep a list of the uploaded objects in the bucket, so that a run without a journal need not check them again.",
        Topic.SAFETY, SYNC_COMMANDS, Form.BOOLEAN,
    )  # fmt: skip

    # -- CloudFront --------------------------------------------------------------------------------------------
    cloudfront_distribution: str = define_setting(
        "", "Id of the distribution to invalidate after all operations succeeded.", Topic.CLOUDFRONT, SYNC_COMMANDS
    )
    cloudfront_always: bool = define_setting(
        False, "Invalidate even if nothing changed.", Topic.CLOUDFRONT, SYNC_COMMANDS, Form.BOOLEAN
    )
    cloudfront_paths: str = define_setting(
        "all", "Paths to invalidate: the whole target, or the changed keys only.", Topic.CLOUDFRONT, SYNC_COMMANDS,
        choices=("all", "changed"),
    )  # fmt: skip
    cloudfront_endpoint: str = define_setting(
        "",
        "URL of the CloudFront API.",
        Topic.CLOUDFRONT,
        SYNC_COMMANDS,
        Form.URL,
        also=("AWS_ENDPOINT_URL_CLOUDFRONT",),
    )

    # -- cache -------------------------------------------------------------------------------------------------
    mode: str = define_setting(
        "", "Command that the plugin runs, if the other settings do not name it.", Topic.CACHE, PLUGIN_ONLY,
        choices=("sync", "restore", "rebuild", "clear", "resume", "doctor"),
    )  # fmt: skip
    restore: bool = define_setting(False, "Restore the cache.", Topic.CACHE, PLUGIN_ONLY, Form.BOOLEAN)
    rebuild: bool = define_setting(False, "Rebuild the cache.", Topic.CACHE, PLUGIN_ONLY, Form.BOOLEAN)
    cache: tuple[str, ...] = define_setting(
        (),
        "Directories and files to cache, or patterns such as **/node_modules.",
        Topic.CACHE,
        ARCHIVE_COMMANDS,
        Form.LIST,
        aliases=("mount",),
    )
    prefix: str = define_setting("", "Prefix in the bucket for all caches.", Topic.CACHE, CACHE_COMMANDS)
    cache_key: tuple[str, ...] = define_setting(
        (),
        'Name of the cache, or several names. Templates such as {{ .Repo.Name }}/{{ checksum "go.sum" }} are expanded.',
        Topic.CACHE, KEYED_COMMANDS, Form.KEYS, shown_default="owner/repo/branch",
    )  # fmt: skip
    restore_keys: tuple[str, ...] = define_setting(
        (), "Prefixes of cache keys to try if no cache has the key; of several caches the newest is restored.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.LIST,
    )  # fmt: skip
    override: bool = define_setting(
        True,
        "Replace an existing cache of the same key.",
        Topic.CACHE,
        frozenset({"cache rebuild"}),
        Form.BOOLEAN,
    )
    ttl: float = define_setting(
        0.0,
        "Prune removes caches that were not used for this long; 0 keeps them. With it, restore and rebuild record the use.",
        Topic.CACHE, ARCHIVE_COMMANDS | {"cache prune"}, Form.DAYS, minimum=0,
    )  # fmt: skip
    keep_last: int | None = define_setting(
        None,
        "Number of newest caches to keep for each branch; for a rebuild, of those with the same cache_key template.",
        Topic.CACHE, frozenset({"cache prune", "cache rebuild"}), Form.INTEGER, minimum=1,
    )  # fmt: skip
    lookup_only: bool = define_setting(
        False, "Report which cache would be restored, its age and its size; restore nothing.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    max_total: int | None = define_setting(
        None, "Maximum stored size of all caches together; the least recently used ones are removed.",
        Topic.CACHE, frozenset({"cache prune"}), Form.SIZE, aliases=("max_size",), minimum=1,
    )  # fmt: skip
    local_dir: str = define_setting(
        "",
        "Directory that outlives the workspace, such as a volume of the runner. Chunks are kept there and not fetched again.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}),
    )  # fmt: skip
    local_max: int = define_setting(
        10 << 30, "Maximum size of local_dir; the least recently used chunks are removed.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild"}), Form.SIZE, minimum=1,
    )  # fmt: skip
    grace: float = define_setting(
        86400.0, "Never prune anything younger than this. Set it above your longest build time.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=0,
    )  # fmt: skip
    lock_timeout: float = define_setting(
        3600.0, "Age at which the lock of a dead prune may be taken over.",
        Topic.CACHE, frozenset({"cache prune"}), Form.DURATION, minimum=1,
    )  # fmt: skip
    compression_level: int = define_setting(
        3,
        "Compression level of zstd, from -7 (fastest) to 22 (smallest).",
        Topic.CACHE,
        frozenset({"cache rebuild"}),
        Form.INTEGER,
        minimum=-7,
        maximum=22,
    )
    read_only: bool = define_setting(
        False, "Never write to the cache.",
        Topic.CACHE, frozenset({"cache restore", "cache rebuild", "cache clear", "cache prune"}), Form.BOOLEAN,
    )  # fmt: skip
    fail_on_error: bool = define_setting(
        False, "Fail the step if a cache cannot be read or written.",
        Topic.CACHE, ARCHIVE_COMMANDS | {"cache clear"}, Form.BOOLEAN, plugin=("PLUGIN_FAIL_ON_ERROR",),
        plugin_cache=("PLUGIN_EXIT_CODE",),
    )  # fmt: skip
    fail_on_miss: bool = define_setting(
        False, "Fail the step if there is no cache to restore.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    output_file: str = define_setting(
        "", "File to append the outputs of this step to, one name=value line each.",
        Topic.OUTPUT, frozenset({"sync", "cache restore"}),
    )  # fmt: skip
    deadline: float | None = define_setting(
        None,
        "Maximum time for the step; then it gives up and the build goes on. 0 means no limit. Default: 10m, rebuild 20m.",
        Topic.CACHE, ARCHIVE_COMMANDS, Form.DURATION, minimum=0,
    )  # fmt: skip
    compat: str = define_setting(
        "", "Format for another plugin; s3cache: rebuild writes REPO/REPO.tar.gz for drone-s3cache.",
        Topic.CACHE, ARCHIVE_COMMANDS,
        choices=("s3cache",),
    )  # fmt: skip
    cache_symlinks: str = define_setting(
        "keep",
        "Symbolic links inside the cached paths: keep all, keep those that point inside the cached paths, or skip all.",
        Topic.CACHE, ARCHIVE_COMMANDS, aliases=("symlinks",), choices=("keep", "inside", "skip"),
    )  # fmt: skip
    cross_os: bool = define_setting(
        False,
        "Share one cache between all operating systems and processors.",
        Topic.CACHE,
        ARCHIVE_COMMANDS,
        Form.BOOLEAN,
    )
    root_symlinks: str = define_setting(
        "inside",
        "Cached paths that are symbolic links: follow those that stay inside the workspace, follow all, or keep the links.",
        Topic.CACHE, ARCHIVE_COMMANDS, choices=("inside", "follow", "keep"),
    )  # fmt: skip
    verify: bool = define_setting(
        False, "Read every existing file, also those that did not change since the last step.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    exact: bool = define_setting(
        False, "Also remove files below the cached paths that are not in the cache; excluded files stay.",
        Topic.CACHE, frozenset({"cache restore"}), Form.BOOLEAN,
    )  # fmt: skip
    trust_mtime: bool = define_setting(
        False, "Detect changed files by size and mtime alone. Unsafe with tools that reset mtimes.",
        Topic.CACHE, frozenset({"cache rebuild"}), Form.BOOLEAN,
    )  # fmt: skip
    owner: str = define_setting(
        "", "Owners of files: keep and restore them (as root only), or none.", Topic.CACHE, ARCHIVE_COMMANDS,
        choices=("keep", "none"), shown_default="keep as root, else none",
    )  # fmt: skip
    cache_secret: str = define_setting(
        "",
        "Secret that signs caches; with it a cache without a valid signature is a miss.",
        Topic.CACHE,
        CACHE_COMMANDS | {"resume"},
        secret=True,
    )

    # -- endpoint and credentials ------------------------------------------------------------------------------
    endpoint_url: str = define_setting(
        "", "URL of an S3-compatible server.", Topic.ACCESS, ONLINE_COMMANDS, Form.URL, aliases=("endpoint",),
        plugin=("PLUGIN_ENDPOINT", "PLUGIN_ENDPOINT_URL", "S3_SYNC_ENDPOINT", "S3_ENDPOINT"),
        plugin_cache=("PLUGIN_SERVER", "CACHE_S3_ENDPOINT", "CACHE_S3_SERVER"),
        also=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), shown_default="AWS",
    )  # fmt: skip
    region: str = define_setting(
        "", "Region of the bucket.", Topic.ACCESS, ONLINE_COMMANDS, also=("AWS_REGION", "AWS_DEFAULT_REGION"),
        plugin_cache=("S3_REGION",), shown_default="the profile's, else us-east-1",
    )  # fmt: skip
    path_style: bool = define_setting(
        False, "Put the bucket in the path of the URL instead of the host name.", Topic.ACCESS, ONLINE_COMMANDS, Form.BOOLEAN,
        plugin_cache=("AWS_PLUGIN_PATH_STYLE",),
    )  # fmt: skip
    profile: str = define_setting("", "Profile of the AWS config files.", Topic.ACCESS, ONLINE_COMMANDS)
    access_key: str = define_setting(
        "", "Access key id; without it the default credential chain of boto3 is used.",
        Topic.ACCESS, ONLINE_COMMANDS, secret=True,
        aliases=("aws_access_key_id",), also=("AWS_ACCESS_KEY_ID",),
        plugin_cache=("CACHE_S3_ACCESS_KEY", "CACHE_AWS_ACCESS_KEY_ID"),
    )  # fmt: skip
    secret_key: str = define_setting(
        "", "Secret access key.", Topic.ACCESS, ONLINE_COMMANDS, secret=True,
        aliases=("aws_secret_access_key",), also=("AWS_SECRET_ACCESS_KEY",),
        plugin_cache=("CACHE_S3_SECRET_KEY", "CACHE_AWS_SECRET_ACCESS_KEY"),
    )  # fmt: skip
    session_token: str = define_setting(
        "", "Session token of the access key.", Topic.ACCESS, ONLINE_COMMANDS, secret=True,
        aliases=("aws_session_token",),
    )  # fmt: skip
    assume_role: str = define_setting(
        "", "ARN of a role to assume.", Topic.ACCESS, ONLINE_COMMANDS, aliases=("assume_role_arn",)
    )
    assume_role_session_name: str = define_setting(
        "s3batch", "Session name of the assumed role.", Topic.ACCESS, ONLINE_COMMANDS
    )
    external_id: str = define_setting(
        "", "External id of the assumed role.", Topic.ACCESS, ONLINE_COMMANDS, secret=True
    )
    user_role_arn: str = define_setting(
        "", "ARN of a second role, assumed with the first one's credentials.", Topic.ACCESS, ONLINE_COMMANDS
    )
    user_role_external_id: str = define_setting(
        "", "External id of the second role.", Topic.ACCESS, ONLINE_COMMANDS, secret=True
    )
    oidc_token_id: str = define_setting(
        "", "OIDC token to assume the role with, instead of access keys.", Topic.ACCESS, ONLINE_COMMANDS, secret=True
    )
    no_sign_request: bool = define_setting(
        False, "Sign no request to the source in S3, or to the target of a local source: for public buckets.",
        Topic.ACCESS, ONLINE_COMMANDS, Form.BOOLEAN,
    )  # fmt: skip
    request_payer: bool = define_setting(
        False,
        "Pay for the requests to a bucket whose owner lets the requester pay.",
        Topic.ACCESS,
        ONLINE_COMMANDS,
        Form.BOOLEAN,
    )
    sse_c_key: str = define_setting(
        "", "File with the key of SSE-C, 32 bytes or their base64; the variable holds the key itself.",
        Topic.ACCESS, ONLINE_COMMANDS, secret=True,
    )  # fmt: skip
    sign_payload: str = define_setting(
        "auto", "Sign the body of requests too; auto signs small ones over plain HTTP.", Topic.ACCESS, ONLINE_COMMANDS,
        choices=("auto", "always", "never"),
    )  # fmt: skip

    # -- a source in S3 ----------------------------------------------------------------------------------------
    source_endpoint_url: str = define_setting(
        "", "URL of the server of a source in S3.", Topic.ACCESS, SOURCE_COMMANDS, Form.URL,
        shown_default="as endpoint_url",
    )  # fmt: skip
    source_region: str = define_setting(
        "", "Region of the source's bucket.", Topic.ACCESS, SOURCE_COMMANDS, shown_default="as region"
    )
    source_path_style: bool = define_setting(
        False, "Put the source's bucket in the path of the URL.", Topic.ACCESS, SOURCE_COMMANDS, Form.BOOLEAN,
        shown_default="as path_style",
    )  # fmt: skip
    source_profile: str = define_setting(
        "", "Profile of the AWS config files for the source.", Topic.ACCESS, SOURCE_COMMANDS, shown_default="as profile"
    )
    source_access_key: str = define_setting(
        "", "Access key id for the source. A source at another endpoint gets no credential that is not named for it.",
        Topic.ACCESS, SOURCE_COMMANDS, secret=True, shown_default="as access_key",
    )  # fmt: skip
    source_secret_key: str = define_setting(
        "",
        "Secret access key for the source.",
        Topic.ACCESS,
        SOURCE_COMMANDS,
        secret=True,
        shown_default="as secret_key",
    )
    source_session_token: str = define_setting(
        "", "Session token of the source's access key.", Topic.ACCESS, SOURCE_COMMANDS, secret=True
    )
    source_sse_c_key: str = define_setting(
        "", "File with the key of SSE-C of the source, or none if only the target has one. The variable holds the key itself.",
        Topic.ACCESS, SOURCE_COMMANDS, secret=True, shown_default="as sse_c_key",
    )  # fmt: skip

    # -- speed -------------------------------------------------------------------------------------------------
    workers: int | None = define_setting(
        None, "Number of worker processes.", Topic.SPEED, WORKING_COMMANDS, Form.INTEGER, zero_is_unset=True,
        shown_default="the CPUs this process may use",
    )  # fmt: skip
    max_concurrency: int | None = define_setting(
        None, "Maximum number of requests in flight over all workers.",
        Topic.SPEED, WORKING_COMMANDS, Form.INTEGER, zero_is_unset=True,
        shown_default="set by the number of workers",
    )  # fmt: skip
    bandwidth: int | str | None = define_setting(
        None, "Maximum bytes per second over all workers, or a timetable such as '08:00,2MiB 19:00,50MiB sat,off'.", Topic.SPEED, WORKING_COMMANDS, Form.BANDWIDTH, zero_is_unset=True,
        shown_default="unlimited",
    )  # fmt: skip
    retries: int = define_setting(
        10, "Maximum attempts per operation.", Topic.SPEED, ONLINE_COMMANDS, Form.INTEGER, minimum=1
    )
    timeout: float = define_setting(
        60.0, "Maximum time to wait for the server to send or accept data.",
        Topic.SPEED, ONLINE_COMMANDS, Form.DURATION, minimum=0.001,
        plugin_cache=("PLUGIN_BACKEND_OPERATION_TIMEOUT", "BACKEND_OPERATION_TIMEOUT"),
    )  # fmt: skip
    max_duration: float = define_setting(
        0.0, "Maximum time that a run may take. Then it stops as after SIGTERM, with exit code 124. 0 means no limit.",
        Topic.SPEED, frozenset({"sync", "verify", "resume", "apply", "undo"}), Form.DURATION, minimum=0,
    )  # fmt: skip
    executor: str = define_setting(
        "local", "Where the workers run: processes on this machine, a Dask cluster, or this process (inline).",
        Topic.SPEED, WORKING_COMMANDS,
        choices=("local", "dask", "inline"),
    )  # fmt: skip
    scheduler: str = define_setting(
        "", "Address of the Dask scheduler, such as tcp://host:8786.", Topic.SPEED, WORKING_COMMANDS
    )
    lane: str = define_setting(
        "auto", "HTTP client: built-in (lean) or boto3 (reference); auto takes boto3 only where it is needed.",
        Topic.SPEED, ONLINE_COMMANDS,
        choices=("auto", "lean", "reference"),
    )  # fmt: skip
    multipart_threshold: int = define_setting(
        32 << 20,
        "Minimum size of files that are uploaded in parts.",
        Topic.SPEED,
        SYNC_COMMANDS | {"resume"},
        Form.SIZE,
        minimum=1,
    )
    part_size: int = define_setting(
        16 << 20, "Size of a part; doubled until 10,000 parts hold the file.",
        Topic.SPEED, SYNC_COMMANDS | {"resume"}, Form.SIZE,
        minimum=PART_MINIMUM, maximum=PART_MAXIMUM,
    )  # fmt: skip
    copy_part_size: int = define_setting(
        1 << 30, "Size of a part that the store copies from bucket to bucket, for objects above 5 GiB.",
        Topic.SPEED, SYNC_COMMANDS | {"resume"}, Form.SIZE,
        minimum=PART_MINIMUM, maximum=PART_MAXIMUM,
    )  # fmt: skip

    # -- journal -----------------------------------------------------------------------------------------------
    journal: str = define_setting(
        "", "Journal file, which records each operation of a job and its state.", Topic.JOURNAL, JOURNAL_COMMANDS,
        shown_default="one per target, in the state directory",
    )  # fmt: skip
    all_jobs: bool = define_setting(
        False, "Finish all unfinished jobs, the oldest first.", Topic.JOURNAL, frozenset({"resume"}), Form.BOOLEAN,
        aliases=("all",),
    )  # fmt: skip
    older_than: float = define_setting(
        0.0, "Delete only jobs that ended longer ago than this.", Topic.JOURNAL, frozenset({"jobs prune", "backup prune"}), Form.DAYS,
        minimum=0,
    )  # fmt: skip
    trust_journal: bool = define_setting(
        True, "Trust the journal about files and objects that did not change since the last run.",
        Topic.JOURNAL, frozenset({"sync", "verify", "explain"}), Form.BOOLEAN,
    )  # fmt: skip

    # -- output ------------------------------------------------------------------------------------------------
    json: bool = define_setting(
        False,
        "Print one JSON document on stdout at the end, also after a failure.",
        Topic.OUTPUT,
        EVERY_COMMAND,
        Form.BOOLEAN,
    )
    json_lines: bool = define_setting(
        False, "Print one event a line on stdout while the command runs: begun, progress, failure, warning, ended.",
        Topic.OUTPUT, REPORTING_COMMANDS, Form.BOOLEAN,
    )  # fmt: skip
    report: tuple[str, ...] = define_setting(
        (), "Files for the report of the run; the form is told by the ending: .html, .md, .xml (JUnit), .prom, .json, .csv.",
        Topic.OUTPUT, REPORTING_COMMANDS | {"report"}, Form.LIST,
    )  # fmt: skip
    on_done: str = define_setting(
        "", "Command that gets the JSON document on stdin at the end, or URL to which it is sent with POST.",
        Topic.OUTPUT, REPORTING_COMMANDS,
    )  # fmt: skip
    ping: str = define_setting(
        "", "URL that gets a POST at the end; after a failure the POST goes to URL/fail.",
        Topic.OUTPUT, REPORTING_COMMANDS, Form.URL,
    )  # fmt: skip
    progress: str = define_setting(
        "auto", "Progress on stderr: bars, a line every 10 s (plain), or none; auto shows bars on a terminal.",
        Topic.OUTPUT, WORKING_COMMANDS,
        choices=("auto", "bar", "plain", "none"),
    )  # fmt: skip
    verbose: int = define_setting(
        0, "Print more details; given twice, also tracebacks.", Topic.OUTPUT, EVERY_COMMAND, Form.COUNT, short="-v",
        plugin=("PLUGIN_VERBOSE", "PLUGIN_DEBUG", "DEBUG"),
    )  # fmt: skip
    log_level: str = define_setting(
        "", "Level of messages: trace is -vv, debug is -v, warn is --quiet, error prints errors only.",
        Topic.OUTPUT, EVERY_COMMAND, choices=("trace", "debug", "info", "warn", "error"), shown_default="info",
    )  # fmt: skip
    quiet: bool = define_setting(
        False, "Print only warnings and errors.", Topic.OUTPUT, EVERY_COMMAND, Form.BOOLEAN, short="-q"
    )
    log_format: str = define_setting(
        "text", "Format of the lines on stderr.", Topic.OUTPUT, EVERY_COMMAND, choices=("text", "json")
    )
    plan: str = define_setting(
        "", "Save the plan to this file, and send nothing; apply carries it out.", Topic.OUTPUT, frozenset({"sync"})
    )
    yes: bool = define_setting(
        False, "Do not ask on a terminal before more than 100 objects are deleted.", Topic.OUTPUT,
        frozenset({"sync", "resume"}), Form.BOOLEAN,
    )  # fmt: skip
    env_file: str = define_setting(
        "",
        "File of NAME=value lines to add to the environment; variables that are already set win.",
        Topic.OUTPUT,
        EVERY_COMMAND,
    )

    # -- facts of the run --------------------------------------------------------------------------------------
    command: str = "sync"
    """A key of :data:`COMMANDS`."""
    job: str = ""
    """The job that ``resume`` and ``jobs show`` take; empty: the newest."""
    argument: str = ""
    """The path or key that ``explain`` is about; the file of ``plan`` and ``apply``."""
    plugin: bool = False
    """True if a CI runs s3batch as its plugin, with the defaults of the plugins that it replaces."""
    workspace: str = ""
    """Absolute path; relative paths of settings start here."""
    state_directory: str = ""
    """Absolute path of the directory for journals that ``journal`` does not name."""
    user_directory: str = ""
    """Absolute path of the user's state directory, which holds the locks of targets; empty: as ``state_directory``."""
    build: CIBuild | None = None
    origins: Mapping[str, str] = {}
    """The origin of each value that is not the default: ``--acl``, ``PLUGIN_ACL``, ``config file X``."""
    filter_order: tuple[str, ...] = ()
    """One of :data:`FILTERS` for each pattern, in the order of the flags; empty: all of include first."""
    list_digest: str = ""
    """The digest of the list of files_from; empty if there is none, or it has not been read."""

    @property
    def wants_document(self) -> bool:
        """True if a program or a file gets the document of this run."""
        return bool(self.json or self.json_lines or self.report or self.on_done)

    def origin(self, name: str) -> str:
        """Return the origin of a setting's value."""
        return self.origins.get(name, DEFAULT)

    def bad(self, name: str, instead: str) -> SettingsError:
        """Return the error for a value that turns out wrong; ``instead`` says what to write."""
        return wrong_value_error(TABLE[name], getattr(self, name), self.origin(name), instead)

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no output may contain."""
        found = (getattr(self, name) for name, row in TABLE.items() if row.secret and getattr(self, name))
        is_url = self.on_done.lower().startswith(("http://", "https://"))
        return (*found, *(secrets_of_url(self.on_done) if is_url else ()))

    def at_workspace(self, path: str) -> str:
        """Return the absolute form of ``path``, which is relative to the workspace."""
        return os.path.abspath(os.path.join(self.workspace or os.getcwd(), path))

    def journal_directory(self) -> str:
        """Return the directory of journals that ``journal`` does not name."""
        return self.state_directory or self.at_workspace(OWN_DIRECTORY)

    def lock_directories(self) -> tuple[str, ...]:
        """Return the directories for the lock of a target: the user's, and for a plugin the workspace's too."""
        return tuple(dict.fromkeys([self.user_directory or self.journal_directory(), self.journal_directory()]))

    def state_directories(self) -> tuple[str, ...]:
        """Return the directories of journals and locks: never uploaded, cached, filled or emptied."""
        return tuple(dict.fromkeys([self.journal_directory(), *self.lock_directories()]))

    def journal_path(self, target: str = "") -> str:
        """Return the path of the journal: one file for each target and endpoint of a sync, one for each cache."""
        if self.journal:
            return self.at_workspace(self.journal)
        if self.command in CACHE_COMMANDS:
            place = (self.bucket, self.prefix, join_keys(self.cache_key), self.endpoint_url)
            return self._journal_of(self.command.replace(" ", "-"), self.at_workspace("."), *self.cache, *place)
        return self._journal_of("sync", target, self.endpoint_of_target(target))

    @property
    def plan_path(self) -> str:
        """The path of the file to save the plan to; empty if no plan is saved."""
        return self.at_workspace(self.plan) if self.plan else ""

    def endpoint_of_target(self, target: str) -> str:
        """Return the endpoint that tells targets of this spelling apart; empty for an absolute local path."""
        return "" if os.path.isabs(target) else self.endpoint_url

    def old_journal_path(self) -> str:
        """Return where older versions kept this sync's journal, one per source; empty if ``journal`` names one."""
        place = (self.at_workspace(self.source), f"{self.bucket}/{self.target.strip('/')}", self.endpoint_url)
        return "" if self.journal else self._journal_of("sync", *place)

    def _journal_of(self, kind: str, *identity: str) -> str:
        # 48 bits tell the few journals of a user apart
        digest = hashes.blake2b("\0".join(identity).encode("utf-8", "surrogateescape"), digest_size=6)
        return os.path.join(self.journal_directory(), f"{kind}-{digest.hexdigest()}.db")

    def plan_digest(self) -> str:
        """Return a digest of the settings that decide a sync's plan.

        A run may take over planned operations of a run with an equal digest.
        """
        decisive = {name for name, row in TABLE.items() if row.topic in {Topic.WHAT, Topic.ATTRIBUTES}}
        decisive |= {"delete", "max_delete", "allow_empty_source", "plugin"}
        values = [f"{name}={getattr(self, name)!r}" for name in sorted(decisive - {"source"})]
        values += [f"{name}={mark}" for name, mark in self.customer_key_marks().items()]
        values += [f"filter_order={self.filter_order}"] * bool(self.filter_order)
        values += [f"list={self.list_digest}"] * bool(self.list_digest)
        text = "\0".join([self.at_workspace(self.source), *values])
        return hashes.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def customer_key_mark(self) -> str:
        """Return a digest that tells one key of SSE-C from another; empty without a key."""
        return _mark_key(self.sse_c_key)

    def customer_key_marks(self) -> dict[str, str]:
        """Return the marks of the keys that are given, as a journal has them."""
        given = {"sse_c": self.sse_c_key, "source_sse_c": self.source_sse_c_key}
        return {name: _mark_key(key) for name, key in given.items() if key}

    def public(self) -> dict[str, Any]:
        """Return the job's settings for the journal, JSON-able and without secrets.

        They suffice to resume the job from another directory.
        """
        values = {name: as_plain_value(getattr(self, name)) for name, row in TABLE.items() if _is_of_the_job(row)}
        facts = {"command": self.command, "plugin": self.plugin, "workspace": self.workspace or os.getcwd()}
        facts |= self.customer_key_marks()
        return (
            {**values, **facts, "build": self.build.public() if self.build else None}
            | ({"filter_order": list(self.filter_order)} if self.filter_order else {})
            | ({"list_digest": self.list_digest} if self.list_digest else {})
        )

    @classmethod
    def from_public(cls, public: Mapping[str, Any], overrides: Self | None = None) -> Self:
        """Return the settings that a job began with; ``overrides`` gives credentials, speed and output.

        Raises ValueError if ``public`` holds a value that its setting cannot have.
        """
        given = overrides or cls()
        values = {name: public[name] for name, row in TABLE.items() if name in public and _is_of_the_job(row)}
        if isinstance(values.get("cache_key"), str):  # as journals of old versions have it
            values["cache_key"] = [values["cache_key"]] if values["cache_key"] else []
        wrong_one = next((name for name, value in values.items() if not _fits_setting(TABLE[name], value)), None)
        workspace = public.get("workspace", "")
        if wrong_one or not isinstance(workspace, str):
            raise ValueError(f"{wrong_one or 'workspace'} is not of its kind")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        origins = dict.fromkeys((name for name, value in values.items() if value != TABLE[name].default), JOURNAL)
        values |= {name: getattr(given, name) for name, row in TABLE.items() if _overrides_job(row, given)}
        return cls(
            **values,
            origins={**origins, **given.origins},
            command=public.get("command", "sync"),
            plugin=public.get("plugin", False),
            workspace=workspace,
            build=_read_build_of_job(public["build"], given) if public.get("build") else None,
            state_directory=given.state_directory,
            user_directory=given.user_directory,
            job=given.job,
            filter_order=_read_filter_order(public.get("filter_order", [])),
            list_digest=str(public.get("list_digest", "")),
        )

    def __repr__(self) -> str:
        shown = [
            f"{name}={'***' if row.secret else getattr(self, name)!r}"
            for name, row in TABLE.items()
            if getattr(self, name) != row.default
        ]
        return f"Settings({', '.join([f'command={self.command!r}', *shown])})"


FILTERS = ("include", "exclude")
"""The settings whose order as flags counts."""
GUARDS = frozenset(
    {
        "source", "bucket", "target", "prefix", "include", "exclude", "exclude_from", "files_from", "files_from0",
        "min_size", "max_size", "min_age", "max_age", "symlinks", "encryption", "kms_key_id", "sse_c_key",
        "source_sse_c_key", "max_delete", "dry_run", "plan", "fail_on", "backup", "newest_wins", "older_than",
        "keep_last", "grace", "read_only", "lookup_only", "cache_secret",
    }
)  # fmt: skip
"""Settings without which a run does more, or works elsewhere. As a flag they need a value: a shell writes ``""`` for a
variable that is not set."""


TABLE: dict[str, Setting] = {
    name: row._replace(name=name) for name, row in zip(Settings._fields, DEFINED, strict=False)
}
"""Every setting by name, in the order of the help."""


def taken_by(command: str) -> dict[str, Setting]:
    """Return the settings that a command takes; ``config`` and ``plugin`` take all."""
    everything = command in {"config", "plugin"}
    commands = RESUMABLE | {command} if command == "resume" else {command}
    return {name: row for name, row in TABLE.items() if everything or not row.commands.isdisjoint(commands)}


@cache  # asked for each setting; the table does not change
def spellings_of(command: str) -> Mapping[str, Setting]:
    """Return every name and alias that a command knows, with its setting. A name wins over an equal alias."""
    rows = taken_by(command)
    aliases = {alias: row for row in rows.values() for alias in row.aliases}
    return {**aliases, **rows}


def names_of_setting(row: Setting, command: str) -> tuple[str, ...]:
    """Return the name and those aliases that mean this setting for ``command``."""
    known = spellings_of(command)
    return tuple(name for name in row.names if known[name].name == row.name)


def _mark_key(key: str) -> str:
    return hashes.blake2b(key.encode(), digest_size=4, person=b"s3batch sse-c").hexdigest() if key else ""


def _is_of_the_job(row: Setting) -> bool:
    """Return whether a resumed job keeps its value. Secrets, output, the journal's path and a run's time may differ."""
    return not row.secret and row.topic is not Topic.OUTPUT and row.name not in {"journal", "max_duration"}


def _is_bandwidth(value: object) -> bool:
    from s3batch.settings.bandwidth import parse_bandwidth  # noqa: PLC0415 - few jobs have a limit

    try:
        return value is None or (isinstance(value, int | str) and bool(parse_bandwidth(str(value))))
    except ValueError:
        return False


def _read_build_of_job(public: Any, given: Settings) -> CIBuild:
    """Return the build of a job, with the files of the step that runs now."""
    from s3batch.settings.ci_build import CIBuild  # noqa: PLC0415 - outside a CI no job has one

    return CIBuild.from_public(public).with_files_of(given.build)


def _read_filter_order(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or any(name not in FILTERS for name in value):
        raise ValueError("filter_order is not of its kind")
    return tuple(value)


def _overrides_job(row: Setting, given: Settings) -> bool:
    """Return whether a value given to resume replaces the job's: credentials, speed and output do."""
    return not _is_of_the_job(row) or ("resume" in row.commands and row.name in given.origins)


def _fits_setting(row: Setting, value: object) -> bool:
    """Return whether a value from a journal is valid for this setting."""
    match row.form:
        case Form.BOOLEAN:
            return isinstance(value, bool)
        case Form.LIST | Form.KEYS:
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case Form.BANDWIDTH:
            return _is_bandwidth(value)
        case Form.COUNT | Form.INTEGER | Form.SIZE | Form.DURATION | Form.DAYS:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number or (value is None and row.default is None)
    return isinstance(value, str) and (not row.choices or value in (*row.choices, row.default))
