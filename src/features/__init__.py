"""The features of this deployment."""

from typing import Final

from pydantic import ConfigDict

from ..kernel.feature import Feature
from .attempts.feature import ATTEMPTS
from .batches.feature import BATCHES
from .bulk.feature import BULK
from .context.feature import CONTEXT
from .context.fields import ContextFields
from .cost.feature import COST
from .extras import Extras
from .files.feature import FILES
from .gaps.feature import GAPS
from .mcp.feature import MCP
from .openai.feature import OPENAI
from .operate.feature import OPERATE
from .quotes.feature import QUOTES
from .structured.feature import STRUCTURED
from .structured.fields import StructuredFields
from .texts.feature import TEXTS
from .texts.submission import TextFileField
from .webhooks.feature import WEBHOOKS

# A feature may build on those before it.
FEATURES: Final[tuple[Feature, ...]] = (
    *(FILES, STRUCTURED, QUOTES, CONTEXT, TEXTS, GAPS, ATTEMPTS, BULK, WEBHOOKS, COST),
    *(BATCHES, OPENAI, OPERATE, MCP),
)


class NewTaskFields(ContextFields, StructuredFields, TextFileField, Extras):
    """The body of `POST /api/tasks`, with `input` or `inputFile`. An optional field that is null counts as absent."""

    model_config = ConfigDict(
        defer_build=False, json_schema_extra={"oneOf": [{"required": ["input"]}, {"required": ["inputFile"]}]}
    )
