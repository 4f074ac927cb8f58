"""The records that the store reads and writes, how they are made from rows, and the formats of values in rows."""
