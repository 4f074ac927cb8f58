"""The calls of `/api/tasks`: submit, read, list, wait, cancel, erase, retry, one task or many."""
