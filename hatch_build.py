"""Write the man page and the completion scripts into the wheel, below share/, where package managers link them."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface):
    """Generates what the table of settings says, so that no generated file can be out of date."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files and name them to the builder; an editable install has none."""
        if self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, self.root)
        from s3batch.cli.completion import format_completion  # noqa: PLC0415 - found only now
        from s3batch.cli.completion.man_page import format_man_page  # noqa: PLC0415 - the same

        texts = {
            "share/man/man1/s3batch.1": format_man_page(self.metadata.version),
            "share/bash-completion/completions/s3batch": format_completion(["bash"]),
            "share/zsh/site-functions/_s3batch": format_completion(["zsh"]),
            "share/fish/vendor_completions.d/s3batch.fish": format_completion(["fish"]),
        }
        self._folder = Path(tempfile.mkdtemp())
        for place, text in texts.items():
            path = self._folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files."""
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)
