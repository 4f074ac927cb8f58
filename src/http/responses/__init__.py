"""The second face of the same tasks: OpenAI's Responses API in background mode, below `/v1`.

Names and shapes are OpenAI's published API, as its SDKs send and read it. A response is a task: what it is made of, how
it is stored and who works on it is the native API's.
"""
