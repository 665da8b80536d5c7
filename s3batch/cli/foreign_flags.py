"""The flags of the AWS CLI, s5cmd, rclone and s3cmd that have another name in s3batch: what to write instead.

The error for an unknown flag looks here first, so that a command line of another tool is answered with ours.
"""

from __future__ import annotations

_NOT_NEEDED = "leave it out: "

ANSWERS = {
    "acl-public": "write --acl public-read",
    "bwlimit": "write --bandwidth 10MiB: bytes a second, of all workers together",
    "checkers": "write --max-concurrency N",
    "checksum-algorithm": "write --checksum crc32, or leave it out: each upload carries a checksum",
    "concurrency": "write --max-concurrency N",
    "debug": "write --log-level debug",
    "dest-region": "write --region NAME",
    "dryrun": "write --dry-run",
    "exact-timestamps": f"{_NOT_NEEDED}content is compared, not times",
    "if-size-differ": f"{_NOT_NEEDED}content is compared",
    "log": "write --log-level WORD",
    "no-follow-symlinks": "write --symlinks skip",
    "follow-symlinks": "write --symlinks follow",
    "no-guess-mime-type": "write --content-type application/octet-stream",
    "no-progress": "write --progress none",
    "no-verify-ssl": "give the certificate of the endpoint with AWS_CA_BUNDLE=FILE",
    "numworkers": "write --workers N",
    "only-show-errors": "write --quiet",
    "recursive": f"{_NOT_NEEDED}a directory is always sent with everything below it",
    "retry-count": "write --retries N",
    "s3-endpoint": "write --endpoint-url URL",
    "server-side-encryption": "write --encryption AES256 or aws:kms",
    "size-only": f"{_NOT_NEEDED}an unchanged file costs no request, by its size, times and the journal",
    "sse": "write --encryption AES256 or aws:kms",
    "sse-kms-key-id": "write --kms-key-id ID",
    "stat": "write --json",
    "transfers": "write --max-concurrency N",
    "update": f"{_NOT_NEEDED}only files that differ are sent",
    "website-redirect": 'write --redirects \'{"KEY": "/TARGET"}\'',
}
"""By the name of the flag, without dashes: what to write for it."""


def explain_foreign_flag(flag: str) -> str:
    """Return what to write for a flag of another tool; empty if the flag is not known."""
    return ANSWERS.get(flag.lstrip("-"), "")
