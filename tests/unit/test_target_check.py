"""Whether another machine writes to the same directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from s3batch import __version__
from s3batch.executors.dask import hosted_worker
from s3batch.executors.dask.shared_place import SharedTarget
from s3batch.executors.dask.target_check import ProbeWriter, ViewAnswer, answer_probe


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def writer(site: Path) -> ProbeWriter:
    return ProbeWriter(str(site))


def copy_of(site: Path, other: Path) -> Path:
    """Another directory that shows what the first one holds now: a copy-on-write mount."""
    for path in site.rglob("*"):
        copied = other / path.relative_to(site)
        if path.is_dir():
            copied.mkdir(parents=True, mode=0o700)
        else:
            copied.write_bytes(path.read_bytes())
    return other


def test_a_worker_and_the_coordinator_read_what_the_other_has_written(site):
    place = SharedTarget(str(site))
    view = place.make_view()

    answer = asyncio.run(hosted_worker.check_coordinator_view(view))

    assert view.version == __version__
    assert (answer.trouble, place.find_trouble(answer, "w")) == ("", "")
    place.close()
    assert list(site.iterdir()) == []


def test_a_probe_is_written_once_and_again_if_something_removes_it(writer, site):
    first, second = writer.write_probe(), writer.write_probe()
    (site / ".s3batch" / "tmp" / first.name).unlink()
    third = writer.write_probe()

    assert first == second
    assert third.name != first.name


def test_another_directory_is_noticed_and_nothing_is_made_in_it(writer, tmp_path):
    probe = writer.write_probe()
    (tmp_path / "other").mkdir()

    answer = answer_probe(probe._replace(root=str(tmp_path / "other")))

    assert f"has another directory at {tmp_path / 'other'}" in answer.trouble
    assert list((tmp_path / "other").iterdir()) == []
    assert f"has no {tmp_path / 'none'}" in answer_probe(probe._replace(root=str(tmp_path / "none"))).trouble


def test_a_copy_that_shows_the_probe_but_keeps_what_is_written_is_noticed(writer, site, tmp_path):
    probe = writer.write_probe()
    other = copy_of(site, tmp_path / "other")

    answer = answer_probe(probe._replace(root=str(other)))

    assert answer.trouble == ""
    assert "is not there on" in writer.find_trouble(answer, "the worker")


def test_another_content_is_noticed(writer, site):
    probe = writer.write_probe()
    (site / ".s3batch" / "tmp" / probe.name).write_bytes(b"old")

    assert "has other content for" in answer_probe(probe).trouble


@pytest.mark.parametrize("wrote", ["", "probe-of-another.1", "../../etc/passwd"])
def test_an_answer_that_names_no_file_of_this_probe_is_trouble(writer, wrote):
    writer.write_probe()

    assert writer.find_trouble(ViewAnswer(wrote=wrote), "w") == "w has written nothing"
