// node bench/growth.mjs [REQUESTS]: by how much the process of workerd grows with a Worker of twenty lines in JavaScript.
// Each request makes the platform calls of a task: eight batches of D1, a message, six fetches. `make dev` grows likewise,
// and this Worker has none of our code: what grows is workerd's and Miniflare's own.
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "../local/runtime/npm.mjs";

const requests = Number(process.argv[2] ?? 1500);
const STEPS = 5;
const CLIENTS = 8;

const model = http.createServer((request, reply) => {
  request.resume();
  request.on("end", () => reply.end(JSON.stringify({ choices: [{ message: { content: "z".repeat(500) } }] })));
});
await new Promise((listening) => model.listen(0, "127.0.0.1", listening));

const script = `export default {
  async fetch(request, env) {
    for (let number = 0; number < 8; number++) {
      const id = crypto.randomUUID();
      const statements = ["INSERT INTO notes VALUES (?, ?)", "SELECT * FROM notes WHERE id = ?", "DELETE FROM notes WHERE id = ?"];
      const values = [[id, "x".repeat(3000)], [id], [id]];
      await env.DB.batch(statements.map((sql, at) => env.DB.prepare(sql).bind(...values[at])));
    }
    const call = { method: "POST", body: JSON.stringify({ text: "y".repeat(3000) }) };
    await Promise.all([1, 2, 3, 4, 5, 6].map(async () => (await fetch("http://127.0.0.1:${model.address().port}/", call)).json()));
    await env.QUEUE.send({ id: 1 });
    return new Response("ok");
  },
  async queue() {},
};`;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "growth-"));
const options = {
  name: "growth",
  modules: true,
  script,
  compatibilityDate: "2026-09-08",
  d1Databases: ["DB"],
  queueProducers: { QUEUE: "jobs" },
  queueConsumers: { jobs: { maxBatchSize: 1 } },
  resourcePersistencePath: folder,
  telemetry: { enabled: false },
};
const miniflare = new Miniflare(convertV4MiniflareOptions(options));
const url = await miniflare.ready;
await (await miniflare.getD1Database("DB")).exec("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT)");

const read = (pid, name) => fs.readFileSync(`/proc/${pid}/${name}`, "utf8");
const workerd = read(process.pid, `task/${process.pid}/children`)
  .trim()
  .split(" ")
  .find((pid) => read(pid, "comm").startsWith("workerd"));
const kilobytes = () => Number(/VmRSS:\s*(\d+)/.exec(read(workerd, "status"))[1]);

let before = kilobytes();
console.log(`${Math.round(before / 1024)} MB`);
for (let step = 0; step < STEPS; step++) {
  let left = requests / STEPS;
  const client = async () => {
    while (left-- > 0) await (await fetch(url)).text();
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const now = kilobytes();
  console.log(`${Math.round(now / 1024)} MB, ${Math.round((now - before) / (requests / STEPS))} KB a request`);
  before = now;
}
await miniflare.dispose();
fs.rmSync(folder, { recursive: true });
process.exit(0);
