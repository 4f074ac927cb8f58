"""The parts of a task that need the scope `read`: its texts, from the client and from the model."""

from dataclasses import replace

from ...core.task import OPTION_TEXTS, Task, TaskOptions

_DEFAULTS = {name: getattr(TaskOptions(), name) for name in OPTION_TEXTS}


def without_content(task: Task) -> Task:
    """Return a task as a caller without the scope `read` may see it: its state, its terms and its bill.

    This view leaves out the output and the client's texts: the instructions, the schema with its name and its rules,
    the options of OPTION_TEXTS, and so the name. Answers that need another scope than `read` never contain the input.
    """
    options = replace(task.options, **_DEFAULTS)
    if options.response is not None:
        options = replace(options, response={**options.response, "instructions": False})
    if options.structure is not None:
        options = replace(options, structure=options.structure._replace(name=None))
    source = task.source
    if source is not None:
        source = source._replace(instructions="", output_schema=None, join_rules=None)
    return replace(task, options=options, source=source, first_line=None, result=None, value=None)
