"""``s3batch cache inspect [NAME]``: list the content of one cache.

NAME is a key or a name as ``cache list`` shows them; without one it is this repository's newest. Of several caches of
one name (each list of paths has its own) the newest is shown, and the others are named.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.archive.manifest_codec import EncodedManifest
from s3batch.archive.tree import DIR, FILE, HARDLINK, SYMLINK
from s3batch.base.errors import EXIT_DONE, EXIT_FAILED, ArchiveError, JobFailedError
from s3batch.base.units import format_count, format_duration, format_plural, format_size
from s3batch.cache import object_keys
from s3batch.cache.admin import open_admin_run
from s3batch.cache.fetching import fetch_readable
from s3batch.cache.naming import build_of
from s3batch.cache.object_keys import KEYS, title_of_key
from s3batch.cache.segments import fetch_segments

if TYPE_CHECKING:
    from s3batch.archive.manifest import Manifest
    from s3batch.cache.admin import AdminRun
    from s3batch.reporting.console import Output
    from s3batch.s3.requests import Response
    from s3batch.settings.table import Settings

_KINDS = {FILE: "file", DIR: "dir", SYMLINK: "symlink", HARDLINK: "hardlink"}


def inspect_cache(settings: Settings, output: Output) -> int:
    """Run ``s3batch cache inspect``; return the exit code, 1 if there is no such cache."""
    with open_admin_run(settings, output) as look:
        names = settings.cache_key or ("",)
        found = [key for name in names for key in _matching_objects(look, name)]
        if not found:
            words = f"no cache {', '.join(settings.cache_key) or _repository_words(settings)}"
            output.error(f"{words}; see s3batch cache list")
            look.publish({}, EXIT_FAILED, words)
            return EXIT_FAILED
        for other in found[1:]:
            look.warn(f"another cache of that name, older or for other paths: {other.removeprefix(look.base + KEYS)}")
        _show_manifest(look, found[0])
        return EXIT_DONE


def _own_prefix(settings: Settings) -> str:
    """Return the prefix of the keys of this repository's caches."""
    return f"{object_keys.repository_of_build(build_of(settings))}/"


def _repository_words(settings: Settings) -> str:
    build = build_of(settings)
    return f"of {build.owner}/{build.repo}"


def _matching_objects(look: AdminRun, name: str) -> list[str]:
    """Return the key objects that ``name`` means, newest first."""
    start = look.base + KEYS
    listed = [each for page in look.bucket.list_objects(start) for each in page.objects]
    listed.sort(key=lambda each: each.modified, reverse=True)
    if not name:
        return [each.key for each in listed if each.key.startswith(start + _own_prefix(look.settings))][:1]
    exact = [each.key for each in listed if name in (each.key, each.key.removeprefix(start))]
    return exact or [each.key for each in listed if title_of_key(look.base, each.key) == name]


def _show_manifest(look: AdminRun, key: str) -> None:
    try:
        opened = look.bucket.run(fetch_readable(look.bucket, lambda: look.bucket.fetch(key), partial(_open_shown, key)))
        manifest = opened.manifest(fetch_segments(look.bucket, look.base, opened.segments))
    except ArchiveError as error:
        raise ArchiveError(f"{key}: {error.message}", hint=error.hint) from error
    rows = [_describe_row(manifest, row) for row in range(len(manifest.tree))]
    name, size = title_of_key(look.base, key), manifest.raw_size()
    if not look.settings.json:
        look.output.data(*(f"{row['mode']} {row['size']:>12} {row['path']}{_link_arrow(row)}" for row in rows))
    age = format_duration(max(0.0, time.time() - manifest.created))
    look.output.info(
        f"{name}: {format_count(len(rows))} entries, {format_size(size)} in {format_plural(len(manifest.chunks), 'chunk')}; "
        f"made {age} ago by {manifest.tool} on {manifest.system}; paths: {', '.join(manifest.roots)}"
    )
    look.publish(
        {
            "key": key, "name": name, "roots": list(manifest.roots), "created": manifest.created,
            "tool": manifest.tool, "system": manifest.system, "bytes": size, "chunks": len(manifest.chunks),
            "entries": rows,
        }
    )  # fmt: skip


def _open_shown(key: str, answer: Response | None) -> EncodedManifest:
    if answer is None:
        raise JobFailedError(f"{key} was deleted just now")
    return EncodedManifest(bytes(answer.body))


def _describe_row(manifest: Manifest, row: int) -> dict[str, Any]:
    tree = manifest.tree
    target = tree.targets.get(row) or (tree.path(tree.links[row]) if row in tree.links else None)
    return {
        "path": tree.path(row), "kind": _KINDS[tree.kinds[row]], "mode": f"{tree.modes[row]:04o}",
        "size": tree.sizes[row], "mtime_ns": tree.mtimes[row], "target": target,
        "hash": manifest.hash(row).hex() if tree.kinds[row] == FILE else None,
    }  # fmt: skip


def _link_arrow(row: dict[str, Any]) -> str:
    arrows = {"symlink": " -> ", "hardlink": " = "}
    return f"{arrows[row['kind']]}{row['target']}" if row["kind"] in arrows else ""
