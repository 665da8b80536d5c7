"""The short way of a HEAD whose answer is probably like that of others: one send, one read, one look at its lines.

    send ──> a connection that has served a request before and is idle ──┬─ none, or it does not take all ──> the general way
    answer ─ in a known form ──> its LastModified                        │
           └ anything else ──> the general way goes on with these bytes <┘

So timeouts, lost connections, refusals and malformed answers have one place, the transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.s3.sigv4 import UnsafeTextError
from s3batch.s3.tls import list_waits

if TYPE_CHECKING:
    from s3batch.s3.connection_pool import ConnectionPool, PooledConnection
    from s3batch.s3.event_loop import Task
    from s3batch.s3.head_forms import ExpectedHead
    from s3batch.s3.request_heads import HeadWriter
    from s3batch.s3.requests import Response

_READ = 16 * 1024
"""Bytes: a head of S3 has a few hundred."""


def send_expected(pool: ConnectionPool, heads: HeadWriter, task: Task, wish: ExpectedHead, now: float) -> bool:
    """Send a request on an idle connection; return false if it was not sent. ``now`` is in monotonic seconds."""
    connection = pool.take_idle(now)
    if connection is None:
        return False
    try:
        head = heads.of(wish.request)
        whole = connection.sock.send(head) == len(head)
    except (OSError, UnsafeTextError):  # closed meanwhile, or full; the general way tells of either
        whole = False
    if not whole:
        pool.drop(connection)
        return False
    connection.task, connection.expects = task, wish
    connection.progress = connection.begun = now
    connection.deadline = now + pool.patience
    return True


def receive_expected(connection: PooledConnection, wish: ExpectedHead) -> Response | float | None:
    """Read the answer: LastModified if it has a known form, else the response once that is complete.

    Raises BrokenConnectionError as :meth:`Connection.receive` does.
    """
    try:
        data = connection.sock.recv(_READ)
    except list_waits():
        return None
    except OSError:
        data = b""  # the general way meets the same error, and tells it
    date = wish.forms.read_date(data, wish.etag, wish.size)
    connection.expects = None
    if date:
        return date
    connection.await_answer(wish.request)
    response = connection.take_in(data) if data else None
    if response is None:
        return connection.receive()
    if connection.reusable:
        wish.forms.came = (response, data)
    return response
