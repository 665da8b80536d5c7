"""Website redirects: empty objects with ``x-amz-website-redirect-location``.

A redirect's key is its name without one leading ``/``; the target's prefix is not put before it, because the
name is the address visitors ask for. Its key is never an orphan, however the name was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from s3batch.base.named_tuple import NamedTuple
from s3batch.settings.pattern_maps import parse_string_map

if TYPE_CHECKING:
    from s3batch.settings.table import Settings  # workers read rules, not settings

_CLASH_HINT = "a key can be a file or a redirect, not both"


class Redirect(NamedTuple):
    """One signpost."""

    key: str
    location: str
    """A path with a leading ``/`` or a URL, exactly as it was given."""

    def headers(self, acl: str) -> dict[str, str]:
        """Return the headers of a redirect's PutObject with an empty body; ``acl`` is empty if the bucket accepts none."""
        return {
            "content-type": "application/octet-stream",
            "x-amz-website-redirect-location": self.location,
            **({"x-amz-acl": acl} if acl else {}),
        }


def parse_redirects(settings: Settings) -> tuple[Redirect, ...]:
    """Return the ``redirects`` setting, sorted by key. Raises SettingsError unless it is a map of strings."""
    found: dict[str, str] = {}
    for name, location in sorted(parse_string_map(settings, "redirects").items()):
        key = name.removeprefix("/")
        if not key or not location:
            raise settings.bad("redirects", f"{name!r} needs a key and a location")
        if key in found:
            raise settings.bad("redirects", f"{key!r} is given twice, with and without its leading '/'")
        found[key] = location
    return tuple(Redirect(key, location) for key, location in sorted(found.items()))


def collect_protected_keys(redirects: Iterable[Redirect]) -> frozenset[str]:
    """Return the keys that no delete may touch: each redirect's, without and with a leading ``/``."""
    return frozenset(form for redirect in redirects for form in (redirect.key, f"/{redirect.key}"))


def refuse_uploaded(settings: Settings, redirects: Iterable[Redirect], keys: Iterable[str]) -> None:
    """Raise SettingsError if a redirect's key is one of ``keys``, which files are uploaded to."""
    names = {redirect.key for redirect in redirects}
    if names and (both := sorted(names.intersection(keys))):
        raise settings.bad("redirects", f"{both[0]!r} is also a file of the source: {_CLASH_HINT}")
