"""What is held in memory does not grow with the files: kept paths, problems, the plan, deletes, gzip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.model import Kind, ListedObject, Operation
from s3batch.plan import deletes
from s3batch.plan.planner import BATCH, Planner
from s3batch.plan.spec import SyncSpec
from s3batch.reporting.progress import Totals
from s3batch.settings.table import Settings

COUNT = 4 * BATCH


@pytest.fixture
def journal(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", str(tmp_path / "tree"), "bucket/site/", "http://s3", {}, "1")
        yield journal


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def wanted(tree: Path, **settings) -> SyncSpec:
    return SyncSpec.from_settings(Settings(source=str(tree), bucket="bucket", target="site", delete=True, **settings))


def planned(what: SyncSpec, journal: Journal) -> tuple[Planner, list[Operation], int]:
    """Plan to the end; return the operations, and how many paths the walk held at most between two steps."""
    planning, operations, most = Planner(what, journal, Totals()), [], 0

    def add(some: list[Operation]) -> None:
        operations.extend(journal.operations.add(some))

    for _ in planning.steps(add, lambda _: None, iter(())):
        if planning.walked is not None:
            most = max(most, len(planning.walked.kept.paths) + len(planning.walked.problems))
    return planning, operations, most


def list_orphans(journal: Journal, *keys: str) -> None:
    journal.objects.begin_listing()
    journal.objects.record_listing([ListedObject(key, 1, "e", 1.0) for key in keys])
    journal.objects.complete_listing()


def orphans(what: SyncSpec, journal: Journal) -> set[str]:
    return {each.key for each in deletes.find_deletable_objects(what, journal)}


def test_paths_that_are_kept_are_in_the_journal_and_not_in_memory(tree, journal):
    for number in range(COUNT):
        os.symlink("nowhere", tree / f"link{number}")
    what = wanted(tree, symlinks="skip")
    list_orphans(journal, "site/link7", f"site/link{COUNT - 1}/below/it", "site/links", "site/other")

    planning, operations, most = planned(what, journal)

    assert (most, operations) == (0, [])
    assert planning.walked.skipped["a symbolic link (symlinks: skip)"].count == COUNT
    assert orphans(what, journal) == {"site/links", "site/other"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_problems_are_in_the_journal_and_not_in_memory(tree, journal, dry_run):
    for number in range(COUNT):
        os.symlink("nowhere", tree / f"link{number}")
    what = wanted(tree, dry_run=dry_run)
    list_orphans(journal, "site/link7", "site/other")

    planning, operations, most = planned(what, journal)

    assert most == 0
    assert planning.walked.troubled == COUNT
    assert len(operations) == (0 if dry_run else COUNT)
    assert journal.outcomes.count_failed(9) == (COUNT if dry_run else 0)
    assert orphans(what, journal) == {"site/other"}


@pytest.mark.parametrize(
    ("strip", "kept"),
    [("", "site/a/broken"), ("a", "site/broken")],
)
def test_a_kept_path_protects_its_key_whatever_is_stripped(tree, journal, strip, kept):
    (tree / "a").mkdir()
    os.symlink("nowhere", tree / "a" / "broken")
    what = wanted(tree, strip_prefix=strip)
    list_orphans(journal, kept, f"{kept}/below", f"{kept}er", "site/b")

    planned(what, journal)

    assert orphans(what, journal) == {f"{kept}er", "site/b"}


def test_a_source_at_a_buckets_root_protects_the_same(tree, journal):
    os.symlink("nowhere", tree / "broken")
    what = SyncSpec.from_settings(Settings(source=str(tree), bucket="bucket", target="", delete=True))
    list_orphans(journal, "broken", "broken/below", "brokener")

    planned(what, journal)

    assert orphans(what, journal) == {"brokener"}


def test_a_path_that_could_not_be_looked_at_is_one_operation_that_names_it(tree, journal):
    os.symlink("nowhere", tree / "broken")

    _, operations, _ = planned(wanted(tree), journal)

    assert [(each.kind, each.key, each.path) for each in operations] == [(Kind.UPLOAD, "site/broken", "broken")]
