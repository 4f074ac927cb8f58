// A program that uses `openai` for JavaScript to send and read files: `node files.mjs PACKAGE URL KEY FILE`.
// The program prints the results as JSON.
import { createReadStream, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, url, key, path] = process.argv.slice(2);
const { default: OpenAI, toFile } = await import(name);
const { version } = JSON.parse(readFileSync(new URL("package.json", folder(import.meta.resolve(name), name))));

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

const facts = (file) => [
  file.filename,
  file.bytes,
  file.purpose,
  file.status,
  file.object,
  file.expires_at === null ? null : file.expires_at - file.created_at,
];

async function* pieces(content) {
  for (let at = 0; at < content.length; at += 10_007) yield content.subarray(at, at + 10_007);
}

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const content = readFileSync(path);
const isSame = async (response) => Buffer.from(await response.arrayBuffer()).equals(content);
const byPath = await client.files.create({ file: createReadStream(path), purpose: "batch" });
const byBuffer = await client.files.create({
  expires_after: { anchor: "created_at", seconds: 3_600 },
  file: await toFile(content, "été.txt"),
  purpose: "user_data",
});
const byStream = await client.files.create({ file: await toFile(pieces(content), "stream.jsonl"), purpose: "batch" });
const made = [byPath, byBuffer, byStream];
const ids = made.map((file) => file.id);
const listed = [];
for await (const file of client.files.list({ order: "asc", limit: 2 })) listed.push(file.id);
const ofPurpose = await client.files.list({ purpose: "user_data" });
const page = await client.files.list({ limit: 2 });
const streamed = [];
for await (const piece of (await client.files.content(byPath.id)).body) streamed.push(piece);
const seen = { version };
[seen.path, seen.buffer, seen.stream] = made.map(facts);
seen.same = await Promise.all(made.map(async (file) => isSame(await client.files.content(file.id))));
seen.retrieved = await Promise.all(
  made.map(async (file) => JSON.stringify(await client.files.retrieve(file.id)) === JSON.stringify(file)),
);
seen.listed = JSON.stringify(listed) === JSON.stringify(ids);
seen.purpose = ofPurpose.data.length === 1 && ofPurpose.data[0].id === byBuffer.id;
const newest = [ids[2], ids[1]];
seen.page = [JSON.stringify(page.data.map((file) => file.id)) === JSON.stringify(newest), page.has_more, page.hasNextPage()];
seen.streamed = Buffer.concat(streamed).equals(content);
seen["other purpose"] = await refused(() => client.files.create({ file: createReadStream(path), purpose: "vision" }));
seen["too soon"] = await refused(async () =>
  client.files.create({
    file: await toFile(Buffer.from("x"), "upload"),
    purpose: "batch",
    expires_after: { anchor: "created_at", seconds: 60 },
  }),
);
seen.deleted = [];
for (const file of made) {
  const { deleted, object } = await client.files.delete(file.id);
  seen.deleted.push([deleted, object]);
}
seen.gone = [
  await refused(() => client.files.retrieve(byPath.id)),
  await refused(() => client.files.content(byPath.id)),
];
const none = await client.files.list();
seen.none = [none.data, none.has_more];
console.log(JSON.stringify(seen));
