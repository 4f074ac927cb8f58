"""What a task's outputs must be: the protocol between a run and the features that judge outputs."""

from typing import Protocol

from ...core.structure import Rejection
from ...inference.protocol import ModelReply, OutputForm
from ...store.records.claims import CallKey


class OutputRule(Protocol):
    """What an output must be. Without a rule every text is accepted."""

    def form(self, key: CallKey) -> OutputForm | None:
        """Return the form that a call asks the model for; None if the rule asks for none."""
        ...

    def judge(self, key: CallKey, reply: ModelReply) -> ModelReply | Rejection:
        """Return the reply as it is accepted, or why it is rejected: then the call is made again, or has failed."""
        ...
