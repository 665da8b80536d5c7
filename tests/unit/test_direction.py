"""Which side of a sync is in S3, what the source's store is asked with, and pairs that no sync can have."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from s3batch.base.errors import SettingsError
from s3batch.objects.target import Target
from s3batch.plan.backup_spec import parse_backup
from s3batch.settings.direction import (
    Direction,
    find_direction,
    parse_source_place,
    require_two_places,
    settings_of_source,
)
from s3batch.settings.endpoint_names import may_be_one_endpoint
from s3batch.settings.table import Settings


def make(source: str, target: str = "", bucket: str = "", **more) -> Settings:
    """The settings as the command line leaves them: a target in S3 is bucket and prefix."""
    values = {"source": source, "bucket": bucket, **({"target": target} if target else {}), **more}
    return Settings(**values, origins={name: f"--{name}" for name, value in values.items() if value})


@pytest.mark.parametrize(
    ("settings", "direction"),
    [
        pytest.param(make("tree", "site", "b"), Direction.UPLOAD, id="a tree to a prefix"),
        pytest.param(make("s3://b/p", "site"), Direction.DOWNLOAD, id="S3 to a directory"),
        pytest.param(make("s3://b/p", "/site"), Direction.DOWNLOAD, id="S3 to an absolute directory"),
        pytest.param(make("s3://b/p", "site", "c"), Direction.TRANSFER, id="S3 to S3"),
        pytest.param(make("s3://b/p", "", "c"), Direction.TRANSFER, id="S3 to the root of a bucket"),
        pytest.param(make("-", "key", "b"), Direction.STREAM, id="stdin to S3"),
        pytest.param(make("s3://b/key", "-"), Direction.STREAM, id="S3 to stdout"),
    ],
)
def test_the_direction_is_told_from_source_target_and_bucket(settings, direction):
    assert find_direction(settings) is direction


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(make("a", "b"), "'a' and target 'b' are both local", id="local to local"),
        pytest.param(make("s3://b/p"), "target is missing", id="S3 to nowhere"),
        pytest.param(make("s3:///p", "dir"), "source cannot be 's3:///p'", id="no bucket in the source"),
        pytest.param(make("s3://b/p", "p", "b"), "the same place", id="the same place"),
        pytest.param(make("s3://b/p/", "/p", "b"), "the same place", id="the same place in another spelling"),
        pytest.param(make("s3://b", "", "b"), "the same place", id="a whole bucket to itself"),
        pytest.param(make("s3://b/p", "p/q", "b"), "is inside the source", id="a target inside the source"),
        pytest.param(make("s3://b", "p", "b"), "is inside the source", id="a target inside the bucket"),
        pytest.param(
            make("s3://b/p/q", "p", "b", delete=True), "--delete would delete it", id="a source to be deleted"
        ),
        pytest.param(make("-", "dir"), "no key in S3", id="stdin to a directory"),
        pytest.param(make("-", "", "b"), "its key is missing", id="stdin to a bucket"),
        pytest.param(make("-", "dir/", "b"), "its key is missing", id="stdin to a prefix"),
        pytest.param(make("s3://b/dir/", "-"), "its key is missing", id="a prefix to stdout"),
    ],
)
def test_pairs_that_no_sync_can_have_are_refused(settings, words):
    with pytest.raises(SettingsError) as refused:
        require_two_places(settings)

    assert words in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(make("s3://b/p/q", "p", "b"), id="a source inside the target, without delete"),
        pytest.param(make("s3://b/page", "pages", "b"), id="names that begin alike"),
        pytest.param(make("s3://b/p", "p", "c"), id="another bucket"),
        pytest.param(
            make("s3://b/p", "p", "b", endpoint_url="http://one", source_endpoint_url="http://two"),
            id="another endpoint",
        ),
        pytest.param(make("s3://b/key", "-"), id="a key to stdout"),
    ],
)
def test_other_pairs_are_taken(settings):
    require_two_places(settings)


KEYS = {"access_key": "AK", "secret_key": "SK", "session_token": "T", "assume_role": "arn:role"}


def test_a_source_at_the_same_endpoint_is_reached_as_the_target():
    settings = make("s3://b/p", "p", "c", endpoint_url="http://one", region="r", path_style=True, **KEYS)

    source = settings_of_source(settings)

    assert (source.bucket, source.endpoint_url, source.region, source.path_style) == ("b", "http://one", "r", True)
    assert all(getattr(source, name) == value for name, value in KEYS.items())


def test_no_credential_of_the_target_goes_to_another_endpoint():
    settings = make("s3://b/p", "p", "c", endpoint_url="http://one", source_endpoint_url="http://two", **KEYS)

    with pytest.raises(SettingsError, match="no credentials are named for it"):
        settings_of_source(settings)


@pytest.mark.parametrize(
    "named",
    [
        pytest.param({"source_access_key": "A2", "source_secret_key": "S2"}, id="a key pair"),
        pytest.param({"source_profile": "two"}, id="a profile"),
    ],
)
def test_credentials_that_are_named_for_the_source_go_alone(named):
    settings = make("s3://b/p", "p", "c", region="r", source_endpoint_url="http://two", **KEYS, **named)

    source = settings_of_source(settings)

    assert source.endpoint_url == "http://two"
    assert {f"source_{name}": getattr(source, name) for name in ("access_key", "secret_key", "profile")} == {
        "source_access_key": "", "source_secret_key": "", "source_profile": "", **named,
    }  # fmt: skip
    assert (source.session_token, source.assume_role, source.region) == ("", "", "")


def test_a_download_has_one_store_whose_endpoint_may_be_named_for_the_source():
    source = settings_of_source(make("s3://b/p", "dir", source_endpoint_url="http://two", **KEYS))

    assert (source.endpoint_url, source.access_key) == ("http://two", "AK")


@pytest.mark.parametrize(
    ("written", "prefix"),
    [("s3://b", ""), ("s3://b/", ""), ("s3://b/p", "p/"), ("s3://b/p/", "p/"), ("s3://b/p//q", "p//q/")],
)
def test_the_prefix_of_a_source_is_read_as_it_is_written(written, prefix):
    assert parse_source_place(make(written, "dir")).prefix == prefix


ALIASES = [
    ("http://localhost:9000", "http://127.0.0.1:9000", True),
    ("http://[::1]:9000", "http://LOCALHOST:9000/", True),
    ("http://127.1:9000", "http://localhost.:9000", True),
    ("http://2130706433:9000", "http://127.0.0.1:9000", True),
    ("http://[::ffff:127.0.0.1]:9000", "http://0.0.0.0:9000", True),
    ("http://[0:0::1]:9000", "http://[::]:9000", True),
    ("http://10.1:9000", "http://10.0.0.1:9000", True),
    ("http://127.0.0.2:9000", "http://127.0.0.1:9000", False),
    ("http://[fe80::1%25eth0]:9000", "http://[fe80::1]:9000", False),
    ("https://store.example", "https://Store.Example:443/", True),
    ("store.example", "https://store.example", True),
    ("http://store.example", "http://store.example:80", True),
    ("http://store.example", "https://store.example", False),
    ("http://store.example:9000", "http://store.example:9001", False),
    ("http://store.example/a", "http://store.example/b", False),
    ("http://a.example", "http://b.example", False),
    ("https://s3.eu-central-1.amazonaws.com", "", True),
    ("https://store.example", "", False),
    ("http://[broken", "http://[broken", True),
]


@pytest.mark.parametrize(("source", "target", "is_one"), ALIASES)
def test_one_store_under_two_names_is_no_way_round_these_checks(source, target, is_one):
    more = {"source_endpoint_url": source, "endpoint_url": target}
    assert may_be_one_endpoint(source, target) is may_be_one_endpoint(target, source) is is_one
    for settings in (make("s3://b/p", "p", "b", **more), make("s3://b/p/q", "p", "b", delete=True, **more)):
        with pytest.raises(SettingsError) if is_one else nullcontext():
            require_two_places(settings)


@pytest.mark.parametrize(
    ("source", "endpoint", "is_refused"),
    [
        pytest.param("s3://b/a", "", True, id="inside the source"),
        pytest.param("s3://b/a/", "http://localhost:9/", True, id="at the same endpoint in another spelling"),
        pytest.param("s3://b/a", "http://two:9", False, id="at another endpoint"),
        pytest.param("s3://b/a/bak/job", "", False, id="around the source"),
        pytest.param("s3://b/a/ba", "", False, id="a name that begins alike"),
        pytest.param("s3://other/a", "", False, id="in another bucket"),
        pytest.param("a", "", False, id="beside a directory"),
    ],
)
def test_a_backup_lies_beside_the_source_too(source, endpoint, is_refused):
    settings = make(
        source, "c", "b", backup="s3://b/a/bak", endpoint_url="http://127.0.0.1:9", source_endpoint_url=endpoint
    )

    with pytest.raises(SettingsError, match="beside the source") if is_refused else nullcontext():
        assert parse_backup(settings, Target.from_settings(settings)).prefix == "a/bak/"
