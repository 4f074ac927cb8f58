// Makes DOM nodes from the tokens that marked has parsed. Only the elements in this file are made, and each text
// becomes a text node. HTML is never parsed, as the page's policy demands, so HTML in Markdown is shown as text.
import { t } from "../../base/i18n.js";

const HEADING_BEFORE = 2; // the level of the heading above an output
const SCHEMES = ["http:", "https:", "mailto:"];
const BREAK = /^<br\s*\/?>$/i;
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi;
const NAMED = new Map(Object.entries({ amp: "&", apos: "'", copy: "©", gt: ">", hellip: "…", lt: "<", mdash: "—", nbsp: "\u00a0", ndash: "–", quot: '"' }));

/** Returns a `div` with the nodes of the tokens. */
export function nodesOf(tokens) {
  const root = document.createElement("div");
  append(root, tokens, { level: HEADING_BEFORE, isInLink: false });
  return root;
}

const KINDS = {
  space: () => {},
  def: () => {},
  text: (parent, token, state) => (token.tokens ? append(parent, token.tokens, state) : parent.append(decoded(token.text))),
  escape: (parent, token) => parent.append(token.text),
  checkbox: (parent, token) => parent.append(token.checked ? "☑ " : "☐ "),
  html: (parent, token) => (BREAK.test(token.raw.trim()) ? add(parent, "br") : (token.block ? add(parent, "p") : parent).append(token.raw)),
  hr: (parent) => add(parent, "hr"),
  br: (parent) => add(parent, "br"),
  code: (parent, token) => add(add(parent, "pre"), "code").append(token.text),
  codespan: (parent, token) => add(parent, "code").append(token.text),
  paragraph: (parent, token, state) => inside("p", parent, token, state),
  blockquote: (parent, token, state) => inside("blockquote", parent, token, state),
  strong: (parent, token, state) => inside("strong", parent, token, state),
  em: (parent, token, state) => inside("em", parent, token, state),
  del: (parent, token, state) => inside("del", parent, token, state),
  // A heading is at a lower level than the heading above the output, and at most one level below the previous heading.
  heading: (parent, token, state) => {
    state.level = Math.min(HEADING_BEFORE + token.depth, state.level + 1, 6);
    inside(`h${state.level}`, parent, token, state);
  },
  list: (parent, token, state) => {
    const list = add(parent, token.ordered ? "ol" : "ul");
    if (token.ordered && token.start !== 1) list.setAttribute("start", token.start);
    for (const item of token.items) inside("li", list, item, state);
  },
  table: (parent, { header, rows }, state) => {
    const frame = add(parent, "div", { class: "wide", tabindex: "0", role: "group", "aria-label": t("value.table") });
    const table = add(frame, "table");
    const row = (body, name, cells) => {
      const line = add(body, "tr");
      for (const cell of cells) if (cell.align) inside(name, line, cell, state).setAttribute("class", `is-${cell.align}`); else inside(name, line, cell, state);
    };
    row(add(table, "thead"), "th", header);
    const body = add(table, "tbody");
    for (const cells of rows) row(body, "td", cells);
  },
  link: (parent, token, state) => {
    const address = addressOf(token.href);
    if (!address || state.isInLink) return append(parent, token.tokens, state);
    state.isInLink = true;
    inside("a", parent, token, state, { href: address, title: address, ...AWAY });
    state.isInLink = false;
  },
  // Loading a picture would tell its host who reads the output, so a link is shown instead.
  image: (parent, { href, text, raw }, state) => KINDS.link(parent, { href, tokens: [{ type: "escape", text: text || raw }] }, state),
};

/** These attributes keep the linked page from learning about this page, and from controlling it. */
export const AWAY = { target: "_blank", rel: "noopener noreferrer" };

function append(parent, tokens, state) {
  for (const token of tokens) KINDS[token.type](parent, token, state);
}

function add(parent, name, attributes = {}) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** Adds an element with the nodes of the token's inner tokens, and with the direction of its own text. */
function inside(name, parent, token, state, attributes = {}) {
  const element = add(parent, name, { dir: "auto", ...attributes });
  append(element, token.tokens, state);
  return element;
}

/** The absolute address with an allowed scheme, or null: a relative one would lead to a place on this page. */
function addressOf(text) {
  const url = URL.parse(decoded(text));
  return url && SCHEMES.includes(url.protocol) ? url.href : null;
}

const decoded = (text) =>
  text.replace(ENTITY, (entity, decimal, hex, name) => {
    const point = decimal ? Number(decimal) : Number.parseInt(hex, 16);
    return name ? (NAMED.get(name) ?? entity) : point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : entity;
  });
