"""The page shows outputs as Markdown if the reader chooses that, from texts that nobody trusts."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import Watched
from tests.support.client import Client
from tests.support.stage import TASK_ID, URL, Stage, chunk, shaped, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
LIBRARIES = ("/vendor/markdown/marked.js", "/vendor/markdown/purify.js")

PLAIN = """# Minutes

A *short* text with **weight**, ~~a mistake~~, `code <b>` and [a link](https://example.com/a?b=1&amp;c=2 "its title").
Mail <me@example.com>, see https://example.com/plain. R&amp;D &#169; 2 &lt; 3, a\\*b.<br>Next line.

#### A deep heading

3. first

   with a paragraph
4. second
   - [x] done
   - [ ] open

> A quotation

| name | number |
| :-: | --: |
| Emma | 31 |

```html
<script>alert(1)</script>
```

---
![A picture](https://example.com/picture.png)
"""

# Each of these would run a script, ask another host or change the page, if something of it became markup.
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=https://evil.example/pixel.png>",
    "![x](https://evil.example/pixel.png)",
    '![x](x"onerror=alert`1`")',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](\u0001javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](#/submit)",
    "[x](/api/tasks)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '[x](https://ok.example "onmouseover=alert(1) \\" onfocus=alert(1)")',
    '<a href="javascript:alert(1)" onclick=alert(1)>x</a>',
    "<style>body { display: none }</style>",
    '<p style="position:fixed;inset:0">x</p>',
    '<iframe src="javascript:alert(1)" srcdoc="<script>alert(1)</script>"></iframe>',
    "<object data=javascript:alert(1)></object><embed src=javascript:alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<form id=app><input name=body><input name=innerHTML></form><a id=getElementById name=location>x</a>",
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    "<base href=https://evil.example/><meta http-equiv=refresh content=0;url=https://evil.example>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<template><img src=x onerror=alert(1)></template><slot onslotchange=alert(1)>",
    "```\n</code></pre><img src=x onerror=alert(1)>\n```",
    "`</code><script>alert(1)</script>`",
    "| <img src=x onerror=alert(1)> | `</td><script>alert(1)</script>` |\n| - | - |\n| <svg onload=alert(1)> | x |",
    "- <details open ontoggle=alert(1)>\n\n  <video><source onerror=alert(1)></video>",
    "> <marquee onstart=alert(1)>x</marquee>",
    "# <b onmouseover=alert(1)>x</b>",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62; &#0; &#1114112; &#xffffff;",
    "\u202egnp.exe\u2066 [\u202ecod.exe](https://example.com/)",
    "__proto__ constructor toString &constructor; &toString; &__proto__;",
]
# What the page may make of an output: elements, and what each may have.
_ALLOWED = """(root) => [...root.querySelectorAll("*")].flatMap((one) => {
  const blocks = "blockquote div h3 h4 h5 h6 hr li ol p pre table tbody td th thead tr ul".split(" ");
  const names = ["a", "br", "code", "del", "em", "strong", ...blocks];
  const attributes = "aria-label class dir href rel role start tabindex target title".split(" ");
  const bad = one.getAttributeNames().filter((name) => !attributes.includes(name));
  const address = one.getAttribute("href") ?? "https://";
  if (!/^(https?:[/][/]|mailto:)/.test(address)) bad.push(address);
  if (one.localName === "a" && (one.rel !== "noopener noreferrer" || one.target !== "_blank")) bad.push("rel");
  return names.includes(one.localName) && bad.length === 0 ? [] : [`${one.outerHTML.slice(0, 80)} ${bad}`];
})"""


def shown(stage: Stage, output: str | list[str | None], **changed: Any) -> None:
    """Answer as a completed task with this result."""
    stage.answers |= {PATH: task(result={"output": output}, **changed)}
    stage.answers[f"{PATH}/chunks"] = {"chunks": [chunk(index) for index in range(3)], "nextCursor": None}


def as_markdown(page: Page, label: str = "Result", ways: str = "Shown as", way: str = "Markdown") -> Locator:
    """Choose Markdown, and return the result."""
    page.get_by_role("group", name=ways).get_by_role("button", name=way).first.click()
    result = page.get_by_role("group", name=label, exact=True)
    expect(result.locator(".portion").first).to_be_visible()
    return result


def test_an_output_is_read_as_markdown(stage: Stage) -> None:
    """Headings are below the page's own, a picture is a link, HTML stays text, and a link tells nothing to its host."""
    shown(stage, PLAIN)
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.get_by_role("group", name="Result")).to_have_text(PLAIN)
    result = as_markdown(page)
    assert [result.locator(name).count() for name in ("h3", "h4", "strong", "em", "del", "hr", "img")] == [
        1,
        1,
        1,
        1,
        1,
        1,
        0,
    ]
    expect(result.locator("blockquote")).to_have_text("A quotation")
    expect(result.locator("ol[start='3'] > li[dir=auto]")).to_have_count(2)
    assert result.locator("ul > li").all_inner_texts() == ["☑ done", "☐ open"]
    expect(result.locator("pre")).to_have_text("<script>alert(1)</script>")
    text = result.inner_text()
    assert "code <b>" in text
    assert "R&D © 2 < 3, a*b.\nNext line." in text
    assert result.get_by_role("link").evaluate_all("(all) => all.map((one) => [one.textContent, one.href])") == [
        ["a link", "https://example.com/a?b=1&c=2"],
        ["me@example.com", "mailto:me@example.com"],
        ["https://example.com/plain", "https://example.com/plain"],
        ["A picture", "https://example.com/picture.png"],
    ]
    assert result.evaluate(_ALLOWED) == []
    sides = "(all) => all.map((one) => getComputedStyle(one).textAlign)"
    assert result.locator("td").evaluate_all(sides) == ["center", "end"]


def test_the_choice_is_kept_and_goes_for_chunks_too(stage: Stage) -> None:
    """The choice holds after a reload, for each output, and until the reader chooses text again."""
    shown(stage, "one *word*")
    stage.answers[f"{PATH}/chunks"] = {"chunks": [chunk(0, output="a **chunk**")], "nextCursor": None}
    page = stage.open(f"#/task/{TASK_ID}?chunk=0")
    expect(page.get_by_role("group", name="Output")).to_have_text("a **chunk**")
    as_markdown(page)
    expect(page.get_by_role("group", name="Output").locator("strong")).to_have_text("chunk")
    page.reload()
    expect(page.get_by_role("group", name="Result", exact=True).locator("em")).to_have_text("word")
    ways = page.get_by_role("group", name="Shown as").first
    expect(ways.get_by_role("button", name="Markdown")).to_have_attribute("aria-pressed", "true")
    ways.get_by_role("button", name="Text").click()
    expect(page.get_by_role("group", name="Result", exact=True)).to_have_text("one *word*")
    expect(page.get_by_role("group", name="Output")).to_have_text("a **chunk**")
    page.reload()
    expect(page.get_by_role("group", name="Result", exact=True)).to_have_text("one *word*")


@pytest.mark.parametrize(
    ("locale", "width", "scheme"), [("en-GB", 1280, "light"), ("zh-CN", 375, "dark"), ("en-GB", 320, "dark")]
)
def test_hostile_markdown_does_nothing(browser: Browser, locale: str, width: int, scheme: str) -> None:
    """No script runs, no other host is asked, no policy is violated, and only named elements and addresses are made."""
    stage = Stage(browser, locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme)
    stage.context.add_init_script(
        "window.violated = []; addEventListener('securitypolicyviolation', (one) => violated.push(one.blockedURI))"
    )
    shown(stage, [PLAIN, *ATTACKS, "The end"])
    page = stage.open(f"#/task/{TASK_ID}")
    is_english = locale == "en-GB"
    result = as_markdown(page, *([] if is_english else ["结果", "显示方式"]))
    expect(result.locator("p").last).to_have_text("The end")
    stage.settle()
    for hover in result.get_by_role("link").all():
        hover.hover()
        hover.focus()
    assert result.evaluate(_ALLOWED) == []
    addresses = set(result.get_by_role("link").evaluate_all("(all) => all.map((one) => one.href)"))
    assert {one for one in addresses if "example" not in one} == set()
    assert "javascript:" not in json.dumps(sorted(addresses))
    assert "<script>alert(1)</script>" in result.inner_text()
    assert page.evaluate("[window.violated, location.hash, document.title]") == [
        [],
        f"#/task/{TASK_ID}",
        "A name · onceover",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert stage.serious() == []
    stage.picture(f"markdown {locale} {width}")
    stage.close()
    assert stage.faults == []


_FORBIDDEN = """async () => {
  const { allowed } = await import("/app/views/markdown/allowed.js");
  await import("/vendor/markdown/purify.js");
  const make = (name, attributes = {}, ...within) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...within);
    return one;
  };
  const root = make("div", {},
    make("script", {}, "alert(1)"), make("style", {}, "p {}"), make("iframe"), make("form", {}, make("input")),
    make("p", { id: "app", "data-x": "1", "aria-hidden": "true" }, "kept"),
    make("img", { src: "x", alt: "gone" }), document.createElementNS("http://www.w3.org/2000/svg", "svg"),
    make("a", { href: "javascript:alert(1)" }, "a"), make("a", { href: "#/submit" }, "b"),
    make("a", { href: "https://example.com/" }, "c"));
  return allowed(globalThis.DOMPurify, root).outerHTML;
}"""


def test_the_second_lock_holds_by_itself(stage: Stage) -> None:
    """If elements were made that an output may not have, DOMPurify would remove them, without a policy of its own.

    The browser itself refuses to set an attribute that would run a script.
    """
    page = stage.open("#/tasks")
    away = 'target="_blank" rel="noopener noreferrer"'
    assert page.evaluate(_FORBIDDEN) == (
        f'<div><p>kept</p><a {away}>a</a><a {away}>b</a><a href="https://example.com/" {away}>c</a></div>'
    )


def test_the_browser_refuses_markup_made_from_text(stage: Stage) -> None:
    """Markdown did not loosen the policy: no code of the page can make markup from text, or allow itself to."""
    page = stage.open("#/tasks")
    for attempt in ("document.body.innerHTML = '<p>x</p>'", "trustedTypes.createPolicy('dompurify', {})"):
        assert (
            page.evaluate(f"() => {{ try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }} }}")
            == "TypeError"
        )
    stage.faults.clear()  # the browser reports both


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("> " * 30_000, id="quotations"),
        pytest.param("\n".join("  " * depth + "- a" for depth in range(400)), id="lists"),
        pytest.param("**a *b " * 20_000, id="emphasis"),
        pytest.param("_a" * 60_000, id="underscores"),
        pytest.param("[" * 50_000 + "](x)" * 1_000, id="brackets"),
        pytest.param("a" * 300_000, id="line"),
    ],
)
def test_markdown_that_is_hard_to_read_stays_bounded(stage: Stage, text: str) -> None:
    """A text that is nested deeply or hard to read becomes a page of bounded depth, and is not lost."""
    shown(stage, text)
    result = as_markdown(stage.open(f"#/task/{TASK_ID}"))
    depths = """(root) => Math.max(...[...root.querySelectorAll("*")].map((one) => {
      let depth = 0;
      for (let at = one; at !== root; at = at.parentElement) depth += 1;
      return depth;
    }))"""
    assert result.evaluate(depths) < 80
    assert result.evaluate(_ALLOWED) == []


def test_a_long_output_is_read_by_portions(stage: Stage) -> None:
    """At first the beginning is read. The rest follows when the reader asks, without loss, and code is not cut."""
    code = "```\n" + "code\n\n" * 2_500 + "```\n\n"
    parts = [f"**part {number:04}** " + "word " * 40 for number in range(400)]
    text = "\n\n".join(parts[:60]) + f"\n\n{code}" + "\n\n".join(parts[60:])
    shown(stage, text)
    page = stage.open(f"#/task/{TASK_ID}")
    result = as_markdown(page)
    assert result.locator("strong").count() < 110
    page.get_by_role("button", name=f"Show all {len(text):,} characters").click()
    expect(result.locator("strong")).to_have_count(400)
    assert result.locator("strong").all_inner_texts() == [f"part {number:04}" for number in range(400)]
    expect(result.locator("pre")).to_have_count(1)
    assert result.locator("pre").inner_text().count("code") == 2_500
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)


def test_outputs_are_read_one_by_one(stage: Stage) -> None:
    """Code that one output leaves open does not swallow the next one."""
    shown(stage, ["```\nopen", None, "**next**"])
    result = as_markdown(stage.open(f"#/task/{TASK_ID}"))
    expect(result.locator("strong")).to_have_text("next")


def test_the_libraries_are_loaded_when_somebody_chooses_markdown(stage: Stage) -> None:
    """Neither the list nor a task's result as text loads anything for Markdown."""
    shown(stage, "a *word*")
    stage.answers["/api/tasks"] = {"tasks": [task()], "nextCursor": None}
    page = stage.open("#/tasks")
    page.locator(".list-row a").click()
    expect(page.get_by_role("group", name="Result")).to_have_text("a *word*")
    stage.settle()
    assert not [request for request in stage.requests if "markdown" in request]
    as_markdown(page)
    assert {f"GET {name}" for name in LIBRARIES} <= set(stage.requests)


def test_without_the_libraries_the_text_is_shown(stage: Stage) -> None:
    """If the libraries cannot be read, the page says so and shows the text. It does not ask again and again."""
    stage.context.route("**/vendor/markdown/*", lambda route: route.fulfill(status=404))
    shown(stage, "a *word*")
    page = stage.open(f"#/task/{TASK_ID}")
    page.get_by_role("button", name="Markdown").click()
    expect(page.get_by_text("The files that show Markdown cannot be read.")).to_be_visible()
    expect(page.get_by_role("group", name="Result", exact=True)).to_have_text("a *word*")
    stage.settle()
    assert len([request for request in stage.requests if "/vendor/markdown/" in request]) == len(LIBRARIES)


def test_a_json_value_keeps_its_tree(stage: Stage) -> None:
    """A task with a schema has no choice of text or Markdown, whatever was chosen before."""
    stage.context.add_init_script("localStorage['onceover.outputs'] = 'markdown'")
    stage.answers |= {PATH: shaped({"a": "*b*"}), f"{PATH}/chunks": {"chunks": [], "nextCursor": None}}
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.get_by_role("tree")).to_contain_text("*b*")
    expect(page.get_by_role("group", name="Shown as")).to_have_count(0)


def test_markdown_is_chosen_and_read_by_the_keyboard(stage: Stage) -> None:
    """The buttons, the result, its wide table and its links are reached by Tab alone."""
    shown(stage, PLAIN)
    page = stage.open(f"#/task/{TASK_ID}")
    page.get_by_role("button", name="Text", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    result = page.get_by_role("group", name="Result", exact=True)
    expect(result.locator("h3")).to_have_text("Minutes")
    expect(page.get_by_role("button", name="Markdown")).to_be_focused()
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert reached[2:] == [
        "Result",
        "a link",
        "me@example.com",
        "https://example.com/plain",
        "Table",
        "A picture",
        reached[8],
    ]


def test_the_server_serves_what_markdown_needs(tab: Watched, client: Client, key: str) -> None:
    """Under `make dev` the page has the libraries, and shows a real result as Markdown."""
    made = client.submit("A text **of weight** <script>alert(1)</script>.")
    client.finished(made["id"])
    page = tab.open(f"#/task/{made['id']}", key)
    result = as_markdown(page)
    expect(result.locator("strong").first).to_have_text("of weight")
    assert "<script>alert(1)</script>" in result.inner_text()
    assert URL not in tab.url
