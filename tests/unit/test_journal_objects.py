"""The listing and the facts: what the journal knows of the target, and when it no longer does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3batch.journal import Journal
from s3batch.journal.limits import JournalLimits
from s3batch.model import (
    Comparison,
    FileToCompare,
    JobState,
    Kind,
    KnownObject,
    ListedObject,
    Operation,
    PlannedDeletes,
    Reason,
    Result,
    Stage,
    State,
)
from tests.rig.stamps import stamp

ODD = os.fsdecode(b"site/caf\xe9")
NOTHING = (None, None)


@pytest.fixture
def journal(tmp_path: Path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(journal: Journal, target: str = "s3://bucket/site/", endpoint: str = "http://127.0.0.1") -> str:
    job = journal.jobs.begin("sync", "/src", target, endpoint, {}, "1.0")
    list(journal.jobs.take_over())
    journal.objects.begin_listing()
    return job


def listed(key: str, size: int = 10, etag: str = "e", modified: float = 100.0) -> ListedObject:
    return ListedObject(key, size, etag, modified)


def list_again(journal: Journal, *objects: ListedObject) -> None:
    journal.objects.begin_listing()
    journal.objects.record_listing(list(objects))
    journal.objects.complete_listing()


def do(journal: Journal, operation: Operation, state: State, **result) -> None:
    (added,) = journal.operations.add([operation], lease=True)
    journal.operations.settle([(state, Result(added.id, **result))])


def fact(journal: Journal, key: str) -> KnownObject | None:
    return journal.objects.look_up([key])[key][1]


def test_a_look_up_answers_for_every_key(journal):
    list_again(journal, listed("a"), listed(ODD, 3))

    assert journal.objects.look_up(["a", "b", ODD]) == {
        "a": (listed("a"), None),
        "b": NOTHING,
        ODD: (listed(ODD, 3), None),
    }
    assert journal.objects.look_up([]) == {}


def test_where_nothing_is_listed_or_known_every_key_is_answered_with_nothing(journal):
    journal.orphans.mark_seen(["a", ODD])

    assert journal.objects.look_up(["a", ODD]) == {"a": NOTHING, ODD: NOTHING}

    journal.objects.record_found([listed("a")])
    assert journal.objects.look_up(["a", ODD]) == {"a": (listed("a"), None), ODD: NOTHING}


@pytest.mark.parametrize("number", [1, 499, 500, 501, 1000, 1203])
def test_a_look_up_takes_any_number_of_keys(journal, number):
    keys = [f"k{n}" for n in range(number)]
    list_again(journal, *map(listed, keys))

    assert journal.objects.look_up(keys) == {key: (listed(key), None) for key in keys}


def test_the_last_word_of_a_listing_about_a_key_counts(journal):
    list_again(journal, listed("a", 1), listed("a", 2))
    journal.objects.record_found([listed("a", 3)])

    assert journal.objects.look_up(["a"])["a"] == (listed("a", 3), None)
    assert journal.objects.count_listed() == 1


def test_an_older_listing_does_not_count(journal):
    list_again(journal, listed("old"), listed("both", 1))
    journal.orphans.mark_seen(["both"])

    list_again(journal, listed("both", 2))

    assert journal.objects.look_up(["old", "both"]) == {"old": NOTHING, "both": (listed("both", 2), None)}
    assert journal.objects.count_listed() == 1
    assert list(journal.orphans.read_orphans("")) == [[listed("both", 2)]]


def test_orphans_are_what_is_listed_below_the_prefix_and_was_not_seen(journal):
    inside = ["site/", "site/a", "site/b/c", "site/~", "site/\U0001f600", "site/\uffff"]
    outside = ["site", "site-old/a", "site0", "sita/", "\U0001f600"]
    list_again(journal, *map(listed, [*inside, *outside]))
    journal.orphans.mark_seen(["site/b/c", "site-old/a", "site/never listed"])

    orphans = [each.key for page in journal.orphans.read_orphans("site/") for each in page]

    assert sorted(orphans) == sorted(set(inside) - {"site/b/c"})
    assert sum(map(len, journal.orphans.read_orphans(""))) == len(inside) + len(outside) - 2


def test_orphans_come_in_pages_while_deletes_are_added(journal):
    keys = [f"site/{number:05d}" for number in range(2500)]
    list_again(journal, *map(listed, keys))

    pages = []
    for page in journal.orphans.read_orphans("site/"):
        pages.append(len(page))
        journal.operations.add([Operation(Kind.DELETE, each.key, Reason.ORPHAN, stage=Stage.DELETE) for each in page])

    assert pages == [1000, 1000, 500]
    assert journal.outcomes.count_open(Stage.DELETE) == 2500


def test_names_that_are_not_utf8_are_listed_and_seen_like_others(journal):
    list_again(journal, listed("site/a"), listed(ODD), listed(ODD + "\udcff"))
    journal.orphans.mark_seen(["site/a", ODD])

    assert list(journal.orphans.read_orphans(ODD)) == [[listed(ODD + "\udcff")]]
    assert list(journal.orphans.read_orphans("site/")) == [[listed(ODD + "\udcff")]]


UPLOAD = Operation(Kind.UPLOAD, "k", Reason.MISSING, "k", 10, stamp(10))
RECONCILE = Operation(Kind.RECONCILE, "k", Reason.UNKNOWN, "k", 10, stamp(10))
COPY = Operation(Kind.COPY, "k", Reason.METADATA, "k", 0, stamp(0))
ANSWER = {"etag": "new", "date": 200.0, "fingerprint": "f", "checksum": "c"}


@pytest.mark.parametrize(
    ("operation", "state", "result", "known"),
    [
        pytest.param(
            UPLOAD,
            State.DONE,
            {**ANSWER, "sent": 10},
            KnownObject("new", 10, stamp(10), 200.0, "f", "c"),
            id="an upload",
        ),
        pytest.param(
            UPLOAD,
            State.DONE,
            {**ANSWER, "sent": 4},
            KnownObject("new", 4, stamp(10), 200.0, "f", "c"),
            id="an upload that was compressed: the object is smaller than the file",
        ),
        pytest.param(
            UPLOAD,
            State.DONE,
            {**ANSWER, "etag": "new-2", "sent": 4},
            KnownObject("new-2", 10, stamp(10), 200.0, "f", "c"),
            id="a multipart upload of which the rest was sent",
        ),
        pytest.param(
            UPLOAD,
            State.DONE,
            {**ANSWER, "already": True},
            KnownObject("new", 10, stamp(10), 200.0, "f", "c"),
            id="an upload that S3 had already",
        ),
        pytest.param(
            RECONCILE,
            State.SKIPPED,
            {**ANSWER, "etag": "e", "date": 0.0},
            KnownObject("e", 4, stamp(10), 100.0, "f", "c"),
            id="found right: size and time are those listed",
        ),
        pytest.param(
            COPY,
            State.DONE,
            ANSWER,
            KnownObject("new", 4, stamp(0), 200.0, "f", "c"),
            id="a copy: the size is the listed one",
        ),
        pytest.param(UPLOAD, State.DONE, {**ANSWER, "etag": ""}, None, id="no ETag: nothing to know it by"),
        pytest.param(UPLOAD, State.FAILED, {**ANSWER, "error": "x"}, None, id="failed"),
        pytest.param(RECONCILE, State.SKIPPED, {**ANSWER, "error": "x"}, None, id="not compared"),
    ],
)
def test_what_a_job_has_done_becomes_a_fact(journal, operation, state, result, known):
    list_again(journal, listed("k", 4))
    do(journal, operation, state, **result)

    journal.jobs.learn_facts()
    journal.jobs.learn_facts()

    assert journal.objects.look_up(["k"]) == {"k": (listed("k", 4), known)}


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_deletes_are_forgotten_and_what_was_sent_before_and_after_them_is_known(tmp_path, at_once):
    with Journal.open(str(tmp_path / "spans.db"), limits=JournalLimits(taken_at_once=at_once)) as journal:
        begin(journal)
        list_again(journal, *(listed(key, 4) for key in ("gone", "gone too", "kept", "k")))
        do(journal, UPLOAD, State.DONE, **ANSWER)
        for keys in (("gone", "kept"), ("gone too",)):
            rows = journal.operations.add_orphans(
                PlannedDeletes(keys, ("e",) * len(keys), (0,) * len(keys)), lease=True
            )
            journal.operations.settle_deleted([(0.5, rows[:1])])
            do(journal, UPLOAD._replace(key=f"after {keys[0]}"), State.DONE, **ANSWER)
        rows = journal.operations.add_orphans(PlannedDeletes(("last",), ("e",), (0,)), lease=True)
        journal.objects.listing.write([listed("last", 4)])
        journal.operations.settle_deleted([(0.5, rows)])

        journal.jobs.learn_facts()

        found = journal.objects.look_up(["gone", "gone too", "last", "kept", "k", "after gone", "after gone too"])
        assert [key for key, facts in found.items() if facts == NOTHING] == ["gone", "gone too", "last"]
        assert [key for key, (_, known) in found.items() if known] == ["k", "after gone", "after gone too"]


def test_a_fact_is_known_though_the_object_is_not_listed(journal):
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.learn_facts()

    assert journal.objects.look_up(["k"])["k"] == (None, KnownObject("new", 10, stamp(10), 200.0, "f", "c"))
    assert (journal.objects.count_listed(), list(journal.orphans.read_orphans(""))) == (0, [])


def test_a_copy_keeps_the_size_of_the_file_it_was_made_from(journal):
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.set_state(JobState.FAILED, 1)
    begin(journal)
    do(journal, COPY, State.DONE, etag="copied", date=300.0, fingerprint="g")

    journal.jobs.learn_facts()

    assert fact(journal, "k") == KnownObject("copied", 10, stamp(10), 300.0, "g", "")


def test_a_checksum_stays_known_as_long_as_the_etag_does(journal):
    do(journal, UPLOAD, State.DONE, **ANSWER)
    begin(journal)
    do(journal, COPY, State.DONE, etag="new", date=300.0, fingerprint="g")

    journal.jobs.learn_facts()

    assert fact(journal, "k") == KnownObject("new", 10, stamp(10), 300.0, "g", "c")


def test_a_deleted_object_is_forgotten(journal):
    list_again(journal, listed("k"), listed("kept"))
    do(journal, Operation(Kind.DELETE, "k", Reason.ORPHAN, stage=Stage.DELETE), State.DONE)
    do(journal, Operation(Kind.DELETE, "kept", Reason.ORPHAN, stage=Stage.DELETE), State.SKIPPED)

    journal.jobs.learn_facts()

    assert journal.objects.look_up(["k", "kept"]) == {"k": NOTHING, "kept": (listed("kept"), None)}


def test_what_a_dead_job_had_done_is_learnt_when_it_is_taken_over(journal):
    do(journal, UPLOAD, State.DONE, **ANSWER)

    begin(journal)

    assert fact(journal, "k") == KnownObject("new", 10, stamp(10), 200.0, "f", "c")


def test_only_the_job_at_work_is_learnt_from(journal):
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.set_state(JobState.DONE, 0)
    begin(journal)

    journal.jobs.learn_facts()

    assert fact(journal, "k") is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"target": "s3://other/site/"}, id="another bucket"),
        pytest.param({"endpoint": "http://127.0.0.2"}, id="another endpoint"),
    ],
)
def test_facts_are_about_one_target_at_one_endpoint(journal, other):
    list_again(journal, listed("k"))
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.learn_facts()
    first = journal.jobs.current_id

    begin(journal, **other)
    assert journal.objects.look_up(["k"]) == {"k": NOTHING}

    list_again(journal, listed("k"))
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.learn_facts()
    assert journal.jobs.current_id != first
    begin(journal)
    assert journal.objects.look_up(["k"]) == {"k": NOTHING}


def test_pruning_forgets_objects_of_old_listings_and_keeps_facts(journal):
    list_again(journal, listed("old"), listed("k"))
    do(journal, UPLOAD, State.DONE, **ANSWER)
    journal.jobs.learn_facts()
    list_again(journal, listed("new"))
    journal.jobs.set_state(JobState.DONE, 0)

    journal.jobs.prune()

    with Journal.open(journal.path) as again:
        assert again.objects.look_up(["old", "new"]) == {"old": NOTHING, "new": (listed("new"), None)}
        assert fact(again, "k") is not None


def test_files_found_equal_in_bulk_become_facts(journal):
    list_again(journal, listed("a", etag="e", modified=100.5), listed("b", etag="e"), listed("c", etag="other"))
    equal = [FileToCompare(key, key, stamp(10), "e", None) for key in "abcd"]

    journal.facts.learn_equal(
        [(Comparison(file, "print"), date) for file, date in zip(equal, (0, 7.0, 7.0, 7.0), strict=True)]
    )

    assert fact(journal, "a") == KnownObject("e", 10, stamp(10), 100.5, "print", "")
    assert fact(journal, "b") == KnownObject("e", 10, stamp(10), 7.0, "print", "")
    assert (fact(journal, "c"), fact(journal, "d")) == (None, None), "listed as another object, and not listed"
    assert journal.facts.asked == 3


def test_a_fact_found_on_record_keeps_its_time_and_checksum(journal):
    list_again(journal, listed("a", etag="e"), listed("b", etag="new"))
    before = [(key, KnownObject("e", 10, stamp(10, ctime_ns=0), 42.0, "print", "sum")) for key in "ab"]
    journal.facts.take_facts(before)

    journal.facts.learn_equal([(Comparison(FileToCompare("a", "a", stamp(10), "e", "sum"), "print"), 0.0)])

    assert fact(journal, "a") == KnownObject("e", 10, stamp(10), 42.0, "print", "sum")
    assert journal.facts.asked == 0


def test_a_file_too_young_to_be_trusted_is_read_again_next_time(journal):
    young = stamp(10)._replace(ctime_ns=int((journal.jobs.current.started + 1) * 1e9))
    list_again(journal, listed("a", etag="e"))

    journal.facts.learn_equal([(Comparison(FileToCompare("a", "a", young, "e", None), "p"), 7.0)])

    assert fact(journal, "a").local == young._replace(ctime_ns=0)
