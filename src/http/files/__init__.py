"""Files over HTTP, below `/v1/files`: uploads, lists, contents and deletion, in the shapes of OpenAI's SDKs."""
