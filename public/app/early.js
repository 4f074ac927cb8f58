// Runs before the page, as soon as its few imports are there: asks for the first view, its words and its first data, so
// that none of them waits for another.
import { askAhead } from "./base/api.js";
import { learn } from "./base/i18n.js";
import { apply } from "./base/prefs.js";
import { listPath, parse, taskPath } from "./base/route.js";
import { isView, read } from "./base/views.js";

apply();
const { view, id, query } = parse(window.location.hash);
const name = isView(view) ? view : "tasks";
const failed = () => {}; // whoever needs it asks again, and says what went wrong
learn("list").catch(failed);
read(name).catch(failed);
if (!document.hidden && name === "tasks") askAhead(listPath(query));
if (!document.hidden && name === "task") askAhead(taskPath(id));
