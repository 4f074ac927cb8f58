"""Runs Chromium under Playwright, and records the errors of pages and their other forbidden events."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, ViewportSize, sync_playwright

from tests.support.dev_server import ROOT
from tests.support.tiers import tier

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / ".build" / "screenshots"
PICTURES = "ONCEOVER_PICTURES"  # With this variable in the environment the tests write screenshots.
WINDOW: ViewportSize = {"width": 1280, "height": 900}
# The windows and themes in which a view is judged.
_APPEARANCES: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (375, "dark"))
# A text with markup, scripts and direction marks, which the page must show as plain text everywhere.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> \u202egnp.exe\u2066 & \"'"
# Waits for one turn of the page's event loop by sending a message, because a test may stop the page's timers.
_A_TURN = """new Promise((done) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = done;
  channel.port2.postMessage(0);
})"""
# Lists what axe-core finds. The page's own parts have no audio or video, which alone `preload` would read.
_VIOLATIONS = """async (impacts) => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], preload: false });
  return violations.filter(({ impact }) => impacts.includes(impact)).flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 120)} ${node.failureSummary.slice(0, 200)}`));
}"""
# Matches the lines that a browser logs for 4xx and 5xx answers and for a server that is not running, even if the page
# handles these cases.
_DEAD_SERVER = "net::ERR_(?:CONNECTION|INCOMPLETE_CHUNKED_ENCODING)"
_FAILED_LOAD = re.compile(rf"Failed to load resource: .* status of (\d+)|Failed to load resource: {_DEAD_SERVER}")


def chromium_path() -> Path | None:
    """Return the path of Chromium, rather its headless shell (half the time); None without."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        missing = "there is no Chromium: `apt-get install chromium-headless-shell` brings one"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@cache
def _axe() -> str:
    return AXE.read_text()


class Watched:
    """A page and the faults that it has shown. `refused` are 4xx and 5xx, some of them expected."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**{"locale": "en-GB", "viewport": WINDOW, **options})
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.refused: list[int] = []
        self.requests: list[str] = []
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)
        self._under_way: set[Request] = set()
        self.page.on("requestfinished", self._answered)
        self.page.on("requestfailed", self._answered)
        self.page.on("dialog", self._interrupted)

    def _said(self, kind: str, text: str) -> None:
        if kind not in {"error", "warning"}:
            return
        failed = _FAILED_LOAD.search(text)
        if failed is None:
            self.faults.append(text)
        elif failed[1]:
            self.refused.append(int(failed[1]))

    def _asked(self, request: Request) -> None:
        self.requests.append(f"{request.method} {request.url.removeprefix(self.url)}")
        self._under_way.add(request)
        if not request.url.startswith((f"{self.url}/", "blob:", "data:")):
            self.faults.append(f"a request to {request.url}")

    def _interrupted(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog of a script: {dialog.message}")
        dialog.dismiss()

    def _answered(self, request: Request) -> None:
        self._under_way.discard(request)

    def _take_a_turn(self) -> None:
        """Return after a turn of the page's event loop and all earlier requests' events (not `Stage`'s)."""
        self.page.evaluate(_A_TURN)

    def settle(self) -> None:
        seen = -1
        for _ in range(1000):
            self._take_a_turn()
            if not self._under_way and len(self.requests) == seen:
                return
            seen = len(self.requests)
            self.page.wait_for_timeout(10)
        raise AssertionError(f"requests without an answer: {self.requests[-3:]}")

    def until(self, reached: Callable[[], bool]) -> None:
        """Return once a condition holds that events of the page bring about, such as a request that a handler keeps."""
        for _ in range(2000):
            if reached():
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"what the test waits for has not come; the last requests: {self.requests[-3:]}")

    def open(self, fragment: str, key: str = "") -> Page:
        if key:
            self.context.add_init_script(f"sessionStorage['onceover.key'] ??= '{key}'")
        self.page.goto(f"{self.url}/{fragment}")
        return self.page

    def close(self) -> None:
        """Close the page. If the handler of a route still waits for the server's answer, this is no error."""
        self.page.unroute_all(behavior="ignoreErrors")
        self.context.close()

    def serious(self) -> list[str]:
        return self.violations({"serious", "critical"})

    def violations(self, impacts: Set[str] = frozenset({"minor", "moderate", "serious", "critical"})) -> list[str]:
        # The page's policy forbids scripts from other origins, but it does not forbid code that the debugger runs.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(f"{_axe()}; 0")
        found: list[str] = self.page.evaluate(_VIOLATIONS, sorted(impacts))
        return found

    def judge(self, name: str) -> None:
        """Check the page wide and light, and as a dark phone: nothing too wide, and no fault by axe-core."""
        wide = self.page.viewport_size or WINDOW
        for width, scheme in _APPEARANCES:
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.emulate_media(color_scheme=scheme)
            assert self.page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width], name
            assert self.serious() == [], (name, width)
            self.picture(f"{name} {width}")
        self.page.set_viewport_size(wide)
        self.page.emulate_media(color_scheme="light")

    def picture(self, name: str) -> None:
        """Write a screenshot into an ignored folder, with `PICTURES` and in the campaign."""
        if PICTURES not in os.environ and tier() != "campaign":
            return
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
