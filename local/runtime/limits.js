// Counts what each invocation of the Worker spends, and refuses what the platform would refuse. If limits are on,
// meter.py evaluates this expression in workerd, and wraps the Worker's bindings, storage and `fetch` with the
// functions in the result.
//
// One interpreter serves many invocations at once, and an object uses the same bindings in all its invocations, so that
// a wrapper cannot belong to one invocation. Python keeps the number of the running invocation in a context variable,
// which each task inherits from the task that made it. A wrapper reads this number at each call.
//
// `python` has four functions: current() returns the number of the invocation whose Python code runs,
// takeSeconds(number) returns how long that code has run, takeLongest(number) how long it has run at most without an
// await, and heapMegabytes() returns the memory. WebAssembly's memory never shrinks, and all invocations of an isolate
// share it.
(python) => {
// These limits are from Cloudflare's pages for Workers (subrequests) and D1 (queries). Each statement of a batch counts
// as one query. Subrequests to Cloudflare's own services count too, although the platform allows a free Worker more of
// them.
const PLANS = {
  free: { subrequests: 50, statements: 50 },
  paid: { subrequests: 10000, statements: 1000 },
};
const CONNECTIONS = 6; // the number of connections that may wait for response headers at once, while others queue
const QUEUE_OPERATION_BYTES = 64 * 1024;

const meters = new Map();
let opened = 0;

/** Returns the meter of the invocation whose Python code runs now, or undefined if none runs. */
const running = () => meters.get(python.current());

/** Counts one invocation's use. `open` makes a meter, which prints its line when all its holders have released it. */
class Meter {
  constructor(plan, { queue_operations = 0, ...facts }, activity) {
    this.number = ++opened;
    this.plan = PLANS[plan];
    this.facts = facts;
    this.activity = activity;
    this.startedAt = Date.now();
    this.holds = 1;
    this.active = 0;
    this.turns = [];
    this.cursors = [];
    this.spent = {
      subrequests: 0,
      d1_calls: 0,
      d1_statements: 0,
      queue_operations,
      bucket_writes: 0,
      bucket_reads: 0,
      most_waiting: 0,
      rows_read: 0,
      rows_written: 0,
      object_rows_read: 0,
      object_rows_written: 0,
    };
    if (activity && ++activity.invocations === 1) activity.since = this.startedAt;
    meters.set(this.number, this);
  }

  /** Keeps the invocation open until `release` is called once more. */
  retain() {
    this.holds++;
  }

  release() {
    if (--this.holds === 0) this.end();
  }

  end() {
    meters.delete(this.number);
    for (const cursor of this.cursors) {
      this.spent.object_rows_read += cursor.rowsRead;
      this.spent.object_rows_written += cursor.rowsWritten;
    }
    const now = Date.now();
    const cpu_ms = Math.round(python.takeSeconds(this.number) * 1e3);
    const longest_ms = Math.round(python.takeLongest(this.number) * 1e3);
    const times = { cpu_ms, longest_ms, ms: now - this.startedAt, heap_mb: python.heapMegabytes() };
    // An object is billed for the time in which at least one invocation is under way.
    if (this.activity) times.object_ms = --this.activity.invocations === 0 ? now - this.activity.since : 0;
    console.log(JSON.stringify({ event: "metered", ...this.facts, ...this.spent, ...times }));
  }

  refuse(limit, message) {
    this.spent.passed = limit;
    throw new Error(message);
  }

  /** Counts a subrequest and makes it, once a connection is free. */
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

  /** Counts a call to D1 and its statements, sends them to D1, and counts the rows that D1 reports. */
  async query(statements, call) {
    this.spent.d1_calls++;
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

/**
 * Begins an invocation, whose line gets `facts` and the cost of its event. `activity` is that of the invocation's
 * object, and undefined for the Worker itself.
 */
const open = (plan, facts, activity) => new Meter(plan, JSON.parse(facts), activity);

// ---- Wrappers ---------------------------------------------------------------------------------------------

const originals = new WeakMap();

/**
 * Returns a proxy of `target` in which some methods are replaced. A replacement function is called with (meter, method,
 * arguments).
 */
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

/** Returns how many operations sends of messages cost: one for each 64 KB of each message. */
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

/**
 * Returns how a bucket's method is counted: as a subrequest, and as an operation of R2's class A (writes and lists) or
 * class B (reads) if it has a class. Deletions are free.
 */
const operation = (field) => (meter, method, values) => {
  if (!meter) return method(...values);
  if (field) meter.spent[field]++;
  return meter.connect(() => method(...values));
};

const bucket = (target) =>
  replacing(
    target,
    { get: operation("bucket_reads"), head: operation("bucket_reads"), delete: operation() },
    operation("bucket_writes"),
  );

const remote = (meter, method, values) => (meter ? meter.connect(() => method(...values)) : method(...values));
const stub = (target) => replacing(target, {}, remote);
const stubs = (_, method, values) => stub(method(...values));
const namespace = (target) => replacing(target, { get: stubs, getByName: stubs });

const WRAPPERS = { D1Database: database, WorkerQueue: queue, R2Bucket: bucket, DurableObjectNamespace: namespace };

/** The names of the meter's own bindings, which the Worker does not see. */
const OWN = new Set(["LOCAL_LIMITS", "LOCAL_LIMITS_SOURCE", "UNSAFE_EVAL"]);

/** Returns the Worker's bindings, wrapped. */
function meteredBindings(bindings) {
  const wrap = ([name, binding]) => [name, (WRAPPERS[binding?.constructor?.name] ?? ((same) => same))(binding)];
  return Object.fromEntries(Object.entries(bindings).filter(([name]) => !OWN.has(name)).map(wrap));
}

/** Returns `fetch`, wrapped. */
function meteredFetch(fetch) {
  return (...values) => {
    const meter = running();
    return meter ? meter.connect(() => fetch(...values)) : fetch(...values);
  };
}

/** Returns how many rows an object's storage operation writes: one for each key, and one for a change of the alarm. */
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
      meter?.cursors.push(cursor); // the cursor's count grows while its rows are read
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

/** Returns the context of an object, with wrapped storage. */
function meteredContext(context) {
  const { storage } = context;
  const wrappedSql = sql(storage.sql);
  const methods = replacing(storage, STORAGE);
  const wrapped = new Proxy(storage, { get: (_, name) => (name === "sql" ? wrappedSql : methods[name]) });
  const state = replacing(context, {});
  return new Proxy(context, { get: (_, name) => (name === "storage" ? wrapped : state[name]) });
}

/** Makes the shared record of an object's invocations: how many are under way, and since when without a break. */
const activity = () => ({ invocations: 0, since: 0 });

globalThis.fetch = meteredFetch(globalThis.fetch);
return { activity, bindings: meteredBindings, context: meteredContext, open };
}
