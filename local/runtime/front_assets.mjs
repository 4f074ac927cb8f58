// Serves static assets inside workerd: asks the host for a file unless the Worker runs first, like Cloudflare's router.

const HOST = "LOCAL_HOST";
// The variable with the paths, or prefixes with `*`, at which the Worker runs first.
const WORKER_FIRST = "LOCAL_ASSETS";
const NO_ASSET_HEADER = "x-local-no-asset";

/** Returns the answer with the asset that the request names, or undefined if the Worker must answer. */
export async function asset(request, env) {
  const first = env[WORKER_FIRST];
  if (!first) return;
  const { pathname, search } = new URL(request.url);
  if (first.some((rule) => (rule.endsWith("*") ? pathname.startsWith(rule.slice(0, -1)) : pathname === rule))) return;
  const known = request.headers.get("if-none-match");
  const headers = known === null ? {} : { "if-none-match": known };
  const answer = await env[HOST].fetch(`http://assets.local${pathname}${search}`, {
    method: request.method,
    headers,
    redirect: "manual",
  });
  if (!answer.headers.has(NO_ASSET_HEADER)) return answer;
  await answer.body?.cancel();
}
