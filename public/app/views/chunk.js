// The view of one chunk: the chunk's part of the input beside its output.
import { html, useEffect, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { isCut, readChunk } from "./chunks.js";
import { count, span, t, whole } from "../base/i18n.js";
import { Card, Copy, Facts, Lazy, Notice, Quote, Time, Trouble, Words } from "../base/parts.js";
import { Output, Ways } from "./output/output.js";
import { CodePoints } from "./text.js";

export function Chunk({ task, index, meta, source }) {
  const [chunk, setChunk] = useState(null);
  const [text, setText] = useState(source.current);
  const [error, setError] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const read = async () => {
      setChunk(await readChunk(task.id, index, signal));
      if (source.current === null) {
        const { data } = await call("GET", `/api/tasks/${task.id}?include=input`, { signal });
        source.current = data.input === null ? false : new CodePoints(data.input);
      }
      if (!signal.aborted) setText(source.current);
    };
    read().catch((failure) => !signal.aborted && setError(failure));
    return () => controller.abort();
  }, [task.id, index, meta?.status]);
  const isShaped = task.request.strict !== undefined; // by a schema
  const took = chunk?.startedAt && chunk?.finishedAt ? span(Date.parse(chunk.finishedAt) - Date.parse(chunk.startedAt)) : null;
  return html`<${Card} title=${t("chunkName", { n: index + 1 })} beside=${chunk?.output && !isShaped && html`<div class="row"><${Ways} /><${Copy} text=${chunk.output} /></div>`}>
    <${Trouble} error=${error} />
    ${chunk &&
    html`<${Facts}
        of=${[
          [t("offsets"), `${whole(chunk.start)}–${whole(chunk.end)}`, t("offsetsHint")],
          [t("callsTitle"), whole(chunk.attempts), t("callsHint")],
          [t("finishReason"), chunk.finishReason && html`<code>${chunk.finishReason}</code>`],
          [t("cached"), chunk.cached && t("cachedHint")],
          [t("startedAt"), chunk.startedAt && html`<${Time} at=${chunk.startedAt} both />`],
          [t("took"), took],
          [t("lane"), chunk.lane && whole(chunk.lane), t("laneHint")],
        ]}
      />
      ${isCut(chunk) && html`<${Notice} tone="warn">${t(chunk.finishReason === "length" ? "cutByLength" : "cutByFilter")}<//>`}
      ${chunk.attempts > 1 &&
      html`<p class="hint">
        ${count("earlierCalls", chunk.attempts - 1)} ${chunk.firstStartedAt ? html`${t("firstStarted")} <${Time} at=${chunk.firstStartedAt} both />` : t("firstUnknown")}
      </p>`}
      ${chunk.status === "gap" && html`<${Notice} tone="warn">${t("gaps.chunkHint")}<//>`}
      ${chunk.error && html`<${Notice} tone="bad">${t("failure.chunk", { n: index + 1, why: t(`why.${chunk.error.code}`) })} <${Quote}>${chunk.error.message}<//> <code>${chunk.error.code}</code><//>`}
      ${(chunk.rejected || (isShaped && (chunk.attempts > 1 || chunk.error))) && html`<${Lazy} name="ladder" id=${task.id} chunk=${chunk} />`}`}
    <div class="pair even">
      <div>
        <h3>${t("source")}</h3>
        ${text === null && !error && html`<p class="dim">${t("loading")}</p>`}
        ${text === false && html`<p class="dim">${t("sourceGone")}</p>`}
        ${text && (chunk ? html`<${Words} text=${text.slice(chunk.start, chunk.end)} label=${t("source")} />` : html`<p class="dim">${t("sourceLater")}</p>`)}
      </div>
      <div>
        <h3>${t("output")}</h3>
        ${chunk?.output
          ? isShaped
            ? html`<${Lazy} name="value" text=${chunk.output} label=${t("output")} file=${`onceover-${task.id}-${index + 1}.json`} />`
            : html`<${Output} texts=${[chunk.output]} label=${t("output")} />`
          : (chunk || !error) && html`<p class="dim">${t(chunk?.output === "" ? "outputEmpty" : chunk ? "outputMissing" : "outputNone")}</p>`}
      </div>
    </div>
  <//>`;
}
