"""Many tasks at once: a database that is slow, a model that fails in part, a neighbour in trouble."""
