"""JavaScript's globals. The classes below `type_check_only` have types here and no value to import."""

from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Protocol, type_check_only

from pyodide.ffi import JsBuffer, JsNull, JsProxy
from workers import Response

class Date:
    @staticmethod
    def now() -> float: ...

class AbortSignal:
    @property
    def aborted(self) -> bool: ...
    @staticmethod
    def timeout(milliseconds: int) -> AbortSignal: ...
    @staticmethod
    def any(signals: JsProxy) -> AbortSignal: ...

class AbortController:
    @staticmethod
    def new() -> AbortController: ...
    @property
    def signal(self) -> AbortSignal: ...
    def abort(self) -> None: ...

class Headers:
    def __iter__(self) -> Iterator[tuple[str, str]]: ...

class ReadableStream:
    def getReader(self) -> ReadableStreamDefaultReader: ...

class ReadableStreamDefaultReader:
    async def read(self) -> ReadResult: ...
    async def cancel(self) -> None: ...

@type_check_only
class ReadResult:
    """What a reader gives: `value` is undefined once `done`."""

    @property
    def done(self) -> bool: ...
    @property
    def value(self) -> JsBuffer: ...

class Request:
    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def body(self) -> ReadableStream | JsNull: ...

@type_check_only
class Env(Protocol):
    """Bindings and variables under their names."""

    # For most kinds of binding `src` has a protocol of its own, where the binding is used.
    def __getattr__(self, name: str, /) -> Any: ...

@type_check_only
class Fetcher(Protocol):
    async def fetch(self, url: str, /) -> Response: ...

@type_check_only
class RateLimit(Protocol):
    async def limit(self, options: dict[str, str], /) -> Mapping[str, object]: ...

@type_check_only
class ExecutionContext(Protocol):
    def waitUntil(self, awaitable: Awaitable[object], /) -> None: ...

@type_check_only
class DurableObjectState(ExecutionContext, Protocol):
    @property
    def storage(self) -> DurableObjectStorage: ...

@type_check_only
class DurableObjectStorage(Protocol):
    # `objects.batch_coordinator` says what it needs of it.
    sql: Any

    async def get(self, key: str, /) -> object: ...
    async def put(self, key: str, value: object, /) -> None: ...
    async def setAlarm(self, at_ms: int, /) -> None: ...
    async def deleteAll(self) -> None: ...
