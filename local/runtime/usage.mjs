// Counts the day's use of the free plan's daily quotas: what the metered invocations of all environments have spent
// since midnight UTC. The counts are stored beside the local state. The Worker reads the day's use through a binding
// that exists only locally.
import fs from "node:fs";
import path from "node:path";
import { Response } from "./npm.mjs";

const SAVE_MILLISECONDS = 1000;
const REPORT_MILLISECONDS = 60_000;
const MEGABYTES_OF_AN_OBJECT = 128; // the memory that Cloudflare bills for each active object, whatever it uses

const nothing = (day) => ({
  day,
  requests: 0,
  rowsRead: 0,
  rowsWritten: 0,
  queueOperations: 0,
  objectRequests: 0,
  objectRowsWritten: 0,
  objectGbSeconds: 0,
});

const today = () => new Date().toISOString().slice(0, 10);

export class DayUse {
  #file;
  #use;
  #saving;
  #reported = 0;

  constructor(persistTo) {
    this.#file = path.join(persistTo, "usage.json");
    this.#use = read(this.#file);
  }

  /**
   * Adds the figures of a line of the Worker's output, if the meter wrote it. `print` gets a report from time to time.
   */
  observe(line, print) {
    if (!line.startsWith('{"event":"metered"')) return;
    const spent = JSON.parse(line);
    const use = this.current();
    if ("object_ms" in spent) {
      use.objectRequests += 1;
      use.objectGbSeconds += (spent.object_ms / 1000) * (MEGABYTES_OF_AN_OBJECT / 1000);
    } else {
      use.requests += 1; // invocations by cron and by queues count too
    }
    use.rowsRead += spent.rows_read;
    use.rowsWritten += spent.rows_written;
    use.queueOperations += spent.queue_operations;
    use.objectRowsWritten += spent.object_rows_written;
    this.#saving ??= setTimeout(() => this.#save(), SAVE_MILLISECONDS).unref();
    if (Date.now() - this.#reported >= REPORT_MILLISECONDS) {
      this.#reported = Date.now();
      print(JSON.stringify({ event: "day_use", ...use }));
    }
  }

  /** Returns the day's use, which is 0 at the beginning of a day. */
  current() {
    if (this.#use.day !== today()) this.#use = nothing(today());
    return this.#use;
  }

  /** Returns the answer to the Worker's binding. */
  answer = () => Response.json(this.current());

  #save() {
    this.#saving = undefined;
    fs.writeFileSync(`${this.#file}.new`, JSON.stringify(this.#use));
    fs.renameSync(`${this.#file}.new`, this.#file);
  }
}

function read(file) {
  try {
    return { ...nothing(today()), ...JSON.parse(fs.readFileSync(file, "utf8")) };
  } catch {
    // If the file is missing or unreadable, the count begins at 0, since it is only an estimate.
    return nothing(today());
  }
}
