"""The coordinator of a job: it leases operations, hands them out, judges results, and writes the journal.

    Coordinator ──> Dispatcher ──> executor         what is handed out now, and to whom
        │             │  └───────> Quarantine       operations that may have killed their worker
        │             └──────────> RetryQueue       operations and parts that wait for their next try
        └────────────────────────> CircuitBreaker   when no other operation can succeed

Only the coordinator's thread calls any of them. None of them asks the time itself: each is given a clock.
"""

from s3batch.coordinator.coordinator import Coordinator
from s3batch.coordinator.deps import CoordinatorDeps

__all__ = ["Coordinator", "CoordinatorDeps"]
