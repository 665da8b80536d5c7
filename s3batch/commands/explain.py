"""``s3batch explain PATH|KEY``: what a sync would do with one path or key, and why. It changes nothing.

subject ─> filters ─> key, attributes ─> journal ─> one listing, one HEAD ─> the sync's own decision
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3batch.commands.explain_action import ObjectState, Verdict, explain_file, explain_orphan
from s3batch.coordinator import history, journal_trust
from s3batch.errors import EXIT_DONE, EndpointError, JournalError, SettingsError
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY
from s3batch.journal import Journal
from s3batch.model import FILE
from s3batch.objects.attribute_origins import explain_attributes
from s3batch.objects.headers import RemoteAttributes
from s3batch.plan.spec import SyncSpec
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_date, format_table
from s3batch.s3.bucket import Bucket
from s3batch.s3.faults import RequestError
from s3batch.settings.direction import S3_SCHEME, Direction, find_direction, is_in_s3
from s3batch.source.filter_origins import find_deciding_filter
from s3batch.source.ignore_files import is_ignore_file

if TYPE_CHECKING:
    from s3batch.model import KnownObject, LocalFile
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


@dataclass(frozen=True, slots=True)
class Subject:
    """The path or key that is asked about."""

    key: str
    path: str
    """Relative to the source; empty where no file of the source has this key."""
    exists: bool
    """True if there is something at the path."""


@dataclass(slots=True)
class Selected:
    """Whether a job takes a path, and what decides that."""

    taken: bool
    pattern: str = ""
    origin: str = ""
    reason: str = ""
    file: LocalFile | None = None


def run_explain(settings: Settings, output: Output) -> int:
    """Print what is known about one path or key. The exit code is 0 for any answer."""
    if not settings.argument:
        raise SettingsError(
            "explain needs a path or a key", hint="write s3batch explain PATH SOURCE s3://BUCKET/PREFIX"
        )
    if find_direction(settings) is not Direction.UPLOAD:
        raise SettingsError("explain is about uploads", hint="write a local source and an s3:// target")
    wanted = SyncSpec.from_settings(settings)
    subject = _find_subject(wanted, settings.argument)
    selected = _select_path(wanted, subject)
    known, journalled = _read_journal(wanted, subject.key)
    bucket = Bucket.from_settings(settings, wanted.target.bucket)
    try:
        state = _look_at_object(wanted, bucket, subject.key)
        if not subject.exists and state.listed is None:
            raise SettingsError(
                f"{settings.argument!r} is neither a path of the source {wanted.source.root} nor an object of "
                f"{wanted.target.bucket}/{wanted.prefix}",
                hint="write a path relative to the working directory or to the source, or a key",
            )
        verdict = _decide(wanted, bucket, subject, selected, state, known)
    finally:
        bucket.close()
    document = {
        "path": subject.path or None,
        "key": subject.key,
        "taken": selected.taken,
        "pattern": selected.pattern or None,
        "from": selected.origin or None,
        "attributes": explain_attributes(settings, wanted.rules, subject.path) if selected.file else {},
        "store": state.document(),
        "journal": journalled,
        "action": verdict.action,
        "reason": verdict.reason,
    }
    if settings.json:
        publish_document(settings, output, document)
    else:
        output.data(*_format_lines(document))
    return EXIT_DONE


# --- the subject -------------------------------------------------------------------------------


def _find_subject(wanted: SyncSpec, text: str) -> Subject:
    """Return path and key for the argument. Raises SettingsError for what cannot belong to the job."""
    if is_in_s3(text):
        bucket, _, key = text.removeprefix(S3_SCHEME).partition("/")
        if bucket != wanted.target.bucket or not wanted.owns(key):
            raise SettingsError(f"{text} is not below the target {wanted.target.bucket}/{wanted.prefix}")
        return _subject_of_key(wanted, key)
    base = wanted.source.base
    for name in (os.path.abspath(text), os.path.normpath(os.path.join(base, text))):
        path = os.path.relpath(name, base)
        if os.path.lexists(name) and path not in {os.curdir, os.pardir} and not path.startswith(f"{os.pardir}/"):
            return Subject(wanted.key(path), path, exists=True)
    if wanted.prefix and wanted.owns(text):
        return _subject_of_key(wanted, text)
    path = os.path.normpath(text)
    if os.path.isabs(path) or path in {os.curdir, os.pardir} or path.startswith(f"{os.pardir}/"):
        raise SettingsError(f"{text!r} is not below the source {wanted.source.root}")
    return _subject_of_key(wanted, wanted.key(path))


def _subject_of_key(wanted: SyncSpec, key: str) -> Subject:
    paths = wanted.paths(key)
    found = [path for path in paths if os.path.lexists(os.path.join(wanted.source.base, path))]
    return Subject(key, (found or paths or [""])[0], exists=bool(found))


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


# --- what journal and store say -------------------------------------------------------------------


def _read_journal(wanted: SyncSpec, key: str) -> tuple[KnownObject | None, dict[str, Any] | None]:
    """Return the facts of the last own write, and what the journal says about the key."""
    settings, place = wanted.settings, history.format_target_place(wanted.target)
    path = settings.journal_path(place)
    if not private.file_exists(path):
        return None, None
    try:
        with Journal.read_only(path, foreign=journal_trust.is_foreign_journal(path, settings)) as journal:
            known = journal.objects.look_up([key])[key][1]
            last = journal.outcomes.find_last_operation(key)
    except JournalError as error:
        return None, {"journal": path, "error": str(error)}
    facts = None if known is None else {"etag": known.etag, "size": known.size, "written": format_date(known.written)}
    return known if settings.trust_journal else None, {"journal": path, "known": facts, "last": last}


def _look_at_object(wanted: SyncSpec, bucket: Bucket, key: str) -> ObjectState:
    """Return what the store says: one listing, and one HEAD of an object that is there."""
    try:
        listed = next(iter(bucket.look_up([key], wanted.listed)), None)
        head = bucket.head(key) if listed is not None else None
    except RequestError as error:
        raise EndpointError(str(error)) from error
    return ObjectState(listed, head)


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


# --- for people -----------------------------------------------------------------------------------


def _format_lines(document: dict[str, Any]) -> list[str]:
    by = f", by {document['pattern']} ({document['from']})" if document["pattern"] else ""
    rows = [
        ("path", document["path"] or "-"),
        ("key", document["key"]),
        ("taken", ("yes" if document["taken"] else "no") + by),
    ]
    for name, each in document["attributes"].items():
        rows.append((name.replace("_", " "), f"{_format_parts(each['value'])}, {_format_origin(each)}"))
    store, journal = document["store"], document["journal"]
    rows.append(("store", _format_object_state(store) if store else "no such object"))
    rows.append(("journal", _format_journal(journal) if journal else "no journal"))
    return [*format_table(rows), f"{document['action']}: {document['reason']}"]


def _format_object_state(store: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_format_parts(value)}" for name, value in store.items() if value != {})


def _format_parts(value: Any) -> str:
    """Return a value for people: pairs as NAME=VALUE, all with commas between."""
    pairs = [f"{name}={text}" for name, text in value.items()] if isinstance(value, dict) else value
    return ", ".join(map(str, pairs)) if isinstance(pairs, list) else str(value)


def _format_origin(attribute: dict[str, Any]) -> str:
    """Return what gave an attribute: a setting, with its pattern if it has one, or the file's name."""
    if attribute["setting"] is None:
        return f"from {attribute['from']}"
    return f"by {attribute['setting']} {attribute['pattern'] or ''}".rstrip() + f" ({attribute['from']})"


def _format_journal(journal: dict[str, Any]) -> str:
    if "error" in journal:
        return str(journal["error"])
    known, last = journal["known"], journal["last"]
    words = [f"written {known['written']} with ETag {known['etag']}"] if known else ["knows no write of it"]
    words += [f"last operation {last['operation']} ({last['state']}) in job {last['job']}"] if last else []
    return ", ".join(words)
