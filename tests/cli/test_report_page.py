"""The HTML report in a real browser: what it loads, how it looks, and what keyboard and screen reader get."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from s3batch.reporting.forms.html_page import render_html
from s3batch.reporting.run_report import RunReport
from tests.rig.browser import CHROMIUM, Browser, running_browser
from tests.rig.reports import HOSTILE, crowded, journalled

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium")
]  # fmt: skip
LOOK = """(() => {
  const luminance = colour => {
    const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const background = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const contrast = (element, colour) => {
    const [a, b] = [parse(colour).slice(0, 3), background(element)].map(luminance);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const faint = [], small = [], pale = [];
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(".skip, .unseen")) continue;
    const style = getComputedStyle(element), ratio = contrast(element, style.color);
    if (ratio < 4.5) faint.push([element.className || element.tagName, ratio.toFixed(2)]);
    if (parseFloat(style.fontSize) < 11) small.push([element.className || element.tagName, style.fontSize]);
  }
  for (const shape of document.querySelectorAll(".bar rect, .line")) {
    const style = getComputedStyle(shape), colour = shape.matches(".line") ? style.stroke : style.fill;
    if (contrast(shape, colour) < 3) pale.push(shape.outerHTML);
  }
  return {
    faint, small, pale,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name),
    margin: getComputedStyle(document.body).margin,
    background: getComputedStyle(document.body).backgroundColor,
    scripts: document.scripts.length,
    narrow: [...document.querySelectorAll(".plot svg")].filter(plot => plot.getBoundingClientRect().width < 200).length,
    plots: document.querySelectorAll(".plot svg").length,
    bare: [...document.querySelectorAll("table")].filter(table => !table.querySelector("thead th[scope=col]")
      || [...table.querySelectorAll("tbody tr")].some(row => !row.querySelector("th[scope=row]"))).length,
  };
})()"""
FOCUSED = """(() => {
  const at = document.activeElement, box = at.getBoundingClientRect();
  return [at.textContent.trim().slice(0, 40), box.top + scrollY, getComputedStyle(at).outlineStyle];
})()"""


def of_a_cache(report: RunReport) -> RunReport:
    """The report as that of a restore."""
    chunks = {"planned": 10, "done": 10, "failed": 0, "skipped": 0, "bytes": 90_000}
    facts = {"command": "cache restore", "source": ["/w/node_modules", "/w/vendor"], "operations": {"chunk": chunks}}
    return report._replace(document={**report.document, **facts}, verdict="restored octo/site/main: 12 files")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages of four jobs."""
    folder = tmp_path_factory.mktemp("pages")
    with contextlib.ExitStack() as stack:

        def add(name: str, report: RunReport) -> None:
            text = "".join(render_html(report)).encode("utf-8", "backslashreplace")
            assert len(text) <= 3 << 20
            (folder / f"{name}.html").write_bytes(text)

        ten = stack.enter_context(journalled(tmp_path_factory.mktemp("ten"), 10))
        add("ten", ten)
        add("cache", of_a_cache(ten))
        add("failed", stack.enter_context(journalled(tmp_path_factory.mktemp("failed"), 300, HOSTILE)))
        add("million", stack.enter_context(crowded(tmp_path_factory.mktemp("million"))))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("failed", 1200, False), ("failed", 340, False), ("failed", 340, True), ("ten", 1200, True), ("ten", 340, False),
        ("cache", 340, True), ("million", 1200, True), ("million", 340, False),
    ],
)  # fmt: skip
def test_the_page_is_readable(pages: Path, browser: Browser, name: str, width: int, dark: bool) -> None:
    browser.open((pages / f"{name}.html").as_uri(), width=width, dark=dark)

    found = browser.ask(LOOK)

    assert (found["loaded"], found["scripts"]) == ([], 0)
    assert found["margin"] == "0px", "the policy allows the page's own style"
    assert found["background"] == ("rgb(17, 21, 28)" if dark else "rgb(246, 247, 249)")
    assert (found["faint"], found["small"]) == ([], []), "WCAG 2.2, 1.4.3"
    assert found["pale"] == [], "WCAG 2.2, 1.4.11"
    assert found["wide"] <= 0, "WCAG 2.2, 1.4.10: no scrolling in two dimensions"
    assert (found["plots"], found["narrow"], found["bare"]) == (0 if name == "million" else 2, 0, 0)


@pytest.mark.parametrize("name", ["failed", "ten", "cache", "million"])
def test_a_screen_reader_is_told_of_landmarks_plots_and_tables(pages: Path, browser: Browser, name: str) -> None:
    browser.open((pages / f"{name}.html").as_uri())
    browser.ask("document.querySelectorAll('details').forEach(each => { each.open = true; })")

    tree = browser.read_tree()

    roles = [each.role for each in tree]
    assert [roles.count(role) for role in ("banner", "main", "contentinfo")] == [1, 1, 1]
    regions = [each.name for each in tree if each.role == "region"]
    assert (len(set(regions)), "" in regions) == (len(regions), False), "each landmark has a name of its own"
    levels = [each.level for each in tree if each.role == "heading"]
    assert levels[0] == 1
    assert all(later <= sooner + 1 for sooner, later in pairwise(levels)), "no level is left out"
    named = {role: [each.name for each in tree if each.role == role] for role in ("image", "figure", "table")}
    assert all(name for names in named.values() for name in names)
    texts = set(named["table"])
    plots = [] if name == "million" else ["Throughput", "Requests"]
    assert [each.split(" over ")[0] for each in named["image"]] == named["figure"] == plots
    assert {f"{plot} as numbers" for plot in plots} <= texts, "each plot has a text alternative"
    assert {"Duration of an operation", "Slowest objects"} <= texts
    assert roles.count("columnheader") >= 3 * len({"Duration of an operation", "Size of an object"} & texts)


def test_a_key_is_text_and_not_markup(pages: Path, browser: Browser) -> None:
    browser.open((pages / "failed.html").as_uri())

    keys = browser.ask('[...document.querySelectorAll(".problems .what bdi")].map(key => key.textContent)')

    assert "<script>alert(1)</script>" in keys


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(pages: Path, browser: Browser) -> None:
    browser.open((pages / "failed.html").as_uri())

    stops = []
    for _ in range(7):
        browser.press("Tab", 9)
        stops.append(browser.ask(FOCUSED))

    assert stops[0][0] == "Skip to the content"
    assert stops[1][0] == "s3batch resume 20261130-080000-abcdef"
    tops = [top for _, top, _ in stops[1:]]
    assert tops == sorted(tops)
    assert {outline for _, _, outline in stops} == {"solid"}, "WCAG 2.2, 2.4.7: the focus is seen"


def test_a_summary_opens_with_the_keyboard(pages: Path, browser: Browser) -> None:
    browser.open((pages / "ten.html").as_uri())
    browser.ask("document.querySelector('figure summary').focus()")

    browser.type(" ")

    assert browser.ask("document.querySelector('figure details').open") is True
