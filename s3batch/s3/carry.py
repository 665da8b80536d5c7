"""What lanes and their users share: boto3 when it is needed, and how long to wait before a new try."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.s3.calls import Answer, Call
    from s3batch.s3.endpoint import Endpoint

_FIRST_BACK_OFF, _LAST_BACK_OFF = 0.1, 20.0


def back_off(attempt: int) -> float:
    """Seconds to wait before try ``attempt`` + 1: doubling, with full jitter."""
    return random.uniform(0, min(_LAST_BACK_OFF, _FIRST_BACK_OFF * 2**attempt))


def carrier(endpoint: Endpoint) -> Callable[[Call], Answer]:
    """Calls through boto3, which is imported with the first of them; any thread may make it."""
    kept: list[Callable[[Call], Answer]] = []
    making = threading.Lock()

    def carry(call: Call) -> Answer:
        with making:
            if not kept:
                from s3batch.s3.reference import Carrier  # noqa: PLC0415 - see above

                kept.append(Carrier(endpoint))
        return kept[0](call)

    return carry
