"""Outputs are shown as Markdown if the reader chooses it, and hostile Markdown does nothing."""

import json

import pytest
from playwright.sync_api import Browser, expect

from tests.support.markdown import FORBIDDEN, PLAIN, answer_with, as_markdown
from tests.support.stage import TASK_ID, Stage, task

pytestmark = pytest.mark.runtime
LIBRARIES = ("/vendor/markdown/marked.js", "/vendor/markdown/purify.js")


def test_an_output_is_read_as_markdown(stage: Stage) -> None:
    answer_with(stage, PLAIN)
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
    assert result.evaluate(FORBIDDEN) == []
    sides = "(all) => all.map((one) => getComputedStyle(one).textAlign)"
    assert result.locator("td").evaluate_all(sides) == ["center", "end"]


def test_a_long_output_is_read_by_portions(stage: Stage) -> None:
    code = "```\n" + "code\n\n" * 2_500 + "```\n\n"
    parts = [f"**part {number:04}** " + "word " * 40 for number in range(400)]
    text = "\n\n".join(parts[:60]) + f"\n\n{code}" + "\n\n".join(parts[60:])
    answer_with(stage, text)
    page = stage.open(f"#/task/{TASK_ID}")
    result = as_markdown(page)
    assert result.locator("strong").count() < 110
    page.get_by_role("button", name=f"Show all {len(text):,} characters").click()
    expect(result.locator("strong")).to_have_count(400)
    assert result.locator("strong").all_inner_texts() == [f"part {number:04}" for number in range(400)]
    expect(result.locator("pre")).to_have_count(1)
    assert result.locator("pre").inner_text().count("code") == 2_500
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)


def test_the_libraries_are_loaded_when_somebody_chooses_markdown(stage: Stage) -> None:
    answer_with(stage, "a *word*")
    stage.answers["/api/tasks"] = {"tasks": [task()], "nextCursor": None}
    page = stage.open("#/tasks")
    page.locator(".list-row a").click()
    expect(page.get_by_role("group", name="Result")).to_have_text("a *word*")
    stage.settle()
    assert not [request for request in stage.requests if "markdown" in request]
    as_markdown(page)
    assert {f"GET {name}" for name in LIBRARIES} <= set(stage.requests)


# Each of these texts would run a script, send a request or change the page if a part of it became markup.
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


@pytest.mark.parametrize(
    ("locale", "scheme"), [("en-GB", "light"), pytest.param("zh-CN", "dark", marks=pytest.mark.campaign)]
)
def test_hostile_markdown_does_nothing(browser: Browser, locale: str, scheme: str) -> None:
    """Of hostile Markdown no script runs, no request goes to another host, and only allowed elements are made."""
    stage = Stage(browser, locale=locale, color_scheme=scheme)
    stage.context.add_init_script(
        "window.violated = []; addEventListener('securitypolicyviolation', (one) => violated.push(one.blockedURI))"
    )
    answer_with(stage, [PLAIN, *ATTACKS, "The end"])
    page = stage.open(f"#/task/{TASK_ID}")
    is_english = locale == "en-GB"
    result = as_markdown(page, *([] if is_english else ["结果", "显示方式"]))
    expect(result.locator("p").last).to_have_text("The end")
    stage.settle()
    for hover in result.get_by_role("link").all():
        hover.hover()
        hover.focus()
    assert result.evaluate(FORBIDDEN) == []
    addresses = set(result.get_by_role("link").evaluate_all("(all) => all.map((one) => one.href)"))
    assert {one for one in addresses if "example" not in one} == set()
    assert result.locator("a:not([href])").count() == 0  # DOMPurify had no forbidden element to remove
    assert "javascript:" not in json.dumps(sorted(addresses))
    assert "<script>alert(1)</script>" in result.inner_text()
    assert page.evaluate("[window.violated, location.hash, document.title]") == [
        [],
        f"#/task/{TASK_ID}",
        "A name · onceover",
    ]
    for width in (1280, 375, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        stage.picture(f"markdown {locale} {width}")
    assert stage.serious() == []
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    assert stage.serious() == []
    stage.close()
    assert stage.faults == []


_FORGED = """async () => {
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
    """If the page made forbidden elements from Markdown, DOMPurify would remove them, without a policy of its own."""
    page = stage.open("#/tasks")
    away = 'target="_blank" rel="noopener noreferrer"'
    assert page.evaluate(_FORGED) == (
        f'<div><p>kept</p><a {away}>a</a><a {away}>b</a><a href="https://example.com/" {away}>c</a></div>'
    )


def test_the_browser_refuses_markup_made_from_text(stage: Stage) -> None:
    page = stage.open("#/tasks")
    for attempt in ("document.body.innerHTML = '<p>x</p>'", "trustedTypes.createPolicy('dompurify', {})"):
        assert (
            page.evaluate(f"() => {{ try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }} }}")
            == "TypeError"
        )
    stage.faults.clear()  # the browser reports both


HARD = {
    "quotations": "> " * 30_000,
    "lists": "\n".join("  " * depth + "- a" for depth in range(400)),
    "emphasis": "**a *b " * 20_000,
    "underscores": "_a" * 60_000,
    "brackets": "[" * 50_000 + "](x)" * 1_000,
    "line": "a" * 300_000,
}


def test_markdown_that_is_hard_to_read_stays_bounded(stage: Stage) -> None:
    depths = """(root) => Math.max(...[...root.querySelectorAll("*")].map((one) => {
      let depth = 0;
      for (let at = one; at !== root; at = at.parentElement) depth += 1;
      return depth;
    }))"""
    page = stage.open("#/submit")
    for name, text in HARD.items():
        answer_with(stage, text, metadata={"name": name})
        page.goto(f"{stage.url}/#/submit")
        expect(page.locator("#input")).to_be_visible()
        page.goto(f"{stage.url}/#/task/{TASK_ID}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        result = as_markdown(page)
        assert result.evaluate(depths) < 80, name
        assert result.evaluate(FORBIDDEN) == [], name
