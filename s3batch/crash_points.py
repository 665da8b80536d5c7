"""Named points at which a test can have the program killed: ``S3BATCH_TEST_CRASH_AT=stored:3``.

The third time the program reaches the point ``stored``, the process sends itself SIGKILL, which nothing
can catch. Without the variable a point costs one call of an empty function. tests/crash uses every name.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

NAMES = (
    "begun", "listed-page", "listed", "added", "planned", "leased", "dispatched", "settled", "published",
    "upload-begun", "upload-journalled", "part-settled", "finishing", "finished", "learned", "deleting", "deleted",
    "sending", "stored", "part-sending", "part-stored", "completed", "worker-started",
    "chunk-stored", "manifest-publishing", "manifest-published", "unpacked", "restored",
)  # fmt: skip
"""In the order a job meets them: the coordinator's, the worker's, the cache's."""

_wanted, _, _count = os.environ.get("S3BATCH_TEST_CRASH_AT", "").partition(":")
_seen: Counter[str] = Counter()


def reach(name: str) -> None:
    """Die here if a test wants it."""
    if name != _wanted:
        return
    _seen[name] += 1
    if _seen[name] == int(_count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
