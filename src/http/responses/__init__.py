"""The second API over the tasks of `/api/tasks`: OpenAI's Responses API in background mode, below `/v1`.

The names and the shapes of requests and answers are those of OpenAI's published API, as OpenAI's SDKs send and read
them. A response is a task of the native API: it is stored and processed in the same way.
"""
