"""The second API over the tasks of `/api/tasks`: OpenAI's Responses API in background mode, below `/v1`.

Names and shapes are OpenAI's published API, as its SDKs send and read it. A response is a task: the native API decides
what it consists of, how it is stored and who works on it.
"""
