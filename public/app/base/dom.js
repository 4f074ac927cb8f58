// The functions of Preact that every view imports: templates (`html`) and hooks. Text in a template becomes a text
// node, never markup.
import { h, render } from "../../vendor/preact.js";
import htm from "../../vendor/htm.js";

export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/hooks.js";
export { render };
export const html = htm.bind(h);
