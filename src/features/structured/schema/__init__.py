"""JSON Schema: the subset that is accepted, and the check of a value. Pure."""
