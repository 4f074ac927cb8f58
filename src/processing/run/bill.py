"""What a task's calls cost, over all its claims. Pure."""

from ...core.errors import ModelError
from ...core.task import is_truncated
from ...inference.protocol import ModelReply
from ...store.records.claims import Claim


class Bill:
    """A task's bill over all its claims: what its calls cost, and how many are in doubt.

    The bill continues from the calls and tokens that the claim found. A call in flight is not in any of these counts
    yet.
    """

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

    def rejected(self, reply: ModelReply) -> None:
        """Count a call whose output its schema refuses."""
        self.settled += 1
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens

    def failed(self, error: ModelError) -> None:
        """Count a call that failed. If the call had no answer, the provider may have counted it or not."""
        if error.answered:
            self.settled += 1
        else:
            self.in_doubt += 1

    def abandoned(self, calls: int) -> None:
        """Count calls that the run no longer waits for: the provider may have counted each, or not."""
        self.in_doubt += calls
