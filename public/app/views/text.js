// Converts offsets in a text: the API counts code points, and JavaScript counts UTF-16 code units.
const STRIDE = 4096;

/** Cuts a text by code points, in one walk through the text. */
export class CodePoints {
  constructor(text) {
    this.text = text;
    this.marks = [0]; // the code unit at which each STRIDE-th code point begins
    let points = 0;
    for (let unit = 0; unit < text.length; unit += text.codePointAt(unit) > 0xffff ? 2 : 1) {
      if (points > 0 && points % STRIDE === 0) this.marks.push(unit);
      points += 1;
    }
    this.length = points;
  }

  /** The code unit at which a code point begins. */
  unit(point) {
    const mark = Math.min(Math.floor(point / STRIDE), this.marks.length - 1);
    let unit = this.marks[mark];
    for (let left = point - mark * STRIDE; left > 0 && unit < this.text.length; left -= 1) {
      unit += this.text.codePointAt(unit) > 0xffff ? 2 : 1;
    }
    return unit;
  }

  slice(start, end) {
    return this.text.slice(this.unit(start), this.unit(end));
  }
}
