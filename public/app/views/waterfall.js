// The plot of a task's chunks over time. Only visible rows are elements of the page, so thousands of chunks cost no
// more than a screenful.
import { html, useLayoutEffect, useMemo, useRef, useState } from "../base/dom.js";
import { now } from "../base/api.js";
import { saidOf, stateOf } from "./chunks.js";
import { absolute, clock, count, fineClock, span, t } from "../base/i18n.js";
import { useNow } from "../base/refresh.js";

const ROW = 24; // pixels; the style sheet has the same
const HEIGHT_MOST = 480;
const SPARE = 6; // rows above and below the view
const DAY = 86_400_000; // milliseconds; what is longer has dates on its axis
const FINE = 10_000; // what is shorter has hundredths of a second
const STEPS = 240; // of the curve of calls at once
const STATES = ["done", "cut", "out", "backoff", "doubt", "failed", "gap", "unmade"]; // that have a mark

export function Waterfall({ task, table, selected, onSelect }) {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [near, setNear] = useState(false);
  useNow(task.terminal ? 60_000 : 1000);
  const { total } = task.progress;
  const height = Math.min(total * ROW, HEIGHT_MOST);
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const behind = Math.min(total, Math.ceil((top + height) / ROW) + SPARE);
  const said = useMemo(() => saidOf(task), [task]);
  const marks = useMemo(() => marksOf(table, task, said), [task, table.completed, table.failed, table.seen.size]);
  const rows = [];
  for (let index = first; index < behind; index += 1) rows.push({ index, state: stateOf(index, table, task, said) });
  const end = task.terminal && task.calls.out.length === 0 ? Date.parse(task.finishedAt) : now();
  const scale = near ? scaleOf(rows, table, end) : [Date.parse(task.createdAt), end];
  const length = scale[1] - scale[0];
  const moment = length > DAY ? absolute : length < FINE ? fineClock : clock;
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || selected === null) return;
    if (selected * ROW < element.scrollTop) element.scrollTop = selected * ROW;
    else if ((selected + 1) * ROW > element.scrollTop + height) element.scrollTop = (selected + 1) * ROW - height;
  }, [selected]);
  const move = (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -total, End: total };
    if (!(event.key in steps)) return;
    event.preventDefault();
    onSelect(Math.max(0, Math.min(total - 1, (selected ?? -1) + steps[event.key])));
  };
  return html`
    <${AtOnce} table=${table} scale=${scale} version=${`${table.completed} ${table.seen.size}`} />
    <div class="axis" aria-hidden="true">
      <span></span>
      <div>${[0, 0.5, 1].map((part) => html`<span key=${part}>${moment(scale[0] + part * (scale[1] - scale[0]))}</span>`)}</div>
    </div>
    <div
      ref=${box}
      class=${total * ROW > HEIGHT_MOST ? "fall long" : "fall"}
      role="listbox"
      tabindex="0"
      aria-label=${t("waterfall.label")}
      aria-activedescendant=${selected === null ? undefined : `chunk-${selected}`}
      style=${{ height: `${height}px` }}
      onScroll=${(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown=${move}
    >
      <div class="fall-all" role="presentation" style=${{ height: `${total * ROW}px` }}>
        ${rows.map(
          ({ index, state }) => html`<${Row}
            key=${index}
            index=${index}
            state=${state}
            code=${said.gaps.get(index)}
            chunk=${table.known[index]}
            together=${table.together(index)}
            out=${table.seen.get(index)}
            task=${task}
            scale=${scale}
            selected=${index === selected}
            onSelect=${onSelect}
          />`,
        )}
      </div>
    </div>
    ${task.gaps && html`<link rel="stylesheet" href="style/structured.css" />`}
    <${Legend} marks=${marks} />
    ${total * ROW > HEIGHT_MOST &&
    html`<label class="choice inline">
      <input type="checkbox" checked=${near} onChange=${(event) => setNear(event.target.checked)} /> <span>${t("waterfall.near")}</span>
    </label>`}
  `;
}

function scaleOf(rows, table, end) {
  const times = rows.flatMap(({ index }) => {
    const chunk = table.known[index];
    return chunk?.begun ? [chunk.first ?? chunk.begun, chunk.ended] : table.seen.has(index) ? [table.seen.get(index), end] : [];
  });
  return times.length === 0 ? [end - 1000, end] : [Math.min(...times), Math.max(...times)];
}

function Row({ index, state, code, chunk, together, out, task, scale, selected, onSelect }) {
  const [from, to] = scale;
  const length = Math.max(1, to - from);
  const place = (time) => Math.max(0, Math.min(100, ((time - from) / length) * 100));
  const created = Date.parse(task.createdAt);
  const [begun, ended] = state === "out" ? [out, to] : state === "doubt" ? [Date.parse(task.calls.announcedAt), to] : [chunk?.begun, chunk?.ended];
  const took = begun && ended ? span(ended - begun) : "";
  const lasted = state === "out" ? t("waterfall.for", { span: took }) : together > 1 ? t("waterfall.together", { span: took, n: together }) : took;
  const said = [t("chunkName", { n: index + 1 }), t(`chunk.${state}`), code, lasted];
  if (chunk?.attempts > 1) said.push(count("calls", chunk.attempts));
  if (chunk?.lane) said.push(t("waterfall.lane", { n: chunk.lane }));
  const tried = chunk?.first ?? begun ?? to; // before `tried` the chunk waited for its first call
  return html`<div
    id=${`chunk-${index}`}
    class=${`fall-row ${selected ? "selected" : ""}`}
    role="option"
    aria-selected=${selected}
    aria-setsize=${task.progress.total}
    aria-posinset=${index + 1}
    title=${said.filter(Boolean).join(", ")}
    style=${{ transform: `translateY(${index * ROW}px)` }}
    onClick=${() => onSelect(index)}
  >
    <span class="sr">${said.filter(Boolean).join(", ")}</span>
    <span class="fall-name" aria-hidden="true">${index + 1}</span>
    <div class="fall-time">
      <i class="wait" style=${{ left: `${place(created)}%`, width: `${place(tried) - place(created)}%` }}></i>
      ${chunk?.first && html`<i class="again" style=${{ left: `${place(tried)}%`, width: `${place(begun) - place(tried)}%` }}></i>`}
      ${begun && html`<b class=${`call is-${state}${together > 1 ? " together" : ""}`} style=${{ left: `${place(begun)}%`, width: `${place(ended) - place(begun)}%` }}></b>`}
      ${state === "gap" && html`<code class="gap-code">${code}</code>`}
      ${!begun && state !== "queued" && html`<b class=${`call mark is-${state}`} style=${{ left: "100%" }}></b>`}
    </div>
    <span class="fall-note" aria-hidden="true">${together > 1 && "≤ "}${took}${chunk?.attempts > 1 && html` <em>×${chunk.attempts}</em>`}${chunk?.lane && html` <small>${t("waterfall.laneShort", { n: chunk.lane })}</small>`}</span>
  </div>`;
}

function marksOf(table, task, said) {
  const marks = new Set();
  for (let index = 0; index < task.progress.total; index += 1) {
    const chunk = table.known[index];
    marks.add(stateOf(index, table, task, said));
    if (chunk?.first) marks.add("again");
    if (chunk?.attempts > 1) marks.add("times");
    if (chunk?.lane) marks.add("lane");
    if (table.together(index) > 1) marks.add("together");
  }
  return marks;
}

const Legend = ({ marks }) => html`<div class="legend">
  <span><i class="wait"></i>${t("waterfall.wait")}</span>
  ${STATES.map((state) => marks.has(state) && html`<span key=${state}><b class=${`call is-${state}`}></b>${t(`chunk.${state}`)}</span>`)}
  ${marks.has("again") && html`<span><i class="again"></i>${t("waterfall.again")}</span>`}
  ${marks.has("together") && html`<span><b class="call is-done together"></b>≤ ${t("waterfall.grouped")}</span>`}
  ${marks.has("times") && html`<span><em>×2</em>${t("callsTitle")}</span>`}
  ${marks.has("lane") && html`<span><small>${t("waterfall.laneShort", { n: 2 })}</small>${t("lane")}</span>`}
</div>`;

/** How many calls for chunks were in flight at each time, those that are in flight now included. */
function AtOnce({ table, scale: [from, to], version }) {
  const curve = useMemo(() => {
    const events = []; // [time, 1 or -1]
    for (const chunk of table.known) if (chunk?.begun) events.push([chunk.begun, 1], [chunk.ended, -1]);
    for (const begun of table.seen.values()) events.push([begun, 1]);
    events.sort(([a, up], [b, other]) => a - b || up - other);
    const step = (time) => Math.max(0, Math.min(STEPS, Math.floor(((time - from) / Math.max(1, to - from)) * STEPS)));
    const heights = new Array(STEPS + 1).fill(0);
    let [at, filled] = [0, 0];
    for (const [time, change] of events) {
      if (time > to) break;
      for (const until = step(time); filled < until; filled += 1) heights[filled + 1] = at;
      at += change;
      heights[filled] = Math.max(heights[filled], at);
    }
    heights.fill(at, filled + 1);
    return { heights, most: Math.max(...heights) };
  }, [Math.round(from / 1000), Math.round(to / 1000), version]);
  if (curve.most === 0) return null;
  const line = curve.heights.map((height, step) => `L${step} ${(20 - (height / curve.most) * 19).toFixed(1)}`).join("");
  return html`<div class="at-once">
    <span>${t("waterfall.most", { n: curve.most })}</span>
    <svg viewBox=${`0 0 ${STEPS} 20`} preserveAspectRatio="none" role="img" aria-label=${t("waterfall.mostLabel", { n: curve.most })}>
      <path d=${`M0 20${line}L${STEPS} 20Z`} />
    </svg>
    <span></span>
  </div>`;
}
