// How JavaScript calls a method of the Worker, in Python, as the hosted runtime does.

// Arguments and results cross as the SDK converts them. `relaxed` drops the arguments that a handler does not name.
// Which of them it names is found out once a handler: Pyodide would inspect the method of each new instance.
export const CALL = `
def _make_call():
    import functools
    import inspect

    from workers import python_from_rpc, python_to_rpc

    KINDS = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD

    @functools.cache
    def most(function):
        parameters = inspect.signature(function).parameters.values()
        if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
            return None
        return sum(parameter.kind in KINDS for parameter in parameters) - 1  # without self

    async def call(instance, name, relaxed, *arguments):
        method = getattr(instance, name)
        values = [python_from_rpc(argument) for argument in arguments]
        result = method(*values[: most(getattr(method, "__func__", method))] if relaxed else values)
        return python_to_rpc(await result if inspect.isawaitable(result) else result)

    return call

_call = _make_call()
`;
