"""The dashboard in a real browser, against the local runtime: what somebody does with it, and what must not happen."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Route, ViewportSize, expect

from tests.browser.pretended import SECRET, pretend
from tests.support.browser import Watched, chromium
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Behaviour, Call, Plan, ended, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
expect.set_options(timeout=20_000)
CHUNKS = {"maxChars": 40}
EXPIRED_SECONDS = 1
READY_SECONDS_MOST = 180  # on a machine that is busy
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> \u202egnp.exe\u2066 & \"'"


def behave(call: Call) -> Behaviour | None:
    """Refuse what is to fail, cut off one part, and answer with the text itself where that is hostile."""
    if "doom" in call.user:
        return status(400)
    if "part 002" in call.user:
        return ended("length")
    return Behaviour("ok", text=call.user) if "<script>" in call.user else None


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", plan=Plan(decide=behave)) as server:
        yield server


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The Worker, asking for keys; it keeps the inputs."""
    flags = openai(model.base_url, REQUIRE_KEYS="true", KEEP_INPUT="true", AI_TIMEOUT_SECONDS=60, LEASE_SECONDS=90)
    with DevServer(
        tmp_path_factory.mktemp("state"), *flags, "--cron-every", "2", ready_seconds=READY_SECONDS_MOST
    ) as started:
        yield started


@pytest.fixture(scope="module")
def key(server: DevServer) -> str:
    return insert_key(server.persist_to)


@pytest.fixture(scope="module")
def client(server: DevServer, key: str) -> Iterator[Client]:
    with Client(server.url) as made:
        made.http.headers["Authorization"] = f"Bearer {key}"
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, server: DevServer) -> Iterator[Watched]:
    """A page in which no script may fail, and which may ask no other host."""
    watched = Watched(browser, server.url)
    yield watched
    watched.context.close()
    assert watched.faults == []
    assert not [request for request in watched.requests if "oo_" in request], "a key in an address"


def test_from_a_wrong_key_to_a_result(tab: Watched, model: ModelServer, key: str) -> None:
    """A page without a key asks for one, and says that a wrong one was refused. A text is planned, which costs nothing,
    and submitted; its chunks arrive one by one in the waterfall; each shows its source beside its output."""
    page = tab.open("#/tasks")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("oo_wrong")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("The key was refused")
    dialog.get_by_label("API key").fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("No task yet")).to_be_visible()
    assert set(tab.refused) == {401}

    page.get_by_role("navigation").get_by_role("link", name="New task").click()
    page.get_by_label("Text", exact=True).fill(paragraphs(9))
    page.get_by_text("More options").click()
    page.get_by_label("Chunk size").fill("40")
    page.get_by_label("Metadata").fill('{"name": "In the browser"}')
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".cut")).to_have_count(9)
    expect(page.locator(".cut").nth(4)).to_contain_text("part 004")
    assert tab.serious() == []
    assert model.calls() == []
    page.reload()  # the draft outlives it
    page.get_by_role("button", name="Show the plan").click()

    model.hold()
    page.get_by_role("button", name="Submit: 9 calls").click()
    rows = page.get_by_role("option")
    expect(rows).to_have_count(9)
    expect(page.locator(".call.is-out").nth(5)).to_be_visible()
    expect(rows.first).to_have_accessible_name(re.compile("call is out"))
    model.release()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator(".fall .call.is-done")).to_have_count(8)
    expect(page.locator(".fall .call.is-cut")).to_have_count(1)
    assert page.locator(".fall-note").all_inner_texts().count("") == 0  # each has its true length of time
    rows.nth(2).click()
    expect(page.get_by_text("This output is cut off")).to_be_visible()
    expect(page.get_by_role("group", name="Source text")).to_contain_text("part 002")
    expect(page.get_by_role("group", name="Output")).to_contain_text("analysis of")
    page.get_by_role("listbox").press("ArrowDown")
    expect(page.get_by_role("group", name="Source text")).to_contain_text("part 003")
    assert page.url.endswith("?chunk=3")
    page.reload()
    expect(page.get_by_role("group", name="Source text")).to_contain_text("part 003")
    expect(page.get_by_role("group", name="Result")).to_contain_text("analysis of")
    assert tab.serious() == []
    tab.picture("task")


def test_cancel_and_retry_and_many_at_once(tab: Watched, client: Client, model: ModelServer, key: str) -> None:
    """A running task is cancelled and put back. Failed tasks are found by a filter that stands in the address, and a
    bulk retry says first how many tasks and calls it means: as many as the API then puts back."""
    failed = [client.finished(client.submit(f"doom\n\n{paragraphs(2)}", chunk=CHUNKS)["id"])["id"] for _ in range(2)]
    model.hold()
    held = client.submit(paragraphs(3), chunk=CHUNKS)["id"]
    model.wait_for_in_flight(3, 60)
    page = tab.open(f"#/task/{held}", key)
    expect(page.locator(".fall .call.is-out")).to_have_count(3)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("dialog")).to_contain_text("at least 3 more calls")
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("Cancelled")
    model.release()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    bill = client.task(held)["usage"]
    expect(page.locator(".figure", has_text="Model calls").locator("strong")).to_have_text(str(bill["modelCalls"]))
    expect(page.locator(".figure", has_text="In doubt").locator("strong")).to_have_text(str(bill["inDoubt"]))

    page = tab.open("#/tasks")
    page.get_by_label("Status").select_option("failed")
    expect(page.locator(".list-row")).to_have_count(2)
    assert page.url.endswith("#/tasks?status=failed")
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(page.locator(".list-row")).to_have_count(2)
    assert tab.serious() == []
    told = client.http.post("/api/tasks/retry", json={"dryRun": True}).json()
    page.get_by_role("button", name="Retry many").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"2 failed tasks, at most {told['maximumCalls']} calls.")
    assert tab.serious() == []
    page.get_by_role("button", name="Retry 2 tasks").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 tasks put back.")
    for task in failed:
        assert client.finished(task)["attempts"] >= 2
    page.get_by_role("button", name="Close").click()
    page.goto(f"{tab.url}/#/task/{failed[0]}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".list-row")).to_have_count(3)
    assert client.http.get(f"/api/tasks/{failed[0]}").status_code == 404


def test_what_is_hostile_is_shown_as_text(tab: Watched, client: Client, key: str) -> None:
    """Scripts in a text, its outputs and its metadata, marks of direction, and a line of 200 KB."""
    long = f"{HOSTILE}\n\n{'x' * 200_000}"
    task = client.submit(long, metadata={"name": HOSTILE}, chunk={"maxChars": 100_000}, instructions=HOSTILE)["id"]
    client.finished(task)
    page = tab.open("#/tasks", key)
    expect(page.locator(".list-row bdi").first).to_have_text(HOSTILE)
    page.goto(f"{tab.url}/#/task/{task}?chunk=0")
    for name in ("Source text", "Output", "Result", "Instructions"):
        expect(page.get_by_role("group", name=name)).to_contain_text("<script>alert(2)</script>")
    expect(page.get_by_role("heading", level=1).locator("bdi")).to_have_text(HOSTILE)
    assert page.locator("img, main script, iframe").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_keys_and_health(tab: Watched, client: Client, key: str, server: DevServer) -> None:
    """A key is made, shown once, and works until it expires: then the page says so, whatever it showed before."""
    page = tab.open("#/access", key)
    page.get_by_label("What it is for").fill(HOSTILE[:60])
    page.get_by_label("Valid for days").fill(str(EXPIRED_SECONDS / 86_400))
    page.get_by_role("button", name="Make a key").click()
    made = page.get_by_role("dialog").locator("code").inner_text()
    assert made.startswith("oo_")
    assert tab.serious() == []
    page.get_by_role("button", name="I have kept it").click()
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
    page.get_by_role("navigation").get_by_role("link", name="Health").click()
    expect(page.get_by_role("heading", name="To do").first).to_be_visible()
    expect(page.get_by_text("of 450 MB").or_(page.get_by_text("of 9.5 GB"))).to_be_visible()
    assert tab.serious() == []
    assert {*tab.refused} <= {401, 404}


def test_history_webhooks_and_deliveries(tab: Watched, client: Client, key: str) -> None:
    """Where a deployment has them: the hours as plots with their gaps, endpoints that are made, tested, rotated and
    deleted with their secret shown once, and attempts of a delivery, which is sent again."""
    asked = pretend(tab.page)
    page = tab.open("#/health", key)
    expect(page.locator(".plot")).to_have_count(4)
    page.get_by_label("Last", exact=True).select_option("24")
    expect(page.locator(".plot").first.locator("rect").nth(200)).to_be_attached()
    backlog = page.locator(".plot", has_text="To do").locator("path").first
    assert str(backlog.get_attribute("d")).count("M") == 2  # a gap in it
    assert tab.serious() == []
    tab.picture("plots")

    page.goto(f"{tab.url}/#/access")
    webhooks = page.get_by_role("region", name="Webhooks")
    expect(webhooks).to_contain_text("<b>Ledger</b>")
    webhooks.get_by_role("button", name="Test").click()
    expect(webhooks).to_contain_text("The endpoint answered 204.")
    webhooks.get_by_role("button", name="Rotate the secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate the secret").click()
    expect(page.get_by_role("dialog")).to_contain_text(SECRET)
    page.get_by_role("button", name="I have kept it").click()
    webhooks.get_by_label("Name").fill("Another")
    webhooks.get_by_label("URL").fill("https://example.com/another")
    webhooks.get_by_role("button", name="Add the endpoint").click()
    page.get_by_role("button", name="I have kept it").click()
    assert SECRET not in page.content()
    assert tab.serious() == []
    webhooks.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    made = ("/test", "/rotate_secret", "")
    assert [f"POST /v1/webhook_endpoints{'/we_1' * bool(end)}{end}" for end in made] == asked_with("POST", asked)
    assert asked_with("DELETE", asked) == ["DELETE /v1/webhook_endpoints/we_1"]

    task = client.http.get("/api/tasks?status=completed").json()["tasks"][0]["id"]
    page.goto(f"{tab.url}/#/task/{task}")
    deliveries = page.get_by_role("region", name="Deliveries")
    expect(deliveries).to_contain_text("2 attempts; the latest 2 are shown")
    deliveries.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status").last).to_have_text("Sent again")
    assert tab.serious() == []


def asked_with(method: str, asked: list[str]) -> list[str]:
    return [one for one in asked if one.startswith(method)]


@pytest.mark.parametrize(
    ("name", "language", "scheme", "width"),
    [("phone", "zh-CN", "light", 375), ("night", "en-GB", "dark", 1280)],
)
def test_it_is_itself_in_either_language_theme_and_width(
    browser: Browser, server: DevServer, key: str, name: str, language: str, scheme: str, width: int
) -> None:
    """Chinese or English, light or dark as the system has it, wide or narrow: nothing overflows, axe-core finds
    nothing, and the switches work and outlive a reload."""
    viewport: ViewportSize = {"width": width, "height": 800}
    tab = Watched(browser, server.url, locale=language, color_scheme=scheme, viewport=viewport)
    page = tab.open("#/tasks", key)
    expect(page.locator(".list-row").first).to_be_visible()
    assert page.locator("html").get_attribute("lang") == ("zh-CN" if language == "zh-CN" else "en")
    for view in (
        "#/tasks",
        "#/submit",
        "#/health",
        "#/access",
        str(page.locator(".name a").last.get_attribute("href")),
    ):
        page.goto(f"{tab.url}/{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") == width, view
        assert tab.serious() == [], view
        tab.picture(f"{name}-{view.split('/')[1].split('?')[0]}")
        page.set_viewport_size({"width": 360, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view
        page.set_viewport_size(viewport)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator(".tools button").nth(1).click()
    page.locator(".tools button").nth(1).click()  # auto, light, dark
    page.reload()
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == dark) == (scheme == "dark")
    page.locator(".tools button").last.click()
    assert page.locator("html").get_attribute("lang") == ("en" if language == "zh-CN" else "zh-CN")
    tab.context.close()
    assert tab.faults == []


@pytest.mark.parametrize("view", ["#/tasks", "#/tasks?status=pending", "#/health"])
def test_an_open_page_costs_little_and_a_hidden_one_nothing(tab: Watched, key: str, view: str) -> None:
    """While nothing happens at most 4 requests in any minute of ten, by the browser's clock, which runs ahead. A page
    of one status reads up to 1,500 rows, so it is asked for every seven and a half minutes at most. None when hidden,
    and one look when it is seen again."""
    page = tab.page
    page.clock.install()
    tab.open(view, key)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    tab.settle()
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


@pytest.mark.parametrize(("language", "lane"), [("en-GB", "lane 2"), ("zh-CN", "通道 2")])
def test_lanes_and_failed_calls_are_drawn(
    browser: Browser, server: DevServer, client: Client, key: str, language: str, lane: str
) -> None:
    """A chunk says which lane made its call, and from when on calls failed before it, as far as that is stored."""
    task = client.finished(client.submit(paragraphs(3), chunk=CHUNKS)["id"])

    def answer(route: Route) -> None:
        body = route.fetch().json()
        laned, tried, tried_before = body["chunks"]
        laned |= {"lane": 2}
        tried |= {"attempts": 2, "firstStartedAt": task["createdAt"]}
        tried_before |= {"attempts": 3, "firstStartedAt": None}
        route.fulfill(json=body)

    tab = Watched(browser, server.url, locale=language)
    tab.page.route("**/api/tasks/*/chunks?limit=250*", answer)
    page = tab.open(f"#/task/{task['id']}", key)
    rows = page.get_by_role("option")
    expect(rows.nth(0)).to_have_accessible_name(re.compile(f"{lane}$"))
    expect(rows.nth(0).locator("small")).to_have_text(re.compile("2$"))
    expect(rows.nth(1).locator(".again")).to_have_count(1)
    start, call = (rows.nth(1).locator(of).bounding_box() for of in (".again", ".call"))
    assert start is not None
    assert call is not None
    assert start["x"] + start["width"] == pytest.approx(call["x"], abs=1)
    for index in (0, 2):  # without another call, and where the first one's start is not stored
        expect(rows.nth(index).locator(".again")).to_have_count(0)
    assert page.locator(".fall-note").evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth)") == []
    assert tab.serious() == []
    tab.picture(f"lanes {language}")
    tab.context.close()
    assert tab.faults == []


def test_a_restart_of_the_server_is_survived(
    tab: Watched, client: Client, model: ModelServer, server: DevServer, key: str
) -> None:
    """While the server is away the page keeps what it shows, says that it is not current, and goes on by itself when
    the server is back."""
    model.hold()
    task = client.submit(paragraphs(2), chunk=CHUNKS)["id"]
    model.wait_for_in_flight(2, 60)
    page = tab.open(f"#/task/{task}", key)
    expect(page.locator(".fall .call.is-out")).to_have_count(2)
    server.kill()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_text("not current")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(2)
    model.release()
    flags = server.command[server.command.index(str(server.persist_to)) + 1 :]
    port = httpx.URL(server.url).port or 0
    with DevServer(server.persist_to, *flags, port=port, ready_seconds=READY_SECONDS_MOST):
        expect(page.get_by_role("alert")).to_have_count(0, timeout=60_000)
        expect(page.get_by_text("not current")).to_have_count(0)
        assert page.get_by_role("heading", level=1).inner_text()
