"""The flags of the AWS CLI, s5cmd, rclone and s3cmd that have another name in s3batch: what to write instead.

The error for an unknown flag looks here first, so that a command line of another tool is answered with ours. A flag
that means the same as one of ours is an alias of its setting instead, such as ``--dryrun``.
"""

from __future__ import annotations

_NOT_NEEDED = "leave it out: "
_ONE_REQUEST = f"{_NOT_NEEDED}s3batch finds out what the store can do"
_COMPARED = f"{_NOT_NEEDED}content is compared, not times"
_NO_CHECK = "give the certificate of the endpoint with AWS_CA_BUNDLE=FILE"
_SEEN = f"{_NOT_NEEDED}progress is shown on a terminal"
_MULTIPART = "write --part-size 16MiB, --multipart-threshold 32MiB"
_AT_ONCE = "write --max-concurrency N"
_ENCRYPTION = "write --encryption AES256, or aws:kms"
_REPLACED = "a file that differs replaces its object: keep the old one with --backup s3://BUCKET/PREFIX"
_DELETES_LAST = "write --delete: deletes come after everything else"
_RETRIES = "write --retries N"

_OF_THE_AWS_CLI = {
    "ca-bundle": "set the variable AWS_CA_BUNDLE=FILE",
    "checksum-algorithm": "write --checksum crc32, or leave it out: each upload carries a checksum",
    "checksum-mode": f"{_NOT_NEEDED}content is always checked",
    "cli-connect-timeout": "write --timeout 60s",
    "cli-read-timeout": "write --timeout 60s",
    "color": f"{_NOT_NEEDED}the output has no colours",
    "copy-props": f"{_NOT_NEEDED}a copy keeps attributes and tags",
    "debug": "write --log-level debug",
    "dest-region": "write --region NAME",
    "exact-timestamps": _COMPARED,
    "expected-size": f"{_NOT_NEEDED}parts grow with what comes",
    "follow-symlinks": "write --symlinks follow",
    "force-glacier-transfer": "restore the objects first",
    "grants": "write --acl NAME: a canned ACL",
    "human-readable": f"{_NOT_NEEDED}sizes are written for people",
    "ignore-glacier-warnings": f"{_NOT_NEEDED}an archived object fails alone, and is named",
    "metadata-directive": f"{_NOT_NEEDED}a copy keeps metadata unless a setting names it",
    "no-follow-symlinks": "write --symlinks skip",
    "no-preserve": f"{_NOT_NEEDED}only --preserve keeps times, modes and owners",
    "no-guess-mime-type": "write --content-type application/octet-stream",
    "no-overwrite": _REPLACED,
    "no-paginate": _NOT_NEEDED + "every page is read",
    "no-progress": "write --progress none",
    "no-verify-ssl": _NO_CHECK,
    "only-show-errors": "write --quiet",
    "output": "write --json",
    "page-size": f"{_NOT_NEEDED}the store chooses the size of its pages",
    "query": "write --json, and filter it with jq",
    "recursive": f"{_NOT_NEEDED}a directory is always sent with everything below it",
    "size-only": f"{_NOT_NEEDED}the journal tells which files are unchanged",
    "sse": _ENCRYPTION,
    "sse-c": "write --sse-c-key FILE",
    "sse-c-copy-source": "write --sse-c-key FILE",
    "sse-c-copy-source-key": "write --sse-c-key FILE",
    "sse-kms-key-id": "write --encryption aws:kms --kms-key-id ID",
    "website-redirect": 'write --redirects \'{"KEY": "/TARGET"}\'',
}
_OF_S5CMD = {
    "concurrency": _AT_ONCE,
    "credentials-file": "set the variable AWS_SHARED_CREDENTIALS_FILE=FILE",
    "destination-region": "write --region NAME",
    "exit-on-error": f"{_NOT_NEEDED}the exit code is 1 after any failure",
    "flatten": "write --strip-prefix PATH: it cuts one leading path",
    "if-size-differ": f"{_NOT_NEEDED}content is compared",
    "if-source-newer": _REPLACED,
    "install-completion": "write s3batch completion SHELL",
    "log": "write --log-level WORD",
    "no-clobber": _REPLACED,
    "numworkers": _AT_ONCE,
    "raw": f"{_NOT_NEEDED}write the characters of a glob in brackets, such as [*]",
    "retry-count": _RETRIES,
    "show-progress": _SEEN,
    "sp": _SEEN,
    "stat": "write --json",
    "use-list-objects-v1": _ONE_REQUEST,
    "version-id": f"{_NOT_NEEDED}the newest version counts",
}
_OF_RCLONE = {
    "backup-dir": "write --backup s3://BUCKET/PREFIX",
    "buffer-size": f"{_NOT_NEEDED}memory is bounded",
    "bwlimit": "write --bandwidth 10MiB: bytes a second, of all workers together",
    "ca-cert": "set the variable AWS_CA_BUNDLE=FILE",
    "checkers": _AT_ONCE,
    "contimeout": "write --timeout 60s",
    "copy-links": "write --symlinks follow",
    "delete-after": _DELETES_LAST,
    "delete-before": _DELETES_LAST,
    "delete-during": _DELETES_LAST,
    "delete-excluded": "write --delete: an object that a filter hides is never deleted",
    "fast-list": f"{_NOT_NEEDED}the listing has no directories",
    "filter": "write --include PATTERN and --exclude PATTERN",
    "filter-from": "write --exclude-from FILE",
    "header-upload": "write --metadata, --cache-control or another attribute",
    "ignore-existing": _REPLACED,
    "ignore-size": f"{_NOT_NEEDED}content is compared",
    "ignore-times": _COMPARED,
    "immutable": _REPLACED,
    "include-from": "write --include PATTERN for each line",
    "inplace": f"{_NOT_NEEDED}a file is whole before it gets its name",
    "links": "write --symlinks skip",
    "log-file": "write 2> FILE",
    "low-level-retries": _RETRIES,
    "max-transfer": "write --max-duration TIME: a limit of time, not of bytes",
    "multi-thread-streams": _AT_ONCE,
    "no-check-certificate": _NO_CHECK,
    "no-check-dest": f"{_NOT_NEEDED}the journal tells what is there",
    "no-traverse": f"{_NOT_NEEDED}a listing is one request for 1,000 objects",
    "no-update-modtime": f"{_NOT_NEEDED}times are kept with --preserve mtime only",
    "one-way": f"{_NOT_NEEDED}verify names extra objects too",
    "s3-access-key-id": "write --access-key ID, or set AWS_ACCESS_KEY_ID",
    "s3-acl": "write --acl NAME",
    "s3-chunk-size": _MULTIPART,
    "s3-copy-cutoff": "write --copy-part-size SIZE",
    "s3-endpoint": "write --endpoint-url URL",
    "s3-env-auth": f"{_NOT_NEEDED}the variables of AWS are read",
    "s3-force-path-style": "write --path-style",
    "s3-no-check-bucket": f"{_NOT_NEEDED}a bucket is never made",
    "s3-profile": "write --profile NAME",
    "s3-provider": _ONE_REQUEST,
    "s3-region": "write --region NAME",
    "s3-secret-access-key": "set AWS_SECRET_ACCESS_KEY",
    "s3-server-side-encryption": _ENCRYPTION,
    "s3-sse-customer-key": "write --sse-c-key FILE",
    "s3-sse-kms-key-id": "write --encryption aws:kms --kms-key-id ID",
    "s3-storage-class": "write --storage-class NAME",
    "s3-upload-concurrency": _AT_ONCE,
    "s3-upload-cutoff": _MULTIPART,
    "skip-links": "write --symlinks skip",
    "stats": "write --progress plain",
    "tpslimit": f"{_AT_ONCE}: a limit of requests in flight, not a second",
    "track-renames": f"{_NOT_NEEDED}a renamed file is copied on the server",
    "transfers": _AT_ONCE,
    "update": _REPLACED,
    "use-mmap": f"{_NOT_NEEDED}memory is bounded",
}
_OF_S3CMD = {
    "acl-private": "write --acl private",
    "acl-public": "write --acl public-read",
    "add-header": "write --metadata, --cache-control or another attribute",
    "delete-removed": "write --delete",
    "guess-mime-type": f"{_NOT_NEEDED}the type is found by the name",
    "host": "write --endpoint-url URL",
    "mime-type": "write --content-type TYPE",
    "multipart-chunk-size-mb": _MULTIPART,
    "no-check-md5": f"{_NOT_NEEDED}an unchanged file is not read again",
    "rexclude": "write --exclude PATTERN, in gitignore syntax",
    "rinclude": "write --include PATTERN, in gitignore syntax",
    "server-side-encryption": _ENCRYPTION,
    "server-side-encryption-kms-id": "write --encryption aws:kms --kms-key-id ID",
    "skip-existing": _REPLACED,
}

_SHORT = {
    "L": "write --symlinks follow",
    "P": _SEEN,
    "c": _COMPARED,
    "l": "write --symlinks skip",
    "n": "write --dry-run",
    "r": f"{_NOT_NEEDED}a directory is always sent with everything below it",
    "u": _REPLACED,
}
"""One letter each, of rclone and s3cmd."""

ANSWERS = {**_SHORT, **_OF_S3CMD, **_OF_RCLONE, **_OF_S5CMD, **_OF_THE_AWS_CLI}
"""What to write for a flag, by its name without dashes."""


def explain_foreign_flag(flag: str) -> str:
    """Return what to write for a flag of another tool; empty if the flag is not known."""
    return ANSWERS.get(flag.lstrip("-"), "")
