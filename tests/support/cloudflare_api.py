"""What wrangler 4.164 uses of Cloudflare's API, in memory, at CLOUDFLARE_API_BASE_URL."""

import json
import re
import sqlite3
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import Loopback, Quiet

ACCOUNT = "0123456789abcdef0123456789abcdef"


class ApiError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class CloudflareApi(Loopback):
    """Cloudflare's API on a free port, as a context manager. `refuse` maps parts of paths to errors."""

    def __init__(self) -> None:
        self.databases: dict[str, sqlite3.Connection] = {}
        self.queues: dict[str, list[str]] = {}
        self.buckets: list[str] = []
        self.worker: dict[str, Any] = {}
        self.requests: list[str] = []
        self.created: list[str] = []
        self.strange: list[str] = []
        self.refuse: dict[str, ApiError] = {}
        self._lock = threading.Lock()
        api = self

        class Handler(Quiet):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, document = api.answer(self.command, self.path, body)
                text = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of http.server

        super().__init__(Handler)
        self.url += "/client/v4"

    def __exit__(self, *failure: object) -> None:
        super().__exit__(*failure)
        for database in self.databases.values():
            database.close()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(target)
        path = parts.path.removeprefix("/client/v4").removeprefix(f"/accounts/{ACCOUNT}")
        with self._lock:
            self.requests.append(f"{method} {path}")
            try:
                for part, error in self.refuse.items():
                    if part in f"{method} {path}":
                        raise error
                result = self._route(method, path, parse_qs(parts.query), body)
            except ApiError as error:
                failure = {"code": error.code, "message": str(error)}
                return error.status, {"success": False, "errors": [failure], "messages": [], "result": None}
        count = len(result) if isinstance(result, list) else 1
        info = {"page": 1, "per_page": 100, "count": count, "total_count": count, "total_pages": 1}
        return 200, {"success": True, "errors": [], "messages": [], "result": result, "result_info": info}

    def _route(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        document = json.loads(body) if body[:1] in {b"{", b"["} else {}
        for pattern, act in self._routes():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return act(match, query, document, body)
        self.strange.append(f"{method} {path}")
        raise ApiError(404, 7003, f"Could not route to {path}")

    def _routes(self) -> list[tuple[str, Callable[..., Any]]]:
        worker = "/workers/scripts/onceover"
        return [
            ("GET /user/tokens/verify", lambda *_: {"id": "t", "status": "active"}),
            ("GET /user", lambda *_: {"id": "u", "email": "a@example.com"}),
            ("GET /accounts", lambda *_: [{"id": ACCOUNT, "name": "Example"}]),
            ("GET /memberships", lambda *_: [{"id": "m", "account": {"id": ACCOUNT, "name": "Example"}}]),
            ("GET /d1/database", lambda *_: [self._database(name) for name in self.databases]),
            ("POST /d1/database", self._create_database),
            (r"GET /d1/database/(?:uuid-)?([\w-]+)", lambda match, *_: self._database(match[1])),
            (r"POST /d1/database/uuid-([\w-]+)/query", self._query),
            ("GET /queues", self._list_queues),
            ("POST /queues", self._create_queue),
            (r"(?:POST|PUT) /queues/id-([\w-]+)/consumers(?:/\w+)?", self._consume),
            ("GET /r2/buckets", lambda *_: {"buckets": [self._bucket(name) for name in self.buckets]}),
            ("POST /r2/buckets", self._create_bucket),
            (r"GET /r2/buckets/([\w-]+)", lambda match, *_: self._bucket(match[1])),
            ("GET /workers/services/onceover", self._service),
            (f"GET {worker}/settings", lambda *_: {"bindings": self._worker()["metadata"]["bindings"]}),
            (f"GET {worker}/deployments", self._deployments),
            (f"POST {worker}/deployments", self._deploy),
            (f"GET {worker}/versions/(\\S+)", lambda match, *_: self._version(match[1])),
            # The stand-in answers that it already has every file, so wrangler uploads none: the first token of the
            # session is also its last.
            (f"POST {worker}/assets-upload-session", lambda *_: {"jwt": "all-known", "buckets": []}),
            (f"PUT {worker}", self._upload),
            (f"POST {worker}/versions", self._upload_version),
            (f"GET {worker}/secrets", lambda *_: [{"name": name} for name in self._worker()["secrets"]]),
            (f"PUT {worker}/secrets", self._put_secret),
            (f"PUT {worker}/schedules", self._schedule),
            (f"(?:GET|POST) {worker}/subdomain", lambda *_: {"enabled": True, "previews_enabled": False}),
            (f"(?:GET|PATCH) {worker}/script-settings", lambda *_: {}),
            ("GET /workers/subdomain", lambda *_: {"subdomain": "example"}),
            ("GET /workers/workers/onceover", lambda *_: {"subdomain": {"enabled": True, "previews_enabled": False}}),
        ]

    # --- databases -----------------------------------------------------------------------------------------------

    def _database(self, name: str) -> dict[str, str]:
        if name not in self.databases:
            raise ApiError(404, 7404, f"The database {name} could not be found")
        return {"uuid": f"uuid-{name}", "name": name, "version": "production"}

    def _create_database(self, _match: object, _query: object, document: dict[str, Any], _body: bytes) -> Any:
        name = document["name"]
        if name in self.databases:
            raise ApiError(400, 7502, f"Database with name '{name}' already exists")
        self.databases[name] = sqlite3.connect(":memory:", check_same_thread=False)
        self.databases[name].row_factory = sqlite3.Row
        self.created.append(f"database {name}")
        return self._database(name)

    def _query(self, match: re.Match[str], _query: object, document: dict[str, Any], _body: bytes) -> Any:
        database = self.databases[match[1]]
        results, statement = [], ""
        try:
            for part in document["sql"].split(";"):
                statement += part + ";"
                if sqlite3.complete_statement(statement):
                    if statement.strip(" ;\n"):
                        rows = [dict(row) for row in database.execute(statement)]
                        results.append({"results": rows, "success": True, "meta": {"duration": 0}})
                    statement = ""
            database.commit()
        except sqlite3.Error as error:
            database.rollback()
            raise ApiError(400, 7500, f"{error}: SQLITE_ERROR") from None
        return results

    # --- queues --------------------------------------------------------------------------------------------------

    def _list_queues(self, _match: object, query: dict[str, list[str]], *_: object) -> Any:
        return [self._queue(name) for name in query.get("name", list(self.queues)) if name in self.queues]

    def _queue(self, name: str) -> dict[str, Any]:
        consumers = [{"type": "worker", "script": script, "service": script} for script in self.queues[name]]
        return {
            "queue_id": f"id-{name}",
            "queue_name": name,
            "created_on": "2026-11-25T00:00:00Z",
            "modified_on": "2026-11-25T00:00:00Z",
            "producers": [],
            "producers_total_count": 0,
            "consumers": consumers,
            "consumers_total_count": len(consumers),
        }

    def _create_queue(self, _match: object, _query: object, document: dict[str, Any], _body: bytes) -> Any:
        name = document["queue_name"]
        if name in self.queues:
            raise ApiError(409, 11009, f"Queue name '{name}' is already taken")
        self.queues[name] = []
        self.created.append(f"queue {name}")
        return self._queue(name)

    def _consume(self, match: re.Match[str], _query: object, document: dict[str, Any], _body: bytes) -> Any:
        if document["script_name"] not in self.queues[match[1]]:
            self.queues[match[1]].append(document["script_name"])
        return {"consumer_id": "c"}

    # --- buckets of R2 -------------------------------------------------------------------------------------------

    def _bucket(self, name: str) -> dict[str, str]:
        if name not in self.buckets:
            raise ApiError(404, 10006, "The specified bucket does not exist.")
        return {"name": name, "creation_date": "2026-11-25T00:00:00Z", "location": "WEUR", "storage_class": "Standard"}

    def _create_bucket(self, _match: object, _query: object, document: dict[str, Any], _body: bytes) -> Any:
        name = document["name"]
        if name in self.buckets:
            raise ApiError(409, 10004, "The bucket you tried to create already exists, and you own it.")
        self.buckets.append(name)
        self.created.append(f"bucket {name}")
        return self._bucket(name)

    # --- the Worker ----------------------------------------------------------------------------------------------

    def _worker(self) -> dict[str, Any]:
        if not self.worker:
            raise ApiError(404, 10007, "This Worker does not exist on your account.")
        return self.worker

    def _service(self, *_: object) -> Any:
        script = {"tag": "t", "tags": [], "migration_tag": self._worker()["tag"], "last_deployed_from": "wrangler"}
        return {"default_environment": {"script": script}}

    def _version(self, version: str) -> dict[str, Any]:
        resources = {"script": {"etag": "e"}, "bindings": []}
        return {"id": version, "metadata": {"created_on": "2026-11-25T00:00:00Z"}, "resources": resources}

    def _deployments(self, *_: object) -> Any:
        versions = [{"version_id": self._worker()["live"], "percentage": 100}]
        document = {"id": "d", "versions": versions, "created_on": "2026-11-25T00:00:00Z", "annotations": {}}
        return {"deployments": [{**document, "source": "wrangler", "author_email": "a@example.com"}]}

    def _deploy(self, _match: object, _query: object, document: dict[str, Any], _body: bytes) -> Any:
        self._worker()["live"] = document["versions"][0]["version_id"]
        return {"id": "d"}

    def _take(self, body: bytes) -> str:
        """Record the bindings of an upload, and give the upload a number."""
        found = re.search(rb'name="metadata"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.DOTALL)
        assert found is not None
        metadata = json.loads(found[1])
        before = {bound["name"]: bound for bound in self.worker.get("metadata", {}).get("bindings", [])}
        metadata["bindings"] = [
            before[bound["name"]] if bound["type"] == "inherit" else bound for bound in metadata["bindings"]
        ]
        for bound in metadata["bindings"]:
            if bound["type"] == "d1" and bound.get("id", "").removeprefix("uuid-") not in self.databases:
                raise ApiError(400, 10021, "binding DB of type d1 must have a valid `id` specified")
            if bound["type"] == "queue" and bound["queue_name"] not in self.queues:
                raise ApiError(400, 11000, f"Queue {bound['queue_name']} does not exist")
            if bound["type"] == "r2_bucket" and bound["bucket_name"] not in self.buckets:
                raise ApiError(400, 10085, f"R2 bucket '{bound['bucket_name']}' not found. Please use a different name")
        self.worker.setdefault("secrets", {})
        self.worker.setdefault("tag", None)
        self.worker["uploads"] = self.worker.get("uploads", 0) + 1
        self.worker["metadata"] = metadata
        if metadata.get("migrations"):
            self.worker["tag"] = metadata["migrations"]["new_tag"]
            self.worker.setdefault("migrated", []).append(metadata["migrations"])
        return f"00000000-0000-4000-8000-{self.worker['uploads']:012}"

    def _upload(self, _match: object, _query: object, _document: object, body: bytes) -> Any:
        self.worker["live"] = self._take(body)
        return {
            "id": "onceover",
            "etag": "e",
            "deployment_id": self.worker["live"].replace("-", ""),
            "startup_time_ms": 9,
        }

    def _upload_version(self, _match: object, _query: object, _document: object, body: bytes) -> Any:
        return {**self._version(self._take(body)), "startup_time_ms": 9}

    def _put_secret(self, _match: object, _query: object, document: dict[str, Any], _body: bytes) -> Any:
        self._worker()["secrets"][document["name"]] = document["text"]
        return {"name": document["name"], "type": "secret_text"}

    def _schedule(self, _match: object, _query: object, document: Any, body: bytes) -> Any:
        self._worker()["crons"] = [one["cron"] for one in json.loads(body)]
        return {"schedules": []}
