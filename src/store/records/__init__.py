"""The records that the store returns and takes, how rows become records, and the formats of values in rows."""
