"""``[CLEAR CACHE]`` and ``s3batch cache clear``: remove what this repository cached, and nobody else's.

Manifests go, and what older plugins left; chunks stay for whoever shares them, until a prune finds them unnamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.cache.resolve import cleared_by
from s3batch.errors import EXIT_DONE, EXIT_FAILED, EndpointError, S3BatchError, SettingsError
from s3batch.s3.bucket import Bucket

if TYPE_CHECKING:
    from s3batch.output import Output
    from s3batch.settings import Settings


def run_clear(settings: Settings, output: Output) -> int:
    """Clear, and say how much; nothing there is fine. The exit code."""
    prefixes, refusal = cleared_by(settings)
    if refusal:
        return _said(settings, output, refusal, [])
    try:
        removed = _clear(settings, prefixes)
    except SettingsError:
        raise
    except S3BatchError as error:
        return _failed(settings, output, error)
    words = "would remove" if settings.dry_run else "removed"
    return _said(settings, output, f"cache cleared: {words} {len(removed)} objects", removed)


def _clear(settings: Settings, prefixes: tuple[str, ...]) -> list[str]:
    bucket = Bucket.from_settings(settings, settings.bucket)
    keys = [each.key for prefix in prefixes for page in bucket.list_objects(prefix) for each in page.objects]
    if not settings.dry_run:
        bucket.delete_many(keys)
    return keys


def _said(settings: Settings, output: Output, words: str, removed: list[str]) -> int:
    output.info(words)
    if settings.json:
        output.document({"command": "cache clear", "state": "done", "exit_code": EXIT_DONE, "removed": removed})
    return EXIT_DONE


def _failed(settings: Settings, output: Output, error: S3BatchError) -> int:
    output.warn(f"the cache was not cleared: {error}")
    strict = settings.fail_on_error or (settings.command == "cache clear" and not settings.plugin)
    code = EXIT_DONE if not strict else error.exit_code if isinstance(error, EndpointError) else EXIT_FAILED
    if settings.json:
        output.document({"command": "cache clear", "state": "failed", "exit_code": code, "warnings": [str(error)]})
    return code
