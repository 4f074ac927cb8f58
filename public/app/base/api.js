// Calls the API. The API key goes only into a header.
import { choose, prefs } from "./prefs.js";

/** A request that failed. `status` is the answer's HTTP status, 0 without an answer. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? "");
    this.status = status;
    this.code = problem.code ?? "";
    this.fields = problem.errors ?? [];
    this.requestId = problem.requestId ?? "";
    this.retryAfter = retryAfter;
  }
}

const refusals = new Set();
let skewMs = 0; // how far the server's clock is ahead of this one, where its answers say

/** Calls `listener` after each refused key (401). Returns a function that removes `listener`. */
export function onRefusal(listener) {
  refusals.add(listener);
  return () => refusals.delete(listener);
}

/** The server's time, estimated from its answers. */
export const now = () => Date.now() + skewMs;

const AHEAD_MOST = 5000; // milliseconds that an answer may wait for its view
const ahead = new Map(); // by path: {answer, at}

const OF_A_TENANT = /^\/(api\/(tasks|deliveries)|v1\/(batches|files))(?![\w-])/;
/** Adds the chosen tenant to a path about tasks, deliveries, batches or files, and to no other path. */
export const addressed = (path) => {
  const { tenant } = prefs();
  if (!tenant || !OF_A_TENANT.test(path)) return path;
  return `${path}${path.includes("?") ? "&" : "?"}tenant=${encodeURIComponent(tenant)}`;
};

/** Sends a view's request before the view is loaded. The next `call` with this path takes the answer. */
export function askAhead(path) {
  const answer = send("GET", path, {});
  answer.catch(() => {}); // the call that takes the answer handles its error
  ahead.set(addressed(path), { answer, at: Date.now() });
}

function taken(method, path) {
  const asked = method === "GET" && ahead.get(addressed(path));
  ahead.delete(addressed(path));
  return asked && Date.now() - asked.at < AHEAD_MOST ? asked.answer : undefined;
}

/** Sends a request. Returns {status, data, retryAfter}; throws ApiError. */
export async function call(method, path, options = {}) {
  try {
    return await (taken(method, path) ?? send(method, path, options));
  } catch (error) {
    if (error.status === 401) for (const listener of refusals) listener();
    throw error;
  }
}

/** Opens a file, or a stream of the events after the event `after`. Does not read the response's body. */
export async function openStream(path, { after, signal } = {}) {
  const response = await ask("GET", path, { headers: after === undefined ? {} : { "Last-Event-ID": after }, signal });
  if (!response.ok) throw await refusal(response);
  return response;
}

async function ask(method, path, { body, headers = {}, signal }) {
  const { key } = prefs();
  try {
    return await fetch(addressed(path), {
      method,
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      headers: {
        ...(key && { Authorization: `Bearer ${key}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { code: "unreachable" }, null);
  }
}

async function send(method, path, options) {
  const response = await ask(method, path, options);
  const date = Date.parse(response.headers.get("date") ?? "");
  if (date && Math.abs(date - Date.now()) > 5000) skewMs = date - Date.now();
  if (!response.ok) throw await refusal(response);
  return { status: response.status, data: parsed(await response.text()), retryAfter: retryAfterOf(response) };
}

const retryAfterOf = (response) => Number(response.headers.get("retry-after")) || null;
const refusal = async (response) =>
  new ApiError(response.status, problemOf(parsed(await response.text())), retryAfterOf(response));

// Lists tenants after the last possible name, so it reads no task.
const NO_TENANT = `/api/tenants?tenant=*&cursor=${"z".repeat(63)}:`;

/** Learns by a dry run, which stores nothing, whether the key may change tasks; if not, whether it is an operator's. */
export async function learnRights() {
  const { key, writes } = prefs();
  if (!key || writes) return;
  const ask = async (...what) => (await send(...what).catch((error) => error)).status;
  const status = await ask("POST", "/api/tasks?dryRun=true", { body: { input: "?" } });
  const operates = status !== 403 || (await ask("GET", NO_TENANT, {})) !== 403;
  // 401 means a wrong key, which the view's own requests report. Only 403 means that the key lacks a scope.
  if (prefs().key !== key || status === 401) return;
  choose("operates", operates ? "" : "no");
  choose("writes", status === 403 ? "no" : "yes");
}

/** Sends a request whose answer is shown even if its status is an error. */
export async function callAnyway(path) {
  const { key } = prefs();
  const response = await fetch(path, { cache: "no-store", headers: key ? { Authorization: `Bearer ${key}` } : {} });
  return { status: response.status, data: parsed(await response.text()) };
}

const parsed = (text) => {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
};

// An error of a path below /v1 has the shape of OpenAI's errors.
const problemOf = (data) => {
  if (data?.error && typeof data.error === "object") return { detail: data.error.message, code: data.error.code ?? "" };
  return data ?? {};
};
