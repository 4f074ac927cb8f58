// A secret that is shown this once.
import { html } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { Copy, Dialog } from "../base/parts.js";

export const Secret = ({ title, text, onClose }) => html`<${Dialog} title=${title} keep onClose=${onClose}>
  <p>${t("secret.once")}</p>
  <p class="secret"><code>${text}</code></p>
  <div class="row end"><${Copy} text=${text} /><button type="button" class="primary" onClick=${onClose}>${t("secret.kept")}</button></div>
<//>`;
