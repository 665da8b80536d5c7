"""What each program hashes, seen in its own requests rather than believed: one small upload through a recorder."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import trustme

from scripts.benchmarks import sinks
from scripts.benchmarks.measure import measured
from scripts.benchmarks.scene import MIB, Scene, Side
from tests.rig.faults import Request
from tests.rig.proxy import FaultProxy

UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
LARGE = 100 * MIB
"""Bytes that every program sends in parts."""


def see_hashes(side: Side, directory: Path, *, size: int, has_tls: bool) -> str:
    """Return in words what a program computes over the content of a file of ``size`` bytes."""
    for name in ("tree", "empty"):
        (directory / name).mkdir(parents=True)
    (directory / "tree" / "file").write_bytes(bytes(min(size, LARGE)))
    with sinks.run_null_server(directory) as sink:
        context, trusted = _make_tls(directory) if has_tls else (None, {})
        with FaultProxy(sink.url, tls=context) as recorder:
            tree = directory / "tree"
            scene = Scene(recorder.url, 1, size, tree, directory, directory / "down", "bench/hashes")
            run = measured(side.command(scene), plain_environment(directory) | sink.environment | trusted, directory)
            if run.code != 0:
                raise SystemExit(f"{side.name} failed with exit code {run.code} through the recorder:\n{run.output}")
            return describe(each for each in recorder.requests if each.operation in ("PutObject", "UploadPart"))


def plain_environment(home: Path) -> dict[str, str]:
    """Return the environment of every program, without the caller's variables."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(sinks.servers.ROOT),
    }


def describe(requests: Iterable[Request]) -> str:
    """Return the names of the digests in the heads of upload requests."""
    found: list[str] = []
    for headers in (request.headers for request in requests):
        payload = headers.get("x-amz-content-sha256", "")
        names = ["SHA-256 signed" if payload and not payload.startswith(UNSIGNED) else ""]
        names += ["MD5" if "content-md5" in headers or "x-amz-meta-md5chksum" in headers else ""]
        names += [
            name.removeprefix("x-amz-checksum-").upper() for name in headers if name.startswith("x-amz-checksum-")
        ]
        names += [headers.get("x-amz-trailer", "").removeprefix("x-amz-checksum-").upper()]
        found += [name for name in names if name and name not in found]
    return " + ".join(found) or "nothing"


def _make_tls(directory: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = directory / "recorder-ca.pem"
    authority.cert_pem.write_to_path(bundle)
    return context, {"AWS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(bundle)}
