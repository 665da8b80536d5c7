"""A headless Chromium, driven over its debugging pipe: what a page looks like, and what a screen reader is told.

https://chromedevtools.github.io/devtools-protocol/ names the methods. The pipe needs no library and no port: messages are
JSON with a NUL behind each, read from descriptor 3 and written to descriptor 4 of the browser.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The program; ``None`` where there is no browser."""
_PATIENCE = 120.0
"""Seconds until an answer must be there, on a busy machine too."""


class Named(NamedTuple):
    """What a screen reader is told of one element."""

    role: str
    name: str
    level: int = 0
    """Of a heading."""


@dataclass
class Browser:
    """A browser with one page."""

    to: int
    back: int
    session: str = ""

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._read = b""
        self._events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result. Raises AssertionError for an error."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            self._events.append(answer)

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._receive())
        self._events.clear()

    def open(self, url: str, *, width: int = 1100, height: int = 800, dark: bool = False) -> None:
        """Show a page in a window of that size and theme."""
        if not self.session:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.send("Page.enable")
            self.send("Network.enable")
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=theme)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._events.clear()
        self.send("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def ask(self, script: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key, such as Tab (9)."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, letter: str) -> None:
        """Type a letter that is a key of its own."""
        code = ord(letter.upper())
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=letter, text=letter, windowsVirtualKeyCode=code)

    def read_tree(self) -> list[Named]:
        """Return what a screen reader is told, in the order of the page."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            if not node.get("ignored"):
                properties = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
                told = Named(node["role"]["value"], node.get("name", {}).get("value", ""), properties.get("level") or 0)
                found.append(told)
        return found

    def photograph(self, path: Path, height: int | None = None) -> None:
        """Write the page as a PNG: its upper ``height`` pixels, or all of it."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], height or size["height"]),
            "scale": 1,
        }
        shot = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._read:
            assert select.select([self.back], [], [], max(0.0, until - time.monotonic()))[0], "the browser says nothing"
            block = os.read(self.back, 1 << 20)
            assert block, "the browser has ended"
            self._read += block
        message, _, self._read = self._read.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def running_browser(home: Path) -> Iterator[Browser]:
    """Yield a browser without a window, whose profile is below ``home``."""
    their_in, to = os.pipe()
    back, their_out = os.pipe()
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-pipe",
        "--hide-scrollbars",
        f"--user-data-dir={home}/chromium",
    ]
    # the browser has its ends as 3 and 4, whatever their numbers are here
    script = f'exec "$0" "$@" 3<&{their_in} 4>&{their_out}'
    process = subprocess.Popen(
        ["bash", "-c", script, str(CHROMIUM), *flags, "about:blank"], pass_fds=(their_in, their_out),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    try:
        browser = Browser(to, back)
        yield browser
        browser.session = ""
        browser.send("Browser.close")
        process.wait(_PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
        os.close(to)
        os.close(back)
