"""``object_manifest``: the journal's facts about every object, kept in the bucket for a runner without a journal.

    the first page, GET of the manifest ── its digest is right ──> each thousandth key ──> further pages, several at once
    a page ── facts of its objects that are listed as they were written ──> journal ──> plan, while the listing goes on
    no page after the first one ── GET of the manifest ──> its facts when the listing is complete

With it a fresh checkout needs no HEAD for an object that is unchanged since s3batch wrote it. Its attributes are known,
and its file is compared by reading it. The manifest is a cache: where the listing differs, the listing counts, and a
manifest that cannot be read is a warning. :mod:`s3batch.commands.sync.manifest_format` tells what is in
``.s3batch/manifest`` below the target.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.commands.sync.manifest_format import (
    DamagedManifestError,
    encode_object_manifest,
    find_page_ends,
    make_manifest_header,
    parse_fact_rows,
    read_rows,
)
from s3batch.model import Attributes
from s3batch.objects.headers import make_put_headers
from s3batch.plan.spec import KEPT
from s3batch.s3.faults import RequestError
from s3batch.s3.responses import etag_of
from s3batch.settings.s3_limits import LISTING_PAGE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from s3batch.journal import Journal
    from s3batch.journal.facts import FactRow
    from s3batch.model import ListedObject
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Response

NAME = f"{KEPT}manifest"
_MOST_AT_ONCE = 4 * LISTING_PAGE
"""Facts read for one page of the listing, which needs one an object."""


class EarlyManifest:
    """A manifest that the journal does not know, read while the listing goes on."""

    def __init__(self, wanted: SyncSpec, journal: Journal, bucket: Bucket) -> None:
        self.answer: Response | None = None
        """The manifest, once it was read."""
        self._wanted = wanted
        self._journal = journal
        self._bucket = bucket
        self._key = wanted.prefix + NAME
        self._ends: dict[str, str] | None = None
        """The last key of a page of the listing, by the key that the page begins after."""
        self._digest = ""
        """Empty if the manifest was not read, or is damaged."""
        self._rows: Generator[bytes, None, str] | None = None
        """The rows whose facts are not taken, once the listing has shown the manifest that was read."""
        self._facts: list[FactRow] = []
        """Facts of the rows read last whose objects are not listed yet."""

    @property
    def is_used(self) -> bool:
        """True once the facts of all objects listed so far are taken with each page."""
        return self._rows is not None

    def guess(self, start: str) -> str | None:
        """Return the last key of the page after the key ``start``; ``None`` where the manifest does not tell it."""
        if self._ends is None:
            try:
                self._ends = self._read(start)
            except (RequestError, EndpointError, DamagedManifestError):
                self._ends = {}  # complete_manifest tells why
        return self._ends.get(start)

    def _read(self, start: str) -> dict[str, str]:
        prefix = self._wanted.prefix
        self.answer = self._bucket.get(self._key)
        if self.answer is None:
            return {}
        proved = _ProvedRows(read_rows(self.answer.body, _header_of(self._wanted)))
        names = list(find_page_ends(proved, start[len(prefix) :], LISTING_PAGE))
        self._digest = proved.digest
        return dict(pairwise(prefix + name for name in names))

    def record_listing(self, objects: Sequence[ListedObject]) -> None:
        """Record a page of the listing with the facts of its objects."""
        if self._digest and self.answer is not None and not self.is_used:
            listed = next((each for each in objects if each.key == self._key), None)
            if listed is not None and listed.etag == etag_of(self.answer):
                self._rows = read_rows(self.answer.body, _header_of(self._wanted))
        facts: list[FactRow] = []
        if self._rows is not None and objects:
            try:
                facts = self._read_up_to(objects[-1].key)
            except DamagedManifestError:
                self._rows = None  # complete_manifest tells why
        self._journal.facts.record_known(objects, facts)

    def take_rest(self) -> None:
        """Take the facts that are left when the listing is complete, and remember this manifest. Part of a batch."""
        rest = (parse_fact_rows(block, self._wanted.prefix) for block in self._rows or ())
        for facts in chain([self._facts], rest):
            self._journal.facts.take_rows(facts)
        if self.answer is not None:
            _remember_digest(self._wanted, self._journal, etag_of(self.answer), self._digest)

    def _read_up_to(self, last: str) -> list[FactRow]:
        """Return the next facts up to the key ``last``; of a manifest in no order some are left for later."""
        found: list[FactRow] = []
        while len(found) < _MOST_AT_ONCE:
            count = next((at for at, row in enumerate(self._facts) if row[0] > last), len(self._facts))
            found += self._facts[:count]
            self._facts = self._facts[count:]
            block = None if self._facts or self._rows is None else next(self._rows, None)
            if block is None:
                break
            self._facts = parse_fact_rows(block, self._wanted.prefix)
        return found


class _ProvedRows:
    """Blocks of rows, read to their end: then the digest is right."""

    def __init__(self, rows: Generator[bytes, None, str]) -> None:
        self._rows = rows
        self.digest = ""

    def __iter__(self) -> Generator[bytes, None, None]:
        self.digest = yield from self._rows


def begin_manifest(wanted: SyncSpec, journal: Journal, bucket: Bucket) -> EarlyManifest | None:
    """Return what reads the manifest beside the listing; ``None`` if the journal knows one, or none is to be read."""
    is_read = _is_read(wanted)
    return None if not is_read or _remembered_digest(wanted, journal) else EarlyManifest(wanted, journal, bucket)


def complete_manifest(wanted: SyncSpec, journal: Journal, bucket: Bucket, early: EarlyManifest | None) -> None:
    """Take what the manifest tells, after the listing, if the journal does not know it. ``early`` may have been read."""
    if not _is_read(wanted):
        return
    key = wanted.prefix + NAME
    try:
        with journal.batch():  # a damaged end makes the facts before it worthless
            if early is not None and early.is_used:
                early.take_rest()
            else:
                _fetch_manifest(wanted, journal, bucket, early.answer if early is not None else None)
    except (RequestError, DamagedManifestError) as error:
        journal.jobs.warn(f"the object manifest {key} is not used: {error}")


def _fetch_manifest(wanted: SyncSpec, journal: Journal, bucket: Bucket, early: Response | None) -> None:
    """Read the manifest that is listed, unless the journal knows it or it is the one that was read before."""
    key = wanted.prefix + NAME
    listed, _ = journal.objects.look_up([key])[key]
    if listed is None or listed.etag == _remembered_digest(wanted, journal).get("etag"):
        return
    is_listed_one = early is not None and etag_of(early) == listed.etag
    answer = early if is_listed_one else bucket.get(key, listed.size)
    if answer is None:
        return
    rows = _ProvedRows(read_rows(answer.body, _header_of(wanted)))
    for block in rows:
        journal.facts.take_rows(parse_fact_rows(block, wanted.prefix))
    _remember_digest(wanted, journal, listed.etag, rows.digest)


def store_manifest(wanted: SyncSpec, journal: Journal, bucket: Bucket) -> None:
    """Write the manifest after a successful job, if its content would change."""
    if not _keeps_manifest(wanted) or wanted.settings.dry_run:
        return
    key = wanted.prefix + NAME
    listed, _ = journal.objects.look_up([key])[key]
    before = _remembered_digest(wanted, journal)
    is_known = listed is not None and before.get("etag") == listed.etag
    if is_known and not journal.facts.asked and next(journal.outcomes.read_entries(), None) is None:
        return
    body, digest = encode_object_manifest(journal.facts.read_facts(wanted.prefix), _header_of(wanted), wanted.prefix)
    if listed is not None and before == {"etag": listed.etag, "digest": digest}:
        return
    try:
        answer = bucket.put(key, body, _object_headers(wanted))
    except (RequestError, EndpointError) as error:
        journal.jobs.warn(f"the object manifest {key} could not be written: {error}")
        return
    _remember_digest(wanted, journal, etag_of(answer), digest)


def _keeps_manifest(wanted: SyncSpec) -> bool:
    """Return whether the job has a manifest; a job about listed files does not know all objects."""
    return wanted.settings.object_manifest and not (wanted.is_one_key or wanted.settings.list_digest)


def _is_read(wanted: SyncSpec) -> bool:
    return _keeps_manifest(wanted) and wanted.settings.trust_journal


def _header_of(wanted: SyncSpec) -> dict[str, Any]:
    return make_manifest_header(f"{wanted.target.bucket}/{wanted.prefix}")


def _object_headers(wanted: SyncSpec) -> dict[str, str]:
    """Return the headers. They set no ACL, so the object is private, and the same encryption as other objects."""
    attributes = Attributes(
        content_type="application/gzip", encryption=wanted.rules.encryption, kms_key_id=wanted.rules.kms_key_id
    )
    return make_put_headers(attributes)


def _remembered_digest(wanted: SyncSpec, journal: Journal) -> dict[str, str]:
    """Return ETag and digest of the manifest that this journal last read or wrote."""
    found: dict[str, str] = journal.recall(f"manifest {wanted.target.bucket}/{wanted.prefix}") or {}
    return found


def _remember_digest(wanted: SyncSpec, journal: Journal, etag: str, digest: str) -> None:
    journal.remember(f"manifest {wanted.target.bucket}/{wanted.prefix}", {"etag": etag, "digest": digest})
