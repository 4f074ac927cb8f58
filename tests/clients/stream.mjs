// A program that uses `openai` for JavaScript to read streams of background responses: `node stream.mjs openai URL KEY
// EARLY`. The program prints the results as JSON.
import { deepStrictEqual } from "node:assert";

const [name, url, key, early] = process.argv.slice(2);
const { OpenAI } = await import(name);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

const LONG = Array.from({ length: 8 }, (_, at) => `Part 0${at} of a text, which is long enough for a chunk of its own.`).join(
  "\n\n",
);
const TERMINAL = new Set(["response.completed", "response.incomplete", "response.failed"]);

const submit = (ours) =>
  client.responses.create({
    model: "demo-1",
    input: LONG,
    background: true,
    stream: true,
    onceover: { chunk: { maxChars: 80 }, ...ours },
  });
const readOn = (id, after) => client.responses.retrieve(id, { stream: true, starting_after: after });
const last = (events) => events[events.length - 1];
const textOf = (response) => response.output.flatMap((item) => item.content.map((part) => part.text)).join("");
const deltasOf = (events) =>
  events
    .filter((event) => event.type === "response.output_text.delta")
    .map((event) => event.delta)
    .join("");
const isNumbered = (events) => events.every((event, at) => event.sequence_number === at);

async function all(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}

async function whole(ours) {
  const events = await all(submit(ours));
  const response = last(events).response;
  for (const { sequence_number: at } of events) {
    deepStrictEqual(await all(readOn(response.id, at)), events.slice(at + 1));
  }
  const text = textOf(await client.responses.retrieve(response.id));
  return {
    types: events.map((event) => event.type.replace("response.", "")),
    numbered: isNumbered(events),
    text: text !== "" && deltasOf(events) === text && textOf(response) === text,
    again: true,
  };
}

async function patient(cut = 0) {
  const events = [];
  const broken = new Set();
  let stream = await submit({ reduce: "concat" });
  while (events.length === 0 || !TERMINAL.has(last(events).type)) {
    try {
      let came = 0;
      let left = false;
      for await (const event of stream) {
        events.push(event);
        came += 1;
        left = came === cut;
        if (left) break;
      }
      if (!left && !TERMINAL.has(last(events).type)) throw new Error(`a clean end behind ${last(events).type}`);
    } catch (error) {
      // If a connection breaks within a stream, fetch raises an error, which the SDK passes on unchanged.
      if (!(error instanceof OpenAI.APIError) && !(early === "outlives" && error instanceof TypeError)) throw error;
      broken.add(error.constructor.name);
    }
    if (!TERMINAL.has(last(events).type)) stream = await again(events[0].response.id, last(events).sequence_number);
  }
  return {
    numbered: isNumbered(events),
    text: deltasOf(events) === textOf(last(events).response),
    broken: [...broken].sort(),
  };
}

// Continues to follow a response after an event, once the server is back.
async function again(id, after) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await readOn(id, after);
    } catch (error) {
      if (!(error instanceof OpenAI.APIConnectionError) || tries === 100) throw error;
      await new Promise((resume) => setTimeout(resume, 200));
    }
  }
}

async function cancelled() {
  let end;
  for await (const event of await submit({})) {
    if (event.type === "response.created") await client.responses.cancel(event.response.id);
    end = event;
  }
  return [end.type, end.response.status];
}

if (early === "outlives") {
  console.log("ready"); // importing an SDK takes seconds, in which a server could come and go
  await new Promise((resume) => process.stdin.once("data", resume));
  process.stdin.unref();
}
const seen =
  early === "early" || early === "outlives"
    ? { patient: await patient() }
    : {
        concat: await whole({ reduce: "concat" }),
        merge: await whole({}),
        patient: await patient(3),
        cancelled: await cancelled(),
      };
console.log(JSON.stringify(seen));
