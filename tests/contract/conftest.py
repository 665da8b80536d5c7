"""The tests of calls and work run on each S3 there is on this machine, the fake among them, and through both lanes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3batch.s3.bucket import Bucket
from s3batch.s3.credentials import connect_to_bucket
from s3batch.settings.table import Settings
from tests.contract.scene import Scene
from tests.rig import buckets, fake_s3, servers
from tests.rig.servers import QUIRKS, Quirk

LANES = ("lean", "reference")
PLACES = ("fake", *servers.NAMES)
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Store:
    """One bucket on one S3 through one lane, and what is known of that S3."""

    place: str
    lane: str
    settings: Settings
    bucket: Bucket
    prefix: str
    """Of the test's own keys: the bucket is shared."""

    def key(self, name: str) -> str:
        """A key of this test's own."""
        return self.prefix + name

    def open(self, **changes: Any) -> Bucket:
        """The same bucket with other settings."""
        return Bucket(*connect_to_bucket(settings_with(self.settings, **changes), self.settings.bucket), tries=4)

    def has(self, quirk: Quirk) -> bool:
        """Whether this S3 is known to differ from Amazon's in this."""
        return quirk in QUIRKS.get(self.place, ())

    def keys(self, prefix: str = "") -> list[str]:
        """What the listing shows of this test's keys, without their prefix."""
        pages = self.bucket.list_objects(self.key(prefix))
        return [each.key.removeprefix(self.prefix) for page in pages for each in page.objects]


def settings_with(settings: Settings, **changes: Any) -> Settings:
    """The settings with some of them changed."""
    return Settings(**{name: getattr(settings, name) for name in _USED} | changes)


_USED = ("bucket", "endpoint_url", "access_key", "secret_key", "session_token", "region", "lane", "timeout", "checksum")


@dataclass(slots=True)
class Places:
    """Each S3 with a bucket made once, and one open :class:`Bucket` for each lane."""

    fake: fake_s3.FakeS3
    server_named: Callable[[str], servers.Server]
    _settings: dict[str, dict[str, str]] = field(default_factory=dict)
    _made: list[buckets.Bucket] = field(default_factory=list)
    _open: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def store(self, place: str, lane: str) -> Store:
        """That S3 through that lane."""
        settings = Settings(**self._bucket_at(place), region="us-east-1", lane=lane, timeout=20.0)
        if (place, lane) not in self._open:
            self._open[place, lane] = Bucket(*connect_to_bucket(settings, settings.bucket), tries=4)
        return Store(place, lane, settings, self._open[place, lane], f"test-{next(_NUMBERS)}/")

    def _bucket_at(self, place: str) -> dict[str, str]:
        if place not in self._settings:
            self._settings[place] = self._fake() if place == "fake" else self._real(place)
        return self._settings[place]

    def _fake(self) -> dict[str, str]:
        name, keys = f"fake-{uuid.uuid4().hex[:8]}", (fake_s3.ACCESS_KEY, fake_s3.SECRET_KEY)
        return {"bucket": name, "endpoint_url": self.fake.url, "access_key": keys[0], "secret_key": keys[1]}

    def _real(self, place: str) -> dict[str, str]:
        made = buckets.make_bucket(self.server_named(place))
        self._made.append(made)
        keys = {"access_key": made.server.access_key, "secret_key": made.server.secret_key}
        return {"bucket": made.name, "endpoint_url": made.server.url, **keys}

    def close(self) -> None:
        """Close what is open, and leave no bucket where the server stays (Ceph's gateway)."""
        for bucket in self._open.values():
            bucket.close()
        for made in self._made:
            if made.server.name == "rgw":
                buckets.remove_bucket(made)


@pytest.fixture(scope="session")
def fake() -> Iterator[fake_s3.FakeS3]:
    """The fake S3, running."""
    with fake_s3.FakeS3() as running:
        yield running


@pytest.fixture(scope="session")
def places(fake, server_named) -> Iterator[Places]:
    """Every S3 of this run."""
    made = Places(fake, server_named)
    yield made
    made.close()


@pytest.fixture(params=[pytest.param((place, lane), id=f"{place}-{lane}") for place in PLACES for lane in LANES])
def store(request, places) -> Store:
    """Keys of its own for each test, on each S3, through each lane."""
    return places.store(*request.param)


@pytest.fixture
def scene(tmp_path, monkeypatch) -> Iterator[Scene]:
    """A fake S3 of the test's own, and an empty source."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with fake_s3.FakeS3() as running:
        yield Scene(running, tmp_path)
