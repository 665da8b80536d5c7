"""Documents as text: the same as the standard library's, whatever their lists are kept in, and in little memory."""

from __future__ import annotations

import io
import json
import tempfile
import tracemalloc

import pytest

from s3batch.base.errors import JournalError
from s3batch.reporting.console import Output
from s3batch.reporting.json_stream import Collected, Rows, Spool, iterate_document_text

FLAT = [{"key": f"k{number}, ", "line break": 'a\nb, "é: ', "status": number, "none": None} for number in range(1200)]
ROWS = [{**row, "nested": {"list": [number, []]}} if number % 3 else row for number, row in enumerate(FLAT)]


def spooled(rows) -> Spool:
    spool = Spool()
    for row in rows:
        spool.add(row)
    return spool


@pytest.mark.parametrize("count", [0, 1, 2, 499, 500, 501, 1200])
@pytest.mark.parametrize("make", [spooled, lambda rows: Rows(lambda: iter(rows), len(rows))], ids=["spool", "rows"])
def test_the_text_is_that_of_the_standard_library(make, count):
    rows = ROWS[:count]
    document = {"first": {"a": [1]}, "rows": make(rows), "empty": [], "last": None}

    text = "".join(iterate_document_text(document))

    assert text == json.dumps({**document, "rows": rows}, indent=2)
    assert "".join(iterate_document_text(document)) == text, "it can be read again"
    assert len(document["rows"]) == count


def test_an_empty_document_is_one():
    assert "".join(iterate_document_text({})) == json.dumps({}, indent=2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_documents_are_collected_into_one(count):
    stdout = io.StringIO()
    output = Output(stdout, io.StringIO())
    output.redact(["password"])
    output.held = Collected()
    for number in range(count):
        output.document({"job": number, "rows": spooled(ROWS[:number]), "said": "##vso[x] password"})
    held, output.held = output.held, None
    written_before = stdout.getvalue()

    output.document({"command": "resume", "jobs": held})

    jobs = [{"job": number, "rows": ROWS[:number], "said": "#\u0023vso[x] ***"} for number in range(count)]
    assert written_before == ""
    assert json.loads(stdout.getvalue()) == {"command": "resume", "jobs": jobs}
    assert "##vso" not in stdout.getvalue()


class Widest(io.StringIO):
    """A stream that keeps nothing but how much it was given at once."""

    most = total = 0

    def write(self, text: str) -> int:
        self.most, self.total = max(self.most, len(text)), self.total + len(text)
        return len(text)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows():
    stdout = Widest()
    tracemalloc.start()
    try:
        spool = spooled(
            {"operation": "upload", "key": f"site/{number}", "reason": "missing"} for number in range(100_000)
        )
        Output(stdout, io.StringIO()).document({"plan": spool})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert stdout.total > 8_000_000
    assert stdout.most < 100_000
    assert most < 3_000_000


def test_a_full_temporary_directory_is_one_clear_sentence(monkeypatch):
    class Full(io.BytesIO):
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda _: Full())

    with pytest.raises(JournalError, match="the temporary directory cannot keep what this run reports: No space left"):
        spooled(ROWS)
