// Makes Miniflare's queue broker deliver to several consumers at a time, as the platform does. Miniflare's unchanged
// broker waits for the end of each delivery before the next, so that one slow model call would delay every other task.
// The broker's batches, retries, delays and dead letters stay as they are (decision 0022).
import { QUEUES_PLUGIN } from "./npm.mjs";

const CONSUMERS = 10; // the platform allows 250 consumers, but here one interpreter serves all of them

// Each entry is a text that occurs once in the broker's code, and its replacement. The original broker has one pending
// delivery, which it forgets when the delivery ends. The changed broker forgets it when the delivery begins, and counts
// the deliveries.
const CHANGES = [
  ["#pendingFlush;", "#pendingFlush; #deliveries = 0;"],
  [
    "this.#backlogBytes -= batch.reduce((total, msg) => total + msg.bytes, 0);",
    `$& this.#pendingFlush = void 0; this.#deliveries++; if (this.#messages.length > 0) this.#ensurePendingFlush();`,
  ],
  [
    "this.#pendingFlush = void 0, this.#messages.length > 0 && this.#ensurePendingFlush()",
    "this.#deliveries--, this.#messages.length > 0 && this.#ensurePendingFlush()",
  ],
  ["#ensurePendingFlush() {", `$& if (this.#deliveries >= ${CONSUMERS}) return;`],
];

/** Changes the brokers of every Miniflare that is started after this call. */
export function deliverInParallel() {
  const { getServices } = QUEUES_PLUGIN;
  QUEUES_PLUGIN.getServices = async (options) => {
    const services = await getServices.call(QUEUES_PLUGIN, options);
    const modules = services.flatMap(({ worker }) => worker?.modules ?? []);
    for (const module of modules.filter(({ name }) => name === "broker.worker.js")) {
      module.esModule = changed(module.esModule);
    }
    return services;
  };
}

function changed(source) {
  for (const [part, replacement] of CHANGES) {
    if (source.split(part).length !== 2) throw new Error("Miniflare's queue broker has changed: see local/runtime/queue.mjs");
    source = source.replace(part, replacement);
  }
  return source;
}
