"""The texts of settings from every source: spaces, quotes, control characters, placeholders, dates. Pure text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""C0, DEL and C1: control characters, which no setting may hold."""
CONTROL_HINT = "write it without line breaks and control characters"
_BYTE = "[\udc80-\udcff]"
"""A byte that is not UTF-8, as ``os.fsdecode`` makes it: a file's name may hold one."""
_HALF = "[\ud800-\udc7f\udd00-\udfff]"
"""Half a character, which only an escape of JSON makes: nothing may hold one."""
UTF8_HINT = "write it in UTF-8"
_PLACEHOLDER = r"\$\{(?P<braces>[^}]*)\}|\$\((?P<parens>[^)]*)\)|<\+(?P<harness>[^>]*)>"
_USERINFO = r"(?<=://)[^\s@]*(?:@[^\s@/?#]*)*(?=@)"
_HTTP_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""RFC 9110, 5.6.7: the form to write, and the two obsolete ones."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_USUAL_DATE = r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([1-9][0-9]{3}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
"""The form that RFC 9110 has programs write, and that every store writes."""
EXPIRES_HINT = "write a date such as 2027-01-31T12:00:00Z or Sun, 31 Jan 2027 12:00:00 GMT"


def plain_text(text: str) -> str:
    """Return a setting's text without white space at its ends, out of its quotes if it is one JSON string."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return text
        return value.strip() if isinstance(value, str) else text
    return text


def find_fault(text: str) -> str:
    """Return what to write instead of a text that no setting may hold, such as a control character; empty for a good one.

    A JSON object or list is judged by the strings in it.
    """
    if text.isprintable() and "\\" not in text:  # neither a control character nor half a character is printable
        return ""
    if text[:1] in {"{", "["}:
        try:
            return next(filter(None, map(find_fault_of_string, _walk_strings(json.loads(text)))), "")
        except (ValueError, RecursionError):
            pass
    return find_fault_of_string(text)


def find_fault_of_string(text: str) -> str:
    """Return what to write instead of a text that is no JSON; empty for a good one."""
    if CONTROL.search(text):
        return CONTROL_HINT
    return UTF8_HINT if not text.isascii() and re.search(_HALF, text) else ""


def is_utf8(text: str) -> bool:
    """Return whether a text has a form in UTF-8: it is no name with other bytes."""
    return text.isascii() or not (re.search(_BYTE, text) or re.search(_HALF, text))


def _walk_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from _walk_strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _walk_strings(below)


def find_placeholder(text: str) -> tuple[str, str] | None:
    """Return the first ``${NAME}``, ``$(NAME)`` or ``<+NAME>`` that nothing has replaced, and its NAME."""
    found = re.search(_PLACEHOLDER, text) if "$" in text or "<+" in text else None
    if not found:
        return None
    return found[0], (found["braces"] or found["parens"] or found["harness"] or "").strip()


def without_userinfo(text: str) -> str:
    """Return the text with ``***`` in the place of a user and password in a URL."""
    return re.sub(_USERINFO, "***", text)


def without_secrets(url: str) -> str:
    """Return the URL, with or without a scheme, with ``***`` for user and password and for what follows ? or #."""
    scheme, has_scheme, rest = url.partition("://") if "://" in url else ("", "", url)
    _, at, place = rest.rpartition("@")
    place, mark, _ = re.sub(r"[?#]", "?", place).partition("?")
    return f"{scheme}{has_scheme}{'***@' if at else ''}{place}{'?***' if mark else ''}"


def secrets_of_url(url: str) -> list[str]:
    """Return the secrets in a URL: its user and password, as written and decoded."""
    userinfo, at, _ = url.rpartition("@")
    userinfo = userinfo.rpartition("://")[2]
    user, _, password = userinfo.partition(":")
    found = [userinfo, password or user] if at else []
    return list(dict.fromkeys([*found, *map(unquote, found)]))


def http_date(text: str) -> str:
    """Return an HTTP date, from one or from an ISO 8601 timestamp (UTC where it names no zone). Raises ValueError."""
    for form in _HTTP_DATES:
        try:
            return _as_http_date(datetime.strptime(text, form).replace(tzinfo=UTC))
        except ValueError:
            continue
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return _as_http_date(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError(EXPIRES_HINT) from None


def parse_http_date(text: str) -> datetime:
    """Return the moment that an HTTP date names, in any form that e-mail knows too. Raises ValueError."""
    usual = re.fullmatch(_USUAL_DATE, text)
    if usual is not None and usual[2] in _MONTHS:
        day, month, year, hour, minute, second = usual.groups()
        numbers = int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)
        return datetime(*numbers, tzinfo=UTC)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 10 ms, for a form that no store writes

    try:
        return parsedate_to_datetime(text)
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _as_http_date(moment: datetime) -> str:
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"
