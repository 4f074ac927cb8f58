"""Reads a deployment's bindings and variables from `env`. What is not configured is absent there."""

from typing import Any

from ..composition import Bindings


def bindings(env: Any) -> Bindings:
    """Collect the bindings, None for those that the environment has not."""
    return Bindings(
        database=env.DB,
        queue=getattr(env, "AI_QUEUE", None),
        dead_letters=getattr(env, "AI_DLQ", None),
        processors=getattr(env, "AI_PROCESSOR", None),
        coordinators=getattr(env, "BATCH_COORDINATOR", None),
        ai=getattr(env, "AI", None),
    )


def variable(env: Any, name: str) -> object:
    """Read one variable or secret, None if it is not set."""
    return getattr(env, name, None)
