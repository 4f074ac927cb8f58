// The form for a new task: its text, its options and its plan. Submitting opens the view of the task.
import { html, useEffect, useRef, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { bytes, count, t } from "../base/i18n.js";
import { announce, Notice, Quote, Trouble, useTitle } from "../base/parts.js";
import { Plan } from "./plan.js";
import { draft, mayWrite, prefs } from "../base/prefs.js";
import { go } from "../base/route.js";
import { faultsOf, NO_SHAPE, ShapeFields } from "./structured/fields.js";

const EMPTY = { input: "", instructions: "", reduce: "concat", ...NO_SHAPE };
const NUMBERS = ["maxChars", "overlapChars", "maxOutputTokens", "temperature", "deadlineSeconds", "maxModelCalls"];
const OBJECTS = ["modelOptions", "metadata"];
const SHAPES = ["outputSchema", "join"]; // objects, too

const PLANNED_MOST = 100_000; // code units of a text that is planned by itself: the request has the text
const PLAN_MS = 800;

/** A fault that the page finds itself, in the form of the API's errors. */
class FieldTrouble extends Error {
  constructor(field, message) {
    super(message);
    this.fields = [{ field, message }];
  }
}

/** Returns the body of the request, made from the fields that are filled in. Throws FieldTrouble. */
export function bodyOf(fields) {
  const body = { input: fields.input, reduce: fields.reduce };
  if (fields.instructions) body.instructions = fields.instructions;
  if (fields.model) body.model = fields.model;
  const numbers = {};
  for (const name of [...NUMBERS, ...(fields.gaps ? ["maxGapShare"] : [])]) {
    if (!fields[name]) continue;
    numbers[name] = Number(fields[name]);
    if (!Number.isFinite(numbers[name])) throw new FieldTrouble(name, t("notANumber", { field: t(`field.${name}`) }));
  }
  const { maxChars, overlapChars, ...others } = numbers;
  if (maxChars !== undefined || overlapChars !== undefined) body.chunk = { maxChars, overlapChars };
  Object.assign(body, others);
  if (fields.gaps) body.onChunkFailure = "gap";
  if (fields.outputSchema && !fields.strict) body.strict = false;
  for (const name of [...SHAPES, ...OBJECTS]) {
    if (!fields[name]) continue;
    try {
      body[name] = JSON.parse(fields[name]);
    } catch (error) {
      throw new FieldTrouble(name, `${t("notJson", { field: t(`field.${name}`) })} “${error.message}”`);
    }
  }
  return body;
}

export function Submit() {
  const [fields, setFields] = useState(() => ({ ...EMPTY, ...draft.read() }));
  useTitle(t("nav.submit"));
  const [plan, setPlan] = useState(null); // {answer, text}
  const asked = useRef(0); // the latest question for a plan: the answer to an earlier one is for other fields
  const [state, setState] = useState({ busy: "", error: null });
  const attempt = useRef({ body: "", key: "" }); // the same request twice is one task
  const latest = useRef(fields);
  useEffect(() => {
    const timer = setTimeout(() => draft.write(fields), 400);
    return () => clearTimeout(timer);
  }, [fields]);
  useEffect(() => {
    const write = () => draft.write(latest.current); // of a page that is left before the timer ends
    addEventListener("pagehide", write);
    return () => {
      removeEventListener("pagehide", write);
      write();
    };
  }, []);
  const set = (name, value) => {
    asked.current += 1;
    latest.current = { ...latest.current, [name]: value }; // at once: the page may be left before it is drawn again
    setFields(latest.current);
    setPlan(null);
  };
  // Unless the text is long, the page requests a plan whenever the user stops typing.
  useEffect(() => {
    if (!fields.input || fields.input.length > PLANNED_MOST || plan) return undefined;
    const timer = setTimeout(() => readPlan(fields).catch(() => {}), PLAN_MS); // the button says what is wrong
    return () => clearTimeout(timer);
  }, [fields]);
  const readPlan = async (form) => {
    const number = (asked.current += 1);
    const { data } = await call("POST", "/api/tasks?dryRun=true", { body: bodyOf(form) });
    if (number === asked.current) setPlan({ answer: data, text: form.input });
    return data;
  };
  const ask = async (busy, send) => {
    setState({ busy, error: null });
    try {
      await send(bodyOf(fields));
      setState({ busy: "", error: null });
    } catch (error) {
      setState({ busy: "", error });
    }
  };
  const preview = () =>
    ask("plan", async () => {
      announce(count("plan.calls", (await readPlan(fields)).minimumCalls));
    });
  const submit = () =>
    ask("submit", async (body) => {
      const text = JSON.stringify(body);
      if (attempt.current.body !== text) attempt.current = { body: text, key: crypto.randomUUID() };
      const { data } = await call("POST", "/api/tasks", { body, headers: { "Idempotency-Key": attempt.current.key } });
      attempt.current = { body: "", key: "" };
      latest.current = { ...fields, input: "" };
      setFields(latest.current);
      draft.write(latest.current);
      announce(t("accepted"));
      go("task", data.id);
    });
  if (prefs().writes === "no") return html`<${Notice}>${t("submit.notAllowed")}<//>`;
  return html`<div class="pair">
    <form class="card" onSubmit=${(event) => (event.preventDefault(), preview())}>
      <h1>${t("nav.submit")}</h1>
      <${Source} text=${fields.input} onText=${(text) => set("input", text)} />
      <div><label for="instructions">${t("field.instructions")}</label>
      <textarea id="instructions" rows="2" value=${fields.instructions} onInput=${(event) => set("instructions", event.target.value)} aria-describedby="instructions-hint"></textarea>
      <p class="hint" id="instructions-hint">${t("hint.instructions")}</p></div>
      <fieldset>
        <legend>${t("field.reduce")}</legend>
        ${["concat", "merge", "none"].map(
          (reduce) => html`<label key=${reduce} class="choice">
            <input type="radio" name="reduce" value=${reduce} checked=${fields.reduce === reduce} onChange=${() => set("reduce", reduce)} />
            <span>${t(`reduce.${reduce}`)}<small>${t(`reduce.${reduce}Hint`)}</small></span>
          </label>`,
        )}
      </fieldset>
      <${ShapeFields} fields=${fields} set=${set} error=${state.error} Field=${Field} />
      <details>
        <summary>${t("more")}</summary>
        <div class="grid">
          <${Field} name="model" fields=${fields} set=${set} />
          ${NUMBERS.map((name) => html`<${Field} key=${name} name=${name} fields=${fields} set=${set} numeric />`)}
        </div>
        ${OBJECTS.map((name) => html`<${Field} key=${name} name=${name} fields=${fields} set=${set} area />`)}
      </details>
      <${Trouble} error=${state.error} />
      ${mayWrite() && html`<div class="row">
        <button type="button" onClick=${preview} disabled=${!fields.input || state.busy !== ""}>${t("submit.plan")}</button>
        <button type="button" class="primary" onClick=${submit} disabled=${!fields.input || state.busy !== ""}>
          ${plan ? count("submit.go", plan.answer.minimumCalls) : t("submit.now")}
        </button>
      </div>`}
    </form>
    ${plan
      ? html`<${Plan} plan=${plan.answer} text=${plan.text} maxCalls=${Number(fields.maxModelCalls) || null} />`
      : html`<section class="card empty"><h2>${t("plan.title")}</h2><p>${t("plan.none")}</p></section>`}
  </div>`;
}

function Field({ name, fields, set, error, rows = 2, numeric = false, area = false }) {
  const faults = faultsOf(error, name);
  const common = {
    id: name,
    value: fields[name] ?? "",
    spellcheck: false,
    "aria-describedby": faults.length > 0 ? `${name}-fault ${name}-hint` : `${name}-hint`,
    "aria-invalid": faults.length > 0 ? "true" : undefined,
    onInput: (event) => set(name, event.target.value),
  };
  return html`<div>
    <label for=${name}>${t(`field.${name}`)}</label>
    ${area ? html`<textarea rows=${rows} class="code" ...${common}></textarea>` : html`<input ...${common} inputmode=${numeric ? "decimal" : undefined} />`}
    ${faults.length > 0 && html`<p class="hint bad-text wrap" id=${`${name}-fault`}>${error.status ? html`<${Quote}>${faults.join(" ")}<//>` : faults.join(" ")}</p>`}
    <p class="hint" id=${`${name}-hint`}>${t(`hint.${name}`)}</p>
  </div>`;
}

/** The text, typed or read from a file by the browser, without an upload. */
function Source({ text, onText }) {
  const [file, setFile] = useState("");
  const [over, setOver] = useState(false);
  const take = async (chosen) => {
    if (!chosen) return;
    onText(await chosen.text());
    setFile(chosen.name);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer?.files?.[0]);
  };
  return html`<div class=${`source ${over ? "over" : ""}`} onDragOver=${(event) => (event.preventDefault(), setOver(true))} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <label for="input">${t("field.input")}</label>
    <textarea id="input" rows="10" value=${text} dir="auto" onInput=${(event) => (setFile(""), onText(event.target.value))} placeholder=${t("submit.placeholder")}></textarea>
    <div class="row">
      <label class="button" for="file">${t("submit.file")}</label>
      <input id="file" class="sr" type="file" accept="text/*,.md,.txt,.csv,.json,.log,.html,.xml" onChange=${(event) => take(event.target.files[0])} />
      <span class="dim">${file && html`<bdi>${file}</bdi> · `}${bytes(new Blob([text]).size)}</span>
    </div>
  </div>`;
}
