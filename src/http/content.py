"""What of a task is for callers with the scope `read` alone: its texts, from the client and from the model."""

from dataclasses import replace

from ..core.task import Task


def without_content(task: Task) -> Task:
    """Return a task as a caller without the scope `read` may see it: its state, its terms and its bill.

    Its output is left out, and what a client wrote: instructions, metadata and options of the model. The input is part
    of no answer that needs another scope than `read`.
    """
    options = replace(task.options, metadata={}, model_options={})
    if options.response is not None:
        options = replace(options, response={**options.response, "instructions": False})
    source = None if task.source is None else task.source._replace(instructions="")
    return replace(task, options=options, source=source, result=None)
