// The view of one batch, in place of a task's parts: its status, its counts, its cost, the faults of its file, and its
// files of answers. The page does not show the batch's lines.
import { html, useEffect, useRef, useState } from "../../base/dom.js";
import { Actions } from "../actions.js";
import { billOf, exact, LastError, runOf } from "../bill.js";
import { Deliveries } from "../deliveries.js";
import { Faults } from "./faults.js";
import { BatchFiles } from "./files.js";
import { hasEnded } from "./read.js";
import { t, whole } from "../../base/i18n.js";
import { announce, Bar, Card, chunksOf, Facts, Figures, Lazy, Notice, Quote, titleOf, Waiting, Words } from "../../base/parts.js";
import { href } from "../../base/route.js";

const TONES = { completed: "completed", failed: "failed", expired: "failed", cancelled: "cancelled" };
const SAID = ["validating", "finalizing", "cancelling", "expired"]; // statuses that a sentence explains

/** `task` is the batch's task, and `task.of` the batch. `state` has the time at which both were read. */
export function Batch({ task, state }) {
  const { of, metadata } = task;
  const [logged, setLogged] = useState(null); // the outcome that the log of calls shows; null: it is closed
  const former = useRef(of.status);
  useEffect(() => {
    if (former.current !== of.status) announce(`${titleOf(task)}: ${t(`batch.status.${of.status}`)}`);
    former.current = of.status;
  }, [of.status]);
  return html`
    <div class="head">
      <h1 class="title">
        <span class=${`chip is-${TONES[of.status] ?? "processing"}`}>${t(`batch.status.${of.status}`)}</span> <span class="tag">${t("kind.batch")}</span> <bdi>${titleOf(task)}</bdi>
      </h1>
      <${Actions} task=${task} again=${state.again} names=${namesOf(task)} />
    </div>
    ${of.in_progress_at !== null && hasEnded(of) && html`<${BatchFiles} of=${of} />`}
    <${Standing} task=${task} />
    <${Faults} of=${of} isInvalid=${task.error?.code === "invalid_batch"} />
    ${of.in_progress_at !== null && !hasEnded(of) && html`<${BatchFiles} of=${of} />`}
    ${Object.keys(metadata).length > 0 &&
    html`<${Card} title=${t("batch.metadata")}>
      <${Words} text=${JSON.stringify(metadata, null, 2)} label=${t("batch.metadata")} />
    <//>`}
    ${logged !== null
      ? html`<${Lazy} name="attempts" task=${task} version=${state.at} outcome=${logged} onAsk=${setLogged} />`
      : task.usage.modelCalls > 0 && html`<div class="row"><button type="button" onClick=${() => setLogged("failed")}>${t("batch.log")}</button></div>`}
    ${task.terminal && html`<${Deliveries} id=${task.id} version=${state.at} />`}
  `;
}

/** The acts that the batch allows. If its file has faults, no line can be retried: the user has to correct the file. */
const namesOf = ({ terminal, of }) =>
  [!terminal && "cancel", hasEnded(of) && of.in_progress_at !== null && of.request_counts.failed > 0 && "retry", "erase"].filter(Boolean);

function Standing({ task }) {
  const { of, usage, error } = task;
  const { total, completed, failed } = of.request_counts;
  return html`<section class="card" aria-label=${t("task.standing")}>
    ${total > 0 && html`<${Bar} part=${completed} of=${total} label=${chunksOf({ kind: task.kind, progress: of.request_counts })} tone=${`thick is-${task.status}`} />`}
    ${SAID.includes(of.status) && html`<p class="lead">${t(`batch.said.${of.status}`)}</p>`}
    ${task.waitingFor && html`<p class="lead"><${Waiting} wait=${task.waitingFor} /></p>`}
    ${error &&
    of.status !== "expired" &&
    html`<${Notice} tone="bad"><strong>${t("batch.why", { why: t(`why.${error.code}`) })}</strong> <${Quote}>${error.message}<//> ${t(error.code === "invalid_batch" ? "batch.correct" : error.retryable ? "retryable" : "notRetryable")} <code>${error.code}</code><//>`}
    ${!task.terminal && html`<${LastError} of=${task} part="batch.line" />`}
    <${Figures}
      of=${[
        [t("batch.done"), total > 0 ? `${whole(completed)} / ${whole(total)}` : t(hasEnded(of) ? "lines.none" : "lines.checked"), t("batch.doneNote"), true],
        [t("status.failed"), whole(failed), t("batch.failedNote"), failed > 0, "warn"],
        ...billOf(task, total > 0 ? t("bill.minimum", { n: usage.minimumCalls }) : t("batch.noCall"), t("batch.tokensNote")),
      ]}
    />
    <${Times} task=${task} />
    <${Lazy} name="share" hash=${href("task", task.id)} path=${`/v1/batches/${of.id}`} id=${of.id} />
  </section>`;
}

const moment = (seconds) => seconds !== null && new Date(seconds * 1000).toISOString();

function Times({ task }) {
  const { of } = task;
  const ended = of.completed_at ?? of.failed_at ?? of.expired_at ?? of.cancelled_at;
  const times = [
    [t("batch.valid"), exact(moment(of.in_progress_at))],
    [t("batch.finalizing"), exact(moment(of.finalizing_at))],
  ];
  return html`<${Facts}
    of=${[
      [t("search.model"), of.model && html`<bdi>${of.model}</bdi>`],
      [t("batch.endpoint"), html`<code>${of.endpoint}</code>`],
      [t("batch.window"), of.completion_window],
      ...runOf(task, "batch.retryOf", moment(of.created_at), times, moment(ended), [t("batch.expires"), exact(moment(of.expires_at)), t("batch.expiresHint")]),
      [t("batch.input"), html`<code>${of.input_file_id}</code>`],
    ]}
  />`;
}
