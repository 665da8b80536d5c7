"""From texts to values of settings, and the sentence for a wrong one."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from s3batch.base import units
from s3batch.base.errors import SettingsError
from s3batch.base.named_tuple import NamedTuple
from s3batch.settings import texts
from s3batch.settings.schema import LISTS, Form, Setting, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_SHOWN = 200
"""Characters of a wrong value that an error shows; a map may be pages long."""
_MOST_VERBOSE = 2
"""Nothing is said from the third ``-v`` on."""


class GivenText(NamedTuple):
    """The text of a value and its origin: a variable, a flag or a config file."""

    text: str
    origin: str
    exact: bool = False
    """True for an argument, such as a path: white space at its ends and quotes are part of it."""


def first_given(names: Iterable[str], environ: Mapping[str, str]) -> GivenText | None:
    """Return the first of these variables that is not empty."""
    return next((GivenText(environ[name], name) for name in names if environ.get(name, "").strip()), None)


def unknown_name_error(
    what: str, name: str, known: Iterable[str], *, prefix: str = "", origin: str = ""
) -> SettingsError:
    """Return the error for an unknown name, with the nearest known name as its hint.

    All names begin with ``prefix``; the comparison leaves it out.
    """
    import difflib  # noqa: PLC0415 - only needed to complain

    bare = sorted(each.removeprefix(prefix) for each in known)
    near = difflib.get_close_matches(name.removeprefix(prefix), bare, n=1)
    where = f" (from {origin})" if origin else ""
    hint = f"did you mean {prefix}{near[0]}?" if near else "see s3batch --help"
    return SettingsError(f"there is no {what} {name}{where}", hint=hint)


def parse_setting(row: Setting, text: str, origin: str, *, exact: bool = False) -> Any:
    """Parse the text of a setting. Empty text is the default. ``exact`` is that of :class:`GivenText`.

    Raises SettingsError, which names the setting, the value, its origin and what to write instead.
    """
    text = text if exact else texts.plain_text(text)
    if not text:
        return row.default
    _refuse_placeholder(row, text, origin)
    try:
        if row.form not in LISTS:
            _refuse_fault(texts.find_fault(text))
        if _goes_out_as_text(row) and not texts.is_utf8(text):
            raise ValueError(texts.UTF8_HINT)
        value = _parse_form(row, text)
    except ValueError as error:
        raise wrong_value_error(row, text, origin, str(error)) from None
    return row.default if row.zero_is_unset and not isinstance(value, str) and value <= 0 else value


def _find_literal_part(row: Setting, text: str) -> str:
    """Return the part of a setting's text that cannot contain ``${NAME}``: all of it, the bucket of a place, or nothing."""
    if row.topic is Topic.ACCESS or row.name in _LITERAL:
        return text
    return text.removeprefix("s3://").partition("/")[0] if row.name in _PLACES and text.startswith("s3://") else ""


def clean_values(given: Mapping[str, GivenText]) -> dict[str, GivenText]:
    """Strip white space and quotes from values, and leave out those that are empty then."""
    plain = {name: one if one.exact else one._replace(text=texts.plain_text(one.text)) for name, one in given.items()}
    return {name: one for name, one in plain.items() if one.text}


def _refuse_placeholder(row: Setting, text: str, origin: str) -> None:
    """Raise SettingsError for a placeholder such as ``${NAME}`` that the CI did not replace."""
    found = texts.find_placeholder(_find_literal_part(row, text))
    if found:
        raise SettingsError(
            f"{row.name} still holds {found[0]!r} (from {origin}): {found[1] or 'it'} has no value",
            hint=f"set the variable or secret {found[1]}, or write the value itself" if found[1] else "write the value",
        )


def _goes_out_as_text(row: Setting) -> bool:
    """Return whether a store or a service gets the value as text. Paths, patterns and keys of files may hold any bytes."""
    return (row.topic is Topic.ACCESS and row.name not in _NAMES_OF_FILES) or row.name in _TEXTS


def _refuse_fault(hint: str) -> None:
    if hint:
        raise ValueError(hint)


_KEY_PIECE = r"(?s)\{\{.*?\}\}|\\,|."
_LITERAL = frozenset({"bucket", "cloudfront_endpoint"})
"""Settings outside Topic.ACCESS whose value cannot contain ``${NAME}``."""
_TEXTS = _LITERAL | {"backup", "cloudfront_distribution", "ping", "scheduler"}
"""Settings outside Topic.ACCESS that go out as text."""
_NAMES_OF_FILES = frozenset({"sse_c_key", "source_sse_c_key"})
"""Settings of Topic.ACCESS whose flag names a file."""
_PLACES = frozenset({"source", "backup"})
"""Settings that may name a bucket."""


def wrong_value_error(row: Setting, value: object, origin: str, instead: str) -> SettingsError:
    """Return the error for a wrong value. It never shows a secret."""
    text = _format_given(row, value)
    text = texts.without_secrets(text) if row.form is Form.URL else texts.without_userinfo(text)
    shown = "***" if row.secret else text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return SettingsError(f"{row.name} cannot be {shown!r} (from {origin})", hint=instead)


def _format_given(row: Setting, value: object) -> str:
    """Return a value as a person writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if row.form in (Form.DURATION, Form.DAYS) and isinstance(value, int | float):
        return f"{value:g}s"
    if isinstance(value, str) and value[:1] == "[":  # how a flag that may be repeated comes here
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(value)
            value = tuple(found) if all(isinstance(each, str) for each in found) else value
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _parse_form(row: Setting, text: str) -> Any:
    match row.form:
        case Form.BOOLEAN:
            return units.parse_boolean(text)
        case Form.COUNT:
            return parse_level(text)
        case Form.INTEGER | Form.SIZE | Form.DURATION | Form.DAYS:
            return _check_limits(row, _parse_scaled(row.form, text))
        case Form.BANDWIDTH:
            from s3batch.settings.bandwidth import parse_bandwidth  # noqa: PLC0415 - few jobs have a limit

            return parse_bandwidth(text)
        case Form.LIMIT:
            units.parse_limit(text)
            return text.strip()
        case Form.LIST:
            return tuple(_match_choice(row, _check_item(item)) for item in split_list(text))
        case Form.KEYS:
            return tuple(_check_item(item) for item in split_keys(text))
        case Form.URL:
            return _parse_url(text.strip(), is_endpoint=row.topic is not Topic.OUTPUT)
        case Form.RULES | Form.MAP:
            return text
    return _match_choice(row, text)


def _check_item(item: str) -> str:
    _refuse_fault(texts.find_fault_of_string(item))
    return item


def _parse_scaled(form: Form, text: str) -> float:
    match form:
        case Form.SIZE:
            return units.parse_size(text)
        case Form.DURATION:
            return _require_timer(units.parse_duration(text))
        case Form.DAYS:
            return units.parse_duration(text, default_unit="d")
    return units.parse_integer(text)


def _require_timer(seconds: float) -> float:
    if seconds > units.LONGEST_TIMER:
        raise ValueError(f"write at most {units.LONGEST_TIMER / 86400:g}d")
    return seconds


def _check_limits(row: Setting, number: float) -> float:
    if row.zero_is_unset or (
        (row.minimum is None or number >= row.minimum) and (row.maximum is None or number <= row.maximum)
    ):
        return number
    limits = [f"at least {_format_limit(row, row.minimum)}" if row.minimum is not None else ""]
    limits.append(f"at most {_format_limit(row, row.maximum)}" if row.maximum is not None else "")
    raise ValueError("write " + " and ".join(filter(None, limits)))


def _format_limit(row: Setting, number: float) -> str:
    return units.format_size(number) if row.form is Form.SIZE else f"{number:g}"


def _match_choice(row: Setting, text: str) -> str:
    if not row.choices:
        return text
    for choice in row.choices:
        if choice.lower() == text.strip().lower():
            return choice
    raise ValueError("write " + _any_of(row.choices))


def _any_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def parse_level(text: str) -> int:
    """Return how often ``-v`` is meant: a boolean or a number."""
    try:
        return int(units.parse_boolean(text))
    except ValueError:
        return min(max(units.parse_integer(text), 0), _MOST_VERBOSE)


def _parse_url(text: str, *, is_endpoint: bool) -> str:
    """Return the URL; one that is no endpoint may have a query, needs its scheme, and stays as it is."""
    if not is_endpoint and "://" not in text:
        raise ValueError("write an address that begins with https:// or http://")
    url = text if "://" in text else f"https://{text}"
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        raise ValueError("remove user and password" + "; set access_key and secret_key" * is_endpoint)
    if is_endpoint and ("?" in rest or "#" in rest):
        raise ValueError("remove everything from ? or # on")
    if scheme.lower() not in {"http", "https"} or not rest.strip("/") or any(letter.isspace() for letter in url):
        raise ValueError("write an address such as https://s3.example.com:9000")
    if not is_endpoint:
        return url
    host, slash, path = rest.partition("/")
    usual_port = ":443" if scheme.lower() == "https" else ":80"
    return f"{scheme.lower()}://{host.lower().removesuffix(usual_port)}{slash}{path}".rstrip("/")


def split_list(text: str) -> tuple[str, ...]:
    """Split a JSON list, or items between commas and line breaks. Spaces around items and empty items are dropped."""
    items: list[Any] = re.split(r"[,\n\r]", text)
    if text.strip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            items = json.loads(text)
    return tuple(word for word in (_ci_word(item).strip() for item in items) if word)


def split_keys(text: str) -> tuple[str, ...]:
    r"""Split a list of cache keys: as :func:`split_list`, but ``\,`` is a comma, and ``{{...}}`` is never split."""
    if text.strip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return tuple(word for word in (_ci_word(item).strip() for item in json.loads(text)) if word)
    items = [""]
    for piece in re.findall(_KEY_PIECE, text):
        if piece in {",", "\n", "\r"}:
            items.append("")
        else:
            items[-1] += "," if piece == "\\," else piece
    return tuple(item.strip() for item in items if item.strip())


def join_keys(keys: Iterable[str]) -> str:
    """Join keys so that :func:`split_keys` splits them again. No key may hold a line break."""
    return ",".join(re.sub(_KEY_PIECE, lambda piece: "\\," if piece[0] == "," else piece[0], key) for key in keys)


def _ci_word(item: object) -> str:
    """Return a JSON value as a CI writes it: booleans in lower case, null as empty text."""
    if item is None:
        return ""
    return item if isinstance(item, str) else json.dumps(item)


def as_plain_value(value: object) -> Any:
    """Return a value as JSON has it: a list for a tuple."""
    return list(value) if isinstance(value, tuple) else value
