"""Turns a folder of contracts into one table: `python examples/contracts.py examples/contracts > contracts.csv`.

Each contract is a task of its own, so that one that fails leaves the others alone. All run at once. A second run finds
the tasks of the first, and pays for changed contracts only. `ends` is a quote: onceover finds it in the contract and
says where it stands, so that a person can check it. What is not in the contract is left empty.
"""

import csv
import hashlib
import json
import os
import sys
import urllib.request
from pathlib import Path

URL = os.environ.get("ONCEOVER_URL", "http://127.0.0.1:8787")
KEY = os.environ.get("ONCEOVER_KEY", "none")
FIELDS = ("title", "parties", "ends")
ENDS = "The sentence that says when the contract ends or is due, word for word."
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "parties": {"type": "string"},
        "ends": {"type": ["string", "null"], "x-onceover": "quote", "description": ENDS},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}


def ask(path, body=None, **headers):
    """Send a request, and return its answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers |= {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def submit(file):
    """Submit a contract, or find the task of an earlier run."""
    text = file.read_text("utf-8")
    submission = {
        "input": text,
        "instructions": "Fill in the contract's title and its parties, and quote when it ends or is due.",
        "outputSchema": SCHEMA,
        "join": {f"/{name}": "first" for name in FIELDS},
        "metadata": {"name": file.name},
    }
    return ask("/api/tasks", submission, **{"Idempotency-Key": "contract-" + hashlib.sha256(text.encode()).hexdigest()})


tasks = {file.name: submit(file)["id"] for file in sorted(Path(sys.argv[1]).glob("*.txt"))}
table = csv.writer(sys.stdout, lineterminator="\n")
table.writerow(("file", *FIELDS, "from character"))
for name, task_id in tasks.items():
    while not (task := ask(f"/api/tasks/{task_id}?wait=25"))["terminal"]:
        pass
    if task["status"] == "completed":
        result = task["result"]
        places = {quote["pointer"]: quote["start"] for quote in result["quotes"]}
        table.writerow((name, *(result["value"][field] for field in FIELDS), places.get("/ends")))
    else:
        print(f"{name}: {task['status']}, {task['error']}", file=sys.stderr)
