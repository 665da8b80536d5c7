"""Each form of a report, read back by a parser of that form, with keys that mean something in it."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from s3batch.reporting.forms.csv_rows import render_csv
from s3batch.reporting.forms.html_page import render_html
from s3batch.reporting.forms.junit import render_junit
from s3batch.reporting.forms.markdown import format_code_span, render_markdown
from s3batch.reporting.forms.prometheus import render_prometheus
from s3batch.reporting.json_stream import Rows
from s3batch.reporting.run_report import RunReport
from tests.rig.reports import HOSTILE, document_of, failed, journalled

FORMS = [render_html, render_markdown, render_junit, render_prometheus, render_csv]
STOPPED = {"error": "the bucket nope does not exist", "state": "failed", "exit_code": 4, "files": 0, "operations": {}}


def text_of(render: Any, report: RunReport) -> str:
    """The whole form, as it is in the file."""
    return "".join(render(report)).encode("utf-8", "backslashreplace").decode()


def report_of(*keys: str, **more: Any) -> RunReport:
    return RunReport(document=document_of([failed(key) for key in keys], **more), verdict="failed in 1m 02s")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunReport]:
    with journalled(tmp_path_factory.mktemp("job"), 500, HOSTILE) as report:
        yield report


@pytest.mark.parametrize("render", FORMS)
@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"command": "resume", "exit_code": 0, "jobs": []}, id="of all jobs"),
        pytest.param(document_of(), id="of a sync"),
        pytest.param(document_of() | STOPPED, id="of a sync that could not begin"),
        pytest.param({"command": "cache list", "exit_code": 0, "cache": {"caches": []}}, id="of a list"),
        pytest.param(document_of(exit_code=None, state="running", ended=None), id="of a job that runs"),
    ],
)
def test_every_document_has_every_form(render: Any, document: dict[str, Any]) -> None:
    assert text_of(render, RunReport(document=document))


class TestJUnit:
    """``.xml``."""

    def cases(self, report: RunReport) -> list[ElementTree.Element]:
        suites = ElementTree.fromstring(text_of(render_junit, report))
        (suite,) = suites
        cases = suite.findall("testcase")
        assert suite.attrib["name"] == report.title
        assert int(suite.attrib["tests"]) == int(suites.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == len(suite.findall(".//failure"))
        return cases

    def test_each_failure_is_a_case_and_all_others_are_one(self) -> None:
        first, second, rest = self.cases(report_of("a", "b"))

        (failure,) = first
        assert first.attrib == {"name": "upload a", "classname": "s3batch.sync"}
        assert failure.attrib == {"message": "AccessDenied", "type": "upload"}
        assert failure.text == (
            "PutObject: AccessDenied: no\nHTTP 403, request R-1, tried 3 times\n"
            "next step: grant s3:PutObject, then run it again"
        )
        assert second.attrib["name"] == "upload b"
        assert (rest.attrib["name"], rest.find("failure")) == ("all other operations", None)

    def test_a_run_without_failures_is_one_good_case(self) -> None:
        (rest,) = self.cases(report_of())

        assert (rest.attrib["name"], rest.find("failure")) == ("all other operations", None)

    def test_a_run_that_could_not_begin_is_one_failed_case(self) -> None:
        (rest,) = self.cases(report_of(**STOPPED))

        failure = rest.find("failure")
        assert failure is not None
        assert (failure.attrib["message"], failure.text) == ("exit code 4", STOPPED["error"])

    @pytest.mark.parametrize("key", HOSTILE)
    def test_a_key_comes_back_or_is_escaped(self, key: str) -> None:
        case, _ = self.cases(report_of(key))

        shown = key.replace("\x01\x1b", "\\x01\\x1b").replace("\ufffe\uffff\udcff", "\\ufffe\\uffff\\xff")
        assert case.attrib["name"] == f"upload {shown}"

    def test_a_difference_is_a_failed_case(self) -> None:
        found = {"what": "different", "key": "k", "path": "p", "reason": "content"}
        case, _ = self.cases(RunReport(document=document_of(command="verify", differences=[found], exit_code=1)))

        assert case.attrib["name"] == "compare k"
        assert [each.attrib["message"] for each in case] == ["different"]


class TestPrometheus:
    """``.prom``."""

    def metrics(self, report: RunReport) -> dict[str, float]:
        text = text_of(render_prometheus, report)
        names = re.findall(r"^# TYPE (\w+) gauge$", text, re.MULTILINE)
        assert names == re.findall(r"^# HELP (\w+) [A-Z].*\.$", text, re.MULTILINE)
        found = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                series, value = re.fullmatch(r'(\w+\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\}) (\S+)', line).groups()
                assert series.partition("{")[0] in names
                assert series not in found
                found[series] = float(value)
        return found

    def test_every_metric_has_a_value(self) -> None:
        found = self.metrics(report_of("a"))
        labels = 'command="sync",target="s3://bucket/site"'

        assert found[f"s3batch_exit_code{{{labels}}}"] == 1
        assert found[f"s3batch_started_seconds{{{labels}}}"] == 1796025600
        assert found[f"s3batch_ended_seconds{{{labels}}}"] == 1796025661.5
        assert found[f"s3batch_files{{{labels}}}"] == 12
        assert found[f"s3batch_bytes{{{labels}}}"] == 3400
        assert found[f's3batch_operations{{{labels},operation="upload",state="done"}}'] == 8
        assert found[f's3batch_operations{{{labels},operation="upload",state="failed"}}'] == 1
        assert found[f's3batch_requests{{{labels},request="PutObject"}}'] == 9
        assert found[f"s3batch_retries{{{labels}}}"] == 2
        assert found[f"s3batch_failures{{{labels}}}"] == 1
        assert found[f"s3batch_warnings{{{labels}}}"] == 0

    def test_a_run_that_did_nothing_has_the_same_series(self) -> None:
        nothing = RunReport(document=document_of() | {"operations": {}, "requests": {}} | STOPPED)

        assert set(self.metrics(nothing)) == set(self.metrics(report_of()))

    def test_a_label_may_hold_anything(self) -> None:
        found = self.metrics(report_of(target='s3://b/"quoted\\\n"'))

        assert all(r'target="s3://b/\"quoted\\\n\""' in series for series in found)


class TestCsv:
    """``.csv``."""

    def test_each_operation_is_a_row_with_its_key_as_it_is(self, job: RunReport) -> None:
        text = text_of(render_csv, job)
        head, *rows = csv.reader(io.StringIO(text, newline=""))

        assert head == [
            "job",
            "operation",
            "key",
            "path",
            "state",
            "reason",
            "size",
            "bytes",
            "seconds",
            "attempts",
            "code",
            "status",
            "error",
            "request_id",
        ]
        assert len(rows) == 500 + len(HOSTILE)
        assert rows[1][1:8] == [
            "upload",
            "site/assets/file-000001.bin",
            "assets/file-000001.bin",
            "done",
            "missing",
            "1",
            "1",
        ]
        assert [row[2] for row in rows[500:]] == [key.replace("\udcff", "\\xff") for key in HOSTILE]
        assert {tuple(row[10:]) for row in rows[500:]} == {("AccessDenied", "403", "PutObject: AccessDenied: no", "R1")}
        assert text.count("\r\n") >= len(rows)

    def test_a_verify_has_a_row_for_each_difference(self) -> None:
        found = {"what": "extra", "key": "k", "path": "", "reason": ""}
        text = text_of(render_csv, RunReport(document=document_of(command="verify", job=None, differences=[found])))

        assert text.splitlines()[1] == ",compare,k,,failed,,0,0,0.0,0,extra,0,extra,"


class TestMarkdown:
    """``.md``."""

    @pytest.mark.parametrize("key", HOSTILE)
    def test_no_key_breaks_its_code_span(self, key: str) -> None:
        span = format_code_span(key)
        marks, inner = re.fullmatch(r"(`+)(.*)\1", span).groups()

        assert "\n" not in span
        assert marks not in re.findall("`+", inner)
        if inner.startswith(" ") and inner.endswith(" ") and inner.strip():
            inner = inner[1:-1]  # CommonMark 6.1
        assert inner == key or "\\" in inner

    def test_it_tells_what_was_done_and_what_to_do(self) -> None:
        text = text_of(render_markdown, RunReport(document=document_of([failed("a")]), resume="s3batch resume J"))

        assert "### s3batch sync: failed" in text
        assert "| upload | 9 | 8 | 1 | 0 | 2.9 KiB |" in text
        assert "- upload `a`\n  - `PutObject: AccessDenied: no`" in text
        assert "next step: `grant s3:PutObject, then run s3batch resume J`" in text
        assert text.endswith("```sh\ns3batch resume J\n```\n")

    def test_it_ends_somewhere(self) -> None:
        long = [failed("k" * 1024 + str(number), error="e" * 100_000) for number in range(5000)]
        text = text_of(render_markdown, RunReport(document=document_of(long, warnings=["w" * 5000] * 900)))

        assert len(text.encode()) < 1 << 20
        assert "Of 5,000 failures the first 100 are shown" in text
        assert "and 800 more" in text


class Page(HTMLParser):
    """The tags of a page, and its texts by the tag they stand in."""

    VOID = frozenset({"meta", "circle", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.bdi: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "bdi":
            self.bdi.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "bdi" in self.open:
            self.bdi[-1] += data


class TestHtml:
    """``.html``."""

    def test_it_is_one_file_that_runs_nothing_and_asks_for_nothing(self, job: RunReport) -> None:
        text = text_of(render_html, job)
        page = Page(text)

        assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "form", "base"}
        assert not [
            name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"
        ]
        assert {value for _, each in page.tags for name, value in each.items() if name in {"href", "src"}} == {"#main"}
        policy = next(each["content"] for _, each in page.tags if each.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "url(" not in text
        assert "@import" not in text

    def test_what_comes_from_outside_is_isolated_and_shown(self, job: RunReport) -> None:
        page = Page(text_of(render_html, job))

        assert "<script>alert(1)</script>" in page.bdi
        assert "evil\\u202egpj.exe" in page.bdi
        assert "\\u2066isolate\\u2069" in page.bdi
        assert "line\\x0abreak\\x0d\\x09tab" in page.bdi
        assert "{{ 7 * 7 }}{% raw %}" in page.bdi
        assert "ünï/日本/🎉" in page.bdi

    def test_it_has_a_verdict_causes_steps_plots_and_the_slowest(self, job: RunReport) -> None:
        text = text_of(render_html, job)
        headings = re.findall(r"<h([123])[^>]*>(.*?)</h\1>", text, re.DOTALL)

        assert headings[0][0] == "1"
        assert "Failed, exit code 1" in headings[0][1]
        assert [words for level, words in headings if level == "2"] == [
            "What changed", "19 failures", "Over time", "Durations and sizes", "Slowest objects", "The run",
        ]  # fmt: skip
        assert text.count("grant s3:PutObject, then run s3batch resume") == len(HOSTILE)
        assert len(re.findall(r'<path class="line" d="M[\d. L-]+"/>', text)) == 2

    def test_a_person_without_sight_or_mouse_can_use_it(self, job: RunReport) -> None:
        page = Page(text_of(render_html, job))
        ids = [each["id"] for _, each in page.tags if "id" in each]

        assert len(set(ids)) == len(ids)
        assert {each["aria-labelledby"] for _, each in page.tags if "aria-labelledby" in each} <= set(ids)
        assert ("html", {"lang": "en"}) in page.tags
        for tag, each in page.tags:
            assert (
                tag != "svg"
                or each.get("aria-hidden") == "true"
                or (each["role"], bool(each["aria-label"])) == ("img", True)
            )
            assert tag != "th" or each.get("scope") in {"col", "row"}
            assert each.get("role") != "region" or each["tabindex"] == "0"

    def test_it_stays_below_three_mebibytes(self, tmp_path: Path) -> None:
        worst = ["&" * 1000 + f"{number}" for number in range(3000)]
        with journalled(tmp_path, 100, worst) as report:
            document = {**report.document, "warnings": ["<" * 3000] * 900, "error": "'" * 100_000}
            text = text_of(
                render_html,
                RunReport(document=document, statistics=report.statistics, read_samples=report.read_samples),
            )

        assert 1 << 20 < len(text.encode()) < 3 << 20
        assert "SELECT * FROM failures WHERE job" in text

    def test_five_hundred_failures_of_many_are_shown(self, tmp_path: Path) -> None:
        with journalled(tmp_path, 100, [f"k{number}" for number in range(700)]) as report:
            text = text_of(render_html, report)

        assert text.count("<dt>Cause</dt>") == 500
        assert "and 200 more." in text


@pytest.mark.parametrize("render", FORMS)
def test_memory_does_not_grow_with_the_failures(render: Any) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        return (failed(f"key-{number}", error="x" * 500) for number in range(20_000))

    report = RunReport(document=document_of() | {"failures": Rows(rows, 20_000)})
    for _ in islice(render(report), 3):
        pass  # imports are no memory of this report
    tracemalloc.start()
    try:
        for _ in render(report):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 6 << 20
