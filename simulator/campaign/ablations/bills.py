"""Ablations of the safeguards by which the bill counts an answered call as settled and not as in doubt."""

from typing import Any

from simulator.campaign.ablations.circumstances import some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.platform.choices import FREE, TOP
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain.errors import ModelError
from src.kernel.run.ledger import Bill

_succeeded = Bill.succeeded
_MODEL_TROUBLE = {"model_unavailable": 0.2, "model_malformed": 0.1}


def _doubt_output(self: Any, reply: ModelReply) -> None:
    _succeeded(self, reply)
    self.settled -= 1
    self.in_doubt += 1


def _doubt_failure(self: Any, _error: ModelError) -> None:
    self.in_doubt += 1


# The control runs, whose safeguard is on, have unanswered calls too, so a call in doubt does not prove that the
# safeguard is missing.
ABLATIONS = (
    Ablation(
        "settled_outputs",
        "a call that gave an output is settled",
        ((Bill, "succeeded", _doubt_output),),
        {"model_reply_lost": 0.1, "crash_after": 0.02},
        some_tasks(TOP, FREE),
    ),
    Ablation(
        "settled_failures",
        "a call that the provider answered with an error is settled",
        ((Bill, "failed", _doubt_failure),),
        {"model_reply_lost": 0.1, "crash_after": 0.02} | _MODEL_TROUBLE,
        some_tasks(TOP, FREE),
    ),
)
