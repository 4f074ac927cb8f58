// Reference 2: the same function with Cloudflare Workflows. A task is an instance of a workflow, a chunk is a step, and
// six steps run at a time.
//
// An interrupted step is repeated, and the model calls that are paid twice because of this are not counted. Each group
// of six steps waits for its slowest call. A running task shows no progress, and calls that are under way cannot be
// cancelled. This reference has no idempotency, no keys and no limits. The input may have 1 MiB, and the outputs
// together are the output of the instance.
import { WorkflowEntrypoint } from "cloudflare:workers";
import { complete, split } from "./model_call.mjs";

const AT_A_TIME = 6; // the number of connections that an invocation may have open
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
