// Runs before `main.js`, and requests the first view, its texts and its first data at the same time.
import { askAhead } from "./base/api.js";
import { learn } from "./base/i18n.js";
import { apply } from "./base/prefs.js";
import { listPath, parse, taskPath } from "./base/route.js";
import { isView, read } from "./base/views.js";

apply();
const { view, id, query } = parse(window.location.hash);
const name = isView(view) ? view : "tasks";
const failed = () => {}; // the code that needs the file or the answer asks again, and shows the error
learn("list").catch(failed);
read(name).catch(failed);
if (!document.hidden && name === "tasks") askAhead(listPath({ ...query, counts: true }));
if (!document.hidden && name === "task") askAhead(taskPath(id));
