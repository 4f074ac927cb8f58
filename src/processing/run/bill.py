"""A task's bill over all its claims: what its calls cost, and how many nobody knows about."""

from ...core.errors import ModelError
from ...core.task import is_truncated
from ...inference.protocol import ModelReply
from ...store.claims import Claim


class Bill:
    """Counts calls and tokens from where the claim found them. A call in flight is on no count yet."""

    def __init__(self, claim: Claim) -> None:
        self.settled = claim.calls_settled
        self.in_doubt = claim.calls_in_doubt
        self.input_tokens = claim.input_tokens
        self.output_tokens = claim.output_tokens
        self.truncated = claim.truncated

    def succeeded(self, reply: ModelReply) -> None:
        """Count a call that gave an output."""
        self.settled += 1
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.truncated += is_truncated(reply.finish_reason)

    def failed(self, error: ModelError) -> None:
        """Count a call that failed. Without an answer nobody knows whether the provider counted it."""
        if error.answered:
            self.settled += 1
        else:
            self.in_doubt += 1

    def abandoned(self, calls: int) -> None:
        """Count calls whose outcome nobody waits for: the provider may have counted each, or not."""
        self.in_doubt += calls
