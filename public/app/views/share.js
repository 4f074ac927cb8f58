// Buttons that copy a link, an id or a shell command for what the page shows. No copied text contains the key.
import { html } from "../base/dom.js";
import { addressed } from "../base/api.js";
import { t } from "../base/i18n.js";
import { Copy } from "../base/parts.js";
import { prefs } from "../base/prefs.js";

/** `hash` is the page's address, and `path` the API's. */
export const Share = ({ hash, path, id }) => html`<div class="row hint share">
  ${id && html`${t("id")} <code class="wrap">${id}</code>`}
  <${Copy} text=${`${location.origin}${location.pathname}${hash}`} label=${t("copyLink")} />
  ${id && html`<${Copy} text=${id} label=${t("copyId")} />`}
  <${Copy} text=${curl(path)} label=${t("copyCurl")} />
</div>`;

/** A shell command that requests a path of the API. The command has the variable KEY in place of the API key. */
export function curl(path) {
  const address = `${location.origin}${addressed(path)}`.replaceAll("'", "%27");
  return `curl -sS${prefs().key ? ' -H "Authorization: Bearer $KEY"' : ""} '${address}'`;
}
