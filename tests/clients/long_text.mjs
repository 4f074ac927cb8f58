// A program that uses `openai` for JavaScript to send a long text as a file: `node long_text.mjs PACKAGE URL KEY FILE`.
// The program prints the results as JSON, the same as `long_text.py`.
import { createReadStream, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, url, key, path] = process.argv.slice(2);
const { default: OpenAI } = await import(name);
const { version } = JSON.parse(readFileSync(new URL("package.json", folder(import.meta.resolve(name), name))));
const OWN = { onceover: { reduce: "concat", chunk: { maxChars: 2_000 } } };
const ASKED = "List who met whom.";

function folder(resolved, packageName) {
  const found = fileURLToPath(resolved);
  const end = found.lastIndexOf(`/${packageName}/`) + packageName.length + 2;
  return new URL(`file://${found.slice(0, end)}`);
}

async function refused(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return [error.constructor.name, error.status, error.code, error.param];
  }
  return [];
}

const message = (fileId, ...more) => [
  { role: "user", content: [{ type: "input_file", file_id: fileId }, ...more.map((text) => ({ type: "input_text", text }))] },
];

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const create = (fields) => client.responses.create({ background: true, ...OWN, ...fields });

async function ended(response) {
  let made = response;
  while (made.status === "queued" || made.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 200));
    made = await client.responses.retrieve(made.id);
  }
  return made;
}

const seen = { version };
const file = await client.files.create({ file: createReadStream(path), purpose: "user_data" });
const made = await create({ input: message(file.id, ASKED), instructions: "Be short." });
seen.made = [made.status, made.instructions];
const plain = await create({ input: readFileSync(path, "utf8"), instructions: `Be short.\n\n${ASKED}` });
const done = await ended(made);
const expected = await ended(plain);
const isSame = done.output_text === expected.output_text && done.output_text !== "";
seen.done = [done.status, expected.status, isSame];
seen.usage = [JSON.stringify(done.usage) === JSON.stringify(expected.usage), done.usage.input_tokens > 0];
const { data } = await client.responses.inputItems.list(made.id);
seen.items = data.flatMap((item) => item.content.map((part) => part.file_id === file.id));
const deltas = [];
for await (const event of await create({ input: message(file.id), instructions: `Be short.\n\n${ASKED}`, stream: true })) {
  if (event.type === "response.output_text.delta") deltas.push(event.delta);
}
seen.streamed = [deltas.join("") === done.output_text, deltas.length > 1];
const lines = await client.files.create({ file: createReadStream(path), purpose: "batch" });
seen.purpose = await refused(() => create({ input: message(lines.id) }));
seen.unknown = await refused(() => create({ input: message(`file-${"0".repeat(32)}`) }));
seen.two = await refused(() => create({ input: [...message(file.id), ...message(file.id)] }));
seen.deleted = [];
for (const one of [file, lines]) seen.deleted.push((await client.files.delete(one.id)).deleted);
seen.kept = (await client.responses.retrieve(made.id)).output_text === done.output_text;
console.log(JSON.stringify(seen));
