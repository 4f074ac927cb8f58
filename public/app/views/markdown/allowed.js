// Lets DOMPurify remove what an output may not have. `nodes.js` makes only allowed elements, so this is a second lock,
// in case a change of `nodes.js` or of marked lets others through.
import { AWAY } from "./nodes.js";

const RULES = {
  ALLOWED_TAGS: [
    ...["a", "blockquote", "br", "code", "del", "div", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"],
    ...["strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "#text"],
  ],
  ALLOWED_ATTR: ["aria-label", "class", "dir", "href", "rel", "role", "start", "tabindex", "target", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["aria-label", "dir", "rel", "start", "tabindex", "target"], // no addresses, so any value is allowed
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  IN_PLACE: true, // nodes are checked as they are: nothing is written as markup and read again
  TRUSTED_TYPES_POLICY: null, // the page's policy allows none, and for nodes none is needed
};
const hooked = new WeakSet();

/** Returns the node without forbidden elements and attributes. */
export function allowed(purify, node) {
  if (!hooked.has(purify)) purify.addHook("afterSanitizeAttributes", secure);
  hooked.add(purify);
  return purify.sanitize(node, RULES);
}

function secure(element) {
  if (element.nodeName === "A") for (const [name, value] of Object.entries(AWAY)) element.setAttribute(name, value);
}
