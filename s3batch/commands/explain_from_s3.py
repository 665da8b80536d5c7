"""``s3batch explain KEY|PATH s3://BUCKET/PREFIX TARGET``: what a download or a transfer would do with one object, and why.

subject ─> filters ─> journal ─> one listing and one HEAD on each side that is in S3 ─> the sync's own decision

A path is the rest of a key behind the source's prefix, in the target too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import SettingsError
from s3batch.commands.explain_action import ObjectState, Verdict, explain_orphan
from s3batch.commands.explain_fetch import describe_local_file, explain_fetch, explain_local_orphan
from s3batch.commands.explain_transfer import explain_transfer
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
from s3batch.files.tree import TargetTree
from s3batch.objects.attribute_origins import explain_attributes
from s3batch.objects.own_keys import is_own_key
from s3batch.plan.download_spec import DownloadSpec
from s3batch.plan.key_names import find_name_problem
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.s3.bucket import Bucket
from s3batch.settings.direction import (
    S3_SCHEME,
    Direction,
    is_in_s3,
    settings_of_source,
)
from s3batch.source.filter_origins import find_deciding_filter

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.settings.direction import S3Place
    from s3batch.settings.table import Settings

_HINT = "write a key, or its rest behind the prefix of the source"


def explain_from_s3(settings: Settings, output: Output, direction: Direction) -> int:
    """Print what is known about one object. The exit code is 0 for any answer."""
    if direction is Direction.DOWNLOAD:
        return _explain_into_directory(DownloadSpec.from_settings(settings), output)
    return _explain_between_buckets(TransferSpec.from_settings(settings), output)


def _explain_into_directory(wanted: DownloadSpec, output: Output) -> int:
    settings = wanted.settings
    path = _find_path(settings.argument, wanted.place, [], wanted.root)
    known, journalled = read_journal_facts(settings, wanted.root, wanted.key(path))
    bucket, tree = Bucket.from_settings(settings_of_source(settings), wanted.place.bucket), TargetTree(wanted.root)
    try:
        state = look_at_object(bucket, wanted.key(path), wanted.prefix)
        found = None if find_name_problem(path.rstrip("/")) else tree.find(path.rstrip("/"))
        if found is None and state.listed is None:
            raise _unknown_subject(settings.argument, wanted.place.url, wanted.root)
        selected = _select_key(
            settings, path, wanted.root, is_kept_out=wanted.keeps_out(path), takes=_takes(wanted, path)
        )
        selected = _apply_limits(wanted, selected, state)
        if not selected.taken:
            verdict = Verdict("nothing", f"{selected.reason}, so nothing is done about it")
        elif state.listed is None:
            verdict = explain_local_orphan(wanted, path, found)
        else:
            verdict = explain_fetch(wanted, bucket, tree, path, state, known if settings.trust_journal else None)
    except OSError as error:
        raise SettingsError(f"{path!r} cannot be looked at: {error.strerror}", hint=_HINT) from error
    finally:
        tree.close()
        bucket.close()
    explanation = Explanation({}, state, journalled, verdict, {"file": describe_local_file(found)})
    return publish_explanation(
        settings, output, Subject(wanted.key(path), path, found is not None), selected, explanation
    )


def _explain_between_buckets(wanted: TransferSpec, output: Output) -> int:
    settings = wanted.settings
    prefixes = [(wanted.target.bucket, wanted.prefix)]
    path = _find_path(settings.argument, wanted.place, prefixes, "")
    key = wanted.key(path)
    known, journalled = read_journal_facts(settings, history.format_target_place(wanted.target), key)
    source = Bucket.from_settings(settings_of_source(settings), wanted.place.bucket)
    bucket = Bucket.from_settings(settings, wanted.target.bucket)
    try:
        theirs = look_at_object(source, wanted.source_key(path), wanted.place.prefix)
        ours = look_at_object(bucket, key, wanted.listed)
        if theirs.listed is None and ours.listed is None:
            raise _unknown_subject(settings.argument, wanted.place.url, wanted.target.url)
        selected = _select_key(settings, path, None, is_kept_out=is_own_key(path), takes=wanted.selection.wants(path))
        selected = _apply_limits(wanted, selected, theirs)
        if theirs.listed is not None and selected.taken:
            verdict = explain_transfer(wanted, (source, bucket), path, (theirs, ours), known)
        elif ours.listed is None:
            verdict = Verdict("nothing", selected.reason)
        else:
            why = selected.reason or "the source has no such object"
            is_left_out = theirs.listed is not None and not selected.taken
            verdict = explain_orphan(wanted, ours.listed, is_left_out=is_left_out, why=why)
    finally:
        source.close()
        bucket.close()
    attributes = explain_attributes(settings, wanted.rules, path) if selected.taken and theirs.listed else {}
    explanation = Explanation(attributes, ours, journalled, verdict, {"source_object": theirs.document()})
    return publish_explanation(settings, output, Subject(key, path, theirs.listed is not None), selected, explanation)


# --- the subject -------------------------------------------------------------------------------


def _find_path(text: str, place: S3Place, others: list[tuple[str, str]], root: str) -> str:
    """Return the path that the argument names: by a place in S3, a local path below *root*, a key, or itself.

    ``others`` are further buckets, each with its prefix. A key may have any end, so the path may lead anywhere. Raises
    SettingsError for what cannot belong to the job.
    """
    sides = [(place.bucket, place.prefix), *others]
    if is_in_s3(text):
        bucket, _, key = text.removeprefix(S3_SCHEME).partition("/")
        paths = [key[len(prefix) :] for name, prefix in sides if bucket == name and key.startswith(prefix)]
    elif root and (local := os.path.abspath(text)).startswith(os.path.join(root, "")) and os.path.lexists(local):
        paths = [os.path.relpath(local, root)]
    else:
        paths = [text[len(prefix) :] for _, prefix in sides if prefix and text.startswith(prefix)] or [text]
    if not paths or not paths[0]:
        raise SettingsError(f"{text!r} is not below the source {place.url}", hint=_HINT)
    return paths[0]


def _unknown_subject(text: str, source: str, target: str) -> SettingsError:
    return SettingsError(f"{text!r} is neither an object of the source {source} nor in the target {target}", hint=_HINT)


# --- what the filters say ----------------------------------------------------------------------


def _takes(wanted: DownloadSpec, path: str) -> bool:
    return wanted.selection.wants(path.removesuffix("/"))


def _select_key(settings: Settings, path: str, base: str | None, *, is_kept_out: bool, takes: bool) -> Selected:
    """Return whether the job takes a key, and the pattern that decides; *base* is where ignore files count."""
    if is_kept_out:
        return Selected(taken=False, reason=f"s3batch keeps its own files out ({OWN_DIRECTORY})")
    pattern, origin = find_deciding_filter(settings, base, path, taken=takes)
    why = f"the pattern {pattern} leaves it out" if pattern else "no pattern of include matches it"
    return Selected(taken=takes, pattern=pattern, origin=origin, reason="" if takes else why)


def _apply_limits(wanted: DownloadSpec | TransferSpec, selected: Selected, state: ObjectState) -> Selected:
    listed: Any = state.listed
    if selected.taken and listed is not None and wanted.limits and wanted.limits.hides(listed.size, listed.modified):
        selected.taken = False
        selected.reason = "it is beyond min_size, max_size, min_age or max_age"
    return selected
