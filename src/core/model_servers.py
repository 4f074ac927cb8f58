"""What the address of a model's server says about the server, and how it learns of an output schema."""

import re
from typing import Final, Literal, get_args

# `native`: the field `response_format`. `prompt`: the schema in the system message. `both`: the two together.
Sending = Literal["native", "prompt", "both"]
SENDINGS: Final[tuple[Sending, ...]] = get_args(Sending)

_OPENAIS_OWN = re.compile(r"https?://(?:[^/?#]*\.)?openai\.(?:com|azure\.com)(?::\d*)?(?:/|\Z)", re.IGNORECASE)


def is_openais_own(base_url: str) -> bool:
    """Whether a server is OpenAI's own, or Azure's of OpenAI."""
    return _OPENAIS_OWN.match(base_url) is not None


def sending_by_default(provider: str, base_url: str | None) -> Sending:
    """Return STRUCTURED_OUTPUT where it is not set.

    OpenAI's own hosts hold a model to the schema, or refuse it. Other servers may ignore the field and answer 200, so
    the model reads the schema, too. Few models of Workers AI take the field. `demo` reads the schema itself.
    """
    if provider == "workers-ai":
        return "prompt"
    return "native" if base_url is None or is_openais_own(base_url) else "both"
