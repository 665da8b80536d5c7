"""Messages to all workers of a job, at both ends: new credentials, quirks of the store, fewer requests.

Executor.update_credentials ─> tell_all("credentials", ...) ─> socket, or exchange ─> obey_message ─> WorkerLoop
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3batch.executors.worker_loop import WorkerLoop
    from s3batch.quirks import Quirks
    from s3batch.s3.sigv4 import Credentials
    from s3batch.worker.context import Brief

_CREDENTIALS, _SOURCE_CREDENTIALS, _QUIRKS, _THROTTLE = "credentials", "source credentials", "quirks", "throttle"


class MessagingExecutor(ABC):
    """An executor that reaches its workers by messages only. What it tells them is in the brief of later workers too."""

    def __init__(self, brief: Brief) -> None:
        self._brief = brief

    @abstractmethod
    def tell_all(self, word: str, payload: object = None) -> None:
        """Send a message to every worker there is."""

    def update_credentials(self, credentials: Credentials) -> None:
        """Have every worker sign with these."""
        self._brief = self._brief._replace(endpoint=self._brief.endpoint._replace(credentials=credentials))
        self.tell_all(_CREDENTIALS, credentials)

    def update_source_credentials(self, credentials: Credentials) -> None:
        """Have every worker sign requests to a transfer's source with these."""
        if self._brief.source is not None:
            self._brief = self._brief._replace(source=self._brief.source.with_credentials(credentials))
        self.tell_all(_SOURCE_CREDENTIALS, credentials)

    def learn(self, quirks: Quirks) -> None:
        """Have every worker ask in the way that these quirks of the store want."""
        self._brief = self._brief._replace(quirks=quirks)
        self.tell_all(_QUIRKS, quirks)

    def throttle(self) -> None:
        """Halve every worker's window."""
        self.tell_all(_THROTTLE)


def obey_message(worker: WorkerLoop, word: str, payload: Any) -> None:
    """Carry out a message to all workers; other messages are those of the process or the exchange."""
    if word == _CREDENTIALS:
        worker.update_credentials(payload)
    elif word == _SOURCE_CREDENTIALS:
        worker.update_source_credentials(payload)
    elif word == _QUIRKS:
        worker.learn(payload)
    elif word == _THROTTLE:
        worker.transport.throttle()
