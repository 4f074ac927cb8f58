// A program that uses `openai` for JavaScript to send and read background responses: `node walk.mjs PACKAGE URL KEY`.
// The program prints the results as JSON.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, url, key] = process.argv.slice(2);
const { default: OpenAI } = await import(name);
const { version } = JSON.parse(readFileSync(new URL("package.json", folder(import.meta.resolve(name), name))));

const LONG = Array.from(
  { length: 20 },
  (_, at) => `Part ${String(at).padStart(2, "0")} of a text, which is long enough for a chunk of its own.`,
).join("\n\n");

function folder(resolved, packageName) {
  const path = fileURLToPath(resolved);
  const end = path.lastIndexOf(`/${packageName}/`) + packageName.length + 2;
  return new URL(`file://${path.slice(0, end)}`);
}

async function ended(client, response) {
  const until = Date.now() + 60_000;
  while (response.status === "queued" || response.status === "in_progress") {
    if (Date.now() > until) throw new Error(`still ${response.status}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    response = await client.responses.retrieve(response.id);
  }
  return response;
}

async function error(client, fields = {}) {
  try {
    await client.responses.create({ model: "demo-1", input: "x", background: true, ...fields });
  } catch (refused) {
    if (!(refused instanceof OpenAI.APIError)) throw refused;
    return [refused.constructor.name, refused.status, refused.code, refused.param];
  }
  return [];
}

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const seen = { version };
const made = await client.responses.create({
  model: "demo-1",
  input: "A short text.",
  background: true,
  instructions: "Say it.",
  metadata: { a: "b" },
});
seen.queued = [made.status, made.object, made.metadata, made.instructions, made.background];
const done = await ended(client, made);
seen.done = [done.status, Boolean(done.output_text), done.usage != null, done.error];
const long = await client.responses.create({
  model: "demo-1",
  input: LONG,
  background: true,
  store: false,
  onceover: { chunk: { maxChars: 80 } },
});
seen.items = [];
for await (const item of client.responses.inputItems.list(long.id)) seen.items.push(item.content[0].text === LONG);
const merged = await ended(client, long);
seen.long = [merged.status, merged.onceover.progress.total, merged.output.length];
seen.cancelled = (await client.responses.cancel(done.id)).status;
await client.responses.delete(done.id);
try {
  await client.responses.retrieve(done.id);
} catch (gone) {
  seen.gone = [gone.status, gone.code];
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
seen.models = [models, (await client.models.retrieve("demo-1")).id];
seen.tools = await error(client, { tools: [{ type: "web_search" }] });
seen.foreground = await error(client, { background: false });
seen.temperature = await error(client, { temperature: 3 });
seen.stranger = await error(new OpenAI({ baseURL: `${url}/v1`, apiKey: "oo_x", maxRetries: 0 }));
console.log(JSON.stringify(seen));
