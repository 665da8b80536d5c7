"""Laws of the decision for a page of a download: it is that for each object, whatever the journal and the tree hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3batch.files.tree import TargetTree
from s3batch.journal import Journal
from s3batch.model import KnownObject, ListedObject, Operation, stamp_of
from s3batch.plan.bulk_fetch import BulkFetchDecision
from s3batch.plan.download_planner import DownloadPlanner
from s3batch.plan.download_spec import DownloadSpec
from s3batch.reporting.progress import Totals
from s3batch.s3.listing import ListingPage
from s3batch.settings.table import Settings

NAMES = ["a", "b-b", "d/b", "d/e/f", os.fsdecode(b"caf\xe9"), "\u00e9", "n" * 80]
TEXT = [name for name in NAMES if name.isprintable()]
"""Names that are text; a page with another one is decided one by one."""
ODD = [
    "d/c.log", "hid/x", "home/s3batch/j.db", ".s3batch/tmp/1", ".s3batchignore", "d/.s3batchignore", "z\nz", "link", "linked/f",
    "d/b/under", "d/b-", "..", "d/../b", "d//b", "", "marker/",
]  # fmt: skip
WHOLE = {"d/c.log": 7, "link": 6, "linked/f": 6}
"""Odd names whose page is decided as a whole all the same, and how many of its objects are unchanged."""
JOBS: list[dict] = [
    {}, {"exclude": ("*.log",)}, {"min_size": 2}, {"delete": True}, {"trust_journal": False},
]  # fmt: skip


class Case(NamedTuple):
    """An object, its file, and what the journal knows of both."""

    name: str
    size: int
    etag: str
    modified: float
    since: str
    """What has become of object or file since it was fetched; empty: it was not."""


Files = list[tuple[ListedObject, str]]

CHANGES = ["", "another etag", "another size", "another time", "touched", "gone", "a directory", "young"]
SINCE = ["nothing"] * 6 + CHANGES


def cases_of(names: st.SearchStrategy[str]) -> st.SearchStrategy[Case]:
    return st.builds(
        Case, names, st.sampled_from([1, 1, 3]), st.sampled_from(["e1", "e2", "e3", ""]), st.sampled_from([100.0, 100.5]),
        st.sampled_from(SINCE),
    )  # fmt: skip


CASES = st.tuples(
    st.lists(cases_of(st.sampled_from(NAMES)), min_size=1, max_size=5, unique_by=lambda case: case.name),
    st.lists(cases_of(st.sampled_from(ODD)), max_size=1),
).map(lambda both: [*both[0], *both[1]])


@pytest.fixture(scope="module")
def journal() -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as folder, Journal.open(f"{folder}/journal.db") as opened:
        yield opened


def lay(journal: Journal, root: Path, cases: list[Case]) -> None:
    """Have the tree and the journal hold what the cases say."""
    journal.jobs.begin("sync", "s3://b/in/", str(root), "http://127.0.0.1", {}, "1")
    with journal.batch():
        journal.objects._store.execute("DELETE FROM object")
    journal.objects.begin_listing()
    for name, size, etag, modified, since in cases:
        if not since or name.endswith("ignore"):
            continue
        file, key = root / name, f"in/{name}"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * size)
            stamp = stamp_of(os.lstat(file))
        except OSError:
            continue
        if since == "touched":
            os.utime(file, ns=(5, 5))
        if since in ("gone", "a directory"):
            file.unlink()
        if since == "a directory":
            file.mkdir()
        known = KnownObject(
            "other" if since == "another etag" else etag, size + (since == "another size"),
            stamp._replace(ctime_ns=0) if since == "young" else stamp, modified // 1 + (since == "another time"), "checksum", "",
        )  # fmt: skip
        journal.objects.record_listing([ListedObject(key, size, etag, modified)])
        with journal.batch():
            journal.objects._store.execute(
                "UPDATE object SET known_etag = '-' WHERE key = CAST(? AS TEXT)", (os.fsencode(key),)
            )
        journal.facts.take_facts([(key, known)])


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets for each page how many of its objects were found unchanged as a whole; -1 for no whole."""
    seen: list[int] = []
    select, find = BulkFetchDecision.select_files, BulkFetchDecision.find_unchanged

    def note_selected(self: BulkFetchDecision, objects: Sequence[ListedObject]) -> Files | None:
        files = select(self, objects)
        seen.append(-1 if files is None else 0)
        return files

    def note_unchanged(self: BulkFetchDecision, files: Files) -> tuple[Files, Files]:
        unchanged, left = find(self, files)
        seen[-1] += len(unchanged)
        return unchanged, left

    monkeypatch.setattr(BulkFetchDecision, "select_files", note_selected)
    monkeypatch.setattr(BulkFetchDecision, "find_unchanged", note_unchanged)
    return seen


def plan(journal: Journal, wanted: DownloadSpec, pages: list[ListingPage]) -> tuple[list[Operation], tuple[int, ...]]:
    """Return the operations of a plan, and what it counts."""
    added: list[Operation] = []
    before = journal.jobs.current
    planner = DownloadPlanner(wanted, journal, Totals(), TargetTree(wanted.root))
    for _ in planner.steps(added.extend, lambda _: None, pages):
        pass
    after = journal.jobs.current
    counts = (after.files - before.files, after.bytes - before.bytes, after.unchanged - before.unchanged)
    return sorted(added), (*counts, planner.totals.unchanged, planner.totals.failed, planner.hidden)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cases=CASES, job=st.sampled_from(JOBS), at=st.integers(0, 8))
def test_a_page_is_decided_as_each_of_its_objects(journal: Journal, cases: list[Case], job: dict, at: int) -> None:
    require_same_plan(journal, cases, job, at)


@pytest.mark.parametrize("job", [{}, JOBS[1], JOBS[2]], ids=str)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_name_counts_in_a_page_as_it_does_alone(journal: Journal, bulk: list[int], odd: str, job: dict) -> None:
    require_same_plan(journal, [Case(name, 1, "e1", 100.0, "nothing") for name in (*TEXT, odd, "zz")], job, 99)
    assert max(bulk, default=-1) == (-1 if job else WHOLE.get(odd, -1))


@pytest.mark.parametrize("since", CHANGES)
def test_what_has_changed_counts_in_a_page_as_it_does_alone(journal: Journal, bulk: list[int], since: str) -> None:
    states = ("nothing", since, "nothing", since, "nothing")
    require_same_plan(journal, [Case(f"f{at}", 1, "e1", 100.0, state) for at, state in enumerate(states)], {}, 99)
    assert bulk[0] == 2, "the others, but the last one, which might begin the next page, are found unchanged as a whole"


def test_facts_are_read_for_keys_in_their_order_with_few_rows_between_them(journal: Journal, tmp_path: Path) -> None:
    lay(journal, tmp_path, [Case(f"f{at:02d}", 1, "e1", 100.0, "nothing") for at in range(12)])
    keys = [f"in/f{at:02d}" for at in range(12)]
    read = journal.objects.read_fetched

    assert [size for size, *_ in read(keys, 1.0)] == [1] * 12
    assert read(keys, 0.0) == [(None, *rest) for _, *rest in read(keys, 1.0)]
    assert read([keys[1], keys[0]], 1.0) == read([keys[0], keys[0]], 1.0) == read([], 1.0) == []
    journal.objects.begin_listing()
    journal.objects.record_listing([ListedObject(key, 1, "e1", 100.0) for key in keys if key != keys[5]])
    assert [size for size, *_ in read([keys[4], keys[6]], 1.0)] == [1, 1], "what is gone is not between them"
    assert read([keys[0], keys[11]], 1.0) == read([keys[0], "in/none"], 1.0) == read(["in/caf\udce9"], 1.0) == []


def require_same_plan(journal: Journal, cases: list[Case], job: dict, at: int) -> None:
    """Plan with and without the decision for many objects; ``at`` ends the first page."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder, "target")
        (root / "hid").mkdir(parents=True)
        (root / "linked").symlink_to(Path(folder))
        (root / "link").symlink_to("nowhere")
        (root / "hid" / ".s3batchignore").write_text("x\n")
        wanted = DownloadSpec.from_settings(Settings(source="s3://b/in", target=str(root), **job))
        wanted = wanted._replace(state=frozenset({"home/s3batch"}))
        lay(journal, root, cases)
        listed = sorted(
            (ListedObject(f"in/{name}", *told) for name, *told, _ in cases), key=lambda each: os.fsencode(each.key)
        )
        pages = [ListingPage(listed[:at], ""), ListingPage(listed[at:], "")]

        together = plan(journal, wanted, pages)
        patch.setattr(BulkFetchDecision, "select_files", lambda *_: None)
        alone = plan(journal, wanted, pages)

    assert together == alone


def test_unchanged_pages_are_counted_and_stay_listed(journal: Journal, bulk: list[int], tmp_path: Path) -> None:
    cases = [Case(f"f{number}", 1, "e1", 100.0, "nothing") for number in range(5)]
    lay(journal, tmp_path, cases)
    wanted = DownloadSpec.from_settings(Settings(source="s3://b/in", target=str(tmp_path)))
    listed = [ListedObject(f"in/{each.name}", each.size, each.etag, each.modified) for each in cases]

    added, counts = plan(journal, wanted, [ListingPage(listed[:4], ""), ListingPage(listed[4:], "")])

    assert added == []
    assert counts[:4] == (5, 5, 5, 5)
    assert bulk == [3, 1], "the last object of each page goes with the next one, or alone"
    found = journal.objects.look_up([each.key for each in listed])
    assert [found[each.key][0] for each in listed] == listed
