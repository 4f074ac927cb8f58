// The faults of a batch's input file, line by line, as the API lists them.
import { html } from "../../base/dom.js";
import { count, t, whole } from "../../base/i18n.js";
import { Card, Quote, Table } from "../../base/parts.js";

const FAULTS_MOST = 100; // that the API lists

/** `isInvalid`: the batch's file has faults. Otherwise the list's only entry says why the batch's task failed. */
export function Faults({ of: { errors }, isInvalid }) {
  const found = isInvalid ? (errors?.data ?? []) : [];
  if (found.length === 0) return null;
  return html`<${Card} title=${t("faults.title")}>
    <p class="hint">${found.length < FAULTS_MOST ? count("faults.all", found.length) : t("faults.first", { n: found.length })}</p>
    <${Table}
      label=${t("faults.title")}
      columns=${["faults.line", "gaps.code", "ladder.pointer", "faults.message"].map((name) => t(name))}
      rows=${found.map(({ line, code, param, message }) => [line === null ? "–" : whole(line), html`<code>${code}</code>`, param ? html`<code><bdi>${param}</bdi></code>` : "–", html`<${Quote}>${message}<//>`])}
    />
  <//>`;
}
