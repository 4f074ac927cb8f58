// What every view imports: elements from templates, and hooks. Text becomes text nodes; nothing here takes markup.
import { h, render } from "../../vendor/preact.js";
import htm from "../../vendor/htm.js";

export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/hooks.js";
export { render };
export const html = htm.bind(h);
