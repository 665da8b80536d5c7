"""The listing in the journal: whatever came before, and wherever a run was killed, only what it showed is listed."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3batch.base.errors import JournalError
from s3batch.journal import Journal
from s3batch.model import ListedObject

keys = st.text(st.sampled_from("ab/\uffff\U0001f600\udce9"), min_size=1, max_size=4)
listings = st.lists(
    st.fixed_dictionaries(
        {
            "objects": st.dictionaries(keys, st.integers(0, 2), max_size=12),
            "order": st.sampled_from(["as S3 has it", "backwards", "twice"]),
            "page": st.integers(1, 4),
            "killed after": st.one_of(st.none(), st.none(), st.integers(0, 3)),
        }
    ),
    min_size=1,
    max_size=5,
)


def make_pages(listing) -> list[list[ListedObject]]:
    objects = [ListedObject(key, size, f"e{size}", 1.0) for key, size in listing["objects"].items()]
    objects.sort(key=lambda each: os.fsencode(each.key), reverse=listing["order"] == "backwards")
    if listing["order"] == "twice":
        objects = [twice for each in objects for twice in (each, each)]
    return [objects[start : start + listing["page"]] for start in range(0, len(objects), listing["page"])]


def read_all_listed(journal: Journal, names) -> dict[str, int]:
    found = journal.objects.look_up(sorted(names, key=os.fsencode))
    return {key: facts[0].size for key, facts in found.items() if facts[0]}


@settings(max_examples=80, deadline=None)
@given(listings)
def test_after_a_listing_its_objects_are_listed_and_no_others(history):
    everything = {key for each in history for key in each["objects"]}
    with tempfile.TemporaryDirectory() as folder:
        for listing in history:
            with Journal.open(os.path.join(folder, "j")) as journal:
                journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
                journal.objects.begin_listing()
                assert journal.objects.count_listed() == 0
                pages = make_pages(listing)
                shown: dict[str, int] = {}
                for page in pages[: listing["killed after"]]:
                    journal.objects.record_listing(page)
                    shown |= {each.key: each.size for each in page}
                    below = {key for key in everything if os.fsencode(key) <= max(map(os.fsencode, shown))}
                    if journal.objects.listing.covers(list(below)):
                        assert read_all_listed(journal, below) == shown
                if listing["killed after"] is None:
                    journal.objects.complete_listing()
                    assert read_all_listed(journal, everything) == listing["objects"]
                    assert journal.objects.count_listed() == len(listing["objects"])
            with Journal.open(os.path.join(folder, "j")) as journal:  # the next run, before its own listing
                known = read_all_listed(journal, everything)
                assert known.items() <= shown.items()
                assert listing["killed after"] is not None or known == listing["objects"]


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(keys, st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_a_listing_that_shows_nothing_new_writes_no_row(objects, page):
    pages = make_pages({"objects": objects, "order": "as S3 has it", "page": page})
    with tempfile.TemporaryDirectory() as folder, Journal.open(os.path.join(folder, "j")) as journal:
        journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
        rows = []
        for _ in range(2):
            journal.objects.begin_listing()
            for each in pages:
                journal.objects.record_listing(each)
            journal.objects.complete_listing()
            rows.append(journal._store.rows("SELECT key, listed FROM object"))
        assert rows[0] == rows[1]
        assert {number for _, number in rows[1]} <= {journal.objects.listing.number - 1}


def test_an_object_that_has_gone_among_very_many_is_not_listed(tmp_path):
    names = [f"{number:05d}" for number in range(900)]
    with Journal.open(str(tmp_path / "j")) as journal:
        journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
        for left in (names, [names[3], names[-1]]):
            journal.objects.begin_listing()
            journal.objects.record_listing([ListedObject(name, 1, "e", 1.0) for name in left])
            journal.objects.complete_listing()

        assert sorted(read_all_listed(journal, names)) == [names[3], names[-1]]


@pytest.mark.parametrize("name", ["listing", "listing since"])
def test_a_journal_whose_listing_has_no_number_is_damaged(tmp_path, name: str):
    with Journal.open(str(tmp_path / "j")) as journal:
        journal.jobs.begin("sync", "/src", "s3://bucket/", "", {}, "1")
        journal.objects.begin_listing()
        with journal.batch():
            journal._store.execute("UPDATE remembered SET value = 'many' WHERE name = ?", (name,))

    with pytest.raises(JournalError, match=f"its entry '{name}' is not a number"):
        Journal.open(str(tmp_path / "j"))
