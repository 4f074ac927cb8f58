// The JSON value of a task or a chunk: as a tree, and its lists of flat objects as tables.
import { html, useMemo, useState } from "../../base/dom.js";
import { t } from "../../base/i18n.js";
import { Copy, Save, Words } from "../../base/parts.js";
import { readExactly } from "./exact.js";
import { tablesOf, ValueTable } from "./table.js";
import { Tree } from "./tree.js";

/** `text` is the API's own JSON, which is copied and saved as it is. `file` names the file. */
export function Value({ text, label, file }) {
  const [picked, setPicked] = useState(null); // the pointer of the list that is a table; null: the tree
  const parsed = useMemo(() => parse(text), [text]);
  const { value, tables } = parsed ?? {};
  const list = tables?.find(([pointer]) => pointer === picked)?.[1];
  return html`<link rel="stylesheet" href="style/structured.css" />
    <div class="head">
      <div class="row" role="group" aria-label=${t("value.as")}>
        ${tables?.length > 0 && html`<${Way} is=${!list} name=${t("value.tree")} onPick=${() => setPicked(null)} />`}
        ${tables?.map(([pointer]) => html`<${Way} key=${pointer} is=${list && pointer === picked} name=${html`${t("value.table")} <bdi><code>${pointer}</code></bdi>`} onPick=${() => setPicked(pointer)} />`)}
      </div>
      <div class="row"><${Copy} text=${text} label=${t("value.copy")} /><${Save} text=${text} name=${file} type="application/json" label=${t("value.save")} /></div>
    </div>
    ${!parsed
      ? html`<${Words} text=${text} label=${label} />`
      : list
        ? html`<${ValueTable} key=${picked} list=${list} label=${`${label} ${picked}`} />`
        : html`<${Tree} key=${text} value=${value} label=${label} />`}`;
}

function parse(text) {
  try {
    const value = readExactly(text);
    return { value, tables: tablesOf(value) };
  } catch {
    return null; // what is not JSON is shown as it is
  }
}

const Way = ({ is, name, onPick }) => html`<button type="button" class="quiet" aria-pressed=${is ? "true" : "false"} onClick=${onPick}>${name}</button>`;
