"""Simulates Durable Objects: one instance for each name, remote calls that may fail halfway, and bindings."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from simulator.platform.alarms import Alarm
from simulator.platform.binding_port import CONNECTION_LOST, JsError, Network, Port, Reply, entry_failure
from simulator.platform.isolate import InvocationEnd, Isolate, SimulatedInvocation
from simulator.platform.object_instance import Instance, ObjectContext, ObjectId
from simulator.platform.object_storage import ObjectData
from simulator.platform.structured_clone import clone


class ObjectHost(Protocol):
    """The functions of the world that objects use."""

    def has_objects(self) -> bool:
        """Whether the present deployment binds Durable Objects."""
        ...

    def start_object(self, class_name: str, name: str) -> Isolate:
        """Return a new isolate for one instance."""
        ...

    def make_object(self, class_name: str, ctx: ObjectContext, isolate: Isolate) -> Any:
        """Return the Worker's own object for an instance, in the instance's isolate."""
        ...


class Cell:
    """An object as the platform knows it: its data, its alarm, and its instance in memory if there is one."""

    def __init__(self, namespace: "ObjectNamespace", name: str) -> None:
        self.namespace = namespace
        self.network: Network = namespace.network
        self.name = name
        self.id = ObjectId(namespace.class_name, name)
        self.data = ObjectData(namespace.now_ms)
        self.alarm = Alarm(self)
        self.data.on_commit = self.alarm.reschedule
        self.instance: Instance | None = None
        self.births = 0
        self.active_seconds = 0.0  # how long calls of the object were under way, which is what the platform bills

    def wake(self) -> Instance:
        """Return the instance in memory, or a new one."""
        if self.instance is None or self.instance.isolate.dead:
            host, class_name = self.namespace.host, self.namespace.class_name
            self.births += 1
            isolate = host.start_object(class_name, f"{class_name}/{self.name}#{self.births}")
            instance = self.instance = Instance(self, isolate)
            construction = SimulatedInvocation(isolate, "constructor")
            isolate.invocations[construction] = None
            instance.object = construction.context.run(host.make_object, class_name, ObjectContext(instance), isolate)
        return self.instance


class ObjectNamespace:
    """All objects of one class."""

    def __init__(self, class_name: str, host: ObjectHost, network: Network, now_ms: Callable[[], int]) -> None:
        self.class_name = class_name
        self.host = host
        self.network = network
        self.now_ms = now_ms
        self.strict_gates = True
        self.cells: dict[str, Cell] = {}

    def cell(self, object_id: ObjectId) -> Cell:
        """Return the object with the given id, which is made on first use."""
        key = object_id.toString()
        if key not in self.cells:
            self.cells[key] = Cell(self, object_id.name or key)
        return self.cells[key]

    def reset(self) -> None:
        """Kill the instance of each object, for new code or a restart. Stored data stays."""
        for cell in list(self.cells.values()):
            if cell.instance is not None:
                cell.instance.isolate.kill()

    def is_quiet(self) -> bool:
        """Whether no object of the class has a running call, a set alarm or a running alarm."""
        return all(
            cell.alarm.is_idle() and (cell.instance is None or cell.instance.busy == 0) for cell in self.cells.values()
        )


class NamespaceBinding:
    """The binding of one class of objects in one isolate, for example `env.AI_PROCESSOR`."""

    def __init__(self, namespace: ObjectNamespace, port: Port) -> None:
        self._namespace = namespace
        self._port = port

    def idFromName(self, name: str) -> ObjectId:  # noqa: N802 - the platform's name
        """Return the id that belongs to a name."""
        return ObjectId(self._namespace.class_name, name)

    def idFromString(self, text: str) -> ObjectId:  # noqa: N802 - the platform's name
        """Return the id whose `toString` gives the given text."""
        return ObjectId(self._namespace.class_name, None, text)

    def get(self, object_id: ObjectId) -> "InstanceStub":
        """Return a stub of the object with the given id. Nothing is sent yet."""
        return InstanceStub(self._namespace.cell(object_id), self._port)

    def getByName(self, name: str) -> "InstanceStub":  # noqa: N802 - the platform's name
        """Return a stub of the object with the given name. Nothing is sent yet."""
        return self.get(self.idFromName(name))


class InstanceStub:
    """A stub of an object. Each attribute whose name begins without an underscore is a remote method."""

    def __init__(self, cell: Cell, port: Port) -> None:
        self._cell = cell
        self._port = port
        self.id = cell.id
        self.name = cell.name

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any) -> Coroutine[Any, Any, Any]:
            copies = tuple(clone(arg) for arg in args)
            return self._port.call(f"rpc.{method}", lambda reply: _serve(self._cell, method, copies, reply), sends=True)

        return call


def _serve(cell: Cell, method: str, args: tuple[Any, ...], reply: Reply) -> None:
    faults = cell.network.faults
    if not cell.namespace.host.has_objects():
        reply(None, JsError("The requested Durable Object class is not exported by this deployment."))
        return
    if faults.fires("rpc_failed_before", cell.name):
        reply(None, JsError(CONNECTION_LOST))
        return
    if faults.fires("rpc_dead", cell.name):
        reply(None, entry_failure())
        return

    def done(outcome: InvocationEnd) -> None:
        if outcome.kind == "died" or faults.fires("rpc_failed_after", cell.name):
            reply(None, JsError(CONNECTION_LOST))
        elif outcome.kind == "raised":
            reply(None, JsError(f"{type(outcome.error).__name__}: {outcome.error}", "PythonError"))
        else:
            try:
                reply(clone(outcome.value), None)
            except TypeError as error:
                reply(None, JsError(f"TypeError: {error}", "PythonError"))

    cell.wake().call(f"rpc.{method}", method, args, done)
