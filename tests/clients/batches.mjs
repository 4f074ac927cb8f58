// A program that uses `openai` for JavaScript to run batches: `node batches.mjs PACKAGE URL KEY FOLDER`.
// The folder has an input file for each case. The program prints the results as JSON.
import { createReadStream, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, url, key, folder] = process.argv.slice(2);
const { default: OpenAI } = await import(name);
const { version } = JSON.parse(readFileSync(new URL("package.json", packageFolder(import.meta.resolve(name), name))));
const CHAT = "/v1/chat/completions";
const GOING_ON = ["validating", "in_progress", "finalizing", "cancelling"];

function packageFolder(resolved, packageName) {
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

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

async function create(file, endpoint = CHAT) {
  const input = await client.files.create({ file: createReadStream(`${folder}/${file}.jsonl`), purpose: "batch" });
  return client.batches.create({
    input_file_id: input.id,
    endpoint,
    completion_window: "24h",
    metadata: { name: file },
  });
}

async function ended(batch) {
  while (GOING_ON.includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

async function ids(file) {
  if (file === null) return null;
  const lines = (await (await client.files.content(file)).text()).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line).custom_id).sort();
}

async function facts(batch) {
  const { total, completed, failed } = batch.request_counts;
  return [batch.status, [total, completed, failed], await ids(batch.output_file_id), await ids(batch.error_file_id)];
}

const chat = await create("chat");
const responses = await create("responses", "/v1/responses");
const listed = [];
for await (const batch of client.batches.list({ limit: 1 })) {
  if (listed.push(batch.id) === 2) break;
}
const seen = { version };
seen.created = [chat.status, chat.object, chat.metadata, chat.completion_window, chat.errors];
seen.listed = JSON.stringify(listed) === JSON.stringify([responses.id, chat.id]);
seen.page = (await client.batches.list({ limit: 1 })).has_more;
seen.chat = await facts(await ended(chat));
seen.responses = await facts(await ended(responses));
seen.thirds = await facts(await ended(await create("thirds")));
const cancelled = await client.batches.cancel((await create("slow")).id);
seen.cancelled = [["cancelling", "cancelled"].includes(cancelled.status), (await ended(cancelled)).status];
seen.invalid = {};
const invalid = readdirSync(folder).filter((file) => file.startsWith("invalid-")).sort();
for (const file of invalid.map((one) => one.replace(".jsonl", ""))) {
  const failed = await ended(await create(file));
  const faults = failed.errors.data.map(({ code, line }) => [code, line]);
  seen.invalid[file] = [failed.status, faults, failed.output_file_id];
}
const over = (endpoint) => () =>
  client.batches.create({ input_file_id: "file-1", endpoint, completion_window: "24h" });
seen.unknown = await refused(() => client.batches.retrieve("batch_1"));
seen["no file"] = await refused(over(CHAT));
seen.embeddings = await refused(over("/v1/embeddings"));
seen["too late"] = await refused(() => client.batches.cancel(chat.id));
console.log(JSON.stringify(seen));
