// Plots of the last hours: lines, or stacked columns. A time without data is a gap in the plot.
import { html, useState } from "../base/dom.js";
import { hour, t } from "../base/i18n.js";
import { Hint, Table } from "../base/parts.js";

const [WIDTH, HEIGHT, EDGE] = [600, 120, 6]; // EDGE: so that no line is cut in half
const COLUMN_MOST = 40;
const STEPS_LEAST = 6;
const DAY = 86_400_000; // milliseconds; in what is longer an hour comes twice

/**
 * `series` are {name, tone, values, texts} with a value for each of `times`, null if unknown. `form` writes values
 * without a text. With `asTable` the values are shown as a table. `hint` explains the values.
 */
export function Plot({ title, hint, times, series, form, columns = false, asTable = false }) {
  const [at, setAt] = useState(null);
  const heights = columns
    ? times.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0))
    : series.flatMap(({ values }) => values.filter((value) => value !== null));
  const most = Math.max(0, ...heights);
  const moment = (index) => hour(times[index], times.at(-1) - times[0] >= DAY);
  const latest = at ?? times.length - 1;
  const written = ({ values, texts }, index) => texts?.[index] ?? (values[index] === null || values[index] === undefined ? "–" : form(values[index]));
  const said = [moment(latest), ...series.map((one) => `${one.name} ${written(one, latest)}`)].join(", ");
  return html`<figure class="plot card">
    <figcaption class="row"><strong>${title}</strong> <span class="dim">${t("plot.five")}</span> ${hint && html`<${Hint}>${hint}<//>`}</figcaption>
    ${asTable
      ? html`<${Rows} title=${title} times=${times} series=${series} moment=${moment} written=${written} />`
      : html`<div class="plot-area">
            <div class="plot-scale" aria-hidden="true"><span>${form(most)}</span><span>${form(0)}</span></div>
            <${Drawing} label=${`${title}. ${t("plot.most", { most: form(most) })}`} said=${said} times=${times} series=${series} columns=${columns} most=${most} at=${at} onAt=${setAt} />
          </div>
          <div class="plot-times" aria-hidden="true">${[0, 0.5, 1].map((part) => html`<span key=${part}>${moment(Math.round(part * (times.length - 1)))}</span>`)}</div>
          <p class="plot-read">
            <span class="dim">${moment(latest)}</span>
            ${series.map((one) => html`<span key=${one.name}><i class=${`swatch ${one.tone}`}></i>${one.name} <b>${written(one, latest)}</b></span>`)}
          </p>`}
  </figure>`;
}

/** The plot itself. The pointer or the arrow keys choose the time whose values are read. */
function Drawing({ label, said, times, series, columns, most, at, onAt }) {
  const last = times.length - 1;
  const x = (index) => (last > 0 ? EDGE + (index / last) * (WIDTH - 2 * EDGE) : WIDTH / 2);
  const y = (value) => HEIGHT - (most > 0 ? (value / most) * (HEIGHT - 2 * EDGE) : 0) - EDGE;
  const choose = (index) => onAt(Math.max(0, Math.min(last, index)));
  const point = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = (((event.clientX - left) / width) * WIDTH - EDGE) / (WIDTH - 2 * EDGE); // as x() places a value
    choose(Math.round(part * last));
  };
  const move = (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -last, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose((at ?? last) + steps[event.key]);
  };
  return html`<svg
    viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
    preserveAspectRatio="none"
    role="slider"
    tabindex="0"
    aria-label=${label}
    aria-valuemin="0"
    aria-valuemax=${last}
    aria-valuenow=${at ?? last}
    aria-valuetext=${said}
    onPointerMove=${point}
    onPointerLeave=${() => onAt(null)}
    onKeyDown=${move}
    onBlur=${() => onAt(null)}
  >
    ${[0, most / 2, most].map((value, index) => html`<line key=${index} class=${index === 0 ? "ground" : "grid-line"} x1="0" x2=${WIDTH} y1=${y(value)} y2=${y(value)} />`)}
    ${columns ? stacked(series, times, x, y) : series.map(({ name, tone, values }) => html`<path key=${name} class=${`line ${tone}`} d=${path(values, x, y)} />`)}
    ${at !== null && html`<line class="ground" x1=${x(at)} x2=${x(at)} y1="0" y2=${HEIGHT} />`}
  </svg>`;
}

/** Shows the values as a table, newest first, without times at which all values are 0 or unknown. */
function Rows({ title, times, series, moment, written }) {
  const known = times.map((_, index) => index).filter((index) => series.some(({ values }) => values[index]));
  if (known.length === 0) return html`<p class="dim">${t("plot.nothing")}</p>`;
  return html`<div class="plot-table" tabindex="0" role="region" aria-label=${title}>
    <${Table}
      label=${title}
      columns=${[t("plot.time"), ...series.map(({ name }) => name)]}
      rows=${known.reverse().map((index) => [html`<time dateTime=${new Date(times[index]).toISOString()}>${moment(index)}</time>`, ...series.map((one) => written(one, index))])}
    />
  </div>`;
}

function path(values, x, y) {
  let [drawn, open] = ["", false];
  for (const [index, value] of values.entries()) {
    if (value === null) open = false;
    else {
      // A value between two gaps is drawn as a short line.
      const alone = !open && (values[index + 1] ?? null) === null;
      drawn += `${open ? "L" : "M"}${(x(index) - (alone ? EDGE : 0)).toFixed(1)} ${y(value).toFixed(1)}${alone ? `h${2 * EDGE}` : ""}`;
      open = true;
    }
  }
  return drawn;
}

function stacked(series, times, x, y) {
  const width = Math.min(COLUMN_MOST, Math.max(1, (WIDTH / times.length) * 0.8));
  return times.map((time, index) => {
    let below = 0;
    return series.map(({ name, tone, values }) => {
      const value = values[index] ?? 0;
      const [top, bottom] = [y(below + value), y(below)];
      below += value;
      return value > 0 && html`<rect key=${`${time} ${name}`} class=${tone} x=${Math.min(WIDTH - width, Math.max(0, x(index) - width / 2))} y=${top} width=${width} height=${bottom - top} />`;
    });
  });
}

/** Returns one bucket for each step of the history; a step that the server left out is undefined. */
export function evenly(history, until) {
  const step = history.bucketSeconds * 1000;
  const last = Math.floor(until / step) * step;
  const found = new Map(history.buckets.map((bucket) => [Date.parse(bucket.at), bucket]));
  const times = [];
  for (let time = last - history.hours * 3_600_000 + step; time <= last; time += step) times.push(time);
  return { times, buckets: times.map((time) => found.get(time)) };
}

/** Leaves steps without data out at both ends, and keeps at least STEPS_LEAST steps, or none without any data. */
export function fitted({ times, buckets }) {
  const has = buckets.map((one) => Boolean(one) && (one.completed + one.failed + one.cancelled > 0 || one.backlog?.pending > 0 || one.backlog?.processing > 0));
  const last = has.lastIndexOf(true);
  const from = Math.max(0, Math.min(has.indexOf(true), last + 1 - STEPS_LEAST));
  const part = [from, last < 0 ? from : Math.max(last + 1, from + STEPS_LEAST)];
  return { times: times.slice(...part), buckets: buckets.slice(...part) };
}
