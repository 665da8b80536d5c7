"""What one job finds out about how an endpoint wants to be asked, and the next one begins with."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from s3batch.s3.lane import OVERRULED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.journal import Journal
    from s3batch.s3.bucket import Bucket

WARNING = (
    "the store refuses requests of the lean lane that it takes from boto3 ({}): the rest goes through boto3, "
    "which is slower"
)
_LANE = "lane"
_REMEMBERED = 7 * 24 * 3600.0
"""Seconds: a store may be mended."""


class Doubts:
    """Counts what boto3 had to settle, over all workers; says it once, and has it remembered."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._counted: Counter[str] = Counter()
        self._said = False

    def count(self, doubts: Mapping[str, int]) -> None:
        """Add refusals that boto3 had overruled, by S3's code."""
        self._counted.update(doubts)
        if self._said or self._counted.total() < OVERRULED:
            return
        self._said = True
        self._journal.warn(WARNING.format(", ".join(sorted(self._counted))))
        self._journal.remember(_LANE, {"lane": "reference", "until": time.time() + _REMEMBERED})


def begin(bucket: Bucket, journal: Journal, lane: str) -> None:
    """Take the lane that the last job found right, unless the setting ``lane`` names one."""
    remembered = journal.recall(_LANE)
    if lane == "auto" and remembered and time.time() < remembered["until"]:
        bucket.lane.use(bucket.endpoint.through(remembered["lane"]))
