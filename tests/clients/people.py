"""What `structured.py` and `.mjs` must print, and their model: a person a paragraph, as real models write."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clients.cutting_proxy import FATES, CuttingProxy
from tests.clients.walking import run
from tests.support.client import Client
from tests.support.model_plan import Behaviour, Call, ok

_NAME = re.compile(r"\b(?:Ann|Bob|Cyd|Dan|Eve|Zed)\b")
_DISGUISES = {"Bob": "```json\n{}\n```", "Cyd": "<think>Who is it?</think>\nThis is what I found: {} I hope it helps."}


def person(name: str) -> dict[str, object]:
    known = name != "Cyd"
    return {
        "name": name,
        "role": "author" if name in {"Ann", "Eve"} else "reader",
        "age": 30 if known else None,
        "born": "1995-02-28" if known else None,
    }


class PeopleModel:
    """Decides the answers: of three tasks about Zed only the second, a gap's retry, gets a valid one."""

    def __init__(self) -> None:
        self._about_zed = 0

    def __call__(self, call: Call) -> Behaviour:
        names = _NAME.findall(call.assistant or call.user)
        asked_again = call.assistant != ""
        if names == ["Zed"]:
            self._about_zed += not asked_again
            if self._about_zed % 3 != 2:
                return ok('{"people": "Zed"}')
        if names == ["Eve"] and not asked_again:
            return ok('{"people": ["Eve"]}')
        value: dict[str, object] = {"people": [person(name) for name in names]}
        if "headline" in call.system:
            value["headline"] = "Everybody"
        text = json.dumps(value)
        if names == ["Dan"]:
            text = text[:-1] + ",}"
        return ok(_DISGUISES.get(names[0], "{}").replace("{}", text) if len(names) == 1 else text)


_ALL = {"people": [person(name) for name in ("Ann", "Bob", "Cyd", "Dan", "Eve")]}
_REPORT = {"headline": "Everybody", **_ALL}
_WITH_A_GAP = {"people": [person(name) for name in ("Ann", "Eve")]}
_RETRIED = {"people": [person(name) for name in ("Ann", "Zed", "Eve")]}
EXPECTED: dict[str, Any] = {
    **{fate: {"broken": fate.startswith("cut"), "streamed": _ALL, "again": _ALL, "retrieved": _ALL} for fate in FATES},
    "merged": {"broken": False, "streamed": _REPORT, "again": _REPORT, "retrieved": _REPORT},
    "parse": {"at_once": ["queued", None], "retrieved": _ALL},
    "gap": {
        "ends": ["response.incomplete", "incomplete"],
        "text": _WITH_A_GAP,
        "retrieved": _WITH_A_GAP,
        "again": _RETRIED,
    },
    "failed": {
        "ends": ["response.failed", "failed"],
        "code": "server_error",
        "ours": "invalid_output",
        "retrieved": "",
    },
}
TASKS = 10  # one task for each entry, and one for the retry


def check_structured(command: Sequence[str | Path], url: str) -> str:
    """Run a program through a proxy that breaks answers; each repeated submission must have joined."""
    with Client(url) as native:
        before = len(_tasks(native))
        proxy = CuttingProxy(url)
        try:
            seen = run([*command, proxy.url, url])
        finally:
            proxy.shutdown()
            proxy.server_close()
        assert seen == EXPECTED, {name: value for name, value in seen.items() if value != EXPECTED.get(name)}
        assert len(_tasks(native)) - before == TASKS
    assert proxy.broken == {"whole": 0, "lost": 8, "cut3": 1, "cut6": 1, "cut9": 1}, proxy.broken
    return "structured outputs"


def _tasks(native: Client) -> list[Any]:
    answer = native.http.get("/api/tasks", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    tasks: list[Any] = answer.json()["tasks"]
    assert len(tasks) < 100
    return tasks
