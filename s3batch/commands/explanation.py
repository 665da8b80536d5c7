"""What every ``s3batch explain`` knows and prints, whatever the direction: subject, filters, journal, store, answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE, EndpointError, JournalError
from s3batch.commands.explain_action import ObjectState, Verdict
from s3batch.coordinator import journal_trust
from s3batch.files import private
from s3batch.journal import Journal
from s3batch.reporting.publish import publish_document
from s3batch.reporting.text import format_date, format_table
from s3batch.s3.faults import RequestError

if TYPE_CHECKING:
    from s3batch.model import KnownObject, LocalFile
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
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


@dataclass(frozen=True, slots=True)
class Explanation:
    """What journal and store know, and what a sync would do."""

    attributes: dict[str, Any]
    state: ObjectState
    """The object under the key."""
    journal: dict[str, Any] | None
    verdict: Verdict
    other_side: dict[str, Any]
    """The other side of a sync whose source is in S3, by its name in the document; empty for an upload."""


def publish_explanation(
    settings: Settings, output: Output, subject: Subject, selected: Selected, found: Explanation
) -> int:
    """Print the answer as JSON or as lines; return the exit code, which is 0 for any answer."""
    verdict = found.verdict
    document = {
        "path": subject.path or None,
        "key": subject.key,
        "taken": selected.taken,
        "pattern": selected.pattern or None,
        "from": selected.origin or None,
        "attributes": found.attributes,
        "store": found.state.document(),
        **found.other_side,
        "journal": found.journal,
        "action": verdict.action,
        "reason": verdict.reason,
    }
    if settings.json:
        publish_document(settings, output, document)
    else:
        output.data(*_format_lines(document, list(found.other_side)))
    return EXIT_DONE


def read_journal_facts(settings: Settings, place: str, key: str) -> tuple[KnownObject | None, dict[str, Any] | None]:
    """Return the facts of the last own write, and what the journal says about the key."""
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


def look_at_object(bucket: Bucket, key: str, listed_prefix: str) -> ObjectState:
    """Return what the store says: one listing, and one HEAD of an object that is there."""
    try:
        listed = next(iter(bucket.look_up([key], listed_prefix)), None)
        head = bucket.head(key) if listed is not None else None
    except RequestError as error:
        raise EndpointError(str(error)) from error
    return ObjectState(listed, head)


# --- for people -----------------------------------------------------------------------------------


def _format_lines(document: dict[str, Any], other_side: list[str]) -> list[str]:
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
    rows += [
        (name.replace("_", " "), _format_object_state(document[name]) if document[name] else "nothing")
        for name in other_side
    ]
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
