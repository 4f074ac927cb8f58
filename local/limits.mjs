// Counts what each invocation of the Worker spends, and refuses it what the platform would refuse it. shim.mjs wraps
// the Worker's bindings, its storage and `fetch` with what is here when --limits is on.
//
// One interpreter serves many invocations at once, and objects keep their bindings from one to the next. So it is not
// a wrapper that belongs to an invocation but the code that runs: Python keeps the invocation's number in a context
// variable, which each task inherits from the one that made it, and a wrapper asks for it at each call.

// Cloudflare's limits pages for Workers and D1. Each statement of a batch counts as one; every subrequest counts,
// those to Cloudflare's own services too, although the platform allows a free Worker more of these.
const PLANS = {
  free: { subrequests: 50, statements: 50 },
  paid: { subrequests: 1000, statements: 1000 },
};
const CONNECTIONS = 6; // may wait for their answer's headers at once; more wait for their turn
const QUEUE_OPERATION_BYTES = 64 * 1024;

// In Python: who runs, and for how long. All of it runs as handles of the event loop. The clock moves here while code
// runs, which it does not on the hosted platform; it has a resolution of 1 ms and counts wall time.
export const METERING = `
def _make_meter():
    import asyncio
    import inspect
    import time
    from contextvars import ContextVar

    invocation = ContextVar("invocation", default=0)
    seconds = {}
    run = asyncio.Handle._run

    def timed(handle):
        started = time.perf_counter()
        try:
            return run(handle)
        finally:
            number = handle._context.get(invocation, 0)
            seconds[number] = seconds.get(number, 0.0) + time.perf_counter() - started

    asyncio.Handle._run = timed

    async def call(number, function, *arguments):
        invocation.set(number)
        answer = function(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def wait(number, awaitable):
        invocation.set(number)
        return await awaitable

    return invocation.get, call, wait, lambda number: seconds.pop(number, 0.0)

_meter = _make_meter()
`;

const meters = new Map();
let python; // { current, call, wait, takeSeconds, heapMegabytes }, once the interpreter runs
let opened = 0;

/** Takes up the functions that METERING has made. */
export function attach(interpreter) {
  const [current, call, wait, takeSeconds] = interpreter.globals.get("_meter");
  // WebAssembly's memory never shrinks, and all invocations of an isolate share it: it is the most that they ever held.
  const heapMegabytes = () => Math.ceil(interpreter._module.HEAPU8.length / 1e6);
  python = { current, call, wait, takeSeconds, heapMegabytes };
}

/** The meter of the invocation whose Python code runs now; undefined while there is none. */
export const running = () => python && meters.get(python.current());

/** One invocation's use. `open` begins it; it ends when all that holds on to it has let go, and prints its line. */
class Meter {
  constructor(plan, { activity, className, name, values }) {
    this.number = ++opened;
    this.plan = PLANS[plan];
    this.facts = { handler: activity ? `${className}.${name}` : name };
    this.activity = activity;
    this.startedAt = Date.now();
    this.holds = 0;
    this.active = 0;
    this.turns = [];
    this.cursors = [];
    this.spent = {
      subrequests: 0,
      d1_statements: 0,
      queue_operations: 0,
      most_waiting: 0,
      rows_read: 0,
      rows_written: 0,
      object_rows_read: 0,
      object_rows_written: 0,
    };
    if (activity && ++activity.invocations === 1) activity.since = this.startedAt;
    if (name === "fetch") this.facts.request = `${values[0].method} ${new URL(values[0].url).pathname}`;
    // A read and a deletion for each delivery. One that is retried is not deleted: this is on the safe side.
    if (name === "queue" && !activity) this.spent.queue_operations += 2 * values[0].messages.length;
    meters.set(this.number, this);
  }

  /** Calls a Python function as a part of this invocation, which does not end before it has returned. */
  call(...values) {
    return this.hold(python.call(this.number, ...values));
  }

  /** Waits for a Python awaitable as a part of this invocation. */
  wait(awaitable) {
    return this.hold(python.wait(this.number, awaitable));
  }

  async hold(answer) {
    this.holds++;
    try {
      return await answer;
    } finally {
      if (--this.holds === 0) this.end();
    }
  }

  end() {
    meters.delete(this.number);
    for (const cursor of this.cursors) {
      this.spent.object_rows_read += cursor.rowsRead;
      this.spent.object_rows_written += cursor.rowsWritten;
    }
    const now = Date.now();
    const cpuMilliseconds = Math.round(python.takeSeconds(this.number) * 1e3);
    const times = { cpu_ms: cpuMilliseconds, ms: now - this.startedAt, heap_mb: python.heapMegabytes() };
    // An object is billed for the time in which any invocation is under way, once.
    if (this.activity) times.object_ms = --this.activity.invocations === 0 ? now - this.activity.since : 0;
    console.log(JSON.stringify({ event: "metered", ...this.facts, ...this.spent, ...times }));
  }

  refuse(limit, message) {
    this.spent.passed = limit;
    throw new Error(message);
  }

  /** Books a subrequest and makes it, at once if a connection is free. */
  async connect(call) {
    if (++this.spent.subrequests > this.plan.subrequests) {
      this.refuse("subrequests", "Too many subrequests by single Worker invocation.");
    }
    this.spent.most_waiting = Math.max(this.spent.most_waiting, this.active + this.turns.length + 1);
    if (this.active < CONNECTIONS) this.active++;
    else await new Promise((turn) => this.turns.push(turn));
    try {
      return await call();
    } finally {
      if (this.turns.length > 0) this.turns.shift()();
      else this.active--;
    }
  }

  /** Books statements, sends them to D1 and books the rows that it says they cost. */
  async query(statements, call) {
    this.spent.d1_statements += statements;
    if (this.spent.d1_statements > this.plan.statements) {
      this.refuse("d1_statements", "D1_ERROR: Too many API requests by single Worker invocation.");
    }
    const answer = await this.connect(call);
    for (const { meta } of [answer].flat()) {
      this.spent.rows_read += meta?.rows_read ?? 0;
      this.spent.rows_written += meta?.rows_written ?? 0;
    }
    return answer;
  }
}

/** Begins an invocation. `activity` is its object's, { invocations, since }; undefined for the Worker itself. */
export const open = (plan, invocation) => new Meter(plan, invocation);

// ---- Wrappers ---------------------------------------------------------------------------------------------

const originals = new WeakMap();

/** A stand-in for `target` whose methods of these names are replaced; a replacement gets (meter, method, arguments). */
function replacing(target, replacements, otherwise) {
  const proxy = new Proxy(target, {
    get(_, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function" || typeof name !== "string" || name === "constructor") return value;
      const replacement = Object.hasOwn(replacements, name) ? replacements[name] : otherwise;
      const method = (...values) => Reflect.apply(value, target, values);
      return replacement === undefined ? method : (...values) => replacement(running(), method, values);
    },
  });
  originals.set(proxy, target);
  return proxy;
}

const one = (meter, method, values) => (meter ? meter.query(1, () => method(...values)) : method(...values));

const statement = (target) =>
  replacing(target, {
    bind: (_, method, values) => statement(method(...values)),
    run: one,
    all: one,
    first: one,
    raw: one,
  });

const database = (target) =>
  replacing(target, {
    prepare: (_, method, values) => statement(method(...values)),
    batch(meter, method, [list]) {
      const statements = Array.from(list, (item) => originals.get(item) ?? item);
      return meter ? meter.query(statements.length, () => method(statements)) : method(statements);
    },
    exec: one,
  });

/** Sends and the operations that they cost: one for each message and 64 KB of it. */
function sending(bodies) {
  return (meter, method, values) => {
    if (!meter) return method(...values);
    for (const body of bodies(values[0])) {
      const bytes = JSON.stringify(body)?.length ?? 0;
      meter.spent.queue_operations += Math.max(1, Math.ceil(bytes / QUEUE_OPERATION_BYTES));
    }
    return meter.connect(() => method(...values));
  };
}

const queue = (target) =>
  replacing(target, {
    send: sending((body) => [body]),
    sendBatch: sending((messages) => Array.from(messages, ({ body }) => body)),
  });

const remote = (meter, method, values) => (meter ? meter.connect(() => method(...values)) : method(...values));
const stub = (target) => replacing(target, {}, remote);
const stubs = (_, method, values) => stub(method(...values));
const namespace = (target) => replacing(target, { get: stubs, getByName: stubs });

const WRAPPERS = { D1Database: database, WorkerQueue: queue, DurableObjectNamespace: namespace };

/** The Worker's bindings, wrapped. */
export function meteredBindings(bindings) {
  const wrap = ([name, binding]) => [name, (WRAPPERS[binding?.constructor?.name] ?? ((same) => same))(binding)];
  return Object.fromEntries(Object.entries(bindings).map(wrap));
}

/** `fetch`, wrapped. */
export function meteredFetch(fetch) {
  return (...values) => {
    const meter = running();
    return meter ? meter.connect(() => fetch(...values)) : fetch(...values);
  };
}

/** Storage operations of an object, as rows: one for each key, and for each time that the alarm is set or cleared. */
const rows = (field, count) => (meter, method, values) => {
  if (meter) meter.spent[field] += count(values[0]);
  return method(...values);
};
const keys = (given) => (typeof given === "string" ? 1 : (given?.length ?? Object.keys(given ?? {}).length));
const single = () => 1;

function sql(target) {
  return replacing(target, {
    exec(meter, method, values) {
      const cursor = method(...values);
      meter?.cursors.push(cursor); // it counts on while its rows are read
      return cursor;
    },
  });
}

const STORAGE = {
  get: rows("object_rows_read", keys),
  list: rows("object_rows_read", single),
  getAlarm: rows("object_rows_read", single),
  put: rows("object_rows_written", keys),
  delete: rows("object_rows_written", keys),
  setAlarm: rows("object_rows_written", single),
  deleteAlarm: rows("object_rows_written", single),
  deleteAll: rows("object_rows_written", single),
};

/** The context of an object, its storage wrapped. */
export function meteredContext(context) {
  const { storage } = context;
  const wrappedSql = sql(storage.sql);
  const methods = replacing(storage, STORAGE);
  const wrapped = new Proxy(storage, { get: (_, name) => (name === "sql" ? wrappedSql : methods[name]) });
  const state = replacing(context, {});
  return new Proxy(context, { get: (_, name) => (name === "storage" ? wrapped : state[name]) });
}
