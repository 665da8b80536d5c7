"""The examples of each command's help, and the flags that most people need of it. A test runs every example's settings."""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple


class CommandExamples(NamedTuple):
    """What the short help of a command shows."""

    lines: tuple[str, str, str]
    """Three command lines, without ``s3batch`` and the command."""
    flags: tuple[str, ...] = ()
    """Settings, the most used first."""


EXAMPLES: dict[str, CommandExamples] = {
    "sync": CommandExamples(
        (
            "public s3://my-bucket/site",
            "public s3://my-bucket/site --delete --dry-run",
            "public s3://my-bucket/site --exclude '*.map' --bandwidth 20MiB",
        ),
        ("dry_run", "delete", "exclude", "endpoint_url", "bandwidth", "json"),
    ),
    "cache restore": CommandExamples(
        (
            "s3://my-cache --cache node_modules",
            "s3://c --cache v --cache-key '{{ checksum \"go.sum\" }}'",
            "s3://cache --cache v --cache-key v-1 --restore-keys v-",
        ),
        ("cache", "cache_key", "restore_keys", "lookup_only", "endpoint_url"),
    ),
    "cache rebuild": CommandExamples(
        (
            "s3://my-cache --cache node_modules",
            "s3://my-cache --cache node_modules --cache vendor/bundle",
            "s3://my-cache --cache v --cache-key deps-1 --no-override",
        ),
        ("cache", "cache_key", "exclude", "ttl", "endpoint_url"),
    ),
    "cache clear": CommandExamples(
        ("s3://my-cache", "s3://my-cache/team", "s3://my-cache --dry-run"), ("dry_run", "endpoint_url", "json")
    ),
    "cache list": CommandExamples(
        ("s3://my-cache", "s3://my-cache/team", "s3://my-cache --json"), ("endpoint_url", "json")
    ),
    "cache prune": CommandExamples(
        ("s3://my-cache --ttl 30d", "s3://my-cache --keep-last 3 --dry-run", "s3://my-cache --max-total 50GiB"),
        ("ttl", "keep_last", "max_total", "grace", "dry_run"),
    ),
    "cache inspect": CommandExamples(
        ("s3://my-cache", "s3://my-cache --cache-key deps-1", "s3://my-cache deps-1 --json"),
        ("cache_key", "endpoint_url", "json"),
    ),
    "resume": CommandExamples(
        ("", "20261129-080000-a1b2c3", "--all --json"), ("all_jobs", "journal", "workers", "bandwidth", "json")
    ),
    "jobs list": CommandExamples(("", "--json", "--journal site.db"), ("journal", "json")),
    "jobs show": CommandExamples(("", "20261129-080000-a1b2c3", "-v --json"), ("journal", "verbose", "json")),
    "jobs prune": CommandExamples(
        ("", "--older-than 30d", "--older-than 30d --dry-run"), ("older_than", "dry_run", "journal")
    ),
    "jobs forget": CommandExamples(
        ("20261129-080000-a1b2c3", "20261129-080000-a1b2c3 --journal site.db", "20261129-080000-a1b2c3 --json"),
        ("journal", "json"),
    ),
    "verify": CommandExamples(
        (
            "public s3://my-bucket/site",
            "public s3://my-bucket/site --json",
            "public s3://my-bucket/site --exclude '*.map' --bandwidth 20MiB",
        ),
        ("exclude", "endpoint_url", "bandwidth", "json"),
    ),
    "undo": CommandExamples(
        ("20261129-080000-a1b2c3", "20261129-080000-a1b2c3 --json", "20261129-080000-a1b2c3 --journal site.db"),
        ("endpoint_url", "profile", "bandwidth", "journal", "json"),
    ),
    "backup prune": CommandExamples(
        (
            "s3://my-bucket/backups --older-than 30d",
            "s3://my-bucket/backups --older-than 30d --dry-run",
            "s3://my-bucket/backups --older-than 12w --json",
        ),
        ("older_than", "dry_run", "endpoint_url", "json"),
    ),
    "plan": CommandExamples(("site.plan", "site.plan --json", "site.plan -q"), ("json",)),
    "apply": CommandExamples(
        ("site.plan", "site.plan --json", "site.plan --profile deploy --bandwidth 20MiB"),
        ("endpoint_url", "profile", "bandwidth", "journal", "json"),
    ),
    "explain": CommandExamples(
        (
            "public/index.html public s3://my-bucket/site",
            "public/a.map public s3://my-bucket/site --exclude '*.map'",
            "site/index.html s3://my-bucket/site public --json",
        ),
        ("exclude", "delete", "endpoint_url", "json"),
    ),
    "doctor": CommandExamples(
        (
            "s3://my-bucket/site",
            "s3://my-bucket/site --delete --acl public-read",
            "s3://my-bucket --endpoint-url http://127.0.0.1:9000",
        ),
        ("endpoint_url", "region", "profile", "json"),
    ),
    "report": CommandExamples(
        ("--report job.html", "--report job.md --report job.csv", "20261129-080000-a1b2c3 --report job.html"),
        ("report", "journal", "json"),
    ),
    "config": CommandExamples(("", "sync --profile deploy", "cache restore --json"), ("json",)),
}
"""The examples by command; ``plugin`` takes no arguments and has a help of its own."""
