"""Batches over HTTP, below `/v1/batches`, in the shapes of OpenAI's SDKs. A batch is a task of the native API."""
