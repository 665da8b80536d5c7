"""Laws of the decision for many files: it is that for each file, whatever the journal knows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3batch.journal import Journal
from s3batch.model import (
    FILE,
    Comparison,
    Kind,
    KnownAttributes,
    KnownObject,
    ListedObject,
    LocalFile,
    Operation,
    Stamp,
)
from s3batch.plan.beside_listing import BesideListing
from s3batch.plan.bulk_decision import BulkDecision
from s3batch.plan.decide import decide_operation
from s3batch.plan.spec import SyncSpec
from s3batch.settings.table import Settings
from s3batch.source.file_batch import FileBatch
from s3batch.source.walk import Walk

MD5, OTHER = "0f" * 16, "f0" * 16
NAMES = ["a", "a.gz", "d/b", "d/c.txt", "z.txt", os.fsdecode(b"caf\xe9"), "\u00e9", "\U0001f600", "D/b", "last.html"]
STAMPS = st.builds(
    Stamp, kind=st.just(FILE), size=st.sampled_from([10, 11, 2 << 20]), mtime_ns=st.sampled_from([1, 2]), ctime_ns=st.sampled_from([0, 1, 2]),
    device=st.sampled_from([1, 2]), inode=st.sampled_from([1, 2]),
)  # fmt: skip
ETAGS = st.sampled_from([MD5, MD5, OTHER, f"{MD5}-2", ""])
JOBS = st.sampled_from(
    [
        {},
        {"acl": "private"},
        {"tags": '{"a": "b"}'},
        {"gzip": '{".txt": true}'},
        {"preserve": ("mtime",)},
        {"encryption": "aws:kms"},
        {"publish_last": ("*.html",)},
        {"trust_journal": False},
        {"strip_prefix": "d/"},
    ]
)


class Case(NamedTuple):
    """A file, and what is known of its object."""

    path: str
    stamp: Stamp
    listed: tuple[int, str, float] | None
    known: tuple[str, int, Stamp, float, bool, str] | None


CASES = st.lists(
    st.builds(
        Case, st.sampled_from(NAMES), STAMPS,
        st.none() | st.tuples(st.sampled_from([10, 11]), ETAGS, st.sampled_from([99.0, 100.5, 101.0])),
        st.none() | st.tuples(ETAGS, st.sampled_from([10, 11]), STAMPS, st.just(100.0), st.booleans(), st.sampled_from(["", "sum"])),
    ),
    min_size=1, max_size=6, unique_by=lambda case: case.path,
)  # fmt: skip


@pytest.fixture(scope="module")
def journal() -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as folder, Journal.open(f"{folder}/journal.db") as opened:
        opened.jobs.begin("sync", folder, "s3://bucket/site/", "http://127.0.0.1", {}, "1")
        yield opened


def lay(journal: Journal, wanted: SyncSpec, cases: list[Case], *, is_listed_later: bool = False) -> None:
    """Have the journal hold what the cases say."""
    with journal.batch():
        journal.objects._store.execute("DELETE FROM object")
    journal.objects.begin_listing()
    named = [(wanted.key(case.path), case) for case in cases]
    known = [(key, case) for key, case in named if case.known]
    journal.objects.record_listing([ListedObject(key, case.known[1], case.known[0], 99.0) for key, case in known])
    journal.objects.complete_listing()
    journal.facts.take_facts(
        [
            (key, KnownObject(etag, size, local, written, wanted.rules.fingerprint(case.path) if same else "other", checksum))
            for key, case in known
            for etag, size, local, written, same, checksum in [case.known]
        ]
    )  # fmt: skip
    journal.objects.begin_listing()
    if not is_listed_later:
        for page in list_pages(wanted, cases, 1000):
            journal.objects.record_listing(page)
        journal.objects.complete_listing()


def list_pages(wanted: SyncSpec, cases: list[Case], size: int) -> list[list[ListedObject]]:
    listed = [ListedObject(wanted.key(case.path), *case.listed) for case in cases if case.listed]
    listed.sort(key=lambda each: os.fsencode(each.key))
    return [listed[start : start + size] for start in range(0, len(listed), size)]


def decide_in_bulk(
    wanted: SyncSpec, journal: Journal, alike: list[Comparison], files: list[LocalFile]
) -> tuple[list[str], list[LocalFile]]:
    bulk = BulkDecision(wanted, journal, alike.extend)
    batch = FileBatch.from_files(files, wanted.rules.fingerprint)
    assert batch.make_files() == files
    quiet, left = bulk.take_unchanged(batch, wanted.keys(batch.paths))
    left = bulk.have_compared(left, wanted.keys(left.paths))
    return wanted.keys(quiet.paths), left.make_files()


def decide_alone(wanted: SyncSpec, journal: Journal, file: LocalFile, key: str) -> Operation | None:
    listed, known = journal.objects.look_up([key])[key]
    attributes, fingerprint = wanted.rules.describe(file.path)
    return decide_operation(
        file, key, listed, known if wanted.settings.trust_journal else None, fingerprint,
        stage=wanted.stage(file.path), gzip=attributes.gzip, preserves=bool(attributes.preserve),
    )  # fmt: skip


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cases=CASES, job=JOBS)
def test_a_batch_is_decided_as_each_of_its_files(journal: Journal, cases: list[Case], job: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = SyncSpec.from_settings(Settings(bucket="bucket", target="site", source=folder, **job))
    lay(journal, wanted, cases)
    files = [LocalFile(case.path, case.stamp) for case in cases]
    keys = wanted.keys([file.path for file in files])
    alike: list[Comparison] = []

    quiet, left = decide_in_bulk(wanted, journal, alike, files)

    alone = {file.path: decide_alone(wanted, journal, file, key) for file, key in zip(files, keys, strict=True)}
    assert sorted([*quiet, *wanted.keys([file.path for file in left]), *(each.file.key for each in alike)]) == sorted(
        keys
    )
    assert {file.path for file in left} >= {
        path for path, found in alone.items() if found and found.kind is not Kind.RECONCILE
    }
    for each in alike:
        assert each.to_operation() == alone[each.file.path]
        assert each.fingerprint == wanted.rules.fingerprint(each.file.path)
        attributes = wanted.rules.attributes(each.file.path)
        assert each.file.checksum or each.file.etag in (MD5, OTHER)
        assert each.file.stamp.size < 1 << 20
        assert not attributes.gzip
        assert not attributes.preserve
        assert isinstance(alone[each.file.path].spec, KnownAttributes) or not (
            attributes.acl or attributes.tags or attributes.encryption
        )
    for file, key in zip(files, keys, strict=True):
        assert (key in quiet) == (alone[file.path] is None)


class FakeWalk:
    """Gives batches of files, some of them late."""

    def __init__(self, batches: list[FileBatch | None]) -> None:
        self.batches = batches

    def next_batch(self) -> FileBatch | None:
        return self.batches.pop(0) if self.batches else None

    def go_ahead(self) -> None:
        pass


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cases=CASES, job=JOBS, data=st.data())
def test_beside_the_listing_files_are_decided_as_after_it(journal, cases: list[Case], job: dict, data) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = SyncSpec.from_settings(Settings(bucket="bucket", target="site", source=folder, **job))
        walk = Walk(folder, wanted.selection)
    lay(journal, wanted, cases, is_listed_later=True)
    pages = list_pages(wanted, cases, data.draw(st.integers(1, 3)))
    if data.draw(st.booleans()):
        pages.reverse()
    size, files = data.draw(st.integers(1, 3)), [LocalFile(case.path, case.stamp) for case in cases]
    batches: list[FileBatch | None] = []
    for start in range(0, len(files), size):
        batches += [None] * data.draw(st.integers(0, 2))
        batches.append(FileBatch.from_files(files[start : start + size], wanted.rules.fingerprint))
    ahead, quiet = FakeWalk(batches), []
    bulk = BulkDecision(wanted, journal)

    def take(batch: FileBatch, keys: Sequence[str]) -> FileBatch:
        assert keys == wanted.keys(batch.paths)
        found, left = bulk.take_unchanged(batch, keys)
        quiet.extend(wanted.keys(found.paths))
        return left

    def listing() -> Iterator[None]:
        for page in pages:
            journal.objects.record_listing(page)
            yield
        journal.objects.complete_listing()

    beside = BesideListing(wanted, journal, walk, ahead)
    for _ in beside.steps(listing(), take):
        pass
    put_off = [file for batch in beside.put_off for file in batch.make_files()]
    left = [*put_off, *[file for batch in ahead.batches if batch for file in batch.make_files()]]

    assert sorted([*quiet, *wanted.keys([file.path for file in left])]) == sorted(
        wanted.keys([each.path for each in files])
    )
    assert all(decide_alone(wanted, journal, file, wanted.key(file.path)) for file in put_off)
    for file in files:
        if wanted.key(file.path) in quiet:
            assert decide_alone(wanted, journal, file, wanted.key(file.path)) is None


def test_a_range_full_of_other_rows_leaves_files_to_the_single_decision(journal: Journal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = SyncSpec.from_settings(Settings(bucket="bucket", target="site", source=folder))
    journal.objects.begin_listing()
    journal.objects.record_listing([ListedObject(f"site/m{number:03d}", 10, MD5, 99.0) for number in range(50)])
    journal.objects.complete_listing()
    files = [LocalFile(path, Stamp(size=10)) for path in ("a", "m000", "m049", "z")]
    alike: list[Comparison] = []

    _, left = decide_in_bulk(wanted, journal, alike, files)

    assert [each.file.path for each in alike] == ["m000"]
    assert [file.path for file in left] == ["a", "m049", "z"]
