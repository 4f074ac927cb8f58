// The calls for a chunk whose output must fit a schema, and its last rejected answer.
import { html, useEffect, useState } from "../../base/dom.js";
import { call } from "../../base/api.js";
import { count, span, t } from "../../base/i18n.js";
import { Quote, Table, Trouble, Words } from "../../base/parts.js";
import { tail, taskPath } from "../../base/route.js";

const CALLS_MOST = 20; // that are shown
const REJECTED = ["invalid_output", "output_truncated"];

export function Ladder({ id, chunk: { index, rejected, attempts } }) {
  const [state, setState] = useState({ calls: null, error: null });
  useEffect(() => {
    const controller = new AbortController();
    // The log is in the order of level and index, so this chunk's calls follow those of the previous chunk.
    const path = `${taskPath(id)}/attempts${tail({ limit: CALLS_MOST, cursor: index > 0 ? `0.${index - 1}` : "" })}`;
    call("GET", path, { signal: controller.signal }).then(
      ({ data }) => setState({ calls: rungsOf(data.attempts.filter((one) => one.level === 0 && one.index === index)), error: null }),
      (error) => controller.signal.aborted || setState({ calls: null, error }),
    );
    return () => controller.abort();
  }, [id, index, attempts]);
  const { calls, error } = state;
  return html`
    ${rejected &&
    html`<h3>${t("ladder.faults")}</h3>
      <${Table}
        label=${t("ladder.faults")}
        columns=${[t("ladder.pointer"), t("ladder.expected")]}
        rows=${rejected.errors.map(({ pointer, expected }) => [pointer ? html`<code><bdi>${pointer}</bdi></code>` : t("ladder.root"), html`<${Quote}>${expected}<//>`])}
      />
      <h3>${t("ladder.rejected")}</h3>
      <p class="hint">${t("ladder.rejectedHint")}</p>
      ${rejected.output ? html`<${Words} text=${rejected.output} label=${t("ladder.rejected")} />` : html`<p class="dim">${t("outputEmpty")}</p>`}`}
    <h3>${t("ladder.title")}</h3>
    <${Trouble} error=${error} />
    ${!calls && !error && html`<p class="dim" role="status">${t("loading")}</p>`}
    ${calls?.length === 0 && html`<p class="dim">${t("log.none")}</p>`}
    ${calls?.length > 0 &&
    html`<ol class="rungs">
      ${calls.map(
        ({ outcome, code, message, milliseconds, isAsk }, at) => html`<li key=${at}>
          <strong>${t(REJECTED.includes(code) ? "history.rejected" : `outcome.${outcome}`)}</strong>
          ${isAsk && html` · ${t("ladder.isAsk")}`}${milliseconds !== null && html` · ${span(milliseconds)}`}
          ${code && html` · <code>${code}</code> <${Quote}>${message}<//>`}
        </li>`,
      )}
    </ol>`}
    ${calls?.length === CALLS_MOST && attempts > CALLS_MOST && html`<p class="hint">${count("ladder.more", CALLS_MOST)}</p>`}
  `;
}

/** Marks the calls that ask again, as all calls after a rejected answer do until the task is retried. */
function rungsOf(calls) {
  let isAsk = false;
  return calls.map((one) => {
    if (one.number === 1) isAsk = false;
    const rung = { ...one, isAsk };
    isAsk ||= one.code === "invalid_output";
    return rung;
  });
}
