"""The Worker's class, which receives the platform's events and passes each event to a part of the application."""

from typing import TYPE_CHECKING

from workers import WorkerEntrypoint

from ..composition import CATALOGUE, App
from ..kernel.api.router import configuration_problem, handle
from ..kernel.domain.errors import ConfigurationError
from ..kernel.run.log import Log
from ..queue.consumer import put_off
from ..queue.messages import QueueBatch
from .http_messages import IncomingRequest, outgoing
from .queues import delivered
from .surroundings import SURROUNDINGS, Background

if TYPE_CHECKING:
    from js import Response
    from workers import Request


class Default(WorkerEntrypoint):
    """The Worker: the HTTP API, the consumer of both queues, and the sweep. Each invocation makes a new one."""

    async def fetch(self, request: "Request") -> "Response":
        """Answer one HTTP request."""
        incoming = IncomingRequest(request)
        try:
            app = self._app()
        except ConfigurationError as error:
            reply = configuration_problem(error, incoming.method, incoming.headers, incoming.url)
            return outgoing(reply, self._background())
        return outgoing(await handle(incoming, app.api(), CATALOGUE), self._background())

    async def queue(self, batch: QueueBatch, env: object = None, ctx: object = None) -> None:
        """Handle the messages of one batch of a queue."""
        batch = delivered(batch)
        try:
            app = self._app()
        # If an error were raised here, the messages would finally come to the dead-letter queue.
        except ConfigurationError as error:
            put_off(batch, error, _log())
            return
        await app.queue(batch)

    async def scheduled(self, controller: object, env: object = None, ctx: object = None) -> None:
        """Run the sweep. With a bad variable the event fails, so that Cloudflare's dashboard shows it."""
        try:
            app = self._app()
        except ConfigurationError as error:
            _log().misconfigured(error)
            raise
        await app.scheduled()

    def _app(self) -> App:
        return SURROUNDINGS.get().app(self.env, self.ctx)

    def _background(self) -> Background:
        return SURROUNDINGS.get().background(self.ctx)


def _log() -> Log:
    return Log(SURROUNDINGS.get().runtime.write)
