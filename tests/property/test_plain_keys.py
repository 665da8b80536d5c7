"""Keys told at once to be plain orphans are orphans by every rule for one key."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3batch.objects.own_keys import is_own_key
from s3batch.plan.plain_keys import are_plain_keys
from s3batch.plan.spec import SyncSpec
from s3batch.settings.table import Settings

SEGMENTS = st.sampled_from(
    ["a", "b.html", ".x", "", ".", "..", ".s3batch", ".s3batchignore", "hidden", "two\nlines", "\n", "\udce9"]
)
KEYS = st.lists(st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=4)
JOBS = st.sampled_from(
    [{}, {"exclude": ("*.html",)}, {"include": ("a/*",)}, {"strip_prefix": "a"}, {"prefix": "/odd"}, {"prefix": ""}]
)


def make_spec(folder: str, job: dict) -> SyncSpec:
    (Path(folder) / "a").mkdir()
    (Path(folder) / "a" / ".s3batchignore").write_text("hidden\n")
    place = {"target": "site", **{"target" if name == "prefix" else name: value for name, value in job.items()}}
    return SyncSpec.from_settings(Settings(bucket="bucket", source=folder, **place))


@settings(max_examples=200, deadline=None)
@given(keys=KEYS, job=JOBS)
@example(keys=["a/b.html", "c/d"], job={})
def test_plain_keys_are_selected_and_nobodys_own(keys: list[str], job: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = make_spec(folder, job)
        names = [wanted.prefix + key for key in keys]
        if are_plain_keys(wanted, names):
            for name in names:
                assert wanted.selects(name)
                assert not is_own_key(name)
                assert not name.endswith("/")
                assert not name.startswith("/")


@pytest.mark.parametrize(
    ("keys", "plain"),
    [
        (["b/c", "c", "b/two\nlines"], True),
        (["b/c", "a/c"], False),
        (["b/c", ".c"], False),
        (["b/.c/d"], False),
        (["b/"], False),
        (["/b"], False),
    ],
)
def test_keys_are_plain_where_no_rule_is_about_one(tmp_path: Path, keys: list[str], plain: bool) -> None:
    wanted = make_spec(str(tmp_path), {})

    assert are_plain_keys(wanted, [f"site/{key}" for key in keys]) is plain
