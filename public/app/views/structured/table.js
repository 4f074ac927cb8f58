// Lists of flat objects as tables: a row for each object, a column for each field, a page of rows at once.
import { html, useMemo, useState } from "../../base/dom.js";
import { count, t, whole } from "../../base/i18n.js";
import { Pages, shorten, Table } from "../../base/parts.js";
import { Exact, isNode } from "./exact.js";

const PAGE = 50; // rows at once
const COLUMNS_MOST = 20;
const CELL = 200; // code units of a text that are shown
const NAME = 60; // of a field's name
const TABLES_MOST = 20;
const DEPTH_MOST = 6; // objects in objects in which lists are looked for

const isFlat = (value) => isNode(value) && !Array.isArray(value) && !Object.values(value).some(isNode);

/** Whether a list can be shown as a table. In the list of all outputs a gap is null, and has a row of its own. */
const isTable = (list, mayHaveGaps) =>
  list.some((one) => one !== null) && list.every((one) => isFlat(one) || (mayHaveGaps && one === null));

/** The lists of flat objects in a value, as [pointer, list], without lists inside of lists. */
export function tablesOf(value) {
  if (Array.isArray(value)) return isTable(value, true) ? [["", value]] : [];
  const found = [];
  const look = (pointer, node, depth) => {
    for (const [name, member] of Object.entries(node)) {
      const at = `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      if (found.length === TABLES_MOST || !isNode(member)) continue;
      if (!Array.isArray(member)) depth < DEPTH_MOST && look(at, member, depth + 1);
      else if (isTable(member, false)) found.push([at, member]);
    }
  };
  if (isNode(value)) look("", value, 1);
  return found;
}

/** The fields of all rows, in the order in which they first occur. */
function columnsOf(list) {
  const names = new Set();
  for (const one of list) if (one !== null) for (const name of Object.keys(one)) names.add(name);
  return [...names];
}

export function ValueTable({ list, label }) {
  const [first, setFirst] = useState(0);
  const names = useMemo(() => columnsOf(list), [list]);
  const shown = names.slice(0, COLUMNS_MOST);
  const last = Math.min(first + PAGE, list.length);
  return html`
    ${names.length > shown.length && html`<p class="hint">${count("value.columns", names.length - shown.length)}</p>`}
    <div class="value-table" tabindex="0" role="region" aria-label=${label}>
      <${Table}
        label=${label}
        columns=${["#", ...shown.map((name) => shorten(name || '""', NAME))]}
        rows=${list.slice(first, last).map((one, at) => [whole(first + at + 1), ...(one === null ? [html`<span class="warn-text">${t("chunk.gap")}</span>`] : shown.map((name) => cell(one, name)))])}
      />
    </div>
    <${Pages} first=${first} page=${PAGE} of=${list.length} onTurn=${setFirst} />
  `;
}

function cell(one, name) {
  if (!Object.hasOwn(one, name)) return "";
  const value = one[name];
  if (typeof value === "string") return html`<bdi>${shorten(value, CELL)}</bdi>`;
  return html`<code>${value instanceof Exact ? value.source : String(value)}</code>`;
}
