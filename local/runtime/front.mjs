// The small Worker that stands before the project's Worker in the local runtime. The front Worker refuses foreign hosts
// and serves static assets. For the host, it applies migrations, ends the leases of dead workers, and fires cron
// triggers, because only a Worker can do this.
//
// The host sends its requests over HTTP. Miniflare's functions for a binding or a Worker (`getD1Database`, `getWorker`)
// block Node.js until workerd answers. If workerd waited at this time for Node.js to read its output, both would wait
// for ever.
import { refusal } from "./front_access.mjs";
import { asset } from "./front_assets.mjs";
import { expireLeases, migrate } from "./front_database.mjs";

const HOST_PATHS = "/.local/";
const TOKEN_HEADER = "x-local-token";

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith(HOST_PATHS) && request.headers.get(TOKEN_HEADER) === env.LOCAL_TOKEN) {
      return forHost(pathname.slice(HOST_PATHS.length), request, env);
    }
    return (await refusal(request, env)) ?? (await asset(request, env)) ?? (await answer(request, env));
  },
};

/** Returns the Worker's answer, or Cloudflare's error page if the Worker throws. workerd prints the exception. */
async function answer(request, env) {
  try {
    return await env.WORKER.fetch(request);
  } catch {
    return new Response("error code: 1101\n", { status: 500 });
  }
}

async function forHost(task, request, env) {
  const asked = await request.json();
  try {
    if (task === "migrate") return Response.json({ applied: await migrate(env.DB, asked.migrations) });
    if (task === "leases") return Response.json({ ended: await expireLeases(env.DB, asked.statement, asked.begunAt) });
    if (task === "scheduled") {
      await env.WORKER.scheduled({ cron: asked.cron, scheduledTime: new Date() });
      return Response.json({});
    }
    return Response.json({ error: `the front Worker knows no ${task}` }, { status: 404 });
  } catch (error) {
    return Response.json({ error: error.message }, { status: 500 });
  }
}
