"""The fence of ``newest_wins``: one object holds the highest number of a run that has begun at a target.

    begin                               read ─> higher: superseded   equal: go on   lower or missing: conditional write
    each second, and before publish_last,    the same once more: a newer run may have begun meanwhile
    redirects, deletes
    before each change                  the worker reads it, and the change is conditional: worker/fence_check.py

``PREFIX/.s3batch/fence`` holds the number and a line break. It only ever rises, because each write is conditional. So the
store must honour ``If-None-Match`` and ``If-Match``. That is tested each time with writes that must fail.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from s3batch.base.errors import EndpointError, SettingsError, SupersededError
from s3batch.base.named_tuple import NamedTuple
from s3batch.base.units import parse_boolean
from s3batch.model import Attributes
from s3batch.objects.headers import make_put_headers
from s3batch.plan.spec import KEPT
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket
from s3batch.s3.faults import RequestError, fault_of
from s3batch.s3.responses import etag_of
from s3batch.worker.context import FenceMark
from s3batch.worker.fence_check import NUMBER, read_fence_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s3batch.plan.spec import SyncSpec
    from s3batch.s3.requests import Response
    from s3batch.settings.table import Settings

NAME = f"{KEPT}fence"
_TRIES = 10
"""Writes that other runs may overtake one after the other."""
_PUT_TRIES = 5
"""Tries of one write: about two seconds. What does not pass by then is the store's way with such writes."""
_EACH = 1.0
"""Seconds between looks while a stage runs."""
_FORBIDDEN = 403
_OVERTAKEN = frozenset({409, 412})
_NO_ETAG = '"s3batch-no-such-etag"'
"""No object has it: a write under this condition must fail."""


class _ReadFence(NamedTuple):
    """The fence as it was read."""

    number: int
    etag: str


def read_run_number(settings: Settings) -> int | None:
    """Return the number of this run; ``None`` without ``newest_wins``. Raises SettingsError.

    ``true`` means the number of the CI's build.
    """
    text = settings.newest_wins
    if not text or _is_switch(text, on=False):
        return None
    if _is_switch(text, on=True):
        text = settings.build.number if settings.build else ""
        if not NUMBER.fullmatch(text):
            raise settings.bad("newest_wins", "this CI gives no build number; write the number of the run")
    if not NUMBER.fullmatch(text):
        raise settings.bad("newest_wins", "write the number of the run: up to 18 digits")
    return int(text)


def _is_switch(text: str, *, on: bool) -> bool:
    """Return whether ``text`` is one of the words for true or false. Digits are a number."""
    with suppress(ValueError):
        return not text.isdigit() and parse_boolean(text) is on
    return False


def make_fence(wanted: SyncSpec) -> Fence | None:
    """Return the fence of a job; ``None`` without ``newest_wins``. Raises SettingsError."""
    number = read_run_number(wanted.settings)
    if number is None:
        return None
    attributes = Attributes(
        content_type="text/plain", encryption=wanted.rules.encryption, kms_key_id=wanted.rules.kms_key_id
    )
    return Fence(wanted.prefix + NAME, number, make_put_headers(attributes), is_read_only=wanted.settings.dry_run)


class Fence:
    """The fence of one target, as one run sees it."""

    def __init__(self, key: str, number: int, headers: Mapping[str, str], *, is_read_only: bool = False) -> None:
        """``headers`` of its object. With ``is_read_only`` nothing is written."""
        self._key = key
        self._number = number
        self._headers = headers
        self._is_read_only = is_read_only
        self._next_look = 0.0
        self._risen_at: float | None = None

    @property
    def seconds_risen(self) -> float | None:
        """How long ago this run raised the fence over that of another one, which may be at work; else ``None``."""
        return None if self._risen_at is None else time.monotonic() - self._risen_at

    def mark(self) -> FenceMark | None:
        """Return what workers have to know; ``None`` if nothing is written."""
        return None if self._is_read_only else FenceMark(self._key, self._number)

    def watch(self, bucket: Bucket, clock: Callable[[], float]) -> None:
        """Look once a second; raise :class:`SupersededError` if a newer run has begun.

        A look that the store refuses is left to the workers and to the next stage, which need its answer.
        """
        if clock() < self._next_look:
            return
        with suppress(RequestError):
            self.pass_through(bucket)
        self._next_look = clock() + _EACH

    def claim(self, settings: Settings, bucket: str) -> None:
        """Raise the fence to this run's number, before the job begins, with a connection of its own.

        Raises :class:`SupersededError` if a newer run has begun; EndpointError if the store ignores conditions.
        """
        store = Bucket.from_settings(settings, bucket)
        try:
            self.pass_through(store, is_first=True)
        except RequestError as error:
            raise EndpointError(
                f"newest_wins: the fence {self._url(store)} cannot be read: {error.fault.said_of(error.name)}",
                hint="allow s3:GetObject for it, or remove newest_wins" if error.fault.status == _FORBIDDEN else "",
            ) from error
        finally:
            store.close()

    def pass_through(self, bucket: Bucket, *, is_first: bool = False) -> None:
        """Look at the fence once more. With ``is_first`` the store's conditions are tested as well."""
        for _ in range(_TRIES):
            held = self._read(bucket)
            if held is not None and held.number > self._number:
                raise SupersededError(
                    f"superseded: run {held.number} has begun at s3://{bucket.endpoint.bucket}/{self._key.removesuffix(NAME)}, and "
                    f"this is run {self._number}; nothing more is sent"
                )
            if self._is_read_only:
                return
            if held is not None and is_first:
                self._require_conditions(bucket, held)
            if held is not None and held.number == self._number:
                return
            if self._write(bucket, held):
                if is_first and held is not None:
                    self._risen_at = time.monotonic()
                if held is None and is_first:
                    self._require_conditions_of_new(bucket)
                return
        raise EndpointError(f"newest_wins: {self._key} changes too often", hint="run it again")

    def _read(self, bucket: Bucket) -> _ReadFence | None:
        answer = bucket.get(self._key)
        if answer is None:
            return None
        text = read_fence_text(answer.body)
        if not NUMBER.fullmatch(text):
            raise SettingsError(
                f"newest_wins: the fence {self._url(bucket)} holds {text[:40]!r}, which is no number",
                hint="delete this object, or use another target",
            )
        return _ReadFence(int(text), etag_of(answer))

    def _write(self, bucket: Bucket, held: _ReadFence | None) -> bool:
        """Write the number, unless someone else has written since; return whether it was written."""
        condition = {"if-none-match": "*"} if held is None else {"if-match": f'"{held.etag}"'}
        answer = self._put(bucket, self._number, condition)
        # 404: deleted since it was read. A conflict that passes was tried again already
        if answer.ok or answer.status == 404 or (answer.status in _OVERTAKEN and not fault_of(answer).retryable):
            return answer.ok
        raise self._refusal(bucket, answer)

    def _require_conditions(self, bucket: Bucket, held: _ReadFence) -> None:
        """Raise EndpointError if the store ignores conditions. The tests would write what is there already."""
        for condition in ({"if-none-match": "*"}, {"if-match": _NO_ETAG}):
            answer = self._put(bucket, held.number, condition)
            if answer.status not in _OVERTAKEN:
                raise self._refusal(bucket, answer)

    def _require_conditions_of_new(self, bucket: Bucket) -> None:
        """Test the conditions with a fence that this run has just made; remove it if the store ignores them."""
        held = self._read(bucket)
        if held is None or held.number != self._number:
            return  # another run has written, and was tested by itself
        try:
            self._require_conditions(bucket, held)
        except EndpointError:
            with suppress(RequestError, EndpointError):
                bucket.delete(self._key)
            raise

    def _put(self, bucket: Bucket, number: int, condition: Mapping[str, str]) -> Response:
        body = f"{number}\n".encode()
        checked = {"content-md5": requests.md5_header(body), **self._headers, **condition}
        try:
            return bucket.ask(requests.put_object(self._key, body, checked), min(bucket.tries, _PUT_TRIES))
        except EndpointError as error:
            words = f"newest_wins: the fence {self._url(bucket)} cannot be written: {error.message}"
            raise EndpointError(words, hint=error.hint, code=error.code, status=error.status) from error

    def _refusal(self, bucket: Bucket, answer: Response) -> EndpointError:
        fault = fault_of(answer)
        words = f"newest_wins: the fence {self._url(bucket)} cannot be written: PutObject: {fault}"
        if answer.status == _FORBIDDEN:
            return EndpointError(words, hint="allow s3:PutObject for it, or remove newest_wins")
        if not answer.ok and fault.retryable:
            return EndpointError(words, hint="run it again, or remove newest_wins")
        said = "it ignores the condition" if answer.ok else str(fault)
        return EndpointError(
            f"newest_wins needs a store with conditional writes, and {bucket.endpoint.name()} has none for "
            f"{self._key} ({said})",
            hint="remove newest_wins, or see to it that only one run at a time writes to this target",
        )

    def _url(self, bucket: Bucket) -> str:
        return f"s3://{bucket.endpoint.bucket}/{self._key}"
