"""``[CLEAR CACHE]`` and ``s3batch cache clear``: remove the caches of this repository only.

They remove manifests and the objects of older plugins. Chunks stay, because other caches may share them, until a prune
finds them unused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.base.errors import EXIT_DONE, EXIT_ENDPOINT, EXIT_FAILED, S3BatchError, SettingsError
from s3batch.base.units import format_plural
from s3batch.cache.admin import open_admin_run
from s3batch.cache.naming import cleared_by
from s3batch.cache.object_keys import is_cleared
from s3batch.cache.run import choose_step_exit_code
from s3batch.model import JobState
from s3batch.reporting import report
from s3batch.reporting.publish import publish_document

if TYPE_CHECKING:
    from s3batch.cache.admin import AdminRun
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def clear_caches(settings: Settings, output: Output) -> int:
    """Clear and report the number of objects; return the exit code. Nothing to clear is no error."""
    prefixes, refusal = cleared_by(settings)
    if refusal:
        output.info(f"nothing is cleared: {refusal}")
        document = report.make_jobless_document(settings.command, JobState.DONE, EXIT_DONE, warnings=[refusal])
        publish_document(settings, output, {**document, "cache": {"removed": []}}, f"nothing is cleared: {refusal}")
        return EXIT_DONE
    try:
        with open_admin_run(settings, output) as look:
            return _clear_prefixes(look, prefixes)
    except SettingsError:
        raise
    except S3BatchError as error:
        return _report_failure(settings, output, error)


def _clear_prefixes(look: AdminRun, prefixes: tuple[str, ...]) -> int:
    bucket, rehearsal = look.bucket, look.settings.dry_run
    listed = (each.key for prefix in prefixes for page in bucket.list_objects(prefix) for each in page.objects)
    keys = [key for key in listed if is_cleared(look.base, prefixes, key)]
    if rehearsal and not look.settings.json:
        for key in keys:
            look.output.data(f"delete {key}")
    elif not rehearsal:
        bucket.delete_many(keys)
    words = "would remove" if rehearsal else "removed"
    verdict = f"cache cleared: {words} {format_plural(len(keys), 'object')}"
    look.output.info(verdict)
    look.publish({"removed": keys}, verdict=verdict)
    return EXIT_DONE


def _report_failure(settings: Settings, output: Output, error: S3BatchError) -> int:
    """Return the exit code of a failed clear: a build goes on unless asked to fail, a person gets the error."""
    code = choose_step_exit_code(settings, error, missed=False)
    if settings.command == "cache clear" and not settings.plugin:
        code = EXIT_ENDPOINT if error.exit_code == EXIT_ENDPOINT else EXIT_FAILED
    words = f"the cache was not cleared: {error}"
    (output.error if code else output.warn)(words)
    document = report.make_jobless_document(settings.command, JobState.FAILED, code, warnings=[] if code else [words])
    document |= {"error": words} if code else {}
    publish_document(settings, output, {**document, "cache": {"removed": []}}, words)
    return code
