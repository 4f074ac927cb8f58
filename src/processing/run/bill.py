"""Counts what a task's calls cost, over all claims of the task. Pure."""

from ...core.errors import ModelError
from ...core.task import is_truncated
from ...inference.protocol import ModelReply
from ...store.records.claims import Claim


class Bill:
    """A task's bill over all of its claims: settled calls, calls in doubt, and tokens.

    The bill starts from the calls and tokens that the claim found. A call in flight is not on the bill yet.
    """

    def __init__(self, claim: Claim) -> None:
        self.settled = claim.calls_settled
        self.in_doubt = claim.calls_in_doubt
        self.input_tokens = claim.input_tokens
        self.output_tokens = claim.output_tokens
        self.truncated = claim.truncated

    def succeeded(self, reply: ModelReply) -> None:
        """Count a model call that gave an output."""
        self.settled += 1
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.truncated += is_truncated(reply.finish_reason)

    def rejected(self, reply: ModelReply) -> None:
        """Count a model call whose answer does not fit the task's schema."""
        self.settled += 1
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens

    def failed(self, error: ModelError) -> None:
        """Count a failed call: as settled if the provider answered, otherwise as in doubt."""
        if error.answered:
            self.settled += 1
        else:
            self.in_doubt += 1

    def abandoned(self, calls: int) -> None:
        """Count calls for which the run no longer waits as in doubt, because the provider may have charged for them."""
        self.in_doubt += calls
