"""The probe: the only keys a doctor's visit touches, every request on them, and their removal.

Every key that may have been stored is noted before its answer is used, so that the clean-up knows it even if the
answer was lost or the visit was interrupted. A store that ignores the prefix of a listing must not lead to deletes of
other objects: every key is checked against the folder.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EndpointError
from s3batch.base.named_tuple import NamedTuple
from s3batch.files.private import OWN_DIRECTORY
from s3batch.s3 import requests as calls
from s3batch.s3.bucket import Bucket
from s3batch.s3.checksums import checksum_of
from s3batch.s3.clock import seconds_of
from s3batch.s3.faults import Fault, RequestError, fault_of
from s3batch.s3.requests import Request, Response
from s3batch.s3.stored_proof import confirmed_checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3batch.s3.requests import Body

FOLDER = f"{OWN_DIRECTORY}/doctor-"
"""Below the target, in a folder that syncs ignore; random digits follow."""
BODY = b"s3batch doctor: remove me if you find me\n"
_STORES = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload"})


class ProbeResponse(NamedTuple):
    """The reply to one request."""

    call: Request
    answer: Response
    """Status 0 where none came."""
    fault: Fault | None
    """``None``: it was carried out."""


class Probe:
    """The keys of one visit. Not to be used after :meth:`clean_up`."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.folder = f"{prefix}{FOLDER}{secrets.token_hex(8)}/"
        self.key = f"{self.folder}probe"
        self.skew: float | None = None
        """Seconds by which the store's clock is ahead of this machine's; its Date header has whole seconds."""
        self._stored: set[str] = set()
        self._uploads: set[tuple[str, str]] = set()
        self._began_upload = False
        self._versioned = False
        self._others: list[Bucket] = []

    # --- asking -----------------------------------------------------------------------------

    def first(self, call: Request) -> ProbeResponse:
        """Make the first request. Raises EndpointError if the endpoint does not answer or refuses the sign-in."""
        sent = time.time()
        answer = self.bucket.ask(call)
        self._tell_time(answer, sent)
        return self._after(call, answer, fresh=False)

    def ask(self, call: Request, bucket: Bucket | None = None) -> ProbeResponse:
        """Make a request; a refusal and a broken connection are answers too."""
        fresh = self._before(call)
        try:
            answer = (bucket or self.bucket).ask(call)
        except EndpointError as error:
            return ProbeResponse(call, Response(0, {}), Fault(error.code, error.message, error.status))
        return self._after(call, answer, fresh=fresh)

    def once(self, call: Request) -> ProbeResponse:
        """Make a request that should be refused, without retries."""
        fresh = self._before(call)
        try:
            answer = self.bucket.transport.call(call)
        except RequestError as error:
            return ProbeResponse(call, Response(0, {}), error.fault)
        return self._after(call, answer, fresh=fresh)

    def _before(self, call: Request) -> bool:
        """Note the key that a request may store; return whether it is the first such request."""
        self._began_upload = self._began_upload or call.name == "CreateMultipartUpload"
        fresh = call.name in _STORES and call.key not in self._stored
        if fresh:
            self._stored.add(call.key)
        return fresh

    def _after(self, call: Request, answer: Response, *, fresh: bool) -> ProbeResponse:
        fault = None if answer.ok else fault_of(answer)
        if fresh and 400 <= answer.status < 500:
            self._stored.discard(call.key)  # refused for certain
        if answer.headers.get("x-amz-version-id", "null") != "null":
            self._versioned = True
        if call.name == "DeleteObject" and fault is None:
            self._stored.discard(call.key)
        return ProbeResponse(call, answer, fault)

    def _tell_time(self, answer: Response, sent: float) -> None:
        if told := seconds_of(answer.headers.get("date", "")):
            self.skew = told + 0.5 - (sent + time.time()) / 2

    def put(
        self, headers: Mapping[str, str], body: Body = BODY, *, key: str = "", bucket: Bucket | None = None
    ) -> ProbeResponse:
        """Store ``body`` with a checksum as jobs do, and hold the store to it."""
        checksum = self.checksum(body, bucket)
        call = calls.put_object(key or self.key, body, {**headers, **checksum})
        reply = self.ask(call, bucket)
        if reply.fault is None:
            try:
                confirmed_checksum(reply.answer, call, checksum)
            except RequestError as error:
                return reply._replace(fault=error.fault)
        return reply

    def checksum(self, body: Body, bucket: Bucket | None = None) -> dict[str, str]:
        """Return the header by which the store verifies ``body``."""
        name = (bucket or self.bucket).endpoint.checksum
        if not name:
            return {}
        return (
            {"content-md5": calls.md5_header(body)}
            if name == "md5"
            else {f"x-amz-checksum-{name}": checksum_of(name, body)}
        )

    def otherwise(self, **changes: Any) -> Bucket:
        """Return the bucket with another endpoint configuration; ``changes`` are fields of its endpoint."""
        other = Bucket(self.bucket.endpoint._replace(**changes), self.bucket.login, tries=self.bucket.tries)
        self._others.append(other)
        return other

    def began(self, upload_id: str) -> None:
        """Note a multipart upload of the key."""
        self._uploads.add((self.key, upload_id))

    def ended(self, upload_id: str) -> None:
        """Note that an upload is completed or aborted."""
        self._uploads.discard((self.key, upload_id))

    def forget(self, keys: list[str]) -> None:
        """Note that these keys are deleted."""
        self._stored.difference_update(keys)

    # --- the end ----------------------------------------------------------------------------

    def clean_up(self) -> list[str]:
        """Remove everything; return the objects that are left, with the reason."""
        left = [*self._abort_uploads(), *self._delete_objects(), *self._delete_versions()]
        for bucket in self._others:
            bucket.close()
        return left

    def requests(self) -> dict[str, int]:
        """Return the number of requests of each kind."""
        total = self.bucket.transport.requests.copy()
        for bucket in self._others:
            if bucket is not self.bucket:
                total.update(bucket.transport.requests)
        return dict(total)

    def _abort_uploads(self) -> Iterator[str]:
        for key, upload_id in sorted(self._uploads | set(self._uploads_listed())):
            fault = self.ask(calls.abort_multipart_upload(key, upload_id)).fault
            if fault is not None and fault.status != 404:
                yield f"the multipart upload {upload_id} of {key} ({fault})"

    def _uploads_listed(self) -> Iterator[tuple[str, str]]:
        """Yield the uploads in the listing, including those whose creation got no response."""
        if not self._began_upload:
            return
        try:
            for upload in self.bucket.list_uploads(self.folder):
                if upload.key.startswith(self.folder):
                    yield upload.key, upload.upload_id
        except EndpointError:
            return

    def _delete_objects(self) -> Iterator[str]:
        """Delete the known keys, and those that a store that folds names holds under others."""
        if not self._stored:
            return
        left: dict[str, str] = {}
        for key in sorted(self._stored | self.listed()):
            fault = self.ask(calls.delete_object(key)).fault
            if fault is not None and fault.status != 404:
                left[key] = str(fault)
        left |= dict.fromkeys(self.listed() - left.keys(), "still there after its delete")
        yield from (f"{key} ({why})" for key, why in sorted(left.items()))

    def listed(self) -> set[str]:
        """Return the keys that the store lists below the folder; empty if it lists none."""
        reply = self.ask(calls.list_objects(self.folder))
        found = reply.answer.document.objects if reply.fault is None else []
        return {each.key for each in found if each.key.startswith(self.folder)}

    def _delete_versions(self) -> Iterator[str]:
        """Delete old versions: in a versioned bucket a delete only hides the object."""
        if not self._versioned:
            return
        query = calls.canonical_query([("versions", ""), ("prefix", self.folder)])
        reply = self.ask(Request("ListObjectVersions", "GET", "", query))
        if reply.fault is not None:
            yield f"old versions below {self.folder} ({reply.fault})"
            return
        for key, version, *_ in reply.answer.document:
            if key.startswith(self.folder):
                query = calls.canonical_query([("versionId", version)])
                fault = self.ask(Request("DeleteObject", "DELETE", key, query)).fault
                if fault is not None:
                    yield f"version {version} of {key} ({fault})"
