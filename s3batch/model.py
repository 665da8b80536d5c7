"""The values that travel through the program. No I/O here, and no third-party import.

    LocalFile ──┐   (path and Stamp)
                ├─compare→ Operation ─journal→ Work ─worker→ Result ─journal→ report
    Listed ─────┘

Hundreds of thousands of them are made in a run and cross a process boundary. Therefore the hot ones are named tuples:
immutable, picklable and several times cheaper to make than frozen dataclasses.

Paths and keys are text with ``/`` as separator. A file name that is not UTF-8 is carried by Python's
``surrogateescape`` (as ``os.fsdecode`` makes it) and goes out as its own bytes. Sizes are bytes,
times are UTC: seconds since the epoch as float, or ``mtime_ns`` as whole nanoseconds.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import Any, TypeVar

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple
from s3batch.quirks import Quirk

KIN_OF_SYNC = ("sync", "apply", "undo")
"""Commands whose jobs change one target and share its history: a later one supersedes an earlier one."""


class Kind(StrEnum):
    """The change that an operation makes to its key."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    """The file is made, or replaced, by the object."""
    COPY = "copy"
    """CopyObject onto itself: content is right, attributes are not."""
    REDIRECT = "redirect"
    DELETE = "delete"
    RESTORE = "restore"
    """An object that an earlier job has changed becomes what it was: a copy of its backup, or of its old version."""
    RECONCILE = "reconcile"
    """Content or attributes may differ: a worker compares, then it becomes upload, copy or nothing."""
    CHUNK = "chunk"
    TRANSFER = "transfer"
    """An object of another bucket or prefix: copied by the store, or streamed through a worker."""


class State(StrEnum):
    """The progress of an operation or a part; see the drawing in :mod:`s3batch.journal`."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Looked at and found right, or withheld by a rule; the bucket was not touched."""


class JobState(StrEnum):
    """The progress of a job. Only the first four states leave work for ``s3batch resume``."""

    PLANNING = "planning"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DONE = "done"
    SUPERSEDED = "superseded"
    """A later run to the same target goes before its unfinished work: a job of this journal that took the work over, or
    one with a higher number of ``newest_wins``, on any machine. It is never resumed. Only the latter has exit code 0."""


class Reason(StrEnum):
    """Why an operation exists."""

    MISSING = "missing"
    CONTENT = "content"
    METADATA = "metadata"
    ACL = "acl"
    ORPHAN = "orphan"
    FORCED = "forced"
    REDIRECT = "redirect"
    UNDO = "undo"
    RENAMED = "renamed"
    """An object of another key has the file's content: it was copied in the store."""
    LATE = "late"
    """A request of a killed run may have landed since: it is looked at again."""
    BLOCKED = "blocked"
    """A local file or link keeps an object from its place: only a saved plan names such an operation."""
    UNKNOWN = "unknown"
    """The worker finds out; only RECONCILE has it."""


class Stage:
    """A stage: its operations are leased when all earlier stages are done and none of theirs failed."""

    MAIN = 0
    PUBLISH_LAST = 1
    REDIRECT = 2
    DELETE = 3


FILE, DIRECTORY, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
"""Kinds of entries, as ``st_mode`` numbers them. Every other number is a special file: FIFO, socket, device."""
_KIND_BITS = 0o170000


class Stamp(NamedTuple):
    """The identity of one state of a file: two equal stamps mean equal bytes, without reading them.

    Only :func:`stamp_of` makes one. Only :func:`is_same_file` compares two, and :func:`has_stamp` a file with one.
    """

    kind: int = FILE
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    """The kernel sets it at every change, and no call sets it back. 0: not known, so the file is read once."""
    device: int = 0
    inode: int = 0
    """Signed, as the journal keeps whole numbers: one of 2**63 or more counts from -2**63 on."""


NO_STAMP = Stamp()
"""The stamp of an operation that reads no file. It equals no other."""


SIGNED_LIMIT = 1 << 63
"""The first number that a signed one of 64 bits does not hold. Neither does SQLite."""


def stamp_of(info: os.stat_result) -> Stamp:
    """Return the stamp of an entry from its ``stat``, with its ``kind``. SQLite holds each of its numbers.

    GlusterFS and mergerfs number files from 2**63 on, and any user can give a file a time before 1677 or after 2262.
    """
    mtime, ctime, inode = info.st_mtime_ns, info.st_ctime_ns, info.st_ino
    if not (-1 << 63 <= mtime < 1 << 63 > inode and -1 << 63 <= ctime < 1 << 63):  # constants cost half of a global
        # The mtime keeps its order, for limits of age. The others tell files apart, so they stay exact.
        mtime, ctime, inode = clamp_nanoseconds(mtime), fold_number(ctime), fold_number(inode)
    return _new(Stamp, (info.st_mode & _KIND_BITS, info.st_size, mtime, ctime, info.st_dev, inode))


_new = tuple.__new__


def clamp_nanoseconds(value: int) -> int:
    """Return the nearest time from 1677 to 2262. File systems know other times too."""
    return max(-SIGNED_LIMIT, min(SIGNED_LIMIT - 1, value))


def fold_number(value: int) -> int:
    """Return the signed number of the same 64 low bits: of numbers less than 2**64 apart no two become one."""
    return (value + SIGNED_LIMIT) % (2 * SIGNED_LIMIT) - SIGNED_LIMIT


def is_same_file(stamp: Stamp, other: Stamp) -> bool:
    """Return whether both stamps certainly mean the same bytes.

    False if size, time or inode changed, or if a ctime is unknown. The device does not count: each mount and each
    machine numbers the same device again, and inode and ctime tell two files apart.
    """
    return (
        stamp.ctime_ns == other.ctime_ns != 0
        and stamp.mtime_ns == other.mtime_ns
        and stamp.size == other.size
        and stamp.inode == other.inode
        and stamp.kind == other.kind
    )


def has_stamp(info: os.stat_result, stamp: Stamp) -> bool:
    """Return whether ``is_same_file(stamp_of(info), stamp)``, at half the price where it is true of usual numbers."""
    return (
        info.st_ctime_ns == stamp.ctime_ns != 0
        and info.st_mtime_ns == stamp.mtime_ns
        and info.st_size == stamp.size
        and info.st_ino == stamp.inode
        and info.st_mode & _KIND_BITS == stamp.kind
    ) or is_same_file(stamp_of(info), stamp)


def stamp_of_object(size: int, etag: str, modified: float) -> Stamp:
    """Return the stamp of an object that is a source: a digest of its ETag stands for the inode.

    The ctime is constant, because an object of another ETag is another one however young it is. The time is cut to whole
    seconds, as HEAD tells it, and folded: stores tell times of any year.
    """
    digest = int.from_bytes(hashes.blake2b(etag.encode("utf-8", "surrogateescape"), digest_size=7).digest(), "big")
    return Stamp(FILE, size, fold_number(int(modified // 1) * 1_000_000_000), 1, 0, digest)


class LocalFile(NamedTuple):
    """A regular file found by the walk."""

    path: str
    """Relative to the source."""
    stamp: Stamp

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp.size


class ListedObject(NamedTuple):
    """An object as ListObjectsV2 shows it."""

    key: str
    size: int
    etag: str
    """Without the quotes; empty where the store gives none."""
    modified: float


class KnownObject(NamedTuple):
    """The journal's facts about the last own write of a key: a cache, never truth."""

    etag: str
    size: int
    local: Stamp
    """The stamp of the file that was written. Its ctime is 0 where the file was too young to be trusted."""
    written: float
    """The Date of S3's response to that write."""
    fingerprint: str
    """The fingerprint of the attributes that were applied."""
    checksum: str


COMPRESSED = "z"
"""The end of a fingerprint with which not the file's own bytes were sent."""


class Attributes(NamedTuple):
    """Everything an object carries beside its content. Empty means: not set, not changed."""

    content_type: str = ""
    content_type_configured: bool = False
    """True if a setting named it; a guessed type tolerates an unset or generic remote one."""
    content_encoding: str = ""
    cache_control: str = ""
    content_disposition: str = ""
    content_language: str = ""
    expires: str = ""
    acl: str = ""
    metadata: tuple[tuple[str, str], ...] | None = None
    """Lower-case names, sorted. ``None``: no metadata is configured, foreign metadata stays."""
    storage_class: str = ""
    encryption: str = ""
    kms_key_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    gzip: bool = False
    """Compress on the way, with Content-Encoding set."""
    preserve: tuple[str, ...] = ()
    """The attributes of the file to keep in user metadata: ``mtime``, ``mode``, ``owner``."""
    preserved: tuple[tuple[str, str], ...] = ()
    """The preserved metadata, once the file has been looked at."""

    def fingerprint(self) -> str:
        """Return 16 hex digits; equal exactly when the configured attributes are equal. A ``z`` after them means gzip.

        Preserved values do not count: they change with the file's stamp only.
        """
        values = [value for name, value in zip(self._fields, self, strict=True) if not name.startswith("preserve")]
        text = repr([*values, self.preserve] if self.preserve else values)
        digest = hashes.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return digest + COMPRESSED * self.gzip


class RedirectSpec(NamedTuple):
    """The target of a redirect."""

    location: str


class ChunkSpec(NamedTuple):
    """The recipe of a chunk: rows ``first`` to ``last`` (not included) of a plan file."""

    chunk: int
    """Number of the chunk in the plan."""
    first: int
    last: int


class _BareSpec:
    """A spec that has no fields: two of one type are equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class KnownContent(_BareSpec):
    """The journal vouches for the content of an object. Only its attributes are in question."""


class AttributesChanged(_BareSpec):
    """Other attributes are wanted than at the last own write. The content is in question too."""


class KnownAttributes(NamedTuple):
    """The object is as it was written. Only the file's content is in question."""

    checksum: str
    """The checksum of the written content; empty if there is none."""


class KnownWhole(NamedTuple):
    """The journal vouches for content and attributes, if the object is the one it knows: no listing was asked."""

    written: float
    """The Date of the last own write: a later LastModified is another's."""


class MovedObject(NamedTuple):
    """The file is new, and may have been renamed: these objects may have its content."""

    origins: tuple[tuple[str, str, str], ...]
    """Key, ETag and checksum of each, the likeliest first; a checksum may be empty."""


class KeptTags(NamedTuple):
    """The tags of others that a metadata copy may drop, on record before the copy."""

    tags: tuple[tuple[str, str], ...]
    modified: str
    """LastModified of the object that had them: with another one, it was written since."""
    before: OperationSpec | None = None
    """The operation's spec before the tags were added."""


class KeptAttributes(NamedTuple):
    """The attributes of an object that no setting names. The file is sent again with them."""

    headers: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...] = ()
    """The tags; empty if a setting names tags, or they cannot be read."""
    lost: tuple[str, ...] = ()
    """The attributes that a copy has lost, of these or of the configured ones."""


class SourceObject(NamedTuple):
    """The object that a transfer reads, in the state in which it was listed. One is made and sent for each object."""

    etag: str
    """Without quotes; empty where the listing tells none, and then the object is not pinned."""
    streamed: bool = False
    """True if its content goes through a worker, because the store cannot copy it."""
    proof: str = ""
    """What proves the content of a done transfer's target, as :class:`~s3batch.objects.fetched_proof.ContentProof`."""
    target_ns: int = 0
    """LastModified of the target's object when a plan was saved, as a listing tells it; 0 if there was none."""


class WrittenVersion(NamedTuple):
    """What a response of a versioned bucket told of a done change. It is in the place of a result's spec."""

    written: str
    """The id of the version, or of the delete marker, that the change has made."""
    before: str = ""
    """The version that a HEAD showed right before it; empty if none was sent, or there was no object."""
    spec: OperationSpec | None = None
    """The operation's new spec; ``None``: it stays."""


class RestoreSpec(NamedTuple):
    """Where the old state of an object is, and what the object has to be to get it."""

    modified_ns: int
    """LastModified of the object when the undo was planned; 0 if there is none."""
    bucket: str = ""
    key: str = ""
    """The key of the backup; empty: the bucket itself keeps the old version."""
    acl: str = ""
    """The canned ACL it had; empty: private."""
    listed_etag: str = ""
    """The ETag that the job has seen before its change; empty: it saw no object."""
    since: float = 0.0
    """When the job began, by the store's clock: it wrote no older version."""
    refused: str = ""
    """Why the object cannot get its old state; empty: it can."""
    first: str = ""
    """The id of the first version that the job wrote; empty if the journal has none."""
    before: str = ""
    """The id of the version before that one, if a HEAD told it."""
    last: str = ""
    """The id of the last version that the job wrote, which the object still has to be; empty: it is not known."""


class PlannedObject(NamedTuple):
    """The object as a plan that was saved has seen it, beside its ETag. With another one the operation is refused."""

    modified_ns: int
    """LastModified; 0 if there was no object."""


class UnreadableSpec(NamedTuple):
    """A text in a journal that s3batch does not write for this kind of operation."""

    text: str


OperationSpec = (
    RedirectSpec
    | ChunkSpec
    | KnownContent
    | AttributesChanged
    | KnownAttributes
    | KnownWhole
    | MovedObject
    | KeptTags
    | KeptAttributes
    | SourceObject
    | PlannedObject
    | RestoreSpec
    | UnreadableSpec
)
"""The further data of an operation. Named tuples with equal fields are equal across types: compare texts of encode_spec."""


class Operation(NamedTuple):
    """One idempotent change to one key. Running it twice leaves the same bucket. A row of the journal."""

    kind: Kind
    key: str
    reason: Reason
    path: str = ""
    """Local file relative to the job's source; empty where no file is read."""
    size: int = 0
    """Bytes that will travel; 0 for COPY and DELETE."""
    stamp: Stamp = NO_STAMP
    """The file as it was planned. It is read in this state or not at all. Of a delete it holds the listed LastModified."""
    stage: int = Stage.MAIN
    etag: str = ""
    """The ETag in the listing for this key when it was planned; empty if it was not listed."""
    spec: OperationSpec | None = None
    """Further data of this kind: the redirect's target, the chunk's recipe. ``None`` for nearly all uploads."""
    id: int = 0
    """Row number in the journal, given by it; 0 before."""
    attempts: int = 0
    recheck: bool = False
    """A dead run had this leased: ask S3 before sending it again."""
    upload_id: str = ""
    """The multipart upload begun for it, if one was."""

    @property
    def is_in_doubt(self) -> bool:
        """True if a dead run's request may land meanwhile: S3 is asked first, and the change is conditional."""
        return self.recheck or self.reason is Reason.LATE


_Spec = TypeVar("_Spec", RedirectSpec, ChunkSpec, SourceObject)


def require_spec(operation: Operation, wanted: type[_Spec]) -> _Spec:
    """Return the spec of an operation whose kind needs this one. Raises TypeError for another one."""
    if not isinstance(operation.spec, wanted):
        raise TypeError(f"the {operation.kind.value} of {operation.key!r} has no {wanted.__name__}")
    return operation.spec


def find_kept_attributes(operation: Operation) -> KeptAttributes | None:
    """Return the attributes that the object keeps when its file is sent; ``None`` if none are on record."""
    return operation.spec if isinstance(operation.spec, KeptAttributes) else None


def is_streamed(operation: Operation) -> bool:
    """Return whether an operation is a transfer whose content goes through a worker."""
    return isinstance(operation.spec, SourceObject) and operation.spec.streamed


class PlannedDeletes(NamedTuple):
    """Deletes of objects without a file, in columns: a value for each of them costs several times as much."""

    keys: tuple[str, ...]
    etags: tuple[str, ...]
    """As the listing showed them, as do the times."""
    times: tuple[int, ...]
    """LastModified in nanoseconds, as :func:`s3batch.worker.delete_check.modified_ns` gives it."""

    def make_operations(self, rows: Sequence[int]) -> list[Operation]:
        """Return the operation of each, with its row."""
        return [
            Operation(DELETE, key, Reason.ORPHAN, stamp=Stamp(mtime_ns=time), stage=Stage.DELETE, etag=etag, id=row)
            for row, key, etag, time in zip(rows, self.keys, self.etags, self.times, strict=True)
        ]


class Part(NamedTuple):
    """A piece of a multipart upload, a row of the journal. Numbers start at 1."""

    operation: int
    number: int
    offset: int
    size: int
    etag: str = ""
    checksum: str = ""
    state: State = State.PENDING
    attempts: int = 0


class Step(StrEnum):
    """A step of an operation that a worker carries out."""

    WHOLE = "whole"
    BEGIN = "begin"
    """CreateMultipartUpload."""
    SURVEY = "survey"
    """ListParts of an upload a dead run began."""
    PART = "part"
    FINISH = "finish"
    """CompleteMultipartUpload."""
    ABORT = "abort"
    COMPARE = "compare"
    """A comparison of many files, none of which has a row in the journal."""
    DELETED = "deleted"
    """Only of a result: all deletes of one request that succeeded. ``payload`` holds the spans of their rows."""


class FileToCompare(NamedTuple):
    """A file that is probably equal to its object."""

    path: str
    key: str
    stamp: Stamp
    etag: str
    """The ETag in the listing."""
    checksum: str | None
    """The recorded checksum of the object, perhaps empty. ``None``: its attributes are unknown, so S3 is asked."""


class Comparison(NamedTuple):
    """A file that is probably equal to its object, without a row of the journal yet."""

    file: FileToCompare
    fingerprint: str
    """The fingerprint of the attributes that are wanted."""

    def to_operation(self) -> Operation:
        """Return the operation that it gets if it is not known to be equal."""
        path, key, stamp, etag, checksum = self.file
        spec = None if checksum is None else KnownAttributes(checksum)
        return Operation(Kind.RECONCILE, key, Reason.UNKNOWN, path, stamp.size, stamp, Stage.MAIN, etag, spec)


class Work(NamedTuple):
    """The message to a worker: an operation and the step of it to do now."""

    operation: Operation
    step: Step = Step.WHOLE
    parts: tuple[Part, ...] = ()
    """The one part of PART; all of them for FINISH and SURVEY."""
    keys: tuple[str, ...] = ()
    """Keys of one DeleteObjects request (at most 1,000); ``operation`` is then its first."""
    rows: Sequence[int] = ()
    """The row of each of these keys: a range where they follow each other."""
    etags: tuple[str, ...] = ()
    """For each of these keys the ETag that the listing showed; all empty where that is unknown."""
    times: tuple[int, ...] = ()
    """For each of these keys the LastModified (ns) that the listing showed."""
    files: tuple[FileToCompare, ...] = ()
    """The files of COMPARE. ``operation`` then holds the first; its id is negative, and the files count down from it."""


class Result(NamedTuple):
    """The result of one operation, or of one step of it. A worker returns nothing else."""

    id: int
    step: Step = Step.WHOLE
    part: int = 0
    error: str = ""
    """Empty: it worked."""
    code: str = ""
    """S3's error code, or one of s3batch (``Changed``, ``Vanished``, ``Unreadable``, ``Timeout``, ``Connection``)."""
    status: int = 0
    request_id: str = ""
    retryable: bool = False
    throttled: bool = False
    fatal: bool = False
    """Nothing of this job can succeed: stop."""
    seconds: float = 0.0
    sent: int = 0
    """Bytes of content that travelled."""
    etag: str = ""
    checksum: str = ""
    date: float = 0.0
    fingerprint: str = ""
    become: Kind | None = None
    """For RECONCILE: the kind the operation turned out to be; ``None`` without an error means nothing to do.

    RECONCILE itself: the same once more, with ``spec`` on record.
    """
    reason: Reason | None = None
    upload_id: str = ""
    parts: tuple[Part, ...] = ()
    """SURVEY: the parts that S3 holds."""
    warning: str = ""
    payload: bytes = b""
    """For CHUNK: the data for the archive. For COMPARE: a double for each file, see :mod:`s3batch.worker.bulk`."""
    already: bool = False
    """S3 already had it: nothing was sent."""
    quirks: tuple[Quirk, ...] = ()
    """The quirks that the worker found out about the store."""
    spec: OperationSpec | WrittenVersion | None = None
    """For ``become``, and of a done transfer: the operation's new spec; ``None``: it stays."""
    retry_after: float = 0.0
    """Seconds the store asks to wait before the next try."""
    uncounted: bool = False
    """It is no try of those that an operation has: the store asked for patience."""
    stamp: Stamp | None = None
    """The stamp of the file that a download has left in its place."""


UPLOAD, DELETE, RECONCILE = Kind.UPLOAD, Kind.DELETE, Kind.RECONCILE
DOWNLOAD, TRANSFER = Kind.DOWNLOAD, Kind.TRANSFER
LATE, MISSING, DONE, WHOLE, PART = Reason.LATE, Reason.MISSING, State.DONE, Step.WHOLE, Step.PART
COMPARE, DELETED = Step.COMPARE, Step.DELETED
"""Members used for every file: looking one up in its enum costs 0.12 us, ten times what a global costs."""

_BEHIND = Result(0)[16:]


WHOLE_OPERATION = tuple(Work._field_defaults.values())
"""The fields of a work beside its operation, where there is no more to it."""


def make_whole_work(operation: Operation) -> Work:
    """Return ``Work(operation)`` in half the time."""
    return _new(Work, (operation, *WHOLE_OPERATION))


class StoredResult(Result):
    """The result of plain work that was done, of which no more is to be said. It is sent as a :data:`ShortRow`."""

    __slots__ = ()

    def _replace(self, **changes: Any) -> Result:  # type: ignore[override]  # another type, since it says more
        """Return a result that says more."""
        return Result(*self)._replace(**changes)


ShortRow = tuple[Any, ...]
"""A stored result without the fields that say nothing: :data:`SHORT_FIELDS`, as the journal binds them.

That of a download begins with mtime, ctime, device and inode of its file.
"""
SHORT_FIELDS = ("request_id", "seconds", "sent", "etag", "checksum", "date", "fingerprint", "id")
SENT_IN_ROW = SHORT_FIELDS.index("sent") - len(SHORT_FIELDS)
shorten_result: Callable[[Result], ShortRow] = itemgetter(*map(Result._fields.index, SHORT_FIELDS))
"""Returns the short row of a stored result, without the stamp of a file."""
_FILE_STATE = Stamp._fields.index("mtime_ns")


def make_short_row(result: Result) -> ShortRow:
    """Return the short row of a stored result."""
    return shorten_result(result) if result.stamp is None else result.stamp[_FILE_STATE:] + shorten_result(result)


def is_fetched_row(row: ShortRow) -> bool:
    """Return whether a short row is of a download."""
    return len(row) > len(SHORT_FIELDS)


def expand_row(row: ShortRow) -> Result:
    """Return the result of a short row."""
    told = row[-len(SHORT_FIELDS) :]
    result = good_result(told[-1], *told[:-1])
    if not is_fetched_row(row):
        return result
    return add_stamp(result, Stamp(FILE, row[SENT_IN_ROW], *row[: -len(SHORT_FIELDS)]))


def make_deleted_result(rows: Sequence[int]) -> Result:
    """Return the result of deletes that succeeded together; by itself each would cost 15 us, over all processes."""
    ends = array("q", [end for span in _find_spans(rows) for end in (span[0], span[-1])])
    return Result(rows[0], DELETED, payload=ends.tobytes())


def _find_spans(rows: Sequence[int]) -> list[Sequence[int]]:
    """Return the rows in spans of those that follow each other; mostly all of them do."""
    if isinstance(rows, range):
        return [rows]
    starts = [at for at in range(len(rows)) if not at or rows[at] != rows[at - 1] + 1]
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def read_deleted_spans(result: Result) -> list[range]:
    """Return the rows in the result of :func:`make_deleted_result`, in spans of rows that follow each other."""
    ends = array("q")
    ends.frombytes(result.payload)
    return [range(first, last + 1) for first, last in zip(ends[::2], ends[1::2], strict=True)]


def good_result(
    row: int, request_id: str, seconds: float, sent: int, etag: str, checksum: str, date: float, fingerprint: str
) -> StoredResult:
    """Return the result of a whole operation that worked, and of which no more is to be said: three times as quick."""
    told = (seconds, sent, etag, checksum, date, fingerprint)
    return _new(StoredResult, (row, WHOLE, 0, "", "", 0, request_id, False, False, False) + told + _BEHIND)  # noqa: RUF005 - half the time


def add_stamp(result: StoredResult, stamp: Stamp) -> StoredResult:
    """Return the result of a download, with the stamp of the file that it has left in its place."""
    return _new(StoredResult, (*result[:-1], stamp))
