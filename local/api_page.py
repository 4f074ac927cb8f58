"""Makes the text of `docs/api.md` from the API's own description. `local.docs` writes the text to the file."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from src.composition import CATALOGUE

METHODS = ("post", "get", "delete")
# A code that at least this share of the calls lists is a common error: the page explains it once.
COMMON_SHARE = 0.6
# The page's first section. A test runs the commands of this section against a server of its own. In the answers `…`
# stands for omitted values.
EXAMPLE = r"""## An example

Submit a text of two chunks, and wait for its end. You can paste the commands against `make dev`; a deployment also
needs `-H "Authorization: Bearer $KEY"`:

```sh
TASK=$(curl -s -H 'content-type: application/json' -H 'Idempotency-Key: example-1' \
  -d '{"input": "One part.\n\nAnother part.", "chunk": {"maxChars": 14}, "metadata": {"name": "example"}}' \
  http://127.0.0.1:8787/api/tasks | sed 's/.*"self": "\([^"]*\)".*/\1/')
curl -s "http://127.0.0.1:8787$TASK?wait=25&include=chunks"
```

```json
{"id": "01a21072-…", "status": "completed", "terminal": true, "route": "queue",
 "progress": {"total": 2, "completed": 2, "failed": 0, "truncated": 0}, "waitingFor": null,
 "result": {"output": "## One part…"}, "error": null,
 "usage": {"modelCalls": 2, "minimumCalls": 2, "inDoubt": 0, "…": "…"},
 "attempts": 1, "metadata": {"name": "example"}, "createdAt": "…", "startedAt": "…", "finishedAt": "…",
 "links": {"self": "/api/tasks/…", "chunks": "…", "cancel": "…", "retry": "…", "events": "…"},
 "chunks": [{"index": 0, "start": 0, "end": 11, "status": "completed", "output": "## One part…", "…": "…"},
            "…"], "…": "…"}
```

A refusal is a problem. If the text is a number, the answer has the status 422:

```json
{"type": "urn:onceover:problem:invalid_fields", "title": "Some fields have invalid values", "status": 422,
 "detail": "input: must be a string", "code": "invalid_fields",
 "errors": [{"field": "input", "message": "must be a string"}], "requestId": "…"}
```"""


def page() -> str:
    """Return the whole text of `docs/api.md`, in Markdown."""
    described: Any = CATALOGUE.document
    return "\n".join(_lines(described)) + "\n"


def _lines(described: Any) -> Iterator[str]:
    yield "# HTTP API"
    yield ""
    yield "`make docs` generates this page from `/openapi.json`, and `make check` compares the two."
    yield ""
    yield from described["info"]["description"].splitlines()
    yield ""
    yield from EXAMPLE.splitlines()
    calls = [
        (method.upper(), path, item[method])
        for path, item in described["paths"].items()
        for method in METHODS
        if method in item
    ]
    common = shared_errors([operation for _, _, operation in calls])
    yield from _shared_section(common, calls)
    for method, path, operation in calls:
        yield from _call(method, path, operation, common)
    yield ""
    yield "## Headers of every answer"
    yield ""
    headers = described["components"]["headers"]
    yield from (f"- {_always(name, header)}" for name, header in headers.items() if "required" in header)
    yield ""
    yield "With `CORS_ORIGINS` also:"
    yield ""
    yield from (f"- `{name}`: {_with_cors(header)}" for name, header in headers.items() if "required" not in header)
    yield ""
    yield "## Data"
    for name, schema in described["components"]["schemas"].items():
        yield from _model(name, schema)


def _always(name: str, header: Any) -> str:
    value = header["schema"].get("const")
    return f"`{name}`: {header['description']}" if value is None else f"`{name}: {value}`"


def _with_cors(header: Any) -> str:
    return str(header["description"]).removeprefix("With CORS only. ")


def _codes(response: Any) -> dict[str, str]:
    """Return the error codes that a response's description lists, with their meanings; none if it lists no codes."""
    parts = str(response["description"]).split("; ")
    return {part.split("`")[1]: part for part in parts} if all(part.startswith("`") for part in parts) else {}


def shared_errors(operations: list[Any]) -> dict[str, dict[str, str]]:
    """Return, by status, the error codes that most operations list, each with its meaning."""
    listed = Counter(
        (status, code, text)
        for operation in operations
        for status, response in operation["responses"].items()
        for code, text in _codes(response).items()
    )
    common: dict[str, dict[str, str]] = {}
    for (status, code, text), count in sorted(listed.items(), key=lambda item: item[0][0]):
        if count >= COMMON_SHARE * len(operations):
            common.setdefault(status, {})[code] = text
    return common


def _shared(operation: Any, common: dict[str, dict[str, str]]) -> list[str]:
    """Return the statuses at which an operation answers every common code."""
    responses = operation["responses"]
    return [
        status for status in common if status in responses and common[status].keys() <= _codes(responses[status]).keys()
    ]


def _own_headers(response: Any) -> list[str]:
    """Return the headers of a response that not every answer has."""
    return [f"`{name}`" for name, header in response["headers"].items() if "$ref" not in header]


def _shared_section(common: dict[str, dict[str, str]], calls: list[tuple[str, str, Any]]) -> Iterator[str]:
    yield ""
    yield "## Common errors"
    yield ""
    yield "Most calls can answer these. Each call names the statuses that it shares, and lists only its own errors."
    yield ""
    yield "| status | answer | headers | headers that `/v1` adds |"
    yield "| --- | --- | --- | --- |"
    for status, codes in common.items():
        headers: dict[bool, set[str]] = {False: set(), True: set()}
        for _, path, operation in calls:
            if status in _shared(operation, common):
                headers[path.startswith("/v1/")] |= set(_own_headers(operation["responses"][status]))
        native, added = sorted(headers[False]), sorted(headers[True] - headers[False])
        yield f"| {status} | {'; '.join(codes.values())} | {', '.join(native)} | {', '.join(added)} |"


def _call(method: str, path: str, operation: Any, common: dict[str, dict[str, str]]) -> Iterator[str]:
    yield ""
    yield f"## {method} {path}"
    yield ""
    also = f" {operation['description']}" if "description" in operation else ""
    yield f"{operation['summary']}. {_access(operation['security'])}{also}"
    yield ""
    if "requestBody" in operation:
        ((media_type, body),) = operation["requestBody"]["content"].items()
        also = "" if media_type == "application/json" else f", as `{media_type}`"
        yield f"Body: {_type(body['schema'])}{also}."
        yield ""
    for parameter in operation.get("parameters", []):
        shown = f"?{parameter['name']}=" if parameter["in"] == "query" else f"{parameter['name']}:"
        yield f"- `{shown}` {_type(parameter['schema'])}. {parameter['description']}"
    if "parameters" in operation:
        yield ""
    yield "| status | answer | headers |"
    yield "| --- | --- | --- |"
    shared = _shared(operation, common)
    for status, response in operation["responses"].items():
        if (text := _answer(status, response, common if status in shared else {})) is not None:
            yield f"| {status} | {text} | {', '.join(_own_headers(response))} |"
    if shared:
        yield ""
        yield f"[Common errors](#common-errors): {', '.join(shared)}."


def _answer(status: str, response: Any, common: dict[str, dict[str, str]]) -> str | None:
    """Return what a row of the page says of a response: its own codes, or its text and type.

    `_answer` returns None if all codes of the response are common ones.
    """
    codes = _codes(response)
    if codes:
        return "; ".join(text for code, text in codes.items() if code not in common.get(status, {})) or None
    content = response.get("content", {}).get("application/json")
    return str(response["description"]) + (f": {_type(content['schema'])}" if content else "")


def _access(security: Any) -> str:
    if not security:
        return "Open to anyone."
    (scopes,) = security[0].values()
    return f"Needs a key with the scope {', '.join(f'`{scope}`' for scope in scopes)}." if scopes else "Needs a key."


def _model(name: str, schema: Any) -> Iterator[str]:
    yield ""
    yield f"### {name}"
    yield ""
    if "description" in schema:
        yield from schema["description"].splitlines()
        yield ""
    if "x-enumDescriptions" in schema:
        yield "| value | means |"
        yield "| --- | --- |"
        yield from (f"| `{value}` | {meaning} |" for value, meaning in schema["x-enumDescriptions"].items())
        return
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
        return
    if "properties" not in schema:
        yield "Any JSON." if name == "JsonValue" else f"{_type(schema).capitalize()}."
        return
    yield "| field | type | |"
    yield "| --- | --- | --- |"
    required = schema.get("required", [])
    for field, described in schema["properties"].items():
        notes = [] if field in required else ["optional"]
        notes += [described["description"]] if "description" in described else []
        yield f"| `{field}` | {_type(described)} | {'. '.join(notes)} |"


def _type(schema: Any) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minLength": "{} character or more",
        "maxLength": "at most {} characters",
        "default": "default {}",
    }
    found = [text.format(schema[key]) for key, text in bounds.items() if schema.get(key) is not None]
    name = schema.get("format", schema.get("type", "any JSON"))
    return f"{name} ({', '.join(found)})" if found else str(name)
