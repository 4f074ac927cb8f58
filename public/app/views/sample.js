// What an empty list offers: a text to begin with, and the command that submits it.
import { html } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { Copy } from "../base/parts.js";
import { draft } from "../base/prefs.js";
import { go } from "../base/route.js";
import { curl } from "./share.js";

export function Sample() {
  const command = `${curl("/api/tasks")} -H 'Content-Type: application/json' -d '${JSON.stringify({ input: t("sample.text") })}'`;
  const begin = () => {
    if (!draft.read()?.input) draft.write({ ...draft.read(), input: t("sample.text") });
    go("submit");
  };
  return html`<button type="button" class="primary" onClick=${begin}>${t("sample.try")}</button>
    <p>${t("sample.command")}</p>
    <pre tabindex="0" role="group" aria-label=${t("sample.command")}>${command}</pre>
    <${Copy} text=${command} />`;
}
