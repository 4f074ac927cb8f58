"""What the store reads and writes, as records: from rows to records, and the forms that rows hold."""
