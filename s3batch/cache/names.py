"""Which objects a build may read and write: its own key, those it falls back to, and what older plugins left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The objects of one cache, by their full keys."""

    own: str
    """The key object of this build; what a rebuild writes, if it may."""
    read: tuple[str, ...]
    """Key objects to try on a restore, in order."""
    prefixes: tuple[str, ...] = ()
    """Then the newest key below each of these."""
    refusal: str = ""
    """Why this build writes nothing; empty: it may."""
