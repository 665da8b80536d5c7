"""Quirks of an endpoint, as values: attributes and requests that a store drops, refuses or does not return. Pure: no clock, no disk, no client.

    a worker meets one ─Result.quirks→ coordinator ─quirk_memory→ journal, one warning
                                                └─Executor.learn→ every worker (Tools.quirks)

A quirk changes the requests of a job, never its exit code. A feature that a store lacks is replaced by another, or is
left out with one warning.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from s3batch.base.named_tuple import NamedTuple


class QuirkKind(StrEnum):
    """A difference of a store from S3's API."""

    BOTO_ONLY = "boto-only"
    """It refuses the built-in HTTP client where it accepts the same request from boto3."""
    COPY_DROPS = "copy-drops"
    """A copy of an object onto itself loses this header, or its tags."""
    COPY_PROBED = "copy-probed"
    """A copy was looked at lately: other quirks tell what it loses."""
    NOT_ECHOED = "not-echoed"
    """A header, an ACL or tags of a write cannot be read back."""
    REFUSED = "refused"
    """It does not carry out this request, or these credentials may not make it."""
    LATE_DATE = "late-date"
    """A write's LastModified is later than the Date of its response, by so many seconds."""
    NO_CHILDREN = "no-children"
    """An object cannot have others below it, as in a file system."""


TAGS = "tags"
ACL = "acl"
"""The subjects of a quirk other than headers."""


class Quirk(NamedTuple):
    """One quirk. Two of the same kind and subject are one quirk, whatever their details."""

    kind: QuirkKind
    about: str = ""
    """S3's name of the request, a header in lower case, or :data:`TAGS` or :data:`ACL`."""
    detail: str = ""
    """The store's words: ``HTTP 403 AccessDenied``."""

    def words(self) -> str:
        """Return one sentence for people."""
        sentence = _WORDS[self.kind].format(about=self.about)
        return f"{sentence} ({self.detail})" if self.detail else sentence


_WORDS = {
    QuirkKind.BOTO_ONLY: "the store refuses requests of the built-in HTTP client and accepts those of boto3",
    QuirkKind.COPY_DROPS: "a metadata copy loses {about}",
    QuirkKind.COPY_PROBED: "a copy was looked at",
    QuirkKind.NOT_ECHOED: "the store does not return {about}",
    QuirkKind.REFUSED: "{about} is refused",
    QuirkKind.LATE_DATE: "LastModified of a write is {about} s later than the Date of its answer",
    QuirkKind.NO_CHILDREN: "an object cannot have others below it",
}

WARNINGS = {
    QuirkKind.BOTO_ONLY: "the other requests go through boto3, which is slower",
    QuirkKind.COPY_DROPS: "it is put back after each copy, or the file is sent again",
    QuirkKind.NOT_ECHOED: "it is sent, but no longer compared",
}
"""The consequence for a job."""


class Quirks(NamedTuple):
    """A set of quirks. Frozen and picklable."""

    known: frozenset[tuple[QuirkKind, str]] = frozenset()
    """The kind, and the subject."""

    @classmethod
    def of(cls, quirks: Iterable[Quirk]) -> Quirks:
        """Return the set of these quirks."""
        return cls(frozenset((quirk.kind, quirk.about) for quirk in quirks))

    def has(self, kind: QuirkKind, about: str = "") -> bool:
        """Return whether the store has this quirk."""
        return (kind, about) in self.known

    def refuses(self, request: str) -> bool:
        """Return whether the store is known to refuse ``request``, by S3's name for it."""
        return (QuirkKind.REFUSED, request) in self.known

    def about(self, kind: QuirkKind) -> frozenset[str]:
        """Return the subjects of all quirks of ``kind``."""
        return frozenset(about for found, about in self.known if found is kind)

    @property
    def late(self) -> float:
        """By how many seconds LastModified of a write may be later than its Date; both are cut to whole seconds."""
        found = [float(about) for about in self.about(QuirkKind.LATE_DATE) if about.isdecimal()]
        return max(found) + 1.0 if found else 0.0

    def with_all(self, others: Quirks) -> Quirks:
        """Return the union."""
        return Quirks(self.known | others.known)

    def plus(self, quirks: Iterable[Quirk]) -> Quirks:
        """Return these quirks and the given ones."""
        return Quirks(self.known | Quirks.of(quirks).known)


NO_QUIRKS = Quirks()

OVERRULED = 5
"""After so many answers of the native client that boto3 overruled, the job uses boto3."""
