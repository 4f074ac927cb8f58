"""Implements the bindings of Durable Objects. Numbers and texts pass unchanged, lists and dictionaries as JSON."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from .crossing import behind, from_javascript, into_javascript, unwrapped

if TYPE_CHECKING:
    import js


def storage_of(context: Any) -> Any:
    """Return an object's storage out of the SDK's wrapper. The simulation's has none."""
    storage = context.storage
    raw = unwrapped(storage)
    return storage if raw is storage else BoundStorage(raw)


def answered[T](env: Any, value: T) -> T:
    """Convert an RPC's answer in one step, which the SDK would do value by value. The simulation's stays."""
    made: Any = value if behind(env) is None else into_javascript(value)
    crossing: T = made  # for the type checker, the JavaScript value has the type of the Python value
    return crossing


class BoundNamespace:
    """Implements `objects.stubs.Namespace`."""

    def __init__(self, binding: "js.DurableObjectNamespace") -> None:
        self._binding = binding

    def getByName(self, name: str) -> "Stub":  # noqa: N802 - the platform's name
        """Return the stub of the only object with that name."""
        return Stub(self._binding.getByName(name))


class Stub:
    """A stub for the methods of a Durable Object, which decides itself what can be called by RPC."""

    def __init__(self, stub: "js.DurableObjectStub") -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._stub, name)

        async def call(*arguments: object) -> object:
            return _arrived(await method(*[_sent(argument) for argument in arguments]))

        return call


class BoundStorage:
    """Implements `objects.stubs.ObjectStorage`, and the further methods that each class of objects needs.

    A write starts when its method is called, even before the call is awaited. Writes that are made without an await
    between them commit together.
    """

    def __init__(self, storage: "js.DurableObjectStorage") -> None:
        self._storage = storage

    @property
    def sql(self) -> "BoundSql":
        """The object's own SQLite."""
        return BoundSql(self._storage.sql)

    async def get(self, key: str) -> object:
        """Return the stored value of a key, or None if the key has no value."""
        return _arrived(await self._storage.get(key))

    def put(self, key: str, value: object) -> Awaitable[None]:
        """Store a value under a key."""
        return self._storage.put(key, _sent(value))

    def setAlarm(self, at_ms: int) -> Awaitable[None]:  # noqa: N802 - the platform's name
        """Set the only alarm of the object."""
        return self._storage.setAlarm(at_ms)

    def deleteAll(self) -> Awaitable[None]:  # noqa: N802 - the platform's name
        """Delete everything in the storage, and the alarm."""
        return self._storage.deleteAll()


class BoundSql:
    """Implements `objects.batch_coordinator.Sql`."""

    def __init__(self, sql: "js.SqlStorage") -> None:
        self._sql = sql

    def exec(self, query: str, *values: int) -> "BoundCursor":
        """Run a statement."""
        return BoundCursor(self._sql.exec(query, *values))


class BoundCursor:
    """Implements `objects.batch_coordinator.Cursor`."""

    def __init__(self, cursor: "js.SqlCursor") -> None:
        self._cursor = cursor

    def toArray(self) -> list[Mapping[str, object]]:  # noqa: N802 - the platform's name
        """Return the rows."""
        rows: list[Mapping[str, object]] = from_javascript(self._cursor.toArray())
        return rows


def _sent(value: object) -> object:
    if value is None or isinstance(value, dict | list):
        return into_javascript(value)
    return value


def _arrived(value: Any) -> object:
    """Convert a result from JavaScript: a text, a number, a boolean, `null`, or a JSON value."""
    if value is None or isinstance(value, str | int | float):
        return value
    return from_javascript(value)
