// Serves one reference as local/runtime/host.mjs serves onceover: the same Miniflare, queue broker and storage
// location. Arguments: the reference's name, the folder for its state, the model's base URL.
import fs from "node:fs";
import path from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { migrate } from "../../local/runtime/front_database.mjs";
import { readMigrations } from "../../local/runtime/migrations.mjs";
import { printRuntimeOutput, say } from "../../local/runtime/output.mjs";
import { deliverInParallel } from "../../local/runtime/queue.mjs";

const here = import.meta.dirname;
const [name, persistTo, baseUrl] = process.argv.slice(2);

const BINDINGS = {
  seed: {
    d1Databases: { DB: "seed" },
    queueProducers: { AI_QUEUE: "ai-processing-queue" },
    queueConsumers: {
      "ai-processing-queue": {
        maxBatchSize: 1,
        maxBatchTimeout: 30,
        maxRetries: 2,
        deadLetterQueue: "ai-processing-dlq",
      },
      "ai-processing-dlq": { maxBatchSize: 10, maxBatchTimeout: 5, maxRetries: 2 },
    },
    durableObjects: {
      AI_PROCESSOR: { className: "AIProcessor", useSQLite: true },
      BATCH_COORDINATOR: { className: "BatchCoordinator", useSQLite: true },
    },
  },
  workflows: { workflows: { TASKS: { name: "tasks", className: "TaskWorkflow" } } },
};

deliverInParallel();
const options = {
  cf: false,
  log: new Log(LogLevel.NONE),
  handleStructuredLogs: printRuntimeOutput,
  telemetry: { enabled: false },
  host: "127.0.0.1",
  port: 0,
  resourcePersistencePath: path.join(persistTo, "v3"),
  name,
  modulesRoot: here,
  modules: [`${name}.mjs`, "model_call.mjs"].map((file) => ({
    type: "ESModule",
    path: path.join(here, file),
    contents: fs.readFileSync(path.join(here, file), "utf8"),
  })),
  compatibilityDate: "2026-09-08", // the date of wrangler.toml
  bindings: { AI_BASE_URL: baseUrl, AI_API_KEY: "test-key", AI_MODEL: "test-model" },
  ...BINDINGS[name],
};
const miniflare = new Miniflare(convertV4MiniflareOptions(options));
const url = await miniflare.ready;
if (BINDINGS[name].d1Databases) {
  await migrate(await miniflare.getD1Database("DB"), readMigrations(path.resolve(here, "../.."), path.join(here, "migrations")));
}
say(`Ready on http://127.0.0.1:${url.port}`);
