"""From the build and the settings to the names of its cache, and to what the commit message orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.cache.layout import base_of
from s3batch.cache.names import Names

if TYPE_CHECKING:
    from s3batch.settings import Settings

_SKIP, _CLEAR = "[NO CACHE]", "[CLEAR CACHE]"


def command_of(settings: Settings) -> str:
    """``skip``, ``clear`` or nothing: what the commit message says about the cache. Skipping beats clearing."""
    message = settings.build.message if settings.build else ""
    if _SKIP in message:
        return "skip"
    return "clear" if _CLEAR in message else ""


def names_of(settings: Settings) -> Names:
    """The objects of this build's cache."""
    b = settings.build
    base = base_of(settings.prefix)
    scope = f"{b.slug if b else 'local'}/{(b.branch if b else '') or 'master'}"
    key = settings.cache_key or "default"
    own = f"{base}v1/k/{scope}/paths/{key}"
    return Names(own=own, read=(own,))


def cleared_by(settings: Settings) -> tuple[tuple[str, ...], str]:
    """The prefixes whose objects a clear removes, and why it must not, if so."""
    base = base_of(settings.prefix)
    b = settings.build
    return (f"{base}v1/k/{b.slug if b else 'local'}/",), ""
