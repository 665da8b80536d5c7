"""What the journal tells about changes over several jobs, and facts that come from elsewhere."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from s3batch.journal import Journal
from s3batch.journal.facts import FactRow, make_known_object
from s3batch.journal.limits import JournalLimits
from s3batch.model import Kind, KnownObject, ListedObject, Operation, Reason, Result, State
from tests.rig.stamps import stamp


@pytest.fixture
def journal(tmp_path):
    with Journal.open(str(tmp_path / "journal.db")) as opened:
        yield opened


def begin(journal: Journal, target: str = "b/t/", command: str = "sync") -> int:
    journal.jobs.begin(command, "/src", target, "http://s3", {}, "1")
    return journal.jobs.current.after_operation


def do(journal: Journal, kind: Kind, *keys: str, state: State = State.DONE) -> None:
    added = journal.operations.add([Operation(kind, key, Reason.MISSING, size=3) for key in keys], lease=True)
    journal.operations.settle([(state, Result(each.id, etag="e", date=50.0, fingerprint="f")) for each in added])


def test_changes_are_counted_over_the_jobs_of_a_target(journal) -> None:
    start = begin(journal)
    do(journal, Kind.UPLOAD, "t/a")
    begin(journal)
    do(journal, Kind.COPY, "t/b")
    do(journal, Kind.DELETE, "t/c")
    do(journal, Kind.REDIRECT, "r")

    assert list(journal.outcomes.read_changed_keys(start)) == ["t/a", "t/b", "t/c", "r"]
    assert list(journal.outcomes.read_changed_keys(journal.outcomes.find_last_change(start))) == []
    assert journal.outcomes.find_last_change(journal.outcomes.find_last_change(start)) == 0


@pytest.mark.parametrize("state", [State.FAILED, State.SKIPPED, State.PENDING])
def test_what_was_not_done_changed_nothing(journal, state) -> None:
    start = begin(journal)
    do(journal, Kind.UPLOAD, "t/a", state=state)

    assert journal.outcomes.find_last_change(start) == 0


@pytest.mark.parametrize(("target", "command"), [("b/other/", "sync"), ("b/t/", "cache rebuild")])
def test_another_target_and_a_cache_are_not_counted(journal, target, command) -> None:
    start = begin(journal, target, command)
    do(journal, Kind.UPLOAD, "t/a")
    begin(journal)

    assert journal.outcomes.find_last_change(start) == 0


def test_changed_keys_come_page_by_page(tmp_path) -> None:
    with Journal.open(str(tmp_path / "journal.db"), limits=JournalLimits(page=2)) as journal:
        start = begin(journal)
        do(journal, Kind.UPLOAD, *"abcde")

        assert list(journal.outcomes.read_changed_keys(start)) == list("abcde")


# --- facts -------------------------------------------------------------------------------------------

FOREIGN = KnownObject("e1", 3, stamp(3, 0, -1, 0, 0), 40.0, "f", "c")


def listed(journal: Journal, *objects: ListedObject) -> None:
    journal.objects.begin_listing()
    journal.objects.record_listing(list(objects))
    journal.objects.complete_listing()


def test_facts_from_elsewhere_are_believed_of_objects_that_are_listed_just_so(journal) -> None:
    begin(journal)
    listed(journal, ListedObject("t/a", 3, "e1", 40.0), ListedObject("t/b", 3, "other", 40.0))

    journal.facts.take_facts([("t/a", FOREIGN), ("t/b", FOREIGN), ("t/not listed", FOREIGN)])

    assert journal.objects.look_up(["t/a"])["t/a"][1] == FOREIGN
    assert journal.objects.look_up(["t/b"])["t/b"][1] is None
    assert journal.objects.look_up(["t/not listed"])["t/not listed"] == (None, None)


def test_our_own_facts_are_not_overwritten_unless_they_are_stale(journal) -> None:
    begin(journal)
    do(journal, Kind.UPLOAD, "t/a")
    journal.jobs.learn_facts()
    own = journal.objects.look_up(["t/a"])["t/a"][1]
    listed(journal, ListedObject("t/a", 3, "e", 50.0))
    journal.facts.take_facts([("t/a", FOREIGN._replace(etag="e"))])
    assert journal.objects.look_up(["t/a"])["t/a"][1] == own

    listed(journal, ListedObject("t/a", 3, "e1", 60.0))
    journal.facts.take_facts([("t/a", FOREIGN)])
    assert journal.objects.look_up(["t/a"])["t/a"][1] == FOREIGN


def test_facts_are_those_of_objects_that_are_there(journal) -> None:
    begin(journal)
    listed(
        journal, ListedObject("t/kept", 3, "e1", 40.0), ListedObject("t/gone", 3, "e1", 40.0), ListedObject("t/foreign", 3, "x", 40.0),
        ListedObject("u/outside", 3, "e1", 40.0),
    )  # fmt: skip
    journal.facts.take_facts([(key, FOREIGN) for key in ("t/kept", "t/gone", "u/outside")])
    do(journal, Kind.UPLOAD, "t/new")
    do(journal, Kind.DELETE, "t/gone")
    journal.jobs.learn_facts()

    assert [key for page in journal.facts.read_facts("t/") for key, _ in page] == ["t/kept", "t/new"]


def test_a_fact_of_an_object_that_somebody_removed_is_not_told(journal) -> None:
    begin(journal)
    do(journal, Kind.UPLOAD, "t/a", "t/b")
    journal.jobs.learn_facts()
    begin(journal)
    listed(journal, ListedObject("t/a", 3, "e", 50.0))

    assert [key for page in journal.facts.read_facts("t/") for key, _ in page] == ["t/a"]


def test_a_comparison_by_content_alone_keeps_the_time_of_the_write(journal) -> None:
    begin(journal)
    do(journal, Kind.UPLOAD, "t/a")
    journal.jobs.learn_facts()
    begin(journal)
    listed(journal, ListedObject("t/a", 3, "e", 50.9))
    (added,) = journal.operations.add(
        [Operation(Kind.RECONCILE, "t/a", Reason.UNKNOWN, size=3, stamp=stamp(3, 9, 8), path="a")], lease=True
    )
    journal.operations.settle([(State.SKIPPED, Result(added.id, etag="e", fingerprint="f", already=True))])
    journal.jobs.learn_facts()

    known = journal.objects.look_up(["t/a"])["t/a"][1]
    assert known is not None
    assert (known.written, known.local) == (50.0, stamp(3, 9, 8))


NAMES = [f"t/{name}" for name in ("a", "b", "caf\udce9", "é", "\U0001f600")]
FACTS: list[FactRow] = [
    (name, f"e{at}", 3, 40.0 + at, "f", 3 + at, "") for at, name in enumerate(NAMES) if name != "t/b"
]
"""In the order of SQLite and S3, one of them not UTF-8."""


def list_with_facts(path: str, pages: list[list[ListedObject]], before: list[ListedObject], *, at_once: bool) -> list:
    with Journal.open(path) as journal:
        begin(journal)
        if before:
            listed(journal, *before)
        journal.objects.begin_listing()
        for page in pages:
            if at_once:
                journal.facts.record_known(page, [row for row in FACTS if row[0] in {each.key for each in page}])
            else:
                journal.objects.record_listing(page)
        journal.objects.complete_listing()
        if not at_once:
            journal.facts.take_facts([(row[0], make_known_object(row)) for row in FACTS])
        assert journal.objects.count_listed() == len({each.key for page in pages for each in page})
    with closing(sqlite3.connect(path)) as store:
        store.text_factory = bytes
        return store.execute("SELECT * FROM object ORDER BY key").fetchall()


@pytest.mark.parametrize(
    ("changed", "before", "order"),
    [
        pytest.param({}, [], (0, 1, 2, 3, 4), id="of a new journal"),
        pytest.param({2: "other"}, [], (0, 1, 2, 3, 4), id="of another object"),
        pytest.param({}, [0, 2, 4], (0, 1, 2, 3, 4), id="of objects that are known"),
        pytest.param({}, [3], (0, 1, 2, 3), id="of a journal with a later row"),
        pytest.param({}, [], (4, 3, 2, 1, 0), id="in another order"),
        pytest.param({}, [], (0, 1, 1, 2), id="listed twice"),
    ],
)
def test_facts_recorded_with_their_page_are_as_those_taken_after_it(tmp_path, changed, before, order) -> None:
    objects = [ListedObject(name, 3, changed.get(at, f"e{at}"), 40.0) for at, name in enumerate(NAMES)]
    pages = [[objects[at] for at in order[:2]], [objects[at] for at in order[2:]], []]
    known = [objects[at] for at in before]

    together = list_with_facts(str(tmp_path / "one.db"), pages, known, at_once=True)
    apart = list_with_facts(str(tmp_path / "two.db"), pages, known, at_once=False)

    assert together == apart
    assert any(b"e0" in row for row in together)
