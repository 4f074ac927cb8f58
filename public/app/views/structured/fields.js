// The fields of a new task that form its outputs: a schema, how outputs are joined, and whether gaps are allowed.
import { html, useEffect, useRef } from "../../base/dom.js";
import { t } from "../../base/i18n.js";

export const NO_SHAPE = { outputSchema: "", strict: true, join: "", gaps: false, maxGapShare: "" };

/** Returns the API's messages about a field and about its parts. */
export const faultsOf = (error, name) =>
  (error?.fields ?? []).filter(({ field }) => field === name || field.startsWith(`${name}.`)).map(({ message }) => message);

/** `Field` is the form's component for a field. A fault of one of these fields opens this part, and gets the focus. */
export function ShapeFields({ fields, set, error, Field }) {
  const part = useRef(null);
  useEffect(() => {
    const [first] = Object.keys(NO_SHAPE).filter((name) => faultsOf(error, name).length > 0);
    if (!first) return;
    part.current.open = true;
    document.getElementById(first)?.focus();
  }, [error]);
  return html`<details ref=${part}>
    <summary>${t("shape.title")}</summary>
    <${Field} name="outputSchema" rows=${8} fields=${fields} set=${set} error=${error} area />
    <${Tick} name="strict" fields=${fields} set=${set} />
    <${Field} name="join" fields=${fields} set=${set} error=${error} area />
    <${Tick} name="gaps" fields=${fields} set=${set} />
    ${fields.gaps && html`<${Field} name="maxGapShare" fields=${fields} set=${set} error=${error} numeric />`}
  </details>`;
}

const Tick = ({ name, fields, set }) => html`<label class="choice">
  <input id=${name} type="checkbox" checked=${fields[name]} onChange=${(event) => set(name, event.target.checked)} />
  <span>${t(`field.${name}`)}<small>${t(`hint.${name}`)}</small></span>
</label>`;
