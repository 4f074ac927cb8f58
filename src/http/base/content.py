"""The texts of a task, from the client and from the model: only a key with the scope `read` sees them."""

from dataclasses import replace

from ...core.task import OPTION_TEXTS, Task, TaskOptions

_DEFAULTS = {name: getattr(TaskOptions(), name) for name in OPTION_TEXTS}


def without_content(task: Task) -> Task:
    """Return a task without its texts, for a caller without the scope `read`: its state, its terms and its bill.

    The result lacks the output and the client's texts: the instructions, the output schema with its name and its join
    rules, the options of OPTION_TEXTS, and the task's name, which is made from them. The input needs no removal here:
    only calls that need the scope `read` show it.
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
