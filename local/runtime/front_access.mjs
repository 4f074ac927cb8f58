// Decides who may use the local server. By default, the server needs no key. Every page in a browser can send requests
// to the loopback address, across origins or through a host name that leads there (DNS rebinding). A request must
// therefore name this server as its host, and a page must come from this server or be listed in CORS_ORIGINS.

const NAMES = ["127.0.0.1", "localhost", "[::1]"];

let own; // the hosts that this server accepts, once its port is known

/**
 * Returns once the host has reported the port, which the host does after the migrations. A page that is open in a
 * browser sends requests as soon as a server listens, and the start of Python for them would delay the migrations.
 */
export async function opened(env) {
  own ??= hosts(await (await env.LOCAL_HOST.fetch("http://host.local/port")).json());
}

/** Returns the answer that refuses a request, or undefined if the request may pass. */
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

// Every answer has the request's id: the caller's own id if the Worker accepts it, or else a new one.
const named = (own) => (/^[!-~]{1,128}$/.test(own) ? own : crypto.randomUUID());

function forbidden(request, code, detail) {
  const requestId = named(request.headers.get("x-request-id") ?? "");
  if (/^\/v1(\/|$)/.test(new URL(request.url).pathname)) {
    // The error has OpenAI's format, as in the Worker.
    const error = { message: detail, type: "permission_error", param: null, code };
    return Response.json({ error }, { status: 403, headers: { "x-request-id": requestId } });
  }
  const title = "Forbidden";
  const problem = { type: `urn:onceover:problem:${code}`, title, status: 403, detail, code, requestId };
  const headers = { "content-type": "application/problem+json", "x-request-id": requestId };
  return Response.json(problem, { status: 403, headers });
}
