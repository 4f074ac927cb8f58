// Walks the tools with the official client for JavaScript, and prints what it saw as JSON.
// Arguments: the URL of `/mcp`, a key, an expired key, and `auto` or `legacy`.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, key, expired, mode] = process.argv.slice(2);
const TEXT = Array.from({ length: 10 }, (_, number) => `part ${number} of a text`).join("\n\n");

/** Connects a client. With `loses`, the answer to each call of a tool is lost. */
async function connect(bearer, loses = false) {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${bearer}` } },
    async fetch(target, init) {
      const answer = await fetch(target, init);
      if (!loses || !String(init.body).includes("tools/call")) return answer;
      await answer.text();
      throw new TypeError("the answer is lost");
    },
  });
  await client.connect(transport);
  return client;
}

/** Calls a tool, and returns the texts of its answer. */
async function call(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  const texts = result.content.map((part) => part.text);
  return result.isError ? ["refused", ...texts] : texts;
}

const seen = {};
const work = { input: TEXT, chunk: { maxChars: 20 }, idempotencyKey: `javascript-${mode}` };
const losing = await connect(key, true);
seen.lost = await call(losing, "analyse", work).then(
  () => false,
  () => true,
);
const client = await connect(key);
seen.revision = client.getNegotiatedProtocolVersion();
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
const made = JSON.parse((await call(client, "analyse", work))[0]);
for (let tries = 0; tries < 20; tries++) {
  seen.status = JSON.parse((await call(client, "wait", { id: made.id, seconds: 5 }))[0]).status;
  if (!["pending", "processing"].includes(seen.status)) break;
}
seen.tasks = JSON.parse((await call(client, "list", {}))[0]).tasks.length;
seen.pages = [];
for (let page = 1; page < 12; page++) {
  const [text, about] = await call(client, "result", { id: made.id, page });
  if (text === "refused") {
    seen["after the last"] = about;
    break;
  }
  seen.pages.push(text.length);
}
const slow = JSON.parse((await call(client, "analyse", { input: "slow", idempotencyKey: `slow-js-${mode}` }))[0]);
seen.cancelled = JSON.parse((await call(client, "cancel", { id: slow.id }))[0]).status;
seen["cancelled result"] = (await call(client, "result", { id: slow.id }))[0];
seen["wrong argument"] = (await call(client, "analyse", { input: "x", surprise: 1 }))[0];
seen.expired = await connect(expired)
  .then((refused) => refused.listTools())
  .then(
    () => false,
    () => true,
  );
console.log(JSON.stringify(seen));
process.exit(0);
