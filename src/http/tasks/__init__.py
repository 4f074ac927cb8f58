"""The calls of `/api/tasks`: submit, read, list, wait for, cancel, erase and retry one task or many."""
