// A JSON value as a tree. The page has only the members of open nodes, and of each open node one page of members. A
// value of several megabytes therefore takes only a few screens.
import { html, useLayoutEffect, useMemo, useRef, useState } from "../../base/dom.js";
import { count, t } from "../../base/i18n.js";
import { Exact, isNode } from "./exact.js";

const PAGE = 100; // members of a node at once
const OPENED = 60; // rows that are open at first, about
const LONG = 160; // code units of a text that is shown whole
const LONG_MOST = 20_000; // code units of a text that is shown at all
const JUMP = 10; // rows

const listed = new WeakMap(); // the names of each object, so that those of a large one are listed once
const namesOf = (value) => {
  if (!listed.has(value)) listed.set(value, Object.keys(value));
  return listed.get(value);
};
const sizeOf = (value) => (Array.isArray(value) ? value.length : namesOf(value).length);
const membersOf = (value, first) =>
  Array.isArray(value)
    ? value.slice(first, first + PAGE).map((member, at) => [first + at, member])
    : namesOf(value).slice(first, first + PAGE).map((name) => [name, value[name]]);
const isOpenable = (value) => (isNode(value) ? sizeOf(value) > 0 : typeof value === "string" && value.length > LONG);
const below = (pointer, name) => `${pointer}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** The nodes that are open at first (root and few more), as a map from a node's pointer to its first shown member. */
function openedOf(root) {
  const open = new Map();
  const queue = [["", root]];
  for (let left = OPENED; queue.length > 0; ) {
    const [pointer, value] = queue.shift();
    const rows = Math.min(sizeOf(value), PAGE);
    if (open.size > 0 && rows > left) continue;
    left -= rows;
    open.set(pointer, 0);
    for (const [name, member] of membersOf(value, 0)) if (isNode(member)) queue.push([below(pointer, name), member]);
  }
  return open;
}

/** The rows of the tree in the page. A row for earlier or later members of an open node leads to these. */
function rowsOf(root, open) {
  const rows = [];
  const add = (row) => {
    rows.push(row);
    const { pointer, value, level } = row;
    if (!open.has(pointer) || !isNode(value)) return;
    const [first, size] = [open.get(pointer), sizeOf(value)];
    const turn = (sign, to) => rows.push({ pointer: `${sign}${pointer}`, parent: pointer, level: level + 1, to, size });
    if (first > 0) turn("<", Math.max(0, first - PAGE));
    membersOf(value, first).forEach(([name, member], at) =>
      add({ pointer: below(pointer, name), parent: pointer, level: level + 1, name, value: member, place: first + at, size, within: value }),
    );
    if (first + PAGE < size) turn(">", first + PAGE);
  };
  add({ pointer: "", parent: null, level: 1, value: root, place: 0, size: 1 });
  return rows;
}

let made = 0; // trees, so that each has ids of its own

export function Tree({ value, label }) {
  const [id] = useState(() => `tree-${(made += 1)}`);
  const [open, setOpen] = useState(() => openedOf(value));
  const [at, setAt] = useState(""); // the pointer of the active row
  const moved = useRef(false);
  const rows = useMemo(() => rowsOf(value, open), [value, open]);
  const active = Math.max(0, rows.findIndex(({ pointer }) => pointer === at));
  useLayoutEffect(() => {
    if (moved.current) document.getElementById(`${id}-${active}`)?.scrollIntoView({ block: "nearest" });
    moved.current = false;
  }, [at]);
  const act = (row) => {
    const next = new Map(open);
    moved.current = true;
    if (row.to !== undefined) {
      const node = rows.find(({ pointer }) => pointer === row.parent).value;
      next.set(row.parent, row.to);
      setAt(below(row.parent, membersOf(node, row.to)[0][0]));
    } else {
      setAt(row.pointer);
      if (!isOpenable(row.value)) return;
      if (!next.delete(row.pointer)) next.set(row.pointer, 0);
    }
    setOpen(next);
  };
  const move = (event) => {
    const row = rows[active];
    const isOpen = open.has(row.pointer);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: JUMP, PageUp: -JUMP, Home: -rows.length, End: rows.length };
    const acts = {
      Enter: () => act(row),
      " ": () => act(row),
      ArrowRight: () => (isOpen ? isNode(row.value) && go(active + 1) : row.to === undefined && isOpenable(row.value) && act(row)),
      ArrowLeft: () => (isOpen && isOpenable(row.value) ? act(row) : row.parent !== null && go(rows.findIndex(({ pointer }) => pointer === row.parent))),
    };
    if (!(event.key in steps) && !(event.key in acts)) return;
    event.preventDefault();
    if (event.key in steps) go(active + steps[event.key]);
    else acts[event.key]();
  };
  const go = (index) => {
    moved.current = true;
    setAt(rows[Math.max(0, Math.min(rows.length - 1, index))].pointer);
  };
  return html`<div class="tree" role="tree" tabindex="0" aria-label=${label} aria-activedescendant=${`${id}-${active}`} onKeyDown=${move}>
    ${rows.map((row, index) => html`<${Row} key=${row.pointer} id=${`${id}-${index}`} row=${row} isOpen=${open.has(row.pointer)} isActive=${index === active} onAct=${() => act(row)} />`)}
  </div>`;
}

function Row({ id, row, isOpen, isActive, onAct }) {
  const { level, name, value, place, size, to, within } = row;
  const isTurn = to !== undefined;
  return html`<div
    id=${id}
    class=${isActive ? "leaf on" : "leaf"}
    role="treeitem"
    aria-level=${level}
    aria-setsize=${size}
    aria-posinset=${isTurn ? to + 1 : place + 1}
    aria-selected=${isActive}
    aria-expanded=${!isTurn && isOpenable(value) ? isOpen : undefined}
    style=${{ "--level": Math.min(level - 1, 10) }}
    onClick=${onAct}
  >
    ${isTurn
      ? html`<span class="turn">${t(row.pointer[0] === "<" ? "earlier" : "later")} <small>${t("range", { from: to + 1, to: Math.min(to + PAGE, size), of: size })}</small></span>`
      : html`<span class="twig" aria-hidden="true">${isOpenable(value) ? (isOpen ? "▾" : "▸") : ""}</span>
          <span>${name !== undefined && html`<bdi class="key">${name === "" ? '""' : name}</bdi>: `}<${Shown} value=${value} isOpen=${isOpen} isGap=${value === null && level === 2 && Array.isArray(within)} /></span>`}
  </div>`;
}

/** Shows a value in one line, or a long text that the user has opened. */
function Shown({ value, isOpen, isGap }) {
  if (isNode(value)) return html`<span class="dim">${count(Array.isArray(value) ? "value.items" : "value.fields", sizeOf(value))}</span>`;
  if (value instanceof Exact) return html`<b>${value.source}</b>`;
  if (typeof value !== "string") return html`<b>${String(value)}</b>${isGap && html` <span class="warn-text">${t("chunk.gap")}</span>`}`;
  if (value.length <= LONG) return html`<bdi>${JSON.stringify(value)}</bdi>`;
  const most = isOpen ? LONG_MOST : LONG;
  return html`<bdi class="long">${isOpen ? value.slice(0, most) : JSON.stringify(value.slice(0, most))}</bdi>${value.length > most && "…"} <small class="dim">${t("value.characters", { n: value.length })}</small>`;
}
