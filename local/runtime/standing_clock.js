
// ---- The hosted clock (local/runtime/standing_clock.js), behind Emscripten's JavaScript in the bundle with the standing clock ----
//
// Cloudflare's clock is set when control enters the isolate, stands still until it leaves, and never goes beyond the next
// timeout, so that a timer's callback sees exactly the millisecond that it was set for (cloudflare/workerd,
// src/workerd/io/io-channels.h, TimerChannel). workerd on a machine of one's own lets it run. This emulates the hosted one.
//
// JavaScript is not told when a turn begins. The first look at the clock in a turn holds it, and a timer lets go of it
// again, which runs when the turn has ended. An event in between sees a clock that is late by the length of a turn. So does
// the next invocation where that timer was lost with the one before, and what it waits for is as late: up to LATE_MS.
{
    const systemNow = Date.now.bind(Date), systemSetTimeout = globalThis.setTimeout.bind(globalThis);
    const LOST_MS = 250; // longer than a turn: the timer's invocation has ended before it, and took it along
    const LATE_MS = 250; // a timer that would show an older time than this shows the system's
    let held, heldAt = 0, latest = 0;

    const release = () => { held = undefined; };
    const hold = (time) => {
        systemSetTimeout(release, 0); // first: it throws outside of any invocation
        heldAt = systemNow();
        held = latest = Math.max(heldAt - time > LATE_MS ? heldAt : time, latest); // never back
    };
    const now = () => {
        try {
            if (held === undefined) hold(systemNow());
            else if (systemNow() - heldAt > LOST_MS) hold(systemNow());
        } catch {
            return systemNow(); // there are no timers while the Worker is imported, and nothing waits
        }
        return held;
    };
    Date.now = now;
    Object.defineProperty(performance, "now", { value: now, configurable: true, writable: true });
    globalThis.setTimeout = (callback, delay, ...values) => {
        const due = now() + Math.max(0, Math.trunc(Number(delay) || 0));
        return systemSetTimeout((...given) => { hold(due); callback(...given); }, delay, ...values);
    };
}
