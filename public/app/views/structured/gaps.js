// A task's gaps: where they are in the text, and why each chunk failed.
import { html, useState } from "../../base/dom.js";
import { count, covered, t, whole } from "../../base/i18n.js";
import { Card, Pages, Table } from "../../base/parts.js";

const PAGE = 25; // gaps at once
const CELLS = 400; // of the strip; gaps in neighbouring ones are drawn as one

export function Gaps({ task: { gaps, coverage, progress, request }, onSelect }) {
  const [first, setFirst] = useState(0);
  const last = Math.min(first + PAGE, gaps.length);
  const codes = new Map();
  for (const { code } of gaps) codes.set(code, (codes.get(code) ?? 0) + 1);
  const share = covered(coverage);
  return html`<${Card} title=${t("gaps.title")}>
    <link rel="stylesheet" href="style/structured.css" />
    <p class="big">${t("gaps.covered", { share })}</p>
    <p>
      ${count("gaps.of", gaps.length, { total: progress.total })}
      ${[...codes].map(([code, number]) => html` <span key=${code} class="nowrap"><code>${code}</code> ${whole(number)}</span>`)}
    </p>
    <div class="gap-strip" role="img" aria-label=${t("gaps.strip", { share })}>
      ${runsOf(gaps, request.inputCharacters).map(([from, to]) => html`<span key=${from} style=${{ left: `${from}%`, width: `${to - from}%` }}></span>`)}
    </div>
    <${Table}
      label=${t("gaps.title")}
      columns=${[t("gaps.chunk"), t("offsets"), t("gaps.code")]}
      rows=${gaps.slice(first, last).map(({ chunk, start, end, code }) => [
        html`<button type="button" class="link" onClick=${() => onSelect(chunk)}>${t("chunkName", { n: chunk + 1 })}</button>`,
        `${whole(start)}–${whole(end)}`,
        html`<code>${code}</code>`,
      ])}
    />
    <${Pages} first=${first} page=${PAGE} of=${gaps.length} onTurn=${setFirst} />
  <//>`;
}

/** The parts of the text that are gaps, in percent, in order. Neighbouring gaps are one part. */
function runsOf(gaps, characters) {
  const cells = Math.min(characters, CELLS);
  const runs = [];
  for (const { start, end } of gaps) {
    const from = Math.floor((start / characters) * cells);
    const to = Math.min(cells, Math.max(from + 1, Math.ceil((end / characters) * cells)));
    if (runs.length > 0 && from <= runs.at(-1)[1]) runs.at(-1)[1] = Math.max(to, runs.at(-1)[1]);
    else runs.push([from, to]);
  }
  return runs.map((run) => run.map((cell) => (cell / cells) * 100));
}
