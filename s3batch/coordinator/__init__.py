"""The coordinator of a job: it leases operations, hands them out, judges results, and writes the journal.

    Coordinator ──> Dispatcher ──> executor         operations for a worker that asks
        │             │  └───────> Quarantine       operations that may have killed their worker
        │             └──────────> RetryQueue       operations and parts that wait for their next try
        └────────────────────────> CircuitBreaker   when no other operation can succeed

Only the coordinator's thread calls any of them. None of them reads the time itself: each gets a clock.
"""
