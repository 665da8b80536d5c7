"""Quirks as values, and the journal's memory of them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator

import pytest

from s3batch.journal import Journal
from s3batch.plan import quirk_memory
from s3batch.plan.quirk_memory import IN_FORCE, QuirkMemory
from s3batch.quirks import NO_QUIRKS, TAGS, Quirk, QuirkKind, Quirks

DROPS_TAGS = Quirk(QuirkKind.COPY_DROPS, TAGS)
NO_PARTS = Quirk(QuirkKind.REFUSED, "ListParts", "HTTP 403 AccessDenied")
NO_COPY = Quirk(QuirkKind.REFUSED, "CopyObject", "HTTP 501 NotImplemented")
HERE = "http://127.0.0.1"


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        begin(journal)
        yield journal


def begin(journal: Journal, endpoint: str = HERE) -> None:
    journal.jobs.begin("sync", "/src", "bucket/", endpoint, {}, "1")


def test_a_set_of_quirks_tells_what_the_store_does_and_crosses_to_a_worker() -> None:
    quirks = pickle.loads(pickle.dumps(Quirks.of([DROPS_TAGS, NO_COPY])))

    assert quirks.has(QuirkKind.COPY_DROPS, TAGS)
    assert quirks.refuses("CopyObject")
    assert not quirks.refuses("ListParts")
    assert quirks.plus([NO_PARTS]).refuses("ListParts")
    assert quirks.about(QuirkKind.COPY_DROPS) == {TAGS}
    assert not NO_QUIRKS.refuses("CopyObject")


def test_the_same_quirk_is_kept_and_warned_of_once(journal) -> None:
    memory = QuirkMemory(journal)

    assert memory.learn([DROPS_TAGS, NO_PARTS])
    assert not memory.learn([NO_PARTS._replace(detail="other words")])

    assert [each.quirk for each in quirk_memory.recall_quirks(journal, HERE)] == [DROPS_TAGS, NO_PARTS]
    assert [warning for warning in journal.jobs.current.warnings if "metadata copy loses tags" in warning]


def test_the_next_job_begins_with_what_the_store_does_but_asks_again_for_permissions(journal) -> None:
    QuirkMemory(journal).learn([DROPS_TAGS, NO_PARTS, NO_COPY])
    begin(journal)

    assert quirk_memory.read_quirks_in_force(journal) == Quirks.of([DROPS_TAGS, NO_COPY])


def test_another_endpoint_has_quirks_of_its_own(journal) -> None:
    QuirkMemory(journal).learn([DROPS_TAGS])
    begin(journal, "http://127.0.0.2")

    assert quirk_memory.read_quirks_in_force(journal) == NO_QUIRKS


@pytest.mark.parametrize("later", [IN_FORCE + 1, -60], ids=["a week later", "the clock was set back"])
def test_a_quirk_is_found_anew_once_it_is_old(journal, monkeypatch, later) -> None:
    QuirkMemory(journal).learn([DROPS_TAGS])
    now = time.time() + later
    monkeypatch.setattr(time, "time", lambda: now)

    assert quirk_memory.read_quirks_in_force(journal) == NO_QUIRKS
    assert QuirkMemory(journal).learn([DROPS_TAGS])


def test_what_another_version_remembered_is_passed_by(journal) -> None:
    journal.remember(f"quirks {HERE}", [{"kind": "unheard-of", "about": "", "detail": ""}, {"no": "sense"}, 1])

    assert quirk_memory.read_quirks_in_force(journal) == NO_QUIRKS


@pytest.mark.parametrize("kind", QuirkKind)
def test_each_kind_has_words(kind) -> None:
    assert Quirk(kind, "x-amz-acl", "HTTP 501").words().endswith("(HTTP 501)")
