"""Registers the kind of tasks whose text is in a file, and what the API does for them."""

from typing import TYPE_CHECKING, Final

from ...kernel.domain.task import Kind
from ...kernel.feature import Feature, KindApi

if TYPE_CHECKING:
    from ...kernel.run.kinds import TaskKind


def _kind() -> "TaskKind":
    from .file_text import FILE  # noqa: PLC0415 - the first text in a file imports it

    return FILE


def _api() -> KindApi:
    from .kind_api import TextsApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return TextsApi()


TEXTS: Final = Feature("texts", kind=(Kind.FILE, _kind), api=_api)
