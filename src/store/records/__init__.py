"""The records that the store reads and writes, their making from rows, and the forms of values in rows."""
