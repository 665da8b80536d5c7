"""Numbers as people write and read them."""

from __future__ import annotations

import pytest

from s3batch.base import units

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("4096", 4096, id="plain bytes"),
        pytest.param("50MiB", 50 * MIB, id="IEC"),
        pytest.param("16M", 16 * MIB, id="a bare letter is IEC"),
        pytest.param("16m", 16 * MIB, id="case does not matter"),
        pytest.param("5MB", 5_000_000, id="SI"),
        pytest.param("1kB", 1000, id="SI kilo"),
        pytest.param("1.5GiB", 3 << 29, id="a fraction"),
        pytest.param("1e+06", 1_000_000, id="a float as Drone writes it"),
        pytest.param("1_000", 1000, id="grouped digits"),
        pytest.param(" 2 KiB ", 2048, id="spaces"),
        pytest.param("10MiB/s", 10 * MIB, id="a rate"),
        pytest.param("12B", 12, id="B"),
        pytest.param("0", 0, id="nothing"),
    ],
)
def test_a_size_is_read_as_bytes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1XB", "1 2", "5 bananas", "1e999", "NaN", "0x10"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="16MiB"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("90s", 90, id="seconds"),
        pytest.param("5", 5, id="plain numbers are seconds"),
        pytest.param("0.5", 0.5, id="a fraction"),
        pytest.param("3m", 180, id="minutes"),
        pytest.param("36h", 129_600, id="hours"),
        pytest.param("7d", 604_800, id="days"),
        pytest.param("2w", 1_209_600, id="weeks"),
        pytest.param("1h30m", 5400, id="Go's way"),
        pytest.param("3m0s", 180, id="Go's way, with a zero"),
        pytest.param("500ms", 0.5, id="milliseconds"),
        pytest.param("1.5h", 5400, id="a fraction of an hour"),
    ],
)
def test_a_duration_is_read_as_seconds(text, seconds):
    assert units.parse_duration(text) == seconds


def test_a_plain_number_counts_in_the_unit_asked_for():
    assert units.parse_duration("7", default_unit="d") == 604_800


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1x", "1h foo", "7 fortnights", "1e999"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="7d"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("10", 10, id="decimal"),
        pytest.param("0x10", 16, id="hexadecimal"),
        pytest.param("0X1f", 31, id="hexadecimal in capitals"),
        pytest.param("010", 8, id="octal as Go reads it"),
        pytest.param("0o17", 15, id="octal as Python writes it"),
        pytest.param("0b11", 3, id="binary"),
        pytest.param("1_0", 10, id="grouped digits"),
        pytest.param("1e+06", 1_000_000, id="a float as Drone writes it"),
        pytest.param("5.0", 5, id="a whole float"),
        pytest.param("-3", -3, id="negative"),
        pytest.param("0", 0, id="zero"),
    ],
)
def test_an_integer_is_read_as_go_and_drone_write_it(text, number):
    assert units.parse_integer(text) == number


@pytest.mark.parametrize("text", ["", "abc", "5.5", "1 0", "0x", "1e999", "--3", "inf", "٣", "9" * 400, "1e300"])
def test_what_is_no_integer_is_refused(text):
    with pytest.raises(ValueError, match="whole number"):
        units.parse_integer(text)


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True", "yes", "YES", "y", "on", "On", " true "])
def test_every_way_to_say_yes_is_true(text):
    assert units.parse_boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False", "no", "NO", "n", "off", "Off"])
def test_every_way_to_say_no_is_false(text):
    assert units.parse_boolean(text) is False


@pytest.mark.parametrize("text", ["", "maybe", "2", "truee"])
def test_what_is_neither_yes_nor_no_is_refused(text):
    with pytest.raises(ValueError, match="true or false"):
        units.parse_boolean(text)


@pytest.mark.parametrize(
    ("text", "total", "allowed"),
    [
        pytest.param("100", 5, 100, id="a number"),
        pytest.param("10%", 200, 20, id="a percentage"),
        pytest.param("2.5 %", 99, 2, id="rounded down"),
        pytest.param("0", 9, 0, id="none"),
        pytest.param("150%", 10, 15, id="more than all"),
    ],
)
def test_a_limit_is_a_number_or_a_percentage(text, total, allowed):
    assert units.parse_limit(text).of(total) == allowed


@pytest.mark.parametrize("text", ["", "%", "-1", "-1%", "ten", "1e999%", "9" * 400])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(ValueError, match=r"number|percentage"):
        units.parse_limit(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (12 * MIB + 5, "12 MiB"),
        (MIB - 1, "1.0 MiB"),
        (5 << 40, "5 TiB"),
        (3 << 60, "3072 PiB"),
    ],
)
def test_a_size_is_shown_short(size, text):
    assert units.format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.4504, "450 ms"),
        (0.9999, "1.0 s"),
        (3.21, "3.2 s"),
        (59.96, "1m 00s"),
        (65, "1m 05s"),
        (7380, "2h 03m"),
        (446_400, "5d 04h"),
    ],
)
def test_a_duration_is_shown_short(seconds, text):
    assert units.format_duration(seconds) == text


def test_a_count_is_shown_in_groups():
    assert units.format_count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "copy", "1 copy"), (11, "copy", "11 copies"), (2, "day", "2 days"), (0, "delete", "0 deletes")],
)
def test_a_noun_is_in_the_plural_unless_there_is_one(count, noun, text):
    assert units.format_plural(count, noun) == text
