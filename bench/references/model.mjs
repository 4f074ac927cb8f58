// The model server of the benchmark: it has OpenAI's API, an adjustable delay, and a count of its calls. The model
// server runs in its own process, so that it shares no interpreter with the measuring client.
//   POST /v1/chat/completions   an output of `outputChars` characters, `delayMs` after the request was read; the text's
//                               first word and `draw` decide by how much longer or shorter the delay is, by at most
//                               `spreadMs`
//   PUT  /plan                  {delayMs, spreadMs, draw, outputChars}; forgets the counts
//   GET  /counts                {calls, distinct, chars, mostInFlight, busyMs, spanMs} of user messages since the last
//                               PUT: `busyMs` is the time of all calls together, and `spanMs` the time from the begin
//                               of the first call to the end of the last one
import { createHash } from "node:crypto";
import http from "node:http";

let plan = { delayMs: 0, spreadMs: 0, draw: 0, outputChars: 40 };
let counts;
let texts;
let inFlight = 0;
let firstAt;

function begin(next) {
  plan = { ...plan, ...next };
  counts = { calls: 0, distinct: 0, chars: 0, mostInFlight: 0, busyMs: 0, spanMs: 0 };
  texts = new Set();
  firstAt = undefined;
}

/**
 * Returns the delay of a text's call in milliseconds. The first word is the chunk's number: the rest of a text is prose
 * of the documents, and with each change of a document the delays would be others.
 */
function delayOf(text) {
  if (!plan.spreadMs) return plan.delayMs;
  const drawn = createHash("sha256").update(`${plan.draw} ${text.split(" ", 1)[0]}`).digest().readUInt32BE() / 2 ** 32;
  return plan.delayMs + plan.spreadMs * (2 * drawn - 1);
}

/** Counts the time of a call that has ended. */
function ended(beganAt) {
  const now = performance.now();
  inFlight -= 1;
  firstAt = Math.min(firstAt ?? beganAt, beganAt);
  counts.busyMs += now - beganAt;
  counts.spanMs = now - firstAt;
}

function count(text) {
  texts.add(text);
  inFlight += 1;
  counts.calls += 1;
  counts.distinct = texts.size;
  counts.chars += text.length;
  counts.mostInFlight = Math.max(counts.mostInFlight, inFlight);
}

/** Returns a text that is the same each time for the same input, and differs between inputs. */
function outputOf(text) {
  const line = `analysis of ${text.slice(0, 24).trim()} (${text.length} chars). `;
  return line.repeat(Math.ceil(plan.outputChars / line.length)).slice(0, plan.outputChars);
}

function completion({ model, messages }, content) {
  const tokens = (text) => Math.ceil(text.length / 4);
  const prompt = messages.reduce((sum, message) => sum + tokens(message.content), 0);
  return {
    id: `call-${counts.calls}`,
    object: "chat.completion",
    model,
    choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }],
    usage: { prompt_tokens: prompt, completion_tokens: tokens(content), total_tokens: prompt + tokens(content) },
  };
}

function answer(response, status, document) {
  const body = JSON.stringify(document);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

const SERVED = {
  "POST /v1/chat/completions": (response, document) => {
    const text = document.messages.findLast(({ role }) => role === "user").content;
    count(text);
    const beganAt = performance.now();
    const reply = () => {
      ended(beganAt);
      answer(response, 200, completion(document, outputOf(text)));
    };
    const delayMs = delayOf(text);
    if (delayMs) setTimeout(reply, delayMs);
    else reply();
  },
  "GET /v1/models": (response) => answer(response, 200, { object: "list", data: [{ id: "test-model", object: "model" }] }),
  "PUT /plan": (response, document) => answer(response, 200, begin(document) ?? plan),
  "GET /counts": (response) => answer(response, 200, { ...counts, inFlight }),
};

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const serve = SERVED[`${request.method} ${request.url}`];
    if (!serve) return answer(response, 404, { error: { message: "no such path" } });
    serve(response, parts.length ? JSON.parse(Buffer.concat(parts)) : undefined);
  });
});
begin({});
server.keepAliveTimeout = 0; // connections stay open, because a call on a closing connection would be in doubt
server.listen(0, "127.0.0.1", () => console.log(`Ready on http://127.0.0.1:${server.address().port}`));
