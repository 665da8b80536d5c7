"""URLs of git remotes: host, owner and repository of one, without its credentials. Pure text."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from s3batch.base.named_tuple import NamedTuple

_SCP = re.compile(
    r"(?:[^/@:]+@)?(?:\[(?P<bracketed>[^\]/]+)\]|(?P<host>[^/@:\[\]]{2,})):(?P<path>[^:].*|)\Z", re.DOTALL
)
"""``git@host:owner/name``. A host of one letter is a drive of Windows."""
_BRACKETED = re.compile(r"\[(?:[^/@\]]+@)?(?P<host>[^/@:\]]+)(?::\d+)?\]:(?P<path>.*)\Z", re.DOTALL)
"""``[git@host:2222]:owner/name``."""
_SCHEMES = frozenset({"http", "https", "ssh", "git", "git+ssh", "ssh+git"})
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


class Repository(NamedTuple):
    """Where a repository is."""

    host: str
    """The host in lower case, without a port."""
    owner: str
    """All components of the path but the last; GitLab nests groups."""
    name: str


def parse_remote(url: str) -> Repository | None:
    """Return the repository of a remote's URL; ``None`` for a local path and for a URL without an owner."""
    host, path = _host_and_path(url.strip())
    parts = path.strip("/").removesuffix(".git").strip("/").split("/")
    safe = all(part and part not in {".", ".."} for part in parts) and not _UNSAFE.search(f"{host}/{path}")
    if not host or len(parts) < 2 or not safe:
        return None
    return Repository(host.lower(), "/".join(parts[:-1]), parts[-1])


def _host_and_path(url: str) -> tuple[str, str]:
    if "://" in url:
        try:
            parts = urlsplit(url)
            return (parts.hostname or "", parts.path) if parts.scheme.lower() in _SCHEMES else ("", "")
        except ValueError:
            return "", ""
    if "/" in url.partition(":")[0] and not url.startswith("["):  # a colon after a slash is part of a path
        return "", ""
    found = _BRACKETED.match(url)
    if found:
        return found["host"], found["path"]
    found = _SCP.match(url)
    return (found["bracketed"] or found["host"], found["path"]) if found else ("", "")


def is_same_repository(one: str, other: str) -> bool:
    """Return whether two URLs name the same repository, by any protocol. Unknown ones are never the same."""
    found = parse_remote(one)
    return found is not None and found == parse_remote(other)


def without_credentials(url: str) -> str:
    """Return the URL without a user name and password; the user of an ssh URL stays, it is no secret."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        user, has_user, place = parts.netloc.rpartition("@")
        if not has_user:
            return url
        kept = user.partition(":")[0] + "@" if "ssh" in parts.scheme.lower() else ""
        return urlunsplit(parts._replace(netloc=f"{kept}{place}"))
    except ValueError:
        return ""
