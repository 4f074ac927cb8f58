// The output of a model: as text, or as Markdown. The reader's choice is kept for all outputs.
import { html } from "../../base/dom.js";
import { t } from "../../base/i18n.js";
import { Lazy, Words } from "../../base/parts.js";
import { choose, prefs } from "../../base/prefs.js";

const isMarkdown = () => prefs().outputs === "markdown";

/** The buttons that show outputs as text or as Markdown. */
export const Ways = () => html`<div class="row" role="group" aria-label=${t("shownAs")}>
  ${["text", "markdown"].map((way) => html`<button key=${way} type="button" class="quiet" aria-pressed=${(way === "markdown") === isMarkdown() ? "true" : "false"} onClick=${() => choose("outputs", way)}>${t(`shownAs.${way}`)}</button>`)}
</div>`;

/** Shows several outputs one after the other, as text or as Markdown. */
export const Output = ({ texts, ...others }) =>
  isMarkdown() ? html`<${Lazy} name="markdown" texts=${texts} ...${others} />` : html`<${Words} text=${texts.join("\n\n")} ...${others} />`;
