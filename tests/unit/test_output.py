"""The two streams."""

from __future__ import annotations

import io
import json

import pytest

from s3batch.output import Output


class Ascii(io.StringIO):
    encoding = "ascii"


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


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


def test_control_characters_of_a_file_name_are_shown_as_escapes(streams):
    output = Output(*streams)

    output.info("a\rb\x1b[31m\x00")
    output.data("k\r\tx")

    assert streams[1].getvalue() == "a\\x0db\\x1b[31m\\x00\n"
    assert streams[0].getvalue() == "k\\x0d\tx\n"


def test_a_name_the_terminal_cannot_show_is_escaped():
    stdout = Ascii()

    Output(stdout, io.StringIO()).data("na\u00efve \udcff")

    assert stdout.getvalue() == "na\\xefve \\udcff\n"


def test_a_stderr_nobody_reads_stops_nothing_and_a_stdout_does():
    output = Output(Gone(), Gone())

    output.error("nobody hears this")

    with pytest.raises(BrokenPipeError):
        output.data("x")


def test_it_knows_whether_the_document_is_out(streams):
    output = Output(*streams)
    before = output.data_written

    output.document({"job": 1})

    assert (before, output.data_written) == (False, True)
    assert json.loads(streams[0].getvalue()) == {"job": 1}
