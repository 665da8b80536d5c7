"""``s3batch sync s3://BUCKET/KEY -``: write one object to stdout, and prove at the end that it was the one listed.

Ranges are fetched ahead, each pinned to the ETag of the first HEAD, and written in order. Nothing but content goes to
stdout. What was written cannot be taken back: so an object that changes meanwhile, or bytes that are not its own, end with
exit code 1. There is no job: nothing can be resumed.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE, JobFailedError, S3BatchError
from s3batch.base.units import format_duration, format_size
from s3batch.commands.sync.stdin_job import refuse_settings_of_trees
from s3batch.coordinator.job_setup import choose_bandwidth
from s3batch.coordinator.signals import InterruptedJobError, watch_for_stop
from s3batch.model import JobState
from s3batch.objects.content_match import ContentEvidence
from s3batch.reporting.publish import publish_document
from s3batch.reporting.report import make_jobless_document
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket
from s3batch.s3.checksums import RunningChecksum
from s3batch.s3.etag import md5_of_etag, multipart_etag, part_size_candidates
from s3batch.s3.faults import RequestError, fault_of
from s3batch.s3.gather import capture_outcome
from s3batch.s3.responses import etag_of, raise_for_status
from s3batch.settings.direction import parse_source_place, settings_of_source

if TYPE_CHECKING:
    from s3batch.reporting.console import Output
    from s3batch.s3.requests import Response
    from s3batch.settings.table import Settings

_RANGE = 8 << 20
"""Bytes of a range."""
_AHEAD = 4
"""Ranges that are fetched or wait to be written."""
_CANDIDATES = 4
"""Sizes of parts that are tried at once: each costs an MD5."""
_SIZE_ONLY = "only its size proves that the content is whole: the store tells neither a checksum nor an MD5 of it"


def write_object(settings: Settings, output: Output) -> int:
    """Write the object that is the source to stdout; return the exit code."""
    refuse_settings_of_trees(settings)
    if settings.json or settings.json_lines:
        raise settings.bad("json" if settings.json else "json_lines", "leave it out: stdout is for the content")
    place = parse_source_place(settings)
    began, bandwidth = time.monotonic(), choose_bandwidth(settings)
    bucket = Bucket.from_settings(settings_of_source(settings), place.bucket, bandwidth=bandwidth)
    warnings: list[str] = []
    bucket.warn = warnings.append
    stopped: S3BatchError | None = None
    sent = 0
    try:
        with watch_for_stop(max_duration=settings.max_duration) as signals:
            bucket.transport.check = signals.check
            sent = _ObjectWriter(bucket, place.key, output, warnings, settings.part_size).write(
                dry_run=settings.dry_run
            )
    except S3BatchError as error:
        stopped = error
    finally:
        bucket.close()
    code = stopped.exit_code if stopped is not None else EXIT_DONE
    interrupted = isinstance(stopped, InterruptedJobError)
    state = JobState.INTERRUPTED if interrupted else JobState.FAILED if code else JobState.DONE
    seconds = time.monotonic() - began
    document = make_jobless_document(
        settings.command, state, code, seconds=seconds, requests=bucket.transport.requests, retries=bucket.retries,
        warnings=warnings,
    )  # fmt: skip
    for warning in warnings:
        output.warn(warning)
    verdict = f"done in {format_duration(seconds)}: {format_size(sent)} written" if stopped is None else str(stopped)
    if stopped is None:
        output.info(verdict)
    elif not isinstance(stopped, _ReaderGoneError):
        output.error(verdict)
    publish_document(settings, output, {**document, **({"error": verdict} if stopped else {})}, verdict)
    return code


class _ReaderGoneError(JobFailedError):
    """The reader of stdout has seen enough, as `head`: main tells a stdout that was lost otherwise."""


@dataclass
class _ObjectWriter:
    """One object on its way to stdout."""

    bucket: Bucket
    key: str
    output: Output
    warnings: list[str]
    part_size: int
    """The part size of the settings."""
    _ahead: deque[list[Any]] = field(default_factory=deque)
    """The ranges under way, in order; each is a box that its outcome is put into."""

    def write(self, *, dry_run: bool) -> int:
        """Write the object; return its size. Raises an error if it is not the one that HEAD showed."""
        call = requests.head_object(self.key)
        response = self.bucket.ask(call)
        if response.status == 404:
            self.bucket.require_bucket(self.key)
        head = raise_for_status(response, call)
        size, etag = int(head.headers.get("content-length", 0)), etag_of(head)
        if dry_run:
            self.output.info(f"{self.key} has {format_size(size)}")
            return 0
        proof = _RunningProof(head, self._find_part_sizes(etag, size))
        at = 0
        while at < size or self._ahead:
            while at < size and len(self._ahead) < _AHEAD:
                last = min(at + _RANGE, size) - 1
                range_call = requests.get_object(self.key, at, last)
                pinned = range_call._replace(headers={**range_call.headers, "if-match": f'"{etag}"'})
                self._ahead.append(self._begin(self.bucket.send(pinned)))
                at = last + 1
            block = self._receive(self._wait_for(self._ahead.popleft()), etag, size)
            proof.update(block)
            self._write_block(block)
        if proof.size != size:
            raise JobFailedError(f"{self.key} has {size} bytes, and {proof.size} came")
        if (words := proof.find_fault()) is not None:
            raise JobFailedError(f"what was written is not {self.key}: {words}")
        if not proof.is_proved:
            self.warnings.append(f"{self.key}: {_SIZE_ONLY}")
        return size

    def _find_part_sizes(self, etag: str, size: int) -> list[int]:
        """Return the sizes that the object's parts may have, the likeliest first; none if it is not in parts."""
        count = etag.rpartition("-")[2]
        if "-" not in etag or not count.isdigit():
            return []
        answer = self.bucket.ask(requests.head_object(self.key)._replace(query="partNumber=1"))
        first = int(answer.headers.get("content-length", 0)) if answer.ok else 0
        return [*([first] if 0 < first < size else []), *part_size_candidates(size, int(count), self.part_size)]

    def _begin(self, coroutine: Any) -> list[Any]:
        box: list[Any] = []
        self.bucket.transport.loop.start(capture_outcome(coroutine), box.append)
        return box

    def _wait_for(self, box: list[Any]) -> Any:
        while not box:
            self.bucket.transport.turn(1.0)
        value, error = box[0]
        if error is not None:
            raise error
        return value

    def _receive(self, answer: Response, etag: str, size: int) -> bytes:
        if answer.status == 412 or (answer.ok and etag_of(answer) != etag):
            raise JobFailedError(f"{self.key} changed while it was written: what was written is not whole")
        if not answer.ok:
            fault = fault_of(answer)
            if fault.code == "InvalidObjectState":
                raise JobFailedError(f"{self.key} is archived; restore it first")
            raise JobFailedError(str(RequestError("GetObject", self.key, fault)))
        whole = answer.headers.get("content-range", "").rpartition("/")[2]
        if whole.isdecimal() and whole != str(size):
            raise JobFailedError(
                f"{self.key} has {whole[:20]} bytes, and HEAD told {size}: what was written is not whole"
            )
        return bytes(answer.body)

    def _write_block(self, block: bytes) -> None:
        """Write a block on a thread: a reader that takes its time keeps no request waiting."""
        box: list[Any] = []
        self.bucket.transport.loop.submit(
            partial(self.output.content, block), lambda _, error: box.append((None, error))
        )
        try:
            self._wait_for(box)
        except BrokenPipeError as error:
            raise _ReaderGoneError("stdout was closed") from error
        except (OSError, ValueError) as error:
            raise _ReaderGoneError("stdout cannot be written") from error


class _RunningProof:
    """Compares the content with what HEAD told of the object, piece by piece."""

    def __init__(self, head: Response, part_sizes: list[int]) -> None:
        """``part_sizes`` are those that the object's parts may have; none if it is not in parts."""
        evidence = ContentEvidence.from_head(head.headers)
        self.size = 0
        self.is_proved = True
        self._name, self._wanted = "md5", evidence.etag.lower()
        if evidence.checksums:
            (self._name, *_), self._wanted = evidence.checksums[0]
        is_md5 = md5_of_etag(evidence.etag) is not None and evidence.etag_is_md5
        self._whole = RunningChecksum(self._name) if evidence.checksums or is_md5 else None
        self._parts = [] if self._whole else [_PartDigests(size) for size in part_sizes[:_CANDIDATES]]

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self.size += len(block)
        for running in (self._whole, *self._parts):
            if running is not None:
                running.update(block)

    def find_fault(self) -> str | None:
        """Return in words how the content differs; ``None`` if it does not, as far as is known."""
        if self._whole is None:  # an ETag that no usual parts make proves nothing: they may have several sizes
            self.is_proved = any(each.etag() == self._wanted for each in self._parts)
            return None
        found = self._whole.digest().hex() if self._name == "md5" else self._whole.base64()
        return None if found == self._wanted else f"its {self._name.upper()} is {self._wanted}, and {found} came"


class _PartDigests:
    """The MD5s of parts of one size, fed piece by piece."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._digests: list[bytes] = []
        self._running = RunningChecksum("md5")

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(block)
        while len(view) >= self._left:
            self._running.update(view[: self._left])
            self._digests.append(self._running.digest())
            view, self._running, self._left = view[self._left :], RunningChecksum("md5"), self._size
        self._running.update(view)
        self._left -= len(view)

    def etag(self) -> str:
        """Return the ETag that S3 makes of these parts."""
        last = [self._running.digest()] if self._left < self._size else []
        return multipart_etag([*self._digests, *last])
