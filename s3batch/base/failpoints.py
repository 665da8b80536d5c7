"""Named points at which a test can have the program killed: ``S3BATCH_TEST_CRASH_AT=stored:3``.

The third time a process reaches the point ``stored``, it sends itself SIGKILL, which nothing can catch. With a
third part, ``stored:3:FILE``, only the first of all processes to get there dies: it makes FILE. Without the
variable a point costs one call of an almost empty function. tests/crash uses every name.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

NAMES = (
    "begun", "listed-page", "listed", "added", "planned", "leased", "dispatched", "settled", "published",
    "upload-begun", "upload-journalled", "part-settled", "finishing", "finished", "learned", "deleting", "deleted",
    "looking-again", "walking-on",
    "sending", "stored", "part-sending", "part-stored", "completed", "worker-started",
    "fetched", "landed",
    "chunk-stored", "manifest-publishing", "manifest-published", "removing", "copied-aside", "unpacked", "restored",
)  # fmt: skip
"""The points in the order a job meets them: the coordinator's, the worker's, the download's, the cache's."""

_wanted, _count, _once = [*os.environ.get("S3BATCH_TEST_CRASH_AT", "").split(":", 2), "", ""][:3]
_seen: Counter[str] = Counter()


def reach_failpoint(name: str) -> None:
    """Die here if a test wants it."""
    if name != _wanted:
        return
    _seen[name] += 1
    if _seen[name] == int(_count or 1) and _is_first_death():
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first_death() -> bool:
    """Return whether no other process has died here, if only one is to die."""
    if not _once:
        return True
    try:
        os.close(os.open(_once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
