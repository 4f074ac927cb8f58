// Shows the plan of a new task in the task's text. Making a plan calls no model and stores nothing.
import { html, useMemo, useState } from "../base/dom.js";
import { count, dollars, t, whole } from "../base/i18n.js";
import { Card, Facts, Lazy, Notice, Pages, shorten } from "../base/parts.js";
import { CodePoints } from "./text.js";

const AT_ONCE = 12; // chunks whose text is shown
const SHOWN = 4000; // code units of each
const STRIPES = 400; // parts of the strip, at most

export function Plan({ plan, text, maxCalls }) {
  const [first, setFirst] = useState(0);
  const points = useMemo(() => new CodePoints(text), [text]);
  const { chunks, request } = plan;
  const last = Math.min(first + AT_ONCE, chunks.length);
  return html`<${Card} title=${t("plan.title")}>
    <p class="big">${count("plan.calls", plan.minimumCalls)}</p>
    <${Facts}
      of=${[
        [t("column.progress"), whole(chunks.length)],
        [t("plan.most"), maxCalls ? t("plan.mostBudget", { n: maxCalls }) : t("plan.mostOpen")],
        [t("request.characters"), whole(plan.characters)],
        [t("plan.tokens"), `≈ ${whole(plan.estimatedTokens)}`, t("plan.tokensHint")],
        plan.cost && [t("bill.cost"), [plan.cost.least, plan.cost.most].filter(Boolean).map(dollars).join(" – "), t("plan.costHint")],
        [t("search.model"), html`<bdi>${request.model}</bdi>`],
        [t("request.reduce"), t(`reduce.${request.reduce}`)],
      ].filter(Boolean)}
    />
    ${request.onChunkFailure && html`<${Lazy} name="shape" request=${request} />`}
    <p class="hint">${t("plan.scope")}</p>
    <${Strip} chunks=${chunks} characters=${plan.characters} first=${first} last=${last} onPick=${setFirst} />
    <ol class="cuts" tabindex="0" start=${first + 1} aria-label=${t("plan.over")}>
      ${chunks.slice(first, last).map(
        ({ index, start, end }) => html`<li key=${index} class=${`cut of-${index % 4}`}>
          <span class="cut-name">${t("chunkName", { n: index + 1 })} <small>${whole(start)}–${whole(end)}</small></span>
          <pre dir="auto">${shorten(points.slice(start, end), SHOWN)}</pre>
        </li>`,
      )}
    </ol>
    <${Pages} first=${first} page=${AT_ONCE} of=${chunks.length} onTurn=${setFirst} />
    ${request.reduce === "merge" && chunks.length > 1 && html`<${Notice}>${t("plan.merge")}<//>`}
  <//>`;
}

/** The whole text as a strip of its chunks, by length. If there are many, several chunks share a part of the strip. */
function Strip({ chunks, characters, first, last, onPick }) {
  const each = Math.ceil(chunks.length / STRIPES);
  const parts = [];
  for (let at = 0; at < chunks.length; at += each) {
    const until = Math.min(at + each, chunks.length);
    parts.push({ at, until, size: chunks[until - 1].end - chunks[at].start });
  }
  return html`<div class="strip" aria-hidden="true">
    ${parts.map(
      ({ at, until, size }) => html`<span
        key=${at}
        class=${`of-${at % 4} ${at < last && until > first ? "seen" : ""}`}
        style=${{ flexGrow: size / characters }}
        onClick=${() => onPick(at)}
      ></span>`,
    )}
  </div>`;
}
