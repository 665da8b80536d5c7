"""Samples of the course of a job: bounded, ever coarser, never cut off."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from s3batch.journal import Journal
from s3batch.journal.limits import JournalLimits


def opened(tmp_path: Path, most: int = 10) -> Journal:
    return Journal.open(str(tmp_path / "journal.db"), limits=JournalLimits(samples=most, sample_every=1.0))


def begin(journal: Journal) -> None:
    journal.jobs.begin("sync", "/src", "b/", "", {}, "1")


def test_one_is_taken_when_its_time_has_come(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        begin(journal)
        journal.jobs.add_tally(requests={"PutObject": 3})
        for tenth in range(25):
            journal.samples.take(100 + tenth / 10, tenth, tenth * 10, 0)

        assert [(each.at, each.operations, each.bytes, each.requests) for each in journal.samples.read()] == [
            (100.0, 0, 0, 3), (101.0, 10, 100, 3), (102.0, 20, 200, 3),
        ]  # fmt: skip


def test_a_long_job_has_a_coarser_picture_from_its_first_moment_to_its_last(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        begin(journal)
        for second in range(1000):
            journal.samples.take(second + 100.0, second, 0, 0)
        journal.samples.take(1099.5, 1000, 0, 0, last=True)
        found = [each.at for each in journal.samples.read()]

    assert 5 <= len(found) <= 10
    assert (found[0], found[-1]) == (100.0, 1099.5)
    gaps = [later - sooner for sooner, later in pairwise(found)]
    assert max(gaps) <= 3 * 1000 / 5


def test_many_short_jobs_leave_no_more_rows_than_one_long_one(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for number in range(40):
            begin(journal)
            journal.samples.take(number * 10.0, 0, 0, 0)
            journal.samples.take(number * 10.0 + 0.5, 1, 1, 0, last=True)

            assert len(journal.samples.read()) == 2, "the job at work keeps its own"
            assert journal._store.value("SELECT count(*) FROM sample") <= 10


def test_a_job_that_is_forgotten_takes_its_samples_along(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        begin(journal)
        journal.samples.take(1.0, 0, 0, 0)
        journal.jobs.forget(journal.jobs.current)

        assert journal._store.value("SELECT count(*) FROM sample") == 0
