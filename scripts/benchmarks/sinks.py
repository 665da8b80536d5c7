"""The servers that are measured against: the null server, plain, slow or with TLS, and rclone's real one."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import trustme

from scripts.benchmarks.scene import require_program
from tests.rig import buckets, servers

SOURCE = servers.ROOT / "scripts" / "s3sink.c"


@dataclass(frozen=True, slots=True)
class Sink:
    """A server to send to, and what a client must know of it."""

    url: str
    environment: dict[str, str] = field(default_factory=dict)
    sizes: Callable[[str, str], list[int]] = lambda _bucket, _prefix: []
    """The sizes of the objects below a prefix, where any are kept."""


@contextmanager
def run_null_server(
    directory: Path, *, has_tls: bool = False, delay_ms: int = 0, content: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Sink]:
    """Run the null server. ``content`` tells what it lists and gives: ``trees.make_sink_environment``."""
    trusted = trust(directory) if has_tls else {}
    port = servers.free_port()
    delay = {"DELAY_US": str(delay_ms * 1000)} if delay_ms else {}
    process = subprocess.Popen(
        [build_null_server(has_tls=has_tls), str(port)], cwd=directory, env=os.environ | delay | content
    )
    try:
        await_port(port)
        keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret"}
        yield Sink(f"http{'s' if has_tls else ''}://127.0.0.1:{port}", keys | trusted)
    finally:
        process.kill()
        process.wait()


@contextmanager
def run_real_server(directory: Path) -> Iterator[Sink]:
    """Run rclone's server, with a bucket named bench."""
    with servers.running("rclone", directory / "rclone") as server:
        client = buckets.client(server)
        client.create_bucket(Bucket="bench")
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}

        def sizes(bucket: str, prefix: str) -> list[int]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [each["Size"] for page in pages for each in page.get("Contents", [])]

        yield Sink(server.url, keys, sizes)


def build_null_server(*, has_tls: bool) -> str:
    """Return the path of the null server, compiled once for each text of its source."""
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16] + ("-tls" if has_tls else "")
    program = Path(tempfile.gettempdir()) / f"s3batch-bench-{os.getuid()}" / f"s3sink-{name}"
    if not program.exists():
        require_program("gcc")
        program.parent.mkdir(mode=0o700, exist_ok=True)
        making = f"{program}.{os.getpid()}"
        extra = ["-DTLS", "-lssl", "-lcrypto"] if has_tls else []
        subprocess.run(["gcc", "-O2", "-pthread", str(SOURCE), "-o", making, *extra], check=True)
        os.replace(making, program)
    return str(program)


def trust(directory: Path) -> dict[str, str]:
    """Certificates for the null server in ``directory``, and how clients are told to trust them."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (directory / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    bundle = directory / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    return {"AWS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(bundle)}


def await_port(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
