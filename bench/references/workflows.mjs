// Reference 2: the same tasks with Cloudflare Workflows. A task is an instance, a chunk is a step, and six steps run at
// a time. // The design lacks: a count of the calls that an interrupted step repeats and pays for twice; a window of
// calls that does not wait for its slowest one; progress while a task runs; cancellation of calls that are out,
// idempotency, keys and limits. The input may have 1 MiB, and the instance's output is all outputs together.
import { WorkflowEntrypoint } from "cloudflare:workers";
import { complete, split } from "./model_call.mjs";

const AT_A_TIME = 6; // connections that an invocation may have open
const RETRIES = { retries: { limit: 3, delay: "1 second", backoff: "exponential" } };

export class TaskWorkflow extends WorkflowEntrypoint {
  async run({ payload, timestamp }, step) {
    const chunks = split(payload.input, payload.maxChars);
    const outputs = [];
    for (let first = 0; first < chunks.length; first += AT_A_TIME) {
      const window = chunks.slice(first, first + AT_A_TIME);
      const calls = window.map((text, at) => step.do(`chunk ${first + at}`, RETRIES, () => complete(this.env, text)));
      outputs.push(...(await Promise.all(calls)));
    }
    return { result: outputs.join("\n\n"), total: chunks.length, createdAt: timestamp, finishedAt: new Date() };
  }
}

async function submit(request, env) {
  const { input, chunk } = await request.json();
  const { id } = await env.TASKS.create({ params: { input, maxChars: chunk.maxChars } });
  return Response.json({ id, status: "queued" }, { status: 202 });
}

async function show(id, env) {
  const { status, output } = await (await env.TASKS.get(id)).status();
  const terminal = ["complete", "errored", "terminated"].includes(status);
  const { total, ...task } = output ?? {};
  return Response.json({ id, status: status === "complete" ? "completed" : status, terminal, progress: { total }, ...task });
}

export default {
  async fetch(request, env) {
    const [, id] = /^\/api\/tasks(?:\/([\w-]+))?$/.exec(new URL(request.url).pathname) ?? [];
    return request.method === "POST" ? submit(request, env) : show(id, env);
  },
};
