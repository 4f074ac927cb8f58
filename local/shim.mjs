// The Worker that workerd sees: boots CPython (npm's Pyodide) and hands every call to the Python module `entry`,
// in the way that the hosted runtime does it.
//
// Differences from the hosted runtime, all of them forced by running inside workerd without its built-in Python:
// - One interpreter serves the Worker and all its objects, because workerd runs them in one isolate. The hosted
//   runtime may spread objects over several isolates; module-level state must not be relied on in either.
// - The interpreter starts at the first call and not when the isolate does. A boot that fails is reported and
//   tried again at the next call.
// - Extension modules compile at run time, through Miniflare's unsafe-eval binding.
import "./scheduling.mjs"; // before Pyodide
import createPyodideModule from "./pyodide.asm.mjs";
import { loadPyodide } from "./pyodide.mjs";
import lock from "./pyodide-lock.json";
import * as workers from "cloudflare:workers";
import * as sockets from "cloudflare:sockets";
import { CALL } from "./calling.mjs";
import * as front from "./front.mjs";
import { asset } from "./front_assets.mjs";
import * as limits from "./limits.mjs";
import * as upload from "./upload.mjs";

export const BOOT_FAILED_HEADER = "x-local-boot-failed";
const UNSAFE_EVAL = "UNSAFE_EVAL";
const HOST = "LOCAL_HOST"; // the process that runs this runtime: it has what is too large for a module
const ASSETS = "LOCAL_ASSETS"; // where the Worker runs before static assets
const LIMITS = "LOCAL_LIMITS"; // the plan whose limits apply; absent when the meter is off
const ORIGIN = "http://pyodide.invalid/";
const HOME = "/session/metadata"; // where the hosted runtime puts the Worker's own files

// ---- The interpreter --------------------------------------------------------------------------------------

class BootFailure extends Error {}

let interpreter;
let running;

/** The booted Worker: `entry`, the Python module, and `call`, which invokes a method as production does. */
export function boot(env) {
  running ??= start(env).catch((error) => {
    running = undefined;
    report(error);
    throw new BootFailure("the Worker did not start; its traceback is in the terminal");
  });
  return running;
}

async function start(env) {
  interpreter ??= load(env).catch((error) => {
    interpreter = undefined;
    throw error;
  });
  const python = await interpreter;
  const entry = upload.importing(python, () => python.pyimport("entry"));
  const { relaxed_call: callRaw } = python.pyimport("pyodide.code");
  return { entry, call: python.globals.get("_call"), callRaw };
}

async function load(env) {
  const names = ["pyodide.asm.wasm", "python_stdlib.zip", "application.bin", "vendored.bin"];
  const [wasm, stdlib, application, vendored] = await Promise.all(names.map((name) => fromHost(env, name)));
  const restore = adapt(env, wasm, stdlib);
  try {
    const python = await loadPyodide({
      indexURL: ORIGIN,
      createPyodideModule,
      lockFileContents: JSON.parse(lock),
      env: { HOME: "/session", PYTHONDONTWRITEBYTECODE: "1" },
      stdout: (line) => console.log(line),
      stderr: (line) => console.error(line),
    });
    unpack(python.FS, application, HOME);
    unpack(python.FS, vendored, `${HOME}/python_modules`);
    // Production's order: the standard library, then the Worker's own files, then vendored packages.
    python.runPython(`import sys; sys.path += ["${HOME}", "${HOME}/python_modules"]`);
    python.registerJsModule("_pyodide_entrypoint_helper", {
      cloudflareWorkersModule: { ...workers, waitUntil: holding(workers.waitUntil) },
      cloudflareSocketsModule: sockets,
      patchWaitUntil,
      doAnImport: (name) => import(name),
    });
    python.registerJsModule("_cloudflare_compat_flags", { python_request_headers_preserve_commas: true });
    python.runPython(CALL, { filename: "local/calling.mjs" });
    if (env[LIMITS]) {
      python.runPython(limits.METERING, { filename: "local/limits.mjs" });
      limits.attach(python);
    }
    return python;
  } finally {
    restore();
  }
}

async function fromHost(env, name) {
  const response = await env[HOST].fetch(`http://host.local/${name}`);
  return response.arrayBuffer();
}

const unmeteredFetch = globalThis.fetch;

/** Gives Pyodide what it expects of a browser. Returns a function that takes back what only the boot needs. */
function adapt(env, wasm, stdlib) {
  globalThis.setImmediate ??= (callback, ...values) => setTimeout(callback, 0, ...values);
  globalThis.clearImmediate ??= clearTimeout;
  globalThis.location ??= ORIGIN;
  const fetch = env[LIMITS] ? limits.meteredFetch(unmeteredFetch) : unmeteredFetch;
  globalThis.fetch = async (input, init) => {
    const url = String(input?.url ?? input);
    if (url === `${ORIGIN}python_stdlib.zip`) return new Response(stdlib);
    if (url === `${ORIGIN}pyodide.asm.wasm`) return new Response("");
    return fetch(input, init);
  };
  if (!Object.hasOwn(WebAssembly, "adapted")) adaptWebAssembly(env[UNSAFE_EVAL], wasm);
  return () => {
    globalThis.fetch = fetch;
  };
}

/** workerd refuses to compile WebAssembly from bytes, except through its unsafe-eval binding. */
function adaptWebAssembly(unsafeEval, interpreter) {
  const compile = (bytes) => unsafeEval.newWasmModule(bytes);
  const { instantiate } = WebAssembly;
  const wasm = compile(interpreter);
  WebAssembly.adapted = true;
  WebAssembly.compile = async (bytes) => compile(bytes);
  WebAssembly.Module = new Proxy(WebAssembly.Module, { construct: (_, [bytes]) => compile(bytes) });
  WebAssembly.instantiate = async (source, imports) => {
    if (!(source instanceof ArrayBuffer || ArrayBuffer.isView(source))) return instantiate(source, imports);
    const module = compile(source);
    return { module, instance: await instantiate(module, imports) };
  };
  WebAssembly.instantiateStreaming = async (_, imports) => ({
    module: wasm,
    instance: await instantiate(wasm, imports),
  });
}

/** Writes what archive.mjs packed: the length of a JSON index, the index, then the files' bytes. */
function unpack(filesystem, archive, directory) {
  const indexBytes = new DataView(archive).getUint32(0);
  const index = JSON.parse(new TextDecoder().decode(new Uint8Array(archive, 4, indexBytes)));
  let offset = 4 + indexBytes;
  for (const { path, size } of index) {
    const target = `${directory}/${path}`;
    filesystem.mkdirTree(target.slice(0, target.lastIndexOf("/")));
    filesystem.writeFile(target, new Uint8Array(archive, offset, size));
    offset += size;
  }
}

// ---- waitUntil --------------------------------------------------------------------------------------------

/** A Python awaitable that is passed to JavaScript is borrowed and dies with the call unless it is copied. */
function holding(waitUntil) {
  return (task) => {
    const owned = task?.copy?.() ?? task;
    const meter = limits.running();
    waitUntil(
      (async () => {
        try {
          await (meter ? meter.wait(owned) : owned);
        } catch (error) {
          report(error);
          throw error;
        } finally {
          owned?.destroy?.();
        }
      })(),
    );
  };
}

const patched = new WeakSet();

/** As in production, the context of a Worker's call is patched and that of a Durable Object is not. */
function patchWaitUntil(context) {
  let tag;
  try {
    tag = Object.prototype.toString.call(context);
  } catch {
    return; // a Python object
  }
  if (tag !== "[object ExecutionContext]" || patched.has(context)) return;
  context.waitUntil = holding(context.waitUntil.bind(context));
  patched.add(context);
}

// ---- Reporting --------------------------------------------------------------------------------------------

const reported = new WeakSet();

/** Prints an error once, however many layers it passes through: a Python one as its traceback. */
function report(error) {
  if (error instanceof BootFailure) return;
  if (typeof error === "object" && error !== null) {
    if (reported.has(error)) return;
    reported.add(error);
  }
  const text = error?.constructor?.name === "PythonError" ? error.message : (error?.stack ?? String(error));
  console.error(text.trimEnd());
}

// ---- Exported classes -------------------------------------------------------------------------------------

const RAW_OBJECT_HANDLERS = new Set(["alarm", "webSocketMessage", "webSocketClose", "webSocketError"]);

/** The bindings that wrangler.toml declares, without those that are there for this module. */
function declared(env) {
  const { [UNSAFE_EVAL]: _eval, [HOST]: _host, [ASSETS]: _assets, [LIMITS]: plan, ...bindings } = env;
  return plan ? limits.meteredBindings(bindings) : bindings;
}

function exported(base, className) {
  const isObject = base === workers.DurableObject;
  return class extends base {
    constructor(context, env) {
      super(context, env);
      // One Python instance for one JavaScript instance; forgotten only if its construction fails.
      let constructing;
      const instance = () =>
        (constructing ??= front
          .opened(env)
          .then(() => construct(className, context, env))
          .catch((error) => {
            constructing = undefined;
            report(error);
            throw error;
          }));
      // The boot's timers belong to the call that began it: waitUntil keeps that alive if its client goes away.
      context.waitUntil(instance().catch(() => {})); // a failure meets each call again
      const activity = isObject ? { invocations: 0, since: 0 } : undefined;
      return new Proxy(this, {
        get(target, name, receiver) {
          if (typeof name !== "string" || name === "then") return Reflect.get(target, name, receiver);
          return (...values) => invoke({ env, instance, activity, className, name, values });
        },
      });
    }
  };
}

async function construct(className, context, env) {
  const { entry } = await boot(env);
  const constructor = entry[className];
  if (typeof constructor !== "function") throw new TypeError(`entry.py defines no class ${className}`);
  const isMeteredObject = env[LIMITS] && className !== "Default";
  return constructor(isMeteredObject ? limits.meteredContext(context) : context, declared(env));
}

async function invoke({ env, instance, activity, className, name, values }) {
  try {
    const refusal = name === "fetch" && !activity && (await front.refusal(values[0], env));
    if (refusal) return refusal;
    const found = name === "fetch" && !activity && (await asset(values[0], env));
    if (found) return found;
    const self = await instance();
    const method = self[name];
    if (typeof method !== "function") throw new TypeError(`Method ${name} does not exist`);
    const { call, callRaw } = await boot(env);
    const meter = env[LIMITS] && limits.open(env[LIMITS], { activity, className, name, values });
    const isRaw = activity && RAW_OBJECT_HANDLERS.has(name);
    const calling = isRaw ? [callRaw, method, ...values] : [call, self, name, name === "fetch", ...values];
    return await (meter ? meter.call(...calling) : calling[0](...calling.slice(1)));
  } catch (error) {
    report(error);
    if (name === "fetch" && !activity) return failed(error);
    throw error;
  }
}

/** What the hosted runtime answers when a Worker throws. */
function failed(error) {
  const headers = error instanceof BootFailure ? { [BOOT_FAILED_HEADER]: "1" } : {};
  return new Response("error code: 1101\n", { status: 500, headers });
}

export const durableObject = (className) => exported(workers.DurableObject, className);

/** workerd asks the prototype which events the Worker handles. */
export class Default extends exported(workers.WorkerEntrypoint, "Default") {
  fetch() {}
  queue() {}
  scheduled() {}
}
