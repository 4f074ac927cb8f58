"""Texts without an effect that clients may give a task, in both shapes of the API."""

from typing import ClassVar

from ..kernel.api.base.fields import Asked


class Extras(Asked):
    """A field of this class is a member of a submission's body, of a task's views, and a filter of the list.

    Below `/v1` it is a member of `onceover`.
    """

    are_extra: ClassVar = True
