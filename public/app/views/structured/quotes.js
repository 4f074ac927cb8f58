// Quotes and their places.
import { html } from "../../base/dom.js";
import { t } from "../../base/i18n.js";
import { Table } from "../../base/parts.js";

const ROWS_MOST = 500;

export function Quotes({ result: { value, quotes } }) {
  const name = t(quotes.length > ROWS_MOST ? "quotes.first" : "quotes", { n: quotes.length, most: ROWS_MOST });
  const rows = quotes.slice(0, ROWS_MOST).map(({ pointer, start, end }) => [html`<bdi>${at(value, pointer)}</bdi>`, `${start}–${end}`]);
  return html`<${Table} label=${name} columns=${[name, t("offsets")]} rows=${rows} />`;
}

const at = (value, pointer) => pointer.split("/").slice(1).reduce((one, key) => one[key.replaceAll("~1", "/").replaceAll("~0", "~")], value);
