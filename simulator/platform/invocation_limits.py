"""The limits of one invocation on each plan, beyond which a call is refused with the platform's error.

The limits' figures are those of `local/limits.mjs`: all calls that leave an isolate are subrequests, and each statement
of a batch counts. On Cloudflare, a seventh connection waits until one of six others has its answer. In the simulator a
seventh connection does not wait; `most.waiting` shows how many connections waited at once.
"""

from dataclasses import dataclass, field
from typing import Literal

type Plan = Literal["free", "paid"]

_SUBREQUESTS = {"free": 50, "paid": 1_000}
_STATEMENTS = {"free": 50, "paid": 1_000}
HANDLER_SECONDS_MOST = 900  # The longest run of a queue, cron or alarm handler, in seconds.
WAIT_UNTIL_SECONDS_MOST = 30  # How many seconds an invocation may work after its response.
TOO_MANY_SUBREQUESTS = "Too many subrequests by single Worker invocation."
TOO_MANY_STATEMENTS = "D1_ERROR: Too many API requests by single Worker invocation."


@dataclass(slots=True)
class Use:
    """What one invocation has used: subrequests, D1 statements, and calls that wait for their answers now."""

    subrequests: int = 0
    statements: int = 0
    waiting: int = 0


@dataclass(slots=True)
class InvocationLimits:
    """Counts each invocation's calls and refuses calls beyond the plan.

    `most` has, for each kind of use, the most that any invocation has used.
    """

    plan: Plan
    refused: list[str] = field(default_factory=list)
    most: Use = field(default_factory=Use)

    def spend(self, use: Use, label: str, statements: int) -> str | None:
        """Count a call that is about to leave the isolate.

        Returns the platform's error message if the call is refused.
        """
        use.subrequests += 1
        use.statements += statements
        if statements and use.statements > _STATEMENTS[self.plan]:
            return self._refuse(label, TOO_MANY_STATEMENTS)
        if use.subrequests > _SUBREQUESTS[self.plan]:
            return self._refuse(label, TOO_MANY_SUBREQUESTS)
        use.waiting += 1
        most = self.most
        most.subrequests = max(most.subrequests, use.subrequests)
        most.statements = max(most.statements, use.statements)
        most.waiting = max(most.waiting, use.waiting)
        return None

    def _refuse(self, label: str, message: str) -> str:
        self.refused.append(f"{label}: {message}")
        return message
