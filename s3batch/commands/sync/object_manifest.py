"""``object_manifest``: the journal's facts about every object, kept in the bucket for a runner without a journal.

    LIST, GET of the manifest ── facts of the objects that are listed as they were written ──> journal ──> plan
    a page, GET of the manifest ── every thousandth key ──> further pages, several at once

With it a fresh checkout needs no HEAD for an object that is unchanged since s3batch wrote it. Its attributes are known,
and its file is compared by reading it. The manifest is a cache: where the listing differs, the listing counts, and a
manifest that cannot be read is a warning.

``.s3batch/manifest`` below the target is a gzip of lines of JSON. Both are in the standard library, are written and
read as a stream, and open with ``zcat``. zstd and msgpack would save no byte, because ETags do not compress. They would
save about 3 µs of CPU an object, less than the walk takes to find its file.

    {"s3batch": "manifest", "version": 1, "target": "BUCKET/PREFIX"}
    [key below the prefix, ETag, size, written, fingerprint of the attributes, local size, checksum]      a line each
    {"blake2b": "..."}                                                             over all lines before, in hex
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from array import array
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from s3batch.errors import EndpointError
from s3batch.journal.database import make_all_bindable
from s3batch.model import FILE, Attributes, KnownObject, Stamp
from s3batch.objects.headers import make_put_headers
from s3batch.plan.spec import KEPT
from s3batch.s3.faults import RequestError
from s3batch.settings.s3_limits import LISTING_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from s3batch.journal import Journal
    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.bucket import Bucket
    from s3batch.s3.requests import Body, Response

NAME = f"{KEPT}manifest"
VERSION = 1
_LEVEL = 3
_LONGEST_LINE = 16 * 1024
"""Characters: a key has at most 1,024 bytes, which JSON may write six times as long."""
_BLOCK = 128 * 1024
"""Bytes of text decoded at once: about a thousand lines."""

Facts = list[tuple[str, KnownObject]]
"""A page of them, each with its key."""


class DamagedManifestError(Exception):
    """This is no manifest, or not all of one."""


class PageEnds:
    """The keys at which pages of the listing end, as a manifest that the journal does not know has them."""

    def __init__(self, wanted: SyncSpec, bucket: Bucket) -> None:
        self.answer: Response | None = None
        """The manifest, once it was read."""
        self._wanted = wanted
        self._bucket = bucket
        self._ends: dict[str, str] | None = None
        """For the key that a page begins after, the last key of that page."""

    def guess(self, start: str) -> str | None:
        """Return the last key of the page after the key ``start``; ``None`` where the manifest does not tell it."""
        if self._ends is None:
            try:
                self._ends = dict(pairwise(self._read(start)))
            except (RequestError, EndpointError, DamagedManifestError):
                self._ends = {}  # fetch_manifest tells why
        return self._ends.get(start)

    def _read(self, start: str) -> Iterator[str]:
        wanted = self._wanted
        self.answer = self._bucket.get(wanted.prefix + NAME)
        if self.answer is None:
            return
        names = _find_page_ends(self.answer.body, _manifest_header(wanted), start[len(wanted.prefix) :])
        yield from (wanted.prefix + name for name in names)


def guess_page_ends(wanted: SyncSpec, journal: Journal, bucket: Bucket) -> PageEnds | None:
    """Return what guesses the pages of the listing; ``None`` where the journal does so, or there is no manifest."""
    is_used = _keeps_manifest(wanted) and wanted.settings.trust_journal
    return None if not is_used or _remembered_digest(wanted, journal) else PageEnds(wanted, bucket)


def fetch_manifest(wanted: SyncSpec, journal: Journal, bucket: Bucket, early: Response | None) -> None:
    """Read the manifest after the listing, if the journal does not know it. ``early`` is one that was read before."""
    if not (_keeps_manifest(wanted) and wanted.settings.trust_journal):
        return
    key = wanted.prefix + NAME
    listed, _ = journal.objects.look_up([key])[key]
    if listed is None or listed.etag == _remembered_digest(wanted, journal).get("etag"):
        return
    try:
        is_listed_one = early is not None and early.headers.get("etag", "").strip('"') == listed.etag
        answer = early if is_listed_one else bucket.get(key, listed.size)
        if answer is None:
            return
        with journal.batch():  # a damaged end makes the facts before it worthless
            digest = _load_facts(answer.body, _manifest_header(wanted), wanted.prefix, journal.facts.take_facts)
            _remember_digest(wanted, journal, listed.etag, digest)
    except (RequestError, DamagedManifestError) as error:
        journal.jobs.warn(f"the object manifest {key} is not used: {error}")


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
    body, digest = _write_manifest(journal.facts.read_facts(wanted.prefix), _manifest_header(wanted), wanted.prefix)
    if listed is not None and before == {"etag": listed.etag, "digest": digest}:
        return
    try:
        answer = bucket.put(key, body, _object_headers(wanted))
    except (RequestError, EndpointError) as error:
        journal.jobs.warn(f"the object manifest {key} could not be written: {error}")
        return
    _remember_digest(wanted, journal, answer.headers.get("etag", "").strip('"'), digest)


def _keeps_manifest(wanted: SyncSpec) -> bool:
    """Return whether the job has a manifest; a job about listed files does not know all objects."""
    return wanted.settings.object_manifest and not (wanted.is_one_key or wanted.settings.list_digest)


def _manifest_header(wanted: SyncSpec) -> dict[str, Any]:
    return {"s3batch": "manifest", "version": VERSION, "target": f"{wanted.target.bucket}/{wanted.prefix}"}


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


# --- the format ------------------------------------------------------------------------------


def _write_manifest(pages: Iterable[Facts], header: dict[str, Any], prefix: str) -> tuple[bytes, str]:
    """Return the manifest and its digest. The same facts give the same bytes."""
    out, digest = io.BytesIO(), hashlib.blake2b(digest_size=32)
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=out, mtime=0) as file:
        for block in _manifest_blocks(pages, header, prefix):
            digest.update(block)
            file.write(block)
        file.write(_encode_line({"blake2b": digest.hexdigest()}))
    return out.getvalue(), digest.hexdigest()


def _manifest_blocks(pages: Iterable[Facts], header: dict[str, Any], prefix: str) -> Iterator[bytes]:
    yield _encode_line(header)
    for page in pages:
        yield b"".join(_encode_line(_fact_row(key[len(prefix) :], known)) for key, known in page)


def _fact_row(name: str, known: KnownObject) -> list[Any]:
    return [name, known.etag, known.size, known.written, known.fingerprint, known.local.size, known.checksum]


def _encode_line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _load_facts(body: Body, header: dict[str, Any], prefix: str, take: Callable[[Facts], None]) -> str:
    """Give ``take`` the facts in batches, and return the digest. The last line tells whether they are to be believed."""
    blocks, digest = _read_line_blocks(body), hashlib.blake2b(digest_size=32)
    first, _, lines = next(blocks, b"").partition(b"\n")
    if _decode_line(first) != header:
        raise DamagedManifestError("it belongs to another target or another version of s3batch")
    digest.update(first + b"\n")
    while lines or (lines := next(blocks, b"")):
        facts, end, last = (b"\n" + lines).partition(b"\n{")
        rows = (facts + b"\n" if end else facts)[1:]
        digest.update(rows)
        take(_parse_facts(rows, prefix))
        if end:
            return _confirm_digest(b"{" + last.partition(b"\n")[0], digest.hexdigest())
        lines = b""
    raise DamagedManifestError("its end is missing")


def _find_page_ends(body: Body, header: dict[str, Any], start: str) -> Iterator[str]:
    """Yield ``start``, and from there on each name that ends a page of a listing."""
    blocks = _read_line_blocks(body)
    first, _, lines = next(blocks, b"").partition(b"\n")
    if _decode_line(first) != header:
        raise DamagedManifestError("it belongs to another target or another version of s3batch")
    mark, skip = b"[%b," % json.dumps(start).encode(), -1
    for block in chain([lines], blocks):
        rows = block.splitlines()
        if skip < 0:
            skip = next((number for number, row in enumerate(rows) if row.startswith(mark)), -1)
            if skip < 0:
                continue
        for row in rows[skip::LISTING_PAGE]:
            if row.startswith(b"{") or not make_all_bindable([name := _read_name(row)]):
                return  # the last line, or a name in no order that text has
            yield name
        skip = (skip - len(rows)) % LISTING_PAGE


def _read_name(line: bytes) -> str:
    row = _decode_line(line)
    if not (isinstance(row, list) and row and isinstance(row[0], str)):
        raise DamagedManifestError("it is damaged: a line without a name")
    return row[0]


def _read_line_blocks(body: Body) -> Iterator[bytes]:
    """Yield the text in blocks of whole lines."""
    rest = b""
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        try:
            while block := file.read(_BLOCK):
                lines, end, rest = (rest + block).rpartition(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise DamagedManifestError("it is damaged: a line without an end")
                if lines:
                    yield lines + end
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedManifestError(f"it is damaged: {error}") from error


def _decode_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedManifestError(f"it is damaged: {error}") from error


def _parse_facts(lines: bytes, prefix: str) -> Facts:
    """Return the facts of some lines. One document of them all is decoded in half the time of each by itself."""
    rows = _decode_line(b"[%b]" % lines.rstrip(b"\n").replace(b"\n", b","))
    new, facts = tuple.__new__, Facts()
    try:
        for name, etag, size, written, fingerprint, local_size, checksum in rows:
            local = new(Stamp, (FILE, int(local_size), 0, 0, 0, 0))  # no file of this machine: only content is known
            known = (str(etag), int(size), local, float(written), str(fingerprint), str(checksum))
            facts.append((prefix + name, new(KnownObject, known)))
        array("q", [size for _, known in facts for size in (known.size, known.local.size)])  # as the journal holds them
        "".join([key for key, _ in facts]).encode("utf-8", "surrogateescape")  # no store has a key of other surrogates
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedManifestError(f"it is damaged: {error}") from error
    return facts


def _confirm_digest(line: bytes, digest: str) -> str:
    if _decode_line(line) != {"blake2b": digest}:
        raise DamagedManifestError("it is damaged: its digest does not match")
    return digest
