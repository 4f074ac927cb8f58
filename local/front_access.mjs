// Who may speak to the local server. It has no key unless asked for one, and every page that a browser shows can send
// requests to the loopback address: by a name of its own that leads there (DNS rebinding), or across origins.
// So a request must name this server as its host, and a page must be of this server or listed in CORS_ORIGINS.

const NAMES = ["127.0.0.1", "localhost", "[::1]"];

let own; // the hosts that this server answers to, once its port is known

/**
 * Returns once the host has said the port, which it does when the database is migrated. A page that is open asks as soon
 * as there is somebody to ask, and the start of Python would hold up the migrations.
 */
export async function opened(env) {
  own ??= hosts(await (await env.LOCAL_HOST.fetch("http://host.local/port")).json());
}

/** The answer to a request that must not come in; undefined for one that may. */
export async function refusal(request, env) {
  await opened(env);
  if (!own.includes(request.headers.get("host")?.toLowerCase())) {
    return forbidden(request, "foreign_host", `This server is http://${own[0]}, and the request names another host.`);
  }
  const origin = request.headers.get("origin");
  if (origin === null || own.some((host) => origin === `http://${host}`) || listed(env).includes(origin)) return;
  const detail = "Pages of this origin may not call this server: CORS_ORIGINS does not list it.";
  return forbidden(request, "foreign_origin", detail);
}

const hosts = (port) => NAMES.flatMap((name) => [`${name}:${port}`, ...(port === 80 ? [name] : [])]);

const listed = (env) =>
  String(env.CORS_ORIGINS ?? "")
    .split(",")
    .map((part) => part.trim());

// The name of a request is on every answer, and in every problem: the caller's own, as the Worker takes it, or a fresh one.
const named = (own) => (/^[!-~]{1,128}$/.test(own) ? own : crypto.randomUUID());

function forbidden(request, code, detail) {
  const requestId = named(request.headers.get("x-request-id") ?? "");
  if (/^\/v1(\/|$)/.test(new URL(request.url).pathname)) {
    // OpenAI's shape, as the Worker has it there.
    const error = { message: detail, type: "permission_error", param: null, code };
    return Response.json({ error }, { status: 403, headers: { "x-request-id": requestId } });
  }
  const title = "This server is not for everybody";
  const problem = { type: `urn:onceover:problem:${code}`, title, status: 403, detail, code, requestId };
  const headers = { "content-type": "application/problem+json", "x-request-id": requestId };
  return Response.json(problem, { status: 403, headers });
}
