"""Tags that a metadata copy may drop, on record before the copy: a kill between copy and put-back loses none. Pure.

comparison finds foreign tags ─Result.detail→ journal ─lease→ comparison again ─> copy ─> tags put back
                                                                     killed here ──┘
                                                resume: the object was written since, and has no tags: put them back
"""

from __future__ import annotations

import json
from typing import NamedTuple

_PREFIX = "tags "
_MOST = 50
"""S3 takes 10; some stores take more."""


class KeptTags(NamedTuple):
    """The tags of others that an operation's detail records."""

    tags: tuple[tuple[str, str], ...]
    modified: str
    """LastModified of the object that had them: with another one, it was written since."""
    detail: str = ""
    """The operation's detail before the tags were added."""

    def to_text(self) -> str:
        """Return it as an operation's detail."""
        return _PREFIX + json.dumps(self)

    @classmethod
    def from_text(cls, text: str) -> KeptTags | None:
        """Read an operation's detail; ``None`` if it is no such."""
        if not text.startswith(_PREFIX):
            return None
        try:
            tags, modified, detail = json.loads(text.removeprefix(_PREFIX))
            pairs = tuple((name, value) for name, value in tags)
        except (ValueError, TypeError, RecursionError):
            return None
        texts = [modified, detail, *(text for pair in pairs for text in pair)]
        return cls(pairs, modified, detail) if len(pairs) <= _MOST and all(isinstance(t, str) for t in texts) else None
