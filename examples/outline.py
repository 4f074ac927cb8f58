"""Makes an outline of a book: `python examples/outline.py examples/english.txt`.

The outputs of the parts are merged, level by level, into one. If you stop the program and start it again, it finds the
same task, because the name of the submission comes from the book.
"""

import hashlib
import json
import os
import sys
import urllib.request
from pathlib import Path

URL = os.environ.get("ONCEOVER_URL", "http://127.0.0.1:8787")
KEY = os.environ.get("ONCEOVER_KEY", "none")


def ask(path, body=None, **headers):
    """Send a request, and return its answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers |= {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


text = Path(sys.argv[1]).read_text("utf-8")
submission = {
    "input": text,
    "instructions": "Outline this part: a heading for each scene, and one sentence about it.",
    "reduce": "merge",
    "maxModelCalls": 60,
}
task = ask("/api/tasks", submission, **{"Idempotency-Key": "outline-" + hashlib.sha256(text.encode()).hexdigest()[:32]})
while not task["terminal"]:
    task = ask(f"/api/tasks/{task['id']}?wait=25")
    print(f"{task['progress']['completed']} of {task['progress']['total']} parts", file=sys.stderr)
if task["status"] != "completed":
    sys.exit(f"{task['status']}: {task['error']}")
print(task["result"]["output"])
print(f"{task['usage']['modelCalls']} model calls", file=sys.stderr)
