"""A fake S3, a source, and runs of the whole program in this process."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s3batch.cli import main
from tests.rig import fake_s3
from tests.rig.fake_s3 import FakeS3, Manners, Stored

MIB = 1 << 20
DENIED, UNSUPPORTED, UNKNOWN = (403, "AccessDenied"), (405, "MethodNotAllowed"), (501, "NotImplemented")
FOR_GOOD = pytest.mark.parametrize("refusal", [DENIED, UNSUPPORTED, UNKNOWN], ids=["403", "405", "501"])


@dataclass(frozen=True)
class Ran:
    """What one run came to."""

    code: int
    out: str
    err: str
    requests: Counter[str]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Scene:
    """A fake S3, a source, and runs of the program in this process."""

    def __init__(self, fake: FakeS3, root: Path) -> None:
        self.fake, self.root, self.source = fake, root, root / "source"
        self.source.mkdir()

    def write(self, files: dict[str, bytes], when: float = 1_700_000_000) -> None:
        for name, body in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            os.utime(path, (when, when))

    def run(self, *arguments: str, fresh: bool = False) -> Ran:
        """Run one command; ``fresh``: with a journal that knows nothing."""
        state = self.root / ("state-fresh" if fresh else "state")
        if fresh and state.exists():
            for path in state.rglob("*.db*"):
                path.unlink()
        environment = {
            "AWS_ACCESS_KEY_ID": fake_s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": fake_s3.SECRET_KEY,
            "AWS_ENDPOINT_URL": self.fake.url, "AWS_DEFAULT_REGION": "us-east-1", "XDG_STATE_HOME": str(state),
            "HOME": str(self.root),
        }  # fmt: skip
        out, err = io.StringIO(), io.StringIO()
        self.fake.requests.clear()
        code = main(list(arguments), environment, out, err)
        return Ran(code, out.getvalue(), err.getvalue(), Counter(seen.name for seen in self.fake.requests))

    def sync(self, *arguments: str, fresh: bool = False, target: str = "s3://bucket/site") -> Ran:
        words = ["sync", str(self.source), target, "--retries", "3", "--executor", "inline", *arguments]
        return self.run(*words, fresh=fresh)

    @property
    def objects(self) -> dict[str, Stored]:
        return self.fake.objects.setdefault("bucket", {})

    def manners(self, **changes: Any) -> None:
        self.fake.manners = Manners(**changes)
