"""A bucket in memory that answers each request after 30 ms: how far away a store is, without what a store costs.

``python -m scripts.benchmarks.slow_store DELAY_MS COUNT`` fills it with COUNT caches of a small tree, prints its port
and serves until its input ends. It checks no signature.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import time
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from s3batch.archive.manifest import Manifest
from s3batch.archive.manifest_codec import encode_manifest
from s3batch.archive.tree import FILE, Tree
from s3batch.cache.object_keys import chunk_key, manifest_key

DAY = 86400.0
SHARED, OWN = 20, 4
"""Chunks that all caches name, and chunks of each."""
_PAGE = 1000
_XML = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(slots=True)
class Object:
    """One object of the bucket."""

    body: bytes
    modified: float
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Bucket:
    """What is stored, and what a request comes to: status, headers, body."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._sorted: list[str] | None = None

    def put(self, key: str, body: bytes, headers: dict[str, str], modified: float = 0.0) -> Object:
        if key not in self.objects:
            self._sorted = None
        kept = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        self.objects[key] = Object(body, modified or time.time(), kept)
        return self.objects[key]

    def drop(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self._sorted = None

    def answer(self, method: str, key: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        found = self.objects.get(key)
        if method == "GET" and "list-type" in query:
            return 200, {}, self._page(query)
        if method == "POST":
            for part in body.split(b"<Key>")[1:]:
                self.drop(part.partition(b"</Key>")[0].decode())
            return 200, {}, f"<DeleteResult {_XML}/>".encode()
        if method == "DELETE":
            self.drop(key)
            return 204, {}, b""
        if method == "PUT":
            return self._put(key, found, headers, body)
        if found is None:
            return 404, {}, b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"
        told = {"etag": found.etag, "last-modified": formatdate(found.modified, usegmt=True), **found.headers}
        return 200, told, found.body

    def _put(self, key: str, found: Object | None, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        if headers.get("if-none-match") == "*" and found is not None:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        if "x-amz-copy-source" in headers:
            source = self.objects.get(unquote(headers["x-amz-copy-source"]).lstrip("/").partition("/")[2])
            if source is None:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
            made = self.put(key, source.body, source.headers)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(made.modified))
            result = f"<CopyObjectResult {_XML}><LastModified>{stamp}</LastModified><ETag>{escape(made.etag)}</ETag>"
            return 200, {}, f"{result}</CopyObjectResult>".encode()
        return 200, {"etag": self.put(key, body, headers).etag}, b""

    def _page(self, query: dict[str, list[str]]) -> bytes:
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        first = bisect_right(self._sorted, max(after, prefix[:-1] if prefix else ""))
        keys = []
        for key in self._sorted[first : first + 10 * _PAGE]:
            if key.startswith(prefix):
                keys.append(key)
            elif key > prefix or len(keys) > _PAGE:
                break
            if len(keys) > _PAGE:
                break
        more, keys = len(keys) > _PAGE, keys[:_PAGE]
        rows = []
        for key in keys:
            each = self.objects[key]
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(each.modified))
            rows.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{stamp}</LastModified>"
                f"<ETag>{escape(each.etag)}</ETag><Size>{len(each.body)}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(keys[-1])}</NextContinuationToken>" if more else ""
        head = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated><KeyCount>{len(keys)}</KeyCount>{token}"
        return f"<ListBucketResult {_XML}><Prefix>{escape(prefix)}</Prefix>{head}{''.join(rows)}</ListBucketResult>".encode()


def fill(bucket: Bucket, count: int) -> None:
    """Store ``count`` caches of 40 branches, each older than the one before by some minutes; half are unused for 60 days."""
    chance, now = random.Random(1), time.time()
    shared = [chance.randbytes(32) for _ in range(SHARED)]
    for number in range(count):
        own = [chance.randbytes(32) for _ in range(OWN)]
        tree = Tree(dirs=["v"], starts=array("Q", [0, SHARED + OWN]))
        manifest = Manifest(("v",), tree, bytearray(), array("I"), array("I"))
        for at, identity in enumerate((*shared, *own)):
            manifest.chunks.add(identity, 1000, 900)
            tree.names.append(f"{at:03}")
            tree.kinds.append(FILE)
            tree.modes.append(0o644)
            tree.sizes.append(1000)
            tree.mtimes.append(10**18 + number)
            manifest.hashes += chance.randbytes(16)
            manifest.chunk.append(at)
            manifest.at.append(0)
        tree.dirs.insert(0, "")
        tree.names.insert(0, "v")
        tree.kinds.insert(0, 1)
        tree.modes.insert(0, 0o755)
        tree.sizes.insert(0, 0)
        tree.mtimes.insert(0, 10**18)
        tree.starts = array("Q", [0, 1, 1 + SHARED + OWN])
        manifest.hashes[:0] = bytes(16)
        manifest.chunk.insert(0, 0xFFFFFFFF)
        manifest.at.insert(0, 0)
        age = (60 * DAY if number % 2 else 5 * DAY) + number * 60
        manifest.created = now - age
        key = manifest_key("", f"octo/site/branch-{number % 40}", "0123456789ab", f"key-{number}")
        bucket.put(key, encode_manifest(manifest), {}, now - age)
        for identity in (*own, *(shared if not number else ())):
            bucket.put(chunk_key("", identity), b"x", {}, now - age)


class Server(asyncio.Protocol):
    """One connection: requests one after the other, each answered after the delay."""

    def __init__(self, bucket: Bucket, delay: float) -> None:
        self._bucket, self._delay, self._data = bucket, delay, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._data = rest[length:]
        method, target, _ = line.split(" ")
        path, _, query = target.partition("?")
        key = unquote(path).lstrip("/").partition("/")[2]
        answered = self._bucket.answer(method, key, parse_qs(query, keep_blank_values=True), headers, rest[:length])
        asyncio.get_running_loop().call_later(self._delay, self._reply, method, *answered)

    def _reply(self, method: str, status: int, headers: dict[str, str], body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        told = {"date": formatdate(usegmt=True), "content-length": str(len(body)), "x-amz-request-id": "1", **headers}
        if body and "etag" not in headers:
            told["content-type"] = "application/xml"
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._transport.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + (b"" if method == "HEAD" else body))


async def main(delay_ms: int, count: int) -> None:
    """Serve until the input ends."""
    bucket = Bucket()
    fill(bucket, count)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(bucket, delay_ms / 1000), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
