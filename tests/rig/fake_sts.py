"""A security token service for the fake S3: it gives away keys, which the fake then lets in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from tests.rig.fake_s3 import FakeS3, Reply, Seen


@dataclass
class FakeSts:
    """Gives away keys, numbered, and keeps what it was asked."""

    fake: FakeS3
    lasts: timedelta = timedelta(hours=1)
    refuses: str = ""
    asked: list[tuple[dict[str, str], str]] = field(default_factory=list)
    """Parameters, and the access key that signed; empty for none."""

    def __call__(self, request: Seen) -> Reply | None:
        if request.target != "/":
            return None
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        signed = request.headers.get("authorization", "")
        self.asked.append((form, signed.partition("Credential=")[2].partition("/")[0]))
        if self.refuses:
            return Reply(403, {}, f"<ErrorResponse><Error><Code>{self.refuses}</Code></Error></ErrorResponse>".encode())
        key = f"ASSUMED{len(self.asked)}"
        self.fake.keys[key] = "assumed-secret"
        expiry = (datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = form["Action"]
        return Reply(
            200,
            {"content-type": "text/xml"},
            f"<{name}Response><{name}Result><Credentials><AccessKeyId>{key}</AccessKeyId>"
            f"<SecretAccessKey>assumed-secret</SecretAccessKey><SessionToken>token of {key}</SessionToken>"
            f"<Expiration>{expiry}</Expiration></Credentials></{name}Result></{name}Response>".encode(),
        )
