// Reference 1: the design from which onceover grew, written by hand in JavaScript. A Worker writes a row into D1 and
// sends a message to a queue. The consumer takes the task's lock and sends the chunks to the model one after the other.
// If the queue refuses the message, the object AIProcessor does the consumer's work. The object BatchCoordinator keeps
// the lock.
//
// The design lacks a fence, so that a consumer that outlives its lock writes at the same time as the next consumer. The
// design does not count lost calls, and it has no backoff except the queue's. The design cannot retry a single call,
// because a failed call fails the delivery. The design has no sweep for a task whose message is lost, and no deadlines,
// cancellation, idempotency, keys or limits. A task must be done within one invocation.
import { DurableObject } from "cloudflare:workers";
import { complete, split } from "./model_call.mjs";

const LOCK_MS = 15 * 60_000; // the longest time for which the platform lets a consumer run

export class BatchCoordinator extends DurableObject {
  async acquire() {
    if ((await this.ctx.storage.get("until")) > Date.now()) return false;
    await this.ctx.storage.put("until", Date.now() + LOCK_MS);
    return true;
  }

  async release() {
    await this.ctx.storage.deleteAll();
  }
}

export class AIProcessor extends DurableObject {
  async process(id) {
    await processTask(this.env, id);
  }
}

async function processTask(env, id) {
  const coordinator = env.BATCH_COORDINATOR.getByName(id);
  if (!(await coordinator.acquire())) return;
  try {
    await processChunks(env, id);
  } finally {
    await coordinator.release();
  }
}

async function processChunks(env, id) {
  const db = env.DB;
  const task = await db.prepare("SELECT * FROM tasks WHERE id = ?").bind(id).first();
  if (!task || task.status === "completed") return;
  const chunks = split(task.input, task.max_chars);
  const start = "UPDATE tasks SET status = 'processing', total = ? WHERE id = ?";
  await db.prepare(start).bind(chunks.length, id).run();
  // A repeated delivery continues where the previous delivery stopped.
  for (let position = task.done; position < chunks.length; position++) {
    const output = await complete(env, chunks[position]);
    await db.batch([
      db.prepare("INSERT OR REPLACE INTO chunks (task_id, position, output) VALUES (?, ?, ?)").bind(id, position, output),
      db.prepare("UPDATE tasks SET done = ? WHERE id = ?").bind(position + 1, id),
    ]);
  }
  const end = "UPDATE tasks SET status = 'completed', finished_at = ? WHERE id = ?";
  await db.prepare(end).bind(new Date().toISOString(), id).run();
}

async function submit(request, env, ctx) {
  const { input, chunk } = await request.json();
  const id = crypto.randomUUID();
  const insert = "INSERT INTO tasks (id, status, input, max_chars, created_at) VALUES (?, 'pending', ?, ?, ?)";
  await env.DB.prepare(insert).bind(id, input, chunk.maxChars, new Date().toISOString()).run();
  try {
    await env.AI_QUEUE.send({ id });
  } catch {
    ctx.waitUntil(env.AI_PROCESSOR.getByName(id).process(id));
  }
  return Response.json({ id, status: "pending" }, { status: 202 });
}

async function show(id, env) {
  const task = await env.DB.prepare("SELECT * FROM tasks WHERE id = ?").bind(id).first();
  if (!task) return new Response(null, { status: 404 });
  const terminal = ["completed", "failed"].includes(task.status);
  const chunks = "SELECT output FROM chunks WHERE task_id = ? ORDER BY position";
  const rows = terminal ? (await env.DB.prepare(chunks).bind(id).all()).results : [];
  return Response.json({
    id,
    status: task.status,
    terminal,
    progress: { total: task.total, completed: task.done },
    createdAt: task.created_at,
    finishedAt: task.finished_at,
    result: rows.map(({ output }) => output).join("\n\n"),
  });
}

export default {
  async fetch(request, env, ctx) {
    const [, id] = /^\/api\/tasks(?:\/([\w-]+))?$/.exec(new URL(request.url).pathname) ?? [];
    return request.method === "POST" ? submit(request, env, ctx) : show(id ?? "", env);
  },

  async queue(batch, env) {
    for (const { body } of batch.messages) {
      if (batch.queue === "ai-processing-queue") await processTask(env, body.id);
      else await env.DB.prepare("UPDATE tasks SET status = 'failed' WHERE id = ?").bind(body.id).run();
    }
  },
};
