"""Recognizes OpenAI's own servers by their address, and decides how a model's server gets an output schema."""

import re
from typing import Final, Literal, get_args

# How a model's server gets an output schema: `native` means in the field `response_format`, `prompt` in the system
# message, and `both` in both places.
Sending = Literal["native", "prompt", "both"]
SENDINGS: Final[tuple[Sending, ...]] = get_args(Sending)

_OPENAIS_OWN = re.compile(r"https?://(?:[^/?#]*\.)?openai\.(?:com|azure\.com)(?::\d*)?(?:/|\Z)", re.IGNORECASE)


def is_openais_own(base_url: str) -> bool:
    """Whether the address is that of an OpenAI server, run by OpenAI itself or by Azure."""
    return _OPENAIS_OWN.match(base_url) is not None


def sending_by_default(provider: str, base_url: str | None) -> Sending:
    """Return the value of STRUCTURED_OUTPUT for a deployment that does not set it.

    OpenAI's own servers make a model's output fit the schema, or refuse the schema. Other servers may ignore the field
    `response_format` and answer 200, so the service also writes the schema into the system message. Few models of
    Workers AI accept the field `response_format`, so the default for Workers AI is `prompt`. The provider `demo` reads
    the schema itself, without the field or the system message.
    """
    if provider == "workers-ai":
        return "prompt"
    return "native" if base_url is None or is_openais_own(base_url) else "both"
