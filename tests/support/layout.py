"""Finds texts of the page that a reader cannot read: cut off, over each other, or squeezed into a narrow column."""

from playwright.sync_api import Page

_FAULTS = """() => {
  const LEAST = 3;  // how wide the widest of several lines is, in widths of an M
  const root = document.querySelector("dialog[open]") ?? document.body;
  // What is only for screen readers, the curtailed code of a gap, and the heads of a table, which stand in its cells.
  const unread = ".sr, .skip, .gap-code, option, noscript" + (innerWidth <= 860 ? ", .table thead" : "");
  const lines = [];
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest(unread) || !parent.checkVisibility()) continue;
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0 && box.height > 0);
    const text = `${parent.className || parent.localName}: ${node.data.trim().slice(0, 40)}`;
    const size = parseFloat(getComputedStyle(parent).fontSize);
    const widest = Math.max(...boxes.map(({ width }) => width));
    if (boxes.length > 2 && widest < LEAST * size) found.push(`squeezed: ${text}`);
    for (const { left, right, top, bottom } of boxes) {
      const seen = { left, right, top, bottom, text, size };
      let isFree = false;  // it can be scrolled to
      for (let up = parent; up; up = up.parentElement) {
        const box = up.getBoundingClientRect();
        const { overflowX, overflowY, textOverflow } = getComputedStyle(up);
        isFree ||= ["auto", "scroll"].includes(overflowX) && !up.matches(".fall, dialog");
        const isBound = overflowX !== "visible" || up.matches(".card, .chosen, .notice, dialog");
        const isWithin = seen.left >= box.left - 1 && seen.right <= box.right + 1;
        if (isBound && !isFree && !isWithin && textOverflow !== "ellipsis") found.push(`cut off: ${text}`);
        if (overflowX !== "visible") {
          seen.left = Math.max(seen.left, box.left);
          seen.right = Math.min(seen.right, box.right);
        }
        if (overflowY !== "visible") {
          seen.top = Math.max(seen.top, box.top);
          seen.bottom = Math.min(seen.bottom, box.bottom);
        }
      }
      if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) lines.push(seen);
    }
  }
  lines.forEach((one, at) => {
    for (const other of lines.slice(at + 1)) {
      const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (across > 2 && down > Math.min(one.size, other.size) / 2)
        found.push(`over each other: ${one.text} | ${other.text}`);
    }
  });
  for (const bar of root.querySelectorAll(".fall-time, .plot svg, .at-once svg"))
    if (bar.getBoundingClientRect().width < 60) found.push(`no place: ${bar.className.baseVal ?? bar.className}`);
  return [...new Set(found)];
}"""


def layout_faults(page: Page) -> list[str]:
    """Return which texts of the page or dialog are cut off without an ellipsis or a way to scroll."""
    faults: list[str] = page.evaluate(_FAULTS)
    return faults
