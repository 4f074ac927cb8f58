"""Imports the modules of calls that many deployments get often, so that the snapshot of the interpreter has them.

An import within a function is paid by the first request of each isolate that needs it, within its 10 ms on the free
plan. The calls of `/v1` took some 130 ms, a stream 40, and the status 15. Imported here, they are paid once, at the
deployment. See docs/decisions/python.md#d0033.
"""

from .base import content
from .follow import following
from .operate import health
from .responses import endpoints as responses
from .tasks import events

MODULES = (content, events, following, health, responses)
