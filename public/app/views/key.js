// The dialog that asks for an API key. The page keeps an API key for one tab only.
import { html, useState } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { Dialog, Notice } from "../base/parts.js";
import { choose, prefs } from "../base/prefs.js";

export function KeyDialog({ why, onClose }) {
  const [text, setText] = useState("");
  const use = (event) => {
    event.preventDefault();
    choose("tenant", "");
    choose("key", text.trim());
    onClose();
  };
  const forget = () => {
    choose("tenant", "");
    choose("key", "");
    onClose();
  };
  return html`<${Dialog} title=${t("key.label")} onClose=${onClose}>
    ${why !== "asked" && html`<${Notice} tone=${why === "refused" ? "bad" : ""}>${t(`key.${why}`)}<//>`}
    <form onSubmit=${use}>
      <label for="key">${t("key.label")}</label>
      <input
        id="key"
        type="password"
        autocomplete="off"
        spellcheck=${false}
        autofocus
        value=${text}
        onInput=${(event) => setText(event.target.value)}
        placeholder="oo_…"
        aria-describedby="key-hint"
      />
      <p id="key-hint" class="hint">${t("key.hint")}</p>
      <div class="row end">
        ${prefs().key && html`<button type="button" onClick=${forget}>${t("key.forget")}</button>`}
        <button type="button" onClick=${onClose}>${t("back")}</button>
        <button type="submit" class="primary" disabled=${text.trim() === ""}>${t("key.use")}</button>
      </div>
    </form>
  <//>`;
}
