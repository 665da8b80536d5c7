"""The HTML report in a real browser: what it loads, how it looks on a telephone, and whether everybody can read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from s3batch.reporting.forms.html_page import render_html
from tests.rig.reports import HOSTILE, journalled

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HARNESS = """<!doctype html><title>harness</title><pre id=found></pre>
<iframe id=page src=report.html width=%d height=900></iframe>
<script>
function luminance(colour) {
  const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const parse = text => text.match(/[\\d.]+/g).map(Number);
function background(element, view) {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(view.getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
  }
  return [255, 255, 255];
}
document.getElementById("page").onload = event => {
  const view = event.target.contentWindow, page = view.document, faint = [], small = [];
  for (const details of page.querySelectorAll("details")) details.open = true;
  for (const element of page.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(".skip, .unseen")) continue;
    const style = view.getComputedStyle(element);
    const [a, b] = [parse(style.color).slice(0, 3), background(element, view)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([element.className || element.tagName, ratio.toFixed(2)]);
    if (parseFloat(style.fontSize) < 11) small.push([element.className || element.tagName, style.fontSize]);
  }
  document.getElementById("found").textContent = JSON.stringify({
    faint, small,
    wide: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    loaded: view.performance.getEntriesByType("resource").map(entry => entry.name),
    margin: view.getComputedStyle(page.body).margin,
    background: view.getComputedStyle(page.body).backgroundColor,
    scripts: page.scripts.length,
    plots: [...page.querySelectorAll(".plot svg")].map(plot => plot.getBoundingClientRect().width > 200),
    keys: [...page.querySelectorAll(".problems .what bdi")].map(key => key.textContent),
  });
};
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server of a folder with a report."""
    folder = tmp_path_factory.mktemp("site")
    with journalled(tmp_path_factory.mktemp("job"), 300, HOSTILE) as report:
        (folder / "report.html").write_bytes("".join(render_html(report)).encode("utf-8", "backslashreplace"))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (340, "light"), (340, "dark")])
def test_the_page_is_readable(site: tuple[str, Path], tmp_path: Path, width: int, theme: str) -> None:
    url, folder = site
    (folder / "harness.html").write_text(HARNESS % width)

    found = seen_by_chromium(f"{url}/harness.html", tmp_path, ["--force-dark-mode"] if theme == "dark" else [])

    assert (found["loaded"], found["scripts"]) == ([], 0)
    assert found["margin"] == "0px", "the policy allows the page's own style"
    assert found["background"] == {"light": "rgb(246, 247, 249)", "dark": "rgb(17, 21, 28)"}[theme]
    assert (found["faint"], found["small"]) == ([], []), "WCAG 2.2, 1.4.3"
    assert found["wide"] <= 0, "WCAG 2.2, 1.4.10: no scrolling in two dimensions"
    assert found["plots"] == [True, True]
    assert "<script>alert(1)</script>" in found["keys"]


def seen_by_chromium(url: str, home: Path, flags: list[str]) -> dict[str, Any]:
    """Return what the harness found."""
    arguments = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}/chromium",
        "--virtual-time-budget=20000", *flags, "--dump-dom", url,
    ]  # fmt: skip
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    text = re.search(r'<pre id="found">(.+?)</pre>', ran.stdout, re.DOTALL)
    assert text, ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(
        text[1].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    )
    return found
