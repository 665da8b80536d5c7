"""The demo: it ends well, and its last line names a report that stays. It opens no page where nobody looks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import kill_and_resume
from tests.rig.program import ROOT


@pytest.mark.slow
def test_the_demo_ends_with_the_name_of_its_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "made" / "report.html"

    assert kill_and_resume.main(ROOT / "s3batch", report) == 0

    said = capfd.readouterr().out.splitlines()
    assert said[-1] == str(report)
    assert "sent now" in report.read_text()


@pytest.mark.parametrize(
    ("environ", "terminal", "opened"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({}, True, False),
    ],
)
def test_a_page_opens_for_a_person_at_a_desktop_only(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], terminal: bool, opened: bool
) -> None:
    pages: list[str] = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    kill_and_resume.show_report(Path("/there/report.html"), environ, pages.append)

    assert pages == (["file:///there/report.html"] if opened else [])
