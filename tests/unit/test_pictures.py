"""The pictures of the docs: each is shown with words for those who do not see it, and is small."""

from __future__ import annotations

import re
import struct

from scripts import take_screenshots
from tests.rig.program import ROOT

SHOWN = [
    found
    for page in (ROOT / "docs").glob("*.md")
    for found in re.findall(r"!\[([^\]]*)\]\((images/[^)]+)\)", page.read_text())
]


def test_each_picture_is_shown_once_with_words_and_is_small():
    there = {f"images/{path.name}": path for path in take_screenshots.IMAGES.iterdir()}

    assert sorted(name for _, name in SHOWN) == sorted(there)
    assert all(len(words) > 20 for words, _ in SHOWN)
    for path in there.values():
        head = path.read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert (head[:8], path.stat().st_size < 150_000) == (b"\x89PNG\r\n\x1a\n", True)
        assert width in {take_screenshots.WIDE, take_screenshots.NARROW}
        assert height <= 1000
