// Limits the time that parsing Markdown may take. The time that marked takes can grow with the square of a hostile
// text's length, and marked follows nested quotations and lists to any depth.
export const SIZE = 10_000; // code units of a portion, about
const DEPTH_MOST = 24;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;

/**
 * Cuts texts into portions that are parsed one by one: at blank lines outside of code blocks if possible, else
 * anywhere.
 */
export function portionsOf(texts) {
  return texts.flatMap((text) => {
    const portions = [];
    let [start, size, fence] = [0, 0, ""];
    for (const line of text.split(/(?<=\n)/)) {
      const [, mark] = FENCE.exec(line) ?? [];
      if (mark && !fence) fence = mark;
      else if (mark?.startsWith(fence) && line.trim() === mark) fence = "";
      size += line.length;
      if (size < SIZE || (size < 2 * SIZE && (fence || line.trim() !== ""))) continue;
      for (; size > 0; start += 2 * SIZE, size -= 2 * SIZE) portions.push(text.slice(start, start + Math.min(size, 2 * SIZE)));
      [start, size] = [start + size, 0];
    }
    return size > 0 ? [...portions, text.slice(start)] : portions;
  });
}

/** Marked's lexer, except that it leaves deeply nested blocks as text. */
export const lexerOf = (Lexer) =>
  class extends Lexer {
    depth = 0;

    blockTokens(text, tokens = [], ...others) {
      return this.within(text, tokens, () => super.blockTokens(text, tokens, ...others));
    }

    inlineTokens(text, tokens = [], ...others) {
      return this.within(text, tokens, () => super.inlineTokens(text, tokens, ...others));
    }

    within(text, tokens, read) {
      if (this.depth >= DEPTH_MOST) {
        tokens.push({ type: "text", raw: text, text });
        return tokens;
      }
      this.depth += 1;
      try {
        return read();
      } finally {
        this.depth -= 1;
      }
    }
  };
