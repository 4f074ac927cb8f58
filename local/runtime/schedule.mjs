// Fires the cron triggers on their schedule or at a fixed interval. A trigger does not fire while its last run is not
// finished.
import { Cron } from "croner";

/** Starts to call `fire(cron)` for each trigger. Returns a function that stops these calls. */
export function startSchedule(crons, everySeconds, fire) {
  const busy = new Set();
  const once = async (cron) => {
    if (busy.has(cron)) return;
    busy.add(cron);
    try {
      await fire(cron);
    } finally {
      busy.delete(cron);
    }
  };
  if (everySeconds !== null) {
    const timers = crons.map((cron) => setInterval(once, everySeconds * 1000, cron));
    return () => timers.forEach(clearInterval);
  }
  const jobs = crons.map((cron) => new Cron(cron, { timezone: "UTC" }, () => once(cron)));
  return () => jobs.forEach((job) => job.stop());
}
