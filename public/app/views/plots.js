// Plots of the last hours: lines, or columns that stand on each other. Where nothing is known there is a gap.
import { html, useState } from "../base/dom.js";
import { hour, t } from "../base/i18n.js";

const [WIDTH, HEIGHT, EDGE] = [600, 120, 6]; // EDGE: so that no line is cut in half

/** `series` are {name, tone, values, texts}: a value for each of `times`; null: not known. `form` writes one without a text. */
export function Plot({ title, note, times, series, form, columns = false }) {
  const [at, setAt] = useState(null);
  const heights = columns
    ? times.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0))
    : series.flatMap(({ values }) => values.filter((value) => value !== null));
  const most = Math.max(0, ...heights);
  const x = (index) => (times.length > 1 ? EDGE + (index / (times.length - 1)) * (WIDTH - 2 * EDGE) : WIDTH / 2);
  const y = (value) => HEIGHT - (most > 0 ? (value / most) * (HEIGHT - 2 * EDGE) : 0) - EDGE;
  const point = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = (((event.clientX - left) / width) * WIDTH - EDGE) / (WIDTH - 2 * EDGE); // as x() places a value
    setAt(Math.max(0, Math.min(times.length - 1, Math.round(part * (times.length - 1)))));
  };
  const latest = at ?? times.length - 1;
  const written = ({ values, texts }) => texts?.[latest] ?? (values[latest] === null || values[latest] === undefined ? "–" : form(values[latest]));
  return html`<figure class="plot card">
    <figcaption><strong>${title}</strong> <span class="dim">${note}</span></figcaption>
    <svg
      viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label=${`${title}. ${t("plot.most", { most: form(most) })}`}
      onPointerMove=${point}
      onPointerLeave=${() => setAt(null)}
    >
      <line class="ground" x1="0" x2=${WIDTH} y1=${y(0)} y2=${y(0)} />
      ${columns ? stacked(series, times, x, y) : series.map(({ name, tone, values }) => html`<path key=${name} class=${`line ${tone}`} d=${path(values, x, y)} />`)}
      ${at !== null && html`<line class="at" x1=${x(at)} x2=${x(at)} y1="0" y2=${HEIGHT} />`}
    </svg>
    <div class="plot-times" aria-hidden="true"><span>${hour(times[0])}</span><span>${t("plot.most", { most: form(most) })}</span><span>${hour(times.at(-1))}</span></div>
    <p class="plot-read">
      <span class="dim">${hour(times[latest])}</span>
      ${series.map((one) => html`<span key=${one.name}><i class=${`swatch ${one.tone}`}></i>${one.name} <b>${written(one)}</b></span>`)}
    </p>
  </figure>`;
}

function path(values, x, y) {
  let [drawn, open] = ["", false];
  for (const [index, value] of values.entries()) {
    if (value === null) open = false;
    else {
      // A value on its own is a line as short as this, which its round ends make visible.
      const alone = !open && (values[index + 1] ?? null) === null;
      drawn += `${open ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}${alone ? "h3" : ""}`;
      open = true;
    }
  }
  return drawn;
}

function stacked(series, times, x, y) {
  const width = Math.max(1, (WIDTH / times.length) * 0.8);
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

/** One bucket for each step from the first to the last moment; those that the server left out are undefined. */
export function evenly(history, until) {
  const step = history.bucketSeconds * 1000;
  const last = Math.floor(until / step) * step;
  const found = new Map(history.buckets.map((bucket) => [Date.parse(bucket.at), bucket]));
  const times = [];
  for (let time = last - history.hours * 3_600_000 + step; time <= last; time += step) times.push(time);
  return { times, buckets: times.map((time) => found.get(time)) };
}
