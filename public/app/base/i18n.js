// The page's texts in the chosen language, and its formats of numbers and times.
import { now } from "./api.js";
import { choose, prefs } from "./prefs.js";

const known = { en: {}, zh: {} };
const learned = new Set(); // parts of the page whose words are known in the chosen language
const LOCALES = { en: "en-GB", zh: "zh-CN" };
const made = new Map();

const locale = () => LOCALES[prefs().language] ?? LOCALES.en;

/** Returns a formatter of this kind for the language, made once. */
function form(kind, options = {}) {
  const name = `${kind} ${locale()} ${JSON.stringify(options)}`;
  if (!made.has(name)) made.set(name, new Intl[kind](locale(), options));
  return made.get(name);
}

/** Loads the texts of one part of the page. */
export async function learn(part, language = prefs().language) {
  learned.add(part);
  const { default: words } = await import(`../../words/${language}/${part}.js`);
  Object.assign(known[language], words);
}

/** Changes the language after loading its texts. */
export async function speak(language) {
  await Promise.all([...learned].map((part) => learn(part, language)));
  choose("language", language);
}

/** The text with this name, with each `{name}` in it replaced by its value. */
export function t(name, values = {}) {
  const words = known[prefs().language][name] ?? name;
  return words.replace(/\{(\w+)\}/g, (_, key) => (key in values ? shown(values[key]) : `{${key}}`));
}

/** As `t`, but the text for the number 1 has a name that ends with `One`. */
export const count = (name, number, values = {}) =>
  t(number === 1 && `${name}One` in known[prefs().language] ? `${name}One` : name, { n: number, ...values });

const shown = (value) => (typeof value === "number" ? whole(value) : String(value));

export const whole = (number) => form("NumberFormat", { maximumFractionDigits: 1 }).format(number);
export const percent = (part) =>
  form("NumberFormat", { style: "percent", maximumFractionDigits: part < 0.1 ? 1 : 0 }).format(part);

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
  return form("NumberFormat", { style: "unit", unit: `${unit}byte`, maximumFractionDigits: 1 }).format(size / by);
}

/** The text that explains an error. */
export function explained(error) {
  const name = `error.${error.code}`;
  if (name in known[prefs().language]) return t(name, { detail: error.message });
  const others = (error.fields ?? []).filter(({ message }) => !error.message.includes(message));
  const fields = others.map(({ field, message }) => `${field} ${message}`).join("; ");
  return [error.message || t("error.other", { status: error.status ?? "" }), fields].filter(Boolean).join(" ");
}
