"""The servers of one simulated account, which outlive every isolate: database, model, queues, objects, limiter."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from simulator.platform.binding_port import Network, Port
from simulator.platform.choices import Deployment
from simulator.platform.d1 import D1Binding, DatabaseServer
from simulator.platform.isolate import SimulatedInvocation
from simulator.platform.model import ModelServer
from simulator.platform.objects import Cell, NamespaceBinding, ObjectHost, ObjectNamespace
from simulator.platform.queue_producer import QueueBinding
from simulator.platform.queues import DeliveredBatch, QueueServer, QueueSettings
from simulator.platform.r2.bucket import BucketBinding, BucketServer
from simulator.platform.rate_limits import RateLimit, RateLimitServer
from simulator.platform.shared_database import CallQueue, Sharing
from simulator.platform.sqlite_database import Template

OBJECT_CLASSES = ("AIProcessor", "BatchCoordinator")


class Servers:
    """All servers of a world, and the bindings through which an isolate reaches them.

    `model_seconds` are the shortest and the longest time that the model takes. The limiter draws each isolate's
    location from `limiter_rng`. `World` explains `strict_gates`.
    """

    def __init__(
        self,
        network: Network,
        host: ObjectHost,
        template: Template,
        now_ms: Callable[[], int],
        *,
        queue_settings: QueueSettings | None,
        model_seconds: tuple[float, float],
        strict_gates: bool,
        rate_limit: RateLimit | None,
        limiter_rng: Random,
        sharing: Sharing | None,
    ) -> None:
        self.database = DatabaseServer(template, network.faults, now_ms)
        self.database.note = network.loop.trace.steps.append
        if sharing is not None:
            self.database.line = CallQueue(sharing, network.faults, network.loop.now)
        self.bucket = BucketServer(network.faults, now_ms)
        self.binds_bucket = False  # True if every deployment binds the bucket.
        self.model = ModelServer(network, seconds=model_seconds)
        self.queue = QueueServer("ai-processing-queue", network, now_ms, queue_settings)
        self.dlq = QueueServer("ai-processing-dlq", network, now_ms, QueueSettings(max_retries=3))
        self.queue.dead_letter = self.dlq
        self.rate_limiter = None if rate_limit is None else RateLimitServer(rate_limit, network, limiter_rng)
        self.namespaces = {name: ObjectNamespace(name, host, network, now_ms) for name in OBJECT_CLASSES}
        for namespace in self.namespaces.values():
            namespace.strict_gates = strict_gates

    def bindings(self, deployment: Deployment, port: Port) -> dict[str, Any]:
        """Return the bindings of a deployment for one isolate, whose port is `port`."""
        bindings: dict[str, Any] = {"DB": D1Binding(self.database, port)}
        if deployment.bucket or self.binds_bucket:
            bindings["BLOBS"] = BucketBinding(self.bucket, port)
        if deployment.queue:
            bindings |= {"AI_QUEUE": QueueBinding(self.queue, port), "AI_DLQ": QueueBinding(self.dlq, port)}
        if deployment.objects:
            bindings |= {
                "AI_PROCESSOR": NamespaceBinding(self.namespaces["AIProcessor"], port),
                "BATCH_COORDINATOR": NamespaceBinding(self.namespaces["BatchCoordinator"], port),
            }
        if self.rate_limiter is not None:
            bindings["RATE_LIMITER"] = self.rate_limiter.bind(port)
        return bindings

    def consume_with(self, deliver: Callable[[DeliveredBatch], SimulatedInvocation | None]) -> None:
        """Set the function that delivers the batches of the main queue and of the dead-letter queue."""
        self.queue.deliver = self.dlq.deliver = deliver

    def redeploy(self, *, lose_queue: bool) -> None:
        """Restart every object with its stored data, and deliver waiting messages.

        With `lose_queue` the messages are lost instead.
        """
        for namespace in self.namespaces.values():
            namespace.reset()
        if lose_queue:
            self.queue.lose_everything()
            self.dlq.lose_everything()
        self.queue.pump()
        self.dlq.pump()

    def is_quiet(self, deployment: Deployment) -> bool:
        """Whether no message waits, and no object works or has an alarm.

        Queues and objects that the deployment does not bind are not considered.
        """
        queues = not deployment.queue or (self.queue.is_empty() and self.dlq.is_empty())
        return queues and (not deployment.objects or all(one.is_quiet() for one in self.namespaces.values()))

    def object_cells(self) -> Iterator[Cell]:
        """Yield all objects that code has ever named."""
        for namespace in self.namespaces.values():
            yield from namespace.cells.values()
