"""Facts that one worker learns of the store by its own requests, and tells no other worker: they save it requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3.stored_proof import Proofs

if TYPE_CHECKING:
    from s3batch.quirks import Quirks
    from s3batch.s3.event_loop import Done, EventLoop


class CopyFindings:
    """Facts about copies by the store."""

    def __init__(self) -> None:
        self.keeps: frozenset[str] = frozenset()
        """The aspects that a copy was seen to keep: headers, tags, the ACL."""
        self.is_looking = False
        """True while a copy is checked: others wait for the result."""
        self.probed = False
        """This worker has probed what a copy keeps, or has tried to."""
        self.succeeded = False
        """The store has copied an object of the source."""
        self.proofs = Proofs()
        """What was seen of copies whose ETag is not that of their source."""
        self.denied = 0
        """The number of copies that were refused with 403."""
        self.refused: tuple[Quirks, str, bool] | None = None
        """Whether a call is known not to copy, as these quirks say: asked for each object."""
        self._waiting: list[Done] = []

    def begin_wait(self, _: EventLoop, done: Done) -> None:
        """Have ``done`` called when the look at a copy has ended."""
        self._waiting.append(done)

    def end_look(self) -> None:
        """Let all go on that wait for the look at a copy."""
        self.is_looking = False
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(None, None)


class TagFindings:
    """Facts about the tags of objects."""

    def __init__(self) -> None:
        self.counted = False
        """A HEAD has said how many tags there are."""
        self.source_counted_by: set[str] = set()
        """The methods whose responses of the source have said how many tags there are."""
        self.source_refused = False
        """The tags of the source's objects cannot be read."""
