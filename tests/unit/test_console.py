"""The two streams."""

from __future__ import annotations

import ast
import errno
import io
import json
import sys
from pathlib import Path

import pytest

import s3batch
from s3batch.reporting.console import Output
from s3batch.reporting.progress import Totals, make_progress


class Ascii(io.StringIO):
    encoding = "ascii"


class Failing(io.StringIO):
    def __init__(self, error, *, buffered=False):
        super().__init__()
        self.error = error
        self.buffered = buffered

    def write(self, text):
        if not self.buffered:
            raise self.error
        return len(text)

    def flush(self):
        raise self.error


@pytest.fixture
def streams():
    return io.StringIO(), io.StringIO()


def test_data_goes_to_stdout_and_talk_to_stderr(streams):
    output = Output(*streams, verbose=1)

    output.data("upload a missing")
    output.info("begun")
    output.detail("more")
    output.warn("odd")
    output.error("bad")

    assert streams[0].getvalue() == "upload a missing\n"
    assert streams[1].getvalue() == "begun\nmore\ns3batch: warning: odd\ns3batch: error: bad\n"


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        pytest.param({}, ["info", "s3batch: warning: warning"], id="as it is"),
        pytest.param({"verbose": 1}, ["info", "detail", "s3batch: warning: warning"], id="verbose"),
        pytest.param({"quiet": True}, ["s3batch: warning: warning"], id="quiet"),
    ],
)
def test_how_much_is_said_follows_the_settings(streams, how, lines):
    output = Output(*streams, **how)

    output.info("info")
    output.detail("detail")
    output.warn("warning")

    assert streams[1].getvalue().splitlines() == lines


def test_json_lines_carry_time_level_and_message(streams):
    Output(*streams, log_format="json").warn('a "quoted" key')

    line = json.loads(streams[1].getvalue())
    assert (line["level"], line["message"]) == ("warning", 'a "quoted" key')
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_never_shows(streams, log_format):
    output = Output(*streams, log_format=log_format)
    output.redact(["secret/key+1", "short"])

    output.error("signed with secret/key+1 (secret%2Fkey%2B1), in short")
    output.data("secret/key+1")

    shown = streams[0].getvalue() + streams[1].getvalue()
    assert "secret/key" not in shown
    assert "secret%2Fkey" not in shown
    assert "short" in shown


def lines_of(stream):
    """What any reader takes for lines, Unicode's separators included."""
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\rb\x1b[31m\x00", "a\\x0db\\x1b[31m\\x00", id="escape sequences"),
        pytest.param("k\r\tx", "k\\x0d\\x09x", id="tab"),
        pytest.param("k\nupload evil missing", "k\\x0aupload evil missing", id="line feed"),
        pytest.param("a\u2028b\u2029c\x85d\x0be", "a\\u2028b\\u2029c\\x85d\\x0be", id="other line breaks"),
        pytest.param("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066", id="bidirectional controls"),
        pytest.param("a\u200b\ufeff\U000e0041", "a\\u200b\\ufeff\\U000e0041", id="invisible"),
        pytest.param("na\u00efve \u65e5\u672c \U0001f600", "na\u00efve \u65e5\u672c \U0001f600", id="text stays"),
        pytest.param("::error::x", "\\x3a:error::x", id="GitHub"),
        pytest.param("  ::error::x", "  \\x3a:error::x", id="GitHub, indented"),
        pytest.param("a ::b::", "a ::b::", id="no command there"),
        pytest.param("up a##vso[task.x]", "up a\\x23#vso[task.x]", id="Azure"),
        pytest.param("##teamcity[x]", "\\x23#teamcity[x]", id="TeamCity"),
        pytest.param("##[error]x", "\\x23#[error]x", id="GitHub, old"),
        pytest.param("## heading", "## heading", id="no command either"),
        pytest.param("--- x", "\\x2d-- x", id="Buildkite"),
        pytest.param("+++ x", "\\x2b++ x", id="Buildkite, open"),
    ],
)
def test_foreign_text_is_one_harmless_line_on_both_streams(streams, text, shown):
    output = Output(*streams)

    output.data(text)
    output.info(text)
    output.error(text)

    assert lines_of(streams[0]) == [shown]
    assert lines_of(streams[1])[0] == shown
    assert len(lines_of(streams[1])) == 2


@pytest.mark.parametrize("text", ["a\n::error::b", "##vso[task.x]", "\u2028", "\x1b[2J", "\udcff"])
def test_json_says_it_without_saying_it(streams, text):
    output = Output(*streams, log_format="json")

    output.document({"key": text})
    output.error(text)

    assert json.loads(streams[0].getvalue()) == {"key": text}
    assert len(lines_of(streams[0])) == 3
    assert len(lines_of(streams[1])) == 1
    assert "##vso" not in streams[0].getvalue() + streams[1].getvalue()
    assert streams[0].getvalue().isascii()


def test_each_argument_is_a_line(streams):
    output = Output(*streams)

    output.data("a", "", "b")
    output.error("failed", "warning: c\nd")

    assert streams[0].getvalue() == "a\n\nb\n"
    assert streams[1].getvalue() == "s3batch: error: failed\nwarning: c\\x0ad\n"


def test_a_name_the_terminal_cannot_show_is_escaped():
    stdout = Ascii()

    Output(stdout, io.StringIO()).data("na\u00efve \udcff")

    assert stdout.getvalue() == "na\\xefve \\xff\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "full"), ValueError("closed")])
def test_a_stream_that_fails_ends_nothing_and_lost_data_is_known(error):
    output = Output(Failing(error), Failing(error))

    output.error("nobody hears this")
    assert output.lost_data() is None

    output.data("x")
    output.data("y")
    assert output.lost_data() is error


def test_data_that_fails_only_at_the_end_is_lost_too():
    stdout = Failing(OSError(errno.ENOSPC, "full"), buffered=True)
    output = Output(stdout, io.StringIO())

    output.data("x")

    assert output.lost_data() is stdout.error


def test_a_stream_for_progress_never_fails():
    stream = Output(io.StringIO(), Failing(OSError(errno.ENOSPC, "full"))).progress_stream

    for kind in ("bar", "plain"):
        progress = make_progress(kind, stream)
        progress.update(Totals(files_planned=1))
        progress.close()

    assert not stream.isatty()


def test_what_python_and_libraries_print_is_a_detail(streams, monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    output = Output(*streams, verbose=1)

    output.take_strays()
    sys.stdout.write("Traceback\n  ::error::x\r\nrest\n")
    output.verbose = 0
    sys.stderr.write("more\n")

    assert streams[0].getvalue() == ""
    assert lines_of(streams[1]) == ["python: Traceback", "python:   ::error::x\\x0d", "python: rest"]


_GUARDED = {"reporting/console.py": {"stdout", "stderr"}, "executors/fork.py": {"stderr", "print_exc"}}
"""Modules that may touch the process's streams, and how. In a fork ``sys.stderr`` is what ``take_strays`` made it."""


def test_no_other_module_has_a_way_to_a_stream():
    package = Path(s3batch.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(
                    value=ast.Name("sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__" as what
                ):
                    if what not in _GUARDED.get(name, set()):
                        found.append((name, node.lineno, what))
                case ast.Call(func=ast.Name("print" | "input")):
                    found.append((name, node.lineno, node.func.id))
                case ast.Call(func=ast.Attribute(attr="print_exc" | "print_exception" | "print_stack" | "print_help")):
                    if node.func.attr not in _GUARDED.get(name, set()):
                        found.append((name, node.lineno, node.func.attr))
                case ast.Call(func=ast.Attribute(value=ast.Name("os"), attr="write"), args=[ast.Constant(1 | 2), *_]):
                    found.append((name, node.lineno, "os.write"))
    assert found == []


def test_it_knows_whether_the_document_is_out(streams):
    output = Output(*streams)
    before = output.data_written

    output.document({"job": 1})

    assert (before, output.data_written) == (False, True)
    assert json.loads(streams[0].getvalue()) == {"job": 1}
