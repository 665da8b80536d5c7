"""What a later step of the build may read of a restore: Harness takes outputs of a step from a file it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3batch.output import Output
    from s3batch.settings import Settings


def tell_harness(settings: Settings, output: Output, *, hit: bool, partial: bool = False) -> None:
    """``cache_hit``, and with one ``cache_state``; no reason to fail where they cannot be written."""
    build = settings.build
    if not settings.plugin or build is None or not build.output_path:
        return
    lines = [f"cache_hit={'true' if hit else 'false'}"]
    lines += [f"cache_state={'partial' if partial else 'complete'}"] if hit else []
    try:
        with open(build.output_path, "a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        output.warn(f"cache_hit cannot be written to {build.output_path}: {error.strerror}")
