"""How much of a journal is read, checked or kept at a time."""

from __future__ import annotations

from s3batch.base.named_tuple import NamedTuple


class JournalLimits(NamedTuple):
    """The limits of one journal. No answer depends on them, only memory and time."""

    page: int = 1000
    """Rows of operations read at a time where a caller walks over all of them."""
    fresh: int = 5000
    """Rows kept in memory from when they are added until they are leased: some 3 MB."""
    taken_at_once: int = 20_000
    """Rows of dead jobs looked at in one transaction: some 0.1 s."""
    checked_always: int = 4 * 1024 * 1024
    """Bytes up to which a journal is checked whole on opening (20 ms, some 10,000 files)."""
    checked_unclean: int = 64 * 1024 * 1024
    """The same after an unclean end. Above, damage shows with the first use of it: checking 1 M rows takes a second."""
    samples: int = 1000
    """Rows kept of the course of all jobs."""
    sample_every: float = 1.0
    """Seconds between two samples of a job, until there are too many."""


DEFAULT_LIMITS = JournalLimits()
