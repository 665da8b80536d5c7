"""Limits of size and age: which files and objects are left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.base.errors import SettingsError
from s3batch.cli.loading import settings_of
from s3batch.source.filters import Selection
from s3batch.source.size_and_age import FileLimits
from s3batch.source.walk import walk_source

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("limits", "size", "age", "hidden"),
    [
        pytest.param({}, 0, 0, False, id="none"),
        pytest.param({"min_size": 5}, 4, 0, True, id="too small"),
        pytest.param({"min_size": 5}, 5, 0, False, id="just large enough"),
        pytest.param({"max_size": 5}, 6, 0, True, id="too large"),
        pytest.param({"max_size": 5}, 5, 0, False, id="just small enough"),
        pytest.param({"min_age": 60}, 0, 59, True, id="too young"),
        pytest.param({"min_age": 60}, 0, -5, True, id="of the future"),
        pytest.param({"min_age": 60}, 0, 60, False, id="just old enough"),
        pytest.param({"max_age": 60}, 0, 61, True, id="too old"),
        pytest.param({"max_age": 60}, 0, 60, False, id="just young enough"),
        pytest.param({"max_age": 60}, 0, -5, False, id="of the future, which is young"),
        pytest.param({"max_age": 60, "min_size": 5}, 4, 0, True, id="one of two"),
    ],
)
def test_what_is_beyond_a_limit_is_hidden(limits: dict[str, float], size: int, age: float, hidden: bool) -> None:
    found = FileLimits(**limits, now=NOW)

    assert found.hides(size, NOW - age) is hidden
    assert found.hides(size, 500 - age, now=500.0) is hidden
    assert bool(found) is bool(limits)


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--min-size", "2MiB", "--max-size", "1MiB"], "min_size cannot be '2097152'.*max_size, which is 1 MiB"),
        (["--min-age", "2d", "--max-age", "1d"], "min_age cannot be.*max_age, which is 1d"),
    ],
)
def test_limits_that_no_file_can_keep_are_wrong_settings(flags: list[str], wrong: str) -> None:
    settings = settings_of("sync", ["t", "s3://b", *flags], {"HOME": "/none"})

    with pytest.raises(SettingsError, match=wrong):
        FileLimits.from_settings(settings)


def test_a_plain_number_of_an_age_is_days() -> None:
    settings = settings_of(
        "sync", ["t", "s3://b", "--max-age", "2", "--min-age", "90s", "--max-size", "1K"], {"HOME": "/x"}
    )

    assert FileLimits.from_settings(settings, NOW) == FileLimits(max_size=1024, min_age=90, max_age=172_800, now=NOW)


def test_the_walk_keeps_the_keys_of_hidden_files(tmp_path: Path) -> None:
    for name, size, age in (("small", 1, 0), ("large", 9, 0), ("old", 5, 99), ("right", 5, 0)):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (NOW, NOW - age))
    (tmp_path / "directory").mkdir()
    limits = FileLimits(min_size=2, max_size=8, max_age=10, now=NOW)

    walked = walk_source(str(tmp_path), Selection(), limits=limits)

    assert [file.path for file in walked] == ["right"]
    assert walked.take_kept() == {"small", "large", "old"}
    assert (walked.hidden, walked.complete, list(walked.warnings())) == (3, True, [])
    assert walked.look("old") is None
    assert walked.take_problems() == []  # it is no failure of a job that planned it before
    assert list(walk_source(str(tmp_path / "old"), Selection(), limits=limits)) == []
