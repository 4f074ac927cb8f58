// The view of the tenant's keys and webhooks, for keys with the scope `admin`.
import { html } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { Notice, useTitle } from "../base/parts.js";
import { prefs } from "../base/prefs.js";
import { Keys } from "./keys.js";
import { Webhooks } from "./webhooks.js";

export function Access() {
  useTitle(t("nav.access"));
  return html`
    <div class="head"><h1>${t("nav.access")}</h1></div>
    ${prefs().tenant && html`<${Notice}>${t("tenant.notHere")}<//>`}
    <${Keys} />
    <${Webhooks} />
  `;
}
