"""Keeps the workers' credentials fresh: renewed every 30 s, and once for all requests that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.executors import Executor
    from s3batch.s3.credentials import Login

_RENEW_EVERY = 30.0
_TIME_TO_WORK = 10.0
"""Seconds that renewed credentials are given before a refusal means that they do not help."""


class SignIn:
    """Gives the executor current credentials. Times are of ``clock``, in seconds."""

    def __init__(
        self, login: Login, executor: Executor, clock: Callable[[], float], source: Login | None = None
    ) -> None:
        """``source``: the sign-in of a transfer's source."""
        self._login = login
        self._source = source
        self._executor = executor
        self._clock = clock
        self._renewed = clock()
        self._refused_until = 0.0

    def refresh(self) -> None:
        """Hand on the current credentials, if it is time to."""
        now = self._clock()
        if now - self._renewed <= _RENEW_EVERY:
            return
        self._renewed = now
        if (credentials := self._login.current()) is not None:
            self._executor.update_credentials(credentials)
        if self._source is not None and (credentials := self._source.current()) is not None:
            self._executor.update_source_credentials(credentials)

    def renew(self) -> bool:
        """Resolve the credentials again after a refusal and give them to all workers; return False if there are none.

        They are resolved once for all requests that were refused with the old ones.
        """
        now = self._clock()
        anew = now >= self._refused_until
        logins = [self._login] if self._source is None else [self._login, self._source]
        found = [each.renewed() if anew else each.current() for each in logins]  # a refusal does not say whose they are
        if not any(found):
            return False
        if anew:
            self._refused_until = now + _TIME_TO_WORK
        if found[0] is not None:
            self._executor.update_credentials(found[0])
        if len(found) > 1 and found[1] is not None:
            self._executor.update_source_credentials(found[1])
        return True
