"""`python -m tests.suites` holds onceover against the tests that others wrote for the standards that it follows.

- JSON-Schema-Test-Suite, draft 2020-12, as the source distribution of `jsonschema` on PyPI has it. A schema must be
  refused exactly if it has a form that the contract does not list; then each value must be judged as the suite says.
- Standard Webhooks: its libraries in Python and JavaScript must accept what onceover signs, and nothing that was
  changed afterwards.
- MCP's conformance: its scenarios for servers against `make dev`, and the protocol's inspector, which also judges the
  schemas of the tools.

What differs on purpose stands in `DIFFERENCES`, with the reason. Anything else fails. A suite whose package cannot be
had is skipped, and the program says so. The figures are printed.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from local.node import find_node
from simulator.figures import keep_figures
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.formats import FORMATS
from src.features.structured.schema.keywords import SchemaRefused
from src.features.structured.schema.schema import parse_schema
from src.features.webhooks import rules
from tests.support.dev_server import DevServer

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".build" / "suites"
SCHEMAS = ("jsonschema", "4.26.0", "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326")
VERIFIER = "standardwebhooks@1.1.1"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
MESSAGES = 1_000
# Values that onceover judges in another way than the suite, and why, by the suite's file and words of the test.
DIFFERENCES = {
    ("format", "is only an annotation by default"): "A format is asked of the model, so it is checked.",
    ("date-time", "leap second"): "Python's dates and most databases have no second 60.",
    ("time", "leap second"): "Python's times and most databases have no second 60.",
}
# MCP's scenarios that onceover does not pass, by the beginnings of their names, and why.
SCENARIOS_APART = {
    ("tools-call-", "json-schema-2020-12", "server-sse-polling"): "They call tools of the suite's own.",
    ("elicitation-",): "No tool asks its client anything.",
    ("resources-", "prompts-", "logging-", "completion-"): "onceover has tools alone, and says so in `capabilities`.",
}
# The keywords of CONTRACT section 11 and 14 that may stand in any schema.
KEYWORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$defs"),
    *("definitions", "$ref", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems"),
    *("maxItems", "minLength", "maxLength", "format", "title", "description", "default", "examples", "pattern"),
}
PASSED_BY = {"$comment", "id", "readOnly", "writeOnly", "deprecated"}
BESIDE_A_REFERENCE = PASSED_BY | {"$ref", "$defs", "definitions", "title", "description", "default", "examples"}


class NotToBeHad(Exception):
    """A suite's package could not be installed. The message says what the package manager said."""


def main() -> int:
    """Run the suites, and return 1 if anything differed that is not a difference on purpose."""
    KEPT.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {}
    for name, suite in (
        ("JSON-Schema-Test-Suite", json_schema),
        ("Standard Webhooks", webhooks),
        ("MCP's conformance", mcp),
    ):
        try:
            figures, wrong = suite()
        except NotToBeHad as error:
            print(f"{name}: SKIPPED, because its package cannot be had: {error}")
            report[name] = {"skipped": str(error)}
            continue
        print(f"{name}: {', '.join(f'{count:,} {what}' for what, count in sorted(figures.items()))}")
        print("".join(f"  WRONG: {line}\n" for line in wrong), end="")
        report[name] = {**figures, "wrong": len(wrong)}
    keep_figures(**report)
    return 1 if any(suite.get("wrong") for suite in report.values()) else 0


def json_schema() -> tuple[Counter[str], list[str]]:
    """Judge each case of the suite. Raises NotToBeHad."""
    folder = _test_suite() / "json" / "tests" / "draft2020-12"
    figures, wrong, seen = Counter[str](), list[str](), set[tuple[str, str]]()
    for path in sorted([*folder.glob("*.json"), *folder.glob("optional/format/*.json")]):
        for group in json.loads(path.read_text("utf-8")):
            schema, where = _as_property(group["schema"]), f"{path.stem}: {group['description']}"
            foreign = next(_foreign(schema["properties"]["value"]), None)
            try:
                parsed = parse_schema(schema, strict=False)
            except SchemaRefused as refusal:
                figures["values under refused schemas"] += len(group["tests"])
                if foreign is None:
                    wrong.append(f"{where} is refused: {refusal.reason}")
                continue
            if foreign is not None:
                wrong.append(f"{where} is accepted with {foreign}")
            for test in group["tests"]:
                if (not faults_of(parsed, {"value": test["data"]})) == test["valid"]:
                    figures["values judged alike"] += 1
                elif purpose := _difference(path.stem, test["description"]):
                    figures["values judged otherwise on purpose"] += 1
                    seen.add(purpose)
                else:
                    wrong.append(f"{where}: {test['description']}")
    return figures, [*wrong, *(f"no test differs as {one} says" for one in DIFFERENCES.keys() - seen)]


def webhooks() -> tuple[Counter[str], list[str]]:
    """Let two libraries verify signed messages, whole and changed. Raises NotToBeHad."""
    rng, now = Random(1), int(time.time())
    messages: list[dict[str, Any]] = []
    for number in range(MESSAGES):
        endpoint = rules.EndpointKey(f"local:we_{number:024x}")
        old, new, other = (rules.secret("k" * 32, endpoint, generation) for generation in range(3))
        text = "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0x4E00, 0x9FA5)))) for _ in range(40))
        body = json.dumps({"type": "task.completed", "data": {"id": text}}, ensure_ascii=rng.random() < 0.5)
        headers = rules.headers((new, old) if number % 2 else (new,), f"msg_{number}", now, body)
        secrets = {new: True, old: bool(number % 2), other: False}
        messages += [
            {"body": body, "headers": headers, "secret": one, "valid": valid} for one, valid in secrets.items()
        ]
        late = headers | {"webhook-timestamp": str(now + 1)}
        messages += [
            {"body": f"{body} ", "headers": headers, "secret": new, "valid": False},
            {"body": body, "headers": late, "secret": new, "valid": False},
        ]
    figures, wrong = Counter[str](), list[str]()
    for name, verdicts in (("Python", _python(messages)), ("JavaScript", _javascript(messages))):
        for message, verdict in zip(messages, verdicts, strict=True):
            if verdict == message["valid"]:
                figures["accepted as signed" if verdict else "refused as changed"] += 1
            else:
                wrong.append(f"{name}: {message['headers']['webhook-id']} was {'accepted' if verdict else 'refused'}")
    return figures, wrong


def mcp() -> tuple[Counter[str], list[str]]:
    """Run MCP's scenarios and its inspector against a local server. Raises NotToBeHad."""
    with tempfile.TemporaryDirectory() as folder, DevServer(Path(folder, "state")) as server:
        figures, wrong = conformance(f"{server.url}/mcp")
        inspected, faults = inspected_tools(f"{server.url}/mcp")
    return figures + inspected, wrong + faults


def conformance(url: str) -> tuple[Counter[str], list[str]]:
    """Run the conformance suite's scenarios for servers against a server that needs no key. Raises NotToBeHad."""
    program = ROOT / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    if not program.exists():
        raise NotToBeHad("node_modules has no @modelcontextprotocol/conformance: make install-dev")
    done = _node([program, "server", "--suite", "all", "--url", url])
    figures, wrong = Counter[str](), list[str]()
    for name, passed, failed in re.findall(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE):
        if any(name.startswith(beginnings) for beginnings in SCENARIOS_APART):
            figures["scenarios for what is not offered"] += 1
        elif failed != "0":
            wrong.append(f"the scenario {name} failed")
        else:
            figures["scenarios passed" if passed != "0" else "scenarios that check nothing"] += 1
    return figures, wrong if figures else [f"no scenario ran: {done.stderr[-300:]}"]


def inspected_tools(url: str) -> tuple[Counter[str], list[str]]:
    """Let the inspector list the tools, judge their schemas, and call two of them. Raises NotToBeHad."""
    folder = KEPT / "inspector"
    _run(["npm", "install", "--prefix", str(folder), "--no-save", "--ignore-scripts", "--silent", INSPECTOR])
    program = (
        folder / "node_modules" / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
    )
    calls = (
        ["--method", "tools/list", "--strict"],
        ["--method", "tools/call", "--tool-name", "analyse", "--tool-arg", "input=A text."],
        ["--method", "tools/call", "--tool-name", "list"],
    )
    figures, wrong = Counter[str](), list[str]()
    for call in calls:
        done = _node([program, "--cli", url, "--transport", "http", *call])
        if done.returncode:
            wrong.append(f"the inspector's {' '.join(call)} ended with {done.returncode}: {done.stderr[-300:]}")
        figures["calls by the inspector"] += 1
    return figures, wrong


def _node(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a program of npm in a folder of its own, which is its home too."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "HOME": home}
        return subprocess.run(
            [find_node(), *command], cwd=home, env=environ, capture_output=True, text=True, check=False, timeout=300
        )


def _test_suite() -> Path:
    name, version, digest = SCHEMAS
    packed = KEPT / f"{name}-{version}.tar.gz"
    if not packed.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
        _run([*command, "--dest", str(KEPT), f"{name}=={version}"])
    if hashlib.sha256(packed.read_bytes()).hexdigest() != digest:
        raise NotToBeHad(f"{packed.name} is not the file that was pinned")
    with tarfile.open(packed) as archive:
        archive.extractall(KEPT, filter="data")
    return KEPT / f"{name}-{version}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotToBeHad((done.stderr or done.stdout).strip()[-300:])


def _as_property(schema: Any) -> dict[str, Any]:
    """Put a schema of the suite where onceover takes any schema: below a property of an object."""
    moved = _moved(schema)
    if isinstance(moved, dict):
        moved.pop("$schema", None)
    return {"type": "object", "properties": {"value": moved}, "required": ["value"], "additionalProperties": False}


def _moved(schema: Any) -> Any:
    """Point references to the whole schema to its new place."""
    if isinstance(schema, list):
        return [_moved(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: one if name in {"enum", "const"} else _moved(one) for name, one in schema.items()}
    target = schema.get("$ref")
    if isinstance(target, str) and (target == "#" or target.startswith("#/")):
        moved["$ref"] = f"#/properties/value{target[1:]}"
    return moved


def _foreign(schema: Any) -> Iterator[str]:
    """Yield what a schema has that the contract does not list."""
    if not isinstance(schema, dict):
        yield "a schema that is true or false"
        return
    if "\\u0000" in json.dumps(schema):
        yield "a NUL character"
    names = schema.keys()
    if "$ref" in names:
        yield from (f"{name} beside $ref" for name in names - BESIDE_A_REFERENCE)
        if not isinstance(schema["$ref"], str) or not schema["$ref"].startswith("#/"):
            yield "a reference to another place"
    yield from (name for name in names - KEYWORDS - PASSED_BY if not name.startswith("x-"))
    if not isinstance(schema.get("additionalProperties", False), bool):
        yield "additionalProperties as a schema"
    if "format" in names and schema["format"] not in FORMATS:
        yield f"the format {schema['format']}"
    if "pattern" in names and "format" not in names:
        yield "a pattern without a format"
    for one in _schemas_within(schema):
        yield from _foreign(one)


def _schemas_within(schema: dict[str, Any]) -> Iterator[Any]:
    for name in ("properties", "$defs", "definitions"):
        yield from schema.get(name, {}).values()
    yield from ([schema["items"]] if "items" in schema else [])
    yield from schema.get("anyOf", ())


def _difference(stem: str, description: str) -> tuple[str, str] | None:
    found = (one for one in DIFFERENCES if one[0] == stem and one[1] in description)
    return next(found, None)


def _python(messages: list[dict[str, Any]]) -> Iterator[bool]:
    for message in messages:
        try:
            Webhook(message["secret"]).verify(message["body"], message["headers"])
        except WebhookVerificationError:
            yield False
        else:
            yield True


def _javascript(messages: list[dict[str, Any]]) -> list[bool]:
    """Let the library of npm verify the messages. Raises NotToBeHad."""
    folder = KEPT / "npm"
    _run(["npm", "install", "--prefix", str(folder), "--no-save", "--ignore-scripts", "--silent", VERIFIER])
    program = folder / "verify.mjs"
    program.write_text(
        'import { readFileSync } from "node:fs";\n'
        'import { Webhook } from "standardwebhooks";\n'
        "const verdicts = JSON.parse(readFileSync(0)).map(({ body, headers, secret }) => {\n"
        "  try { new Webhook(secret).verify(body, headers); return true; } catch { return false; }\n"
        "});\n"
        "console.log(JSON.stringify(verdicts));\n"
    )
    done = subprocess.run(
        [str(find_node()), str(program)], input=json.dumps(messages), capture_output=True, text=True, check=True
    )
    verdicts: list[bool] = json.loads(done.stdout)
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
