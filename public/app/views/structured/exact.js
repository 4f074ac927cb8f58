// Reads JSON without changing a number: JavaScript would show 9007199254740993 as 9007199254740992.

/** A number with the digits of its JSON text. */
export class Exact {
  constructor(source) {
    this.source = source;
  }
}

const isChanged = (value, source) => typeof value === "number" && source !== undefined && source !== String(value);
const keep = (_, value, context) => (isChanged(value, context?.source) ? new Exact(context.source) : value);

/** Parses a JSON text. Only a text with a long number is parsed in the slow way that keeps all digits. */
export const readExactly = (text) => (/\d{16}/.test(text) ? JSON.parse(text, keep) : JSON.parse(text));

/** Whether a value is an object or a list. */
export const isNode = (value) => typeof value === "object" && value !== null && !(value instanceof Exact);
