"""One multipart upload: its parts, what is known of them, and the sizes that they have. It knows no journal."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import (
    DOWNLOAD,
    TRANSFER,
    Operation,
    Part,
    Result,
    SourceObject,
    State,
    Step,
    Work,
    is_streamed,
    require_spec,
)
from s3batch.plan.decide import choose_part_size
from s3batch.settings.s3_limits import COPY_LIMIT, PART_MINIMUM, PARTS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class MultipartUpload:
    """The state of one upload."""

    __slots__ = (
        "again",
        "asked",
        "changed",
        "completing",
        "doubtful",
        "failure",
        "found",
        "looks",
        "operation",
        "parked",
        "parts",
        "restarted",
        "rested",
        "under_way",
        "waiting",
    )

    def __init__(self, operation: Operation, *, found: bool = False) -> None:
        self.operation = operation
        self.parts: dict[int, Part] = {}
        self.waiting: deque[int] = deque()
        """Numbers of parts to send."""
        self.under_way = 0
        self.doubtful: set[int] = set()
        """Parts whose worker died: S3 may hold them."""
        self.asked: frozenset[int] = frozenset()
        """The parts that the current survey is about."""
        self.found = found
        """Only S3 knew of it: how it was begun is not known."""
        self.restarted = False
        self.completing = False
        """True if a Complete was sent without an answer: the store may still be working on it."""
        self.looks = 0
        """Times that S3 had neither the upload nor its object since then."""
        self.failure: Result | None = None
        """Why it is being aborted, or parked."""
        self.parked = False
        """It cannot be sent now and is kept for a resume: no more parts are sent, and running ones end."""
        self.again = False
        """True if the upload begins again once it is aborted."""
        self.changed: Operation | None = None
        """The file has changed and is this one now: no part is believed, once those under way have ended."""
        self.rested = False
        """The pause after that change is over."""

    @property
    def has_all_parts(self) -> bool:
        """True if there are parts, and S3 has acknowledged each."""
        return bool(self.parts) and all(part.state is State.DONE for part in self.parts.values())

    def sorted_parts(self) -> list[Part]:
        """Return the parts in the order of the file."""
        return [part for _, part in sorted(self.parts.items())]

    def make_survey(self) -> Work:
        """Return the work of asking S3 for its parts."""
        return Work(self.operation, Step.SURVEY, tuple(self.sorted_parts()))

    def queue(self, parts: list[Part]) -> None:
        """Have these parts sent, as far as S3 has not acknowledged them."""
        self.parts = {part.number: part for part in parts}
        self.waiting = deque(part.number for part in parts if part.state is not State.DONE)

    def send_anew(self, numbers: frozenset[int]) -> None:
        """Have parts sent again that S3 may or may not hold: sending one twice does no harm."""
        self.waiting.extend(sorted(numbers))
        self.doubtful -= numbers
        self.asked = frozenset()

    def merge(self, numbers: Iterable[int], held: Mapping[int, Part]) -> None:
        """Trust those of some parts on which journal and S3 agree."""
        self.parts |= {number: _merge_part(self.parts[number], held.get(number)) for number in numbers}

    def doubt_all_parts(self, changed: Operation) -> None:
        """Trust no part any more: the file is ``changed`` now."""
        self.operation, self.changed, self.failure = changed, None, None
        self.asked = frozenset()
        self.waiting.clear()
        self.doubtful.clear()
        self.parts = {number: part._replace(state=State.PENDING) for number, part in self.parts.items()}

    def forget_parts(self) -> None:
        """Be an upload that is not begun."""
        again = (
            self.operation.recheck and self.operation.kind is not TRANSFER
        )  # a transfer was compared once: that is enough
        self.operation = self.operation._replace(upload_id="", recheck=again)
        self.under_way, self.asked, self.found = 0, frozenset(), False
        self.completing, self.looks = False, 0
        for kept in (self.waiting, self.parts, self.doubtful):
            kept.clear()

    def stream_source(self) -> None:
        """Be a transfer that is streamed from now on."""
        spec = require_spec(self.operation, SourceObject)._replace(streamed=True)
        self.operation = self.operation._replace(spec=spec)


class TransferSizes(NamedTuple):
    """The sizes, in bytes, of transfers in parts."""

    copy_limit: int = COPY_LIMIT
    """A larger object is copied in parts."""
    copy_part_size: int = 1 << 30
    """Bytes of a part that the store copies."""
    threshold: int = 32 << 20
    """An object of this size is streamed in parts."""


class PartSizes(NamedTuple):
    """The sizes of parts, and which uploads a job may go on with."""

    part_size: int
    """Bytes of a part, where the file's size does not ask for larger ones."""
    fingerprint: Callable[[str], str]
    """Returns the fingerprint of a path's attributes."""
    transfers: TransferSizes

    def find_threshold(self, operation: Operation) -> int:
        """Return the size from which on a transfer goes in parts."""
        return self.transfers.threshold if is_streamed(operation) else self.transfers.copy_limit + 1

    def find_least(self, upload_threshold: int) -> int:
        """Return the size below which no upload, download or transfer goes in parts."""
        return min(upload_threshold, self.transfers.threshold, self.transfers.copy_limit + 1)

    def choose(self, operation: Operation) -> int:
        """Return the part size of an upload."""
        copied = operation.kind is TRANSFER and not is_streamed(operation)
        return choose_part_size(operation.size, self.transfers.copy_part_size if copied else self.part_size)

    def size_of_found(self, operation: Operation, first: Part | None) -> int:
        """Return the part size of an upload found in S3 if the whole file can go on with it; else the own size."""
        begun = first.size if first is not None else 0
        if min(PART_MINIMUM, operation.size) <= begun and operation.size <= begun * PARTS_LIMIT:
            return begun
        return self.choose(operation)

    def make_fingerprint(self, operation: Operation) -> str:
        """Return the fingerprint of an upload: parts that are copied may be too large to be streamed.

        The ranges of a download are of one ETag.
        """
        if operation.kind is DOWNLOAD:
            return operation.etag
        way = "" if operation.kind is not TRANSFER else " streamed" if is_streamed(operation) else " copied"
        return self.fingerprint(operation.path) + way


def _merge_part(part: Part, held: Part | None) -> Part:
    if held is None or held.size != part.size:
        return part._replace(state=State.PENDING, etag="", checksum="")
    if part.state is State.DONE and part.etag == held.etag:
        return part
    return part._replace(state=State.PENDING, etag=held.etag, checksum=held.checksum)
