"""The second API over the tasks of `/api/tasks`, below `/v1`, is OpenAI's Responses API in background mode.

The names and the shapes of requests and answers are those of OpenAI's published API, as OpenAI's SDKs send and read
them. A response is a task of the native API: it is stored and processed in the same way.
"""
