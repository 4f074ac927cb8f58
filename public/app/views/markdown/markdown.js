// Outputs as Markdown. Two libraries are loaded: marked parses the text, and DOMPurify checks the elements made of it.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../base/dom.js";
import { t } from "../../base/i18n.js";
import { Notice, Words } from "../../base/parts.js";
import { allowed } from "./allowed.js";
import { nodesOf } from "./nodes.js";
import { lexerOf, portionsOf, SIZE } from "./portions.js";

let loaded = null; // {Lexer, purify}, once they have been loaded

async function load() {
  const folder = "../../../vendor/markdown";
  const [{ Lexer }] = await Promise.all([import(`${folder}/marked.js`), import(`${folder}/purify.js`)]);
  loaded = { Lexer: lexerOf(Lexer), purify: globalThis.DOMPurify };
  return loaded;
}

/** Outputs as Markdown. Of long outputs the beginning is shown first, and on demand the rest, portion by portion. */
export function Markdown({ texts, label, tall = false }) {
  const [libraries, setLibraries] = useState(loaded); // false: they cannot be loaded
  const text = texts.join("\n\n");
  const portions = useMemo(() => portionsOf(texts), [text]);
  const [shown, setShown] = useState(0);
  const [all, setAll] = useState(false);
  const most = Math.max(shown, further(portions, 0));
  useEffect(() => {
    if (libraries === null) load().then(setLibraries, () => setLibraries(false));
  }, []);
  useEffect(() => {
    if (!all || most >= portions.length) return undefined;
    const timer = setTimeout(() => setShown(further(portions, most)));
    return () => clearTimeout(timer);
  }, [all, most, portions]);
  if (libraries === null) return html`<p class="dim" role="status">${t("loading")}</p>`;
  if (!libraries) return html`<${Notice} tone="warn">${t("markdown.notLoaded")}<//><${Words} text=${text} label=${label} tall=${tall} />`;
  return html`<link rel="stylesheet" href="style/markdown.css" />
    <div class=${tall ? "markdown tall" : "markdown"} tabindex="0" role="group" aria-label=${label}>
      ${portions.slice(0, most).map((portion, at) => html`<${Portion} key=${at} text=${portion} libraries=${libraries} />`)}
    </div>
    ${!all && most < portions.length && html`<button type="button" class="quiet" onClick=${() => setAll(true)}>${t("showAll", { n: text.length })}</button>`}`;
}

/** Returns how many portions are to be shown next if `from` portions are shown. */
function further(portions, from) {
  let [to, size] = [from, 0];
  while (to < portions.length && (to === from || size + portions[to].length <= SIZE)) size += portions[to++].length;
  return to;
}

function Portion({ text, libraries }) {
  const place = useRef(null);
  const made = useMemo(() => {
    try {
      return allowed(libraries.purify, nodesOf(new libraries.Lexer().lex(text)));
    } catch {
      return text; // what the libraries do not manage is shown as it is
    }
  }, [text, libraries]);
  useLayoutEffect(() => place.current.replaceChildren(made), [made]);
  return html`<div ref=${place} class="portion"></div>`;
}
