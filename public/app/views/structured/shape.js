// What a task or its plan demands of the outputs: a schema, how outputs are joined, and whether gaps are allowed.
import { html } from "../../base/dom.js";
import { percent, t } from "../../base/i18n.js";
import { Facts, Words } from "../../base/parts.js";

/** With `whole` the schema itself is shown, too. */
export function Shape({ request: { outputSchema, strict, join = {}, onChunkFailure, maxGapShare }, whole = false }) {
  return html`<${Facts}
      of=${[
        [t("field.outputSchema"), strict === undefined ? null : t(strict ? "shape.strict" : "shape.loose")],
        [t("field.join"), Object.keys(join).length > 0 && html`<code class="wrap"><bdi>${JSON.stringify(join)}</bdi></code>`],
        [t("shape.gaps"), onChunkFailure === "gap" ? t("shape.gapsMost", { share: percent(maxGapShare) }) : t("shape.gapsNone")],
      ]}
    />
    ${whole && outputSchema && html`<h3>${t("field.outputSchema")}</h3><${Words} text=${JSON.stringify(outputSchema, null, 2)} label=${t("field.outputSchema")} />`}`;
}
