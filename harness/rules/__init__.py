"""What a record must hold: rules of runs, of records and of source, each with its number."""
