"""The work of scripts/screenshots: run s3batch against a local server, and photograph its reports."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.rig import buckets, program, servers
from tests.rig.browser import CHROMIUM, Browser, running_browser
from tests.rig.faults import Refuse
from tests.rig.proxy import FaultProxy

IMAGES = program.ROOT / "docs" / "images"
WIDE, NARROW = 1000, 390
TREES = ("docs", "s3batch", "tests")
"""Folders of this checkout that are uploaded, as a site."""
REFUSED = r"site/docs/(cli|design)\.md|site/s3batch/model\.py"


def main() -> None:
    """Take all pictures."""
    if not CHROMIUM:
        raise SystemExit("screenshots: needs Chromium: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3batch-pictures-")))
        finished, failed = make_reports(stack, home)
        browser = stack.enter_context(running_browser(home))
        take(browser, finished, "report-light", width=WIDE, height=1000)
        take(browser, finished, "report-dark", width=WIDE, height=1000, dark=True)
        take(browser, failed, "report-failed", width=WIDE, height=900)
        take(browser, finished, "report-phone", width=NARROW, height=844)


def make_reports(stack: ExitStack, home: Path) -> tuple[Path, Path]:
    """Run a sync that ends well and one of which three files are refused; return their reports."""
    server = stack.enter_context(servers.running("ministack", home / "server"))
    proxy = stack.enter_context(FaultProxy(server.url))
    buckets.client(server).create_bucket(Bucket="my-bucket")
    work = home / "work"  # journals below the working directory are not found by themselves
    for name in TREES:
        shutil.copytree(
            program.ROOT / name, work / "public" / name, ignore=shutil.ignore_patterns("__pycache__", "images")
        )
    environ = program.clean_environment(home) | server.environment() | {"AWS_ENDPOINT_URL": proxy.url}
    words = ["sync", "public", "s3://my-bucket/site", "--bandwidth", "1MiB", "--report"]
    finished, failed = home / "finished.html", home / "failed.html"
    run = program.run([*words, finished], environ, work)
    assert run.code == 0, run.stderr
    for tree in ("docs", "s3batch"):
        for path in (work / "public" / tree).rglob("*.*"):
            path.write_bytes(path.read_bytes() + b"\n")
    proxy.on("PutObject", Refuse(403, "AccessDenied", message="Access Denied"), key=REFUSED)
    run = program.run([*words, failed], environ, work)
    assert run.code == 1, run.stderr
    return finished, failed


def take(browser: Browser, page: Path, name: str, *, width: int, height: int, dark: bool = False) -> None:
    """Write the upper part of a page as docs/images/NAME.png."""
    browser.open(page.as_uri(), width=width, height=height, dark=dark)
    browser.photograph(IMAGES / f"{name}.png", height)
    print(f"docs/images/{name}.png", flush=True)


if __name__ == "__main__":
    main()
