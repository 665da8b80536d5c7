from __future__ import annotations

import pickle

import pytest

from s3batch.base.errors import SettingsError
from s3batch.objects.target import Target, normalise_target
from s3batch.settings.table import Settings


@pytest.mark.parametrize(
    ("target", "prefix"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("/", "", id="the default: the bucket itself"),
        pytest.param("site", "site/", id="plain"),
        pytest.param("/target/location", "target/location/", id="the example of the docs"),
        pytest.param("/site/", "site/", id="a slash at the end"),
        pytest.param("//dbl", "dbl/", id="two slashes in front"),
        pytest.param("a//b///c", "a/b/c/", id="two slashes inside"),
        pytest.param("./a/./b/.", "a/b/", id="dots"),
        pytest.param("a..b", "a..b/", id="two dots in a name are a name"),
        pytest.param("a b+c%", "a b+c%/", id="all else stays"),
    ],
)
def test_the_prefix_is_empty_or_ends_with_one_slash(target: str, prefix: str) -> None:
    found = normalise_target("bucket", target)

    assert found.prefix == prefix
    assert found.key("x/a.txt") == f"{prefix}x/a.txt"


@pytest.mark.parametrize("target", ["..", "../up", "a/../b", "a/.."])
def test_a_target_that_goes_up_is_refused(target: str) -> None:
    settings = Settings(bucket="b", target=target, origins={"target": "PLUGIN_TARGET"})

    with pytest.raises(SettingsError, match=r"without '\.\.'"):
        normalise_target("b", target)
    with pytest.raises(SettingsError, match=r"target cannot be '.*' \(from PLUGIN_TARGET\)"):
        Target.from_settings(settings)


def test_a_target_that_is_no_text_is_refused() -> None:
    settings = Settings(bucket="b", target="a/\udcff", origins={"target": "PLUGIN_TARGET"})

    with pytest.raises(SettingsError, match=r"target cannot be 'a/\\udcff' \(from PLUGIN_TARGET\); write it in UTF-8"):
        Target.from_settings(settings)


@pytest.mark.parametrize(
    ("bucket", "name"),
    [
        pytest.param("my-bucket.s3-website-us-east-1.amazonaws.com", "my-bucket", id="the example of the docs"),
        pytest.param("my-bucket.s3-website.eu-central-1.amazonaws.com", "my-bucket", id="the newer regions' form"),
        pytest.param("www.example.com.s3-website-us-west-2.amazonaws.com", "www.example.com", id="a name with dots"),
        pytest.param("b.s3-website.cn-north-1.amazonaws.com.cn", "b", id="China"),
        pytest.param("B.S3-Website-us-east-1.AmazonAWS.com", "B", id="host names have no case"),
    ],
)
def test_the_host_name_of_a_website_stands_for_its_bucket_with_one_warning(bucket: str, name: str) -> None:
    target = Target.from_settings(Settings(bucket=bucket))

    assert target.bucket == name
    assert target.warnings == (f"bucket {bucket} is the host name of a website; its bucket is {name}",)


@pytest.mark.parametrize("bucket", ["plain", "with.dots", "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"])
def test_any_other_bucket_is_itself(bucket: str) -> None:
    target = Target.from_settings(Settings(bucket=bucket))

    assert (target.bucket, target.warnings) == (bucket, ())


@pytest.mark.parametrize(
    ("bucket", "hint"),
    [
        pytest.param("", "name the bucket", id="none"),
        pytest.param("bucket/prefix", "the bucket's name alone", id="with a prefix"),
        pytest.param("s3://bucket", "the bucket's name alone", id="a URL"),
    ],
)
def test_a_bucket_that_is_none_is_a_settings_error(bucket: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"bucket cannot be .*{hint}"):
        Target.from_settings(Settings(bucket=bucket))


def test_normalise_refuses_a_bucket_with_a_prefix_by_itself() -> None:
    with pytest.raises(SettingsError, match="bucket 'a/b' is not a valid bucket name"):
        normalise_target("a/b", "")


@pytest.mark.parametrize(
    ("target", "key"),
    [
        pytest.param("t", "t", id="the target itself is the key"),
        pytest.param("/dir/renamed.bin", "dir/renamed.bin", id="with directories"),
        pytest.param("dir/", "dir/app.bin", id="a slash at the end: below it"),
        pytest.param("/", "app.bin", id="the bucket"),
        pytest.param("", "app.bin", id="empty"),
        pytest.param("a//b/.", "a/b", id="normalised as always"),
    ],
)
def test_one_file_goes_to_the_target_itself_unless_that_is_a_directory(target: str, key: str) -> None:
    assert normalise_target("bucket", target).key_of_single("app.bin") == key


@pytest.mark.parametrize(
    ("strip_prefix", "path", "key"),
    [
        pytest.param("", "public/a", "t/public/a", id="not set"),
        pytest.param("public/", "public/a", "t/a", id="a directory"),
        pytest.param("public", "public/a", "t/a", id="without its slash: no key gets two"),
        pytest.param("/public/", "public/a", "t/a", id="with a slash in front"),
        pytest.param("./public/", "public/a", "t/a", id="with a dot in front"),
        pytest.param("pub", "public/a", "t/lic/a", id="any text, as drone-s3 does"),
        pytest.param("public/", "private/public/a", "t/private/public/a", id="only from the front"),
        pytest.param("*/", "v1/a/b", "t/a/b", id="a star is one segment"),
        pytest.param("**/dist/", "x/y/dist/a", "t/a", id="two stars are several"),
        pytest.param("v?/", "v2/a", "t/a", id="a question mark is one character"),
        pytest.param("v?/", "v/a", "t/v/a", id="and no slash"),
        pytest.param("a.b/", "aXb/c", "t/aXb/c", id="a dot is a dot"),
        pytest.param("public/a", "public/a", "t/public/a", id="what would vanish stays"),
    ],
)
def test_strip_prefix_takes_away_the_front_of_the_path(strip_prefix: str, path: str, key: str) -> None:
    assert Target.from_settings(Settings(bucket="b", target="t", strip_prefix=strip_prefix)).key(path) == key


def test_a_single_file_below_a_directory_is_stripped_too() -> None:
    assert normalise_target("b", "t/", "app-").key_of_single("app-1.bin") == "t/1.bin"


def test_a_target_survives_pickling() -> None:
    target = normalise_target("b", "t", "*/")

    assert pickle.loads(pickle.dumps(target)) == target


@pytest.mark.parametrize(
    ("target", "url"), [("", "s3://b"), ("site", "s3://b/site"), ("/site//docs/", "s3://b/site/docs")]
)
def test_messages_name_a_target_in_one_form(target, url):
    assert Target.from_settings(Settings(bucket="b", target=target)).url == url
