"""The Model Context Protocol: tools with which agents submit tasks, wait for them and read their results."""
