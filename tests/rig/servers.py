"""S3 servers on this machine: how each is started, and where each is known to differ from Amazon's.

Every server is a subprocess on free ports of 127.0.0.1, with its data in a directory of ours; it is
stopped by its process id. What they differ in was measured, and tests/contract keeps the table true.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("S3BATCH_TEST_BIN", ROOT / ".venv-servers" / "bin"))
WITH_RGW = os.environ.get("S3BATCH_TEST_RGW") == "1"
START_SECONDS = 90
ACCESS_KEY, SECRET_KEY = "S3BATCHTESTKEY000009", "no-secret-at-all-only-for-tests-0123456"


class Quirk(StrEnum):
    """A deviation from Amazon S3 that a test may have to know of."""

    ACL_LOST = "takes a canned ACL and forgets it"
    ACL_REFUSED = "knows no ACLs"
    CHECKSUM_LOST = "does not give a checksum back (moto: unless x-amz-sdk-checksum-algorithm named it)"
    CHECKSUM_UNVERIFIED = "stores a body whose x-amz-checksum is wrong"
    COMPLETE_ONCE = "completing an upload again is an error"
    CONDITION_IGNORED = "If-None-Match on a PUT is ignored"
    DELETE_CONDITION_IGNORED = "If-Match on a DELETE is ignored"
    EXPIRES_LOST = "forgets Expires"
    KEYS_REFUSED = "cannot hold every key that S3 can"
    RANGE_CHECKSUM = "sends the whole object's checksum with a range"
    MD5_UNVERIFIED = "stores a body whose Content-MD5 is wrong"
    METADATA_RENAMED = "changes the names of user metadata"
    PART_COPY_EMPTY = "answers UploadPartCopy with 200 and no document, and copies nothing"
    MULTIPART_ETAG = "a multipart ETag is not the MD5 of MD5s"
    REDIRECT_LOST = "forgets the website redirect"
    SIGNATURE_UNCHECKED = "accepts a wrong secret"
    SMALL_PARTS = "accepts parts below 5 MiB"
    STORAGE_CLASS_UNCHECKED = "accepts any storage class"
    TAGS_LOST = "forgets tags"
    TRAILER_REFUSED = "answers 411 to a checksum in a trailer"
    UPLOAD_TIMES_UNTRUE = "lists a multipart upload with another time than that at which it was begun (moto: 2010)"


QUIRKS: Mapping[str, frozenset[Quirk]] = {
    "ministack": frozenset({Quirk.SIGNATURE_UNCHECKED, Quirk.SMALL_PARTS}),
    "moto": frozenset(
        {
            Quirk.CHECKSUM_LOST,
            Quirk.CHECKSUM_UNVERIFIED,
            Quirk.KEYS_REFUSED,
            Quirk.MD5_UNVERIFIED,
            Quirk.SIGNATURE_UNCHECKED,
            Quirk.UPLOAD_TIMES_UNTRUE,
        }
    ),
    "rclone": frozenset(
        {
            Quirk.ACL_LOST,
            Quirk.ACL_REFUSED,
            Quirk.CHECKSUM_UNVERIFIED,
            Quirk.COMPLETE_ONCE,
            Quirk.CONDITION_IGNORED,
            Quirk.DELETE_CONDITION_IGNORED,
            Quirk.EXPIRES_LOST,
            Quirk.KEYS_REFUSED,
            Quirk.RANGE_CHECKSUM,
            Quirk.METADATA_RENAMED,
            Quirk.MULTIPART_ETAG,
            Quirk.PART_COPY_EMPTY,
            Quirk.SMALL_PARTS,
            Quirk.STORAGE_CLASS_UNCHECKED,
            Quirk.TAGS_LOST,
            Quirk.TRAILER_REFUSED,
        }
    ),
    "seaweedfs": frozenset({Quirk.ACL_LOST, Quirk.KEYS_REFUSED, Quirk.REDIRECT_LOST}),
    "rgw": frozenset(
        {
            Quirk.CHECKSUM_LOST,
            Quirk.CHECKSUM_UNVERIFIED,
            Quirk.DELETE_CONDITION_IGNORED,
            Quirk.METADATA_RENAMED,
            Quirk.TRAILER_REFUSED,
        }
    ),
}
NAMES = tuple(QUIRKS)


@dataclass(frozen=True, slots=True)
class Server:
    """A running S3 server and how to sign in."""

    name: str
    url: str
    access_key: str
    secret_key: str = field(repr=False)
    pid: int = 0
    region: str = "us-east-1"

    def has(self, quirk: Quirk) -> bool:
        return quirk in QUIRKS[self.name]

    def environment(self) -> dict[str, str]:
        """What a client of this server needs in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
        }


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start one server: program and arguments, environment, and its key pair."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


def ministack(port: int, directory: Path) -> Recipe:
    environment = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    environment |= {"S3_DATA_DIR": f"{directory}/s3", "STATE_DIR": f"{directory}/state"}
    return Recipe(["ministack"], environment, "test", "test")


def moto(port: int, directory: Path) -> Recipe:
    return Recipe(["moto_server", "-H", "127.0.0.1", "-p", str(port)], {}, "test", "test")


def rclone(port: int, directory: Path) -> Recipe:
    data = directory / "data"
    data.mkdir()
    keys = f"{ACCESS_KEY},{SECRET_KEY}"
    return Recipe(
        ["rclone", "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}", "--auth-key", keys, str(data)]
    )


def seaweedfs(port: int, directory: Path) -> Recipe:
    """Its volumes are counted, not measured: by default a disk with little room gets none for a new bucket."""
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (directory / "identities.json").write_text(json.dumps({"identities": [identity]}))
    ports = [f"-{part}.port{kind}={free_port()}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    return Recipe(
        [
            *("weed", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
            *ports,
            *(f"-s3.port={port}", f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={directory}/identities.json", "-master.volumeSizeLimitMB=1024"),
            *("-volume.max=4096", "-volume.minFreeSpace=1MiB"),
        ],
        {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
    )


RECIPES: Mapping[str, Callable[[int, Path], Recipe]] = {
    "ministack": ministack,
    "moto": moto,
    "rclone": rclone,
    "seaweedfs": seaweedfs,
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def installed(name: str) -> str:
    """Path of a server's (or judge's) program; empty when there is none."""
    return shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}") or ""


def missing(name: str) -> str:
    """Why this server cannot be started here; empty when it can."""
    if name == "rgw":
        return "" if WITH_RGW else "set S3BATCH_TEST_RGW=1 to test with Ceph's gateway"
    program = {"moto": "moto_server", "seaweedfs": "weed"}.get(name, name)
    return "" if installed(program) else f"{program} is not installed; ./scripts/test installs it in .venv-servers"


@contextmanager
def running(name: str, directory: Path, **environment: str) -> Iterator[Server]:
    """The server ``name``, from answering its first request to the end of the block."""
    if name == "rgw":
        yield ceph_gateway()
        return
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[name](port, directory)
    url = f"{'https' if environment.get('USE_SSL') else 'http'}://127.0.0.1:{port}"
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _dies_with_us([installed(recipe.arguments[0]), *recipe.arguments[1:]]),
            env=_plain_environment(directory) | recipe.environment | environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_answer(name, port, process, log)
        yield Server(name, url, recipe.access_key, recipe.secret_key, process.pid)
    finally:
        _stop(process)


def ceph_gateway() -> Server:
    """The cluster of scripts/start_rgw.sh, started if need be; it stays, for the next run starts in no time."""
    script = ROOT / "scripts" / "start_rgw.sh"
    output = subprocess.run([script, "start"], check=True, capture_output=True, text=True, timeout=600).stdout
    settings = dict(line.removeprefix("export ").split("=", 1) for line in output.splitlines() if "=" in line)
    return Server("rgw", settings["AWS_ENDPOINT_URL"], settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"])


def _plain_environment(directory: Path) -> dict[str, str]:
    """Nothing of the caller's: a server must not read his AWS configuration or write to his home."""
    return {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(directory), "LANG": "C.UTF-8", "TMPDIR": str(directory)}


def _dies_with_us(arguments: list[str]) -> list[str]:
    """Where the system can do that, a server ends with the tests even when they are killed."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--", *arguments] if setpriv else arguments


def _await_answer(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the port answers HTTP; SeaweedFS answers 503 while its parts have not found one another."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _status(port) not in (0, 503):
            return
        time.sleep(0.05)
    _stop(process)
    raise RuntimeError(f"{name} did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _status(port: int) -> int:
    """What GET / answers; 0: nothing. A TLS server's refusal of plain HTTP is an answer too."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0
    except (OSError, ValueError):
        return 400


def _stop(process: subprocess.Popen[bytes]) -> None:
    """At once: their data is thrown away, and SeaweedFS takes its time to say good-bye."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
