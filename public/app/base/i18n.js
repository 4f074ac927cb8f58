// The page's texts in the chosen language, and its formats of numbers and times.
import { now } from "./api.js";
import { prefs } from "./prefs.js";

const known = {}; // by name: the text in English and in Chinese
const made = new Map();

const isChinese = () => prefs().language === "zh";
const locale = () => (isChinese() ? "zh-CN" : "en-GB");
const said = (name) => known[name]?.[isChinese() ? 1 : 0];

/** Returns a formatter of this kind for the language, made once. */
function form(kind, options = {}) {
  const name = `${kind} ${locale()} ${JSON.stringify(options)}`;
  if (!made.has(name)) made.set(name, new Intl[kind](locale(), options));
  return made.get(name);
}

export async function learn(part) {
  const { default: words } = await import(`../../words/${part}.js`);
  Object.assign(known, words);
}

/** The text with this name, with each `{name}` in it replaced by its value. */
export function t(name, values = {}) {
  const words = said(name) ?? name;
  return words.replace(/\{(\w+)\}/g, (_, key) => (key in values ? shown(values[key]) : `{${key}}`));
}

/** As `t`, but the text for the number 1 has a name that ends with `One`. */
export const count = (name, number, values = {}) =>
  t(number === 1 && said(`${name}One`) ? `${name}One` : name, { n: number, ...values });

const shown = (value) => (typeof value === "number" ? whole(value) : String(value));

export const whole = (number) => form("NumberFormat", { maximumFractionDigits: 1 }).format(number);
export const percent = (part) =>
  form("NumberFormat", { style: "percent", maximumFractionDigits: part < 0.1 ? 1 : 0 }).format(part);

/** An amount of dollars, a decimal text with nine decimals, without the last zeros. */
export const dollars = (amount) => `$${amount.replace(/(\.\d\d\d*?)0+$/, "$1")}`;

/** The share of a text that has outputs, rounded down. */
export const covered = (share) =>
  form("NumberFormat", { style: "percent", maximumFractionDigits: 1 }).format(Math.floor(share * 1000 + 1e-6) / 1000);

const UNITS = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** How long ago or how far ahead a time is, by the server's clock. */
export function relative(time) {
  const seconds = (Date.parse(time) - now()) / 1000;
  const [unit, size] = UNITS.find(([, least]) => Math.abs(seconds) >= least) ?? UNITS.at(-1);
  return form("RelativeTimeFormat", { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

export const absolute = (time) =>
  form("DateTimeFormat", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  }).format(new Date(time));

export const clock = (time) => form("DateTimeFormat", { timeStyle: "medium" }).format(new Date(time));
/** A time of day with hundredths of a second. */
export const fineClock = (time) =>
  form("DateTimeFormat", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 2 }).format(new Date(time));
export const hour = (time, day) => form("DateTimeFormat", { ...(day && { weekday: "short" }), hour: "2-digit", minute: "2-digit" }).format(new Date(time));

/** A duration in units that fit its length. */
export function span(milliseconds) {
  const unit = (value, name, digits = 0) =>
    form("NumberFormat", { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: digits }).format(
      value,
    );
  const seconds = milliseconds / 1000;
  if (seconds < 1) return unit(Math.round(milliseconds), "millisecond");
  if (seconds < 60) return unit(seconds, "second", 1);
  if (seconds < 3600) return `${unit(Math.floor(seconds / 60), "minute")} ${unit(Math.round(seconds % 60), "second")}`;
  if (seconds < 86_400) return `${unit(Math.floor(seconds / 3600), "hour")} ${unit(Math.floor((seconds % 3600) / 60), "minute")}`;
  return `${unit(Math.floor(seconds / 86_400), "day")} ${unit(Math.floor((seconds % 86_400) / 3600), "hour")}`;
}

export function bytes(size) {
  const [unit, by] = [["giga", 1e9], ["mega", 1e6], ["kilo", 1e3]].find(([, least]) => size >= least) ?? ["", 1];
  return form("NumberFormat", { style: "unit", unit: `${unit}byte`, unitDisplay: unit ? "short" : "long", maximumFractionDigits: 1 }).format(size / by);
}

/** Explains an error: what the page says, and what it quotes of the server's answer. An error of the page has no status. */
export function explained(error) {
  const name = `error.${error.code}`;
  if (name in known) return [t(name), error.code === "forbidden" ? error.message : ""];
  if (error.status === undefined) return [error.message, ""];
  const others = (error.fields ?? []).filter(({ message }) => !error.message.includes(message));
  return [t("error.other", { status: error.status }), [error.message, ...others.map(({ field, message }) => `${field} ${message}`)].filter(Boolean).join("; ")];
}
