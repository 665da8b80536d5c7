"""``s3batch explain PATH|KEY``: what a sync would do with one path or key, and why. It changes nothing.

subject ─> filters ─> key, attributes ─> journal ─> one listing, one HEAD ─> the sync's own decision
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3batch.base.errors import SettingsError
from s3batch.commands.explain_action import ObjectState, Verdict, explain_file, explain_orphan
from s3batch.commands.explanation import (
    Explanation,
    Selected,
    Subject,
    look_at_object,
    publish_explanation,
    read_journal_facts,
)
from s3batch.coordinator import history
from s3batch.files.private import OWN_DIRECTORY
from s3batch.model import FILE
from s3batch.objects.attribute_origins import explain_attributes
from s3batch.objects.headers import RemoteAttributes
from s3batch.plan.spec import SyncSpec
from s3batch.s3.bucket import Bucket
from s3batch.settings.direction import S3_SCHEME, Direction, find_direction, is_in_s3
from s3batch.source.filter_origins import find_deciding_filter
from s3batch.source.ignore_files import is_ignore_file

if TYPE_CHECKING:
    from s3batch.model import KnownObject
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def run_explain(settings: Settings, output: Output) -> int:
    """Print what is known about one path or key. The exit code is 0 for any answer."""
    if not settings.argument:
        raise SettingsError(
            "explain needs a path or a key", hint="write s3batch explain PATH SOURCE s3://BUCKET/PREFIX"
        )
    direction = find_direction(settings)
    if direction is Direction.STREAM:
        raise SettingsError(
            "explain has nothing to say of a stream", hint="write a directory or a prefix on both sides"
        )
    if direction is not Direction.UPLOAD:
        from s3batch.commands.explain_from_s3 import explain_from_s3  # noqa: PLC0415 - an upload does not pay for it

        return explain_from_s3(settings, output, direction)
    wanted = SyncSpec.from_settings(settings)
    subject = find_subject(wanted, settings.argument)
    selected = _select_path(wanted, subject)
    known, journalled = read_journal_facts(settings, history.format_target_place(wanted.target), subject.key)
    bucket = Bucket.from_settings(settings, wanted.target.bucket)
    try:
        state = look_at_object(bucket, subject.key, wanted.listed)
        if not subject.exists and state.listed is None:
            raise SettingsError(
                f"{settings.argument!r} is neither a path of the source {wanted.source.root} nor an object of "
                f"{wanted.target.url}",
                hint="write a path relative to the working directory or to the source, or a key",
            )
        verdict = _decide(wanted, bucket, subject, selected, state, known)
    finally:
        bucket.close()
    attributes = explain_attributes(settings, wanted.rules, subject.path) if selected.file else {}
    return publish_explanation(
        settings, output, subject, selected, Explanation(attributes, state, journalled, verdict, {})
    )


# --- the subject -------------------------------------------------------------------------------


def find_subject(wanted: SyncSpec, text: str) -> Subject:
    """Return path and key for the argument. Raises SettingsError for what cannot belong to the job."""
    if is_in_s3(text):
        bucket, _, key = text.removeprefix(S3_SCHEME).partition("/")
        if bucket != wanted.target.bucket or not wanted.owns(key):
            raise SettingsError(f"{text} is not below the target {wanted.target.url}")
        return _subject_of_key(wanted, key)
    base = wanted.source.base
    for name in (os.path.abspath(text), os.path.normpath(os.path.join(base, text))):
        path = os.path.relpath(name, base)
        if path in {os.curdir, os.pardir} or path.startswith(f"{os.pardir}/"):
            continue
        if _may_exist(name):
            return Subject(wanted.key(path), path, exists=True)
    if wanted.prefix and wanted.owns(text):
        return _subject_of_key(wanted, text)
    path = os.path.normpath(text)
    if os.path.isabs(path) or path in {os.curdir, os.pardir} or path.startswith(f"{os.pardir}/"):
        raise SettingsError(f"{text!r} is not below the source {wanted.source.root}")
    return _subject_of_key(wanted, wanted.key(path))


def _may_exist(path: str) -> bool:
    """Return whether there is something, or this user may not look: the walk then says why."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _subject_of_key(wanted: SyncSpec, key: str) -> Subject:
    paths = wanted.paths(key)
    found = [path for path in paths if _may_exist(os.path.join(wanted.source.base, path))]
    rest = key.removeprefix(wanted.prefix)
    unknown = rest if wanted.key(rest) == key else ""
    return Subject(key, (found or paths or [unknown])[0], exists=bool(found))


# --- what the filters and the walk say ------------------------------------------------------------


def _select_path(wanted: SyncSpec, subject: Subject) -> Selected:
    """Return whether a walk would take the path, and the pattern that decides."""
    path = subject.path
    if not subject.exists:
        return Selected(taken=False, reason="the source has no such file")
    if is_ignore_file(path):
        return Selected(taken=False, reason="it is an ignore file, which is never uploaded")
    if OWN_DIRECTORY in path.split("/"):
        return Selected(taken=False, reason="s3batch never uploads its own files")
    if os.path.isdir(os.path.join(wanted.source.base, path)):
        return Selected(taken=False, reason="it is a directory; files in it have objects, a directory has none")
    taken = wanted.selection.wants(path) and all(
        wanted.selection.enters(path[:at]) for at, letter in enumerate(path) if letter == "/"
    )
    pattern, origin = find_deciding_filter(wanted.settings, wanted.source.base, path, taken=taken)
    if not taken:
        reason = f"the pattern {pattern} leaves it out" if pattern else "no pattern of include or source matches it"
        return Selected(taken=False, pattern=pattern, origin=origin, reason=reason)
    if _is_beyond_limits(wanted, path):
        beyond = "it is beyond min_size, max_size, min_age or max_age, so it is left alone"
        return Selected(taken=False, pattern=pattern, origin=origin, reason=beyond)
    walk = wanted.walk(wanted.settings.journal_path(history.format_target_place(wanted.target)))
    found = walk.look(path)
    if found is not None and found.stamp.kind == FILE:
        return Selected(taken=True, pattern=pattern, origin=origin, file=found)
    words = [problem.error for problem in walk.problems] or list(walk.warnings()) or ["the walk passes it over"]
    return Selected(taken=False, pattern=pattern, origin=origin, reason=words[0])


def _is_beyond_limits(wanted: SyncSpec, path: str) -> bool:
    try:
        info = os.stat(os.path.join(wanted.source.base, path))
    except OSError:
        return False
    return bool(wanted.limits) and wanted.limits.hides(info.st_size, info.st_mtime)


def _decide(
    wanted: SyncSpec,
    bucket: Bucket,
    subject: Subject,
    selected: Selected,
    state: ObjectState,
    known: KnownObject | None,
) -> Verdict:
    redirect = next((each for each in wanted.redirects if each.key == subject.key), None)
    if redirect is not None:
        there = RemoteAttributes.from_headers(state.headers).redirect == redirect.location
        return Verdict("nothing" if there else "redirect", f"the setting redirects names it: {redirect.location}")
    if selected.file is not None:
        return explain_file(wanted, bucket, subject.key, selected.file, state, known)
    if state.listed is None:
        return Verdict("nothing", selected.reason)
    return explain_orphan(
        wanted, state.listed, is_left_out=bool(selected.reason) and subject.exists, why=selected.reason
    )
