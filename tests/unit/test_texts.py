"""Texts of settings, whoever wrote them."""

from __future__ import annotations

import json
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.settings import texts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a", "a"),
        (" a\n", "a"),
        ("\r\n\ta b \x0b", "a b"),
        ("", ""),
        (" \n", ""),
        ('"public-read"', "public-read"),
        (' "public-read"\n', "public-read"),
        ('" a "', "a"),
        ('""', ""),
        ('"', '"'),
        ('"a', '"a'),
        ('"a" and "b"', '"a" and "b"'),
        (json.dumps(json.dumps({"*.html": "x"})), '{"*.html": "x"}'),
        ('"a\\nb"', "a\nb"),
        ('"a\nb"', "a\nb"),
        ("'a'", "'a'"),
    ],
)
def test_a_text_is_plain_without_spaces_and_quotes_around_it(text, plain):
    assert texts.plain_text(text) == plain


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a b", ""),
        ("ä\u2028\udce9", ""),
        ("a\nb", texts.CONTROL_HINT),
        ("a\tb", texts.CONTROL_HINT),
        ("a\x00b", texts.CONTROL_HINT),
        ("a\x7f", texts.CONTROL_HINT),
        ("a\x85b", texts.CONTROL_HINT),
        ('{\n  "a": "b"\n}', ""),
        ('{"a": "b\\n"}', texts.CONTROL_HINT),
        ('{"a\\u0000": 1}', texts.CONTROL_HINT),
        ('[\n"a",\n{"b": ["\\r"]}]', texts.CONTROL_HINT),
        ("{\n", texts.CONTROL_HINT),
        ("[" * 100_000 + "\n", texts.CONTROL_HINT),
        (r"C:\a", ""),
        (r"C:\ud800", ""),
        ("a\ud800", texts.UTF8_HINT),
        ("\udc00 first", texts.UTF8_HINT),
        ("\udfff last", texts.UTF8_HINT),
        ('{"a": "\\ud800"}', texts.UTF8_HINT),
        ('{"a": "\\udcff \\ud83d\\ude00"}', ""),
    ],
)
def test_a_fault_is_found_but_for_control_characters_between_the_values_of_json(text, hint):
    assert texts.find_fault(text) == hint


@pytest.mark.parametrize(
    ("text", "good"), [("", True), ("a", True), ("ä\u2028😀", True), ("a\udcff", False), ("\ud800", False)]
)
def test_a_name_with_other_bytes_is_no_utf_8(text, good):
    assert texts.is_utf8(text) is good


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("${AWS_KEY}", ("${AWS_KEY}", "AWS_KEY")),
        ("eu-$(REGION)-1", ("$(REGION)", "REGION")),
        ('<+secrets.getValue("key")>', ('<+secrets.getValue("key")>', 'secrets.getValue("key")')),
        ("${}", ("${}", "")),
        ("$HOME", None),
        ("a$b", None),
        ("", None),
    ],
)
def test_a_placeholder_that_nothing_replaced_is_found(text, found):
    assert texts.find_placeholder(text) == found


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("http://proxy:3128", "http://proxy:3128", []),
        ("http://me:pa%21ss@proxy:3128", "http://***@proxy:3128", ["me:pa%21ss", "pa%21ss", "me:pa!ss", "pa!ss"]),
        ("http://token@proxy/", "http://***@proxy/", ["token"]),
        ("me:word@proxy", "me:word@proxy", ["me:word", "word"]),
        ("http://me:a/b@c@proxy/", "http://***@proxy/", ["me:a/b@c", "a/b@c"]),
        ("see http://a:b@c and https://d:e@f", "see http://***@c and https://***@f", None),
    ],
)
def test_user_and_password_are_taken_out_of_a_url(url, shown, secrets):
    assert texts.without_userinfo(url) == shown
    assert secrets is None or texts.secrets_of_url(url) == secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1/p", "http://h:1/p"),
        ("me:word@h", "***@h"),
        ("http://me:a/b@c@h/p?k=v#f", "http://***@h/p?***"),
        ("h#f", "h?***"),
    ],
)
def test_an_endpoint_is_shown_without_what_may_be_secret(url, shown):
    assert texts.without_secrets(url) == shown


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("2027-01-31T12:00:00Z", "Sun, 31 Jan 2027 12:00:00 GMT"),
        ("2027-01-31T12:00:00.5+02:00", "Sun, 31 Jan 2027 10:00:00 GMT"),
        ("2030-01-01 00:00:00+00:00", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("2027-01-31T12:00", "Sun, 31 Jan 2027 12:00:00 GMT"),
        ("2027-01-31", "Sun, 31 Jan 2027 00:00:00 GMT"),
    ],
)
def test_a_date_becomes_http_s_own_form(text, date):
    assert texts.http_date(text) == date


@pytest.mark.parametrize(
    "text", ["0", "-1", "never", "3600", "31.1.2027", "2027-13-01", "0001-01-01T00:00:00+23:00", "Sun, 06 Nov 1994", ""]
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match="write a date such as 2027-01-31T12:00:00Z"):
        texts.http_date(text)


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_an_http_date_is_read_as_e_mail_reads_it(moment):
    date = format_datetime(moment, usegmt=True)

    assert texts.parse_http_date(date) == parsedate_to_datetime(date)


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 29 Nov 2026 13:26:16 +0200",
        "Sunday, 29-Nov-26 13:26:16 GMT",
        "29 Nov 2026 13:26:16 GMT",
        "Sun, 29 Nov 2026 13:26:16 EST",
        "Sun, 29 Nov 2026 13:26:60 GMT",
        "Sun, 31 Feb 2026 13:26:16 GMT",
        "Sun, 29 Foo 2026 13:26:16 GMT",
        "Sun, ٢٩ Nov 2026 13:26:16 GMT",
        "",
        "soon",
        "Sun, 29 Nov 99999999999999999999 13:26:16 GMT",
    ],
)
def test_an_odd_date_is_read_as_e_mail_reads_it_or_is_none(date):
    assert moment_or_none(texts.parse_http_date, date) == moment_or_none(parsedate_to_datetime, date)


def moment_or_none(parse, date):
    try:
        return parse(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
