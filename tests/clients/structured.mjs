// A program that uses `openai` for JavaScript to get objects of its own zod schemas: `node structured.mjs openai PROXY
// URL`. The program prints the results as JSON. PROXY is the address of the proxy that breaks answers
// (`cutting_proxy.py`).
import { deepStrictEqual } from "node:assert";
import { z } from "zod";

const [name, proxy, url] = process.argv.slice(2);
const { OpenAI } = await import(name);
const { zodTextFormat } = await import(`${name}/helpers/zod`);

const letters = (names) => names.map((each) => `${each} wrote a letter.`).join("\n\n");
const TEXT = letters(["Ann", "Bob", "Cyd", "Dan", "Eve"]);
const WITH_ZED = letters(["Ann", "Zed", "Eve"]);
const CHUNKS = { chunk: { maxChars: 24 } }; // each paragraph is a chunk
const ENDED = new Set(["completed", "incomplete", "failed", "cancelled"]);

const Person = z.object({
  name: z.string(),
  role: z.enum(["author", "reader"]),
  age: z.int().nullable(),
  born: z.iso.date().nullable(),
});
const People = z.object({ people: z.array(Person) }); // the outputs of chunks can be joined
const Report = z.object({ headline: z.string(), people: z.array(Person) }); // the outputs must be merged

const formOf = (model) => ({ format: zodTextFormat(model, "people") });
const body = (model, input, ours) => ({
  model: "m",
  input,
  background: true,
  text: formOf(model),
  onceover: { ...CHUNKS, ...ours },
});
const ask = (client, model, input = TEXT, ours = {}) => client.responses.stream(body(model, input, ours));
const again = (client, model, id) => client.responses.stream({ response_id: id, text: formOf(model) });
const parsed = (model, response) => model.parse(JSON.parse(response.output_text));

// Gets an object from a stream (which may break), from a second stream of the response, and from the retrieved
// response.
async function typed(client, model) {
  let id;
  let streamed;
  let broken = false;
  const stream = ask(client, model);
  try {
    for await (const event of stream) {
      if (event.type === "response.created") id = event.response.id;
    }
    streamed = (await stream.finalResponse()).output_parsed;
  } catch (error) {
    if (error instanceof z.ZodError) throw error;
    broken = true; // an error of the SDK or of fetch, whose name depends on the version
  }
  const final = (await again(client, model, id).finalResponse()).output_parsed;
  const retrieved = parsed(model, await client.responses.retrieve(id));
  return { broken, streamed: broken ? final : streamed, again: final, retrieved };
}

// `responses.parse` returns a queued response, which has no output yet. The response that is retrieved later is parsed
// by the schema.
async function parse(client) {
  const response = await client.responses.parse(body(People, TEXT, {}));
  let retrieved = response;
  while (!ENDED.has(retrieved.status)) {
    await new Promise((resume) => setTimeout(resume, 50));
    retrieved = await client.responses.retrieve(response.id);
  }
  return { at_once: [response.status, response.output_parsed], retrieved: parsed(People, retrieved) };
}

// Follows a response to an end without success. The stream's final response has the status, and no parsed object.
async function followed(stream, status) {
  const events = [];
  for await (const event of stream) events.push(event);
  const final = await stream.finalResponse();
  deepStrictEqual([final.status, final.output_parsed], [status, null]);
  return [events[events.length - 1], events];
}

// Allows gaps. The response is incomplete, and its text can be parsed. A retry makes another response, which is
// complete.
async function gap(client) {
  const [last, events] = await followed(ask(client, People, WITH_ZED, { onChunkFailure: "gap" }), "incomplete");
  const done = events.find((event) => event.type === "response.output_text.done");
  const { id } = last.response;
  const retrieved = await client.responses.retrieve(id);
  const retry = await fetch(`${url}/api/tasks/${id.replace("resp_", "")}/retry`, { method: "POST" });
  const completed = await again(client, People, `resp_${(await retry.json()).id}`).finalResponse();
  return {
    ends: [last.type, retrieved.status],
    text: People.parse(JSON.parse(done.text)),
    retrieved: parsed(People, retrieved),
    again: completed.output_parsed,
  };
}

// Allows no gaps. The stream ends with the event of a failure, and the response has no text to parse.
async function failed(client) {
  const [last] = await followed(ask(client, People, WITH_ZED), "failed");
  const retrieved = await client.responses.retrieve(last.response.id);
  return {
    ends: [last.type, retrieved.status],
    code: retrieved.error.code,
    ours: retrieved.onceover.error.code,
    retrieved: retrieved.output_text,
  };
}

const clientOf = (fate) => new OpenAI({ baseURL: `${proxy}/${fate}/v1`, apiKey: "any" });
const seen = {};
for (const fate of ["whole", "lost", "cut3", "cut6", "cut9"]) seen[fate] = await typed(clientOf(fate), People);
const whole = clientOf("whole");
seen.merged = await typed(whole, Report);
seen.parse = await parse(whole);
const lost = clientOf("lost"); // where a chunk fails, the first answer to each request is lost, too
seen.gap = await gap(lost);
seen.failed = await failed(lost);
console.log(JSON.stringify(seen));
