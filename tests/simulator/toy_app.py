"""A toy app for the simulator's own tests, made of plain functions."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from simulator.platform.app import Env
from simulator.platform.object_instance import ObjectContext
from simulator.platform.sqlite_database import Template
from simulator.platform.world import World

TEMPLATE = Template(["CREATE TABLE marks (who TEXT, what TEXT)"])


class ToyApp:
    """An app of the given functions, called with `(env, argument, ctx)`, and object classes by name."""

    def __init__(
        self,
        *,
        fetch: Callable[..., Awaitable[Any]] | None = None,
        queue: Callable[..., Awaitable[Any]] | None = None,
        scheduled: Callable[..., Awaitable[Any]] | None = None,
        objects: dict[str, Callable[[ObjectContext, Env], Any]] | None = None,
    ) -> None:
        self._handlers = {"fetch": fetch, "queue": queue, "scheduled": scheduled}
        self._objects = objects or {}

    def make_isolate(self, env: Env) -> Any:
        def with_env(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            return lambda argument, ctx: handler(env, argument, ctx)

        return SimpleNamespace(**{name: with_env(one) for name, one in self._handlers.items() if one is not None})

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> Any:
        return self._objects[class_name](ctx, env)


def play[T](app: ToyApp, scenario: Callable[[World], Awaitable[T]], *, seed: int = 1, **options: Any) -> T:
    return World(seed, app, TEMPLATE, **options).run(scenario)


async def mark(env: Env, who: str, what: str) -> None:
    await env.DB.prepare("INSERT INTO marks VALUES (?, ?)").bind(who, what).run()


def marks(world: World) -> list[str]:
    rows = world.database.connection.execute("SELECT who, what FROM marks ORDER BY rowid").fetchall()
    return [f"{who} {what}" for who, what in rows]
