"""The endpoints that a batch may name, one for all of its lines."""

from typing import Final, Literal, get_args

BatchEndpoint = Literal["/v1/chat/completions", "/v1/responses"]
ENDPOINTS: Final[tuple[BatchEndpoint, ...]] = get_args(BatchEndpoint)
CHAT, RESPONSES = ENDPOINTS
