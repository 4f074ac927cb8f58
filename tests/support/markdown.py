"""Shows outputs as Markdown in a browser, for the tests of the Markdown view."""

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.stage import TASK_ID, Stage, chunk, task

PATH = f"/api/tasks/{TASK_ID}"
# A text with each kind of Markdown.
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
# This script finds what the page must not make from an output: certain elements, attributes and addresses.
FORBIDDEN = """(root) => [...root.querySelectorAll("*")].flatMap((one) => {
  const blocks = "blockquote div h3 h4 h5 h6 hr li ol p pre table tbody td th thead tr ul".split(" ");
  const names = ["a", "br", "code", "del", "em", "strong", ...blocks];
  const attributes = "aria-label class dir href rel role start tabindex target title".split(" ");
  const bad = one.getAttributeNames().filter((name) => !attributes.includes(name));
  const address = one.getAttribute("href") ?? "https://";
  if (!/^(https?:[/][/]|mailto:)/.test(address)) bad.push(address);
  if (one.localName === "a" && (one.rel !== "noopener noreferrer" || one.target !== "_blank")) bad.push("rel");
  return names.includes(one.localName) && bad.length === 0 ? [] : [`${one.outerHTML.slice(0, 80)} ${bad}`];
})"""


def answer_with(stage: Stage, output: str | list[str | None], **changed: Any) -> None:
    stage.answers |= {PATH: task(result={"output": output}, **changed)}
    stage.answers[f"{PATH}/chunks"] = {"chunks": [chunk(index) for index in range(3)], "nextCursor": None}


def as_markdown(page: Page, label: str = "Result", ways: str = "Shown as", way: str = "Markdown") -> Locator:
    page.get_by_role("group", name=ways).get_by_role("button", name=way).first.click()
    result = page.get_by_role("group", name=label, exact=True)
    expect(result.locator(".portion").first).to_be_visible()
    return result
