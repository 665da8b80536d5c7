"""Answers to HEAD that are equal but for what differs with each object: known by their bytes, without a look at each header.

    answer ─ the general way ─> equal to what was wanted ─learn─> HeadForm: its lines, without those of each object
    answer ─ the same lines, with the ETag and the size that are expected ──> equal too, its LastModified is told

Of 100,000 objects nearly all are answered alike. Splitting a head and comparing its lines takes a fifth of the time of
reading, validating and comparing headers. A form holds every line that the general way has judged. So what it accepts
the general way would have accepted as well.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.clock import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3batch.s3.requests import Request, Response

_ETAG, _SIZE, _DATE = "etag", "content-length", "last-modified"
OF_EACH_OBJECT = frozenset(
    {_ETAG, _SIZE, _DATE, "date", "x-amz-request-id", "x-amz-id-2", "x-amz-version-id"}
)  # fmt: skip
"""Headers that tell nothing about attributes, and that are different for each object or answer."""
_KEPT = 4
"""Forms that are tried: a store has one for all files with equal attributes."""
_LEARNED = 32
"""Forms after which the objects turn out to be too different for any to be worth a try."""


class HeadForm(NamedTuple):
    """An answer without what differs with each object; places are numbers of lines."""

    length: int
    """The number of lines."""
    pick: Callable[[Sequence[str]], tuple[str, ...]]
    """Returns the lines that are equal in all answers: status, attributes, and the end of the head."""
    fixed: tuple[str, ...]
    etag: tuple[int, str]
    """The place, and the line up to the value with its quote."""
    size: tuple[int, str]
    date: tuple[int, str]
    others: tuple[tuple[int, str], ...]

    def read_date(self, lines: Sequence[str], etag: str, size: int) -> float:
        """Return LastModified of an answer in this form with this ETag and size; 0 for any other answer."""
        if len(lines) != self.length or self.pick(lines) != self.fixed:
            return 0.0
        (etag_at, etag_front), (size_at, size_front), (at, front) = self.etag, self.size, self.date
        if lines[etag_at] != f'{etag_front}{etag}"' or lines[size_at] != f"{size_front}{size}":
            return 0.0
        for other, name in self.others:
            if not lines[other].startswith(name):
                return 0.0
        line = lines[at]
        return seconds_of(line[len(front) :]) if line.startswith(front) else 0.0


class HeadForms:
    """The forms of answers that were found equal to what one set of attributes wants."""

    def __init__(self) -> None:
        self.forms: list[HeadForm] = []
        self.came: tuple[Response, bytes] | None = None
        """The last answer that had no known form, and its bytes."""
        self._learned = 0

    def read_date(self, data: bytes, etag: str, size: int) -> float:
        """Return LastModified of an answer that has a known form, this ETag and this size; else 0."""
        if not self.forms:
            return 0.0
        lines = data.decode("latin-1").split("\r\n")
        for form in self.forms:
            if date := form.read_date(lines, etag, size):
                return date
        return 0.0

    def learn(self, response: Response, etag: str, size: int) -> None:
        """Learn the form of an answer that was found equal, if its bytes came in one piece."""
        came, self.came = self.came, None
        if came is None or came[0] is not response or self._learned > _LEARNED:
            return
        form = make_head_form(came[1], etag, size)
        if form is None:
            return
        self._learned += 1
        self.forms = [form, *self.forms][:_KEPT] if self._learned <= _LEARNED else []


def make_head_form(data: bytes, etag: str, size: int) -> HeadForm | None:
    """Return the form of a head with this ETag and size; ``None`` if it is not a whole head of the usual kind."""
    lines = data.decode("latin-1").split("\r\n")
    if lines[-2:] != ["", ""] or "" in lines[:-2]:
        return None
    names = [line.partition(":")[0].lower() for line in lines[1:-2]]
    at = {name: place for place, name in enumerate(names, 1)}
    if len(at) != len(names) or not at.keys() >= {_ETAG, _SIZE, _DATE}:
        return None
    fronts = {name: (place, _front_of(lines[place])) for name, place in at.items() if name in OF_EACH_OBJECT}
    (etag_at, etag_front), (size_at, size_front) = fronts.pop(_ETAG), fronts.pop(_SIZE)
    if lines[etag_at] != f'{etag_front}"{etag}"' or lines[size_at] != f"{size_front}{size}":
        return None
    date, varying = fronts.pop(_DATE), {at[name] for name in at.keys() & OF_EACH_OBJECT}
    pick = itemgetter(*[place for place in range(len(lines)) if place not in varying])
    quoted = (etag_at, f'{etag_front}"')
    return HeadForm(len(lines), pick, pick(lines), quoted, (size_at, size_front), date, tuple(fronts.values()))


def _front_of(line: str) -> str:
    """Return the line up to its value."""
    name, _, value = line.partition(":")
    return line[: len(name) + 1 + len(value) - len(value.lstrip())]


class ExpectedHead(NamedTuple):
    """A HEAD whose answer is expected to have a known form. A coroutine that yields it gets LastModified, or the response."""

    request: Request
    etag: str
    size: int
    forms: HeadForms
