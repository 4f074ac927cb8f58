// The files of a batch: answers, also while their file grows, and errors. The page reads a file with the key and saves it
// in the browser, because a link could not send the key.
import { html, useState } from "../../base/dom.js";
import { openStream } from "../../base/api.js";
import { count, t } from "../../base/i18n.js";
import { announce, Card, saveAs, Trouble } from "../../base/parts.js";
import { hasEnded } from "./read.js";

export function BatchFiles({ of }) {
  const { completed, failed } = of.request_counts;
  const ended = hasEnded(of);
  return html`<${Card} title=${t("files.title")}>
    <${BatchFile} name="output" label=${t("files.output")} id=${completed > 0 && of.output_file_id} of=${of} lines=${completed} isGrowing=${!ended} note=${completed > 0 ? count(ended ? "files.lines" : "files.soFar", completed) : t(ended ? "files.noAnswer" : "files.noAnswerYet")} />
    <${BatchFile} name="error" label=${t("files.error")} id=${of.error_file_id} of=${of} lines=${failed} note=${of.error_file_id ? count("files.lines", failed) : t(ended ? "files.noError" : "files.errorLater")} />
  <//>`;
}

function BatchFile({ name, label, id, of, lines, note, isGrowing = false }) {
  const [state, setState] = useState({ busy: false, error: null });
  const save = async () => {
    setState({ busy: true, error: null });
    try {
      saveAs(await contentOf(id, isGrowing ? lines : null), `${of.id}_${name}.jsonl`);
      announce(t("files.saved"));
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<div class="row">
      <button type="button" disabled=${!id} aria-disabled=${state.busy} onClick=${() => state.busy || save()}>${state.busy ? t("loading") : label}</button>
      <span class="dim">${note}</span>
    </div>
    <${Trouble} error=${state.error} />`;
}

/**
 * Reads a file. A growing file has `lines` lines now; an answer of the API may have fewer, and its header gives the
 * line after which the next request continues.
 */
async function contentOf(id, lines) {
  const pieces = [];
  for (let [behind, more] = [0, true]; more; ) {
    const response = await openStream(`/v1/files/${encodeURIComponent(id)}/content${lines === null ? "" : `?offset=${behind}`}`);
    const next = Number(response.headers.get("x-last-line"));
    pieces.push(await response.blob());
    more = lines !== null && next > behind && next < lines;
    behind = next;
  }
  return new Blob(pieces, { type: "application/jsonl" });
}
