"""Tests the dashboard's other views in a real browser, its appearance, and the cost of an open page."""

import re
import sqlite3
import time
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Route, ViewportSize, expect
from standardwebhooks.webhooks import Webhook

from src.kernel.store.tallies import BOUNDS_MS
from tests.support.browser import HOSTILE, Watched
from tests.support.client import Client, Json
from tests.support.databases import d1_file
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.receiver import Receiver
from tests.support.stage import task

pytestmark = pytest.mark.runtime
EXPIRED_SECONDS = 1
FIVE_MINUTES_MS = 300_000


def test_keys_and_health(tab: Watched, client: Client, key: str, server: DevServer) -> None:
    page = tab.open("#/access", key)
    page.get_by_label("Purpose").fill(HOSTILE[:60])
    page.get_by_label("Valid for days").fill(str(EXPIRED_SECONDS / 86_400))
    page.get_by_role("button", name="Make a key").click()
    made = page.get_by_role("dialog").locator("code").inner_text()
    assert made.startswith("oo_")
    assert tab.serious() == []
    page.get_by_role("button", name="I have saved it").click()
    expect(page.locator(".rows li").last).to_contain_text("<img src=x")
    assert made not in page.content()
    bearer = {"Authorization": f"Bearer {made}"}
    eventually(lambda: httpx.get(f"{server.url}/api/tasks", headers=bearer).status_code == 401, 30)
    page.get_by_role("button", name="Key set").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(made)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("dialog")).to_contain_text("wrong, revoked or expired")
    page.get_by_role("dialog").get_by_role("textbox").fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_label("Purpose").fill("To be revoked")
    page.get_by_label("Valid for days").fill("")
    page.get_by_role("button", name="Make a key").click()
    revoked = {"Authorization": f"Bearer {page.get_by_role('dialog').locator('code').inner_text()}"}
    page.get_by_role("button", name="I have saved it").click()
    assert httpx.get(f"{server.url}/api/tasks", headers=revoked).status_code == 200
    page.locator(".rows li", has_text="To be revoked").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator(".rows li", has_text="To be revoked")).to_have_count(0)
    eventually(lambda: httpx.get(f"{server.url}/api/tasks", headers=revoked).status_code == 401, 90)
    page.get_by_role("navigation").get_by_role("link", name="Health").click()
    expect(page.get_by_role("heading", name="Backlog").first).to_be_visible()
    expect(page.get_by_text("of 450 MB").or_(page.get_by_text("of 9.5 GB"))).to_be_visible()
    assert tab.serious() == []
    assert {*tab.refused} <= {401, 404}


def test_an_operator_looks_after_another_tenant(tab: Watched, key: str, server: DevServer) -> None:
    theirs = {"Authorization": f"Bearer {insert_key(server.persist_to, 'acme')}"}
    made = httpx.post(
        f"{server.url}/api/tasks", headers=theirs, json={"input": "doom", "metadata": {"name": "of acme"}}
    )
    path = f"{server.url}/api/tasks/{made.json()['id']}"
    eventually(lambda: httpx.get(path, headers=theirs).json()["status"] == "failed", 60)

    page = tab.open("#/tasks", insert_key(server.persist_to, operator=True))
    page.get_by_role("button", name="Tenant: Own tenant").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 failed: model_refused 1")
    assert tab.serious() == []
    dialog.get_by_role("button", name="acme").click()
    expect(page.get_by_role("button", name="Tenant: acme")).to_be_visible()
    page.get_by_role("link", name="of acme").click()
    page.get_by_role("button", name="Retry", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
    eventually(lambda: httpx.get(path, headers=theirs).json()["usage"]["modelCalls"] == 2, 60)
    chosen = [request for request in tab.requests if "tenant=acme" in request]
    assert {urlsplit(request.split()[1]).path.split("/")[2] for request in chosen} == {"tasks"}
    page.get_by_role("navigation").get_by_role("link", name="Keys and webhooks").click()
    expect(page.get_by_text("Keys and webhooks here are always your own tenant's")).to_be_visible()

    page.get_by_role("button", name="Key set").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_role("button", name="Tenant: Own tenant").click()
    expect(page.get_by_role("dialog")).to_contain_text("This key is for its own tenant.")
    assert set(tab.refused) == {403}


def test_a_bulk_change_ends_where_another_tenant_is_chosen(browser: Browser, server: DevServer) -> None:
    tab = Watched(browser, server.url)
    asked: list[str] = []
    held: list[Route] = []
    figures = {"tasks": 1, "more": False, "failed": 0, "failures": [], "modelCalls": 1}
    tenants = [{"tenant": name, **figures} for name in ("acme", "beta")]

    def cancel(route: Route) -> None:
        if (route.request.post_data_json or {}).get("dryRun"):
            route.fulfill(json={"tasks": 300, "more": False})
            return
        asked.append(urlsplit(route.request.url).query)
        held.append(route)

    tab.page.route("**/api/tenants*", lambda route: route.fulfill(json={"tenants": tenants, "nextCursor": None}))
    tab.page.route("**/api/tasks?*", lambda route: route.fulfill(json={"tasks": [task()], "nextCursor": None}))
    tab.page.route("**/api/tasks/cancel*", cancel)
    page = tab.open("#/tasks", "oo_key")
    page.get_by_role("button", name="Tenant: Own tenant").click()
    page.get_by_role("dialog").get_by_role("button", name="acme").click()
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Cancel all unfinished").click()
    page.get_by_role("button", name="Cancel 300 tasks").click()
    tab.until(lambda: len(held) == 1)
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Tenant: acme").click()
    page.get_by_role("dialog").get_by_role("button", name="beta").click()
    expect(page.get_by_role("button", name="Tenant: beta")).to_be_visible()
    held[0].fulfill(json={"cancelled": 100, "more": True})
    expect(page.get_by_text("100 tasks cancelled.")).to_be_attached()
    assert asked == ["tenant=acme"]
    assert tab.faults == []
    tab.close()


def past(server: DevServer, *steps: range) -> None:
    now = round(time.time() * 1000) // FIVE_MINUTES_MS * FIVE_MINUTES_MS
    times = [now - step * FIVE_MINUTES_MS for part in steps for step in part]
    counts = {"ended": 5, "retries": 1, "dead_letters": 1, "in_doubt": 2, "took": 5, "took_ms": 5 * BOUNDS_MS[-1]}
    counts |= {f"took_le_{BOUNDS_MS[-1]}": 5}
    columns, values = ", ".join(counts), ", ".join(f":{name}" for name in counts)
    with closing(sqlite3.connect(d1_file(server.persist_to), timeout=20)) as database, database:
        database.executemany("INSERT INTO samples VALUES (?, 20, 4, 3000)", [(at,) for at in times])
        database.executemany(
            f"INSERT INTO tallies (at, status, route, {columns}) VALUES (:at, :status, 'queue', {values})",  # noqa: S608
            [{"at": at, "status": status, **counts} for at in times for status in ("completed", "failed")],
        )


def test_the_last_hours_are_plotted(tab: Watched, client: Client, key: str, server: DevServer) -> None:
    past(server, range(12, 18), range(24, 40))
    client.finished(client.submit("some text")["id"])

    def last() -> Json:
        latest: Json = client.http.get("/api/history?hours=6").json()["buckets"][-1]
        return latest if latest["backlog"] and latest["completed"] else {}

    assert eventually(last, 60)
    with tab.page.expect_response(re.compile("/api/history")) as told:
        page = tab.open("#/health", key)
    buckets = told.value.json()["buckets"]

    def columns(*names: str, shown: list[Json] = buckets) -> int:
        return sum(bucket[name] > 0 for bucket in shown for name in names)

    expect(page.locator(".plot").first).to_be_visible()
    backlog = page.locator(".plot", has_text="Backlog").locator("path")
    for line in backlog.all():
        assert str(line.get_attribute("d")).count("M") == 3
    ended = page.locator(".plot", has_text="Tasks that ended")
    assert columns("completed") >= 23
    for name, tone in (("completed", "good"), ("failed", "bad"), ("cancelled", "dull")):
        expect(ended.locator(f"rect.{tone}")).to_have_count(columns(name))
    expect(ended.locator(".plot-read")).to_contain_text(f"Completed {buckets[-1]['completed']}")
    expect(page.locator(".plot", has_text="Problems").locator("rect")).to_have_count(
        columns("retries", "inDoubt", "deadLetters")
    )
    expect(page.locator(".plot", has_text="From submission to end")).to_contain_text("p95")
    assert tab.serious() == []
    tab.picture("plots")
    with tab.page.expect_response(re.compile("/api/history")) as told:
        page.get_by_label("Last", exact=True).select_option("1")
    hour = columns("completed", shown=told.value.json()["buckets"])
    assert hour >= 1
    expect(ended.locator("rect.good")).to_have_count(hour)
    assert page.url.endswith("?hours=1")


def test_webhooks_and_deliveries(tab: Watched, client: Client, key: str, receiver: Receiver) -> None:
    page = tab.open("#/access", key)
    webhooks = page.get_by_role("region", name="Webhooks")
    expect(webhooks).to_contain_text("No endpoint yet")

    def secret() -> str:
        shown = page.get_by_role("dialog").locator("code").inner_text()
        page.get_by_role("button", name="I have saved it").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert shown not in page.content()
        return shown

    webhooks.get_by_label("Name").fill("<b>Ledger</b>")
    webhooks.get_by_label("URL").fill("http://example.com/")
    webhooks.get_by_role("button", name="Add the endpoint").click()
    expect(webhooks.get_by_role("alert")).to_contain_text("url")
    webhooks.get_by_label("URL").fill(f"{receiver.url}/hook")
    webhooks.get_by_role("button", name="Add the endpoint").click()
    secrets = [secret()]
    expect(webhooks).to_contain_text("<b>Ledger</b>")
    webhooks.get_by_role("button", name="Rotate the secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate the secret").click()
    secrets.append(secret())
    webhooks.get_by_role("button", name="Test").click()
    expect(webhooks).to_contain_text("The endpoint answered 204.")
    for one in secrets:
        Webhook(one).verify(receiver.at("/hook")[0].body, dict(receiver.at("/hook")[0].headers))
    assert tab.serious() == []

    receiver.answers["/hook"] = [503]
    task = client.finished(client.submit("some text")["id"])["id"]
    page.goto(f"{tab.url}/#/task/{task}")
    deliveries = page.get_by_role("region", name="Deliveries")
    expect(deliveries).to_contain_text("503")
    expect(deliveries).to_contain_text("in progress")
    assert tab.serious() == []
    tab.picture("deliveries")
    receiver.answers["/hook"] = [200]

    def delivered() -> Json:
        (one,) = client.http.get(f"/api/tasks/{task}/deliveries").json()["deliveries"]
        return one if one["status"] == "delivered" else {}

    tries = eventually(delivered, 60)["tries"]
    expect(deliveries).to_contain_text("delivered")  # the page shows the delivery's new status without a reload
    deliveries.get_by_role("button", name="Send again").click()
    expect(deliveries).to_contain_text(f"{tries + 1} attempts; the latest {tries + 1} are shown")

    page.goto(f"{tab.url}/#/access")
    webhooks.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(webhooks).to_contain_text("No endpoint yet")
    assert client.http.get("/v1/webhook_endpoints").json()["data"] == []


@pytest.mark.parametrize(
    ("name", "language", "scheme", "width"), [("phone", "zh-CN", "light", 375), ("night", "en-GB", "dark", 1280)]
)
def test_it_is_itself_in_either_language_theme_and_width(
    browser: Browser, server: DevServer, client: Client, key: str, name: str, language: str, scheme: str, width: int
) -> None:
    task = client.finished(client.submit("The parties met.")["id"])["id"]
    viewport: ViewportSize = {"width": width, "height": 800}
    tab = Watched(browser, server.url, locale=language, color_scheme=scheme, viewport=viewport)
    page = tab.open("#/tasks", key)
    expect(page.locator(".list-row").first).to_be_visible()
    assert page.locator("html").get_attribute("lang") == ("zh-CN" if language == "zh-CN" else "en")
    views = {
        "#/tasks": ".list-row",
        "#/submit": ".empty",
        "#/health": ".cards",
        "#/access": ".rows li",
        f"#/task/{task}": ".fall-row .call",
    }
    for view, shown in views.items():
        page.goto(f"{tab.url}/{view}")
        expect(page.locator(shown).first).to_be_visible()
        tab.settle()
        assert page.evaluate("document.documentElement.scrollWidth") == width, view
        assert tab.serious() == [], view
        tab.picture(f"{name}-{view.split('/')[1].split('?')[0]}")
        page.set_viewport_size({"width": 360, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view
        page.set_viewport_size(viewport)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    theme = page.get_by_role("button", name=re.compile("Theme|主题"))
    theme.click()
    theme.click()  # the theme's button goes from "auto" to "light" to "dark"
    page.reload()
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == dark) == (scheme == "dark")
    page.locator(".tools button").last.click()
    expect(page.locator("html")).to_have_attribute("lang", "en" if language == "zh-CN" else "zh-CN")
    tab.close()
    assert tab.faults == []


def _has_begun(tab: Watched) -> None:
    """Wait until the clock of the test has run for a second without a request: some come after drawing."""
    tab.settle()
    seen = -1
    while seen != len(tab.requests):
        seen = len(tab.requests)
        tab.page.clock.run_for(1_000)
        tab.settle()


@pytest.mark.parametrize("view", ["#/tasks", "#/tasks?status=pending", "#/health"])
def test_an_open_page_costs_little_and_a_hidden_one_nothing(tab: Watched, key: str, view: str) -> None:
    page = tab.page
    page.clock.install()
    tab.open(view, key)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    _has_begun(tab)
    asked = []
    for _ in range(60):
        before = len(tab.requests)
        page.clock.run_for(10_000)
        tab.settle()
        asked.append(len(tab.requests) - before)
    assert max(sum(asked[at : at + 6]) for at in range(len(asked))) <= 4
    if "status" in view:
        assert sum(asked) == 1
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.away ?? true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    before = len(tab.requests)
    page.clock.run_for(600_000)
    tab.settle()
    assert len(tab.requests) == before
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    tab.settle()
    assert len(tab.requests) > before
