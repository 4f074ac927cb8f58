"""Makes docs/dashboard.webp anew: `python -m tests.browser.picture`. It shows a running task."""

import base64
import random
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.browser import Watched, chromium
from tests.support.client import Client, openai
from tests.support.dev_server import ROOT, DevServer
from tests.support.model_plan import Behaviour, Call, Plan, rate_limit, slow
from tests.support.model_server import ModelServer

PICTURE = ROOT / "docs" / "dashboard.webp"
WIDTH, HEIGHT = 1200, 1010
QUALITY = 82
CHUNKS = 16
DONE = 11  # The least number of chunks with an output in the picture.
REFUSED = {6, 10}  # The numbers of the calls that the model refuses.


def behave(call: Call) -> Behaviour:
    return rate_limit(1) if call.number in REFUSED else slow(random.Random(call.number).uniform(0.6, 2.8))


def show(page: Page) -> bytes:
    """Wait until the task has enough outputs, and return the picture. Playwright itself makes no WebP."""
    expect(page.locator(".fall .call.is-done").nth(DONE - 1)).to_be_attached(timeout=120_000)
    page.mouse.move(0, 0)
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(taken["data"])


def main() -> int:
    """Serve the Worker, run the task, and write the picture. Returns the exit status."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    size = -(-len(text) // CHUNKS)
    with (
        tempfile.TemporaryDirectory() as state,
        ModelServer(api_key="test-key", plan=Plan(decide=behave)) as model,
        DevServer(Path(state), *openai(model.base_url)) as server,
        Client(server.url) as client,
        chromium() as browser,
    ):
        tab = Watched(browser, server.url, viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC")
        task = client.submit(text, chunk={"maxChars": size}, metadata={"name": "Changelog, in parts"})
        tab.open(f"#/task/{task['id']}")
        PICTURE.write_bytes(show(tab.page))
        client.http.post(f"/api/tasks/{task['id']}/cancel")
        tab.close()
        for fault in tab.faults:
            print(fault, file=sys.stderr)
    return 1 if tab.faults else 0


if __name__ == "__main__":
    sys.exit(main())
