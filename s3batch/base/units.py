"""Numbers: parsing of what people write, and text for people to read. Pure text and arithmetic.

Sizes are bytes: ``KiB MiB GiB TiB`` and the bare ``K M G T`` are powers of 1024, ``kB MB GB TB`` powers of
1000. Durations are seconds. Every parser raises ``ValueError`` whose text says what to write instead.
"""

from __future__ import annotations

import math
import re

from s3batch.base.named_tuple import NamedTuple

_POWERS = "kmgtp"
_SIZE = r"(?i)([0-9][0-9_]*(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)\s*(?:([kmgtp])(i?b)?|b)?(?:/s)?"
_NUMBER = r"(?i)[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?"
_DURATION_PART = r"(?i)([0-9]+(?:\.[0-9]*)?)\s*(ms|us|µs|ns|[wdhms])"
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BASES = {"0x": 16, "0o": 8, "0b": 2}
_TRUE = frozenset({"1", "t", "true", "yes", "y", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "n", "off"})

SIZE_HINT = "write bytes, or a number with KiB, MiB, GiB (or kB, MB, GB), such as 16MiB"
DURATION_HINT = "write a number with s, m, h, d or w, such as 90s, 36h or 7d"
INTEGER_HINT = "write a whole number"
_LARGEST = 2**63 - 1
"""The largest integer that a journal, and a length in Python, can hold."""
LONGEST_TIMER = 250 * 365 * 86400.0
"""Seconds. Timers of Python count nanoseconds in 64 bits, which is 292 years."""
BOOLEAN_HINT = "write true or false"
LIMIT_HINT = "write a number or a percentage, such as 100 or 10%"


class Limit(NamedTuple):
    """``N`` or ``N%`` of something counted later."""

    amount: float
    percent: bool = False

    def of(self, total: int) -> int:
        """Return how many of ``total`` are allowed."""
        return math.floor(total * self.amount / 100) if self.percent else int(self.amount)


def parse_size(text: str) -> int:
    """Return bytes for ``50MiB``, ``16M``, ``1.5GiB``, ``5MB``, ``4096``; a trailing ``/s`` is allowed for rates."""
    found = re.fullmatch(_SIZE, text.strip())
    if not found:
        raise ValueError(SIZE_HINT)
    number, power, suffix = found.groups()
    base = 1000 if power and (suffix or "").lower() == "b" else 1024
    return _require_whole(
        float(number.replace("_", "")) * base ** (_POWERS.index(power.lower()) + 1 if power else 0), SIZE_HINT
    )


def parse_duration(text: str, default_unit: str = "s") -> float:
    """Return seconds for ``90s``, ``7d``, ``1h30m``, ``500ms``; a plain number counts in ``default_unit``."""
    text = text.strip()
    if re.fullmatch(_NUMBER, text):
        return _require_finite(float(text) * _SECONDS[default_unit], DURATION_HINT)
    parts = re.findall(_DURATION_PART, text)
    if not parts or re.sub(_DURATION_PART, "", text).strip():
        raise ValueError(DURATION_HINT)
    return _require_finite(sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts), DURATION_HINT)


def parse_integer(text: str) -> int:
    """Return an integer as Go reads one of base 0 (``0x10``, ``010`` is 8, ``1_0``), and whole floats (``1e+06``)."""
    text = text.strip().lower()
    sign = -1 if text.startswith("-") else 1
    digits = text[1:] if text[:1] in {"+", "-"} else text
    try:
        magnitude = _parse_magnitude(digits)
    except (ValueError, OverflowError):
        raise ValueError(INTEGER_HINT) from None
    if magnitude > _LARGEST:
        raise ValueError(INTEGER_HINT)
    return sign * magnitude


def _parse_magnitude(digits: str) -> int:
    if not (digits.isascii() and digits[:1].isdigit()):
        raise ValueError(digits)
    base = _BASES.get(digits[:2], 8 if re.fullmatch(r"0_?[0-7_]+", digits) else 10)
    if base != 10 or digits.replace("_", "").isdigit():
        return int(digits, base)
    number = float(digits)
    if not number.is_integer():
        raise ValueError(digits)
    return int(number)


def parse_boolean(text: str) -> bool:
    """Return true for ``1 t true yes y on``, false for ``0 f false no n off``, in any case."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(BOOLEAN_HINT)
    return word in _TRUE


def parse_limit(text: str) -> Limit:
    """Return the limit of ``N`` or ``N%``, neither negative."""
    text = text.strip()
    try:
        percent = text.endswith("%")
        amount = float(text.removesuffix("%")) if percent else parse_integer(text)
    except ValueError:
        raise ValueError(LIMIT_HINT) from None
    if amount < 0:
        raise ValueError(LIMIT_HINT)
    return Limit(_require_finite(amount, LIMIT_HINT), percent)


def format_size(size: float) -> str:
    """Return ``999 B``, ``1.5 KiB``, ``12 MiB``: four figures at most, so that columns stay narrow."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(amount) < 1023.5 or unit == "PiB":  # from there on it would be shown as 1024
            break
        amount /= 1024
    # 9.95 would be shown as 10.0
    return f"{amount:.0f} {unit}" if amount.is_integer() or abs(amount) >= 9.95 else f"{amount:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """Return ``450 ms``, ``3.2 s``, ``1m 05s``, ``2h 03m``, ``5d 04h``."""
    if seconds < 0.9995:  # from there on it would be shown as 1000 ms
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:  # from there on it would be shown as 60.0 s
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, large, small, part in ((86400, "d", "h", 3600), (3600, "h", "m", 60), (60, "m", "s", 1)):
        if whole >= size:
            return f"{whole // size}{large} {whole % size // part:02d}{small}"
    raise AssertionError(seconds)


def format_count(count: int) -> str:
    """Return a number such as ``1,234,567``."""
    return f"{count:,}"


def format_plural(count: int, noun: str, nouns: str = "") -> str:
    """Return ``1 chunk``, ``3 chunks`` or ``3 copies``; ``nouns`` is the plural where that is not the rule."""
    if count == 1:
        return f"{format_count(count)} {noun}"
    is_like_copy = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{format_count(count)} {nouns or (f'{noun[:-1]}ies' if is_like_copy else f'{noun}s')}"


def _require_whole(number: float, hint: str) -> int:
    return round(_require_finite(number, hint))


def _require_finite(number: float, hint: str) -> float:
    if not math.isfinite(number):
        raise ValueError(hint)
    return number
