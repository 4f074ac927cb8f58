"""Sums up the day's papers at night: `python examples/digest.py examples/contracts 02:00`.

The task is submitted at once, and no model call starts before the time (UTC). The program then waits for the digest and
prints it. Start it each evening, by cron for example. If it is stopped and started again before the time, it finds the
same task, because the name of the submission comes from the night and the papers.
"""

import hashlib
import json
import os
import sys
import urllib.request
from datetime import UTC, datetime, time, timedelta
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


papers = sorted(Path(sys.argv[1]).glob("*.txt"))
text = "\n\n".join(f"# {paper.name}\n\n{paper.read_text('utf-8')}" for paper in papers)
now = datetime.now(UTC)
start = datetime.combine(now, time.fromisoformat(sys.argv[2]), UTC)
start += timedelta(days=start < now)
submission = {
    "input": text,
    "instructions": "Sum up each paper in one sentence.",
    "notBefore": start.isoformat(),
    "deadlineSeconds": 4 * 3600,  # from that time on: a digest that is not there at breakfast is of no use
    "metadata": {"name": f"digest of {start:%d %B}"},
}
name = hashlib.sha256(f"{start:%F} {text}".encode()).hexdigest()[:32]
task = ask("/api/tasks", submission, **{"Idempotency-Key": f"digest-{name}"})
if task["waitingFor"]:
    print(f"{len(papers)} papers, {task['waitingFor']['reason']}, {task['usage']['modelCalls']} model calls so far")
while not task["terminal"]:
    task = ask(f"/api/tasks/{task['id']}?wait=25")
if task["status"] != "completed":
    sys.exit(f"{task['status']}: {task['error']}")
begun = datetime.fromisoformat(task["startedAt"])
print(f"begun {'after' if begun >= start else 'BEFORE'} {sys.argv[2]}\n\n{task['result']['output']}")
