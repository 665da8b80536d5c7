"""The one table of error codes: its traits agree with each other, and everything that has a code of its own is in it."""

from __future__ import annotations

import pytest

from s3batch.base.error_codes import Trait, select_codes, select_statuses
from s3batch.coordinator.multipart import CHANGED
from s3batch.plan.planner import OVERSIZED
from s3batch.s3.faults import MALFORMED, Fault
from s3batch.worker.results import COPY_REFUSED, DRIFTED
from s3batch.worker.source_object import ARCHIVED


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        pytest.param(Trait.SLOWER, Trait.AGAIN, id="a store that is busy may work later"),
        pytest.param(Trait.NO_ANSWER, Trait.AGAIN, id="a request without an answer is tried again"),
        pytest.param(Trait.SIGNED_OUT, Trait.FATAL, id="without credentials nothing works"),
        pytest.param(Trait.SEEN_ANEW, Trait.ONE_FILE, id="a walk sees files, not stores"),
    ],
)
def test_one_trait_means_another(narrow, wide):
    assert select_codes(narrow) < select_codes(wide)
    assert select_statuses(narrow) <= select_statuses(wide)


@pytest.mark.parametrize("other", [Trait.AGAIN, Trait.ONE_FILE])
def test_what_stops_a_job_is_neither_tried_again_nor_of_one_file(other):
    assert not select_codes(Trait.FATAL) & select_codes(other)


def test_codes_of_s3batch_are_in_the_table():
    assert {CHANGED, OVERSIZED, COPY_REFUSED, DRIFTED, ARCHIVED} <= select_codes(Trait.ONE_FILE)
    assert MALFORMED in select_codes(Trait.AGAIN)


@pytest.mark.parametrize(
    ("code", "status", "traits"),
    [
        ("SlowDown", 503, (True, True, False)),
        ("AnythingElse", 429, (True, True, False)),
        ("BadGateway", 502, (True, False, False)),
        ("AccessDenied", 403, (False, False, False)),
        ("ExpiredToken", 400, (False, False, True)),
        ("NoSuchBucket", 404, (False, False, True)),
        ("Timeout", 0, (True, False, False)),
    ],
)
def test_a_fault_asks_the_table(code, status, traits):
    fault = Fault(code, "", status)

    assert (fault.retryable, fault.throttled, fault.fatal) == traits
